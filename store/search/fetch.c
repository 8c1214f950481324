/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single rows, verified. A vector is taken from the mapping of its segment's file, without a lock, and is
 * right if it has the checksum that the snapshot's row has; else it has moved, or waits for the applier, and
 * is read as vs_snapshot_vectors() does.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "quant/distance.h"
#include "store/base/checksum.h"
#include "store/io/guard.h"
#include "store/search/state.h"
#include "store/snapshot/borrowed.h"
#include "store/segment/segment.h"

#define COPY_AHEAD 4u          /* rows, */
#define COPY_AHEAD_BYTES 1024u /* of each: the processor foresees the rest */

static void take_meta(void *arg, uint64_t n, uint32_t place, const struct row *r, const char *name)
{
	struct {
		uint64_t key;
		uint32_t sum;
	} *meta = arg;

	(void)n;
	(void)place;
	(void)name;
	meta->key = r ? row_entry(r) : 0;
	meta->sum = r ? r->data_sum : 0;
}

struct copy {
	char *to;
	const struct snapshot_run *run;
	const uint32_t *rows;
	uint32_t n;
	size_t bytes;
};

static const char *vector_of(const struct copy *c, uint32_t i)
{
	return c->run->vectors + (c->rows[i] - c->run->first) * c->bytes;
}

/* Within a guard. The rows are anywhere: some are asked for ahead of the one that is copied. */
static void copy_mapped(void *arg)
{
	struct copy *c = arg;

	for (uint32_t i = 0; i < c->n + COPY_AHEAD; i++) {
		for (size_t at = 0; i < c->n && at < c->bytes && at < COPY_AHEAD_BYTES; at += 64)
			__builtin_prefetch(vector_of(c, i) + at);
		if (i >= COPY_AHEAD)
			memcpy(c->to + (i - COPY_AHEAD) * c->bytes, vector_of(c, i - COPY_AHEAD), c->bytes);
	}
}

/* Copies as many of the rows as are in the first one's segment, if they can be had: else *missing has their
 * bits. What is not what was written is found out later. */
static uint32_t copy_rows(struct search *s, const uint32_t *rows, uint32_t n, char *to, uint64_t *missing)
{
	struct snapshot_run run;
	struct copy copy = {.to = to, .run = &run, .rows = rows, .n = 1, .bytes = s->info.row_bytes};

	snapshot_run_begin(s->m, rows[0], s->info.rows - rows[0], &run);
	while (copy.n < n && rows[copy.n] < run.first + run.count)
		copy.n++;
	if (!run.vectors || !io_guard(run.vectors, run.count * copy.bytes, copy_mapped, &copy))
		*missing |= copy.n < 64 ? (UINT64_C(1) << copy.n) - 1 : UINT64_MAX;
	snapshot_run_end(&run);
	return copy.n;
}

/* All of them. */
static uint64_t copy_all(struct search *s, const uint32_t *rows, uint32_t n)
{
	uint64_t missing = 0;

	assert(n <= SEARCH_FETCH);
	if (snapshot_lender(s->m))
		return borrowed_vectors(s->m, 0, rows, n, s->rows) ? UINT64_MAX : 0;
	for (uint32_t i = 0; i < n;) {
		uint64_t of_run = 0;
		uint32_t copied = copy_rows(s, rows + i, n - i, s->rows + i * s->info.row_bytes, &of_run);

		missing |= of_run << i;
		i += copied;
	}
	return missing;
}

/* Sees to it that the vector is the row's: -EBADMSG if it is damaged. */
static int settle(struct search *s, uint32_t row, char *vector, uint64_t *key)
{
	struct {
		uint64_t key;
		uint32_t sum;
	} meta;
	int rc = snapshot_rows(s->m, row, 1, NULL, take_meta, &meta);

	if (rc)
		return rc;
	*key = meta.key;
	if (!meta.key || meta.key == s->q->without)
		return 0;
	s->stats->rows_verified++;
	return sum_data(vector, s->info.row_bytes) == meta.sum ? 0 : snapshot_vector(s->m, row, vector);
}

