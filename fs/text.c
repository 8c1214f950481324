/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text - the control files that are text made when they are opened: log, metrics, version, stats and schema.
 * The last can be written: what is in it at close(2) becomes the collection's schema.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control.h"
#include "fs/held.h"
#include "fs/message.h"
#include "quant/level.h"

#define SCHEMA_BYTES_MAX 4096

struct text {
	struct held held;
	pthread_mutex_t lock;
	char *bytes;
	size_t size;
	bool written;
};

/* ------------------------------------------------------------------ what they say */

static void print_version(FILE *out)
{
	fprintf(out, "vecfs %s (simd %s, libfuse %s)\n", VECFS_VERSION, level_name(level_get()), fuse_pkgversion());
}

static void print_metric(FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
	fprintf(out, "# HELP vecfs_%s %s\n# TYPE vecfs_%s %s\nvecfs_%s %" PRIu64 "\n", name, help, name, type,
		name, value);
}

static void print_metrics(struct serve *s, FILE *out)
{
	struct vs_counters c;

	vs_counters(s->store, &c);
	print_metric(out, "collections", "gauge", "Collections.", c.collections);
	print_metric(out, "vectors", "gauge", "Vectors in all collections.", c.vectors);
	print_metric(out, "puts_total", "counter", "Vectors created.", c.puts);
	print_metric(out, "overwrites_total", "counter", "Vectors replaced as a whole.", c.overwrites);
	print_metric(out, "patches_total", "counter", "Vectors modified in part.", c.patches);
	print_metric(out, "removes_total", "counter", "Vectors removed.", c.removes);
	print_metric(out, "renames_total", "counter", "Vectors renamed.", c.renames);
	print_metric(out, "reads_total", "counter", "Reads that reached the engine.", c.reads);
	print_metric(out, "commits_total", "counter", "Group commits of the log.", c.commits);
	print_metric(out, "commit_bytes_total", "counter", "Bytes committed to the log.", c.commit_bytes);
	print_metric(out, "checkpoints_total", "counter", "Checkpoints.", c.checkpoints);
	print_metric(out, "batches_total", "counter", "Batches committed.", c.batches);
	print_metric(out, "checksum_errors_total", "counter", "Reads refused for a wrong checksum.",
		     c.checksum_errors);
	print_metric(out, "replayed_records", "gauge", "Log records replayed when the store was opened.",
		     c.replayed_records);
	print_metric(out, "read_only", "gauge", "1 after a failed write-back: the store must be reopened.",
		     c.poisoned);
	print_metric(out, "warnings_total", "counter", "Warnings logged, refused writes among them.",
		     message_count(VS_WARNING));
	print_metric(out, "errors_total", "counter", "Errors logged.", message_count(VS_ERROR));
}

static void print_schema(const struct vs_schema *schema, FILE *out)
{
	fprintf(out, "dim=%u\ndtype=%s\nmetric=%s\n", schema->dim, vs_dtype_name(schema->dtype),
		vs_metric_name(schema->metric));
}

static void print_stats(struct serve *s, const struct vs_collection_info *info, FILE *out)
{
	struct vs_batch_info batch;

	fprintf(out, "vectors=%" PRIu64 "\n", info->count);
	print_schema(&info->schema, out);
	fprintf(out, "row_bytes=%zu\nname_bytes=%" PRIu64 "\nsegments=%u\nversion=%" PRIu64 "\ndamaged=%d\n",
		info->row_bytes, info->name_bytes, info->segments, info->version, info->damaged);
	if (info->parent && !vs_batch_get(s->store, info->id, &batch))
		fprintf(out, "upload_rows=%" PRIu64 "\n", batch.upload_rows);
}

static int print(struct serve *s, const struct node *node, FILE *out)
{
	struct vs_collection_info info;
	int rc;

	if (node->kind == NODE_VERSION)
		print_version(out);
	if (node->kind == NODE_METRICS)
		print_metrics(s, out);
	if (node->kind != NODE_SCHEMA && node->kind != NODE_STATS)
		return 0;
	rc = vs_collection_get(s->store, node->collection, &info);
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	if (node->kind == NODE_SCHEMA)
		print_schema(&info.schema, out);
	else
		print_stats(s, &info, out);
	return 0;
}

