/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/mount/fuse_ops.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/request/reply_buffer.h"
#include "fs/inode/open_files.h"
#include "fs/control/array_pairing.h"
#include "fs/request/tsan_order.h"
#include "fs/control/control.h"
#include "fs/mount/park.h"
#include "fs/tree/dir.h"
#include "fs/tree/refused.h"
#include "fs/tree/rename.h"
#include "fs/tree/vector.h"

const struct node_ops *const ops_node_tables[NODE_KIND_COUNT] = {
	[NODE_ROOT] = &dir_root_ops,
	[NODE_COLLECTION] = &dir_collection_ops,
	[NODE_VECTOR] = &vector_ops,
	[NODE_SEGMENT] = &segment_ops,
	[NODE_MOMENT] = &pairing_ops,
	[NODE_REFUSED] = &refused_ops,
	[NODE_CONTROL] = &dir_control_ops,
	[NODE_LOG] = &text_ops,
	[NODE_METRICS] = &text_ops,
	[NODE_VERSION] = &text_ops,
	[NODE_SCHEMA] = &schema_ops,
	[NODE_STATS] = &text_ops,
	[NODE_SEGMENTS] = &dir_segments_ops,
	[NODE_TX] = &dir_tx_ops,
	[NODE_SNAP] = &dir_snap_ops,
	[NODE_CLONE] = &snap_clone_ops,
	[NODE_ROLLBACK] = &snap_rollback_ops,
	[NODE_COMMIT] = &dir_commit_ops,
	[NODE_RESULT] = &result_ops,
	[NODE_NEAR] = &dir_near_ops,
	[NODE_NEAR_AT] = &dir_near_ops,
	[NODE_NEAR_FILE] = &near_file_ops,
	[NODE_SEARCH] = &dir_search_ops,
	[NODE_QUERY] = &query_ops,
	[NODE_SEARCHED] = &searched_ops,
	[NODE_SESSION] = &dir_session_ops,
	[NODE_SESSION_FILE] = &session_file_ops,
	[NODE_VIEWS] = &dir_views_ops,
	[NODE_VIEW] = &dir_view_ops,
	[NODE_VIEW_CONTROL] = &dir_view_control_ops,
	[NODE_VIEW_DECODED] = &dir_view_ops,
	[NODE_VIEW_TEXT] = &view_text_ops,
	[NODE_VIEW_RECALL] = &view_recall_ops,
	[NODE_VIEW_DATA] = &view_data_ops,
	[NODE_UPLOAD] = &batch_upload_ops,
	[NODE_TEXT] = &batch_text_ops,
	[NODE_TEMPORARY] = &batch_temporary_ops,
	[NODE_FILE] = &batch_file_ops,
};

/*
 * A thread of libfuse's io_uring is cancelled when the mount ends, at whatever it does. It must not be in the
 * middle of a handler; it also ends by itself.
 */
static void forbid_cancellation(void)
{
	static _Thread_local bool done;

	if (!done)
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	done = true;
}

/* The decoded target of a request. */
struct call {
	struct mount *s;
	struct node node;
	const struct node_ops *ops;
};

static struct call enter(fuse_req_t req, fuse_ino_t ino)
{
	struct call c = {.s = ops_serve(req), .node = node_of(ino)};

	c.ops = ops_of(c.s, c.node.kind);
	forbid_cancellation();
	tsan_request(c.s);
	return c;
}

static void reply(fuse_req_t req, int rc)
{
	tsan_reply(ops_serve(req));
	fuse_reply_err(req, -rc);
}

static void reply_entry(fuse_req_t req, int rc, const struct fuse_entry_param *e)
{
	if (rc) {
		reply(req, rc);
		return;
	}
	tsan_reply(ops_serve(req));
	fuse_reply_entry(req, e);
}

static void reply_data(fuse_req_t req, const char *buf, ssize_t got)
{
	if (got < 0) {
		reply(req, (int)got);
		return;
	}
	tsan_reply(ops_serve(req));
	fuse_reply_buf(req, buf, (size_t)got);
}

static void hold(uint64_t ino, const struct fuse_file_info *fi)
{
	if (fi->fh)
		open_files_add((struct open_file *)(uintptr_t)fi->fh, ino);
}

static void release(struct mount *s, uint64_t ino, const struct fuse_file_info *fi)
{
	struct node node = node_of(ino);

	if (!fi->fh)
		return;
	open_files_remove((struct open_file *)(uintptr_t)fi->fh);
	ops_of(s, node.kind)->release(s, &node, fi);
}

