/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ops - what each kind of node does, and what its functions need to know of a request.
 *
 * The table of a kind has functions that return 0 or -errno and leave the reply to the dispatcher
 * (mount/fuse_ops.h); only where the reply is data do they make it themselves. What a kind has no function
 * for is refused. They run on any thread, also those of io_uring, where one that waits stalls all requests of
 * its CPU: only the engine's back-pressure and an fsync that leads a commit may wait there, and what is_long
 * or waits, or syncs a batch's files, where it cannot be parked.
 */
#ifndef VECFS_FS_REQUEST_OPS_H
#define VECFS_FS_REQUEST_OPS_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "fs/request/ino.h"
#include "fs/request/mount.h"
#include "store/store.h"

/* How long the kernel may keep what only changes through it, or is invalidated when it changes otherwise. */
#define OPS_TIMEOUT_S 3600.0
#define OPS_TIMEOUT_READ_ONLY_S 86400.0

/* The most that one WRITE carries. */
#define OPS_WRITE_BYTES_MAX (1u << 20)

static inline struct mount *ops_serve(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static inline double ops_timeout_s(const struct mount *s)
{
	return s->options.read_only ? OPS_TIMEOUT_READ_ONLY_S : OPS_TIMEOUT_S;
}

/* Whether it came by an io_uring: then nobody is told that it was interrupted. */
static inline bool ops_is_uring(fuse_req_t req)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	return fuse_req_is_uring(req);
#else
	(void)req;
	return false;
#endif
}

/* Whether only the handler's own thread may reply (libfuse issue 1443): not in a libfuse that scripts/setup
 * has mended. */
static inline bool ops_must_reply_inline(fuse_req_t req)
{
#ifdef FUSE_URING_REPLIES_FROM_ANY_THREAD
	(void)req;
	return false;
#else
	return ops_is_uring(req);
#endif
}

/* A name being created: with the creator's permissions. */
struct create_args {
	const char *name;
	struct vs_perm perm;
	pid_t thread; /* of the creator */
	int flags;    /* of open(2) */
};

/* What the nodes of a kind do. A directory has the first part, a file the second. */
struct node_ops {
	int (*lookup)(fuse_req_t req, const struct node *dir, const char *name, struct fuse_entry_param *e);
	/* Fills buf with the entries above offset off, with attributes if plus; returns the bytes or -errno.
	 */
	ssize_t (*list)(fuse_req_t req, const struct node *dir, char *buf, size_t size, off_t off, bool plus);
	int (*mkdir)(fuse_req_t req, const struct node *dir, const struct create_args *create,
		     struct fuse_entry_param *e);
	int (*create)(fuse_req_t req, const struct node *dir, const struct create_args *create,
		      struct fuse_entry_param *e, struct fuse_file_info *fi);
	int (*unlink)(fuse_req_t req, const struct node *dir, const char *name);
	int (*rmdir)(fuse_req_t req, const struct node *dir, const char *name);

	/* Whether a request to this node, with so many bytes of data, may take longer than a thread that
	 * answers requests can be spared. NULL: never. */
	bool (*is_long)(struct mount *s, const struct node *node, size_t data_size);
	/* Whether a mkdir in it, or a rename to it, waits for the disk. */
	bool waits;

	int (*attr)(struct mount *s, const struct node *node, struct stat *st, double *timeout_s);
	int (*setattr)(fuse_req_t req, const struct node *node, const struct stat *st, int set,
		       struct fuse_file_info *fi);
	int (*open)(fuse_req_t req, const struct node *node, struct fuse_file_info *fi);
	/* Fills buf, returns the bytes or -errno. fi->fh is 0 on a stateless mount. */
	ssize_t (*read)(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
			const struct fuse_file_info *fi);
	int (*write)(fuse_req_t req, const struct node *node, const void *buf, size_t size, off_t off,
		     const struct fuse_file_info *fi);
	/* At each close(2). *changed: something has been since the last, which -o sync makes durable. */
	int (*flush)(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi, bool *changed);
	int (*fsync)(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi);
	void (*release)(struct mount *s, const struct node *node, const struct fuse_file_info *fi);
	/* Bytes up to end are to have space; the file is to be that long, unless keep_size. */
	int (*allocate)(struct mount *s, const struct node *node, uint64_t end, bool keep_size,
			const struct fuse_file_info *fi);
};

/* The table of a kind of node. */
const struct node_ops *ops_of(const struct mount *s, enum node_kind kind);
/* Fills e for a node whose name and attributes may be kept for these times. */
int ops_entry(struct mount *s, const struct node *node, double entry_timeout_s, struct fuse_entry_param *e);
/* The VS_SET_* of a SETATTR, its values in attr. Times of access are not kept. */
unsigned ops_setattr_which(const struct stat *st, int set, struct vs_attr *attr);
/* A READ of [off, off + size) of bytes that are in memory: copies what there is of it, and returns how much.
 */
ssize_t ops_copy_part(const char *bytes, size_t bytes_size, void *buf, size_t size, off_t off);

#endif
