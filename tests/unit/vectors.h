/* SPDX-License-Identifier: Apache-2.0 */
/* vectors - what tests of quant/ compute on: random and real vectors, and every level in turn. */
#ifndef VECFS_TESTS_UNIT_VECTORS_H
#define VECFS_TESTS_UNIT_VECTORS_H

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/level.h"
#include "quant/rng.h"

/* The levels this machine has, scalar first; the best one is in use afterwards. */
#define EACH_LEVEL(level)                                                                                    \
	for (enum level level = LEVEL_SCALAR; level < LEVEL_COUNT; level++)                                  \
		if (level_choose(level_name(level)) == 0)

/* Sums of four uniform numbers: near a Gaussian. The caller frees it. */
static inline float *random_vectors(uint64_t seed, size_t n, size_t dim)
{
	float *x = malloc(n * dim * sizeof *x);
	struct rng rng;

	assert(x);
	rng_seed(&rng, seed);
	for (size_t i = 0; i < n * dim; i++)
		x[i] = (float)(rng_unit(&rng) + rng_unit(&rng) + rng_unit(&rng) + rng_unit(&rng) - 2);
	return x;
}

#define GLOVE_ROWS 3000
#define GLOVE_DIM 100

static inline float *glove_vectors(void)
{
	size_t count = (size_t)GLOVE_ROWS * GLOVE_DIM;
	float *x = malloc(count * sizeof *x);
	FILE *file = fopen(TESTS_DATA "/glove-3k.f32", "rb");

	assert(x && file);
	if (fread(x, sizeof *x, count, file) != count)
		abort();
	fclose(file);
	return x;
}

/* Zeroed, aligned to a cache line. */
static inline void *lines(size_t bytes)
{
	size_t size = (bytes + 64) / 64 * 64;
	void *p = aligned_alloc(64, size);

	assert(p);
	return memset(p, 0, size);
}

#endif