static void reply_synced(void *arg, int result)
{
	struct mount *s = ops_serve(arg);

	reply(arg, result);
	atomic_fetch_sub(&s->syncs, 1);
}

/*
 * Replies when everything that has been acknowledged is durable. Where another thread may reply, none waits
 * for that but one that leads a commit: any number of clients then shares it.
 */
static void reply_when_durable(fuse_req_t req)
{
	struct mount *s = ops_serve(req);

	if (ops_must_reply_inline(req)) {
		reply(req, vs_sync(s->store));
		return;
	}
	atomic_fetch_add(&s->syncs, 1);
	vs_sync_async(s->store, reply_synced, req);
}

/* Whether the node is of those whose collection may be a batch, with files that are not the log's. */
static bool may_have_files(const struct node *node)
{
	switch (node->kind) {
	case NODE_COLLECTION:
	case NODE_CONTROL:
	case NODE_UPLOAD:
	case NODE_TEXT:
	case NODE_TEMPORARY:
	case NODE_FILE:
		return node->collection;
	default:
		return false;
	}
}

/* The requesting thread changes something in this collection. */
static void changes(fuse_req_t req, const struct node *node)
{
	pairing_changed(ops_serve(req), node->collection, fuse_req_ctx(req)->pid);
}

/* Whether a request would change what is below a durable snapshot: its sessions of searches are not. */
static bool is_frozen(struct mount *s, const struct node *node)
{
	struct vs_collection_info info;

	switch (node->kind) {
	case NODE_COLLECTION:
	case NODE_VECTOR:
	case NODE_SCHEMA:
	case NODE_CONTROL:
	case NODE_VIEWS:
	case NODE_VIEW_TEXT:
		break;
	default:
		return false;
	}
	return node->collection && !vs_collection_get(s->store, node->collection, &info) && info.frozen;
}

static struct create_args create_args_of(fuse_req_t req, const char *name, mode_t mode, int flags)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct create_args){name, {mode & 07777, ctx->uid, ctx->gid}, ctx->pid, flags};
}

/* ------------------------------------------------------------------ what takes long */

/* A request that another thread answers, with copies of what it carries. */
struct parked {
	fuse_req_t req;
	fuse_ino_t ino;
	void (*answer)(struct parked *p);
	struct fuse_file_info fi;
	off_t off;
	size_t size;
	bool plus;
	mode_t mode;
	fuse_ino_t new_parent;
	unsigned flags;
	char bytes[];
};

static void answer_parked(void *arg)
{
	struct parked *p = arg;

	p->answer(p);
	free(p);
}

/* Parks the request, if another thread may answer it. bytes: data_size bytes that it has brought, or NULL. */
static bool park_with(struct park *threads, const struct parked *like, const void *bytes, size_t data_size)
{
	struct parked *p =
		!threads || ops_must_reply_inline(like->req) ? NULL : malloc(sizeof *p + data_size);

	if (!p)
		return false;
	*p = *like;
	memcpy(p->bytes, bytes ? bytes : "", bytes ? data_size : 0);
	if (park_request(threads, answer_parked, p))
		return true;
	free(p);
	return false;
}

/* The same if it takes long. */
static bool park(const struct call *c, const struct parked *like, const void *bytes, size_t data_size)
{
	return c->ops->is_long && c->ops->is_long(c->s, &c->node, bytes ? data_size : 0) &&
	       park_with(c->s->searches, like, bytes, data_size);
}

/* The same if it waits for the disk in this directory, on io_uring: elsewhere there are threads enough. */
static bool park_change(const struct call *dir, const struct parked *like, const char *names, size_t size)
{
	return dir->ops->waits && ops_is_uring(like->req) && park_with(dir->s->changes, like, names, size);
}

/* ------------------------------------------------------------------ durable */

/* Replies when the node is durable, with all that has been acknowledged. */
static void answer_sync(fuse_req_t req, const struct call *c)
{
	int rc = may_have_files(&c->node) ? vs_batch_sync(c->s->store, c->node.collection) : 0;

	if (rc)
		reply(req, rc);
	else
		reply_when_durable(req);
}

static void sync_parked(struct parked *p)
{
	struct call c = enter(p->req, p->ino);

	answer_sync(p->req, &c);
}

static bool is_batch(struct mount *s, const struct node *node)
{
	struct vs_collection_info info;

	return may_have_files(node) && !vs_collection_get(s->store, node->collection, &info) && info.parent;
}

