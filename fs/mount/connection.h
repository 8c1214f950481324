/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection - the kernel's side of a mount, and its control file: when nobody answers requests any more,
 * those that wait must be told to fail.
 *
 * Closing the last descriptor of /dev/fuse does that, too. But a thread that is just telling the kernel that
 * something is out of date (notify) may be waiting for a directory or a page that a client has locked, and
 * the client for an answer of ours: the thread cannot be killed, and keeps its descriptor open.
 *
 * A connection is known by its open file, not by its number: when it ends the number goes to the next mount,
 * while the file goes on to mean this connection, and then none.
 */
#ifndef VECFS_FS_MOUNT_CONNECTION_H
#define VECFS_FS_MOUNT_CONNECTION_H

/*
 * The connection with this number; -1: it cannot be had (an ordinary user's mount on a machine without
 * /sys/fs/fuse/connections). To be closed by the caller.
 */
int connection_open(unsigned minor);
/* Every request fails, now and from now on; to one that has ended nothing happens. */
void connection_abort(int connection);
/*
 * Large files are read ahead by whole requests of 1 MiB rather than by the kernel's 128 KiB: a third faster.
 * For root, where /sys can be written to; without effect elsewhere.
 */
void connection_read_ahead(unsigned minor);

#endif
