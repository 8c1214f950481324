/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/view_recall.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/answer.h"
#include "fs/control/control.h"
#include "fs/control/view_dir.h"
#include "fs/inode/open_files.h"
#include "quant/rng.h"
#include "store/search/search.h"

const uint32_t view_recall_depths[VIEW_RECALL_DEPTHS] = {0, 20, 50, 100};

/* One more than the ten, for the query's own row is among them. */
#define HITS (VIEW_RECALL_K + 1)

struct measurement {
	struct vs_snapshot *m;
	struct vs_snapshot_info info;
	struct vs_query query;
	uint64_t rows[VIEW_RECALL_QUERIES]; /* of the queries */
	char *vectors;
	struct vs_hit exact[VIEW_RECALL_QUERIES * HITS], found[VIEW_RECALL_QUERIES * HITS];
	uint32_t exact_count[VIEW_RECALL_QUERIES], found_count[VIEW_RECALL_QUERIES];
};

/* ------------------------------------------------------------------ measuring */

/* Takes those of a sample of rows that can be queries; damaged ones cannot. */
static int take_queries(struct measurement *x)
{
	size_t row_bytes = x->info.row_bytes;
	struct rng rng;
	size_t n;

	rng_seed(&rng, 1); /* the same rows each time */
	n = rng_sample(&rng, x->info.rows, VIEW_RECALL_QUERIES, x->rows);
	x->vectors = malloc(n * row_bytes + 1);
	if (!x->vectors)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		char *vector = x->vectors + x->query.count * row_bytes;
		ssize_t got = vs_snapshot_vectors(x->m, vector, row_bytes, x->rows[i] * row_bytes);

		if (got == (ssize_t)row_bytes && !vs_query_check(&x->info.schema, vector, 1))
			x->rows[x->query.count++] = x->rows[i];
	}
	x->query.vectors = x->vectors;
	return 0;
}

/* Takes the query's own row out of its hits, or the one too many; returns how many are left. */
static uint32_t without_own(struct vs_hit *hits, uint32_t count, uint64_t own)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < count; i++)
		if (hits[i].row != own && n < VIEW_RECALL_K)
			hits[n++] = hits[i];
	return n;
}

static uint32_t common(const struct vs_hit *a, uint32_t a_count, const struct vs_hit *b, uint32_t b_count)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < a_count; i++)
		for (uint32_t j = 0; j < b_count; j++)
			n += a[i].row == b[j].row;
	return n;
}

/* Of all queries; exact hits are without the query's own row already. */
static double recall_of(struct measurement *x)
{
	uint64_t hit = 0, all = 0;

	for (uint32_t q = 0; q < x->query.count; q++) {
		struct vs_hit *found = x->found + q * HITS, *exact = x->exact + q * HITS;
		uint32_t n = without_own(found, x->found_count[q], x->rows[q]);

		hit += common(found, n, exact, x->exact_count[q]);
		all += x->exact_count[q];
	}
	return all ? (double)hit / (double)all : 1;
}

static int search(struct measurement *x, const struct vs_view *view, uint32_t depth, struct vs_hit *hits,
		  uint32_t *count)
{
	struct vs_search_stats stats;

	x->query.view = view;
	x->query.rerank = depth;
	return vs_search(x->m, &x->query, 0, x->info.rows, hits, count, &stats);
}

static int measure(struct measurement *x, const struct vs_view *view, struct view_recall *out)
{
	int rc = take_queries(x);

	if (!rc && x->query.count)
		rc = search(x, NULL, 0, x->exact, x->exact_count);
	for (uint32_t q = 0; q < x->query.count && !rc; q++)
		x->exact_count[q] = without_own(x->exact + q * HITS, x->exact_count[q], x->rows[q]);
	for (unsigned i = 0; i < VIEW_RECALL_DEPTHS && x->query.count && !rc; i++) {
		uint32_t depth = view_recall_depths[i];

		rc = search(x, view, depth ? depth + 1 : 0, x->found, x->found_count);
		out->recall[i] = rc ? 0 : recall_of(x);
	}
	out->queries = x->query.count;
	return rc;
}

