/* SPDX-License-Identifier: Apache-2.0 */
#include "store/search/recall.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The queries: rows of the snapshot, in even distances; and what was found for them. */
struct measuring {
	struct vs_snapshot *m;
	struct vs_snapshot_info info;
	char *vectors;
	uint64_t rows[VS_RECALL_QUERIES];
	uint32_t count, k;
	bool (*is_cancelled)(void *arg, uint64_t rows);
	void *arg;
	struct vs_hit *truth, *hits;
	uint32_t truth_found[VS_RECALL_QUERIES], found[VS_RECALL_QUERIES];
};

/* Rows that can be queries; one that is damaged, or has no direction, is none. */
static int take_queries(struct measuring *x)
{
	uint64_t wanted = x->info.rows < VS_RECALL_QUERIES ? x->info.rows : VS_RECALL_QUERIES;
	size_t bytes = x->info.row_bytes;

	for (uint64_t i = 0; i < wanted; i++) {
		uint64_t row = x->info.rows * i / wanted;
		char *vector = x->vectors + x->count * bytes;
		ssize_t got = vs_snapshot_vectors(x->m, vector, bytes, row * bytes);

		if (got < 0 && got != -EIO)
			return (int)got;
		if (got != (ssize_t)bytes || vs_query_check(&x->info.schema, vector, 1))
			continue;
		x->rows[x->count++] = row;
	}
	return 0;
}

/* With a place more than k, which the query itself takes. */
static int find(const struct measuring *x, const struct vs_view *view, uint32_t rerank, struct vs_hit *hits,
		uint32_t *found)
{
	struct vs_query q = {.vectors = x->vectors,
			     .count = x->count,
			     .k = x->k + 1,
			     .view = view,
			     .rerank = rerank ? rerank + 1 : 0,
			     .is_cancelled = x->is_cancelled,
			     .arg = x->arg};
	struct vs_search_stats stats;

	return vs_search(x->m, &q, 0, x->info.rows, hits, found, &stats);
}

/* The first k of a query's hits that are not the query. */
static uint32_t others(const struct measuring *x, uint32_t query, const struct vs_hit *hits, uint32_t found,
		       uint64_t *rows)
{
	uint32_t n = 0;

	hits += (size_t)query * (x->k + 1);
	for (uint32_t i = 0; i < found && n < x->k; i++)
		if (hits[i].row != x->rows[query])
			rows[n++] = hits[i].row;
	return n;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* How many of the true ones were found, of how many. */
static void compare(const struct measuring *x, uint64_t *rows, uint64_t *both, uint64_t *all)
{
	uint64_t *truth = rows, *got = rows + x->k;

	for (uint32_t q = 0; q < x->count; q++) {
		uint32_t n = others(x, q, x->truth, x->truth_found[q], truth);
		uint32_t m = others(x, q, x->hits, x->found[q], got);

		qsort(truth, n, sizeof *truth, by_number);
		for (uint32_t i = 0; i < m; i++)
			*both += bsearch(&got[i], truth, n, sizeof *truth, by_number) != NULL;
		*all += n;
	}
}

static int measure(struct measuring *x, const struct vs_view *view, const uint32_t *depths, double *recalls,
		   unsigned count, uint64_t *rows)
{
	int rc = take_queries(x);

	if (!rc && x->count)
		rc = find(x, NULL, 0, x->truth, x->truth_found);
	for (unsigned i = 0; i < count && !rc && x->count; i++) {
		uint64_t both = 0, all = 0;

		rc = find(x, view, depths[i], x->hits, x->found);
		if (!rc)
			compare(x, rows, &both, &all);
		if (!all) /* every vector is alone */
			x->count = 0;
		recalls[i] = all ? (double)both / (double)all : 0;
	}
	return rc;
}

int vs_recall_measure(struct vs_snapshot *m, const struct vs_view *view, uint32_t k, const uint32_t *depths,
		      double *recalls, unsigned count, bool (*is_cancelled)(void *arg, uint64_t rows),
		      void *arg, uint32_t *queries)
{
	struct measuring x = {.m = m, .is_cancelled = is_cancelled, .arg = arg};
	uint64_t *rows;
	int rc;

	vs_snapshot_info(m, &x.info);
	x.k = k < x.info.rows ? k : (uint32_t)x.info.rows;
	x.vectors = malloc(VS_RECALL_QUERIES * x.info.row_bytes + 1);
	x.truth = malloc(VS_RECALL_QUERIES * ((size_t)x.k + 1) * sizeof *x.truth);
	x.hits = malloc(VS_RECALL_QUERIES * ((size_t)x.k + 1) * sizeof *x.hits);
	rows = malloc(2 * ((size_t)x.k + 1) * sizeof *rows);
	rc = x.vectors && x.truth && x.hits && rows ? 0 : -ENOMEM;
	if (!rc)
		rc = measure(&x, view, depths, recalls, count, rows);
	*queries = rc ? 0 : x.count;
	free(x.vectors);
	free(x.truth);
	free(x.hits);
	free(rows);
	return rc;
}

int vs_recall_depth(struct vs_snapshot *m, const struct vs_view *view, uint32_t k, double recall,
		    bool (*is_cancelled)(void *arg, uint64_t rows), void *arg, uint32_t *rerank)
{
	static const uint32_t times[] = {1, 2, 5, 10, 20, 50, 100};
	uint32_t depths[sizeof times / sizeof *times], queries;
	double recalls[sizeof times / sizeof *times];
	unsigned count = sizeof times / sizeof *times, i = 0;
	int rc;

	for (unsigned t = 0; t < count; t++)
		depths[t] = k < UINT32_MAX / 128 ? k * times[t] : k;
	rc = vs_recall_measure(m, view, k, depths, recalls, count, is_cancelled, arg, &queries);
	while (i < count && queries && recalls[i] < recall)
		i++;
	*rerank = i < count ? depths[i] : UINT32_MAX - 1;
	return rc;
}
