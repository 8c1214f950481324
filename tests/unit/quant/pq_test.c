/* SPDX-License-Identifier: Apache-2.0 */
/* nearest, assign, kmeans, pq and opq: against plain loops, on every level, with one worker and with two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "quant/assign.h"
#include "quant/gemm.h"
#include "quant/kmeans.h"
#include "quant/level.h"
#include "quant/nearest.h"
#include "quant/opq.h"
#include "quant/pq.h"
#include "quant/rng.h"

static void *lend(size_t bytes)
{
	char *memory = aligned_alloc(64, (bytes + 64) / 64 * 64);

	memset(memory, 0xa5, bytes); /* nobody may count on zeros */
	return memory;
}

/* Numbers of some clusters, so that there is something to learn. */
static float *make_data(size_t rows, size_t dim, uint64_t seed)
{
	float *x = lend(rows * dim * sizeof *x);
	struct rng rng;

	rng_seed(&rng, seed);
	for (size_t i = 0; i < rows; i++)
		for (size_t d = 0; d < dim; d++)
			x[i * dim + d] =
				(float)(rng_unit(&rng) + (double)((i * 7 + d) % 5) / (double)(d + 1));
	return x;
}

/* ------------------------------------------------------------------ two threads that share the parts */

struct share {
	parallel_fn *fn;
	void *arg;
	size_t parts;
	unsigned worker;
};

static void *run_share(void *arg)
{
	struct share *s = arg;

	for (size_t i = s->worker; i < s->parts; i += 2)
		s->fn(s->arg, i, s->worker);
	return NULL;
}

static void run_two(void *pool, size_t parts, parallel_fn *fn, void *arg)
{
	struct share shares[2] = {{fn, arg, parts, 0}, {fn, arg, parts, 1}};
	pthread_t other;

	(void)pool;
	assert_int_equal(pthread_create(&other, NULL, run_share, &shares[1]), 0);
	run_share(&shares[0]);
	pthread_join(other, NULL);
}

static const struct parallel two = {.workers = 2, .run = run_two};

/* ------------------------------------------------------------------ nearest */

static void test_nearest_is_the_first_of_the_least_scores(void **state)
{
	enum { ROWS = 64, DIM = 5, LD = 96, K = 23 };
	float *x = make_data(LD, DIM, 1), *centroids = make_data(K, DIM, 2), half_norms[K], score[ROWS];
	int32_t code[ROWS];

	(void)state;
	for (size_t d = 0; d < DIM; d++) /* two that are equal: the first one wins */
		centroids[d * K + 17] = centroids[d * K + 4];
	kmeans_half_norms(DIM, K, centroids, half_norms);
	for (enum level level = 0; level < LEVEL_COUNT; level++) {
		if (level_choose(level_name(level)) != 0)
			continue;
		nearest(ROWS, DIM, x, LD, K, centroids, half_norms, code, score);
		for (size_t i = 0; i < ROWS; i++) {
			float least = INFINITY;
			int32_t best = 0;

			for (int32_t c = 0; c < K; c++) {
				float sum = half_norms[c];

				for (size_t d = 0; d < DIM; d++)
					sum = fmaf(-centroids[d * K + (size_t)c], x[d * LD + i], sum);
				if (sum < least) {
					least = sum;
					best = c;
				}
			}
			assert_int_equal(code[i], best);
			assert_memory_equal(&score[i], &least, sizeof least);
		}
	}
	free(x);
	free(centroids);
}

/* ------------------------------------------------------------------ assign */

#define ASSIGN_ROWS 128

static const float origin[1000]; /* where it is changes no code: rows and centroids are told from there */

/* Half of the squared distance less what all centroids share, in f64. */
static double score_of(size_t dim, size_t k, const float *x, size_t row, const float *centroids, size_t c)
{
	double score = 0;

	for (size_t d = 0; d < dim; d++) {
		double y = (double)centroids[d * k + c];

		score += y * (y / 2 - (double)x[d * ASSIGN_ROWS + row]);
	}
	return score;
}

