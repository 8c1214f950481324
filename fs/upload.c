/* SPDX-License-Identifier: Apache-2.0 */
#include "upload.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/array.h"
#include "fs/batch.h"
#include "fs/control.h"
#include "fs/held.h"
#include "fs/process.h"

#define WHY_BYTES 256
#define HEADER_BYTES_MAX NPY_HEADER_BYTES_MAX

enum upload_state {
	UPLOAD_HEADER, /* the header is not complete */
	UPLOAD_ROWS,
	UPLOAD_DONE,    /* kept by the engine, until it is written anew */
	UPLOAD_REFUSED, /* nothing of it is kept */
};

struct upload_handle {
	struct held held;
	pthread_mutex_t lock;
	pid_t opener;
	enum upload_state state;
	enum array_format format;
	uint64_t size;         /* bytes written: the offset at which writing must go on */
	unsigned char *header; /* as much as there is of it */
	struct array_shape shape;
	size_t prefix_bytes, row_bytes; /* of each row */
	size_t in_row;                  /* bytes of the current row that have come, its prefix included */
	unsigned char prefix[ARRAY_PREFIX_BYTES];
	uint64_t row_stream_bytes; /* of all rows so far, prefixes included */
	struct vs_upload *upload;
};

static struct upload_handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct upload_handle *)(uintptr_t)fi->fh;
}

int upload_drop(struct serve *s, const struct node *node)
{
	struct vs_collection_info info;
	struct vs_schema schema;
	struct vs_upload *u;
	int rc = vs_collection_get(s->store, node->collection, &info);

	if (rc)
		return rc;
	schema = info.schema;
	if (schema.dim == 0) /* any will do: beginning another one is what drops it */
		schema.dim = 8;
	rc = vs_upload_begin(s->store, node->collection, &schema, &u);
	return rc ? rc : vs_upload_end(u, false);
}

static int upload_attr(struct serve *s, const struct node *node, struct stat *st, double *timeout_s)
{
	struct vs_batch_info batch;
	struct vs_collection_info info;
	int rc = vs_batch_get(s->store, node->collection, &batch);

	*timeout_s = 0;
	if (!rc)
		rc = vs_collection_get(s->store, node->collection, &info);
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	return control_file_attr(s, node, vs_time_now(), batch.upload_rows * info.row_bytes, st);
}

/* Sizes are not set: opening with O_TRUNC, and the preallocation of cp, change nothing. */
static int upload_setattr(fuse_req_t req, const struct node *node, const struct stat *st, int set,
			  struct fuse_file_info *fi)
{
	(void)req;
	(void)node;
	(void)st;
	(void)set;
	(void)fi;
	return 0;
}

static int upload_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	struct upload_handle *h;

	if ((fi->flags & O_ACCMODE) != O_WRONLY)
		return -EACCES;
	h = calloc(1, sizeof *h);
	if (!h)
		return -ENOMEM;
	pthread_mutex_init(&h->lock, NULL);
	h->opener = fuse_req_ctx(req)->pid;
	h->format = (enum array_format)(node->which - NODE_VIEW_VECTORS);
	fi->fh = (uintptr_t)h;
	fi->direct_io = 1;
	return 0;
}

/* Nothing is kept; why is told where the caller has not. */
static int refuse(struct serve *s, const struct node *node, struct upload_handle *h, int rc, const char *why)
{
	if (why)
		batch_refuse(s, node, "%s", why);
	if (h->upload)
		vs_upload_end(h->upload, false);
	h->upload = NULL;
	h->state = UPLOAD_REFUSED;
	return rc;
}

/* The header is complete: the engine is told what to expect. */
static int begin(struct serve *s, const struct node *node, struct upload_handle *h)
{
	struct vs_collection_info info;
	struct vs_schema schema;
	char why[WHY_BYTES];
	int rc = vs_collection_get(s->store, node->collection, &info);

	if (rc)
		return refuse(s, node, h, rc, strerror(-rc));
	if (h->format == ARRAY_RAW)
		h->shape = (struct array_shape){info.schema.dtype, info.schema.dim, ARRAY_ROWS_UNTOLD};
	if (h->format == ARRAY_RAW && h->shape.dim == 0)
		return refuse(s, node, h, -EINVAL,
			      "a raw file does not tell its dim: write it to schema first");
	if (info.schema.dtype == VS_BIT && h->format == ARRAY_NPY && h->shape.dtype == VS_U8) {
		h->shape.dtype = VS_BIT; /* a row of bits is written as bytes */
		h->shape.dim *= 8;
	}
	if ((info.schema.dim && h->shape.dim != info.schema.dim) || h->shape.dtype != info.schema.dtype) {
		snprintf(why, sizeof why, "got dim=%u dtype=%s, want dim=%u dtype=%s", h->shape.dim,
			 vs_dtype_name(h->shape.dtype), info.schema.dim, vs_dtype_name(info.schema.dtype));
		return refuse(s, node, h, -EINVAL, why);
	}
	schema = (struct vs_schema){h->shape.dim, h->shape.dtype, info.schema.metric};
	h->prefix_bytes = array_row_prefix(h->format);
	h->row_bytes = array_row_bytes(&h->shape);
	rc = vs_upload_begin(s->store, node->collection, &schema, &h->upload);
	if (rc)
		return refuse(s, node, h, rc,
			      rc == -EBUSY ? "another upload is being written" : strerror(-rc));
	h->state = UPLOAD_ROWS;
	return 0;
}

