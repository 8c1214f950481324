/* SPDX-License-Identifier: Apache-2.0 */
/* process - finds the process of the thread that makes a request, which is all that FUSE tells. */
#ifndef VECFS_FS_REQUEST_PROCESS_H
#define VECFS_FS_REQUEST_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A process, and no other, though numbers are used again: the inode of its pidfd, or on older kernels its
 * number together with the time it was started. 0: it cannot be told from others. So it is with all those
 * whose pid namespace is not below the daemon's (to FUSE they are all 0), with those that are gone, and on
 * older kernels with everybody where /proc is missing or another namespace's.
 */
typedef uint64_t process_t;
#define PROCESS_UNKNOWN ((process_t)0)

process_t process_of(pid_t thread);
/*
 * Whether two threads are of one process. Thread 0 is the same as thread 0, since nothing tells them apart:
 * who does not want to take two strangers for one asks for that himself.
 */
bool process_same(pid_t thread, pid_t other_thread);
/* Whether a signal waits for the thread that it neither blocks nor ignores, as far as /proc tells. For who
 * answers a request that the kernel cannot tell to be interrupted. */
bool process_is_signalled(pid_t thread);

#endif
