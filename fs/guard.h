/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard - a small process that outlives a daemon that is killed, and then aborts its connection.
 *
 * The kernel does that by itself when the last descriptor of /dev/fuse is closed. But a thread that is just telling the
 * kernel that something is out of date (notify) may be waiting for a directory or a page that a client has locked, and
 * the client for an answer of ours: the thread cannot be killed, keeps the descriptor open, and holds the store's lock;
 * so all would wait for ever.
 */
#ifndef VECFS_FS_GUARD_H
#define VECFS_FS_GUARD_H

/*
 * Starts it for a mount at this absolute path; returns what the other functions want, or -errno: there is none, and one
 * can do without. To be called while there is no other thread and little memory. It ends when this process does.
 */
int guard_start(const char *mountpoint);
/* The mount is there, and to be guarded from now on. */
void guard_watch(int guard, const char *mountpoint);
/* It is gone, as it should be. */
void guard_end(int guard);

#endif
