/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quantlib - quant/ as a shared library for scripts that measure it: threads for the functions that want some
 * lent, and entry points that take care of the scratch.
 */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "quant/codec.h"
#include "quant/distance.h"
#include "quant/gemm.h"
#include "quant/level.h"
#include "quant/scratch.h"

#define WORKERS_MAX 64

/* ------------------------------------------------------------------ threads */

struct job {
	parallel_fn *fn;
	void *arg;
	size_t parts;
	atomic_size_t next;
};

struct seat {
	struct job *job;
	unsigned worker;
	pthread_t thread;
};

static void *work(void *arg)
{
	struct seat *seat = arg;
	size_t part;

	while ((part = atomic_fetch_add(&seat->job->next, 1)) < seat->job->parts)
		seat->job->fn(seat->job->arg, part, seat->worker);
	return NULL;
}

static void run(void *pool, size_t parts, parallel_fn *fn, void *arg)
{
	unsigned workers = *(unsigned *)pool;
	struct job job = {.fn = fn, .arg = arg, .parts = parts};
	struct seat seats[WORKERS_MAX];

	for (unsigned w = 0; w < workers; w++) {
		seats[w] = (struct seat){.job = &job, .worker = w};
		if (w && pthread_create(&seats[w].thread, NULL, work, &seats[w]) != 0)
			abort();
	}
	work(&seats[0]);
	for (unsigned w = 1; w < workers; w++)
		pthread_join(seats[w].thread, NULL);
}

static unsigned workers = 1;
static struct parallel pool = {.workers = 1, .run = run, .pool = &workers};

void ql_threads(unsigned n)
{
	assert(n >= 1 && n <= WORKERS_MAX);
	workers = pool.workers = n;
}

static void *lend(size_t bytes)
{
	void *memory = aligned_alloc(SCRATCH_ALIGN, (bytes + SCRATCH_ALIGN) / SCRATCH_ALIGN * SCRATCH_ALIGN);

	if (!memory)
		abort();
	return memory;
}

/* ------------------------------------------------------------------ levels */

int ql_level(const char *name)
{
	return level_choose(name);
}

const char *ql_level_name(void)
{
	return level_name(level_get());
}

/* ------------------------------------------------------------------ products */

void ql_gemm(size_t m, size_t n, size_t k, const float *a, const float *b, float *c)
{
	void *scratch = lend(GEMM_SCRATCH_BYTES);

	gemm_nt(m, n, k, a, k, b, k, c, n, scratch);
	free(scratch);
}

/* ------------------------------------------------------------------ codecs */

#define PART_ROWS 1024
#define SEED 1

struct quantlib {
	struct codec_plan plan;
	struct codec codec;
	struct codec_columns columns;
	float *model;
	void *bound;
	size_t rows;
};

/* NULL: no such codec for these vectors. */
struct quantlib *ql_new(const char *word, uint32_t dim, int metric)
{
	struct quantlib *q = lend(sizeof *q);
	struct codec_name name;
	char why[200];

	*q = (struct quantlib){0};
	if (codec_parse(word, &name) == 0 &&
	    codec_plan(&name, dim, (enum vs_metric)metric, &q->plan, why, sizeof why) == 0)
		return q;
	free(q);
	return NULL;
}

static void drop_columns(struct quantlib *q)
{
	free(q->columns.blocks);
	free(q->columns.rows);
	free(q->columns.factors);
	free(q->columns.valid);
}

void ql_free(struct quantlib *q)
{
	drop_columns(q);
	free(q->model);
	free(q->bound);
	free(q);
}

/* What a row takes, without the bit of valid. */
size_t ql_row_bytes(const struct quantlib *q)
{
	return q->plan.block_bytes + q->plan.row_bytes + q->plan.factors * sizeof(float);
}

