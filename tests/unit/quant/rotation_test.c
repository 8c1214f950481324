/* SPDX-License-Identifier: Apache-2.0 */
/* rotation: against sums in f64, and the same bits on every level, alone and among others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/level.h"
#include "quant/rng.h"
#include "quant/rotation.h"
#include "quant/scratch.h"

#define ROWS 211 /* neither whole blocks nor whole tiles */

struct scene {
	size_t dim;
	float *matrix, *rotated, *x, *out;
	void *memory, *scratch;
	struct rotation r;
};

static double gauss(struct rng *rng)
{
	double sum = 0;

	for (int i = 0; i < 12; i++)
		sum += (double)rng_below(rng, 1u << 30) / (1u << 30);
	return sum - 6;
}

/* Rows of a matrix that are at right angles and of length 1. */
static void make_orthonormal(struct rng *rng, size_t dim, float *matrix)
{
	double *rows = malloc(dim * dim * sizeof *rows);

	for (size_t i = 0; i < dim; i++) {
		double *row = rows + i * dim, norm2 = 0;

		for (size_t d = 0; d < dim; d++)
			row[d] = gauss(rng);
		for (size_t j = 0; j < i; j++) {
			double dot = 0;

			for (size_t d = 0; d < dim; d++)
				dot += row[d] * rows[j * dim + d];
			for (size_t d = 0; d < dim; d++)
				row[d] -= dot * rows[j * dim + d];
		}
		for (size_t d = 0; d < dim; d++)
			norm2 += row[d] * row[d];
		for (size_t d = 0; d < dim; d++)
			matrix[i * dim + d] = (float)(row[d] /= sqrt(norm2));
	}
	free(rows);
}

/* Vectors that lie offset from the origin, around the centre that they are told from. */
static struct scene scene_new(size_t dim, double offset)
{
	struct scene s = {.dim = dim};
	struct rng rng;
	double *centre = malloc(dim * sizeof *centre);

	rng_seed(&rng, dim);
	s.matrix = malloc(dim * dim * sizeof *s.matrix);
	s.rotated = malloc(dim * sizeof *s.rotated);
	s.x = malloc(ROWS * dim * sizeof *s.x);
	s.out = malloc(ROWS * dim * sizeof *s.out);
	s.memory = scratch_alloc(rotation_bytes(dim));
	s.scratch = scratch_alloc(rotation_scratch_bytes(dim));
	make_orthonormal(&rng, dim, s.matrix);
	for (size_t d = 0; d < dim; d++)
		centre[d] = offset * gauss(&rng);
	for (size_t i = 0; i < dim; i++) {
		double sum = 0;

		for (size_t d = 0; d < dim; d++)
			sum += (double)s.matrix[i * dim + d] * centre[d];
		s.rotated[i] = (float)sum;
	}
	for (size_t i = 0; i < ROWS; i++)
		for (size_t d = 0; d < dim; d++)
			s.x[i * dim + d] = (float)(centre[d] + gauss(&rng) * (d ? 1 : 30));
	rotation_bind(&s.r, dim, s.matrix, s.rotated, s.memory);
	free(centre);
	return s;
}

static void scene_free(struct scene *s)
{
	free(s->matrix);
	free(s->rotated);
	free(s->x);
	free(s->out);
	scratch_free(s->memory);
	scratch_free(s->scratch);
}

/* The error of a row, as a part of its distance from the centre. */
static double error_of(const struct scene *s, size_t row)
{
	double error = 0, length = 0;

	for (size_t i = 0; i < s->dim; i++) {
		double want = 0, away = (double)s->x[row * s->dim + i] - (double)s->r.centre[i];

		for (size_t d = 0; d < s->dim; d++)
			want += (double)s->matrix[i * s->dim + d] * (double)s->x[row * s->dim + d];
		error += pow(want - (double)s->out[row * s->dim + i], 2);
		length += away * away;
	}
	return sqrt(error / length);
}

static void test_products_are_those_of_real_numbers(void **state)
{
	static const size_t dims[] = {1, 2, 31, 32, 33, 100, 384};

	(void)state;
	for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
		for (int offset = 0; offset < 200; offset += 100) {
			struct scene s = scene_new(dims[i], offset);

			rotation_apply(&s.r, ROWS, s.x, s.out, s.scratch);
			for (size_t row = 0; row < ROWS; row += 15)
				assert_true(error_of(&s, row) < 5e-4);
			scene_free(&s);
		}
}

static void test_bits_are_the_same_on_every_level_and_alone(void **state)
{
	struct scene s = scene_new(101, 3);
	float *alone = malloc(s.dim * sizeof *alone), *first = malloc(ROWS * s.dim * sizeof *first);

	(void)state;
	for (enum level level = 0; level < LEVEL_COUNT; level++) {
		if (!level_is_supported(level))
			continue;
		assert_int_equal(level_choose(level_name(level)), 0);
		rotation_bind(&s.r, s.dim, s.matrix, s.rotated, s.memory);
		rotation_apply(&s.r, ROWS, s.x, s.out, s.scratch);
		if (level == 0)
			memcpy(first, s.out, ROWS * s.dim * sizeof *first);
		assert_memory_equal(s.out, first, ROWS * s.dim * sizeof *first);
		for (size_t row = 0; row < ROWS; row += 7) {
			rotation_apply(&s.r, 1, s.x + row * s.dim, alone, s.scratch);
			assert_memory_equal(alone, s.out + row * s.dim, s.dim * sizeof *alone);
		}
	}
	assert_int_equal(level_choose(NULL), 0);
	free(alone);
	free(first);
	scene_free(&s);
}

static void test_extremes_are_finite(void **state)
{
	static const float sizes[] = {0, 1e-44f, 1e-35f, 1e-20f, 1e18f, 1e36f};
	struct scene s = scene_new(64, 0);

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		for (size_t d = 0; d < s.dim; d++)
			s.x[d] = d == i ? sizes[i] : 0; /* all the length in one dim: the largest integers */
		rotation_apply(&s.r, 1, s.x, s.out, s.scratch);
		for (size_t d = 0; d < s.dim; d++) {
			double want = (double)s.matrix[d * s.dim + i] * (double)sizes[i];

			assert_true(fabs((double)s.out[d] - want) <= 5e-4 * (double)sizes[i] + 1e-30);
		}
	}
	/* A matrix that is none does no harm. */
	for (size_t i = 0; i < s.dim * s.dim; i++)
		s.matrix[i] = i % 3 ? 1e30f : NAN;
	rotation_bind(&s.r, s.dim, s.matrix, s.rotated, s.memory);
	rotation_apply(&s.r, ROWS, s.x, s.out, s.scratch);
	scene_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_products_are_those_of_real_numbers),
		cmocka_unit_test(test_bits_are_the_same_on_every_level_and_alone),
		cmocka_unit_test(test_extremes_are_finite),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
