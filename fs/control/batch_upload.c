/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/batch_upload.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/array/array_format.h"
#include "fs/control/batch.h"
#include "fs/control/control.h"
#include "fs/inode/open_files.h"
#include "fs/request/process.h"

#define WHY_BYTES 256
#define HEADER_BYTES_MAX NPY_HEADER_BYTES_MAX
#define COPY_BYTES ((size_t)1 << 20)

enum upload_state {
	UPLOAD_HEADER, /* the header is not complete */
	UPLOAD_ROWS,
	UPLOAD_DONE,    /* kept by the engine, until it is written anew */
	UPLOAD_ARRAY,   /* all there is is in the array file */
	UPLOAD_REFUSED, /* nothing of it is kept */
};

struct upload_file {
	struct open_file open_file;
	pthread_mutex_t lock;
	pid_t opener;
	bool writes, reads;
	char *settle_why; /* no open file: it reads the array file into the engine, and says here why it
			     cannot */
	enum upload_state state;
	enum array_format format;
	bool ready;            /* of UPLOAD_ARRAY: the array file has what it must have */
	bool changed;          /* of UPLOAD_ARRAY, since a close(2) */
	uint64_t size;         /* bytes written: the offset at which writing must go on */
	unsigned char *header; /* as much as there is of it */
	size_t header_bytes;   /* the offset of the first row */
	struct array_shape shape;
	size_t prefix_bytes, row_bytes; /* of each row */
	size_t in_row;                  /* bytes of the current row that have come, its prefix included */
	unsigned char prefix[ARRAY_PREFIX_BYTES];
	uint64_t row_stream_bytes; /* of all rows so far, prefixes included */
	struct vs_upload *upload;
};

static struct upload_file *file_of(const struct fuse_file_info *fi)
{
	return (struct upload_file *)(uintptr_t)fi->fh;
}

static enum array_format format_of(const struct node *node)
{
	return (enum array_format)(node->which - NODE_ARRAY_VECTORS);
}

/* The batch's file for an array of this format. */
static enum vs_batch_text array_text_of(enum array_format format)
{
	return (enum vs_batch_text)(VS_BATCH_ARRAY + (int)format);
}

/* ------------------------------------------------------------------ what a batch has */

static bool has_array(struct mount *s, uint32_t batch, enum array_format format)
{
	uint64_t size;

	return !vs_batch_text_size(s->store, batch, array_text_of(format), &size);
}

bool upload_is_listed(struct mount *s, const struct node *node)
{
	struct node npy = {
		.kind = NODE_UPLOAD, .collection = node->collection, .which = NODE_ARRAY_VECTORS + ARRAY_NPY};

	if (has_array(s, node->collection, format_of(node)))
		return true;
	for (enum array_format f = ARRAY_NPY; f <= ARRAY_RAW; f++)
		if (has_array(s, node->collection, f))
			return false;
	return node->which == npy.which && batch_has(s, node->collection, &npy);
}

bool upload_exists(struct mount *s, const struct node *node)
{
	struct vs_batch_info info;

	if (has_array(s, node->collection, format_of(node)))
		return true;
	return !vs_batch_get(s->store, node->collection, &info) && (info.has_upload || info.upload_torn);
}

/* Removes the array files of all formats but this one (ARRAY_RAW + 1: none is left). */
static int drop_arrays(struct mount *s, uint32_t batch, enum array_format but)
{
	int rc = 0;

	for (enum array_format f = ARRAY_NPY; f <= ARRAY_RAW && !rc; f++) {
		rc = f == but ? 0 : vs_batch_text_remove(s->store, batch, array_text_of(f));
		if (rc == -ENOENT)
			rc = 0;
	}
	return rc;
}

int upload_drop(struct mount *s, uint32_t batch)
{
	int rc = drop_arrays(s, batch, ARRAY_RAW + 1);

	return rc ? rc : vs_upload_drop(s->store, batch);
}

/* ------------------------------------------------------------------ shapes */

