/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows are compared in blocks, as they lie in a mapping of their segment's file, each block with all queries,
 * SEARCH_GROUP of them at a time. Blocks for many queries stay in the cache. Rows whose vectors are not in
 * the file, or are not any more when they have been compared (snapshot.h), and those whose checksum does not
 * fit, are "moved": they are read one by one, verified, and compared again.
 *
 * Of each query's distances those that may be among its k nearest are looked at: the rows' metadata are asked
 * for, which tell the checksum and, by the entry number, which of equals is first. A row that is what was
 * written is offered to the query's selection.
 */
#include <errno.h>
#include <string.h>

#include "quant/distance.h"
#include "store/base/checksum.h"
#include "store/segment/segment.h"
#include "store/io/guard.h"
#include "store/search/state.h"
#include "store/snapshot/borrowed.h"

#define SPARSE 4u /* if not one row in so many is wanted, these are gathered */

/* Vectors that are compared with one call. */
struct tile {
	const char *vectors;
	uint32_t n;
	uint32_t from;         /* the first one's row of the block, */
	const uint32_t *picks; /* or which rows they are */
};

/* ------------------------------------------------------------------ selecting */

static uint32_t row_at(const struct tile *tile, uint32_t i)
{
	return tile->picks ? tile->picks[i] : tile->from + i;
}

/* Of 64 distances, or n, those that are not above the bound. */
static uint64_t near_enough(const float *distances, uint32_t n, float bound)
{
	uint64_t near = 0;

	for (uint32_t i = 0; i < n; i++)
		near |= (uint64_t)(distances[i] <= bound) << i;
	return near;
}

/* The k-th least distance of a tile's rows to a query that has no k hits yet: what is farther is looked at
 * only if some of those turn out to be none. */
static float distance_of_nearest(const struct search *s, const struct tile *tile, const float *distances)
{
	struct topk top;

	topk_start(&top, s->nearest, s->q->k);
	for (uint32_t i = 0; i < tile->n; i++) {
		uint32_t row = row_at(tile, i);

		if (bit_is_set(s->chosen, row) && !bit_is_set(s->moved, row))
			topk_push(&top, distances[i], row, row);
	}
	return top.bound;
}

/* Marks the rows of a tile that may be among the nearest of one of the queries. */
static void find_near(struct search *s, const struct tile *tile, uint32_t group, uint32_t queries,
		      bool is_first)
{
	for (uint32_t q = 0; q < queries; q++) {
		const float *d = s->distances + (size_t)q * tile->n;
		float bound = search_bound_now(s, group + q);

		if (is_first && s->tops[group + q].count < s->q->k)
			bound = fminf(bound, distance_of_nearest(s, tile, d));
		for (uint32_t i = 0; i < tile->n; i += 64) {
			uint64_t near = near_enough(d + i, tile->n - i < 64 ? tile->n - i : 64, bound);

			for (; near; near &= near - 1)
				bit_set(s->near, row_at(tile, i + (uint32_t)__builtin_ctzll(near)));
		}
	}
}

struct meta_call {
	struct search *s;
	uint64_t first;
};

static void take_meta(void *arg, uint64_t n, uint32_t place, const struct row *r, const char *name)
{
	struct meta_call *call = arg;
	struct search *s = call->s;
	uint32_t i = (uint32_t)(n - call->first);

	(void)place;
	(void)name;
	s->keys[i] = r ? row_entry(r) : 0;
	s->sums[i] = r ? r->data_sum : 0;
	/* Whose metadata are damaged nobody could be told the id of. */
	if (s->keys[i] && s->keys[i] != s->q->without)
		return;
	bit_clear(s->chosen, i);
	bit_clear(s->near, i);
}

