/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>

#include "quant/distance.h"
#include "quant/sq8.h"
#include "tests/unit/vectors.h"

#define K 10

struct set {
	float *x;
	size_t n;
	uint32_t dim;
	enum vs_metric metric;
	uint8_t *codes;
	float *factors, *scratch;
	struct scan_rows rows;
};

static struct set encoded(float *x, size_t n, uint32_t dim, enum vs_metric metric, size_t lost)
{
	struct set s = {.x = x, .n = n, .dim = dim, .metric = metric, .rows = {.rows = n}};

	s.codes = malloc(n * dim);
	s.factors = lines(block_bytes(n, SQ8_FACTORS * 4));
	s.scratch = malloc(dim * 4);
	assert_int_equal(sq8_encode(s.codes, s.factors, 0, metric, x, n, dim, s.scratch), lost);
	return s;
}

static void set_free(struct set *s)
{
	free(s->codes);
	free(s->factors);
	free(s->scratch);
}

/* The rows that the codes find are, to the last bit, those that the f32 scan finds. Returns how many were
 * read. */
static size_t check_search(const struct set *s, const float *query)
{
	struct topk_item want[K], got[K];
	struct sq8_query sq;
	void *memory = malloc(sq8_query_bytes(s->dim));
	size_t read = 0, first = 0;
	struct topk top;

	EACH_LEVEL(level)
	{
		size_t wanted, found;

		topk_start(&top, want, K);
		scan_exact(&top, &s->rows, VS_F32, s->metric, query, s->x, s->dim * 4, s->dim);
		wanted = topk_finish(&top);
		read = 0;
		assert_int_equal(sq8_query_init(&sq, s->metric, query, s->dim, memory), 0);
		topk_start(&top, got, K);
		sq8_search(&top, &s->rows, &sq, s->codes, s->factors, query, s->x, s->dim * 4, &read);
		found = topk_finish(&top);
		assert_int_equal(found, wanted);
		for (size_t i = 0; i < found; i++) {
			assert_int_equal(got[i].row, want[i].row);
			assert_memory_equal(&got[i].distance, &want[i].distance, sizeof(float));
		}
		if (level == LEVEL_SCALAR)
			first = read;
		assert_int_equal(read, first);
	}
	free(memory);
	return read;
}

static void test_search_is_exact(void **state)
{
	static const uint32_t dims[] = {1, 2, 16, 63, 64, 65, 100, 300, 1100};

	(void)state;
	for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
		for (enum vs_metric metric = VS_L2; metric < VS_METRIC_COUNT; metric++) {
			const size_t n = 700, dim = dims[i];
			float *x = random_vectors(dim, n, dim);
			uint64_t valid[11];
			struct set s;

			memcpy(x + 500 * dim, x, 100 * dim * 4); /* ties */
			for (size_t j = 0; j < 20 * dim; j++)    /* near ties */
				x[600 * dim + j] = x[j % dim] * (1 + (float)(j / dim) * 0x1p-22f);
			s = encoded(x, n, dims[i], metric, 0);
			check_search(&s, x + 5 * dim);
			check_search(&s, x);
			memset(valid, 0x5a, sizeof valid);
			valid[2] = 0;
			valid[3] = 3; /* few */
			s.rows.valid = valid;
			check_search(&s, x + 9 * dim);
			set_free(&s);
			free(x);
		}
}

/* Vectors of very different lengths, constant ones, none at all, and what cannot be found. */
static void test_search_is_exact_on_odd_vectors(void **state)
{
	const size_t n = 300, dim = 24;
	float *x = random_vectors(9, n, dim);

	(void)state;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < dim; j++)
			x[i * dim + j] = i % 11 == 1 ? 2 : x[i * dim + j] * powf(10, (float)(i % 21) - 10);
	memset(x + 7 * dim, 0, dim * 4);
	memset(x + 8 * dim, 0, dim * 4);
	x[9 * dim + 3] = NAN;
	x[10 * dim] = -INFINITY;
	for (size_t j = 0; j < dim; j++) {
		x[11 * dim + j] = 3e38f; /* its length is no f32 */
		x[13 * dim + j] = 1e-40f;
	}
	for (enum vs_metric metric = VS_L2; metric < VS_METRIC_COUNT; metric++) {
		struct set s = encoded(x, n, (uint32_t)dim, metric, metric == VS_COSINE ? 5 : 3);
		float back[24];

		for (size_t i = 20; i < 80; i++)
			check_search(&s, x + i * dim);
		check_search(&s, x + 13 * dim);
		sq8_decode(back, s.codes, s.factors, 9, 1, (uint32_t)dim);
		assert_true(isnan(back[0]) && isnan(back[23]));
		set_free(&s);
	}
	free(x);
}