/* Makes of the shape that a header tells what the batch can take; else why says what it wants. */
static int take_shape(struct mount *s, uint32_t batch, enum array_format format, struct array_shape *shape,
		      char *why, size_t why_size)
{
	struct vs_schema want;
	bool is_free;
	int rc = batch_schema(s, batch, &want, &is_free);

	if (rc) {
		snprintf(why, why_size, "%s", strerror(-rc));
		return rc;
	}
	if (format == ARRAY_RAW)
		*shape =
			(struct array_shape){.dtype = want.dtype, .dim = want.dim, .rows = ARRAY_ROWS_UNTOLD};
	if (shape->dim == 0) {
		snprintf(why, why_size, "a raw file does not tell its dim: write it to schema first");
		return -EINVAL;
	}
	if (want.dtype == VS_BIT && format == ARRAY_NPY && shape->dtype == VS_U8) {
		shape->dtype = VS_BIT; /* a row of bits is written as bytes */
		shape->dim *= 8;
	}
	if (shape->is_uint16 && (is_free || want.dtype != VS_BF16)) {
		snprintf(why, why_size, "got unsigned 16-bit integers, want dtype=%s: if they are bf16, %s",
			 vs_dtype_name(want.dtype), "write dtype=bf16 to schema first");
		return -EINVAL;
	}
	if ((want.dim && shape->dim != want.dim) || (shape->dtype != want.dtype && !is_free)) {
		snprintf(why, why_size, "got dim=%u dtype=%s, want dim=%u dtype=%s", shape->dim,
			 vs_dtype_name(shape->dtype), want.dim, vs_dtype_name(want.dtype));
		return -EINVAL;
	}
	return 0;
}

/* ------------------------------------------------------------------ in order, into the engine */

/* Drops the upload; logs why unless the caller has. */
static int refuse(struct mount *s, const struct node *node, struct upload_file *h, int rc, const char *why)
{
	if (why && h->settle_why)
		snprintf(h->settle_why, WHY_BYTES, "%s", why);
	else if (why)
		batch_refuse(s, node, "%s", why);
	if (h->upload)
		vs_upload_end(h->upload, false);
	h->upload = NULL;
	h->state = UPLOAD_REFUSED;
	return rc;
}

/* The header is complete: begins the engine's upload with its shape. */
static int begin(struct mount *s, const struct node *node, struct upload_file *h)
{
	struct vs_schema schema = {.metric = VS_L2};
	char why[WHY_BYTES];
	int rc = take_shape(s, node->collection, h->format, &h->shape, why, sizeof why);

	if (rc)
		return refuse(s, node, h, rc, why);
	schema.dim = h->shape.dim;
	schema.dtype = h->shape.dtype;
	h->prefix_bytes = array_row_prefix(h->format);
	h->row_bytes = array_row_bytes(&h->shape);
	rc = vs_upload_begin(s->store, node->collection, &schema, &h->upload);
	if (!rc && !h->settle_why)
		rc = drop_arrays(s, node->collection, ARRAY_RAW + 1);
	if (rc)
		return refuse(s, node, h, rc,
			      rc == -EBUSY ? "another upload is being written" : strerror(-rc));
	h->state = UPLOAD_ROWS;
	return 0;
}

