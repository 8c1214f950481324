/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>

#include "quant/distance.h"
#include "quant/rabitq.h"
#include "tests/unit/vectors.h"

#define K 10

struct set {
	struct rabitq rq;
	void *rotation;
	float *mean, *factors, *scratch;
	uint8_t *signs, *extra;
	size_t n, signs_size, extra_size, factors_size;
	struct scan_rows rows;
};

static struct set set_of(const float *x, size_t n, uint32_t dim, unsigned bits, enum vs_metric metric)
{
	struct set s = {.n = n, .rows = {.rows = n}};
	void *sums = malloc(12 * (size_t)dim);

	s.mean = malloc(dim * 4);
	s.rotation = lines(hadamard_bytes(dim));
	rabitq_mean(s.mean, metric, x, n, dim, sums);
	rabitq_init(&s.rq, dim, bits, metric, 42, s.mean, s.rotation);
	s.signs_size = block_bytes(n, rabitq_sign_bytes(&s.rq));
	s.extra_size = n * rabitq_extra_bytes(&s.rq);
	s.factors_size = block_bytes(n, rabitq_factors(&s.rq) * 4);
	s.signs = lines(s.signs_size);
	s.extra = lines(s.extra_size);
	s.factors = lines(s.factors_size);
	s.scratch = lines(rabitq_scratch(&s.rq) * 4);
	free(sums);
	return s;
}

static size_t encode(struct set *s, const float *x, size_t first, size_t n)
{
	return rabitq_encode(&s->rq, s->signs, s->rq.bits > 1 ? s->extra : NULL, s->factors, first, x, n,
			     s->scratch);
}

static void set_free(struct set *s)
{
	free(s->mean);
	free(s->rotation);
	free(s->signs);
	free(s->extra);
	free(s->factors);
	free(s->scratch);
}

static void *query_of(struct rabitq_query *q, const struct set *s, const float *x, float error)
{
	void *memory = lines(rabitq_query_bytes(&s->rq));

	assert_int_equal(rabitq_query_init(q, &s->rq, x, error, memory), 0);
	return memory;
}

static size_t scan(struct topk_item *items, const struct set *s, const struct rabitq_query *q)
{
	struct topk top;

	topk_start(&top, items, K);
	rabitq_scan(&top, &s->rows, q, s->signs, s->extra, s->factors, NULL);
	return topk_finish(&top);
}

static void check_levels(uint32_t dim, unsigned bits, enum vs_metric metric)
{
	const size_t n = 150;
	float *x = random_vectors(dim, n, dim);
	struct set first = set_of(x, n, dim, bits, metric);
	struct topk_item want[K], got[K];

	x[17 * dim] = NAN;
	EACH_LEVEL(level)
	{
		struct set s = set_of(x, n, dim, bits, metric);
		struct rabitq_query q;
		void *memory;

		if (level == LEVEL_SCALAR) {
			memcpy(first.mean, s.mean, dim * 4);
			encode(&first, x, 0, n);
		}
		assert_int_equal(encode(&s, x + 90 * dim, 90, n - 90), 0); /* in parts, out of order */
		assert_int_equal(encode(&s, x, 0, 90), 1);
		assert_memory_equal(s.mean, first.mean, dim * 4);
		assert_memory_equal(s.signs, first.signs, s.signs_size);
		assert_memory_equal(s.extra, first.extra, s.extra_size);
		assert_memory_equal(s.factors, first.factors, s.factors_size);
		memory = query_of(&q, &s, x + 4 * dim, RABITQ_ERROR);
		assert_int_equal(scan(level == LEVEL_SCALAR ? want : got, &s, &q), K);
		if (level != LEVEL_SCALAR)
			for (size_t i = 0; i < K; i++)
				assert_true(got[i].row == want[i].row && got[i].distance == want[i].distance);
		free(memory);
		set_free(&s);
	}
	set_free(&first);
	free(x);
}