int search_fetch(struct search *s, uint32_t *rows, uint32_t *n)
{
	size_t bytes = s->info.row_bytes;
	uint32_t wanted = *n, left = 0;

	copy_all(s, rows, wanted);
	for (uint32_t i = 0; i < wanted; i++) {
		char *vector = s->rows + i * bytes;
		uint64_t key = 0;
		int rc = settle(s, rows[i], vector, &key);

		if (rc == -EBADMSG)
			s->stats->rows_damaged++;
		else if (rc)
			return rc;
		if (rc || !key || key == s->q->without)
			continue;
		if (left < i)
			memcpy(s->rows + left * bytes, vector, bytes);
		s->keys[left] = key;
		rows[left++] = rows[i];
	}
	*n = left;
	return 0;
}

/* Distances of the first n of s->rows, or of one. */
static void measure(struct search *s, const char *vectors, uint32_t n, uint32_t group, uint32_t queries)
{
	const struct vs_schema *schema = &s->info.schema;

	distance_batch(s->distances, schema->dtype, schema->metric, s->queries + group * s->query_bytes,
		       queries, vectors, s->info.row_bytes, n, schema->dim);
}

static void offer(struct search *s, uint32_t query, uint32_t row, uint64_t key, float d)
{
	float shown;

	if (!(d <= search_bound_now(s, query)))
		return;
	shown = search_shown(s->info.schema.metric, d);
	if (shown <= search_radius(s))
		topk_push(&s->tops[query], shown, row, key);
}

void search_offer(struct search *s, const uint32_t *rows, uint32_t n, uint32_t group, uint32_t queries)
{
	if (!n)
		return;
	measure(s, s->rows, n, group, queries);
	for (uint32_t q = 0; q < queries; q++)
		for (uint32_t i = 0; i < n; i++)
			offer(s, group + q, rows[i], s->keys[i], s->distances[(size_t)q * n + i]);
}

/* Fetches a row that may be among the nearest once more, and offers it. */
static int rank_row(struct search *s, uint32_t row, uint32_t query, uint32_t *lost)
{
	uint32_t n = 1;
	int rc = search_fetch(s, &row, &n);

	if (!rc && n)
		search_offer(s, &row, 1, query, 1);
	*lost += !rc && !n;
	return rc;
}

/* Compares SEARCH_FETCH candidates, or n: their distances and whether they have moved (as a key). */
static int measure_items(struct search *s, struct topk_item *items, uint32_t n, uint32_t query)
{
	uint32_t rows[SEARCH_FETCH];
	uint64_t moved = 0;
	int rc;

	for (uint32_t i = 0; i < n; i++)
		rows[i] = items[i].row;
	rc = snapshot_mark_moved_rows(s->m, rows, n, &moved);
	if (rc)
		return rc;
	moved |= copy_all(s, rows, n);
	rc = snapshot_mark_moved_rows(s->m, rows, n, &moved);
	measure(s, s->rows, n, query, 1);
	for (uint32_t i = 0; i < n; i++) {
		items[i].distance = s->distances[i];
		items[i].key = moved >> i & 1;
	}
	return rc;
}

/* The k-th least distance of what has not moved. */
static float distance_of_nearest(const struct search *s, const struct topk_item *items, size_t count)
{
	struct topk top;

	topk_start(&top, s->nearest, s->q->k);
	for (size_t i = 0; i < count; i++)
		if (!items[i].key)
			topk_push(&top, items[i].distance, items[i].row, items[i].row);
	return top.bound;
}

/*
 * First those that are as near as k of them, and what has moved; then, if some of these are none of the
 * nearest, what is near enough still. A radius is not looked at: a query that lacks hits is to know of all
 * rows that were left out.
 */
int search_rank(struct search *s, struct topk_item *items, size_t count, uint32_t query, uint32_t *lost)
{
	enum vs_metric metric = s->info.schema.metric;
	float nearest;
	int rc = 0;

	for (size_t i = 0; i < count && !rc; i += SEARCH_FETCH)
		rc = measure_items(s, items + i,
				   (uint32_t)(count - i < SEARCH_FETCH ? count - i : SEARCH_FETCH), query);
	nearest = rc ? 0 : distance_of_nearest(s, items, count);
	for (size_t i = 0; i < count && !rc; i++)
		if (items[i].key || !(items[i].distance > nearest)) /* NaNs, too: such a row is damaged */
			rc = rank_row(s, items[i].row, query, lost);
	for (size_t i = 0; i < count && !rc; i++)
		if (!items[i].key && items[i].distance > nearest &&
		    items[i].distance <= search_bound(metric, s->tops[query].bound))
			rc = rank_row(s, items[i].row, query, lost);
	return rc;
}
