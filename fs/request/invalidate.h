/* SPDX-License-Identifier: Apache-2.0 */
/*
 * invalidate - tells the kernel that something it has cached is out of date. A handler must not do that
 * itself: the kernel may wait for a page or a directory that a request under way has locked. So there is a
 * thread; and until that has come to an inode, whoever opens it is told not to use cached pages
 * (notify_is_stale).
 */
#ifndef VECFS_FS_REQUEST_INVALIDATE_H
#define VECFS_FS_REQUEST_INVALIDATE_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/request/mount.h"

/* What the thread does beside, which belongs to the rooms above. Without any of this room's locks. */
struct notify_duties {
	/* First of all, when the mount has answered a request. */
	void (*answering)(struct mount *s);
	/* Once a second after notify_housekeeping(), as long as this says that there is more to come. */
	bool (*housekeep)(struct mount *s);
	/* Soon after notify_settling(): publishes what is staged by writers that pause; false if nothing is
	 * staged at all. */
	bool (*settle)(struct mount *s);
};

/* Starts the thread; duties stay the caller's. NULL: no memory, or no thread. */
struct notify *notify_start(struct mount *s, const struct notify_duties *duties);
/* Lets the thread end after what it is doing; what is queued is dropped. */
void notify_quit(struct notify *n);
/* Waits for that. The mount must be gone: nothing else frees a thread that waits for the kernel. */
void notify_end(struct notify *n);

/* An inode's data and attributes have changed. */
void notify_inode(struct notify *n, uint64_t ino);
/* Whether notify_inode() has not had its effect yet. */
bool notify_is_stale(struct notify *n, uint64_t ino);
/*
 * Every name that is cached now will be looked up again: at once, and the kernel locks nothing for it. False:
 * the kernel or libfuse cannot do that.
 */
bool notify_names(struct notify *n);
/* A name in a directory has changed its meaning, and so have those below it. Takes effect at once where it
 * can. */
void notify_entry(struct notify *n, uint64_t dir_ino, const char *name);
/* Something is staged: whether its writer pauses is looked at from now on. */
void notify_settling(struct notify *n);
/* Something waits for the housekeeping that the thread does once a second. */
void notify_housekeeping(struct notify *n);

#endif
