/* SPDX-License-Identifier: Apache-2.0 */
#include "store/search/search.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/base/clock.h"
#include "store/engine.h"
#include "store/search/state.h"

#define BLOCK_BYTES (256u << 10)
#define BLOCK_BYTES_FEW (4u << 20) /* for so few queries that a row is not read again: */
#define FEW_QUERIES 4u
#define BLOCK_ROWS_MAX 2048u

static void search_free(struct search *s)
{
	free(s->converted);
	free(s->tops);
	free(s->items);
	free(s->listed);
	free(s->distances);
	free(s->chosen);
	free(s->keys);
	free(s->sums);
	free(s->rows);
	free(s->picks);
}

static int search_begin(struct search *s)
{
	size_t count = s->q->count, bytes = count <= FEW_QUERIES ? BLOCK_BYTES_FEW : BLOCK_BYTES, n;

	s->block_rows = (uint32_t)(bytes / s->info.row_bytes) / 64 * 64;
	if (s->block_rows < 64)
		s->block_rows = 64;
	if (s->block_rows > BLOCK_ROWS_MAX)
		s->block_rows = BLOCK_ROWS_MAX;
	n = bit_words(s->block_rows);
	s->tops = calloc(count, sizeof *s->tops);
	s->items = calloc(count * s->q->k + 1, sizeof *s->items);
	s->rows = malloc(s->block_rows * s->info.row_bytes);
	s->picks = calloc(s->block_rows, sizeof *s->picks);
	s->distances = malloc((size_t)(count < SEARCH_GROUP ? count : SEARCH_GROUP) * s->block_rows *
			      sizeof *s->distances);
	s->chosen = calloc(3 * n, sizeof *s->chosen);
	s->keys = calloc(s->block_rows, sizeof *s->keys);
	s->sums = calloc(s->block_rows, sizeof *s->sums);
	if (!s->tops || !s->items || !s->rows || !s->picks || !s->distances || !s->chosen || !s->keys ||
	    !s->sums)
		return -ENOMEM;
	s->moved = s->chosen + n;
	s->near = s->moved + n;
	for (size_t i = 0; i < count; i++)
		topk_start(&s->tops[i], s->items + i * s->q->k, s->q->k);
	return search_take_queries(s);
}

static void tell(struct search *s, struct vs_hit *hits, uint32_t *found)
{
	enum vs_metric metric = s->info.schema.metric;

	for (uint32_t i = 0; i < s->q->count; i++) {
		found[i] = (uint32_t)topk_finish(&s->tops[i]);
		for (uint32_t j = 0; j < found[i]; j++) {
			const struct topk_item *item = &s->tops[i].items[j];

			hits[(size_t)i * s->q->k + j] =
				(struct vs_hit){item->row, item->key, search_told(metric, item->distance)};
		}
	}
}

static int search_block(struct search *s, const struct snapshot_run *run)
{
	int rc = search_choose(s, run);

	s->stats->rows_scanned += rc ? 0 : bit_count(s->chosen, run->count);
	for (uint32_t group = 0; group < s->q->count && !rc; group += SEARCH_GROUP)
		rc = search_compare(s, run, group,
				    s->q->count - group < SEARCH_GROUP ? s->q->count - group : SEARCH_GROUP);
	return rc;
}

static int search_rows(struct search *s, uint64_t first, uint64_t end)
{
	const struct vs_query *q = s->q;
	uint32_t done = 0;
	int rc = search_look_up(s, first, end);

	while (!rc && first < end) {
		struct snapshot_run run;

		if (q->is_cancelled && q->is_cancelled(q->arg, done))
			return -EINTR;
		snapshot_run_begin(s->m, first, end - first < s->block_rows ? end - first : s->block_rows,
				   &run);
		rc = search_block(s, &run);
		snapshot_run_end(&run);
		first += done = run.count;
	}
	return rc;
}

/* For who watches the store. */
static void count(const struct search *s, int64_t ns)
{
	struct counters *c = snapshot_counters(s->m);

	c->rows_scanned += s->stats->rows_scanned;
	c->rows_verified += s->stats->rows_verified;
	c->search_ns += (uint64_t)ns;
}

int vs_search(struct vs_snapshot *m, const struct vs_query *q, uint64_t first, uint64_t rows,
	      struct vs_hit *hits, uint32_t *found, struct vs_search_stats *stats)
{
	struct search s = {.m = m, .q = q, .stats = stats};
	uint64_t end = first + rows;
	int64_t begin = clock_ns();
	int rc;

	*stats = (struct vs_search_stats){0};
	memset(found, 0, q->count * sizeof *found);
	vs_snapshot_info(m, &s.info);
	if (end > s.info.rows)
		end = s.info.rows;
	if (first >= end || !q->count)
		return 0;
	rc = vs_query_check(&s.info.schema, q->vectors, q->count);
	if (rc)
		return rc;
	rc = search_begin(&s);
	if (!rc)
		rc = search_rows(&s, first, end);
	if (!rc)
		tell(&s, hits, found);
	search_free(&s);
	count(&s, clock_ns() - begin);
	if (!first) /* not for each part of a search in parts */
		snapshot_counters(m)->queries += q->count;
	return rc;
}

uint64_t vs_search_bytes(const struct vs_query *q, unsigned threads)
{
	return (uint64_t)q->count * threads * (q->k * sizeof(struct topk_item) + sizeof(struct topk));
}

static bool is_before(enum vs_metric metric, const struct vs_hit *a, const struct vs_hit *b)
{
	if (a->distance != b->distance)
		return metric == VS_IP ? a->distance > b->distance : a->distance < b->distance;
	return a->entry < b->entry;
}

int vs_search_merge(enum vs_metric metric, const struct vs_query *q, struct vs_hit *hits, uint32_t *found,
		    const struct vs_hit *other, const uint32_t *other_found)
{
	struct vs_hit *mine = malloc(((size_t)q->k + 1) * sizeof *mine);

	if (!mine)
		return -ENOMEM;
	for (uint32_t i = 0; i < q->count; i++) {
		struct vs_hit *out = hits + (size_t)i * q->k;
		const struct vs_hit *theirs = other + (size_t)i * q->k;
		uint32_t a = 0, b = 0, n = 0;

		memcpy(mine, out, found[i] * sizeof *mine);
		while (n < q->k && (a < found[i] || b < other_found[i])) {
			bool is_mine = b >= other_found[i] ||
				       (a < found[i] && is_before(metric, &mine[a], &theirs[b]));

			out[n++] = is_mine ? mine[a++] : theirs[b++];
		}
		found[i] = n;
	}
	free(mine);
	return 0;
}