/* Checks a row's own dim, of which n bytes are at data. */
static int take_prefix(struct serve *s, const struct node *node, struct upload_handle *h,
		       const unsigned char *data, size_t n)
{
	uint32_t dim;
	char why[WHY_BYTES];

	memcpy(h->prefix + h->in_row, data, n);
	if (h->in_row + n < ARRAY_PREFIX_BYTES)
		return 0;
	memcpy(&dim, h->prefix, sizeof dim);
	if (dim == h->shape.dim)
		return 0;
	snprintf(why, sizeof why, "row %" PRIu64 " starts with dim %u, want %u",
		 h->row_stream_bytes / (h->prefix_bytes + h->row_bytes), dim, h->shape.dim);
	return refuse(s, node, h, -EINVAL, why);
}

/* Rows that each have a prefix, which the engine does not get. */
static int append_prefixed(struct serve *s, const struct node *node, struct upload_handle *h,
			   const unsigned char *data, size_t size)
{
	size_t stride = h->prefix_bytes + h->row_bytes;
	int rc = 0;

	while (size && !rc) {
		bool is_prefix = h->in_row < h->prefix_bytes;
		size_t n = (is_prefix ? h->prefix_bytes : stride) - h->in_row;

		if (n > size)
			n = size;
		rc = is_prefix ? take_prefix(s, node, h, data, n) : vs_upload_append(h->upload, data, n);
		data += n;
		size -= n;
		h->in_row = (h->in_row + n) % stride;
		h->row_stream_bytes += n;
	}
	return rc;
}

static int append(struct serve *s, const struct node *node, struct upload_handle *h,
		  const unsigned char *data, size_t size)
{
	uint64_t stride = h->prefix_bytes + h->row_bytes;
	int rc;

	if (h->shape.rows != ARRAY_ROWS_UNTOLD && size > h->shape.rows * stride - h->row_stream_bytes)
		return refuse(s, node, h, -EINVAL, "more bytes than the rows that the header tells");
	if (h->prefix_bytes) {
		rc = append_prefixed(s, node, h, data, size);
	} else {
		rc = vs_upload_append(h->upload, data, size);
		h->row_stream_bytes += size;
	}
	return rc && h->state == UPLOAD_ROWS ? refuse(s, node, h, rc, strerror(-rc)) : rc;
}

/* The header, of which pieces are put together; what is behind it are rows. */
static int take_header(struct serve *s, const struct node *node, struct upload_handle *h,
		       const unsigned char *data, size_t size)
{
	size_t had = (size_t)h->size, take = size, header_bytes;
	char why[WHY_BYTES];
	int rc;

	if (take > HEADER_BYTES_MAX - had)
		take = HEADER_BYTES_MAX - had;
	if (!h->header)
		h->header = malloc(HEADER_BYTES_MAX);
	if (!h->header)
		return -ENOMEM;
	memcpy(h->header + had, data, take);
	h->shape = (struct array_shape){.rows = ARRAY_ROWS_UNTOLD};
	rc = array_header_parse(h->format, h->header, had + take, &h->shape, &header_bytes, why, sizeof why);
	if (rc == -EAGAIN)
		return had + take < HEADER_BYTES_MAX ? 0
						     : refuse(s, node, h, -EINVAL, "a header without end");
	if (rc)
		return refuse(s, node, h, rc, why);
	rc = begin(s, node, h);
	if (!rc && had > header_bytes) /* parsed late: rows came before */
		rc = append(s, node, h, h->header + header_bytes, had - header_bytes);
	if (!rc && header_bytes < had + size)
		rc = append(s, node, h, data + (had < header_bytes ? header_bytes - had : 0),
			    had + size - (had < header_bytes ? header_bytes : had));
	free(h->header);
	h->header = NULL;
	return rc;
}