/* x is used up. */
int ql_train(struct quantlib *q, size_t rows, float *x)
{
	void *scratch = lend(codec_train_scratch_bytes(&q->plan, rows, workers));
	size_t used;
	int rc;

	free(q->model);
	free(q->bound);
	q->model = lend(q->plan.model_floats * sizeof(float));
	q->bound = lend(codec_bound_bytes(&q->plan));
	rc = codec_train(&q->plan, rows, x, SEED, &pool, q->model, &used, scratch);
	codec_bind(&q->codec, &q->plan, SEED, q->model, q->bound);
	free(scratch);
	return rc;
}

size_t ql_model(const struct quantlib *q, float *out)
{
	if (out)
		memcpy(out, q->model, q->plan.model_floats * sizeof *out);
	return q->plan.model_floats;
}

/* Room for rows: what ql_encode() fills. */
void ql_reserve(struct quantlib *q, size_t rows)
{
	size_t blocks = block_count(rows);

	drop_columns(q);
	q->rows = rows;
	q->columns = (struct codec_columns){
		.blocks = lend(block_bytes(rows, q->plan.block_bytes)),
		.rows = lend(blocks * BLOCK_ROWS * q->plan.row_bytes),
		.factors = lend(block_bytes(rows, q->plan.factors) * sizeof(float)),
		.valid = lend(blocks * sizeof(uint64_t)),
	};
	memset(q->columns.valid, 0, blocks * sizeof(uint64_t));
}

struct task {
	struct quantlib *q;
	const float *x;
	size_t n, k;
	int64_t *ids;
	char *scratch;
};

static void encode_part(void *arg, size_t part, unsigned worker)
{
	const struct task *t = arg;
	size_t first = part * PART_ROWS, n = t->n - first < PART_ROWS ? t->n - first : PART_ROWS;

	codec_encode(&t->q->codec, &t->q->columns, first, n, t->x + first * t->q->plan.dim,
		     t->scratch + worker * codec_scratch_bytes(&t->q->codec));
}

void ql_encode(struct quantlib *q, size_t n, const float *x)
{
	struct task t = {.q = q, .x = x, .n = n, .scratch = lend(workers * codec_scratch_bytes(&q->codec))};

	assert(n <= q->rows);
	parallel_for(&pool, (n + PART_ROWS - 1) / PART_ROWS, encode_part, &t);
	free(t.scratch);
}

/* The first n rows (whole blocks) again and again: as many as are reserved. */
void ql_repeat(struct quantlib *q, size_t n)
{
	size_t blocks = n / BLOCK_ROWS, all = block_count(q->rows);
	size_t bytes = q->plan.block_bytes * BLOCK_ROWS, floats = q->plan.factors * BLOCK_ROWS;

	assert(n % BLOCK_ROWS == 0);
	for (size_t b = blocks; b < all; b++) {
		size_t from = b % blocks;

		memcpy(q->columns.blocks + b * bytes, q->columns.blocks + from * bytes, bytes);
		memcpy(q->columns.factors + b * floats, q->columns.factors + from * floats,
		       floats * sizeof(float));
		memcpy(q->columns.rows + b * BLOCK_ROWS * q->plan.row_bytes,
		       q->columns.rows + from * BLOCK_ROWS * q->plan.row_bytes,
		       BLOCK_ROWS * q->plan.row_bytes);
		q->columns.valid[b] = q->columns.valid[from];
	}
}

static void search_part(void *arg, size_t part, unsigned worker)
{
	const struct task *t = arg;
	void *scratch = t->scratch + worker * codec_scratch_bytes(&t->q->codec);
	void *memory = lend(codec_query_bytes(&t->q->codec));
	struct topk_item *items = lend(t->k * sizeof *items);
	struct codec_query query;
	struct topk top;
	size_t found;

	if (codec_query_init(&query, &t->q->codec, t->x + part * t->q->plan.dim, memory, scratch) != 0)
		abort();
	topk_start(&top, items, t->k);
	codec_scan(&top, &(struct scan_rows){.rows = t->q->rows}, &query, &t->q->columns);
	found = topk_finish(&top);
	for (size_t i = 0; i < t->k; i++)
		t->ids[part * t->k + i] = i < found ? (int64_t)items[i].row : -1;
	free(items);
	free(memory);
}