/* Makes the text; *bytes is malloc'ed. */
static int make(struct serve *s, const struct node *node, char **bytes, size_t *size)
{
	FILE *out;
	int rc;

	if (node->kind == NODE_LOG) {
		*bytes = message_log(size);
		return *bytes ? 0 : -ENOMEM;
	}
	out = open_memstream(bytes, size);
	if (!out)
		return -ENOMEM;
	rc = print(s, node, out);
	if (fclose(out) && !rc)
		rc = -ENOMEM;
	if (rc)
		free(*bytes);
	return rc;
}

/* ------------------------------------------------------------------ as files */

static struct text *text_of(const struct fuse_file_info *fi)
{
	return (struct text *)(uintptr_t)fi->fh;
}

/* As old as the question: its text is made anew for each. */
static int text_attr(struct serve *s, const struct node *node, struct stat *st, double *timeout_s)
{
	char *bytes;
	size_t size;
	int rc = make(s, node, &bytes, &size);

	*timeout_s = 0;
	if (rc)
		return rc;
	free(bytes);
	return control_file_attr(s, node, ops_now_ns(), size, st);
}

static int text_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	struct text *t = calloc(1, sizeof *t);
	int rc = t ? make(ops_serve(req), node, &t->bytes, &t->size) : -ENOMEM;

	if (rc) {
		free(t);
		return rc;
	}
	pthread_mutex_init(&t->lock, NULL);
	fi->fh = (uintptr_t)t;
	fi->direct_io = 1;
	return 0;
}

static ssize_t copy_part(const char *bytes, size_t bytes_size, void *buf, size_t size, off_t off)
{
	size_t n = (size_t)off < bytes_size ? bytes_size - (size_t)off : 0;

	if (n > size)
		n = size;
	memcpy(buf, bytes + (n ? off : 0), n);
	return (ssize_t)n;
}

static ssize_t text_read(struct serve *s, const struct node *node, void *buf, size_t size, off_t off,
			 const struct fuse_file_info *fi)
{
	struct text *t = text_of(fi);
	char *bytes;
	size_t bytes_size;
	ssize_t got;
	int rc;

	if (t) {
		pthread_mutex_lock(&t->lock);
		got = copy_part(t->bytes, t->size, buf, size, off);
		pthread_mutex_unlock(&t->lock);
		return got;
	}
	rc = make(s, node, &bytes, &bytes_size);
	if (rc)
		return rc;
	got = copy_part(bytes, bytes_size, buf, size, off);
	free(bytes);
	return got;
}

static void text_release(struct serve *s, const struct node *node, const struct fuse_file_info *fi)
{
	struct text *t = text_of(fi);

	(void)s;
	(void)node;
	pthread_mutex_destroy(&t->lock);
	free(t->bytes);
	free(t);
}

const struct node_ops text_ops = {
	.attr = text_attr,
	.open = text_open,
	.read = text_read,
	.release = text_release,
};

/* ------------------------------------------------------------------ writing the schema */

/* Truncation is a part of opening it for writing: the first write at offset 0 does it. */
static int schema_setattr(fuse_req_t req, const struct node *node, const struct stat *st, int set,
			  struct fuse_file_info *fi)
{
	(void)req;
	(void)node;
	(void)fi;
	return set & FUSE_SET_ATTR_SIZE && st->st_size == 0 ? 0 : -EPERM;
}

static int schema_write(struct serve *s, const struct node *node, const void *buf, size_t size, off_t off,
			const struct fuse_file_info *fi)
{
	struct text *t = text_of(fi);
	size_t end = (size_t)off + size;
	char *bytes;
	int rc = 0;

	(void)s;
	(void)node;
	if (off > SCHEMA_BYTES_MAX || end > SCHEMA_BYTES_MAX)
		return -EFBIG;
	pthread_mutex_lock(&t->lock);
	if (off == 0)
		t->size = 0;
	bytes = realloc(t->bytes, SCHEMA_BYTES_MAX + 1);
	if (!bytes)
		rc = -ENOMEM;
	else
		t->bytes = bytes;
	if (!rc && (size_t)off > t->size)
		rc = -EINVAL;
	if (!rc) {
		memcpy(t->bytes + off, buf, size);
		t->size = end;
		t->written = true;
	}
	pthread_mutex_unlock(&t->lock);
	return rc;
}

