/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query - search/query, a transaction file: one open is one session. Whole vectors are written, text is read
 * until its end, then the next may be written. Offsets do not count: like a pipe it has no place.
 *
 * A write may end within a vector only where a tool's buffer does, at a multiple of PAGE_BYTES, or where the
 * kernel cuts a long one, within a page of OPS_WRITE_BYTES_MAX: the rest comes with the next. Any other write
 * that leaves a vector incomplete is refused as a whole.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/answer.h"
#include "fs/control/control.h"
#include "fs/inode/open_files.h"
#include "fs/request/message.h"

#define PAGE_BYTES 4096u
#define ANSWER_BYTES_MAX (64u << 20) /* that nobody has read */

struct query {
	struct open_file open_file;
	pthread_mutex_t lock;
	struct vs_schema schema; /* of the vectors that are written */
	char *part;              /* of a vector: part_bytes of row_bytes */
	size_t part_bytes, row_bytes;
	char *text; /* of answers, read up to offset taken */
	size_t size, taken;
	bool reading; /* since the last write */
};

static struct query *query_of(const struct fuse_file_info *fi)
{
	return (struct query *)(uintptr_t)fi->fh;
}

static int query_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	struct query *q = calloc(1, sizeof *q);

	(void)req;
	(void)node;
	if (!q)
		return -ENOMEM;
	pthread_mutex_init(&q->lock, NULL);
	fi->fh = (uintptr_t)q;
	fi->direct_io = 1;
	fi->nonseekable = 1;
	return 0;
}

/* Truncation is what `>` does to any file; it means nothing here. */
static int query_setattr(fuse_req_t req, const struct node *node, const struct stat *st, int set,
			 struct fuse_file_info *fi)
{
	(void)req;
	(void)node;
	(void)fi;
	return set & FUSE_SET_ATTR_SIZE && st->st_size == 0 ? 0 : -EPERM;
}

/* Appends the answers to count vectors. */
static int add_answers(fuse_req_t req, const struct node *node, struct query *q, const void *vectors,
		       uint32_t count, char *why, size_t why_size)
{
	struct search_params params;
	struct answer answer;
	char *text = NULL, *longer;
	size_t size;
	int rc;

	search_params_init(&params);
	rc = answer_make(&(struct answer_ask){.store = ops_serve(req)->store,
					      .collection = node->collection,
					      .schema = &q->schema,
					      .vectors = vectors,
					      .count = count,
					      .params = &params,
					      .is_cancelled = answer_is_unwanted,
					      .arg = &(struct answer_asker){.req = req},
					      .budget = answer_budget_of(ops_serve(req)),
					      .recalls = ops_serve(req)->recalls,
					      .filters = ops_serve(req)->filters},
			 &answer, why, why_size);
	if (rc)
		return rc;
	rc = answer_print(&answer, false, &text, &size);
	answer_free(&answer);
	if (rc)
		return rc;
	if (size > ANSWER_BYTES_MAX - q->size || !(longer = realloc(q->text, q->size + size + 1))) {
		free(text);
		return size > ANSWER_BYTES_MAX - q->size ? -EDQUOT : -ENOMEM;
	}
	memcpy(longer + q->size, text, size);
	q->text = longer;
	q->size += size;
	free(text);
	return 0;
}

/* Where an incomplete vector is kept. The size of vectors may change while the collection has none. */
static int hold_part(struct query *q, const struct vs_collection_info *info)
{
	size_t row_bytes = info->row_bytes;
	char *part;

	q->schema = info->schema;
	if (q->row_bytes == row_bytes)
		return 0;
	part = realloc(q->part, row_bytes);
	if (!part)
		return -ENOMEM;
	q->part = part;
	q->row_bytes = row_bytes;
	q->part_bytes = 0;
	return 0;
}