static void test_codes_and_answers_are_the_same_on_every_level(void **state)
{
	static const uint32_t dims[] = {1, 20, 64, 100, 200};

	(void)state;
	for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
		for (unsigned bits = 1; bits <= RABITQ_BITS_MAX; bits++)
			check_levels(dims[i], bits, i % 2 ? VS_IP : VS_L2);
	for (unsigned bits = 1; bits <= RABITQ_BITS_MAX; bits++)
		check_levels(768, bits, VS_COSINE);
}

/* Estimates are right on average, each bit about halves their error, and the bound holds for nearly all. */
static void check_estimates(enum vs_metric metric)
{
	const size_t n = 400, dim = 128;
	float *x = random_vectors(1, n + 10, dim);
	double last = INFINITY;

	for (size_t i = 0; i < (n + 10) * dim; i++)
		x[i] += 0.3f; /* not centred */
	for (unsigned bits = 1; bits <= RABITQ_BITS_MAX; bits++) {
		struct set s = set_of(x, n, (uint32_t)dim, bits, metric);
		double bias = 0, square = 0, spread = 0;

		assert_int_equal(encode(&s, x, 0, n), 0);
		for (size_t k = 0; k < 10; k++) {
			struct rabitq_query q;
			void *memory = query_of(&q, &s, x + (n + k) * dim, RABITQ_ERROR);

			for (size_t i = 0; i < n; i++) {
				float want;
				double error,
					got = (double)rabitq_distance(&q, s.signs, s.extra, s.factors, i);

				distance_rows(&want, VS_F32, metric, x + (n + k) * dim, x + i * dim, dim * 4,
					      1, (uint32_t)dim);
				error = got - (double)want;
				bias += error;
				square += error * error;
				spread += fabs((double)want);
			}
			free(memory);
		}
		square = sqrt(square / (double)n / 10);
		assert_true(fabs(bias / (double)n / 10) < 0.1 * square);
		assert_true(square < (bits < 3 ? 0.75 : 0.65) * last);
		assert_true(bits > 1 || square < 0.15 * spread / (double)n / 10 + 2);
		last = square;
		set_free(&s);
	}
	free(x);
}

static void test_estimates_are_unbiased_and_get_better(void **state)
{
	(void)state;
	for (enum vs_metric metric = VS_L2; metric < VS_METRIC_COUNT; metric++)
		check_estimates(metric);
}

/* With a bound so wide that every row is finished, the scan selects what their distances say. */
static void test_two_stages_select_what_the_distances_say(void **state)
{
	const size_t n = 500, dim = 70;
	float *x = random_vectors(3, n, dim);
	uint64_t valid[8], keys[500];

	(void)state;
	memset(valid, 0xb7, sizeof valid);
	valid[3] = 0;
	for (size_t i = 0; i < n; i++)
		keys[i] = i * 7919 % 1009;
	memcpy(x + 400 * dim, x, 50 * dim * 4); /* ties */
	for (unsigned bits = 2; bits <= RABITQ_BITS_MAX; bits++) {
		struct set s = set_of(x, n, (uint32_t)dim, bits, (enum vs_metric)(bits % 3));
		struct topk_item want[K], got[K];
		struct rabitq_query q;
		struct topk top;
		void *memory;

		s.rows.valid = valid;
		s.rows.keys = keys;
		encode(&s, x, 0, n);
		memory = query_of(&q, &s, x, 1e4f);
		topk_start(&top, want, K);
		for (size_t i = 0; i < n; i++)
			if (valid[i / 64] >> i % 64 & 1)
				topk_push(&top, rabitq_distance(&q, s.signs, s.extra, s.factors, i),
					  (uint32_t)i, keys[i]);
		assert_int_equal(topk_finish(&top), K);
		assert_int_equal(scan(got, &s, &q), K);
		for (size_t i = 0; i < K; i++)
			assert_true(got[i].row == want[i].row && got[i].distance == want[i].distance);
		free(memory);
		set_free(&s);
	}
	free(x);
}

