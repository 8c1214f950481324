/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/gemm.h"
#include "quant/level.h"
#include "quant/rng.h"

static float *random_matrix(struct rng *rng, size_t n)
{
	float *x = malloc((n + 1) * sizeof *x);

	for (size_t i = 0; i < n; i++)
		x[i] = (float)(rng_unit(rng) - 0.5);
	return x;
}

static void reference(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b, size_t ldb,
		      float *c, size_t ldc)
{
	for (size_t i = 0; i < m; i++)
		for (size_t j = 0; j < n; j++) {
			float sum = 0;

			for (size_t p = 0; p < k; p++)
				sum = fmaf(a[i * lda + p], b[j * ldb + p], sum);
			c[i * ldc + j] = sum;
		}
}

/* On every level, the bits of the plain three loops; and nothing beside the result is written. */
static void check(struct rng *rng, size_t m, size_t n, size_t k)
{
	size_t lda = k + 3, ldb = k + 1, ldc = n + 5, bytes = m * ldc * sizeof(float);
	float *a = random_matrix(rng, m * lda), *b = random_matrix(rng, n * ldb);
	float *want = malloc(bytes + 4), *got = malloc(bytes + 4);
	void *scratch = aligned_alloc(64, GEMM_SCRATCH_BYTES);

	memset(want, 0x7f, bytes);
	reference(m, n, k, a, lda, b, ldb, want, ldc);
	for (enum level level = 0; level < LEVEL_COUNT; level++) {
		if (level_choose(level_name(level)) != 0)
			continue;
		memset(got, 0x7f, bytes);
		gemm_nt(m, n, k, a, lda, b, ldb, got, ldc, scratch);
		assert_memory_equal(got, want, bytes);
	}
	free(a);
	free(b);
	free(want);
	free(got);
	free(scratch);
}

static void test_product_is_the_same_bits_everywhere(void **state)
{
	static const size_t sizes[][3] = {{1, 1, 1},      {1, 70, 5},   {12, 32, 64},
					  {13, 33, 17},   {5, 3, 1000}, {300, 40, 20},
					  {250, 65, 400}, {3, 2, 0},    {0, 4, 4}};
	struct rng rng;

	(void)state;
	rng_seed(&rng, 3);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		check(&rng, sizes[i][0], sizes[i][1], sizes[i][2]);
}

static void test_transpose(void **state)
{
	struct rng rng;
	float *in, *out;

	(void)state;
	rng_seed(&rng, 4);
	in = random_matrix(&rng, 40 * 40);
	out = malloc(40 * 40 * sizeof *out);
	for (size_t rows = 1; rows < 20; rows++)
		for (size_t columns = 1; columns < 20; columns++) {
			gemm_transpose(rows, columns, in, 40, out, 33);
			for (size_t i = 0; i < rows; i++)
				for (size_t j = 0; j < columns; j++)
					assert_true(out[j * 33 + i] == in[i * 40 + j]);
		}
	free(in);
	free(out);
}

static void test_what_is_not_finite_stays_in_its_row_and_column(void **state)
{
	float a[3 * 2] = {1, 1, NAN, 1, INFINITY, 1}, b[2 * 2] = {1, 2, 3, 4}, c[3 * 2];
	void *scratch = aligned_alloc(64, GEMM_SCRATCH_BYTES);

	(void)state;
	gemm_nt(3, 2, 2, a, 2, b, 2, c, 2, scratch);
	assert_true(c[0] == 3 && c[1] == 7 && isnan(c[2]) && isnan(c[3]) && isinf(c[4]) && isinf(c[5]));
	free(scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_product_is_the_same_bits_everywhere),
		cmocka_unit_test(test_transpose),
		cmocka_unit_test(test_what_is_not_finite_stays_in_its_row_and_column),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
