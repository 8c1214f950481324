/* SPDX-License-Identifier: Apache-2.0 */
#include "store/search/search.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/convert.h"
#include "quant/distance.h"
#include "quant/topk.h"

/*
 * Rows are compared in blocks that stay in the cache, each with all queries, GROUP of them at a time. Of each
 * query's distances those that may be among its k nearest are looked at: their rows' entry numbers are asked
 * for, which decide among equals, and they are offered to the query's selection.
 *
 * A selection holds distances as users see them (negated for ip, so that smaller is nearer); the kernels give
 * squares for l2. Squares that differ may have the same root, so a bound is squared with some slack, and
 * roots decide.
 */
#define BLOCK_BYTES (256u << 10)
#define BLOCK_ROWS_MAX 2048u
#define GROUP 64u
#define SQUARE_SLACK (1 + 1e-6f)

struct search {
	struct vs_snapshot *m;
	struct vs_snapshot_info info;
	const struct vs_query *q;
	const char *queries; /* as quant/distance.h wants them */
	size_t query_bytes;
	char *converted; /* queries, if they are not the caller's */
	struct topk *tops;
	struct topk_item *items;
	uint32_t block_rows;
	char *rows;
	float *distances; /* GROUP * block_rows */
	uint64_t *masks;  /* of the rows that are looked at, a bit each */
	uint64_t *wanted; /* of those among them whose entry is to be asked for */
	uint64_t *keys;
	struct vs_search_stats *stats;
};

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

/* ------------------------------------------------------------------ rows */

struct filter_call {
	struct search *s;
	uint64_t first;
};

static void filter_row(void *arg, uint64_t row, uint64_t entry, const char *name, size_t len)
{
	struct filter_call *call = arg;
	const struct vs_query *q = call->s->q;
	uint64_t i = row - call->first;

	if (entry && entry != q->without && (!q->filter || vs_filter_passes(q->filter, name, len)))
		call->s->masks[i / 64] |= UINT64_C(1) << i % 64;
}

/* Sets the masks of a block of n rows. */
static int choose_rows(struct search *s, uint64_t first, uint32_t n)
{
	struct filter_call call = {s, first};

	memset(s->masks, 0, (n + 63) / 64 * sizeof *s->masks);
	if (s->q->filter || s->q->without)
		return vs_snapshot_rows(s->m, first, n, NULL, filter_row, &call);
	for (uint32_t i = 0; i < n; i++)
		s->masks[i / 64] |= UINT64_C(1) << i % 64;
	return 0;
}

/* Reads the rows one by one, since one among them is damaged: those that are leave the mask. */
static int read_singly(struct search *s, uint64_t first, uint32_t n)
{
	size_t bytes = s->info.row_bytes;

	for (uint32_t i = 0; i < n; i++) {
		ssize_t got;

		if (!(s->masks[i / 64] >> i % 64 & 1))
			continue;
		got = vs_snapshot_vectors(s->m, s->rows + i * bytes, bytes, (first + i) * bytes);
		if (got == (ssize_t)bytes)
			continue;
		if (got != -EIO)
			return got < 0 ? (int)got : -EIO;
		s->masks[i / 64] &= ~(UINT64_C(1) << i % 64);
		memset(s->rows + i * bytes, 0, bytes);
		s->stats->rows_damaged++;
	}
	return 0;
}

static int read_block(struct search *s, uint64_t first, uint32_t n)
{
	size_t bytes = s->info.row_bytes;
	ssize_t got = vs_snapshot_vectors(s->m, s->rows, n * bytes, first * bytes);

	if (got == -EIO)
		return read_singly(s, first, n);
	if (got >= 0 && (size_t)got != n * bytes)
		return -EIO;
	return got < 0 ? (int)got : 0;
}

/* ------------------------------------------------------------------ selecting */

/* The rows of 64 that are in mask and not farther than the bound. */
static uint64_t near_enough(const float *distances, uint64_t mask, uint32_t n, float bound)
{
	uint64_t near = 0;

	for (uint32_t i = 0; i < n; i++)
		near |= (uint64_t)(distances[i] <= bound) << i;
	return near & mask;
}

static void take_key(void *arg, uint64_t row, uint64_t entry, const char *name, size_t len)
{
	struct filter_call *call = arg;
	uint64_t i = row - call->first;

	(void)name;
	(void)len;
	call->s->keys[i] = entry;
	if (!entry) /* its metadata are damaged: nobody could be told its id */
		call->s->masks[i / 64] &= ~(UINT64_C(1) << i % 64);
}

static float radius_of(const struct search *s)
{
	enum vs_metric metric = s->info.schema.metric;

	return !s->q->radius ? INFINITY : metric == VS_IP ? -*s->q->radius : *s->q->radius;
}