/* By how much the score of a code may miss the least one: half a unit in each component of both vectors. */
static double slack_of(size_t dim, size_t k, const float *x, size_t row, const float *centroids)
{
	double longest2 = 0, length2 = 0;

	for (size_t c = 0; c < k; c++) {
		double norm2 = 0;

		for (size_t d = 0; d < dim; d++)
			norm2 += (double)centroids[d * k + c] * (double)centroids[d * k + c];
		longest2 = fmax(longest2, norm2);
	}
	for (size_t d = 0; d < dim; d++)
		length2 += (double)x[d * ASSIGN_ROWS + row] * (double)x[d * ASSIGN_ROWS + row];
	return 2.01 * sqrt((double)dim + 1) / 8000 * sqrt(2 * longest2) * sqrt(length2 + longest2 / 4);
}

static void check_assignment(size_t dim, size_t k, const float *x, const float *centroids)
{
	int32_t *pairs = lend(assign_pairs(dim) * k * sizeof *pairs), code[ASSIGN_ROWS], first[ASSIGN_ROWS];
	void *scratch = lend(assign_scratch_bytes(dim));
	struct assign a;

	for (enum level level = 0; level < LEVEL_COUNT; level++) {
		if (level_choose(level_name(level)) != 0)
			continue;
		assign_bind(&a, dim, k, origin, centroids, pairs);
		assign(&a, ASSIGN_ROWS, x, ASSIGN_ROWS, code, scratch);
		if (level == 0)
			memcpy(first, code, sizeof code);
		assert_memory_equal(code, first, sizeof code);
	}
	for (size_t i = 0; i < ASSIGN_ROWS; i++) {
		double least = INFINITY, told = score_of(dim, k, x, i, centroids, (size_t)code[i]);

		for (size_t c = 0; c < k; c++)
			least = fmin(least, score_of(dim, k, x, i, centroids, c));
		assert_true(told - least <= slack_of(dim, k, x, i, centroids));
	}
	free(pairs);
	free(scratch);
}

static void test_assignment_is_to_the_nearest_but_for_rounding(void **state)
{
	static const size_t dims[] = {1, 2, 3, 7, 8, 9, 40, 1000};
	static const float sizes[] = {1, 1e-15f, 1e15f};

	(void)state;
	for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
		for (size_t k = 16; k <= 256; k *= 16)
			for (size_t size = 0; size < 3; size++) {
				float *x = make_data(dims[i], ASSIGN_ROWS, i),
				      *centroids = make_data(dims[i], k, 9);

				for (size_t d = 0; d < dims[i] * ASSIGN_ROWS; d++)
					x[d] *= sizes[size] * (d % 7 ? 1 : 50);
				for (size_t d = 0; d < dims[i] * k; d++)
					centroids[d] *= sizes[size];
				centroids[k - 1] *=
					100; /* a far one, for which all others are small integers */
				check_assignment(dims[i], k, x, centroids);
				free(x);
				free(centroids);
			}
}

/* All the length in one component, towards the longest centroid and away from it: the largest sums. */
static void test_assignment_of_the_largest_integers(void **state)
{
	enum { DIM = 8, K = 256 };
	static const float sizes[] = {0, 1e-44f, 1e-30f, 1, 1e10f, 1e18f};
	float x[DIM * ASSIGN_ROWS] = {0}, centroids[DIM * K] = {0};

	(void)state;
	for (size_t c = 0; c < K; c++)
		centroids[c % DIM * K + c] = c & 8 ? 1 : -1;
	for (size_t i = 0; i < ASSIGN_ROWS; i++)
		x[i % DIM * ASSIGN_ROWS + i] = sizes[i / DIM % 6] * (i & 8 ? 1 : -1);
	check_assignment(DIM, K, x, centroids);
	memset(centroids, 0, sizeof centroids);
	check_assignment(DIM, K, x, centroids);
}