/* Checks a row's own dim, of which n bytes are at data. */
static int take_prefix(struct mount *s, const struct node *node, struct upload_file *h,
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
static int append_prefixed(struct mount *s, const struct node *node, struct upload_file *h,
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

static int append(struct mount *s, const struct node *node, struct upload_file *h, const unsigned char *data,
		  size_t size)
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
	return rc && h->state == UPLOAD_ROWS ? refuse(s, node, h, rc, strerror(-rc))
					     : rc; /* else it has been logged */
}

/* The header, of which pieces are put together; what is behind it are rows. */
static int take_header(struct mount *s, const struct node *node, struct upload_file *h,
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
	h->header_bytes = header_bytes;
	rc = begin(s, node, h);
	if (!rc && had > header_bytes) /* parsed late: rows came before */
		rc = append(s, node, h, h->header + header_bytes, had - header_bytes);
	if (!rc && header_bytes < had + size)
		rc = append(s, node, h, data + (had < header_bytes ? header_bytes - had : 0),
			    had + size - (had < header_bytes ? header_bytes : had));
	return rc;
}

/* From the start again: what was kept, or refused, is forgotten. */
static void restart(struct upload_file *h)
{
	assert(!h->upload);
	h->state = UPLOAD_HEADER;
	h->size = 0;
	h->in_row = 0;
	h->row_stream_bytes = 0;
}

/* The next bytes. */
static int write_on(struct mount *s, const struct node *node, struct upload_file *h, const void *buf,
		    size_t size)
{
	int rc = h->state == UPLOAD_HEADER ? take_header(s, node, h, buf, size)
					   : append(s, node, h, buf, size);

	if (!rc)
		h->size += size;
	return rc;
}

/* Says what is missing of so many bytes of an array of this shape; false if nothing is. */
static bool lacks(const struct array_shape *shape, enum array_format format, uint64_t bytes, char *why,
		  size_t why_size)
{
	uint64_t stride = array_row_prefix(format) + array_row_bytes(shape);

	if (shape->rows != ARRAY_ROWS_UNTOLD && bytes != shape->rows * stride)
		snprintf(why, why_size,
			 "got %" PRIu64 " bytes of rows, want %" PRIu64 " (the header tells %" PRIu64
			 " rows, dim=%u dtype=%s)",
			 bytes, shape->rows * stride, shape->rows, shape->dim, vs_dtype_name(shape->dtype));
	else if (bytes % stride)
		snprintf(why, why_size,
			 "got %" PRIu64 " bytes of rows, want a multiple of %" PRIu64 " (dim=%u dtype=%s)",
			 bytes, stride, shape->dim, vs_dtype_name(shape->dtype));
	else
		return false;
	return true;
}

/* Whether it is the array of a batch that keeps what it got (cmd_receive.c). */
static bool is_received(struct mount *s, const struct node *node, const struct upload_file *h)
{
	uint64_t size;

	return h->format == ARRAY_RAW &&
	       vs_batch_text_size(s->store, node->collection, VS_BATCH_RECEIVED, &size) == 0;
}

/* Ends what is complete, and refuses what is not. */
static int finish(struct mount *s, const struct node *node, struct upload_file *h)
{
	char why[WHY_BYTES];
	int rc;

	if (h->state == UPLOAD_HEADER) {
		snprintf(why, sizeof why, "got %" PRIu64 " bytes, which is not even the header", h->size);
		return refuse(s, node, h, -EINVAL, why);
	}
	if (is_received(s, node, h)) /* who was killed will go on after the last whole row */
		vs_upload_trim(h->upload);
	else if (lacks(&h->shape, h->format, h->row_stream_bytes, why, sizeof why))
		return refuse(s, node, h, -EINVAL, why);
	rc = vs_upload_end(h->upload, true);
	h->upload = NULL;
	if (rc)
		return refuse(s, node, h, rc, strerror(-rc));
	h->state = UPLOAD_DONE;
	if (!h->settle_why)
		batch_forgive(s, node);
	return 0;
}

static bool is_under_way(const struct upload_file *h)
{
	return h->state == UPLOAD_ROWS || (h->state == UPLOAD_HEADER && h->size > 0);
}

/* ------------------------------------------------------------------ the array file */

/* Where rows are copied from into an array file: an upload that is being written, or that of the batch. */
struct rows_source {
	struct vs_store *store;
	struct vs_upload *upload; /* NULL: the batch's */
	uint32_t batch;
};

static ssize_t array_reader_read(const struct rows_source *from, void *buf, size_t size, uint64_t off)
{
	return from->upload ? vs_upload_read(from->upload, buf, size, off)
			    : vs_batch_upload_read(from->store, from->batch, buf, size, off);
}

/* Reads bytes [off, off + size) of the rows as the format has them: with a prefix before each, where it has
 * one. */
static int read_stream(const struct rows_source *from, const struct array_shape *shape,
		       enum array_format format, unsigned char *buf, size_t size, uint64_t off)
{
	size_t prefix = array_row_prefix(format), row = array_row_bytes(shape), stride = prefix + row;
	const uint32_t dim = shape->dim; /* little-endian, as all of vecfs */
	size_t done = 0;

	while (done < size) {
		uint64_t n = (off + done) / stride;
		size_t at = (size_t)((off + done) % stride), take;
		ssize_t got;

		if (at < prefix) {
			take = prefix - at < size - done ? prefix - at : size - done;
			memcpy(buf + done, (const unsigned char *)&dim + at, take);
		} else {
			take = prefix ? stride - at : size - done; /* without prefixes all of it is rows */
			if (take > size - done)
				take = size - done;
			got = array_reader_read(from, buf + done, take, n * row + (at - prefix));
			if (got != (ssize_t)take)
				return got < 0 ? (int)got : -EIO;
		}
		done += take;
	}
	return 0;
}

/* Writes an array file: a header, and so many bytes of rows. */
static int write_array(struct mount *s, const struct node *node, const struct rows_source *from,
		       const struct array_shape *shape, const void *header, size_t header_bytes,
		       uint64_t bytes)
{
	enum array_format format = format_of(node);
	enum vs_batch_text file = array_text_of(format);
	unsigned char *buf = malloc(COPY_BYTES);
	int rc = buf ? vs_batch_text_truncate(s->store, node->collection, file, 0) : -ENOMEM;

	if (!rc && header_bytes)
		rc = vs_batch_text_write(s->store, node->collection, file, header, header_bytes, 0);
	for (uint64_t off = 0; off < bytes && !rc; off += COPY_BYTES) {
		size_t n = bytes - off < COPY_BYTES ? (size_t)(bytes - off) : COPY_BYTES;

		rc = read_stream(from, shape, format, buf, n, off);
		if (!rc)
			rc = vs_batch_text_write(s->store, node->collection, file, buf, n,
						 header_bytes + off);
	}
	free(buf);
	return rc;
}

/* The batch's finished upload becomes an array file; without any, that is empty. */
static int array_from_batch(struct mount *s, const struct node *node)
{
	const struct rows_source from = {.store = s->store, .batch = node->collection};
	enum array_format format = format_of(node);
	unsigned char header[ARRAY_HEADER_BYTES_MAX];
	struct array_shape shape = {0};
	struct vs_batch_info info;
	size_t header_bytes = 0;
	int rc = vs_batch_get(s->store, node->collection, &info);

	if (rc)
		return rc;
	if (info.has_upload) {
		shape = (struct array_shape){.dtype = info.upload_schema.dtype,
					     .dim = info.upload_schema.dim,
					     .rows = info.upload_rows};
		if (!shape.dim || !array_format_fits(format, shape.dtype) ||
		    shape.rows > array_rows_max(format))
			return -EINVAL;
		header_bytes = array_header_build(format, &shape, header);
	}
	rc = write_array(s, node, &from, &shape, header, header_bytes,
			 info.has_upload ? shape.rows * (array_row_prefix(format) + array_row_bytes(&shape))
					 : 0);
	return rc ? rc : vs_upload_drop(s->store, node->collection);
}

/* What this file has written so far becomes an array file. */
static int array_from_handle(struct mount *s, const struct node *node, struct upload_file *h)
{
	const struct rows_source from = {.store = s->store, .upload = h->upload, .batch = node->collection};
	size_t header_bytes = h->state == UPLOAD_HEADER ? (size_t)h->size : h->header_bytes;
	int rc = write_array(s, node, &from, &h->shape, h->header, header_bytes, h->row_stream_bytes);

	if (h->upload)
		vs_upload_end(h->upload, false);
	h->upload = NULL;
	return rc;
}

/* From here on the file works on the array file. What it had written must have been kept till now. */
static int to_array(struct mount *s, const struct node *node, struct upload_file *h)
{
	bool was_under_way = is_under_way(h);
	int rc = 0;

	if (h->state == UPLOAD_ARRAY && h->ready)
		return 0;
	if (was_under_way)
		rc = array_from_handle(s, node, h);
	else if (!has_array(s, node->collection, h->format) && (rc = array_from_batch(s, node)))
		vs_batch_text_remove(s->store, node->collection,
				     array_text_of(h->format)); /* what it was is still there */
	if (!rc)
		rc = drop_arrays(s, node->collection, h->format);
	if (rc)
		return was_under_way ? refuse(s, node, h, rc, strerror(-rc)) : rc;
	h->state = UPLOAD_ARRAY;
	h->ready = true;
	return 0;
}

static void array_changes(struct mount *s, const struct node *node, struct upload_file *h)
{
	if (!h->changed)
		batch_begin(s, node);
	h->changed = true;
}

/* Whether a file of the batch is an array that it can take, so far as header and size tell. */
static int judge_array(struct mount *s, const struct node *node, enum vs_batch_text file, char *why,
		       size_t why_size)
{
	enum array_format format = format_of(node);
	struct array_shape shape = {.rows = ARRAY_ROWS_UNTOLD};
	unsigned char *header = malloc(HEADER_BYTES_MAX);
	size_t header_bytes = 0;
	uint64_t size = 0;
	ssize_t got = header ? 0 : -ENOMEM;
	int rc;

	if (header)
		got = vs_batch_text_read(s->store, node->collection, file, header, HEADER_BYTES_MAX, 0);
	rc = got < 0 ? (int)got : vs_batch_text_size(s->store, node->collection, file, &size);
	if (rc)
		snprintf(why, why_size, "%s", strerror(-rc));
	else
		rc = array_header_parse(format, header, (size_t)got, &shape, &header_bytes, why, why_size);
	free(header);
	if (rc == -EAGAIN) {
		snprintf(why, why_size, "got %" PRIu64 " bytes, which is not even the header", size);
		return -EINVAL;
	}
	if (!rc)
		rc = take_shape(s, node->collection, format, &shape, why, why_size);
	if (!rc && lacks(&shape, format, size - header_bytes, why, why_size))
		rc = -EINVAL;
	return rc;
}

/* At a close(2): who only wrote it gets the error at once, for others the commit remembers it. */
static int judge(struct mount *s, const struct node *node, struct upload_file *h)
{
	char why[WHY_BYTES];
	int rc;

	if (!h->changed)
		return 0;
	h->changed = false;
	rc = judge_array(s, node, array_text_of(h->format), why, sizeof why);
	if (!rc)
		batch_forgive(s, node);
	else if (rc != -ENOENT && h->reads)
		batch_remember(s, node, why);
	else if (rc != -ENOENT)
		batch_refuse(s, node, "%s", why);
	return h->reads || rc == -ENOENT ? 0 : rc;
}

int upload_take(struct mount *s, const struct node *from, const struct node *to)
{
	enum vs_batch_text temporary = (enum vs_batch_text)(VS_BATCH_TEMPORARY + from->which);
	char why[WHY_BYTES];
	int rc = judge_array(s, to, temporary, why, sizeof why);

	if (rc) {
		batch_refuse(s, to, "%s", why);
		return rc;
	}
	rc = vs_upload_drop(s->store, to->collection);
	if (!rc)
		rc = drop_arrays(s, to->collection, format_of(to));
	if (!rc)
		rc = vs_batch_text_rename(s->store, to->collection, temporary, array_text_of(format_of(to)));
	if (!rc)
		batch_forgive(s, to);
	return rc;
}

/* Reads the array file of the node into the engine. */
static int settle(struct mount *s, const struct node *node, struct upload_file *h)
{
	unsigned char *buf = malloc(COPY_BYTES);
	ssize_t n = buf ? 1 : -ENOMEM;
	int rc = 0;

	while (!rc && n > 0) {
		n = vs_batch_text_read(s->store, node->collection, array_text_of(h->format), buf, COPY_BYTES,
				       h->size);
		if (n > 0)
			rc = write_on(s, node, h, buf, (size_t)n);
	}
	free(buf);
	if (n < 0)
		rc = refuse(s, node, h, (int)n, strerror((int)-n));
	return rc ? rc : finish(s, node, h);
}

int upload_settle(struct mount *s, uint32_t batch, char *why, size_t why_size)
{
	struct node node = {.kind = NODE_UPLOAD, .collection = batch};
	char settle_why[WHY_BYTES] = "";
	struct upload_file h = {.settle_why = settle_why};
	enum array_format format = ARRAY_NPY;
	int rc;

	while (format <= ARRAY_RAW && !has_array(s, batch, format))
		format++;
	if (format > ARRAY_RAW)
		return 0;
	h.format = format;
	node.which = NODE_ARRAY_VECTORS + format;
	rc = settle(s, &node, &h);
	free(h.header);
	if (rc)
		snprintf(why, why_size, "vectors.%s: %s", array_format_name(format),
			 *settle_why ? settle_why : strerror(-rc));
	return rc;
}

/* ------------------------------------------------------------------ as a file */

static int upload_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	enum array_format format = format_of(node);
	unsigned char header[ARRAY_HEADER_BYTES_MAX];
	struct array_shape shape;
	struct vs_batch_info info;
	uint64_t size = 0;
	int rc = vs_batch_text_size(s->store, node->collection, array_text_of(format), &size);

	*timeout_s = 0;
	if (rc == -ENOENT) {
		rc = vs_batch_get(s->store, node->collection, &info);
		shape = (struct array_shape){.dtype = info.upload_schema.dtype,
					     .dim = info.upload_schema.dim,
					     .rows = info.upload_rows};
		if (!rc && info.has_upload && array_format_fits(format, shape.dtype) &&
		    shape.rows <= array_rows_max(format))
			size = array_header_build(format, &shape, header) +
			       shape.rows * (array_row_prefix(format) + array_row_bytes(&shape));
	}
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	return control_file_attr(s, node, vs_time_now(), size, st);
}