/* A bound that errs excludes a row wherever it stands, or nowhere. */
static void test_what_is_found_does_not_depend_on_the_order_of_rows(void **state)
{
	const size_t n = 2000, dim = 40;
	float *x = random_vectors(9, n, dim), *moved = malloc(n * dim * 4);
	uint64_t keys[2000];

	(void)state;
	for (size_t i = 0; i < n; i++) { /* row i goes to (i * 777 + 5) % n */
		memcpy(moved + (i * 777 + 5) % n * dim, x + i * dim, dim * 4);
		keys[(i * 777 + 5) % n] = i;
	}
	for (unsigned bits = 2; bits <= 4; bits++)
		for (uint64_t query = 0; query < 20; query++) {
			struct set a = set_of(x, n, (uint32_t)dim, bits, VS_L2),
				   b = set_of(x, n, (uint32_t)dim, bits, VS_L2);
			struct topk_item in_order[K], in_another[K];
			float *q = random_vectors(100 + query, 1, dim);
			struct rabitq_query query_a, query_b;
			void *memory_a, *memory_b;

			encode(&a, x, 0, n);
			encode(&b, moved, 0, n);
			memory_a = query_of(&query_a, &a, q, 0.3f); /* a bound that errs often */
			memory_b = query_of(&query_b, &b, q, 0.3f);
			b.rows.keys = keys;
			assert_int_equal(scan(in_order, &a, &query_a), K);
			assert_int_equal(scan(in_another, &b, &query_b), K);
			for (size_t i = 0; i < K; i++)
				assert_true(in_order[i].key == in_another[i].key &&
					    in_order[i].distance == in_another[i].distance);
			free(memory_a);
			free(memory_b);
			free(q);
			set_free(&a);
			set_free(&b);
		}
	free(x);
	free(moved);
}

static void test_decoded_vectors_are_near(void **state)
{
	const size_t n = 100;

	(void)state;
	for (enum vs_metric metric = VS_L2; metric < VS_METRIC_COUNT; metric++)
		for (unsigned bits = 1; bits <= RABITQ_BITS_MAX; bits++) {
			const size_t dim = 90;
			float *x = random_vectors(5, n, dim), *back = malloc(n * dim * 4);
			struct set s = set_of(x, n, (uint32_t)dim, bits, metric);
			double error = 0, norm2 = 0;

			encode(&s, x, 0, n);
			rabitq_decode(&s.rq, back, s.signs, s.extra, s.factors, 0, n, s.scratch);
			for (size_t i = 0; i < n; i++) {
				if (metric == VS_COSINE)
					distance_normalise(x + i * dim, x + i * dim, (uint32_t)dim);
				for (size_t j = i * dim; j < (i + 1) * dim; j++) {
					error += pow((double)x[j] - (double)back[j], 2);
					norm2 += pow((double)x[j], 2);
				}
			}
			/* 1 - 2/pi of the length squared for 1 bit, about a quarter of it a further bit. */
			assert_true(error / norm2 < 0.40 * pow(0.36, bits - 1.0));
			set_free(&s);
			free(x);
			free(back);
		}
}

static void test_what_cannot_be_found(void **state)
{
	const size_t n = 40, dim = 10;
	float *x = random_vectors(6, n, dim), back[10];

	(void)state;
	x[3 * dim] = NAN;
	x[4 * dim + 9] = INFINITY;
	memset(x + 5 * dim, 0, dim * 4);
	for (size_t j = 0; j < dim; j++)
		x[6 * dim + j] = 3e38f;
	for (enum vs_metric metric = VS_L2; metric < VS_METRIC_COUNT; metric++)
		for (unsigned bits = 1; bits <= RABITQ_BITS_MAX; bits += 3) {
			struct set s = set_of(x, n, (uint32_t)dim, bits, metric);
			struct topk_item items[K];
			struct rabitq_query q;
			void *memory;

			assert_int_equal(encode(&s, x, 0, n), metric == VS_COSINE ? 4 : 3);
			memory = query_of(&q, &s, x + dim, 100);
			assert_int_equal(scan(items, &s, &q), K);
			for (size_t i = 0; i < K; i++)
				assert_true(items[i].row < 3 || items[i].row > 6 ||
					    (items[i].row == 5 && metric != VS_COSINE));
			rabitq_decode(&s.rq, back, s.signs, s.extra, s.factors, 4, 1, s.scratch);
			assert_true(isnan(back[0]) && isnan(back[9]));
			assert_int_equal(rabitq_query_init(&q, &s.rq, x + 3 * dim, 1, memory), -EINVAL);
			if (metric == VS_COSINE)
				assert_int_equal(rabitq_query_init(&q, &s.rq, x + 5 * dim, 1, memory),
						 -EINVAL);
			free(memory);
			set_free(&s);
		}
	free(x);
}