static void test_one_row_and_constant_data(void **state)
{
	float x[100];

	(void)state;
	for (int i = 0; i < 100; i++)
		x[i] = -4.5f;
	for (enum vs_metric metric = VS_L2; metric < VS_METRIC_COUNT; metric++) {
		struct set one = encoded(x, 1, 100, metric, 0), constant = encoded(x, 25, 4, metric, 0);

		check_search(&one, x);
		check_search(&constant, x);
		set_free(&one);
		set_free(&constant);
	}
}

static void test_codes_are_the_same_and_as_near_as_they_say(void **state)
{
	static const uint32_t dims[] = {1, 5, 16, 100, 129};

	(void)state;
	for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
		const size_t n = 130, dim = dims[i];
		float *x = random_vectors(dim, n, dim), *back = malloc(n * dim * 4);
		uint8_t *first = malloc(n * dim);
		float *first_factors = lines(block_bytes(n, 12));

		EACH_LEVEL(level)
		{
			struct set s = encoded(x, 50, dims[i], VS_L2, 0);

			set_free(&s);
			s = encoded(x, n, dims[i], VS_L2, 0);
			if (level == LEVEL_SCALAR) {
				memcpy(first, s.codes, n * dim);
				memcpy(first_factors, s.factors, block_bytes(n, 12));
			}
			assert_memory_equal(s.codes, first, n * dim);
			assert_memory_equal(s.factors, first_factors, block_bytes(n, 12));
			/* Encoded in two parts it is the same. */
			memset(s.codes, 0, n * dim);
			sq8_encode(s.codes, s.factors, 70, VS_L2, x + 70 * dim, 60, dims[i], s.scratch);
			sq8_encode(s.codes, s.factors, 0, VS_L2, x, 70, dims[i], s.scratch);
			assert_memory_equal(s.codes, first, n * dim);
			set_free(&s);
		}
		sq8_decode(back, first, first_factors, 0, n, dims[i]);
		for (size_t r = 0; r < n; r++) {
			const float *side = first_factors + block_factor_offset(r, SQ8_FACTORS);
			double error = 0, norm2 = 0;

			for (size_t j = r * dim; j < (r + 1) * dim; j++) {
				error += pow((double)x[j] - (double)side[0] * (first[j] - 128), 2);
				norm2 += pow((double)back[j], 2);
			}
			assert_true(sqrt(error) <= (double)side[128] + 1e-12);
			assert_true(sqrt(error) >= (double)side[128] * 0.999 - 1e-6);
			assert_true(fabs(norm2 - (double)side[64]) <= 1e-5 * norm2);
		}
		free(x);
		free(back);
		free(first);
		free(first_factors);
	}
}

static void test_bad_queries(void **state)
{
	float q[3] = {1, NAN, 2}, zero[3] = {0};
	uint8_t memory[128];
	struct sq8_query sq;

	(void)state;
	assert_int_equal(sq8_query_init(&sq, VS_L2, q, 3, memory), -EINVAL);
	q[1] = INFINITY;
	assert_int_equal(sq8_query_init(&sq, VS_IP, q, 3, memory), -EINVAL);
	assert_int_equal(sq8_query_init(&sq, VS_COSINE, zero, 3, memory), -EINVAL);
	assert_int_equal(sq8_query_init(&sq, VS_L2, zero, 3, memory), 0);
}

/* Real words: by codes alone nearly all of the ten nearest, through them all, for few reads. */
static void test_real_words(void **state)
{
	float *x = glove_vectors();
	struct set s = encoded(x, GLOVE_ROWS, GLOVE_DIM, VS_COSINE, 0);
	size_t found = 0, read = 0;
	void *memory = malloc(sq8_query_bytes(GLOVE_DIM));

	(void)state;
	level_choose(NULL);
	for (size_t i = 0; i < 100; i++) {
		const float *q = x + i * 29 * GLOVE_DIM;
		struct topk_item want[K], got[K];
		struct sq8_query sq;
		struct topk top;

		topk_start(&top, want, K);
		scan_exact(&top, &s.rows, VS_F32, VS_COSINE, q, x, GLOVE_DIM * 4, GLOVE_DIM);
		assert_int_equal(topk_finish(&top), K);
		assert_int_equal(sq8_query_init(&sq, VS_COSINE, q, GLOVE_DIM, memory), 0);
		topk_start(&top, got, K);
		sq8_scan(&top, &s.rows, &sq, s.codes, s.factors);
		assert_int_equal(topk_finish(&top), K);
		for (size_t a = 0; a < K; a++)
			for (size_t b = 0; b < K; b++)
				found += want[a].row == got[b].row;
	}
	for (size_t i = 0; i < 10; i++)
		read += check_search(&s, x + i * 290 * GLOVE_DIM);
	assert_true(found >= 985);
	assert_true(read < 10 * 150);
	set_free(&s);
	free(memory);
	free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_search_is_exact),
		cmocka_unit_test(test_search_is_exact_on_odd_vectors),
		cmocka_unit_test(test_one_row_and_constant_data),
		cmocka_unit_test(test_codes_are_the_same_and_as_near_as_they_say),
		cmocka_unit_test(test_bad_queries),
		cmocka_unit_test(test_real_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