/* Goes on with the batch's raw array after so many bytes, which are whole rows; what is behind them goes. */
static int resume(struct mount *s, const struct node *node, struct upload_file *h, uint64_t size)
{
	struct vs_schema schema = {.metric = VS_L2};
	struct array_shape shape = {.rows = ARRAY_ROWS_UNTOLD};
	char why[WHY_BYTES];
	int rc = take_shape(s, node->collection, h->format, &shape, why, sizeof why);

	if (rc || size % array_row_bytes(&shape))
		return rc ? refuse(s, node, h, rc, why) : -EINVAL;
	schema.dim = shape.dim;
	schema.dtype = shape.dtype;
	rc = vs_upload_resume(s->store, node->collection, &schema, size / array_row_bytes(&shape),
			      &h->upload);
	if (rc)
		return rc;
	h->shape = shape;
	h->row_bytes = array_row_bytes(&shape);
	h->state = UPLOAD_ROWS;
	h->size = h->row_stream_bytes = size;
	return 0;
}

/* With the lock held: that of open(2) with O_TRUNC, too. */
static int set_size(struct mount *s, const struct node *node, struct upload_file *h, uint64_t size)
{
	int rc;

	if (size == h->size && (is_under_way(h) || h->state == UPLOAD_HEADER))
		return 0;
	if (size == 0 && !h->reads && h->state != UPLOAD_ARRAY) {
		if (h->upload)
			vs_upload_end(h->upload, false);
		h->upload = NULL;
		restart(h);
		return 0;
	}
	if (h->state == UPLOAD_REFUSED)
		return -EINVAL;
	if (h->state == UPLOAD_HEADER && h->size == 0 && is_received(s, node, h))
		return resume(s, node, h, size);
	rc = to_array(s, node, h);
	if (rc)
		return rc;
	array_changes(s, node, h);
	return vs_batch_text_truncate(s->store, node->collection, array_text_of(h->format), size);
}