/* Offers the near rows of a tile to the queries' selections. */
static void push_near(struct search *s, const struct tile *tile, uint64_t first, uint32_t group,
		      uint32_t queries)
{
	enum vs_metric metric = s->info.schema.metric;
	float radius = search_radius(s);

	for (uint32_t q = 0; q < queries; q++) {
		const float *d = s->distances + (size_t)q * tile->n;

		for (uint32_t i = 0; i < tile->n; i += 64) {
			uint64_t near = near_enough(d + i, tile->n - i < 64 ? tile->n - i : 64,
						    search_bound_now(s, group + q));

			for (; near; near &= near - 1) {
				uint32_t at = i + (uint32_t)__builtin_ctzll(near), row = row_at(tile, at);
				float shown = search_shown(metric, d[at]);

				if (bit_is_set(s->near, row) && shown <= radius)
					topk_push(&s->tops[group + q], shown, (uint32_t)first + row,
						  s->keys[row]);
			}
		}
	}
}

/* ------------------------------------------------------------------ comparing */

struct look {
	struct search *s;
	const struct snapshot_run *run;
	struct tile *tile;
	uint32_t group, queries;
};

static void measure(struct search *s, const struct tile *tile, uint32_t group, uint32_t queries)
{
	const struct vs_schema *schema = &s->info.schema;

	distance_batch(s->distances, schema->dtype, schema->metric, s->queries + group * s->query_bytes,
		       queries, tile->vectors, s->info.row_bytes, tile->n, schema->dim);
}

/* Within a guard: measures the tile's rows, which are gathered first if they are few. */
static void measure_mapped(void *arg)
{
	struct look *look = arg;
	struct search *s = look->s;
	size_t bytes = s->info.row_bytes;

	for (uint32_t i = 0; look->tile->picks && i < look->tile->n; i++)
		memcpy(s->rows + i * bytes, look->run->vectors + look->tile->picks[i] * bytes, bytes);
	measure(s, look->tile, look->group, look->queries);
}

/* Within a guard: rows that are not what was written are to be read by themselves. */
static void verify_mapped(void *arg)
{
	struct look *look = arg;
	struct search *s = look->s;
	uint32_t n = look->run->count;
	size_t bytes = s->info.row_bytes;

	for (uint32_t i = bit_next(s->near, 0, n); i < n; i = bit_next(s->near, i + 1, n)) {
		s->stats->rows_verified++;
		if (sum_data(look->run->vectors + i * bytes, bytes) == s->sums[i])
			continue;
		bit_set(s->moved, i);
		bit_clear(s->near, i);
	}
}

static bool guarded(struct look *look, void (*fn)(void *arg))
{
	return io_guard(look->run->vectors, look->run->count * look->s->info.row_bytes, fn, look);
}

/* The rows of a block that are in the file: all between the first and the last of them, or, if there are few,
 * only these. n is 0 if there are none. */
static struct tile tile_of(struct search *s, const struct snapshot_run *run)
{
	uint32_t from = run->count, end = 0, n = 0;

	for (uint32_t i = bit_next(s->chosen, 0, run->count); i < run->count;
	     i = bit_next(s->chosen, i + 1, run->count)) {
		if (bit_is_set(s->moved, i))
			continue;
		from = from < i ? from : i;
		end = i + 1;
		s->picks[n++] = i;
	}
	if (n * SPARSE < end - (n ? from : end))
		return (struct tile){.vectors = s->rows, .n = n, .picks = s->picks};
	return (struct tile){.vectors = n ? run->vectors + from * s->info.row_bytes : NULL,
			     .n = n ? end - from : 0,
			     .from = from};
}

/* Verifies the near rows of a tile and offers them; those that were before are not looked at again. */
static int take_near(struct look *look, bool is_first)
{
	struct search *s = look->s;
	const struct snapshot_run *run = look->run;
	struct meta_call call = {s, run->first};
	int rc;

	memset(s->near, 0, bit_words(run->count) * sizeof *s->near);
	find_near(s, look->tile, look->group, look->queries, is_first);
	for (size_t i = 0; i < bit_words(run->count); i++) {
		s->near[i] &= s->chosen[i] & ~s->moved[i] & (is_first ? UINT64_MAX : ~s->taken[i]);
		s->taken[i] = s->near[i];
	}
	if (bit_next(s->near, 0, run->count) == run->count)
		return 0;
	rc = snapshot_rows(s->m, run->first, run->count, s->near, take_meta, &call);
	if (!rc && !guarded(look, verify_mapped)) {
		memcpy(s->moved, s->chosen, bit_words(run->count) * sizeof *s->moved);
		return 0;
	}
	if (!rc)
		push_near(s, look->tile, run->first, look->group, look->queries);
	return rc;
}

