/* SPDX-License-Identifier: Apache-2.0 */
#include "store/search/search.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/convert.h"
#include "quant/distance.h"
#include "quant/topk.h"
#include "store/base/checksum.h"
#include "store/base/clock.h"
#include "store/engine.h"
#include "store/io/guard.h"
#include "store/snapshot/snapshot.h"

/*
 * Rows are compared in blocks, as they lie in a mapping of their segment's file, each block with all queries,
 * GROUP of them at a time. Blocks for many queries stay in the cache. Rows whose vectors are not in the file,
 * or are not any more when they have been compared (snapshot.h), and those whose checksum does not fit, are
 * "moved": they are read one by one, verified, and compared again.
 *
 * Of each query's distances those that may be among its k nearest are looked at: the rows' metadata are asked
 * for, which tell the checksum and, by the entry number, which of equals is first. A row that is what was
 * written is offered to the query's selection.
 *
 * A selection holds distances as users see them (negated for ip, so that smaller is nearer); the kernels give
 * squares for l2. Squares that differ may have the same root, so a bound is squared with some slack, and
 * roots decide.
 */
#define BLOCK_BYTES (256u << 10)
#define BLOCK_BYTES_FEW (4u << 20) /* for so few queries that a row is not read again: */
#define FEW_QUERIES 4u
#define BLOCK_ROWS_MAX 2048u
#define GROUP 64u
#define SQUARE_SLACK (1 + 1e-6f)
#define SPARSE 4u        /* if not one row in so many is wanted, these are gathered */
#define LOOK_UP_SHARE 4u /* a list of ids is looked up if it is shorter than such a share of the rows */

struct search {
	struct vs_snapshot *m;
	struct vs_snapshot_info info;
	const struct vs_query *q;
	const char *queries; /* as quant/distance.h wants them */
	size_t query_bytes;
	char *converted; /* queries, if they are not the caller's */
	struct topk *tops;
	struct topk_item *items;
	uint64_t *listed; /* the rows whose ids were looked up, a bit each, from listed_first on; or NULL */
	uint64_t listed_first;
	uint32_t block_rows;
	float *distances; /* GROUP * block_rows */
	/* A bit for each row of the block: */
	uint64_t *chosen; /* to be compared */
	uint64_t *moved;  /* not as it was compared in the file */
	uint64_t *near;   /* to be offered to a selection */
	uint64_t *keys;   /* of the near ones: entry numbers, */
	uint32_t *sums;   /* and checksums */
	char *rows;       /* gathered vectors, */
	uint32_t *picks;  /* and which rows of the block they are */
	struct vs_search_stats *stats;
};

/* Vectors that are compared with one call. */
struct tile {
	const char *vectors;
	uint32_t n;
	uint32_t from;         /* the first one's row of the block, */
	const uint32_t *picks; /* or which rows they are */
};

static bool is_set(const uint64_t *mask, uint32_t i)
{
	return mask[i / 64] >> i % 64 & 1;
}

static void set(uint64_t *mask, uint32_t i)
{
	mask[i / 64] |= UINT64_C(1) << i % 64;
}

static void clear(uint64_t *mask, uint32_t i)
{
	mask[i / 64] &= ~(UINT64_C(1) << i % 64);
}

static size_t words(uint32_t n)
{
	return (n + 63) / 64;
}

static uint32_t count_bits(const uint64_t *mask, uint32_t n)
{
	uint32_t count = 0;

	for (size_t i = 0; i < words(n); i++)
		count += (uint32_t)__builtin_popcountll(mask[i]);
	return count;
}

/* The lowest set bit from i on, or n. */
static uint32_t next_bit(const uint64_t *mask, uint32_t i, uint32_t n)
{
	while (i < n) {
		uint64_t rest = mask[i / 64] >> i % 64;

		if (rest) {
			i += (uint32_t)__builtin_ctzll(rest);
			return i < n ? i : n;
		}
		i = (i / 64 + 1) * 64;
	}
	return n;
}

/* ------------------------------------------------------------------ queries */

static bool takes_f32(enum vs_dtype dtype)
{
	return dtype == VS_F32 || dtype == VS_F16 || dtype == VS_BF16;
}

/* Vectors of halves as f32. */
static void widen(float *out, const struct vs_schema *schema, const void *vectors, size_t n)
{
	if (schema->dtype == VS_F16)
		convert_f16_to_f32(out, vectors, n);
	else
		convert_bf16_to_f32(out, vectors, n);
}

