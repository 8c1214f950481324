/* SPDX-License-Identifier: Apache-2.0 */
/*
 * background - a process that goes to the background only when it is ready, so that whoever started it knows
 * from its exit code whether it serves.
 */
#ifndef VECFS_FS_MOUNT_BACKGROUND_H
#define VECFS_FS_MOUNT_BACKGROUND_H

/*
 * Forks. The child returns 0 and goes on, still with the caller's terminal, and calls background_ready() when
 * it serves. The parent never returns: it exits 0 when the child is ready, and with the child's exit code
 * when that ends earlier, having said why. Descriptors above standard error are closed in both. -errno: there
 * was no fork. No other thread may exist.
 */
int background_start(void);
/* Leaves the terminal and lets the parent go. Any thread of the child may call it, once. */
void background_ready(void);

#endif
