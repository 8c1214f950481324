/* SPDX-License-Identifier: Apache-2.0 */
/* process - FUSE tells the thread that makes a request; this tells its process. */
#ifndef VECFS_FS_PROCESS_H
#define VECFS_FS_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

/* The thread itself if it is gone, or of another pid namespace (0). */
pid_t process_of(pid_t thread);
bool process_same(pid_t thread, pid_t other_thread);

#endif