static int upload_setattr(fuse_req_t req, const struct node *node, const struct stat *st, int set,
			  struct fuse_file_info *fi)
{
	struct upload_file *h = fi ? file_of(fi) : NULL;
	int rc = 0;

	if (!(set & FUSE_SET_ATTR_SIZE) || !h)
		return 0; /* modes and times are the collection's; who has it open says how long it is */
	pthread_mutex_lock(&h->lock);
	rc = set_size(ops_serve(req), node, h, (uint64_t)st->st_size);
	pthread_mutex_unlock(&h->lock);
	return rc;
}

static int upload_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	struct upload_file *h = calloc(1, sizeof *h);
	struct mount *s = ops_serve(req);
	int access = fi->flags & O_ACCMODE;

	if (!h)
		return -ENOMEM;
	pthread_mutex_init(&h->lock, NULL);
	h->opener = fuse_req_ctx(req)->pid;
	h->format = format_of(node);
	h->writes = access != O_RDONLY;
	h->reads = access != O_WRONLY;
	h->state = h->reads ? UPLOAD_ARRAY : UPLOAD_HEADER;
	fi->fh = (uintptr_t)h;
	fi->direct_io = !h->reads || s->direct_mmap;
	return 0;
}

static ssize_t upload_read(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
			   const struct fuse_file_info *fi)
{
	struct upload_file *h = file_of(fi);
	int rc;

	if (!h) /* a stateless mount */
		return vs_batch_text_read(s->store, node->collection, array_text_of(format_of(node)), buf,
					  size, (uint64_t)off);
	pthread_mutex_lock(&h->lock);
	rc = to_array(s, node, h);
	pthread_mutex_unlock(&h->lock);
	return rc ? rc
		  : vs_batch_text_read(s->store, node->collection, array_text_of(h->format), buf, size,
				       (uint64_t)off);
}

