/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/tree/dir.h"

#include <errno.h>
#include <string.h>

#include "fs/control/batch.h"
#include "fs/control/control.h"
#include "fs/tree/file.h"
#include "fs/request/listing.h"
#include "fs/request/message.h"
#include "fs/control/refusal.h"
#include "fs/tree/refused.h"
#include "fs/tree/vector.h"

#define CONTROL_NAME ".vecfs"
/* A collection's mtime also changes when a vector is published, unseen by the kernel. */
#define DIR_TIMEOUT_S 1.0

static int collection_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	struct vs_collection_info info;
	int rc = vs_collection_get(s->store, node->collection, &info);

	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	node_stat(node_ino(node), S_IFDIR | 07777, &info.perm, info.mtime, info.ctime, 0, st);
	*timeout_s = DIR_TIMEOUT_S;
	return 0;
}

static void collection_entry(struct mount *s, const struct vs_collection_info *info,
			     struct fuse_entry_param *e)
{
	e->ino = node_collection_ino(info->id);
	node_stat(e->ino, S_IFDIR | 07777, &info->perm, info->mtime, info->ctime, 0, &e->attr);
	e->entry_timeout = ops_timeout_s(s);
	e->attr_timeout = DIR_TIMEOUT_S;
}

static int collection_setattr(fuse_req_t req, const struct node *node, const struct stat *st, int set,
			      struct fuse_file_info *fi)
{
	struct vs_attr attr;
	unsigned which = ops_setattr_which(st, set, &attr);

	(void)fi;
	return which ? vs_collection_set(ops_serve(req)->store, node->collection, which, &attr.perm,
					 attr.mtime)
		     : 0;
}

/* The control directory of the node, which is never listed. */
static int control_entry(struct mount *s, uint32_t collection, struct fuse_entry_param *e)
{
	struct node control = {.kind = NODE_CONTROL, .collection = collection};

	return ops_entry(s, &control, ops_timeout_s(s), e);
}

/* ------------------------------------------------------------------ collections under a parent */

static int child_lookup(struct mount *s, uint32_t parent, const char *name, struct fuse_entry_param *e)
{
	struct vs_collection_info info;
	int rc = vs_name_check(name, strlen(name));

	if (!rc)
		rc = vs_collection_find(s->store, parent, name, &info);
	if (!rc)
		collection_entry(s, &info, e);
	return rc;
}

/* Of the collection that batches are made in, or of the root. */
static int parent_attr(struct mount *s, uint32_t parent, struct stat *st)
{
	struct node node = {.kind = parent ? NODE_COLLECTION : NODE_ROOT, .collection = parent};
	double timeout_s;

	return ops_of(s, node.kind)->attr(s, &node, st, &timeout_s);
}

static int child_mkdir(struct mount *s, uint32_t parent, const struct create_args *create,
		       struct fuse_entry_param *e)
{
	struct vs_collection_info info;
	struct vs_perm perm = create->perm;
	struct stat above;
	uint32_t id;
	int rc = vs_name_check(create->name, strlen(create->name));

	if (!rc)
		rc = parent_attr(s, parent, &above);
	if (!rc && above.st_mode & S_ISGID) { /* which a directory hands down, too */
		perm.gid = above.st_gid;
		perm.mode |= S_ISGID;
	}
	if (!rc)
		rc = vs_collection_create(s->store, parent, create->name, &perm, &id);
	if (!rc)
		rc = vs_collection_get(s->store, id, &info);
	if (!rc)
		collection_entry(s, &info, e);
	return rc;
}

/* A collection without vectors is empty for all that can be seen: what nobody has committed goes with it. */
static int remove_batches(struct mount *s, uint32_t collection)
{
	struct vs_collection_info batch = {0};
	int rc = 0;

	while (!rc && !vs_collection_next(s->store, collection, batch.id, &batch))
		rc = batch_remove(s, batch.id);
	return rc;
}

static int child_rmdir(struct mount *s, uint32_t parent, const char *name)
{
	struct vs_collection_info info, snap;
	int rc = vs_collection_find(s->store, parent, name, &info);

	if (!rc && !parent && !vs_snap_next(s->store, info.id, 0, &snap)) {
		message(VS_WARNING, "%s: not removed: it has snapshots, in %s/.vecfs/snap", info.name,
			info.name);
		rc = -ENOTEMPTY;
	}
	if (!rc && !parent && info.count == 0 && !info.damaged)
		rc = remove_batches(s, info.id);
	return rc ? rc : batch_remove(s, info.id);
}

