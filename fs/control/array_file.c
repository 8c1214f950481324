/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/array_file.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/control.h"
#include "fs/inode/open_files.h"
#include "fs/control/array_pairing.h"
#include "fs/request/process.h"

struct array_file {
	struct open_file open_file;
	struct pairing *moment;
	process_t process;
	atomic_bool left; /* by the process, for pairing_leave */
};

static enum array_format format_of(const struct node *node)
{
	assert(!node_is_ids(node) && node->which != NODE_ARRAY_ROWS);
	return (enum array_format)(node->which - NODE_ARRAY_VECTORS);
}

static struct array_shape shape_of(const struct vs_snapshot_info *info)
{
	return (struct array_shape){.dtype = info->schema.dtype, .dim = info->schema.dim, .rows = info->rows};
}

static uint64_t size_of(const struct node *node, const struct vs_snapshot_info *info)
{
	unsigned char header[ARRAY_HEADER_BYTES_MAX];
	struct array_shape shape = shape_of(info);

	if (node->which == NODE_ARRAY_IDS)
		return info->ids_bytes;
	if (node->which == NODE_ARRAY_IDS0)
		return info->ids0_bytes;
	if (node->which == NODE_ARRAY_ROWS)
		return info->rows * sizeof(struct vs_row_meta);
	return array_header_build(format_of(node), &shape, header) +
	       info->rows * (array_row_prefix(format_of(node)) + info->row_bytes);
}

int array_attr(struct mount *s, const struct node *node, const struct vs_snapshot_info *info, struct stat *st)
{
	struct node fixed = {.kind = NODE_ARRAY, .collection = node->collection, .which = node->which};
	struct node moment = fixed;
	struct vs_collection_info collection;
	int rc = vs_collection_get(s->store, node->collection, &collection);

	if (!rc)
		rc = control_file_attr(s, &fixed, collection.mtime, size_of(node, info), st);
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	/* So whoever has two arrays open can see by fstat(2) whether they are of one version. */
	moment.kind = NODE_MOMENT;
	moment.entry = info->version;
	st->st_ino = node_ino(&moment);
	return 0;
}

static int pairing_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	struct vs_snapshot_info info;
	int rc = pairing_find(s, node, &info);

	*timeout_s = ops_timeout_s(s);
	return rc ? rc : array_attr(s, node, &info, st);
}

static int pairing_node_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	struct array_file *h;
	int rc;

	if ((fi->flags & O_ACCMODE) != O_RDONLY)
		return -EACCES; /* the mode says so, but not to root */
	h = calloc(1, sizeof *h);
	if (!h)
		return -ENOMEM;
	h->process = process_of(fuse_req_ctx(req)->pid);
	rc = pairing_open(ops_serve(req), node, h->process, &h->moment);
	if (rc) {
		free(h);
		return rc;
	}
	fi->fh = (uintptr_t)h;
	fi->keep_cache = 1; /* the inode is the version's own */
	return 0;
}

static void leave(struct mount *s, const struct node *node, struct array_file *h)
{
	if (!atomic_exchange(&h->left, true))
		pairing_leave(s, node, h->process, h->moment);
}

/* Unlike RELEASE it comes before close(2) returns, and also when a mapping is left. */
static int pairing_node_flush(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi,
			      bool *changed)
{
	struct array_file *h = (struct array_file *)(uintptr_t)fi->fh;

	(void)changed;
	if (process_of(fuse_req_ctx(req)->pid) == h->process) /* not a child with an inherited descriptor */
		leave(ops_serve(req), node, h);
	return 0;
}

static void pairing_node_release(struct mount *s, const struct node *node, const struct fuse_file_info *fi)
{
	struct array_file *h = (struct array_file *)(uintptr_t)fi->fh;

	leave(s, node, h);
	pairing_close(s, h->moment);
	free(h);
}

/*
 * Rows with their dim before each, for [off, off + size) of all rows laid end to end. The packed rows are
 * read into the end of the buffer, and moved apart from the front: what is written never reaches what is
 * still to be moved.
 */
