/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "quant/convert.h"
#include "quant/distance.h"
#include "tests/unit/vectors.h"

#define ROWS 9

static const uint32_t dims[] = {1, 2, 3, 15, 16, 17, 31, 33, 64, 100, 257, 768};

/* The order of additions that quant/wide.h promises: lane i % 16, then a tree. */
static float laned_sum(enum vs_metric metric, const float *q, const float *x, uint32_t dim)
{
	float lanes[16] = {0};

	for (uint32_t i = 0; i < (dim + 15) / 16 * 16; i++) {
		float a = i < dim ? q[i] : 0, b = i < dim ? x[i] : 0;

		lanes[i % 16] =
			metric == VS_L2 ? fmaf(a - b, a - b, lanes[i % 16]) : fmaf(a, b, lanes[i % 16]);
	}
	for (int half = 8; half; half /= 2)
		for (int i = 0; i < half; i++)
			lanes[i] += lanes[i + half];
	return lanes[0];
}

static float specified(enum vs_metric metric, const float *q, const float *x, uint32_t dim)
{
	if (metric == VS_L2)
		return laned_sum(VS_L2, q, x, dim);
	if (metric == VS_IP)
		return -laned_sum(VS_IP, q, x, dim);
	return (float)(1 - (double)laned_sum(VS_IP, q, x, dim) / sqrt((double)laned_sum(VS_IP, q, q, dim) *
								      (double)laned_sum(VS_IP, x, x, dim)));
}

static double true_distance(enum vs_metric metric, const float *q, const float *x, uint32_t dim)
{
	double l2 = 0, dot = 0, qq = 0, xx = 0;

	for (uint32_t i = 0; i < dim; i++) {
		double a = (double)q[i], b = (double)x[i];

		l2 += (a - b) * (a - b);
		dot += a * b;
		qq += a * a;
		xx += b * b;
	}
	return metric == VS_L2 ? l2 : metric == VS_IP ? -dot : 1 - dot / sqrt(qq * xx);
}

/* Stored as dtype; x becomes what is stored. */
static void *stored(enum vs_dtype dtype, float *x, size_t n)
{
	void *rows = malloc(n * 4);

	if (dtype == VS_F16) {
		convert_f32_to_f16(rows, x, n);
		convert_f16_to_f32(x, rows, n);
	} else if (dtype == VS_BF16) {
		convert_f32_to_bf16(rows, x, n);
		convert_bf16_to_f32(x, rows, n);
	} else {
		memcpy(rows, x, n * 4);
	}
	return rows;
}

static void check_floats(enum vs_dtype dtype, enum vs_metric metric, uint32_t dim)
{
	float *q = random_vectors(1, 5, dim), *x = random_vectors(2, ROWS, dim), out[ROWS + 1],
	      batch[5 * ROWS];
	void *rows = stored(dtype, x, (size_t)ROWS * dim);
	size_t stride = vs_dtype_row_bytes(dtype, dim);

	EACH_LEVEL(level)
	{
		for (size_t n = 0; n <= ROWS; n++) {
			out[n] = 7;
			distance_rows(out, dtype, metric, q, rows, stride, n, dim);
			assert_true(out[n] == 7);
			for (size_t i = 0; i < n; i++) {
				float want = specified(metric, q, x + i * dim, dim);
				double scale = fabs(true_distance(VS_L2, q, x + i * dim, dim)) + 1 +
					       fabs(true_distance(VS_IP, q, x + i * dim, dim));

				assert_memory_equal(&out[i], &want, sizeof want);
				assert_true(fabs(true_distance(metric, q, x + i * dim, dim) - (double)want) <=
					    2 * 0x1p-23 * sqrt(dim) * scale);
			}
		}
		distance_batch(batch, dtype, metric, q, 5, rows, stride, ROWS, dim);
		for (size_t i = 0; i < 5; i++) {
			distance_rows(out, dtype, metric, q + i * dim, rows, stride, ROWS, dim);
			assert_memory_equal(batch + i * ROWS, out, ROWS * sizeof *out);
		}
	}
	free(q);
	free(x);
	free(rows);
}

static void test_floats_have_one_order_of_summation(void **state)
{
	(void)state;
	for (enum vs_dtype dtype = VS_F32; dtype <= VS_BF16; dtype++)
		for (enum vs_metric metric = VS_L2; metric < VS_METRIC_COUNT; metric++)
			for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
				check_floats(dtype, metric, dims[i]);
}

static void check_integers(enum vs_dtype dtype, enum vs_metric metric, uint32_t dim, const uint8_t *q,
			   const uint8_t *x)
{
	int64_t l2 = 0, dot = 0, qq = 0, xx = 0;
	float want, out, batch;

	for (uint32_t i = 0; i < dim; i++) {
		int a = dtype == VS_I8 ? (int8_t)q[i] : q[i], b = dtype == VS_I8 ? (int8_t)x[i] : x[i];

		l2 += (a - b) * (a - b);
		dot += a * b;
		qq += a * a;
		xx += b * b;
	}
	want = metric == VS_L2   ? (float)l2
	       : metric == VS_IP ? (float)-dot
				 : (float)(1 - (double)dot / sqrt((double)qq * (double)xx));
	EACH_LEVEL(level)
	{
		distance_rows(&out, dtype, metric, q, x, dim, 1, dim);
		distance_batch(&batch, dtype, metric, q, 1, x, dim, 1, dim);
		assert_true(out == want && batch == want);
	}
}