/* Binds k centroids that fill a cube of `width` by 1 by 1, or nearly a line. */
static bool are_told_apart(size_t k, double width)
{
	float centroids[3 * 256], where[3] = {0};
	int32_t pairs[3 * 256];
	struct assign a;
	struct rng rng;

	rng_seed(&rng, k);
	for (size_t c = 0; c < k; c++) {
		centroids[c] = (float)(width * ((double)c / (double)k - 0.5));
		centroids[k + c] = (float)(rng_unit(&rng) - 0.5);
		centroids[2 * k + c] = (float)(rng_unit(&rng) - 0.5);
	}
	assign_bind(&a, 3, k, where, centroids, pairs);
	return a.tells_apart;
}

static void test_assignment_knows_which_centroids_it_cannot_tell_apart(void **state)
{
	(void)state;
	assert_true(are_told_apart(256, 1));
	assert_false(are_told_apart(256, 1000));
	assert_true(are_told_apart(16, 1000));
}

static void test_assignment_is_to_the_first_of_equal_ones(void **state)
{
	enum { DIM = 6, K = 64 };
	float *x = make_data(DIM, ASSIGN_ROWS, 1), *centroids = make_data(DIM, K, 2);
	int32_t pairs[(DIM / 2 + 2) * K], code[ASSIGN_ROWS];
	void *scratch = lend(assign_scratch_bytes(DIM));
	struct assign a;

	(void)state;
	for (size_t c = 8; c < K; c++) /* in the same 16, and in others */
		for (size_t d = 0; d < DIM; d++)
			centroids[d * K + c] = centroids[d * K + c % 8];
	for (enum level level = 0; level < LEVEL_COUNT; level++) {
		if (level_choose(level_name(level)) != 0)
			continue;
		assign_bind(&a, DIM, K, origin, centroids, pairs);
		assign(&a, ASSIGN_ROWS, x, ASSIGN_ROWS, code, scratch);
		for (size_t i = 0; i < ASSIGN_ROWS; i++)
			assert_in_range(code[i], 0, 7);
	}
	free(x);
	free(centroids);
	free(scratch);
}

static void test_assignment_of_what_is_not_finite_is_the_same_everywhere(void **state)
{
	enum { DIM = 5, K = 16 };
	float *x = make_data(DIM, ASSIGN_ROWS, 1), *centroids = make_data(DIM, K, 2);
	int32_t pairs[(DIM / 2 + 2) * K], code[ASSIGN_ROWS], first[ASSIGN_ROWS];
	void *scratch = lend(assign_scratch_bytes(DIM));
	struct assign a;

	(void)state;
	x[3] = NAN;
	x[2 * ASSIGN_ROWS + 4] = -INFINITY;
	x[2 * ASSIGN_ROWS + 5] = 3e38f;
	for (int garbage = 0; garbage < 3; garbage++) {
		for (enum level level = 0; level < LEVEL_COUNT; level++) {
			if (level_choose(level_name(level)) != 0)
				continue;
			assign_bind(&a, DIM, K, origin, centroids, pairs);
			assign(&a, ASSIGN_ROWS, x, ASSIGN_ROWS, code, scratch);
			if (level == 0)
				memcpy(first, code, sizeof code);
			assert_memory_equal(code, first, sizeof code);
			for (size_t i = 0; i < ASSIGN_ROWS; i++)
				assert_in_range(code[i], 0, K - 1);
		}
		/* A codebook that is none does no harm. */
		centroids[7] = NAN;
		centroids[8] = garbage ? INFINITY : 1e30f;
	}
	free(x);
	free(centroids);
	free(scratch);
}

/* ------------------------------------------------------------------ kmeans */

static double kmeans(size_t rows, size_t dim, const float *x, size_t ld, size_t k, float *centroids)
{
	void *scratch = lend(kmeans_scratch_bytes(rows, dim, k));
	double error = kmeans_train(rows, dim, x, ld, k, 6, NULL, centroids, scratch);

	free(scratch);
	return error;
}

