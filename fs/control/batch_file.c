/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch_file - the files of a batch that are bytes and no list: attributes, and received, where vecfs receive
 * notes how far it has come.
 *
 * attributes has a struct vs_file_attr for each row of the batch's array. Who is not root may write whole
 * elements only, and none that would give a vector away or make it set-user-ID: what the kernel would refuse
 * of chown(2).
 */
#include <errno.h>
#include <string.h>

#include "fs/control/batch.h"
#include "fs/control/control.h"

static enum vs_batch_text text_of(const struct node *node)
{
	return (enum vs_batch_text)node->which;
}

static int file_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	uint64_t size;
	int rc = vs_batch_text_size(s->store, node->collection, text_of(node), &size);

	*timeout_s = 0;
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	return control_file_attr(s, node, vs_time_now(), size, st);
}

static int file_setattr(fuse_req_t req, const struct node *node, const struct stat *st, int set,
			struct fuse_file_info *fi)
{
	(void)fi;
	if (!(set & FUSE_SET_ATTR_SIZE))
		return 0; /* modes and times are the collection's */
	if (st->st_size < 0)
		return -EINVAL;
	return vs_batch_text_truncate(ops_serve(req)->store, node->collection, text_of(node),
				      (uint64_t)st->st_size);
}

static int file_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	struct vs_store *s = ops_serve(req)->store;

	batch_open_bytes(ops_serve(req), fi);
	/* Only a file that is being created comes with these; otherwise a SETATTR follows. */
	if (fi->flags & O_TRUNC)
		return vs_batch_text_truncate(s, node->collection, text_of(node), 0);
	return fi->flags & O_CREAT ? vs_batch_text_write(s, node->collection, text_of(node), "", 0, 0) : 0;
}

static ssize_t file_read(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
			 const struct fuse_file_info *fi)
{
	(void)fi;
	return vs_batch_text_read(s->store, node->collection, text_of(node), buf, size, (uint64_t)off);
}

/* Whether somebody unprivileged may give files these attributes. */
static int check_owner(fuse_req_t req, const struct node *node, const void *buf, size_t size, off_t off)
{
	const struct fuse_ctx *who = fuse_req_ctx(req);
	struct vs_collection_info batch;
	struct vs_file_attr attr;
	int rc = vs_collection_get(ops_serve(req)->store, node->collection, &batch);

	if (rc)
		return rc;
	if (size % sizeof attr || (uint64_t)off % sizeof attr)
		return -EINVAL;
	for (size_t at = 0; at < size; at += sizeof attr) {
		memcpy(&attr, (const char *)buf + at, sizeof attr);
		if (attr.uid != who->uid || (attr.gid != who->gid && attr.gid != batch.perm.gid) ||
		    attr.mode & 06000)
			return -EPERM;
	}
	return 0;
}

static int file_write(fuse_req_t req, const struct node *node, const void *buf, size_t size, off_t off,
		      const struct fuse_file_info *fi)
{
	bool trusted = fuse_req_ctx(req)->uid == 0 || node->which != VS_BATCH_ATTRIBUTES;
	int rc = trusted ? 0 : check_owner(req, node, buf, size, off);

	(void)fi;
	return rc ? rc
		  : vs_batch_text_write(ops_serve(req)->store, node->collection, text_of(node), buf, size,
					(uint64_t)off);
}

const struct node_ops batch_file_ops = {
	.attr = file_attr,
	.setattr = file_setattr,
	.open = file_open,
	.read = file_read,
	.write = file_write,
	.flush = batch_flush_bytes,
};