/* The same; the files of a batch may be large. */
static void sync_node(fuse_req_t req, const struct call *c, fuse_ino_t ino)
{
	struct parked like = {.req = req, .ino = ino, .answer = sync_parked};

	if (!ops_is_uring(req) || !is_batch(c->s, &c->node) || !park_with(c->s->changes, &like, NULL, 0))
		answer_sync(req, c);
}

/* ------------------------------------------------------------------ names */

static void answer_lookup(struct parked *p)
{
	struct call c = enter(p->req, p->ino);
	struct fuse_entry_param e = {0};

	reply_entry(p->req, c.ops->lookup(p->req, &c.node, p->bytes, &e), &e);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct call c = enter(req, parent);
	struct fuse_entry_param e = {0};

	if (park(&c, &(struct parked){.req = req, .ino = parent, .answer = answer_lookup}, name,
		 strlen(name) + 1))
		return;
	reply_entry(req, c.ops->lookup ? c.ops->lookup(req, &c.node, name, &e) : -ENOENT, &e);
}

static void answer_mkdir(fuse_req_t req, const struct call *c, const char *name, mode_t mode)
{
	struct create_args create = create_args_of(req, name, mode, 0);
	struct fuse_entry_param e = {0};

	reply_entry(req,
		    is_frozen(c->s, &c->node) ? -EROFS
		    : c->ops->mkdir           ? c->ops->mkdir(req, &c->node, &create, &e)
					      : -EPERM,
		    &e);
}

static void mkdir_parked(struct parked *p)
{
	struct call c = enter(p->req, p->ino);

	answer_mkdir(p->req, &c, p->bytes, p->mode);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct call c = enter(req, parent);
	struct parked like = {.req = req, .ino = parent, .answer = mkdir_parked, .mode = mode};

	if (!park_change(&c, &like, name, strlen(name) + 1))
		answer_mkdir(req, &c, name, mode);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct call c = enter(req, parent);
	struct create_args create = create_args_of(req, name, mode, fi->flags);
	struct fuse_entry_param e = {0};
	int rc = is_frozen(c.s, &c.node) ? -EROFS
		 : c.ops->create         ? c.ops->create(req, &c.node, &create, &e, fi)
					 : -EPERM;

	if (rc) {
		reply(req, rc);
		return;
	}
	hold(e.ino, fi);
	tsan_reply(c.s);
	if (fuse_reply_create(req, &e, fi) == -ENOENT)
		release(c.s, e.ino, fi); /* the one who wanted it was interrupted */
}

/* Pipes, sockets and devices have no place here; and a regular file without a byte is no vector. */
static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	(void)parent;
	(void)name;
	(void)mode;
	(void)rdev;
	reply(req, -EPERM);
}

static void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	(void)link;
	(void)parent;
	(void)name;
	reply(req, -EPERM);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
	(void)ino;
	(void)new_parent;
	(void)new_name;
	reply(req, -EPERM);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct call c = enter(req, parent);

	changes(req, &c.node);
	reply(req, is_frozen(c.s, &c.node) ? -EROFS
		   : c.ops->unlink         ? c.ops->unlink(req, &c.node, name)
					   : -EPERM);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct call c = enter(req, parent);

	reply(req, is_frozen(c.s, &c.node) ? -EROFS
		   : c.ops->rmdir          ? c.ops->rmdir(req, &c.node, name)
					   : -EPERM);
}

static void answer_rename(fuse_req_t req, const struct call *from, const char *name, const struct call *to,
			  const char *new_name, unsigned flags)
{
	if (is_frozen(from->s, &from->node) || is_frozen(from->s, &to->node))
		reply(req, -EROFS);
	else
		reply(req, rename_node(from->s, &from->node, name, &to->node, new_name, flags));
}

static void rename_parked(struct parked *p)
{
	struct call from = enter(p->req, p->ino), to = enter(p->req, p->new_parent);

	answer_rename(p->req, &from, p->bytes, &to, p->bytes + strlen(p->bytes) + 1, p->flags);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		      const char *new_name, unsigned flags)
{
	struct call from = enter(req, parent), to = enter(req, new_parent);
	struct parked like = {
		.req = req, .ino = parent, .answer = rename_parked, .new_parent = new_parent, .flags = flags};
	char names[2 * (VS_NAME_MAX + 1)];
	int size = snprintf(names, sizeof names, "%s%c%s", name, '\0', new_name) + 1;

	changes(req, &from.node);
	changes(req, &to.node);
	if (size > (int)sizeof names || !park_change(&to, &like, names, (size_t)size))
		answer_rename(req, &from, name, &to, new_name, flags);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct call c = enter(req, ino);
	char target[PATH_MAX];
	ssize_t got = -EINVAL;

	if (c.node.kind == NODE_SEGMENT)
		got = c.ops->read(c.s, &c.node, target, sizeof target, 0, NULL);
	if (got < 0)
		reply(req, (int)got);
	else
		fuse_reply_readlink(req, target);
}