/* All rows equal their mean: distances are exact, of any number of rows and dims, also of subnormal numbers.
 */
static void test_constant_data(void **state)
{
	static const uint32_t dims[] = {1, 7, 64};

	(void)state;
	for (size_t d = 0; d < 3; d++)
		for (size_t n = 1; n <= 65; n += 64)
			for (unsigned bits = 1; bits <= RABITQ_BITS_MAX; bits++) {
				const uint32_t dim = dims[d];
				float *x = malloc(n * dim * 4), far[64];
				struct topk_item items[K];
				struct rabitq_query q;
				struct set s;
				void *memory;

				for (size_t i = 0; i < n * dim; i++)
					x[i] = bits == 3 ? 1e-41f : 2.5f;
				for (uint32_t i = 0; i < dim; i++)
					far[i] = 4.5f;
				s = set_of(x, n, dim, bits, VS_L2);
				assert_int_equal(encode(&s, x, 0, n), 0);
				memory = query_of(&q, &s, far, RABITQ_ERROR);
				assert_int_equal(scan(items, &s, &q), n < K ? n : K);
				for (uint32_t i = 0; i < (n < K ? n : K); i++) {
					assert_int_equal(items[i].row, i); /* ties by row */
					assert_true(fabsf(items[i].distance -
							  (bits == 3 ? 20.25f : 4) * (float)dim) <
						    1e-3f * (float)dim);
				}
				free(memory);
				set_free(&s);
				free(x);
			}
}

static void test_recall_on_real_words(void **state)
{
	static const size_t least[RABITQ_BITS_MAX] = {600, 780, 880, 930, 955, 970, 980, 985};
	float *x = glove_vectors();

	(void)state;
	level_choose(NULL);
	for (unsigned bits = 1; bits <= RABITQ_BITS_MAX; bits++) {
		struct set s = set_of(x, GLOVE_ROWS, GLOVE_DIM, bits, VS_COSINE);
		size_t found = 0;

		assert_int_equal(encode(&s, x, 0, GLOVE_ROWS), 0);
		for (size_t i = 0; i < 100; i++) {
			struct topk_item want[K], got[K];
			struct rabitq_query q;
			struct topk top;
			void *memory = query_of(&q, &s, x + i * 29 * GLOVE_DIM, RABITQ_ERROR);

			topk_start(&top, want, K);
			scan_exact(&top, &s.rows, VS_F32, VS_COSINE, x + i * 29 * GLOVE_DIM, x, GLOVE_DIM * 4,
				   GLOVE_DIM);
			assert_int_equal(topk_finish(&top), K);
			assert_int_equal(scan(got, &s, &q), K);
			for (size_t a = 0; a < K; a++)
				for (size_t b = 0; b < K; b++)
					found += want[a].row == got[b].row;
			free(memory);
		}
		if (found < least[bits - 1])
			print_error("%u bits: recall %zu of 1000\n", bits, found);
		assert_true(found >= least[bits - 1]);
		set_free(&s);
	}
	free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_codes_and_answers_are_the_same_on_every_level),
		cmocka_unit_test(test_estimates_are_unbiased_and_get_better),
		cmocka_unit_test(test_two_stages_select_what_the_distances_say),
		cmocka_unit_test(test_what_is_found_does_not_depend_on_the_order_of_rows),
		cmocka_unit_test(test_decoded_vectors_are_near),
		cmocka_unit_test(test_what_cannot_be_found),
		cmocka_unit_test(test_constant_data),
		cmocka_unit_test(test_recall_on_real_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