/* Offers the rows of one block that may be among the nearest of a group of queries. */
static int select_rows(struct search *s, uint32_t group, uint32_t queries, uint64_t first, uint32_t n)
{
	enum vs_metric metric = s->info.schema.metric;
	float radius = radius_of(s);
	struct filter_call call = {s, first};
	uint64_t any = 0;
	int rc = 0;

	memset(s->wanted, 0, (n + 63) / 64 * sizeof *s->wanted);
	for (uint32_t q = 0; q < queries; q++) {
		float limit = fminf(s->tops[group + q].bound, radius), bound = bound_of(metric, limit);

		for (uint32_t i = 0; i < n; i += 64) {
			uint32_t m = n - i < 64 ? n - i : 64;
			uint64_t near =
				near_enough(s->distances + (size_t)q * n + i, s->masks[i / 64], m, bound);

			s->wanted[i / 64] |= near;
			any |= near;
		}
	}
	if (any)
		rc = vs_snapshot_rows(s->m, first, n, s->wanted, take_key, &call);
	for (uint32_t q = 0; q < queries && any && !rc; q++) {
		struct topk *top = &s->tops[group + q];

		for (uint32_t i = 0; i < n; i += 64) {
			uint64_t mask = s->wanted[i / 64] & s->masks[i / 64];
			float *d = s->distances + (size_t)q * n + i;

			for (uint64_t rest = mask; rest; rest &= rest - 1) {
				int bit = __builtin_ctzll(rest);

				d[bit] = shown_of(metric, d[bit]);
				if (!(d[bit] <= radius))
					mask &= ~(UINT64_C(1) << bit);
			}
			topk_push_block(top, d, mask, (uint32_t)first + i, s->keys + i);
		}
	}
	return rc;
}

static int search_block(struct search *s, uint64_t first, uint32_t n)
{
	const struct vs_schema *schema = &s->info.schema;
	uint64_t any = 0;
	int rc = choose_rows(s, first, n);

	for (uint32_t i = 0; i < (n + 63) / 64; i++)
		any |= s->masks[i];
	if (rc || !any)
		return rc;
	rc = read_block(s, first, n);
	for (uint32_t group = 0; group < s->q->count && !rc; group += GROUP) {
		uint32_t queries = s->q->count - group < GROUP ? s->q->count - group : GROUP;

		distance_batch(s->distances, schema->dtype, schema->metric,
			       s->queries + group * s->query_bytes, queries, s->rows, s->info.row_bytes, n,
			       schema->dim);
		rc = select_rows(s, group, queries, first, n);
	}
	s->stats->rows_scanned += n;
	return rc;
}

/* ------------------------------------------------------------------ the whole */

static void search_free(struct search *s)
{
	free(s->converted);
	free(s->tops);
	free(s->items);
	free(s->rows);
	free(s->distances);
	free(s->masks);
	free(s->keys);
}

static int search_begin(struct search *s)
{
	size_t count = s->q->count, words;

	s->block_rows = (uint32_t)(BLOCK_BYTES / s->info.row_bytes) / 64 * 64;
	if (s->block_rows < 64)
		s->block_rows = 64;
	if (s->block_rows > BLOCK_ROWS_MAX)
		s->block_rows = BLOCK_ROWS_MAX;
	words = s->block_rows / 64;
	s->tops = calloc(count, sizeof *s->tops);
	s->items = calloc(count * s->q->k + 1, sizeof *s->items);
	s->rows = malloc(s->block_rows * s->info.row_bytes);
	s->distances = malloc((size_t)(count < GROUP ? count : GROUP) * s->block_rows * sizeof *s->distances);
	s->masks = calloc(2 * words, sizeof *s->masks);
	s->keys = calloc(s->block_rows, sizeof *s->keys);
	if (!s->tops || !s->items || !s->rows || !s->distances || !s->masks || !s->keys)
		return -ENOMEM;
	s->wanted = s->masks + words;
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

int vs_search(struct vs_snapshot *m, const struct vs_query *q, uint64_t first, uint64_t rows,
	      struct vs_hit *hits, uint32_t *found, struct vs_search_stats *stats)
{
	struct search s = {.m = m, .q = q, .stats = stats};
	uint64_t end = first + rows;
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
	while (!rc && first < end) {
		uint32_t n = end - first < s.block_rows ? (uint32_t)(end - first) : s.block_rows;

		rc = q->is_cancelled && q->is_cancelled(q->arg) ? -EINTR : search_block(&s, first, n);
		first += n;
	}
	if (!rc)
		tell(&s, hits, found);
	search_free(&s);
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
