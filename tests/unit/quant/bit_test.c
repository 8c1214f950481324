/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "quant/bit.h"
#include "quant/distance.h"
#include "tests/unit/vectors.h"

static void test_signs_on_every_level(void **state)
{
	(void)state;
	for (uint32_t dim = 1; dim < 200; dim += dim < 40 ? 1 : 53) {
		size_t bytes = (dim + 7) / 8;
		float *x = random_vectors(dim, 70, dim), *back = malloc(70 * dim * sizeof *back);
		uint8_t *codes = malloc(70 * bytes);
		uint64_t valid[2];

		x[0] = 0;
		EACH_LEVEL(level)
		{
			memset(codes, 0xee, 70 * bytes);
			assert_int_equal(bit_encode(codes, valid, 0, VS_L2, x, 70, dim), 0);
			assert_true(valid[0] == UINT64_MAX && (valid[1] & 63) == 63);
			for (size_t i = 0; i < 70; i++)
				for (uint32_t j = 0; j < bytes * 8; j++)
					assert_int_equal(codes[i * bytes + j / 8] >> (7 - j % 8) & 1,
							 j < dim && x[i * dim + j] > 0);
		}
		bit_decode(back, codes, 0, 70, dim);
		for (size_t i = 0; i < 70 * dim; i++)
			assert_true((back[i] > 0) == (x[i] > 0) &&
				    fabs(fabs((double)back[i]) - 1 / sqrt(dim)) < 1e-6);
		free(x);
		free(back);
		free(codes);
	}
}

static void test_what_has_no_code(void **state)
{
	float x[4][2] = {{1, 1}, {NAN, 1}, {0, 0}, {INFINITY, -1}};
	uint8_t codes[4];
	uint64_t valid = UINT64_MAX;

	(void)state;
	assert_int_equal(bit_encode(codes, &valid, 0, VS_COSINE, x[0], 4, 2), 3);
	assert_true((valid & 15) == 1 && codes[0] == 0xc0 && codes[1] == 0);
	assert_int_equal(bit_encode(codes, &valid, 0, VS_IP, x[0], 4, 2), 2);
	assert_true((valid & 15) == 5);
}

static void test_distances_follow_the_angle(void **state)
{
	(void)state;
	assert_true(fabsf(bit_distance(VS_COSINE, 0, 64)) < 1e-6f);
	assert_true(fabsf(bit_distance(VS_COSINE, 32, 64) - 1) < 1e-6f);
	assert_true(fabsf(bit_distance(VS_L2, 64, 64) - 4) < 1e-6f);
	assert_true(fabsf(bit_distance(VS_IP, 64, 64) - 1) < 1e-6f);
	for (enum vs_metric metric = VS_L2; metric < VS_METRIC_COUNT; metric++)
		for (uint32_t h = 1; h <= 64; h++)
			assert_true(bit_distance(metric, (float)h, 64) >
				    bit_distance(metric, (float)h - 1, 64));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signs_on_every_level),
		cmocka_unit_test(test_what_has_no_code),
		cmocka_unit_test(test_distances_follow_the_angle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
