/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mountpoint - the mounts of vecfs as the kernel lists them in /proc/self/mountinfo, proc(5). The source of a
 * mount is the absolute path of its store.
 *
 * Any thread may call these functions; they keep no state.
 */
#ifndef VECFS_FS_MOUNT_MOUNTPOINT_H
#define VECFS_FS_MOUNT_MOUNTPOINT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct mountpoint {
	char path[PATH_MAX];
	char root[PATH_MAX]; /* what of the file system is mounted here: "/", or of a bind mount perhaps a
				part */
	char store[PATH_MAX];
	unsigned minor; /* of its device number: the name of its connection, while there is one */
};

/* The vecfs mount at this absolute path. -ENOENT: there is none, or another file system covers it. */
int mountpoint_at(const char *path, struct mountpoint *out);
/* The vecfs mount that holds path, an absolute one without symbolic links. -ENOENT: there is none. */
int mountpoint_around(const char *path, struct mountpoint *out);
/* A mount of the whole of the same file system as m's, which may be a bind mount of a part. -ENOENT: there is
 * none. */
int mountpoint_whole(const struct mountpoint *m, struct mountpoint *out);
/* The (last) mount of a store, given as an absolute path without symbolic links. -ENOENT. */
int mountpoint_of_store(const char *store, struct mountpoint *out);

/* The last mount in a list like /proc/self/mountinfo that is of m's file system. -ENOENT; -errno: no such
 * list. */
int mountpoint_in_list(const char *list, const struct mountpoint *m, struct mountpoint *out);
/* A mount of any file system at a place below path. -ENOENT. */
int mountpoint_below(const char *path, struct mountpoint *out);
/* Whether path, which lies in m, is the root of its file system and not a part. */
bool mountpoint_is_root(const struct mountpoint *m, const char *path);

/*
 * The absolute path of a directory that may be a dead mount: only what leads to it is resolved by asking the
 * file system. The last part need not exist.
 */
int mountpoint_resolve(const char *path, char out[PATH_MAX]);
/* Whether path is a mount whose daemon has died: everything in it answers ENOTCONN. */
bool mountpoint_is_stale(const char *path);
/* Whether inner is outer, or lies below it; both absolute. */
bool mountpoint_contains(const char *outer, const char *inner);

/*
 * Unmounts path, with fusermount3 where umount2(2) is not allowed; lazily also while it is in use. -EBUSY: in
 * use. -EPERM: not allowed, and fusermount3 would not either.
 */
int mountpoint_unmount(const char *path, bool lazily);

#endif