/* ids[n][k] of n queries, one after the other in each thread. */
void ql_search(struct quantlib *q, size_t n, const float *queries, size_t k, int64_t *ids)
{
	struct task t = {.q = q,
			 .x = queries,
			 .n = n,
			 .k = k,
			 .ids = ids,
			 .scratch = lend(workers * codec_scratch_bytes(&q->codec))};

	parallel_for(&pool, n, search_part, &t);
	free(t.scratch);
}

/* ------------------------------------------------------------------ exact search */

/* Through sq8 codes and the vectors of those rows that these do not exclude; cosine or l2 as the codec is. */
void ql_search_sq8(struct quantlib *q, size_t n, const float *queries, const float *x, size_t k, int64_t *ids)
{
	void *memory = lend(sq8_query_bytes(q->plan.dim));
	struct topk_item *items = lend(k * sizeof *items);

	for (size_t i = 0; i < n; i++) {
		struct scan_rows rows = {.rows = q->rows, .valid = q->columns.valid};
		const float *query = queries + i * q->plan.dim;
		struct sq8_query sq;
		struct topk top;

		if (sq8_query_init(&sq, q->plan.metric, query, q->plan.dim, memory) != 0)
			abort();
		topk_start(&top, items, k);
		sq8_search(&top, &rows, &sq, q->columns.rows, q->columns.factors, query, x,
			   q->plan.dim * sizeof(float), NULL);
		topk_finish(&top);
		for (size_t j = 0; j < k; j++)
			ids[i * k + j] = items[j].row;
	}
	free(items);
	free(memory);
}

void ql_search_exact(size_t rows, uint32_t dim, int metric, const float *x, size_t n, const float *queries,
		     size_t k, int64_t *ids)
{
	struct topk_item *items = lend(k * sizeof *items);

	for (size_t i = 0; i < n; i++) {
		struct topk top;

		topk_start(&top, items, k);
		scan_exact(&top, &(struct scan_rows){.rows = rows}, VS_F32, (enum vs_metric)metric,
			   queries + i * dim, x, dim * sizeof(float), dim);
		topk_finish(&top);
		for (size_t j = 0; j < k; j++)
			ids[i * k + j] = items[j].row;
	}
	free(items);
}

/* distances[n][rows] of n queries at once, each the float that ql_search_exact() finds by. */
void ql_distances(size_t rows, uint32_t dim, int metric, const float *x, size_t n, const float *queries,
		  float *distances)
{
	distance_batch(distances, VS_F32, (enum vs_metric)metric, queries, n, x, dim * sizeof(float), rows,
		       dim);
}

#define BATCH_ROWS 1024

/* What ql_search_exact() finds, for n queries at once. */
void ql_search_batch(size_t rows, uint32_t dim, int metric, const float *x, size_t n, const float *queries,
		     size_t k, int64_t *ids)
{
	float *distances = lend(n * BATCH_ROWS * sizeof *distances);
	struct topk_item *items = lend(n * k * sizeof *items);
	struct topk *tops = lend(n * sizeof *tops);

	for (size_t q = 0; q < n; q++)
		topk_start(&tops[q], items + q * k, k);
	for (size_t first = 0; first < rows; first += BATCH_ROWS) {
		size_t count = rows - first < BATCH_ROWS ? rows - first : BATCH_ROWS;
		const struct scan_rows part = {.rows = count, .first_row = (uint32_t)first};

		ql_distances(count, dim, metric, x + first * dim, n, queries, distances);
		for (size_t q = 0; q < n; q++)
			for (size_t block = 0; block < block_count(count); block++)
				scan_push(&tops[q], &part, block, distances + q * count + block * BLOCK_ROWS,
					  block_mask(NULL, count, block));
	}
	for (size_t q = 0; q < n; q++) {
		topk_finish(&tops[q]);
		for (size_t j = 0; j < k; j++)
			ids[q * k + j] = items[q * k + j].row;
	}
	free(tops);
	free(items);
	free(distances);
}
