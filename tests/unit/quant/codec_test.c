/* SPDX-License-Identifier: Apache-2.0 */
/* All codecs by their one interface. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/codec.h"
#include "quant/level.h"
#include "quant/rng.h"

#define ROWS 300
#define DIM_MAX 70
#define SEED 11

static void *lend(size_t bytes)
{
	char *memory = aligned_alloc(64, (bytes + 64) / 64 * 64);

	memset(memory, 0xa5, bytes);
	return memory;
}

static void test_names(void **state)
{
	static const char *const good[] = {"f16", "bf16", "sq8",     "bit",   "rabitq1", "rabitq8",
					   "pq1", "pq96", "pq192x4", "opq25", "opq50x4"};
	static const char *const bad[] = {"",        "f1",       "f16x",    "f32",  "rabitq",  "rabitq0",
					  "rabitq9", "rabitq10", "pq",      "pq0",  "pq096",   "pqx4",
					  "pq8x",    "pq8x8",    "pq8x44",  "pq-1", "pq99999", "opq",
					  "opq8 ",   "OPQ8",     "pq8x4x4", "sq4",  "bit1"};
	char buf[CODEC_NAME_BYTES];
	struct codec_name name;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_int_equal(codec_parse(good[i], &name), 0);
		codec_format(&name, buf);
		assert_string_equal(buf, good[i]);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(codec_parse(bad[i], &name), -EINVAL);
	assert_int_equal(codec_parse("pq192x4", &name), 0);
	assert_true(name.kind == CODEC_PQ && name.subs == 192 && name.bits == 4);
}

static struct codec_plan plan_of(const char *word, uint32_t dim, enum vs_metric metric)
{
	struct codec_name name;
	struct codec_plan plan;
	char why[200];

	assert_int_equal(codec_parse(word, &name), 0);
	assert_int_equal(codec_plan(&name, dim, metric, &plan, why, sizeof why), 0);
	return plan;
}

static void test_plans(void **state)
{
	struct codec_plan plan = plan_of("pq96", 768, VS_L2);
	struct codec_name name;
	char why[200];

	(void)state;
	assert_true(plan.block_bytes == 96 && !plan.row_bytes && !plan.factors && !plan.is_uneven);
	assert_true(plan.model_floats == 256 * 768 && plan.rows_min == 256 && plan.rows_wanted == 39 * 256);
	plan = plan_of("opq7x4", 20, VS_IP);
	assert_true(plan.block_bytes == 4 && plan.is_uneven && plan.model_floats == 20 * 20 + 7 * 16 * 3);
	plan = plan_of("sq8", 768, VS_L2);
	assert_true(!plan.block_bytes && plan.row_bytes == 768 && plan.factors == 3 && !plan.model_floats);
	plan = plan_of("f16", 768, VS_L2);
	assert_true(plan.row_bytes == 1536 && !plan.factors);
	plan = plan_of("bit", 100, VS_L2);
	assert_true(plan.row_bytes == 13);
	plan = plan_of("rabitq1", 768, VS_L2);
	assert_true(plan.block_bytes == 96 && !plan.row_bytes && plan.factors == 2 &&
		    plan.model_floats == 768);
	plan = plan_of("rabitq4", 768, VS_IP);
	assert_true(plan.block_bytes == 96 && plan.row_bytes == 288 && plan.factors == 4);
	assert_int_equal(codec_parse("pq96", &name), 0);
	assert_int_equal(codec_plan(&name, 50, VS_L2, &plan, why, sizeof why), -EINVAL);
	assert_non_null(strstr(why, "1 to 50"));
	assert_int_equal(codec_parse("opq64", &name), 0);
	assert_int_equal(codec_plan(&name, 5000, VS_L2, &plan, why, sizeof why), -EINVAL);
	assert_non_null(strstr(why, "4096"));
	assert_int_equal(codec_plan(&name, 0, VS_L2, &plan, why, sizeof why), -EINVAL);
}

/* ------------------------------------------------------------------ all codecs, shapes and metrics */

struct state {
	struct codec_plan plan;
	struct codec codec;
	struct codec_columns columns;
	float *model;
	void *bound, *scratch;
	size_t lost;
};

static size_t column_bytes(const struct codec_plan *plan, int which)
{
	if (which == 0)
		return block_bytes(ROWS, plan->block_bytes);
	if (which == 1)
		return ROWS * plan->row_bytes;
	return which == 2 ? block_bytes(ROWS, plan->factors) * sizeof(float)
			  : block_count(ROWS) * sizeof(uint64_t);
}