static void child_list(struct listing *l, uint32_t parent, off_t off)
{
	struct mount *s = ops_serve(l->req);
	struct vs_collection_info info = {.id = off > LISTING_DOTS ? (uint32_t)(off - LISTING_DOTS) : 0};
	struct fuse_entry_param e = {0};

	do {
		if (vs_collection_next(s->store, parent, info.id, &info))
			return;
		collection_entry(s, &info, &e);
	} while (listing_add(l, info.name, &e, (off_t)info.id + LISTING_DOTS));
}

/* ------------------------------------------------------------------ the root */

static int root_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	struct vs_root root;

	(void)node;
	vs_root_get(s->store, &root);
	node_stat(FUSE_ROOT_ID, S_IFDIR | 07777, root.owned ? &root.perm : &s->root_perm, root.mtime,
		  root.ctime, 0, st);
	st->st_nlink = 1; /* unknown: find(1) must not count on it */
	*timeout_s = DIR_TIMEOUT_S;
	return 0;
}

/* The first owner and mode come whole, for the engine has none yet. */
static int root_setattr(fuse_req_t req, const struct node *node, const struct stat *st, int set,
			struct fuse_file_info *fi)
{
	struct mount *s = ops_serve(req);
	struct vs_root root;
	struct vs_attr attr;
	unsigned which = ops_setattr_which(st, set, &attr);

	(void)node;
	(void)fi;
	vs_root_get(s->store, &root);
	if (!root.owned && which & (VS_SET_MODE | VS_SET_UID | VS_SET_GID)) {
		attr.perm.mode = which & VS_SET_MODE ? attr.perm.mode : s->root_perm.mode;
		attr.perm.uid = which & VS_SET_UID ? attr.perm.uid : s->root_perm.uid;
		attr.perm.gid = which & VS_SET_GID ? attr.perm.gid : s->root_perm.gid;
		which |= VS_SET_MODE | VS_SET_UID | VS_SET_GID;
	}
	return which ? vs_root_set(s->store, which, &attr.perm, attr.mtime) : 0;
}

static int root_lookup(fuse_req_t req, const struct node *dir, const char *name, struct fuse_entry_param *e)
{
	(void)dir;
	if (!strcmp(name, CONTROL_NAME))
		return control_entry(ops_serve(req), 0, e);
	return child_lookup(ops_serve(req), 0, name, e);
}

static ssize_t root_list(fuse_req_t req, const struct node *dir, char *buf, size_t size, off_t off, bool plus)
{
	struct listing l = {.req = req, .buf = buf, .size = size, .plus = plus};

	if (listing_dots(&l, node_ino(dir), node_ino(dir), off))
		child_list(&l, 0, off);
	return (ssize_t)l.used;
}

static int root_mkdir(fuse_req_t req, const struct node *dir, const struct create_args *create,
		      struct fuse_entry_param *e)
{
	(void)dir;
	return child_mkdir(ops_serve(req), 0, create, e);
}

static int root_rmdir(fuse_req_t req, const struct node *dir, const char *name)
{
	(void)dir;
	return strcmp(name, CONTROL_NAME) ? child_rmdir(ops_serve(req), 0, name) : -EPERM;
}

const struct node_ops dir_root_ops = {
	.lookup = root_lookup,
	.list = root_list,
	.mkdir = root_mkdir,
	.rmdir = root_rmdir,
	.attr = root_attr,
	.setattr = root_setattr,
};

/* ------------------------------------------------------------------ a collection */

static int collection_lookup(fuse_req_t req, const struct node *dir, const char *name,
			     struct fuse_entry_param *e)
{
	int rc;

	if (!strcmp(name, CONTROL_NAME))
		return control_entry(ops_serve(req), dir->collection, e);
	rc = vector_lookup(ops_serve(req), dir->collection, name, e);
	return rc == -ENOENT ? refused_lookup(ops_serve(req), dir->collection, name, e) : rc;
}

static int collection_unlink(fuse_req_t req, const struct node *dir, const char *name)
{
	int rc = vector_unlink(req, dir, name);

	return rc == -ENOENT ? refused_unlink(ops_serve(req), dir->collection, name) : rc;
}