/* Answers what has come, and keeps the incomplete rest. */
static int take(fuse_req_t req, const struct node *node, struct query *q, const char *bytes, size_t size,
		char *why, size_t why_size)
{
	size_t row = q->row_bytes, total = q->part_bytes + size, whole = total / row, rest = total % row;
	char *vectors = NULL;
	int rc = 0;

	if (whole) {
		vectors = malloc(whole * row);
		if (!vectors)
			return -ENOMEM;
		memcpy(vectors, q->part, q->part_bytes);
		memcpy(vectors + q->part_bytes, bytes, whole * row - q->part_bytes);
		rc = add_answers(req, node, q, vectors, (uint32_t)whole, why, why_size);
		free(vectors);
	}
	if (rc)
		return rc;
	if (whole)
		memcpy(q->part, bytes + size - rest, rest);
	else
		memcpy(q->part + q->part_bytes, bytes, size);
	q->part_bytes = rest;
	return 0;
}

static int judge(const struct query *q, size_t size, const struct vs_collection_info *info, char *why,
		 size_t why_size)
{
	size_t total = q->part_bytes + size;

	if (!info->row_bytes) {
		snprintf(why, why_size, "the collection has no vectors yet");
		return -EINVAL;
	}
	if (total % info->row_bytes == 0 || size % PAGE_BYTES == 0 || size > OPS_WRITE_BYTES_MAX - PAGE_BYTES)
		return 0;
	snprintf(why, why_size, "got %zu bytes, want vectors of %zu (dim=%u dtype=%s)", total,
		 info->row_bytes, info->schema.dim, vs_dtype_name(info->schema.dtype));
	return -EINVAL;
}

static int query_write(fuse_req_t req, const struct node *node, const void *buf, size_t size, off_t off,
		       const struct fuse_file_info *fi)
{
	struct mount *s = ops_serve(req);
	struct query *q = query_of(fi);
	struct vs_collection_info info;
	char why[512] = "";
	int rc = vs_collection_get(s->store, node->collection, &info);

	(void)off;
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	pthread_mutex_lock(&q->lock);
	if (q->reading)
		q->size = q->taken = 0;
	q->reading = false;
	rc = judge(q, size, &info, why, sizeof why);
	if (!rc)
		rc = hold_part(q, &info);
	if (!rc)
		rc = take(req, node, q, buf, size, why, sizeof why);
	if (rc)
		q->part_bytes = q->size = q->taken = 0;
	pthread_mutex_unlock(&q->lock);
	if (rc == -EINVAL || (rc == -EDQUOT && *why))
		message(VS_WARNING, "%s/.vecfs/search/query: refused: %s", info.name, why);
	return rc;
}

static ssize_t query_read(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
			  const struct fuse_file_info *fi)
{
	struct query *q = query_of(fi);
	ssize_t got;

	(void)s;
	(void)node;
	(void)off;
	pthread_mutex_lock(&q->lock);
	if (q->part_bytes) { /* whoever reads now will not send the rest */
		q->part_bytes = q->size = q->taken = 0;
		got = -EINVAL;
	} else {
		got = (ssize_t)(q->size - q->taken < size ? q->size - q->taken : size);
		memcpy(buf, got ? q->text + q->taken : "", (size_t)got);
		q->taken += (size_t)got;
		q->reading = true;
	}
	pthread_mutex_unlock(&q->lock);
	return got;
}

static bool query_is_long(struct mount *s, const struct node *node, size_t data_size)
{
	struct vs_collection_info info;

	return data_size && !vs_collection_get(s->store, node->collection, &info) && info.row_bytes &&
	       answer_is_long(s, node->collection, data_size / info.row_bytes);
}

static void query_release(struct mount *s, const struct node *node, const struct fuse_file_info *fi)
{
	struct query *q = query_of(fi);

	(void)s;
	(void)node;
	pthread_mutex_destroy(&q->lock);
	free(q->part);
	free(q->text);
	free(q);
}

const struct node_ops query_ops = {
	.is_long = query_is_long,
	.attr = control_attr,
	.setattr = query_setattr,
	.open = query_open,
	.read = query_read,
	.write = query_write,
	.release = query_release,
};