static bool is_direction(const struct vs_schema *schema, const unsigned char *vector)
{
	size_t bytes = vs_row_bytes(schema);

	for (size_t i = 0; i < bytes; i++)
		if (vector[i])
			return true;
	return false;
}

static int check_floats(const struct vs_schema *schema, const float *x)
{
	double norm2 = distance_norm2(x, schema->dim);

	if (!isfinite(norm2) || !isfinite((float)sqrt(norm2)))
		return -EINVAL;
	return schema->metric == VS_COSINE && !(norm2 > 0) ? -EINVAL : 0;
}

int vs_query_check(const struct vs_schema *schema, const void *vectors, uint32_t count)
{
	size_t bytes = vs_row_bytes(schema);
	float *wide = NULL;
	int rc = 0;

	if (!schema->dim || schema->dim > DISTANCE_DIM_MAX)
		return -EINVAL;
	if (schema->dtype == VS_F16 || schema->dtype == VS_BF16)
		wide = malloc(schema->dim * sizeof *wide);
	if (!wide && schema->dtype != VS_F32 && takes_f32(schema->dtype))
		return -ENOMEM;
	for (uint32_t i = 0; i < count && !rc; i++) {
		const char *vector = (const char *)vectors + i * bytes;

		if (wide)
			widen(wide, schema, vector, schema->dim);
		if (takes_f32(schema->dtype))
			rc = check_floats(schema, wide ? wide : (const float *)(const void *)vector);
		else if (schema->metric == VS_COSINE && !is_direction(schema, (const unsigned char *)vector))
			rc = -EINVAL;
	}
	free(wide);
	return rc;
}

static int take_queries(struct search *s)
{
	const struct vs_schema *schema = &s->info.schema;
	size_t n = (size_t)s->q->count * schema->dim;

	s->queries = s->q->vectors;
	s->query_bytes = s->info.row_bytes;
	if (schema->dtype != VS_F16 && schema->dtype != VS_BF16)
		return 0;
	s->converted = malloc(n * sizeof(float));
	if (!s->converted)
		return -ENOMEM;
	widen((float *)(void *)s->converted, schema, s->q->vectors, n);
	s->queries = s->converted;
	s->query_bytes = schema->dim * sizeof(float);
	return 0;
}

/* ------------------------------------------------------------------ what is told of a distance */

/* A kernel's distance as a selection has it, and back as a bound that no nearer row exceeds. */
static float shown_of(enum vs_metric metric, float d)
{
	return metric == VS_L2 ? sqrtf(d) : d;
}

static float bound_of(enum vs_metric metric, float shown)
{
	return metric == VS_L2 ? shown * shown * SQUARE_SLACK : shown;
}

static float told_of(enum vs_metric metric, float shown)
{
	return metric == VS_IP ? -shown : shown;
}

/* ------------------------------------------------------------------ which rows */

static bool passes(void *arg, const char *name, size_t len)
{
	return vs_filter_passes(arg, name, len);
}

/* Looks the ids of a short list up, which takes less than asking each row. */
static int look_up(struct search *s, uint64_t first, uint64_t end)
{
	const struct vs_filter *f = s->q->filter;
	size_t at = 0, len;
	const char *id;

	if (!f || vs_filter_allowed(f) >= (end - first) / LOOK_UP_SHARE)
		return 0;
	s->listed = calloc((end - first) / 64 + 1, sizeof *s->listed);
	if (!s->listed)
		return -ENOMEM;
	s->listed_first = first;
	while ((id = vs_filter_next(f, &at, &len)) != NULL) {
		uint64_t row;
		int rc = vs_filter_passes(f, id, len) ? snapshot_find(s->m, id, len, &row) : -ENOENT;

		if (!rc && row >= first && row < end)
			s->listed[(row - first) / 64] |= UINT64_C(1) << (row - first) % 64;
		if (!rc || rc == -ENOENT)
			continue;
		free(s->listed); /* each row is asked, then */
		s->listed = NULL;
		return 0;
	}
	return 0;
}

/* Sets the bits of the rows of a block that are to be compared. Blocks begin at a multiple of 64 from the
 * first, or with a segment. */