static int collection_create(fuse_req_t req, const struct node *dir, const struct create_args *create,
			     struct fuse_entry_param *e, struct fuse_file_info *fi)
{
	struct vs_collection_info info;
	struct create_args heir = *create;
	int rc = vs_collection_get(ops_serve(req)->store, dir->collection, &info);

	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	if (info.perm.mode & S_ISGID)
		heir.perm.gid = info.perm.gid;
	return file_create(req, dir, &heir, e, fi);
}

struct vector_listing {
	struct listing base;
	uint32_t collection;
};

/* Runs under the engine's lock. */
static bool add_vector(void *arg, const struct vs_attr *attr, const char *name, size_t name_len)
{
	struct vector_listing *l = arg;
	struct fuse_entry_param e = {0};
	char terminated[VS_NAME_MAX + 1];

	memcpy(terminated, name, name_len);
	terminated[name_len] = '\0';
	if (!l->base.plus)
		return listing_add_bare(&l->base, terminated, node_vector_ino(l->collection, attr->entry),
					S_IFREG, (off_t)attr->entry);
	vector_entry(ops_serve(l->base.req), l->collection, attr, &e);
	return listing_add(&l->base, terminated, &e, (off_t)attr->entry);
}

static ssize_t collection_list(fuse_req_t req, const struct node *dir, char *buf, size_t size, off_t off,
			       bool plus)
{
	struct vector_listing l = {{.req = req, .buf = buf, .size = size, .plus = plus}, dir->collection};
	uint64_t after = off < VS_ENTRY_FIRST ? 0 : (uint64_t)off;
	int rc;

	if (!listing_dots(&l.base, node_ino(dir), FUSE_ROOT_ID, off))
		return (ssize_t)l.base.used;
	rc = vs_list(ops_serve(req)->store, dir->collection, after, add_vector, &l);
	return rc ? rc : (ssize_t)l.base.used;
}

const struct node_ops dir_collection_ops = {
	.lookup = collection_lookup,
	.list = collection_list,
	.create = collection_create,
	.unlink = collection_unlink,
	.attr = collection_attr,
	.setattr = collection_setattr,
};

/* ------------------------------------------------------------------ tx and commit */

static int tx_lookup(fuse_req_t req, const struct node *dir, const char *name, struct fuse_entry_param *e)
{
	int rc = child_lookup(ops_serve(req), dir->collection, name, e);

	if (!rc)
		refusal_load(ops_serve(req), node_of(e->ino).collection);
	return rc;
}

static ssize_t tx_list(fuse_req_t req, const struct node *dir, char *buf, size_t size, off_t off, bool plus)
{
	struct listing l = {.req = req, .buf = buf, .size = size, .plus = plus};

	if (listing_dots(&l, node_ino(dir), control_parent_ino(dir), off))
		child_list(&l, dir->collection, off);
	return (ssize_t)l.used;
}

static int tx_mkdir(fuse_req_t req, const struct node *dir, const struct create_args *create,
		    struct fuse_entry_param *e)
{
	return child_mkdir(ops_serve(req), dir->collection, create, e);
}

static int tx_rmdir(fuse_req_t req, const struct node *dir, const char *name)
{
	return child_rmdir(ops_serve(req), dir->collection, name);
}

const struct node_ops dir_tx_ops = {
	.lookup = tx_lookup,
	.list = tx_list,
	.mkdir = tx_mkdir,
	.rmdir = tx_rmdir,
	.attr = control_attr,
};

/* What is renamed into it is gone: it is always empty. */
static int commit_lookup(fuse_req_t req, const struct node *dir, const char *name, struct fuse_entry_param *e)
{
	(void)req;
	(void)dir;
	(void)name;
	(void)e;
	return -ENOENT;
}

static ssize_t commit_list(fuse_req_t req, const struct node *dir, char *buf, size_t size, off_t off,
			   bool plus)
{
	struct listing l = {.req = req, .buf = buf, .size = size, .plus = plus};

	listing_dots(&l, node_ino(dir), control_parent_ino(dir), off);
	return (ssize_t)l.used;
}

const struct node_ops dir_commit_ops = {
	.lookup = commit_lookup,
	.list = commit_list,
	.waits = true,
	.attr = control_attr,
};
