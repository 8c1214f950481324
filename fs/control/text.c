/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text - the control files that are text made when they are opened: log, metrics, version, stats, schema, and
 * those of views. The first goes on growing while it is open, for `tail -f`: what an inode of it names begins
 * at one position in the log, so that it never shrinks, while stat(2) shows one number for all of them, so
 * that `tail -F` takes it for the one file that it is.
 */
#include "fs/control/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/control.h"
#include "fs/control/view_text.h"
#include "fs/request/message.h"
#include "quant/level.h"

#define LOG_BYTES_MAX ((size_t)4 << 20)

/* ------------------------------------------------------------------ what they say */

static void print_version(FILE *out)
{
	fprintf(out, "vecfs %s (simd %s, libfuse %s)\n", VECFS_VERSION, level_name(level_get()),
		fuse_pkgversion());
}

static void print_metric(FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
	fprintf(out, "# HELP vecfs_%s %s\n# TYPE vecfs_%s %s\nvecfs_%s %" PRIu64 "\n", name, help, name, type,
		name, value);
}

static void print_seconds(FILE *out, const char *name, const char *help, double seconds)
{
	fprintf(out, "# HELP vecfs_%s %s\n# TYPE vecfs_%s counter\nvecfs_%s %.6f\n", name, help, name, name,
		seconds);
}

/* What clients say that their own searches have counted (searched.h). */
static void print_told(const struct mount *s, FILE *out)
{
	print_metric(out, "client_queries_total", "counter", "The same of clients that search by themselves.",
		     s->told.queries);
	print_metric(out, "client_search_rows_scanned_total", "counter",
		     "The same of clients that search by themselves.", s->told.rows_scanned);
	print_metric(out, "client_search_rows_verified_total", "counter",
		     "The same of clients that search by themselves.", s->told.rows_verified);
	print_seconds(out, "client_search_seconds_total", "The same of clients that search by themselves.",
		      (double)s->told.us / 1e6);
}

static void print_metrics(struct mount *s, FILE *out)
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
	print_metric(out, "queries_total", "counter", "Vectors searched for.", c.queries);
	print_metric(out, "search_rows_scanned_total", "counter", "Stored vectors compared by searches.",
		     c.rows_scanned);
	print_metric(out, "search_rows_verified_total", "counter",
		     "Stored vectors that searches verified against their checksums.", c.rows_verified);
	print_seconds(out, "search_seconds_total", "Time of searching, by all threads.",
		      (double)c.search_ns / 1e9);
	print_told(s, out);
	print_metric(out, "checksum_errors_total", "counter", "Reads refused for a wrong checksum.",
		     c.checksum_errors);
	print_metric(out, "replayed_records", "gauge", "Log records replayed when the store was opened.",
		     c.replayed_records);
	print_metric(out, "read_only", "gauge", "1 after a failed write-back: the store must be reopened.",
		     c.poisoned);
	print_metric(out, "warnings_total", "counter", "Warnings logged, refused writes among them.",
		     message_count(VS_WARNING));
	print_metric(out, "errors_total", "counter", "Errors logged.", message_count(VS_ERROR));
	view_text_print_metrics(s, out);
}

static void print_schema(const struct vs_schema *schema, FILE *out)
{
	fprintf(out, "dim=%u\ndtype=%s\nmetric=%s\n", schema->dim, vs_dtype_name(schema->dtype),
		vs_metric_name(schema->metric));
}

static void print_snapshots(struct mount *s, const struct vs_collection_info *info, FILE *out)
{
	struct vs_collection_info snap = {0};
	uint64_t alone;
	unsigned n = 0;

	if (info->frozen && !vs_snap_bytes(s->store, info->id, &alone))
		fprintf(out, "snapshot=1\nalone_bytes=%" PRIu64 "\n", alone);
	while (!info->parent && !vs_snap_next(s->store, info->id, snap.id, &snap))
		n++;
	if (!info->parent)
		fprintf(out, "snapshots=%u\n", n);
}

static void print_stats(struct mount *s, const struct vs_collection_info *info, FILE *out)
{
	struct vs_batch_info batch;

	fprintf(out, "vectors=%" PRIu64 "\n", info->count);
	print_schema(&info->schema, out);
	fprintf(out, "row_bytes=%zu\nname_bytes=%" PRIu64 "\nsegments=%u\nversion=%" PRIu64 "\ndamaged=%d\n",
		info->row_bytes, info->name_bytes, info->segments, info->version, info->damaged);
	fprintf(out, "schema_given=%d\n", info->schema_given || info->schema_fixed);
	if (!info->parent)
		view_text_print_stats(s, info, out);
	if (info->parent && !info->frozen && !vs_batch_get(s->store, info->id, &batch))
		fprintf(out, "upload_rows=%" PRIu64 "\n", batch.upload_rows);
	print_snapshots(s, info, out);
}

/*
 * Of all collections that everybody may read: the name, a NUL, its stats, a NUL. It is not listed, for it is
 * only to save `vecfs stat` of a mount with very many of them from opening as many files.
 */
static void print_all_stats(struct mount *s, FILE *out)
{
	struct vs_collection_info info = {0};

	while (!vs_collection_next(s->store, 0, info.id, &info)) {
		if ((info.perm.mode & 0005) != 0005)
			continue;
		fwrite(info.name, 1, strlen(info.name) + 1, out);
		print_stats(s, &info, out);
		fputc('\0', out);
	}
}