static bool has_all(const struct search *s, uint32_t group, uint32_t queries)
{
	for (uint32_t q = 0; q < queries; q++)
		if (s->tops[group + q].count < s->q->k)
			return false;
	return true;
}

/* Once; or where a query has no k hits yet, with what is nearest, and then with what may still be near. */
static int compare_mapped(struct search *s, const struct snapshot_run *run, uint32_t group, uint32_t queries)
{
	struct tile tile = tile_of(s, run);
	struct look look = {s, run, &tile, group, queries};
	bool is_once = has_all(s, group, queries);
	int rc;

	if (!tile.n)
		return 0;
	if (!guarded(&look, measure_mapped)) {
		memcpy(s->moved, s->chosen, bit_words(run->count) * sizeof *s->moved);
		return 0;
	}
	rc = snapshot_mark_moved(s->m, run, s->moved);
	if (!rc)
		rc = take_near(&look, true);
	if (!rc && !is_once)
		rc = take_near(&look, false);
	return rc;
}

/* Reads a row by itself; if it is damaged it is not one of the chosen any more. */
static int read_row(struct search *s, const struct snapshot_run *run, uint32_t i, struct tile *tile)
{
	int rc = snapshot_vector(s->m, run->first + i, s->rows + tile->n * s->info.row_bytes);

	s->stats->rows_verified++;
	if (!rc)
		s->picks[tile->n++] = i;
	if (rc != -EBADMSG) /* an answer without a row that cannot be read just now would be wrong */
		return rc;
	s->stats->rows_damaged++;
	bit_clear(s->chosen, i);
	return 0;
}

/* Reads the chosen rows that have moved, each by itself; of a borrowed snapshot all of them at once. */
static int read_moved(struct search *s, const struct snapshot_run *run, struct tile *tile)
{
	int rc = 0;

	if (s->gathered) {
		tile->n = s->gathered;
		return 0;
	}
	for (uint32_t i = bit_next(s->moved, 0, run->count); i < run->count && !rc;
	     i = bit_next(s->moved, i + 1, run->count)) {
		if (!bit_is_set(s->chosen, i))
			continue;
		if (snapshot_lender(s->m))
			s->picks[tile->n++] = i;
		else
			rc = read_row(s, run, i, tile);
	}
	if (rc || !tile->n || !snapshot_lender(s->m))
		return rc;
	rc = borrowed_vectors(s->m, run->first, s->picks, tile->n, s->rows);
	s->gathered = rc ? 0 : tile->n;
	return rc;
}

static int compare_moved(struct search *s, const struct snapshot_run *run, uint32_t group, uint32_t queries)
{
	struct tile tile = {.vectors = s->rows, .picks = s->picks};
	struct meta_call call = {s, run->first};
	int rc = read_moved(s, run, &tile);

	if (rc || !tile.n)
		return rc;
	measure(s, &tile, group, queries);
	memset(s->near, 0, bit_words(run->count) * sizeof *s->near);
	find_near(s, &tile, group, queries, false);
	if (snapshot_lender(s->m))
		s->stats->rows_verified += bit_count(s->near, run->count);
	rc = snapshot_rows(s->m, run->first, run->count, s->near, take_meta, &call);
	if (!rc)
		push_near(s, &tile, run->first, group, queries);
	return rc;
}

int search_compare(struct search *s, const struct snapshot_run *run, uint32_t group, uint32_t queries)
{
	size_t mask_bytes = bit_words(run->count) * sizeof *s->moved;
	int rc = 0;

	memset(s->near, 0, mask_bytes);
	memset(s->moved, run->vectors ? 0 : 0xff, mask_bytes);
	if (run->vectors)
		rc = snapshot_mark_moved(s->m, run, s->moved);
	if (!rc && run->vectors)
		rc = compare_mapped(s, run, group, queries);
	if (!rc)
		rc = compare_moved(s, run, group, queries);
	return rc;
}
