/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snap - .vecfs/snap/ of a collection: its durable snapshots. Each is a collection by itself, which the
 * engine does not let anybody change: below snap/S everything is as in a collection, by the snapshot's
 * number.
 */
#include "fs/tree/dir.h"

#include <errno.h>
#include <string.h>

#include "fs/control/control.h"
#include "fs/inode/inode.h"
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

const struct node_ops dir_snap_ops = {
	.lookup = snap_lookup,
	.list = snap_list,
	.mkdir = snap_mkdir,
	.rmdir = snap_rmdir,
	.attr = control_attr,
};
