/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/eigen.h"
#include "quant/level.h"
#include "quant/rng.h"

struct result {
	double *values, *vectors;
};

static struct result solve(size_t dim, const double *matrix)
{
	struct result r = {malloc(dim * sizeof(double)), malloc(dim * dim * sizeof(double))};
	void *scratch = aligned_alloc(64, eigen_scratch_bytes(dim));

	assert_int_equal(eigen_symmetric(dim, matrix, r.values, r.vectors, NULL, scratch), 0);
	free(scratch);
	return r;
}

static void drop(struct result r)
{
	free(r.values);
	free(r.vectors);
}

static double dot(size_t dim, const double *a, const double *b)
{
	double sum = 0;

	for (size_t i = 0; i < dim; i++)
		sum += a[i] * b[i];
	return sum;
}

/* Vectors are orthonormal, matrix x vector = value x vector, values fall, and every level has the same bits.
 */
static void check(size_t dim, const double *matrix)
{
	double largest = 1e-300, *product = malloc(dim * sizeof *product);
	struct result first = {0};

	for (enum level level = 0; level < LEVEL_COUNT; level++) {
		struct result r;

		if (level_choose(level_name(level)) != 0)
			continue;
		r = solve(dim, matrix);
		if (first.values) {
			assert_memory_equal(r.values, first.values, dim * sizeof(double));
			assert_memory_equal(r.vectors, first.vectors, dim * dim * sizeof(double));
			drop(r);
		} else {
			first = r;
		}
	}
	for (size_t i = 0; i < dim; i++)
		largest = fmax(largest, fabs(first.values[i]));
	for (size_t i = 0; i < dim; i++) {
		const double *v = first.vectors + i * dim;

		assert_true(i == 0 || first.values[i - 1] >= first.values[i]);
		for (size_t j = 0; j <= i; j++)
			assert_true(fabs(dot(dim, v, first.vectors + j * dim) - (i == j)) <
				    1e-12 * (double)(dim + 10));
		for (size_t j = 0; j < dim; j++) {
			product[j] = dot(dim, matrix + j * dim, v) - first.values[i] * v[j];
			assert_true(fabs(product[j]) < 1e-13 * largest * (double)(dim + 10));
		}
	}
	drop(first);
	free(product);
}

static void test_random_matrices(void **state)
{
	static const size_t dims[] = {1, 2, 3, 7, 8, 9, 33, 100, 150};
	struct rng rng;

	(void)state;
	rng_seed(&rng, 5);
	for (size_t t = 0; t < sizeof dims / sizeof *dims; t++) {
		size_t dim = dims[t];
		double *a = malloc(dim * dim * sizeof *a);

		for (size_t i = 0; i < dim; i++)
			for (size_t j = 0; j <= i; j++)
				a[i * dim + j] = a[j * dim + i] = rng_unit(&rng) - 0.5;
		check(dim, a);
		free(a);
	}
}

static void test_matrices_that_are_diagonal_zero_of_low_rank_or_of_wide_range(void **state)
{
	enum { DIM = 40 };
	double a[DIM * DIM] = {0};

	(void)state;
	check(DIM, a);
	for (size_t i = 0; i < DIM; i++)
		a[i * DIM + i] = 1;
	check(DIM, a);
	for (size_t i = 0; i < DIM; i++)
		a[i * DIM + i] = pow(10, -(double)i);
	check(DIM, a);
	for (size_t i = 0; i < DIM; i++)
		for (size_t j = 0; j < DIM; j++)
			a[i * DIM + j] = (double)(i + 1) * (double)(j + 1) + (i % 3 == j % 3) * 1e-9;
	check(DIM, a);
	for (size_t i = 0; i < DIM * DIM; i++)
		a[i] *= 1e-150;
	check(DIM, a);
	for (size_t i = 0; i < DIM; i++) /* Wilkinson's: pairs of values that nearly agree */
		for (size_t j = 0; j < DIM; j++)
			a[i * DIM + j] = i == j ? fabs((double)i - 19.5) : i + 1 == j || j + 1 == i;
	check(DIM, a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_matrices),
		cmocka_unit_test(test_matrices_that_are_diagonal_zero_of_low_rank_or_of_wide_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