/* Plain rounds of Lloyd from the same start, one number a row. */
static double lloyd(size_t rows, const float *x, size_t k, unsigned rounds)
{
	double centroids[64], sum[64], error = 0;
	size_t count[64];

	for (size_t c = 0; c < k; c++)
		centroids[c] = (double)x[c];
	for (unsigned round = 0; round < rounds; round++) {
		error = 0;
		memset(sum, 0, sizeof sum);
		memset(count, 0, sizeof count);
		for (size_t i = 0; i < rows; i++) {
			size_t best = 0;

			for (size_t c = 1; c < k; c++)
				if (fabs((double)x[i] - centroids[c]) < fabs((double)x[i] - centroids[best]))
					best = c;
			error += ((double)x[i] - centroids[best]) * ((double)x[i] - centroids[best]);
			sum[best] += (double)x[i];
			count[best]++;
		}
		for (size_t c = 0; c < k; c++)
			if (count[c])
				centroids[c] = sum[c] / (double)count[c];
	}
	return error;
}

static void test_kmeans_is_as_good_as_many_plain_rounds(void **state)
{
	enum { ROWS = 8000, K = 64 };
	float *x = make_data(ROWS, 1, 9), centroids[K];
	double plain = lloyd(ROWS, x, K, 25);

	(void)state;
	assert_true(kmeans(ROWS, 1, x, ROWS, K, centroids) < 1.1 * plain);
	for (size_t i = 1; i < K;
	     i++) /* a start of equal rows: all but one centroid must find rows elsewhere */
		x[i] = x[0];
	assert_true(kmeans(ROWS, 1, x, ROWS, K, centroids) < 8 * plain);
	free(x);
}

static void test_kmeans_of_few_or_equal_rows(void **state)
{
	float x[64] = {3, 3, 3, 3, 3, 3, 3, 3, 3, 3}, centroids[16];

	(void)state;
	assert_true(kmeans(10, 1, x, 64, 16, centroids) == 0);
	for (size_t c = 0; c < 16; c++)
		assert_true(centroids[c] == 3);
	x[4] = -2; /* the second of two different rows gets a centroid, too */
	assert_true(kmeans(10, 1, x, 64, 2, centroids) < 1e-5);
	assert_true(fminf(centroids[0], centroids[1]) == -2 && fmaxf(centroids[0], centroids[1]) == 3);
	assert_true(kmeans(1, 1, x, 64, 16, centroids) == 0 && centroids[15] == 3);
}

/* ------------------------------------------------------------------ pq */

struct trained {
	float *codebook, *rotation;
	uint8_t *codes;
};

static struct trained train(const struct pq_shape *shape, size_t rows, const float *x,
			    const struct parallel *parallel, bool with_rotation)
{
	struct trained t = {lend(pq_codebook_floats(shape) * sizeof(float)),
			    lend((size_t)shape->dim * shape->dim * sizeof(float)),
			    lend(rows * pq_code_bytes(shape))};
	size_t bytes = with_rotation ? opq_train_scratch_bytes(shape, rows, parallel_workers(parallel))
				     : pq_train_scratch_bytes(shape, rows, parallel_workers(parallel));
	void *scratch = lend(bytes), *encoding = lend(pq_encode_scratch_bytes(shape)),
	     *product = lend(GEMM_SCRATCH_BYTES);
	float *memory = lend(pq_bound_floats(shape) * sizeof(float)),
	      *rotated = lend(rows * shape->dim * sizeof(float));
	struct pq pq;
	double error;

	memcpy(rotated, x, rows * shape->dim * sizeof *x);
	memset(t.rotation, 0, (size_t)shape->dim * shape->dim * sizeof(float));
	if (with_rotation) {
		assert_int_equal(
			opq_train(shape, rows, x, 1, parallel, t.rotation, t.codebook, &error, scratch), 0);
		opq_rotate(shape->dim, t.rotation, rows, x, rotated, product);
	} else {
		pq_train(shape, rows, x, 1, parallel, t.codebook, scratch);
	}
	pq_bind(&pq, shape, t.codebook, memory);
	pq_encode(&pq, rows, rotated, t.codes, encoding);
	free(scratch);
	free(encoding);
	free(product);
	free(memory);
	free(rotated);
	return t;
}