static void test_integers_are_exact_up_to_the_largest_dim(void **state)
{
	static uint8_t q[DISTANCE_DIM_MAX], x[DISTANCE_DIM_MAX];
	struct rng rng;

	(void)state;
	rng_seed(&rng, 3);
	for (enum vs_metric metric = VS_L2; metric < VS_METRIC_COUNT; metric++)
		for (enum vs_dtype dtype = VS_I8; dtype <= VS_U8; dtype++) {
			for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
				for (uint32_t j = 0; j < dims[i]; j++) {
					q[j] = (uint8_t)rng_next(&rng);
					x[j] = (uint8_t)rng_next(&rng);
				}
				q[0] = x[0] = 1;
				check_integers(dtype, metric, dims[i], q, x);
			}
			memset(q, dtype == VS_I8 ? 0x80 : 0xff, sizeof q);
			memset(x, dtype == VS_I8 ? 0x7f : 0x01, sizeof x);
			check_integers(dtype, metric, DISTANCE_DIM_MAX, q, x);
			check_integers(dtype, metric, DISTANCE_DIM_MAX, q, q);
		}
}

static void test_bits_are_counted(void **state)
{
	struct rng rng;

	(void)state;
	rng_seed(&rng, 4);
	for (uint32_t dim = 1; dim < 1200; dim += dim < 70 ? 1 : 97) {
		size_t bytes = (dim + 7) / 8;
		uint8_t q[160] = {0}, x[160] = {0};
		int differ = 0, both = 0, of_q = 0, of_x = 0;

		for (uint32_t i = 0; i < dim; i++) {
			int a = i == 0 || rng_below(&rng, 2), b = i == 0 || rng_below(&rng, 2);

			q[i / 8] |= (uint8_t)(a << (7 - i % 8));
			x[i / 8] |= (uint8_t)(b << (7 - i % 8));
			differ += a != b;
			both += a && b;
			of_q += a;
			of_x += b;
		}
		EACH_LEVEL(level)
		{
			float out[3];

			for (enum vs_metric metric = VS_L2; metric < VS_METRIC_COUNT; metric++)
				distance_rows(out + metric, VS_BIT, metric, q, x, bytes, 1, dim);
			assert_true(out[VS_L2] == (float)differ && out[VS_IP] == (float)-both);
			assert_true(out[VS_COSINE] == (float)(1 - both / sqrt((double)of_q * of_x)));
		}
	}
}

/* Lengths whose squares no f32 holds, or only as a subnormal; no length; no number. */
static void test_cosine_of_any_length(void **state)
{
	static const float lengths[] = {1e-40f, 1e-30f, 1e-22f, 1e-9f, 1, 1e18f, 1e25f, 3e37f};
	float q[20], x[20], out;

	(void)state;
	EACH_LEVEL(level)
	for (size_t a = 0; a < 8; a++)
		for (size_t b = 0; b < 8; b++) {
			for (int i = 0; i < 20; i++) {
				q[i] = lengths[a] * (float)(i % 3);
				x[i] = lengths[b] * (float)(i % 4);
			}
			distance_rows(&out, VS_F32, VS_COSINE, q, x, sizeof x, 1, 20);
			assert_true(fabs((double)out - true_distance(VS_COSINE, q, x, 20)) < 1e-6);
		}
	memset(x, 0, sizeof x);
	EACH_LEVEL(level)
	{
		distance_rows(&out, VS_F32, VS_COSINE, q, x, sizeof x, 1, 20);
		assert_true(isnan(out));
	}
	x[3] = NAN;
	for (enum vs_metric metric = VS_L2; metric < VS_METRIC_COUNT; metric++)
		EACH_LEVEL(level)
		{
			distance_rows(&out, VS_F32, metric, q, x, sizeof x, 1, 20);
			assert_true(isnan(out));
		}
}

static void test_normalise(void **state)
{
	float x[3] = {3e30f, 0, -4e30f}, out[3];

	(void)state;
	assert_int_equal(distance_normalise(out, x, 3), 0);
	assert_true(fabsf(out[0] - 0.6f) < 1e-6f && out[1] == 0 && fabsf(out[2] + 0.8f) < 1e-6f);
	x[1] = INFINITY;
	assert_int_not_equal(distance_normalise(out, x, 3), 0);
	assert_true(out[0] == 0 && out[1] == 0 && out[2] == 0);
	memset(x, 0, sizeof x);
	assert_int_not_equal(distance_normalise(x, x, 3), 0);
	x[0] = x[1] = 3e38f; /* the length is no f32 */
	assert_int_not_equal(distance_normalise(x, x, 3), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_floats_have_one_order_of_summation),
		cmocka_unit_test(test_integers_are_exact_up_to_the_largest_dim),
		cmocka_unit_test(test_bits_are_counted),
		cmocka_unit_test(test_cosine_of_any_length),
		cmocka_unit_test(test_normalise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