static int write_at(struct mount *s, const struct node *node, struct upload_file *h, const void *buf,
		    size_t size, uint64_t off)
{
	int rc;

	if (off == 0 && (h->state == UPLOAD_DONE || h->state == UPLOAD_REFUSED))
		restart(h);
	if (h->state == UPLOAD_REFUSED)
		return -EINVAL;
	if (h->state != UPLOAD_ARRAY && h->state != UPLOAD_DONE && off == h->size)
		return write_on(s, node, h, buf, size);
	rc = to_array(s, node, h);
	if (rc)
		return rc;
	array_changes(s, node, h);
	rc = vs_batch_text_write(s->store, node->collection, array_text_of(h->format), buf, size, off);
	return rc ? refuse(s, node, h, rc, strerror(-rc)) : 0;
}

static int upload_write(fuse_req_t req, const struct node *node, const void *buf, size_t size, off_t off,
			const struct fuse_file_info *fi)
{
	struct upload_file *h = file_of(fi);
	int rc;

	pthread_mutex_lock(&h->lock);
	rc = write_at(ops_serve(req), node, h, buf, size, (uint64_t)off);
	pthread_mutex_unlock(&h->lock);
	return rc;
}

/* With the lock held. */
static int close_it(struct mount *s, const struct node *node, struct upload_file *h)
{
	if (h->state == UPLOAD_ARRAY)
		return judge(s, node, h);
	return is_under_way(h) ? finish(s, node, h) : 0;
}

