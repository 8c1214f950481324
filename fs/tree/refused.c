/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/tree/refused.h"

#include <errno.h>
#include <string.h>

#include "fs/tree/file.h"
#include "fs/control/refusal.h"
#include "fs/tree/vector.h"

static int refused_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	struct vs_collection_info batch;
	struct vs_attr attr = {0};
	char name[VS_NAME_MAX + 1];
	int rc = vs_collection_get(s->store, node->collection, &batch);

	*timeout_s = 0;
	if (rc || !refusal_vector_name(node->collection, node->entry, name))
		return -ESTALE;
	attr.perm = batch.perm;
	attr.mtime = batch.mtime;
	vs_lookup(s->store, node->collection, name, &attr); /* written anew, and still open */
	node_stat(node_ino(node), VECTOR_LIMIT & ~(mode_t)0111, &attr.perm, attr.mtime, attr.mtime, attr.size,
		  st);
	return 0;
}

int refused_lookup(struct mount *s, uint32_t batch, const char *name, struct fuse_entry_param *e)
{
	struct node node = {.kind = NODE_REFUSED, .collection = batch};

	if (!refusal_vector(s, batch, name, &node.entry))
		return -ENOENT;
	return ops_entry(s, &node, 0, e);
}

int refused_unlink(struct mount *s, uint32_t batch, const char *name)
{
	uint64_t number;

	if (!refusal_vector(s, batch, name, &number))
		return -ENOENT;
	refusal_remove(s, batch, name);
	return 0;
}

/* Who writes it creates it: the file is one of a new vector, whatever number the kernel knows it by. */
static int refused_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	struct mount *s = ops_serve(req);
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct node dir = {.kind = NODE_COLLECTION, .collection = node->collection};
	struct vs_collection_info batch;
	struct fuse_entry_param e = {0};
	char name[VS_NAME_MAX + 1];

	if (vs_collection_get(s->store, node->collection, &batch) ||
	    !refusal_vector_name(node->collection, node->entry, name))
		return -ESTALE;
	if ((fi->flags & O_ACCMODE) == O_RDONLY)
		return -ENOENT;
	return file_create(
		req, &dir,
		&(struct create_args){
			name, {batch.perm.mode & 0666, ctx->uid, ctx->gid}, ctx->pid, fi->flags & ~O_EXCL},
		&e, fi);
}

/* The vector that a file is of. */
static struct node vector_of(const struct fuse_file_info *fi)
{
	return node_of(atomic_load(&file_of(fi)->inode->ino));
}

static int refused_setattr(fuse_req_t req, const struct node *node, const struct stat *st, int set,
			   struct fuse_file_info *fi)
{
	struct node vector;

	(void)node;
	if (!fi || !fi->fh) /* there is nothing that could have it */
		return 0;
	vector = vector_of(fi);
	return vector_ops.setattr(req, &vector, st, set, fi);
}

static ssize_t refused_read(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
			    const struct fuse_file_info *fi)
{
	struct node vector = vector_of(fi);

	(void)node;
	return vector_ops.read(s, &vector, buf, size, off, fi);
}

static int refused_write(fuse_req_t req, const struct node *node, const void *buf, size_t size, off_t off,
			 const struct fuse_file_info *fi)
{
	struct node vector = vector_of(fi);

	(void)node;
	return vector_ops.write(req, &vector, buf, size, off, fi);
}

static int refused_flush(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi,
			 bool *changed)
{
	struct node vector = vector_of(fi);

	(void)node;
	return vector_ops.flush(req, &vector, fi, changed);
}

static int refused_fsync(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi)
{
	struct node vector = vector_of(fi);

	(void)node;
	return vector_ops.fsync(req, &vector, fi);
}

static void refused_release(struct mount *s, const struct node *node, const struct fuse_file_info *fi)
{
	struct node vector = vector_of(fi);

	(void)node;
	vector_ops.release(s, &vector, fi);
}

const struct node_ops refused_ops = {
	.attr = refused_attr,
	.setattr = refused_setattr,
	.open = refused_open,
	.read = refused_read,
	.write = refused_write,
	.flush = refused_flush,
	.fsync = refused_fsync,
	.release = refused_release,
};