static ssize_t read_prefixed(struct vs_snapshot *m, const struct vs_snapshot_info *info, unsigned char *buf,
			     size_t size, uint64_t off)
{
	size_t row = info->row_bytes, stride = ARRAY_PREFIX_BYTES + row, used = 0;
	uint64_t first = off / stride, in_row = off % stride, end = (off + size) / stride;
	uint64_t from = first * row + (in_row > ARRAY_PREFIX_BYTES ? in_row - ARRAY_PREFIX_BYTES : 0);
	uint64_t end_in_row = (off + size) % stride;
	uint64_t to = end * row + (end_in_row > ARRAY_PREFIX_BYTES ? end_in_row - ARRAY_PREFIX_BYTES : 0);
	unsigned char *packed = buf + size - (to - from);
	const uint32_t dim = info->schema.dim; /* little-endian, as all of vecfs */
	ssize_t got = vs_snapshot_vectors(m, packed, (size_t)(to - from), from);

	if (got < 0)
		return got;
	if ((uint64_t)got != to - from)
		return -EIO;
	while (used < size) {
		bool is_prefix = in_row < ARRAY_PREFIX_BYTES;
		size_t n = (is_prefix ? ARRAY_PREFIX_BYTES : stride) - in_row;

		if (n > size - used)
			n = size - used;
		if (is_prefix) {
			memcpy(buf + used, (const unsigned char *)&dim + in_row, n);
		} else {
			memmove(buf + used, packed, n);
			packed += n;
		}
		used += n;
		in_row = (in_row + n) % stride;
	}
	return (ssize_t)size;
}

/* The rows' part of the file; a row that is damaged fails the read. */
static ssize_t read_rows(const struct node *node, struct vs_snapshot *m, const struct vs_snapshot_info *info,
			 unsigned char *buf, size_t size, uint64_t off)
{
	size_t prefix = array_row_prefix(format_of(node));
	uint64_t total = info->rows * (prefix + info->row_bytes);

	if (off >= total)
		return 0;
	if (size > total - off)
		size = (size_t)(total - off);
	return prefix ? read_prefixed(m, info, buf, size, off) : vs_snapshot_vectors(m, buf, size, off);
}

static ssize_t read_vectors(const struct node *node, struct vs_snapshot *m,
			    const struct vs_snapshot_info *info, unsigned char *buf, size_t size,
			    uint64_t off)
{
	unsigned char header[ARRAY_HEADER_BYTES_MAX];
	struct array_shape shape = shape_of(info);
	size_t header_bytes = array_header_build(format_of(node), &shape, header), from_header = 0;
	ssize_t got;

	if (off < header_bytes) {
		from_header = header_bytes - (size_t)off < size ? header_bytes - (size_t)off : size;
		memcpy(buf, header + off, from_header);
		off = header_bytes;
	}
	if (from_header == size)
		return (ssize_t)size;
	got = read_rows(node, m, info, buf + from_header, size - from_header, off - header_bytes);
	return got < 0 ? got : got + (ssize_t)from_header;
}

/* The metadata of rows laid end to end: those that a piece of them lies in, whole, and then the piece. */
static ssize_t read_meta(struct vs_snapshot *m, void *buf, size_t size, uint64_t off)
{
	uint64_t first = off / sizeof(struct vs_row_meta), skip = off % sizeof(struct vs_row_meta);
	uint64_t count = (skip + size + sizeof(struct vs_row_meta) - 1) / sizeof(struct vs_row_meta);
	struct vs_row_meta *rows = malloc(count * sizeof *rows + 1);
	ssize_t got = rows ? vs_snapshot_meta(m, first, count, rows) : -ENOMEM;

	if (got > 0)
		got = ops_copy_part((const char *)rows, (size_t)got * sizeof *rows, buf, size, (off_t)skip);
	free(rows);
	return got;
}

static ssize_t pairing_node_read(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
				 const struct fuse_file_info *fi)
{
	struct array_file *h = (struct array_file *)(uintptr_t)fi->fh;
	struct pairing *moment;
	struct vs_snapshot_info info;
	int rc;

	rc = h ? 0 : pairing_pin(s, node, &moment);
	if (rc)
		return rc;
	if (h)
		moment = h->moment;
	vs_snapshot_info(pairing_of(moment), &info);
	if (node->which == NODE_ARRAY_IDS)
		return vs_snapshot_ids(pairing_of(moment), buf, size, (uint64_t)off);
	if (node->which == NODE_ARRAY_IDS0)
		return vs_snapshot_ids0(pairing_of(moment), buf, size, (uint64_t)off);
	if (node->which == NODE_ARRAY_ROWS)
		return read_meta(pairing_of(moment), buf, size, (uint64_t)off);
	return read_vectors(node, pairing_of(moment), &info, buf, size, (uint64_t)off);
}

const struct node_ops pairing_ops = {
	.attr = pairing_attr,
	.open = pairing_node_open,
	.read = pairing_node_read,
	.flush = pairing_node_flush,
	.release = pairing_node_release,
};