static int choose_rows(struct search *s, const struct snapshot_run *run)
{
	uint64_t off = run->first - s->listed_first;
	void *filter = (void *)(uintptr_t)s->q->filter;

	memset(s->chosen, 0, words(run->count) * sizeof *s->chosen);
	for (uint32_t i = 0; i < run->count && (!filter || s->listed); i++)
		if (!filter || s->listed[(off + i) / 64] >> (off + i) % 64 & 1)
			set(s->chosen, i);
	return filter ? snapshot_select(s->m, run, s->listed != NULL, passes, filter, s->chosen) : 0;
}

/* ------------------------------------------------------------------ selecting */

static uint32_t row_at(const struct tile *tile, uint32_t i)
{
	return tile->picks ? tile->picks[i] : tile->from + i;
}

static float radius_of(const struct search *s)
{
	enum vs_metric metric = s->info.schema.metric;

	return !s->q->radius ? INFINITY : metric == VS_IP ? -*s->q->radius : *s->q->radius;
}

/* Of 64 distances, or n, those that are not above the bound. */
static uint64_t near_enough(const float *distances, uint32_t n, float bound)
{
	uint64_t near = 0;

	for (uint32_t i = 0; i < n; i++)
		near |= (uint64_t)(distances[i] <= bound) << i;
	return near;
}

static float bound_now(const struct search *s, uint32_t query)
{
	return bound_of(s->info.schema.metric, fminf(s->tops[query].bound, radius_of(s)));
}

/* Marks the rows of a tile that may be among the nearest of one of the queries. */
static void find_near(struct search *s, const struct tile *tile, uint32_t group, uint32_t queries)
{
	for (uint32_t q = 0; q < queries; q++) {
		const float *d = s->distances + (size_t)q * tile->n;
		float bound = bound_now(s, group + q);

		for (uint32_t i = 0; i < tile->n; i += 64) {
			uint64_t near = near_enough(d + i, tile->n - i < 64 ? tile->n - i : 64, bound);

			for (; near; near &= near - 1)
				set(s->near, row_at(tile, i + (uint32_t)__builtin_ctzll(near)));
		}
	}
}

struct meta_call {
	struct search *s;
	uint64_t first;
};

static void take_meta(void *arg, uint64_t n, const struct row *r, const char *name)
{
	struct meta_call *call = arg;
	struct search *s = call->s;
	uint32_t i = (uint32_t)(n - call->first);

	(void)name;
	s->keys[i] = r ? row_entry(r) : 0;
	s->sums[i] = r ? r->data_sum : 0;
	/* Whose metadata are damaged nobody could be told the id of. */
	if (s->keys[i] && s->keys[i] != s->q->without)
		return;
	clear(s->chosen, i);
	clear(s->near, i);
}