/* ------------------------------------------------------------------ attributes */

static void reply_attr(fuse_req_t req, const struct call *c)
{
	struct stat st;
	double timeout_s;
	int rc = c->ops->attr ? c->ops->attr(c->s, &c->node, &st, &timeout_s) : -ESTALE;

	if (rc) {
		reply(req, rc);
		return;
	}
	tsan_reply(c->s);
	fuse_reply_attr(req, &st, timeout_s);
}

static void answer_getattr(struct parked *p)
{
	struct call c = enter(p->req, p->ino);

	reply_attr(p->req, &c);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct call c = enter(req, ino);

	(void)fi;
	if (!park(&c, &(struct parked){.req = req, .ino = ino, .answer = answer_getattr}, NULL, 0))
		reply_attr(req, &c);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int set, struct fuse_file_info *fi)
{
	struct call c = enter(req, ino);
	int rc = is_frozen(c.s, &c.node) ? -EROFS
		 : c.ops->setattr        ? c.ops->setattr(req, &c.node, st, set, fi)
					 : -EPERM;

	changes(req, &c.node);
	if (rc)
		reply(req, rc);
	else
		reply_attr(req, &c);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct call c = enter(req, ino);
	struct statvfs st;
	int rc = vs_statvfs(c.s->store, &st);

	atomic_store(&c.s->transport, ops_is_uring(req) ? SERVE_TRANSPORT_IO_URING : SERVE_TRANSPORT_CLASSIC);
	if (rc) {
		reply(req, rc);
		return;
	}
	st.f_namemax = VS_NAME_MAX;
	fuse_reply_statfs(req, &st);
}

/* ------------------------------------------------------------------ data */

static void answer_open(fuse_req_t req, fuse_ino_t ino, const struct call *c, struct fuse_file_info *fi)
{
	int rc = c->ops->open(req, &c->node, fi);

	if (rc) {
		reply(req, rc);
		return;
	}
	hold(ino, fi);
	tsan_reply(c->s);
	if (fuse_reply_open(req, fi) == -ENOENT)
		release(c->s, ino, fi); /* the one who wanted it was interrupted */
}

static void open_parked(struct parked *p)
{
	struct call c = enter(p->req, p->ino);

	answer_open(p->req, p->ino, &c, &p->fi);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct call c = enter(req, ino);

	if (c.s->stateless)
		reply(req, -ENOSYS); /* and the kernel will not ask again */
	else if (!c.ops->open)
		reply(req, -EACCES);
	else if ((fi->flags & O_ACCMODE) != O_RDONLY && is_frozen(c.s, &c.node))
		reply(req, -EROFS);
	else if (!park(&c, &(struct parked){.req = req, .ino = ino, .answer = open_parked, .fi = *fi}, NULL,
		       0))
		answer_open(req, ino, &c, fi);
}

static void answer_read(fuse_req_t req, const struct call *c, size_t size, off_t off,
			struct fuse_file_info *fi)
{
	char *buf = buffer_get(req, size);
	ssize_t got = buf ? -EINVAL : -ENOMEM;

	if (buf && c->ops->read)
		got = c->ops->read(c->s, &c->node, buf, size, off, fi);
	reply_data(req, buf, got);
}

static void read_parked(struct parked *p)
{
	struct call c = enter(p->req, p->ino);

	answer_read(p->req, &c, p->size, p->off, &p->fi);
}

/* What is open has been found: only where nothing is opened a READ finds it. */
static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct call c = enter(req, ino);
	struct parked like = {
		.req = req, .ino = ino, .answer = read_parked, .fi = *fi, .size = size, .off = off};

	if (!c.s->stateless || !park(&c, &like, NULL, 0))
		answer_read(req, &c, size, off, fi);
}

static void answer_write(fuse_req_t req, const struct call *c, const char *buf, size_t size, off_t off,
			 struct fuse_file_info *fi)
{
	int rc = c->ops->write ? c->ops->write(req, &c->node, buf, size, off, fi) : -EINVAL;

	if (rc) {
		reply(req, rc);
		return;
	}
	tsan_reply(c->s);
	fuse_reply_write(req, size);
}

