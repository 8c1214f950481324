/* SPDX-License-Identifier: Apache-2.0 */
/*
 * holder - the process that has a store open: it holds the flock of STORE/lock, which contains its pid.
 *
 * Any thread may call these functions; they keep no state.
 */
#ifndef VECFS_FS_HOLDER_H
#define VECFS_FS_HOLDER_H

#include <sys/types.h>

/* The pid of the store's holder; 0: nobody holds it. -ENOENT: not a store. -errno. */
pid_t holder_find(const char *store);

/*
 * A descriptor by which to wait for the end of the process pid, for holder_wait, which closes it. -ESRCH: it
 * is gone already. To be had before the holder is told to end, lest its pid is used again by another process.
 */
int holder_watch(pid_t pid);
/* Returns when the process is gone: 0, or -errno. */
int holder_wait(int watch_fd);

#endif