/* From the start again: what was kept, or refused, is forgotten. */
static void restart(struct upload_handle *h)
{
	assert(!h->upload);
	h->state = UPLOAD_HEADER;
	h->size = 0;
	h->in_row = 0;
	h->row_stream_bytes = 0;
}

static int write_at(struct serve *s, const struct node *node, struct upload_handle *h, const void *buf,
		    size_t size, uint64_t off)
{
	char why[WHY_BYTES];
	int rc;

	if (off == 0 && (h->state == UPLOAD_DONE || h->state == UPLOAD_REFUSED))
		restart(h);
	if (h->state == UPLOAD_REFUSED || h->state == UPLOAD_DONE)
		return -EINVAL;
	if (off != h->size) {
		snprintf(why, sizeof why,
			 "got a write at offset %" PRIu64 ", want %" PRIu64 ": write it in order", off,
			 h->size);
		return refuse(s, node, h, -EINVAL, why);
	}
	rc = h->state == UPLOAD_HEADER ? take_header(s, node, h, buf, size) : append(s, node, h, buf, size);
	if (!rc)
		h->size += size;
	return rc;
}

static int upload_write(struct serve *s, const struct node *node, const void *buf, size_t size, off_t off,
			const struct fuse_file_info *fi)
{
	struct upload_handle *h = handle_of(fi);
	int rc;

	pthread_mutex_lock(&h->lock);
	rc = write_at(s, node, h, buf, size, (uint64_t)off);
	pthread_mutex_unlock(&h->lock);
	return rc;
}

/* Whether what has come is a file; why tells what is missing. */
static bool is_complete(const struct upload_handle *h, char *why, size_t why_size)
{
	uint64_t stride = h->prefix_bytes + h->row_bytes;

	if (h->state == UPLOAD_HEADER)
		snprintf(why, why_size, "got %" PRIu64 " bytes, which is not even the header", h->size);
	else if (h->shape.rows != ARRAY_ROWS_UNTOLD && h->row_stream_bytes != h->shape.rows * stride)
		snprintf(why, why_size,
			 "got %" PRIu64 " bytes of rows, want %" PRIu64 " (the header tells %" PRIu64
			 " rows, dim=%u dtype=%s)",
			 h->row_stream_bytes, h->shape.rows * stride, h->shape.rows, h->shape.dim,
			 vs_dtype_name(h->shape.dtype));
	else if (h->row_stream_bytes % stride)
		snprintf(why, why_size,
			 "got %" PRIu64 " bytes of rows, want a multiple of %" PRIu64 " (dim=%u dtype=%s)",
			 h->row_stream_bytes, stride, h->shape.dim, vs_dtype_name(h->shape.dtype));
	else
		return true;
	return false;
}

/* Ends what is complete, and refuses what is not. */
static int finish(struct serve *s, const struct node *node, struct upload_handle *h)
{
	char why[WHY_BYTES];
	int rc;

	if (!is_complete(h, why, sizeof why))
		return refuse(s, node, h, -EINVAL, why);
	rc = vs_upload_end(h->upload, true);
	h->upload = NULL;
	h->state = rc ? UPLOAD_REFUSED : UPLOAD_DONE;
	return rc;
}

static bool is_under_way(const struct upload_handle *h)
{
	return h->state == UPLOAD_ROWS || (h->state == UPLOAD_HEADER && h->size > 0);
}

/* As with a vector: descriptors that other processes have inherited are closed without consequences. */
static int upload_flush(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi, bool *changed)
{
	struct upload_handle *h = handle_of(fi);
	int rc = 0;

	(void)changed;
	pthread_mutex_lock(&h->lock);
	if (is_under_way(h) && process_same(fuse_req_ctx(req)->pid, h->opener))
		rc = finish(ops_serve(req), node, h);
	pthread_mutex_unlock(&h->lock);
	return rc;
}

static void upload_release(struct serve *s, const struct node *node, const struct fuse_file_info *fi)
{
	struct upload_handle *h = handle_of(fi);

	if (is_under_way(h))
		finish(s, node, h);
	pthread_mutex_destroy(&h->lock);
	free(h->header);
	free(h);
}

const struct node_ops batch_upload_ops = {
	.attr = upload_attr,
	.setattr = upload_setattr,
	.open = upload_open,
	.write = upload_write,
	.flush = upload_flush,
	.release = upload_release,
};
