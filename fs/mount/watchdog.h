/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watchdog - a small process that outlives a daemon that is killed, and then aborts its connection
 * (connection.h says why the kernel does not always do that by itself).
 */
#ifndef VECFS_FS_MOUNT_WATCHDOG_H
#define VECFS_FS_MOUNT_WATCHDOG_H

/*
 * Returns what the other functions want, or -errno: there is none, and one can do without. To be called while
 * there is no other thread and little memory. It ends when this process does.
 */
int watchdog_start(void);
/* The connection (of connection_open) is to be watched from now on. */
void watchdog_watch(int guard, int connection);
/* It is gone, as it should be. */
void watchdog_end(int guard);

#endif