static void drop(struct trained t)
{
	free(t.codebook);
	free(t.rotation);
	free(t.codes);
}

static void same_everywhere(const struct pq_shape *shape, size_t rows, bool with_rotation)
{
	float *x = make_data(rows, shape->dim, 3);
	struct trained first = {0};

	for (enum level level = 0; level < LEVEL_COUNT; level++)
		for (int threads = 1; threads <= 2; threads++) {
			struct trained t;

			if (level_choose(level_name(level)) != 0)
				continue;
			t = train(shape, rows, x, threads == 2 ? &two : NULL, with_rotation);
			if (!first.codes) {
				first = t;
				continue;
			}
			assert_memory_equal(t.codebook, first.codebook,
					    pq_codebook_floats(shape) * sizeof(float));
			assert_memory_equal(t.rotation, first.rotation,
					    (size_t)shape->dim * shape->dim * sizeof(float));
			assert_memory_equal(t.codes, first.codes, rows * pq_code_bytes(shape));
			drop(t);
		}
	drop(first);
	free(x);
}

static void test_codebooks_and_codes_are_the_same_bytes_on_all_levels_and_threads(void **state)
{
	static const struct pq_shape shapes[] = {{24, 6, 4}, {24, 7, 4}, {13, 5, 8},
						 {13, 9, 8}, {1, 1, 8},  {9, 9, 4}};

	(void)state;
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		for (int with_rotation = 0; with_rotation < 2; with_rotation++)
			same_everywhere(&shapes[i], shapes[i].bits == 8 ? 700 : 2500, with_rotation);
}

/* Every code is the nearest centroid, and tables give the distance to what the code decodes to. */
static void check_codes(const struct pq_shape *shape, size_t rows, const float *x)
{
	struct trained t = train(shape, rows, x, NULL, false);
	float *memory = lend(pq_bound_floats(shape) * sizeof(float)),
	      *decoded = lend(rows * shape->dim * sizeof(float));
	float *tables = lend(shape->subs * pq_centroids(shape) * sizeof(float)),
	      *told = lend(rows * sizeof(float));
	struct pq pq;

	pq_bind(&pq, shape, t.codebook, memory);
	pq_decode(&pq, rows, t.codes, decoded);
	for (enum vs_metric metric = 0; metric < VS_METRIC_COUNT; metric++) {
		const float *query = x;

		pq_tables(&pq, metric, query, tables);
		pq_estimate(shape, tables, rows, t.codes, told);
		for (size_t i = 0; i < rows; i++) {
			double want = 0, size = 1;

			for (size_t d = 0; d < shape->dim; d++) {
				double q = (double)query[d], y = (double)decoded[i * shape->dim + d];

				want += metric == VS_IP ? -q * y
							: (q - y) * (q - y) / (metric == VS_COSINE ? 2 : 1);
				size += fabs(q * y);
			}
			assert_true(fabs((double)told[i] - want) < 1e-5 * size);
		}
	}
	drop(t);
	free(memory);
	free(decoded);
	free(tables);
	free(told);
}

static void test_tables_tell_distances_to_decoded_rows(void **state)
{
	static const struct pq_shape shapes[] = {{24, 6, 4}, {25, 7, 4}, {24, 8, 8}, {1, 1, 4}, {3, 3, 8}};

	(void)state;
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		float *x = make_data(500, shapes[i].dim, 4);

		check_codes(&shapes[i], 500, x);
		free(x);
	}
}