static void train(struct state *s, const float *x)
{
	size_t floats = ROWS * s->plan.dim, used;
	float *sample = lend(floats * sizeof *sample);
	void *scratch = lend(codec_train_scratch_bytes(&s->plan, ROWS, 1));

	memcpy(sample, x, floats * sizeof *sample);
	s->model = lend(s->plan.model_floats * sizeof(float));
	assert_int_equal(codec_train(&s->plan, ROWS, sample, SEED, NULL, s->model, &used, scratch), 0);
	free(sample);
	free(scratch);
}

/* Encodes in pieces that do not match the blocks. */
static void encode(struct state *s, const float *x)
{
	s->columns = (struct codec_columns){.blocks = lend(column_bytes(&s->plan, 0)),
					    .rows = lend(column_bytes(&s->plan, 1)),
					    .factors = lend(column_bytes(&s->plan, 2)),
					    .valid = lend(column_bytes(&s->plan, 3))};
	memset(s->columns.blocks, 0, column_bytes(&s->plan, 0));
	memset(s->columns.factors, 0, column_bytes(&s->plan, 2));
	memset(s->columns.valid, 0, column_bytes(&s->plan, 3));
	for (size_t first = 0, n = 1; first < ROWS; first += n, n = n * 3 % 101) {
		n = n < ROWS - first ? n : ROWS - first;
		s->lost +=
			codec_encode(&s->codec, &s->columns, first, n, x + first * s->plan.dim, s->scratch);
	}
}

static struct state make(const char *word, uint32_t dim, enum vs_metric metric, const float *x)
{
	struct state s = {.plan = plan_of(word, dim, metric)};

	train(&s, x);
	s.bound = lend(codec_bound_bytes(&s.plan));
	codec_bind(&s.codec, &s.plan, SEED, s.model, s.bound);
	s.scratch = lend(codec_scratch_bytes(&s.codec));
	encode(&s, x);
	return s;
}

static void drop(struct state *s)
{
	free(s->columns.blocks);
	free(s->columns.rows);
	free(s->columns.factors);
	free(s->columns.valid);
	free(s->model);
	free(s->bound);
	free(s->scratch);
}

static void assert_same_bytes(const struct state *a, const struct state *b)
{
	assert_memory_equal(a->model, b->model, a->plan.model_floats * sizeof(float));
	assert_memory_equal(a->columns.blocks, b->columns.blocks, column_bytes(&a->plan, 0));
	assert_memory_equal(a->columns.rows, b->columns.rows, column_bytes(&a->plan, 1));
	assert_memory_equal(a->columns.factors, b->columns.factors, column_bytes(&a->plan, 2));
	assert_memory_equal(a->columns.valid, b->columns.valid, column_bytes(&a->plan, 3));
}

/* Under cosine codecs take vectors to be of length 1: half of the squared distance. f16 and bf16 need not. */
static double exact(enum vs_metric metric, bool is_half, const float *q, const float *y, uint32_t dim)
{
	double product = 0, squares = 0, qq = 0, yy = 0;

	for (uint32_t d = 0; d < dim; d++) {
		double a = (double)q[d], b = (double)y[d];

		product += a * b;
		squares += (a - b) * (a - b);
		qq += a * a;
		yy += b * b;
	}
	if (metric == VS_COSINE)
		return is_half ? 1 - product / sqrt(qq * yy) : (1 + yy - 2 * product / sqrt(qq)) / 2;
	return metric == VS_IP ? -product : squares;
}

/* Distances of a scan over all rows are those to the decoded vectors, within a tolerance that the codec has.
 * Of rabitq's a few are what the signs say that they are not below (quant/rabitq.h). */
