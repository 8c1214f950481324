/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snap - .vecfs/snap/ of a collection: its durable snapshots. Each is a collection by itself, which the
 * engine does not let anybody change: below snap/S everything is as in a collection, by the snapshot's
 * number. What is written to snap/S/.vecfs/clone makes a collection of it, and to snap/S/.vecfs/rollback
 * makes the snapshot's own collection what it was.
 */
#include "fs/tree/dir.h"

#include <errno.h>
#include <string.h>

#include "fs/control/control.h"
#include "fs/inode/inode.h"
#include "fs/request/invalidate.h"
#include "fs/request/listing.h"
#include "fs/request/message.h"

static void snap_entry(struct mount *s, const struct vs_collection_info *info, struct fuse_entry_param *e)
{
	e->ino = node_collection_ino(info->id);
	node_stat(e->ino, S_IFDIR | 07777, &info->perm, info->mtime, info->ctime, 0, &e->attr);
	e->entry_timeout = e->attr_timeout = ops_timeout_s(s);
}

static int snap_lookup(fuse_req_t req, const struct node *dir, const char *name, struct fuse_entry_param *e)
{
	struct mount *s = ops_serve(req);
	struct vs_collection_info info;
	int rc = vs_snap_find(s->store, dir->collection, name, &info);

	if (!rc)
		snap_entry(s, &info, e);
	return rc;
}

static ssize_t snap_list(fuse_req_t req, const struct node *dir, char *buf, size_t size, off_t off, bool plus)
{
	struct listing l = {.req = req, .buf = buf, .size = size, .plus = plus};
	struct vs_collection_info info = {.id = off > LISTING_DOTS ? (uint32_t)(off - LISTING_DOTS) : 0};
	struct fuse_entry_param e = {0};
	struct mount *s = ops_serve(req);
	bool room = listing_dots(&l, node_ino(dir), control_parent_ino(dir), off);

	while (room && !vs_snap_next(s->store, dir->collection, info.id, &info)) {
		snap_entry(s, &info, &e);
		room = listing_add(&l, info.name, &e, (off_t)info.id + LISTING_DOTS);
	}
	return (ssize_t)l.used;
}

/* It is durable when it returns. */
static int snap_mkdir(fuse_req_t req, const struct node *dir, const struct create_args *create,
		      struct fuse_entry_param *e)
{
	struct mount *s = ops_serve(req);
	struct vs_collection_info info;
	uint32_t id;
	int rc = vs_snap_create(s->store, dir->collection, create->name, &id);

	if (rc == -EOPNOTSUPP)
		message(VS_WARNING, "snap/%s: refused: the store's file system has no hard links",
			create->name);
	if (!rc)
		rc = vs_sync(s->store);
	if (!rc)
		rc = vs_collection_get(s->store, id, &info);
	if (!rc)
		snap_entry(s, &info, e);
	return rc;
}

/* Open files of its vectors keep those. */
static int snap_rmdir(fuse_req_t req, const struct node *dir, const char *name)
{
	struct mount *s = ops_serve(req);
	struct vs_collection_info info;
	struct inode_set all;
	int rc = vs_snap_find(s->store, dir->collection, name, &info);

	if (!rc)
		rc = inode_preserve_all_begin(s, info.id, &all);
	if (rc)
		return rc;
	rc = vs_snap_drop(s->store, info.id);
	inode_preserve_all_end(s, &all);
	return rc;
}

int snap_rename(struct mount *s, uint32_t collection, const char *name, const char *new_name)
{
	struct vs_collection_info info;
	int rc = vs_snap_find(s->store, collection, name, &info);

	return rc ? rc : vs_snap_rename(s->store, info.id, new_name);
}

/* ------------------------------------------------------------------ files that take a name */

/* There is nothing to read, and a write is its own end. */
static int order_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	(void)req;
	(void)node;
	fi->direct_io = 1;
	return (fi->flags & O_ACCMODE) == O_WRONLY ? 0 : -EACCES;
}

/* Of a shell's > that empties what is written. */
static int order_setattr(fuse_req_t req, const struct node *node, const struct stat *st, int set,
			 struct fuse_file_info *fi)
{
	(void)req;
	(void)node;
	(void)fi;
	return set & FUSE_SET_ATTR_SIZE && st->st_size == 0 ? 0 : -EPERM;
}

/* It waits for the disk. */
static bool order_is_long(struct mount *s, const struct node *node, size_t data_size)
{
	(void)s;
	(void)node;
	return data_size > 0;
}

/* The name that a write gives. It may hold anything but a newline at its end. */
static int order_name(const void *buf, size_t size, off_t off, char name[VS_NAME_MAX + 1])
{
	const char *text = buf;
	int rc;

	if (size > 0 && text[size - 1] == '\n')
		size--;
	rc = off ? -EINVAL : vs_name_check(text, size);
	if (rc)
		return rc;
	memcpy(name, text, size);
	name[size] = '\0';
	return 0;
}