/* What is whole is so after a crash, too, though it has not been closed. */
static int settle_for_sync(struct mount *s, const struct node *node, struct upload_file *h)
{
	char why[WHY_BYTES];

	if (h->state == UPLOAD_ROWS && !lacks(&h->shape, h->format, h->row_stream_bytes, why, sizeof why))
		return vs_upload_complete(h->upload);
	if (h->changed && !judge_array(s, node, array_text_of(h->format), why, sizeof why)) {
		h->changed = false;
		batch_forgive(s, node);
	}
	return 0;
}

static int upload_fsync(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi)
{
	struct upload_file *h = file_of(fi);
	int rc = 0;

	if (!h || !h->writes)
		return 0;
	pthread_mutex_lock(&h->lock);
	rc = settle_for_sync(ops_serve(req), node, h);
	pthread_mutex_unlock(&h->lock);
	return rc;
}

/* As with a vector: descriptors that other processes have inherited are closed without consequences. */
static int upload_flush(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi,
			bool *changed)
{
	struct upload_file *h = file_of(fi);
	int rc = 0;

	*changed = h->writes;
	pthread_mutex_lock(&h->lock);
	if (process_same(fuse_req_ctx(req)->pid, h->opener))
		rc = close_it(ops_serve(req), node, h);
	pthread_mutex_unlock(&h->lock);
	return rc;
}

static void upload_release(struct mount *s, const struct node *node, const struct fuse_file_info *fi)
{
	struct upload_file *h = file_of(fi);

	close_it(s, node, h);
	pthread_mutex_destroy(&h->lock);
	free(h->header);
	free(h);
}

const struct node_ops batch_upload_ops = {
	.attr = upload_attr,
	.setattr = upload_setattr,
	.open = upload_open,
	.read = upload_read,
	.write = upload_write,
	.flush = upload_flush,
	.fsync = upload_fsync,
	.release = upload_release,
};
