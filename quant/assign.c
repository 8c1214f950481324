/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/assign.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/assign.kernel.h"

#define LONGEST_MIN 1e-17 /* below this all centroids are the origin; its square, and that of a, are f32 */

#define SAMPLES 16
/* Of components' roundings, each .29 on average, of both factors, as a part of the lengths' product. */
#define SCORE_ERROR (0.29 * 1.42 / (double)ASSIGN_LENGTH)

static double length2_of(const float *centroids, size_t dim, size_t k, size_t c)
{
	double length2 = 0;

	for (size_t d = 0; d < dim; d++)
		length2 += (double)centroids[d * k + c] * (double)centroids[d * k + c];
	return length2;
}

/* A component of a centroid, scaled. What is no number, or longer than the longest one was found to be, does
 * no harm: sums wrap around. */
static int16_t rounded(double x)
{
	const double length = (double)ASSIGN_LENGTH;

	return (int16_t)(4 * lrint(fmax(-length, fmin(length, x))));
}

/* The length of the longest centroid becomes the one it has in integers by `scale`. */
static void bind_centroid(const struct assign *a, double scale, const float *centroids, size_t c,
			  int32_t *pairs)
{
	size_t last = assign_pairs(a->dim) - 1;
	double half_norm = length2_of(centroids, a->dim, a->k, c) / 2;
	int16_t two[2] = {0, (int16_t)(c % ASSIGN_CENTROIDS)};

	if (a->extra > 0)
		two[0] = rounded(scale * half_norm / (double)a->extra);
	memcpy(pairs + last * a->k + c, two, sizeof two);
	for (size_t p = 0; p < last; p++) {
		two[0] = rounded(-scale * (double)centroids[2 * p * a->k + c]);
		two[1] = 2 * p + 1 < a->dim ? rounded(-scale * (double)centroids[(2 * p + 1) * a->k + c]) : 0;
		memcpy(pairs + p * a->k + c, two, sizeof two);
	}
}

/* Squared, from centroid c to the nearest of the others. */
static double distance2_to_next(const struct assign *a, const float *centroids, size_t c)
{
	double least = INFINITY;

	for (size_t other = 0; other < a->k; other++) {
		double distance2 = 0;

		for (size_t d = 0; d < a->dim; d++) {
			double away = (double)centroids[d * a->k + other] - (double)centroids[d * a->k + c];

			distance2 += away * away;
		}
		if (other != c)
			least = fmin(least, distance2);
	}
	return least;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/*
 * Two neighbours at the distance s change places for rows that are nearer than e/s to the middle, if e is the
 * error of a score, which adds some 12 (e/s²)² of itself to the squared error of a code: with s² 64 times e,
 * .003. The median of some centroids is asked, so that neither equal ones nor far ones count.
 */
static bool are_told_apart(const struct assign *a, const float *centroids, double longest)
{
	double next2[SAMPLES], length2 = 0, error;

	for (size_t i = 0; i < SAMPLES; i++) {
		size_t c = i * a->k / SAMPLES;

		next2[i] = distance2_to_next(a, centroids, c);
		length2 += length2_of(centroids, a->dim, a->k, c) / SAMPLES;
	}
	qsort(next2, SAMPLES, sizeof *next2, by_size);
	error = SCORE_ERROR * sqrt(length2 + longest * longest / 4) * longest * sqrt(2);
	return next2[SAMPLES / 2] >= 64 * error;
}

void assign_bind(struct assign *a, size_t dim, size_t k, const float *origin, const float *centroids,
		 int32_t *pairs)
{
	double longest2 = 0, longest, scale;

	assert(k % ASSIGN_CENTROIDS == 0);
	for (size_t c = 0; c < k; c++)
		longest2 = fmax(longest2, length2_of(centroids, dim, k, c));
	longest = sqrt(longest2);
	*a = (struct assign){
		.dim = dim, .k = k, .origin = origin, .extra = (float)(longest / 2), .pairs = pairs};
	/* What is added to the longest one, half of its squared length over a, is as long as it is. */
	a->tells_apart = are_told_apart(a, centroids, longest);
	scale = (double)ASSIGN_LENGTH / (longest * sqrt(2));
	if (!(longest >= LONGEST_MIN && isfinite(a->extra)))
		a->extra = 0, scale = 0; /* one is as good as the other */
	for (size_t c = 0; c < k; c++)
		bind_centroid(a, scale, centroids, c, pairs);
}

void assign(const struct assign *a, size_t rows, const float *x, size_t ld, int32_t *code, void *scratch)
{
	const struct assign_kernels *kernels = assign_kernels_get();
	int32_t *pairs = scratch;

	assert(ASSIGN_GROUP % kernels->rows == 0);
	for (size_t i = 0; i < rows; i += kernels->rows) {
		kernels->round(a, x + i, ld, pairs);
		kernels->tile(a, pairs, code + i);
	}
}