/* One line of key=value; why tells what is wrong with it. */
static int parse_line(char *line, struct vs_schema *schema, char *why, size_t why_size)
{
	char *value = strchr(line, '='), *end;
	unsigned long dim;
	int word;

	if (!value) {
		snprintf(why, why_size, "got '%s', want key=value", line);
		return -EINVAL;
	}
	*value++ = '\0';
	if (!strcmp(line, "dim")) {
		dim = strtoul(value, &end, 10);
		if (*end || end == value || *value == '-' || dim > VS_ROW_BYTES_MAX * 8) {
			snprintf(why, why_size, "got dim=%s, want a number of values, or 0 for unknown",
				 value);
			return -EINVAL;
		}
		schema->dim = (uint32_t)dim;
	} else if (!strcmp(line, "dtype")) {
		word = vs_dtype_parse(value);
		if (word < 0) {
			snprintf(why, why_size, "got dtype=%s, want f32, f16, bf16, i8, u8 or bit", value);
			return -EINVAL;
		}
		schema->dtype = (enum vs_dtype)word;
	} else if (!strcmp(line, "metric")) {
		word = vs_metric_parse(value);
		if (word < 0) {
			snprintf(why, why_size, "got metric=%s, want l2, ip or cosine", value);
			return -EINVAL;
		}
		schema->metric = (enum vs_metric)word;
	} else {
		snprintf(why, why_size, "got key '%s', want dim, dtype or metric", line);
		return -EINVAL;
	}
	return 0;
}

/* Keys that the text does not have get their defaults: it is the whole schema. */
static int parse(const struct text *t, struct vs_schema *schema, char *why, size_t why_size)
{
	char copy[SCHEMA_BYTES_MAX + 1], *rest = copy, *line;
	int rc = 0;

	*schema = (struct vs_schema){.dtype = VS_F32, .metric = VS_L2};
	memcpy(copy, t->bytes, t->size);
	copy[t->size] = '\0';
	if (strlen(copy) < t->size) {
		snprintf(why, why_size, "got a NUL character, want lines of text");
		return -EINVAL;
	}
	while (!rc && (line = strsep(&rest, "\n")) != NULL)
		if (*line)
			rc = parse_line(line, schema, why, why_size);
	return rc;
}

static int apply(struct serve *s, const struct node *node, const struct text *t)
{
	struct vs_collection_info info;
	struct vs_schema schema;
	char why[SCHEMA_BYTES_MAX + 64] = "";
	int rc = vs_collection_get(s->store, node->collection, &info);

	if (rc)
		return rc;
	rc = parse(t, &schema, why, sizeof why);
	if (!rc && schema.dim == info.schema.dim && schema.dtype == info.schema.dtype &&
	    schema.metric == info.schema.metric)
		return 0; /* also once there are vectors: the same file can be copied again */
	if (!rc)
		rc = vs_schema_set(s->store, node->collection, &schema);
	if (rc == -EBUSY)
		snprintf(why, sizeof why, "the collection has, or has had, vectors");
	if (rc == -EINVAL && !*why)
		snprintf(why, sizeof why, "no vector can have dim=%u dtype=%s", schema.dim,
			 vs_dtype_name(schema.dtype));
	if (rc)
		message(VS_WARNING, "%s/.vecfs/schema: refused: %s", info.name, *why ? why : strerror(-rc));
	return rc;
}

static int schema_flush(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi, bool *changed)
{
	struct text *t = text_of(fi);
	int rc = 0;

	pthread_mutex_lock(&t->lock);
	if (t->written) {
		rc = apply(ops_serve(req), node, t);
		*changed = true;
	}
	t->written = false;
	pthread_mutex_unlock(&t->lock);
	return rc;
}

const struct node_ops schema_ops = {
	.attr = text_attr,
	.setattr = schema_setattr,
	.open = text_open,
	.read = text_read,
	.write = schema_write,
	.flush = schema_flush,
	.release = text_release,
};