static void write_parked(struct parked *p)
{
	struct call c = enter(p->req, p->ino);

	answer_write(p->req, &c, p->bytes, p->size, p->off, &p->fi);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	struct call c = enter(req, ino);
	struct parked like = {
		.req = req, .ino = ino, .answer = write_parked, .fi = *fi, .size = size, .off = off};

	if (!park(&c, &like, buf, size))
		answer_write(req, &c, buf, size, off, fi);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct call c = enter(req, ino);
	bool changed = false;
	int rc = c.s->stateless ? -ENOSYS : 0;

	if (!rc && c.ops->flush)
		rc = c.ops->flush(req, &c.node, fi, &changed);
	if (changed)
		changes(req, &c.node);
	if (!rc && changed && c.s->options.sync_on_close)
		sync_node(req, &c, ino);
	else
		reply(req, rc);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct call c = enter(req, ino);
	int rc = c.ops->fsync ? c.ops->fsync(req, &c.node, fi) : 0;

	(void)datasync;
	changes(req, &c.node);
	if (rc)
		reply(req, rc);
	else
		sync_node(req, &c, ino);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct call c = enter(req, ino);

	release(c.s, ino, fi);
	reply(req, 0);
}

/* Space for the bytes of a vector is always there: it only remains to have the size. */
static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t length,
			 struct fuse_file_info *fi)
{
	struct call c = enter(req, ino);

	if ((mode & ~FALLOC_FL_KEEP_SIZE) || !c.ops->allocate)
		reply(req, -EOPNOTSUPP);
	else
		reply(req, c.ops->allocate(c.s, &c.node, (uint64_t)off + (uint64_t)length,
					   mode & FALLOC_FL_KEEP_SIZE, fi));
}

/* ------------------------------------------------------------------ directories */

static void answer_list(fuse_req_t req, const struct call *c, size_t size, off_t off, bool plus)
{
	char *buf = buffer_get(req, size);
	ssize_t got = buf ? -ENOTDIR : -ENOMEM;

	if (buf && c->ops->list)
		got = c->ops->list(req, &c->node, buf, size, off, plus);
	reply_data(req, buf, got);
}

static void list_parked(struct parked *p)
{
	struct call c = enter(p->req, p->ino);

	answer_list(p->req, &c, p->size, p->off, p->plus);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct call c = enter(req, ino);
	struct parked like = {
		.req = req, .ino = ino, .answer = list_parked, .size = size, .off = off, .plus = plus};

	if (!park(&c, &like, NULL, 0))
		answer_list(req, &c, size, off, plus);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, true);
}

static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct call c = enter(req, ino);

	(void)datasync;
	(void)fi;
	sync_node(req, &c, ino);
}

/* ------------------------------------------------------------------ the connection */

static void want(struct fuse_conn_info *conn, uint64_t feature, bool wanted)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	if (wanted)
		fuse_set_feature_flag(conn, feature);
	else
		fuse_unset_feature_flag(conn, feature);
#else
	if (!(conn->capable & feature))
		return;
	if (wanted)
		conn->want |= (unsigned)feature;
	else
		conn->want &= ~(unsigned)feature;
#endif
}

static bool offers(const struct fuse_conn_info *conn, uint64_t feature)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	return conn->capable_ext & feature;
#else
	return conn->capable & feature;
#endif
}

static void op_init(void *user, struct fuse_conn_info *conn)
{
	struct mount *s = user;

	conn->max_write = OPS_WRITE_BYTES_MAX;
	conn->max_readahead = 4u << 20;
	want(conn, FUSE_CAP_ATOMIC_O_TRUNC, false); /* a truncation must not shrink what others see */
	want(conn, FUSE_CAP_PARALLEL_DIROPS, true);
	want(conn, FUSE_CAP_IOCTL_DIR, false);
	/* The kernel takes set-user-ID away itself at chown and truncate; at writes file.c does. */
	want(conn, FUSE_CAP_HANDLE_KILLPRIV, false);
#ifdef FUSE_CAP_DIRECT_IO_ALLOW_MMAP
	s->direct_mmap = offers(conn, FUSE_CAP_DIRECT_IO_ALLOW_MMAP);
	want(conn, FUSE_CAP_DIRECT_IO_ALLOW_MMAP, s->direct_mmap);
#endif
	s->stateless = s->options.read_only && offers(conn, FUSE_CAP_NO_OPEN_SUPPORT);
}

const struct fuse_lowlevel_ops ops_table = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.readdir = op_readdir,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.create = op_create,
	.fallocate = op_fallocate,
	.readdirplus = op_readdirplus,
};