static void check_scan(struct state *s, const float *x, double tolerance)
{
	uint32_t dim = s->plan.dim;
	float *decoded = lend((size_t)ROWS * dim * sizeof *decoded);
	void *memory = lend(codec_query_bytes(&s->codec));
	struct topk_item items[ROWS];
	struct codec_query query;
	struct topk top;
	size_t found, raised = 0;
	bool may_raise = s->plan.name.kind == CODEC_RABITQ && s->plan.name.bits > 1;
	bool is_half = s->plan.name.kind == CODEC_F16 || s->plan.name.kind == CODEC_BF16;

	codec_decode(&s->codec, &s->columns, 0, ROWS, decoded, s->scratch);
	assert_int_equal(codec_query_init(&query, &s->codec, x + 5 * dim, memory, s->scratch), 0);
	topk_start(&top, items, ROWS);
	codec_scan(&top, &(struct scan_rows){.rows = ROWS}, &query, &s->columns);
	found = topk_finish(&top);
	assert_true(found + s->lost == ROWS);
	for (size_t i = 0; i < found; i++) {
		double want = exact(s->plan.metric, is_half, x + 5 * dim,
				    decoded + (size_t)items[i].row * dim, dim);
		double told = (double)codec_distance(&s->codec, items[i].distance);

		assert_true(items[i].row != 70 && items[i].row != 71);
		if (may_raise && told > want + tolerance * (1 + fabs(want)))
			raised++;
		else if (fabs(told - want) > tolerance * (1 + fabs(want)))
			fail_msg("row %u: told %g, decoded %g", items[i].row, told, want);
	}
	assert_true(raised <= ROWS / 10);
	free(decoded);
	free(memory);
}

static float *make_data(uint32_t dim)
{
	float *x = lend((size_t)ROWS * dim * sizeof *x);
	struct rng rng;

	rng_seed(&rng, dim);
	for (size_t i = 0; i < (size_t)ROWS * dim; i++)
		x[i] = (float)(rng_unit(&rng) + 0.1 - 0.5 * (double)(i % 3));
	x[70 * dim] = NAN;
	x[71 * dim + dim - 1] = -INFINITY;
	memset(x + (size_t)72 * dim, 0, dim * sizeof *x);
	return x;
}

static void check(const char *word, uint32_t dim, double tolerance)
{
	float *x = make_data(dim);

	for (enum vs_metric metric = 0; metric < VS_METRIC_COUNT; metric++) {
		struct state first = {0};

		for (enum level level = 0; level < LEVEL_COUNT; level++) {
			struct state s;

			if (level_choose(level_name(level)) != 0)
				continue;
			s = make(word, dim, metric, x);
			assert_int_equal(s.lost, metric == VS_COSINE ? 3 : 2);
			check_scan(&s, x, tolerance);
			if (!first.model) {
				first = s;
				continue;
			}
			assert_same_bytes(&s, &first);
			drop(&s);
		}
		drop(&first);
	}
	free(x);
}

static void test_trained_codecs(void **state)
{
	(void)state;
	check("pq8", 24, 1e-5);
	check("pq9", 25, 1e-5);
	check("pq7x4", 20, 1e-5);
	check("opq8", 24, 1e-5);
	check("opq10x4", 33, 1e-5);
	check("pq1", 1, 1e-5);
	check("opq1x4", 1, 1e-5);
}

static void test_codecs_without_training(void **state)
{
	(void)state;
	check("f16", 33, 1e-5);
	check("bf16", 33, 1e-5);
	check("sq8", 33, 1e-2);
	check("sq8", 1, 1e-2);
	check("rabitq1", 40, 1e9);
	check("rabitq8", 40, 0.2);
	check("rabitq3", 1, 1e9);
	check("bit", 40, 1e9);
}

static void test_what_training_and_queries_refuse(void **state)
{
	struct codec_plan plan = plan_of("pq4", 8, VS_COSINE);
	float *x = make_data(8), *sample = lend(ROWS * 8 * sizeof *sample), query[8] = {0};
	void *scratch = lend(codec_train_scratch_bytes(&plan, ROWS, 1)), *memory;
	struct codec_query made;
	struct state s;
	size_t used;

	(void)state;
	memcpy(sample, x, ROWS * 8 * sizeof *sample);
	s = make("pq4", 8, VS_COSINE, x);
	memory = lend(codec_query_bytes(&s.codec));
	assert_int_equal(codec_query_init(&made, &s.codec, query, memory, s.scratch), -EINVAL);
	query[3] = NAN;
	assert_int_equal(codec_query_init(&made, &s.codec, query, memory, s.scratch), -EINVAL);
	for (size_t i = 0; i < 50; i++)
		sample[i * 8] = INFINITY;
	assert_int_equal(codec_train(&plan, ROWS, sample, SEED, NULL, s.model, &used, scratch), -EINVAL);
	assert_int_equal(used, 247);
	drop(&s);
	free(x);
	free(sample);
	free(scratch);
	free(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_plans),
		cmocka_unit_test(test_trained_codecs),
		cmocka_unit_test(test_codecs_without_training),
		cmocka_unit_test(test_what_training_and_queries_refuse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