static double error_of(const struct pq_shape *shape, size_t rows, const float *x)
{
	struct trained t = train(shape, rows, x, NULL, false);
	float *memory = lend(pq_bound_floats(shape) * sizeof(float)),
	      *decoded = lend(rows * shape->dim * sizeof(float));
	struct pq pq;
	double error = 0;

	pq_bind(&pq, shape, t.codebook, memory);
	pq_decode(&pq, rows, t.codes, decoded);
	for (size_t i = 0; i < rows * shape->dim; i++)
		error += ((double)x[i] - (double)decoded[i]) * ((double)x[i] - (double)decoded[i]);
	drop(t);
	free(memory);
	free(decoded);
	return error / (double)rows;
}

static void test_rows_few_constant_zero_or_far_from_the_origin(void **state)
{
	struct pq_shape shape = {12, 3, 8};
	float *x = make_data(1000, 12, 6);
	double near_error = error_of(&shape, 1000, x), far_error;

	(void)state;
	assert_true(error_of(&shape, 1, x) < 1e-12); /* one row, and fewer than centroids: each is its own */
	assert_true(error_of(&shape, 200, x) < 1e-10);
	for (size_t i = 0; i < 1000 * 12; i++)
		x[i] += 1000;
	far_error =
		error_of(&shape, 1000, x); /* as good, but for how finely f32 tells numbers of this size */
	assert_true(far_error < near_error * 1.05 + 1e-6);
	for (size_t i = 0; i < 1000 * 12; i++)
		x[i] = 0.1f;
	assert_true(error_of(&shape, 1000, x) == 0);
	memset(x, 0, 1000 * 12 * sizeof *x);
	assert_true(error_of(&shape, 1000, x) == 0);
	free(x);
}

static void test_what_is_not_finite_changes_no_other_row(void **state)
{
	struct pq_shape shape = {8, 2, 8};
	float *x = make_data(300, 8, 7);
	struct trained t = train(&shape, 300, x, NULL, false);
	float *memory = lend(pq_bound_floats(&shape) * sizeof(float));
	uint8_t codes[300 * 2], first[2] = {0};
	void *scratch = lend(pq_encode_scratch_bytes(&shape));
	struct pq pq;

	(void)state;
	pq_bind(&pq, &shape, t.codebook, memory);
	x[70 * 8 + 1] = NAN;
	x[71 * 8 + 2] = INFINITY;
	x[71 * 8 + 3] = -INFINITY;
	for (enum level level = 0; level < LEVEL_COUNT; level++) {
		if (level_choose(level_name(level)) != 0)
			continue;
		pq_encode(&pq, 300, x, codes, scratch);
		assert_memory_equal(codes, t.codes, 70 * 2);
		assert_memory_equal(codes + 72 * 2, t.codes + 72 * 2, (300 - 72) * 2);
		if (level == LEVEL_SCALAR)
			memcpy(first, codes + 71 * 2, 2);
		assert_memory_equal(codes + 71 * 2, first, 2);
	}
	drop(t);
	free(x);
	free(memory);
	free(scratch);
}

/* ------------------------------------------------------------------ opq */

static void test_axes_are_dealt_out_evenly_whatever_the_scale(void **state)
{
	/* Variances below 1 have negative logarithms: dealt out by those, one sub-vector would get all large
	 * ones. */
	static const double scales[] = {1e-6, 1, 1e6};
	struct pq_shape shape = {12, 3, 8};
	uint32_t axes[12];
	char scratch[3 * 16] __attribute__((aligned(16)));

	(void)state;
	for (size_t t = 0; t < 3; t++) {
		double variances[12], sums[3] = {0};
		unsigned seen = 0;

		for (int i = 0; i < 12; i++)
			variances[i] = scales[t] * pow(0.5, i);
		opq_allocate(&shape, variances, axes, scratch);
		for (size_t place = 0; place < 12; place++) {
			sums[place / 4] += log2(variances[axes[place]] / variances[11]);
			seen |= 1u << axes[place];
		}
		assert_int_equal(seen, 0xfff);
		for (size_t m = 0; m < 3; m++) /* 66 in all */
			assert_true(fabs(sums[m] - 22) <= 2);
	}
}

