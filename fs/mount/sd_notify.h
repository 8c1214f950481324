/* SPDX-License-Identifier: Apache-2.0 */
/* sd_notify - tells a service manager about our state, as sd_notify(3) specifies, without its library. */
#ifndef VECFS_FS_MOUNT_SD_NOTIFY_H
#define VECFS_FS_MOUNT_SD_NOTIFY_H

/*
 * Sends an assignment ("READY=1", "STOPPING=1") to the socket that NOTIFY_SOCKET names; nothing happens where
 * none is named, and nobody can do anything about a failure. Not to be called while another thread changes
 * the environment.
 */
void sd_notify_tell(const char *assignment);

#endif
