/* SPDX-License-Identifier: Apache-2.0 */
#include "ops.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "fs/buffer.h"
#include "fs/moment.h"
#include "fs/opened.h"
#include "fs/rename.h"

int64_t ops_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

const struct node_ops *ops_of(enum node_kind kind)
{
	static const struct node_ops none;
	static const struct node_ops *const tables[NODE_KIND_COUNT] = {
		[NODE_ROOT] = &dir_root_ops,         [NODE_COLLECTION] = &dir_collection_ops,
		[NODE_VECTOR] = &vector_ops,         [NODE_SEGMENT] = &segment_ops,
		[NODE_MOMENT] = &moment_ops,         [NODE_CONTROL] = &dir_control_ops,
		[NODE_LOG] = &text_ops,              [NODE_METRICS] = &text_ops,
		[NODE_VERSION] = &text_ops,          [NODE_SCHEMA] = &schema_ops,
		[NODE_STATS] = &text_ops,            [NODE_SEGMENTS] = &dir_segments_ops,
		[NODE_TX] = &dir_tx_ops,             [NODE_COMMIT] = &dir_commit_ops,
		[NODE_UPLOAD] = &batch_upload_ops,   [NODE_TEXT] = &batch_text_ops,
	};

	return tables[kind] ? tables[kind] : &none;
}

int ops_entry(struct serve *s, const struct node *node, double entry_timeout_s, struct fuse_entry_param *e)
{
	int rc;

	e->ino = node_ino(node);
	e->entry_timeout = entry_timeout_s;
	rc = ops_of(node->kind)->attr(s, node, &e->attr, &e->attr_timeout);
	return rc == -ESTALE ? -ENOENT : rc;
}

unsigned ops_setattr_which(const struct stat *st, int set, struct vs_attr *attr)
{
	unsigned which = 0;

	memset(attr, 0, sizeof *attr);
	attr->perm = (struct vs_perm){st->st_mode & 07777, st->st_uid, st->st_gid};
	attr->mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
	if (set & FUSE_SET_ATTR_MTIME_NOW)
		attr->mtime_ns = ops_now_ns();
	if (set & FUSE_SET_ATTR_MODE)
		which |= VS_SET_MODE;
	if (set & FUSE_SET_ATTR_UID)
		which |= VS_SET_UID;
	if (set & FUSE_SET_ATTR_GID)
		which |= VS_SET_GID;
	if (set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW))
		which |= VS_SET_MTIME;
	return which;
}

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

static void reply(fuse_req_t req, int rc)
{
	fuse_reply_err(req, -rc);
}

static void reply_entry(fuse_req_t req, int rc, const struct fuse_entry_param *e)
{
	if (rc)
		reply(req, rc);
	else
		fuse_reply_entry(req, e);
}

/* The requesting thread has changed something in this collection. */
static void changed(fuse_req_t req, const struct node *node)
{
	moment_changed(ops_serve(req), node->collection, fuse_req_ctx(req)->pid);
}

static struct ops_birth birth_of(fuse_req_t req, const char *name, mode_t mode, int flags)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct ops_birth){name, {mode & 07777, ctx->uid, ctx->gid}, ctx->pid, flags};
}

/* ------------------------------------------------------------------ names */

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct node dir = node_of(parent);
	const struct node_ops *ops = ops_of(dir.kind);
	struct fuse_entry_param e = {0};

	forbid_cancellation();
	reply_entry(req, ops->lookup ? ops->lookup(req, &dir, name, &e) : -ENOENT, &e);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct node dir = node_of(parent);
	const struct node_ops *ops = ops_of(dir.kind);
	struct ops_birth birth = birth_of(req, name, mode, 0);
	struct fuse_entry_param e = {0};

	reply_entry(req, ops->mkdir ? ops->mkdir(req, &dir, &birth, &e) : -EPERM, &e);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct node dir = node_of(parent);
	const struct node_ops *ops = ops_of(dir.kind);
	struct ops_birth birth = birth_of(req, name, mode, fi->flags);
	struct fuse_entry_param e = {0};
	int rc = ops->create ? ops->create(req, &dir, &birth, &e, fi) : -EPERM;

	forbid_cancellation();
	if (rc)
		reply(req, rc);
	else
		fuse_reply_create(req, &e, fi);
}

/* Sockets, pipes, devices and links have no place here. (mknod of a regular file is: creat, close; too early.) */
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
	struct node dir = node_of(parent);
	const struct node_ops *ops = ops_of(dir.kind);

	changed(req, &dir);
	reply(req, ops->unlink ? ops->unlink(req, &dir, name) : -EPERM);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct node dir = node_of(parent);
	const struct node_ops *ops = ops_of(dir.kind);

	reply(req, ops->rmdir ? ops->rmdir(req, &dir, name) : -EPERM);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                      const char *new_name, unsigned flags)
{
	struct node from = node_of(parent), to = node_of(new_parent);

	changed(req, &from);
	changed(req, &to);
	reply(req, rename_node(ops_serve(req), &from, name, &to, new_name, flags));
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct node node = node_of(ino);
	char target[4096];
	ssize_t got = -EINVAL;

	if (node.kind == NODE_SEGMENT)
		got = ops_of(node.kind)->read(ops_serve(req), &node, target, sizeof target, 0, NULL);
	if (got < 0)
		reply(req, (int)got);
	else
		fuse_reply_readlink(req, target);
}

/* ------------------------------------------------------------------ attributes */