/* Offers the near rows of a tile to the queries' selections. */
static void push_near(struct search *s, const struct tile *tile, uint64_t first, uint32_t group,
		      uint32_t queries)
{
	enum vs_metric metric = s->info.schema.metric;
	float radius = radius_of(s);

	for (uint32_t q = 0; q < queries; q++) {
		const float *d = s->distances + (size_t)q * tile->n;

		for (uint32_t i = 0; i < tile->n; i += 64) {
			uint64_t near = near_enough(d + i, tile->n - i < 64 ? tile->n - i : 64,
						    bound_now(s, group + q));

			for (; near; near &= near - 1) {
				uint32_t at = i + (uint32_t)__builtin_ctzll(near), row = row_at(tile, at);
				float shown = shown_of(metric, d[at]);

				if (is_set(s->near, row) && shown <= radius)
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

	for (uint32_t i = next_bit(s->near, 0, n); i < n; i = next_bit(s->near, i + 1, n)) {
		s->stats->rows_verified++;
		if (sum_data(look->run->vectors + i * bytes, bytes) == s->sums[i])
			continue;
		set(s->moved, i);
		clear(s->near, i);
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

	for (uint32_t i = next_bit(s->chosen, 0, run->count); i < run->count;
	     i = next_bit(s->chosen, i + 1, run->count)) {
		if (is_set(s->moved, i))
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

static int compare_mapped(struct search *s, const struct snapshot_run *run, uint32_t group, uint32_t queries)
{
	struct tile tile = tile_of(s, run);
	struct look look = {s, run, &tile, group, queries};
	struct meta_call call = {s, run->first};
	int rc;

	if (!tile.n)
		return 0;
	if (!guarded(&look, measure_mapped)) {
		memcpy(s->moved, s->chosen, words(run->count) * sizeof *s->moved);
		return 0;
	}
	rc = snapshot_mark_moved(s->m, run, s->moved);
	if (rc)
		return rc;
	find_near(s, &tile, group, queries);
	for (size_t i = 0; i < words(run->count); i++)
		s->near[i] &= s->chosen[i] & ~s->moved[i];
	if (next_bit(s->near, 0, run->count) == run->count)
		return 0;
	rc = snapshot_rows(s->m, run->first, run->count, s->near, take_meta, &call);
	if (!rc && !guarded(&look, verify_mapped)) {
		memcpy(s->moved, s->chosen, words(run->count) * sizeof *s->moved);
		return 0;
	}
	if (!rc)
		push_near(s, &tile, run->first, group, queries);
	return rc;
}

/* Reads a row by itself; if it is damaged it is not one of the chosen any more. */
static int read_row(struct search *s, const struct snapshot_run *run, uint32_t i, struct tile *tile)
{
	size_t bytes = s->info.row_bytes;
	ssize_t got = vs_snapshot_vectors(s->m, s->rows + tile->n * bytes, bytes, (run->first + i) * bytes);

	s->stats->rows_verified++;
	if (got == (ssize_t)bytes) {
		s->picks[tile->n++] = i;
		return 0;
	}
	if (got != -EIO)
		return got < 0 ? (int)got : -EIO;
	s->stats->rows_damaged++;
	clear(s->chosen, i);
	return 0;
}

static int compare_moved(struct search *s, const struct snapshot_run *run, uint32_t group, uint32_t queries)
{
	struct tile tile = {.vectors = s->rows, .picks = s->picks};
	struct meta_call call = {s, run->first};
	int rc = 0;

	for (uint32_t i = next_bit(s->moved, 0, run->count); i < run->count && !rc;
	     i = next_bit(s->moved, i + 1, run->count))
		if (is_set(s->chosen, i))
			rc = read_row(s, run, i, &tile);
	if (rc || !tile.n)
		return rc;
	measure(s, &tile, group, queries);
	memset(s->near, 0, words(run->count) * sizeof *s->near);
	find_near(s, &tile, group, queries);
	rc = snapshot_rows(s->m, run->first, run->count, s->near, take_meta, &call);
	if (!rc)
		push_near(s, &tile, run->first, group, queries);
	return rc;
}

static int search_block(struct search *s, const struct snapshot_run *run)
{
	size_t mask_bytes = words(run->count) * sizeof *s->moved;
	int rc = choose_rows(s, run);

	s->stats->rows_scanned += rc ? 0 : count_bits(s->chosen, run->count);
	for (uint32_t group = 0; group < s->q->count && !rc; group += GROUP) {
		uint32_t queries = s->q->count - group < GROUP ? s->q->count - group : GROUP;

		memset(s->near, 0, mask_bytes);
		memset(s->moved, run->vectors ? 0 : 0xff, mask_bytes);
		if (run->vectors)
			rc = snapshot_mark_moved(s->m, run, s->moved);
		if (!rc && run->vectors)
			rc = compare_mapped(s, run, group, queries);
		if (!rc)
			rc = compare_moved(s, run, group, queries);
	}
	return rc;
}

/* ------------------------------------------------------------------ the whole */

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
	n = words(s->block_rows);
	s->tops = calloc(count, sizeof *s->tops);
	s->items = calloc(count * s->q->k + 1, sizeof *s->items);
	s->rows = malloc(s->block_rows * s->info.row_bytes);
	s->picks = calloc(s->block_rows, sizeof *s->picks);
	s->distances = malloc((size_t)(count < GROUP ? count : GROUP) * s->block_rows * sizeof *s->distances);
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
	return take_queries(s);
}

static void tell(struct search *s, struct vs_hit *hits, uint32_t *found)
{
	enum vs_metric metric = s->info.schema.metric;

	for (uint32_t i = 0; i < s->q->count; i++) {
		found[i] = (uint32_t)topk_finish(&s->tops[i]);
		for (uint32_t j = 0; j < found[i]; j++) {
			const struct topk_item *item = &s->tops[i].items[j];

			hits[(size_t)i * s->q->k + j] =
				(struct vs_hit){item->row, item->key, told_of(metric, item->distance)};
		}
	}
}

static int search_rows(struct search *s, uint64_t first, uint64_t end)
{
	const struct vs_query *q = s->q;
	uint32_t done = 0;
	int rc = look_up(s, first, end);

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
