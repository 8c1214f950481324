/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session - a store served as a mount: the FUSE session, its transport and its loop.
 *
 * Between vs_open() and vs_close():
 *
 *   session_start()  makes the session and the mount; requests wait in the kernel
 *   session_loop()   answers them until somebody unmounts, or SIGTERM, SIGINT or SIGHUP arrives
 *   vs_sync()        by the caller: after a signal everything becomes durable before the mount goes away
 *   session_end()    unmounts, if that has not happened, and frees
 *
 * No thread exists before session_loop(), but the process must have forked into the background before
 * vs_open().
 */
#ifndef VECFS_FS_MOUNT_SESSION_H
#define VECFS_FS_MOUNT_SESSION_H

#include <stddef.h>

#include "fs/request/mount.h"

/*
 * Whether such a mount can be at all, as far as that is known beforehand: a standby must hear of it when it
 * is started, and not when it is needed. 0, or an error with one sentence in why.
 */
int session_check(const struct mount_options *options, char *why, size_t why_size);
/* Makes the session and the mount, which session_check has found possible. On failure why holds one sentence.
 */
int session_start(struct vs_store *store, const char *mountpoint, const struct mount_options *options,
		  struct mount **out, char *why, size_t why_size);
/* Serves until unmounted or signalled (0). ready(arg) is called, from some thread, when the mount answers. */
int session_loop(struct mount *s, void (*ready)(void *arg), void *arg);
void session_end(struct mount *s);

#endif