static void reply_attr(fuse_req_t req, const struct node *node)
{
	const struct node_ops *ops = ops_of(node->kind);
	struct stat st;
	double timeout_s;
	int rc = ops->attr ? ops->attr(ops_serve(req), node, &st, &timeout_s) : -ESTALE;

	if (rc)
		reply(req, rc);
	else
		fuse_reply_attr(req, &st, timeout_s);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node node = node_of(ino);

	(void)fi;
	forbid_cancellation();
	reply_attr(req, &node);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int set, struct fuse_file_info *fi)
{
	struct node node = node_of(ino);
	const struct node_ops *ops = ops_of(node.kind);
	int rc = ops->setattr ? ops->setattr(req, &node, st, set, fi) : -EPERM;

	changed(req, &node);
	if (rc)
		reply(req, rc);
	else
		reply_attr(req, &node);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct serve *s = ops_serve(req);
	struct statvfs st;
	int rc = vs_statvfs(s->store, &st);

	(void)ino;
	atomic_store(&s->transport,
	             ops_must_reply_inline(req) ? SERVE_TRANSPORT_IO_URING : SERVE_TRANSPORT_CLASSIC);
	st.f_namemax = VS_NAME_MAX;
	if (rc)
		reply(req, rc);
	else
		fuse_reply_statfs(req, &st);
}

/* ------------------------------------------------------------------ data */

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct serve *s = ops_serve(req);
	struct node node = node_of(ino);
	const struct node_ops *ops = ops_of(node.kind);
	int rc;

	forbid_cancellation();
	if (s->stateless) {
		reply(req, -ENOSYS); /* and the kernel will not ask again */
		return;
	}
	rc = ops->open ? ops->open(req, &node, fi) : -EACCES;
	if (rc)
		reply(req, rc);
	else
		fuse_reply_open(req, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct node node = node_of(ino);
	const struct node_ops *ops = ops_of(node.kind);
	char *buf = buffer_get(req, size);
	ssize_t got = buf ? -EINVAL : -ENOMEM;

	if (buf && ops->read)
		got = ops->read(ops_serve(req), &node, buf, size, off, fi);
	if (got < 0)
		reply(req, (int)got);
	else
		fuse_reply_buf(req, buf, (size_t)got);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
                     struct fuse_file_info *fi)
{
	struct node node = node_of(ino);
	const struct node_ops *ops = ops_of(node.kind);
	int rc = ops->write ? ops->write(ops_serve(req), &node, buf, size, off, fi) : -EINVAL;

	if (rc)
		reply(req, rc);
	else
		fuse_reply_write(req, size);
}

static void reply_synced(void *arg, int result)
{
	reply(arg, result);
}

/*
 * Replies when everything that has been acknowledged is durable. Where the transport allows, no thread waits for
 * that: any number of clients then shares one commit.
 */
static void reply_when_durable(fuse_req_t req)
{
	struct vs_store *store = ops_serve(req)->store;

	if (ops_must_reply_inline(req))
		reply(req, vs_sync(store));
	else
		vs_sync_async(store, reply_synced, req);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node node = node_of(ino);
	const struct node_ops *ops = ops_of(node.kind);
	bool sync = false;
	int rc;

	if (ops_serve(req)->stateless) {
		reply(req, -ENOSYS);
		return;
	}
	rc = ops->flush ? ops->flush(req, &node, fi, &sync) : 0;
	changed(req, &node);
	if (!rc && sync && ops_serve(req)->options.sync_on_close)
		reply_when_durable(req);
	else
		reply(req, rc);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct node node = node_of(ino);
	const struct node_ops *ops = ops_of(node.kind);
	int rc = ops->fsync ? ops->fsync(req, &node, fi) : 0;

	(void)datasync;
	changed(req, &node);
	if (rc)
		reply(req, rc);
	else
		reply_when_durable(req);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node node = node_of(ino);
	const struct node_ops *ops = ops_of(node.kind);

	if (ops->release && fi->fh)
		ops->release(ops_serve(req), &node, fi);
	reply(req, 0);
}

/* Space for the bytes of a vector is always there: it only remains to have the size. */
static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t length,
                         struct fuse_file_info *fi)
{
	struct node node = node_of(ino);
	const struct node_ops *ops = ops_of(node.kind);
	struct stat st = {.st_size = off + length};

	if (mode != 0 || node.kind != NODE_VECTOR)
		reply(req, -EOPNOTSUPP);
	else
		reply(req, ops->setattr(req, &node, &st, FUSE_SET_ATTR_SIZE, fi));
}

/* ------------------------------------------------------------------ directories */

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct node node = node_of(ino);
	const struct node_ops *ops = ops_of(node.kind);
	char *buf = buffer_get(req, size);
	ssize_t got = buf ? -ENOTDIR : -ENOMEM;

	forbid_cancellation();
	if (buf && ops->list)
		got = ops->list(req, &node, buf, size, off, plus);
	if (got < 0)
		reply(req, (int)got);
	else
		fuse_reply_buf(req, buf, (size_t)got);
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
	(void)ino;
	(void)datasync;
	(void)fi;
	reply_when_durable(req);
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
	struct serve *s = user;

	conn->max_write = 1u << 20;
	conn->max_readahead = 4u << 20;
	want(conn, FUSE_CAP_ATOMIC_O_TRUNC, false); /* see staging: a truncation must not shrink what others see */
	want(conn, FUSE_CAP_PARALLEL_DIROPS, true);
	want(conn, FUSE_CAP_IOCTL_DIR, false);
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