int view_recall_measure(struct vs_store *store, uint32_t collection, const char *name,
			bool (*is_cancelled)(void *arg, uint64_t rows), void *arg, struct view_recall *out)
{
	struct measurement *x = calloc(1, sizeof *x);
	struct vs_view *view = NULL;
	int rc = x ? vs_snapshot_open(store, collection, &x->m) : -ENOMEM;

	*out = (struct view_recall){.queries = 0};
	if (rc) {
		free(x);
		return rc;
	}
	vs_snapshot_info(x->m, &x->info);
	out->rows = x->info.rows;
	x->query = (struct vs_query){.k = HITS, .is_cancelled = is_cancelled, .arg = arg};
	rc = vs_view_open(x->m, name, &view);
	if (!rc) {
		out->model = vs_view_model(view);
		rc = x->info.rows > 1 ? measure(x, view, out) : 0;
		vs_view_close(view);
	}
	vs_snapshot_close(x->m);
	free(x->vectors);
	free(x);
	return rc;
}

void view_recall_print(const struct view_recall *recall, FILE *out)
{
	fprintf(out, "recall_queries=%u\nrecall_rows=%llu\n", recall->queries,
		(unsigned long long)recall->rows);
	for (unsigned i = 0; i < VIEW_RECALL_DEPTHS && recall->queries; i++)
		fprintf(out, "recall_rerank%u=%.4f\n", view_recall_depths[i], recall->recall[i]);
}

/* ------------------------------------------------------------------ as a file */

struct recall_file {
	struct open_file open_file;
	char *text;
	size_t size;
};

static int print(const struct view_recall *recall, struct recall_file *file)
{
	FILE *out = open_memstream(&file->text, &file->size);

	if (!out)
		return -ENOMEM;
	view_recall_print(recall, out);
	return fclose(out) ? -ENOMEM : 0;
}

/* req is NULL on a stateless mount, where the text of one stat(2) must be that of all reads. */
static int make(struct mount *s, fuse_req_t req, const struct node *node, struct recall_file *file)
{
	struct view_recall recall;
	struct vs_view_info info;
	int rc = view_get(s, node, &info);

	if (!rc && !req && view_table_recall(s->views, node->entry, info.model, &recall))
		return print(&recall, file);
	if (!rc)
		rc = view_recall_measure(s->store, node->collection, info.name,
					 req ? answer_is_unwanted : NULL, req, &recall);
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	view_table_set_recall(s->views, node->entry, &recall);
	return print(&recall, file);
}

/* As with near/ID the size is not known before: 0, and direct_io. Only a stateless mount must tell. */
static int recall_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	struct recall_file file = {.size = 0};
	struct vs_view_info info;
	int rc = s->stateless ? make(s, NULL, node, &file) : view_get(s, node, &info);

	free(file.text);
	*timeout_s = 0;
	return rc ? rc : control_file_attr(s, node, vs_time_now(), file.size, st);
}

static int recall_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	struct recall_file *file;
	int rc;

	if ((fi->flags & O_ACCMODE) != O_RDONLY)
		return -EACCES;
	file = calloc(1, sizeof *file);
	rc = file ? make(ops_serve(req), req, node, file) : -ENOMEM;
	if (rc) {
		free(file);
		return rc;
	}
	fi->fh = (uintptr_t)file;
	fi->direct_io = 1;
	return 0;
}

static ssize_t recall_read(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
			   const struct fuse_file_info *fi)
{
	struct recall_file *file = (struct recall_file *)(uintptr_t)fi->fh, made = {.size = 0};
	ssize_t got;
	int rc;

	if (file)
		return ops_copy_part(file->text, file->size, buf, size, off);
	rc = make(s, NULL, node, &made);
	got = rc ? rc : ops_copy_part(made.text, made.size, buf, size, off);
	free(made.text);
	return got;
}

static bool recall_is_long(struct mount *s, const struct node *node, size_t data_size)
{
	(void)data_size;
	return answer_is_long(s, node->collection, VIEW_RECALL_QUERIES);
}

static void recall_release(struct mount *s, const struct node *node, const struct fuse_file_info *fi)
{
	struct recall_file *file = (struct recall_file *)(uintptr_t)fi->fh;

	(void)s;
	(void)node;
	free(file->text);
	free(file);
}

const struct node_ops view_recall_ops = {
	.attr = recall_attr,
	.open = recall_open,
	.read = recall_read,
	.release = recall_release,
	.is_long = recall_is_long,
};
