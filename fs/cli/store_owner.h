/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_owner - the process that has a store open: it holds the flock of STORE/lock, which contains its pid
 * and the name of its machine.
 *
 * The lock tells that there is one; the number is for people, and may be that of another pid namespace.
 *
 * Any thread may call these functions; they keep no state.
 */
#ifndef VECFS_FS_CLI_STORE_OWNER_H
#define VECFS_FS_CLI_STORE_OWNER_H

#include <sys/types.h>

#define STORE_OWNER_HOST_MAX 72
/* The pid of the store's owner, and the name of its machine, if that is told; 0: nobody has it open. -ENOENT:
 * not a store. -errno. */
pid_t store_owner_find(const char *store, char host[STORE_OWNER_HOST_MAX]);

struct store_owner_watch {
	int lock_fd; /* of STORE/lock; -1: it is not to be seen from here, and there is nothing to wait for */
	int pid_fd;  /* of the process with the number in it, while the lock was held; -1: none */
	pid_t pid;
};

/* To be taken before the owner is asked to end. Always to be given to store_owner_wait() or
 * store_owner_unwatch(). */
struct store_owner_watch store_owner_watch(const char *store);
/* Returns when the owner is gone: 0; or -ETIMEDOUT. */
int store_owner_wait(struct store_owner_watch *w, int timeout_ms);
void store_owner_unwatch(struct store_owner_watch *w);

#endif