/* ------------------------------------------------------------------ clone */

/*
 * snap/S/.vecfs/clone takes, in one write, the name that a new collection of the mount gets: the snapshot's
 * vectors, and its owner and mode, so that nobody gets to see what they could not before. It is as the root
 * is for whoever wants to write it, for that is where the collection is made.
 */
static int clone_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	struct vs_perm root = control_root_perm(s);

	node_stat(node_ino(node), S_IFREG | 0222, &root, s->started, s->started, 0, st);
	*timeout_s = 0;
	return 0;
}

static int make_clone(struct mount *s, uint32_t snap, const char *name)
{
	static const char taken[] = "there is a collection of that name, which stays as it is";
	struct vs_collection_info info = {0}, of;
	uint32_t id;
	int rc = vs_collection_get(s->store, snap, &info);

	if (!rc)
		rc = vs_snap_clone(s->store, snap, name, &info.perm, &id);
	if (!rc)
		notify_entry(s->notify, FUSE_ROOT_ID, name);
	else if (info.parent && !vs_collection_get(s->store, info.parent, &of))
		message(VS_WARNING, "%s/.vecfs/snap/%s/.vecfs/clone: refused: '%s': %s", of.name, info.name,
			name, rc == -EEXIST ? taken : strerror(-rc));
	return rc == -ENOENT ? -ESTALE : rc;
}

static int clone_write(fuse_req_t req, const struct node *node, const void *buf, size_t size, off_t off,
		       const struct fuse_file_info *fi)
{
	char name[VS_NAME_MAX + 1];
	int rc = order_name(buf, size, off, name);

	(void)fi;
	return rc ? rc : make_clone(ops_serve(req), node->collection, name);
}

const struct node_ops snap_clone_ops = {
	.is_long = order_is_long,
	.attr = clone_attr,
	.setattr = order_setattr,
	.open = order_open,
	.write = clone_write,
};

/* ------------------------------------------------------------------ rollback */

/*
 * snap/S/.vecfs/rollback takes the name of the snapshot's collection, so that nobody goes back by mistake. It
 * is a change of that collection, and so for whoever may write to it as it is now.
 */
static int rollback_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	struct vs_collection_info info;
	int rc = vs_collection_get(s->store, node->collection, &info);

	if (!rc)
		rc = vs_collection_get(s->store, info.parent, &info);
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	node_stat(node_ino(node), S_IFREG | 0222, &info.perm, s->started, s->started, 0, st);
	*timeout_s = 0;
	return 0;
}

/* As a batch is committed: open files keep what they have, and no two names are looked up around it. */
static int roll_back(struct mount *s, uint32_t snap, uint32_t collection)
{
	struct inode_set all;
	int rc = inode_preserve_all_begin(s, collection, &all);

	if (rc)
		return rc;
	atomic_fetch_add(&s->names_changing, 1);
	notify_names(s->notify);
	rc = vs_snap_rollback(s->store, snap);
	atomic_fetch_sub(&s->names_changing, 1);
	inode_preserve_all_end(s, &all);
	return rc;
}

static int rollback_write(fuse_req_t req, const struct node *node, const void *buf, size_t size, off_t off,
			  const struct fuse_file_info *fi)
{
	struct mount *s = ops_serve(req);
	struct vs_collection_info info, of;
	char name[VS_NAME_MAX + 1];
	int rc = order_name(buf, size, off, name);

	(void)fi;
	if (!rc)
		rc = vs_collection_get(s->store, node->collection, &info);
	if (!rc)
		rc = vs_collection_get(s->store, info.parent, &of);
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	rc = strcmp(name, of.name) ? -EINVAL : roll_back(s, info.id, of.id);
	if (rc)
		message(VS_WARNING, "%s/.vecfs/snap/%s/.vecfs/rollback: refused: %s", of.name, info.name,
			rc == -EINVAL  ? "that is not the collection's name"
			: rc == -EBUSY ? "the collection has vectors of another dim, dtype or metric"
				       : strerror(-rc));
	else
		notify_entry(s->notify, FUSE_ROOT_ID, of.name);
	return rc == -ENOENT ? -ESTALE : rc;
}

const struct node_ops snap_rollback_ops = {
	.is_long = order_is_long,
	.attr = rollback_attr,
	.setattr = order_setattr,
	.open = order_open,
	.write = rollback_write,
};

/* ------------------------------------------------------------------ snap/ */

const struct node_ops dir_snap_ops = {
	.lookup = snap_lookup,
	.list = snap_list,
	.mkdir = snap_mkdir,
	.rmdir = snap_rmdir,
	.waits = true,
	.attr = control_attr,
};
