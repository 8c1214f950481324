/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "quant/hadamard.h"
#include "tests/unit/vectors.h"

static const uint32_t dims[] = {1, 63, 64, 65, 100, 192, 384, 512, 768, 1000, 1536};

static double dot(const float *a, const float *b, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)a[i] * (double)b[i];
	return sum;
}

static void check(uint32_t dim)
{
	float *x = random_vectors(1, 2, dim);
	uint32_t padded = hadamard_padded(dim);
	float *a = lines(padded * 4), *b = lines(padded * 4), *first = lines(padded * 4);
	void *memory = lines(hadamard_bytes(dim));
	double scale = sqrt(dot(x, x, dim) * dot(x + dim, x + dim, dim));
	struct hadamard h;

	hadamard_init(&h, dim, 42, memory);
	EACH_LEVEL(level)
	{
		memset(a, 0, padded * 4);
		memset(b, 0, padded * 4);
		memcpy(a, x, dim * 4);
		memcpy(b, x + dim, dim * 4);
		hadamard_rotate(&h, a);
		hadamard_rotate(&h, b);
		assert_true(fabs(dot(a, b, padded) - dot(x, x + dim, dim)) < 1e-5 * scale);
		assert_true(fabs(dot(a, a, padded) - dot(x, x, dim)) < 1e-5 * dot(x, x, dim));
		if (level == LEVEL_SCALAR)
			memcpy(first, a, padded * 4);
		assert_memory_equal(a, first, padded * 4);
		hadamard_rotate_back(&h, a);
		for (uint32_t i = 0; i < padded; i++)
			assert_true(fabsf(a[i] - (i < dim ? x[i] : 0)) < 1e-4f);
	}
	free(x);
	free(a);
	free(b);
	free(first);
	free(memory);
}

static void test_rotation_keeps_products_and_goes_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
		check(dims[i]);
}

/* One component alone is spread over all of them. */
static void test_nothing_stays_where_it_was(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
		uint32_t padded = hadamard_padded(dims[i]);
		float *x = lines(padded * 4);
		void *memory = lines(hadamard_bytes(dims[i]));
		struct hadamard h;

		hadamard_init(&h, dims[i], 7, memory);
		x[dims[i] - 1] = 1;
		hadamard_rotate(&h, x);
		for (uint32_t j = 0; j < padded; j++)
			assert_true(fabs((double)x[j]) < 8 / sqrt(padded));
		free(x);
		free(memory);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rotation_keeps_products_and_goes_back),
		cmocka_unit_test(test_nothing_stays_where_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