static void test_axes_of_data_without_variance(void **state)
{
	struct pq_shape shape = {5, 2, 4};
	double variances[5] = {0};
	uint32_t axes[5], sum = 0;
	char scratch[2 * 16] __attribute__((aligned(16)));

	(void)state;
	opq_allocate(&shape, variances, axes, scratch);
	for (size_t i = 0; i < 5; i++)
		sum += 1u << axes[i];
	assert_int_equal(sum, 31);
	variances[0] = 1;
	variances[4] = -1e-20; /* rounding */
	opq_allocate(&shape, variances, axes, scratch);
	assert_int_equal(axes[0], 0);
}

static void test_rotation_keeps_lengths_and_comes_back(void **state)
{
	struct pq_shape shape = {30, 5, 4};
	float *x = make_data(600, 30, 8), *there = lend(600 * 30 * sizeof *there),
	      *back = lend(600 * 30 * sizeof *back);
	struct trained t = train(&shape, 600, x, NULL, true);
	void *scratch = lend(GEMM_SCRATCH_BYTES + 30 * 30 * sizeof(float));
	float query[30];

	(void)state;
	opq_rotate(30, t.rotation, 600, x, there, scratch);
	opq_rotate_back(30, t.rotation, 600, there, back, scratch);
	opq_rotate_query(30, t.rotation, x, query);
	for (size_t d = 0; d < 30; d++)
		assert_true(fabsf(query[d] - there[d]) < 1e-5f);
	opq_rotate(30, t.rotation, 1, x + 77 * 30, query, scratch); /* alone as among others */
	assert_memory_equal(query, there + 77 * 30, sizeof query);
	for (size_t i = 0; i < 600; i++) {
		double before = 0, after = 0;

		for (size_t d = i * 30; d < (i + 1) * 30; d++) {
			before += (double)x[d] * (double)x[d];
			after += (double)there[d] * (double)there[d];
			assert_true(fabsf(x[d] - back[d]) < 1e-5f);
		}
		assert_true(fabs(before - after) < 1e-5 * before);
	}
	drop(t);
	free(x);
	free(there);
	free(back);
	free(scratch);
}

static void test_opq_of_constant_data_and_of_one_row(void **state)
{
	struct pq_shape shape = {6, 2, 8};
	float x[300 * 6];

	(void)state;
	for (size_t i = 0; i < 300 * 6; i++)
		x[i] = 0.25f;
	drop(train(&shape, 300, x, NULL, true));
	drop(train(&shape, 1, x, NULL, true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nearest_is_the_first_of_the_least_scores),
		cmocka_unit_test(test_assignment_is_to_the_nearest_but_for_rounding),
		cmocka_unit_test(test_assignment_of_the_largest_integers),
		cmocka_unit_test(test_assignment_knows_which_centroids_it_cannot_tell_apart),
		cmocka_unit_test(test_assignment_is_to_the_first_of_equal_ones),
		cmocka_unit_test(test_assignment_of_what_is_not_finite_is_the_same_everywhere),
		cmocka_unit_test(test_kmeans_is_as_good_as_many_plain_rounds),
		cmocka_unit_test(test_kmeans_of_few_or_equal_rows),
		cmocka_unit_test(test_codebooks_and_codes_are_the_same_bytes_on_all_levels_and_threads),
		cmocka_unit_test(test_tables_tell_distances_to_decoded_rows),
		cmocka_unit_test(test_rows_few_constant_zero_or_far_from_the_origin),
		cmocka_unit_test(test_what_is_not_finite_changes_no_other_row),
		cmocka_unit_test(test_axes_are_dealt_out_evenly_whatever_the_scale),
		cmocka_unit_test(test_axes_of_data_without_variance),
		cmocka_unit_test(test_rotation_keeps_lengths_and_comes_back),
		cmocka_unit_test(test_opq_of_constant_data_and_of_one_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