static int print(struct mount *s, const struct node *node, FILE *out)
{
	struct vs_collection_info info;
	int rc;

	if (node->kind == NODE_VIEW_TEXT)
		return view_text_print(s, node, out);
	if (node->kind == NODE_VERSION)
		print_version(out);
	if (node->kind == NODE_METRICS)
		print_metrics(s, out);
	if (node->kind == NODE_STATS && !node->collection)
		print_all_stats(s, out);
	if (!node->collection || (node->kind != NODE_SCHEMA && node->kind != NODE_STATS))
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
static int make(struct mount *s, const struct node *node, char **bytes, size_t *size)
{
	FILE *out;
	int rc;

	if (node->kind == NODE_LOG) {
		*bytes = message_log(node->entry, size, &rc);
		return rc;
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

struct text *text_of(const struct fuse_file_info *fi)
{
	return (struct text *)(uintptr_t)fi->fh;
}

static int log_attr(struct mount *s, const struct node *node, struct stat *st)
{
	const struct node log = {.kind = NODE_LOG};
	uint64_t end = message_log_end();
	int rc = control_file_attr(s, node, vs_time_now(), end > node->entry ? end - node->entry : 0, st);

	st->st_ino = node_ino(&log);
	return rc;
}

/* Its mtime is now: the text is made for each request. */
int text_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	char *bytes;
	size_t size;
	int rc;

	*timeout_s = 0;
	if (node->kind == NODE_LOG)
		return log_attr(s, node, st);
	rc = make(s, node, &bytes, &size);
	if (rc)
		return rc;
	free(bytes);
	return control_file_attr(s, node, vs_time_now(), size, st);
}

static bool is_written(const struct node *node)
{
	return node->kind == NODE_SCHEMA || (node->kind == NODE_VIEW_TEXT && node->which == NODE_VIEW_PARAMS);
}

int text_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	struct text *t;
	int rc;

	if (!is_written(node) && (fi->flags & O_ACCMODE) != O_RDONLY)
		return -EACCES; /* the mode says so, but not to root */
	t = calloc(1, sizeof *t);
	rc = t ? make(ops_serve(req), node, &t->bytes, &t->size) : -ENOMEM;
	if (rc) {
		free(t);
		return rc;
	}
	pthread_mutex_init(&t->lock, NULL);
	fi->fh = (uintptr_t)t;
	fi->direct_io = 1;
	return 0;
}

/* With the lock held: takes what has been logged since. A text that has become long forgets its first half.
 */
static int extend_log(struct text *t, const struct node *node)
{
	size_t more_size;
	char *more, *bytes;
	int rc;

	more = message_log(node->entry + t->forgotten + t->size, &more_size, &rc);
	if (rc || more_size == 0) {
		free(more);
		return rc;
	}
	if (t->size > LOG_BYTES_MAX) {
		memmove(t->bytes, t->bytes + t->size / 2, t->size - t->size / 2);
		t->forgotten += t->size / 2;
		t->size -= t->size / 2;
	}
	bytes = realloc(t->bytes, t->size + more_size);
	if (bytes) {
		memcpy(bytes + t->size, more, more_size);
		t->bytes = bytes;
		t->size += more_size;
	}
	free(more);
	return bytes ? 0 : -ENOMEM;
}

/* With the lock held. */
static ssize_t read_log(struct text *t, const struct node *node, void *buf, size_t size, off_t off)
{
	int rc = 0;

	if ((uint64_t)off >= t->forgotten + t->size)
		rc = extend_log(t, node);
	if (!rc && (uint64_t)off < t->forgotten)
		rc = -ESTALE;
	return rc ? rc : ops_copy_part(t->bytes, t->size, buf, size, off - (off_t)t->forgotten);
}

ssize_t text_read(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
		  const struct fuse_file_info *fi)
{
	struct text *t = text_of(fi);
	char *bytes;
	size_t bytes_size;
	ssize_t got;
	int rc;

	if (t) {
		pthread_mutex_lock(&t->lock);
		got = node->kind == NODE_LOG ? read_log(t, node, buf, size, off)
					     : ops_copy_part(t->bytes, t->size, buf, size, off);
		pthread_mutex_unlock(&t->lock);
		return got;
	}
	rc = make(s, node, &bytes, &bytes_size);
	if (rc)
		return rc;
	got = ops_copy_part(bytes, bytes_size, buf, size, off);
	free(bytes);
	return got;
}

void text_release(struct mount *s, const struct node *node, const struct fuse_file_info *fi)
{
	struct text *t = text_of(fi);

	(void)s;
	(void)node;
	pthread_mutex_destroy(&t->lock);
	free(t->bytes);
	free(t);
}

int text_setattr(fuse_req_t req, const struct node *node, const struct stat *st, int set,
		 struct fuse_file_info *fi)
{
	(void)req;
	(void)fi;
	return is_written(node) && set & FUSE_SET_ATTR_SIZE && st->st_size == 0 ? 0 : -EPERM;
}

const struct node_ops text_ops = {
	.attr = text_attr,
	.open = text_open,
	.read = text_read,
	.release = text_release,
};
