/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/hadamard.h"

#include <assert.h>
#include <math.h>

#include "quant/hadamard.kernel.h"
#include "quant/rng.h"

uint32_t hadamard_padded(uint32_t dim)
{
	return (dim + 63) / 64 * 64;
}

size_t hadamard_bytes(uint32_t dim)
{
	return (size_t)hadamard_padded(dim) / 8 * HADAMARD_ROUNDS;
}

void hadamard_init(struct hadamard *h, uint32_t dim, uint64_t seed, void *memory)
{
	struct rng rng;

	assert(dim > 0);
	*h = (struct hadamard){.dim = dim, .padded = hadamard_padded(dim), .power = 64, .flips = memory};
	while (2 * h->power <= h->padded)
		h->power *= 2;
	rng_seed(&rng, seed);
	for (size_t i = 0; i < hadamard_bytes(dim) / sizeof(uint64_t); i++)
		h->flips[i] = rng_next(&rng);
}

/* The components that a round transforms: the first power of them, or the last. */
static float *transformed(const struct hadamard *h, float *x, unsigned round)
{
	return round % 2 ? x + (h->padded - h->power) : x;
}

static void transform(const struct hadamard_kernels *kernels, const struct hadamard *h, float *x,
		      unsigned round)
{
	float *part = transformed(h, x, round);

	kernels->transform(part, h->power);
	kernels->scale(part, (float)(1 / sqrt((double)h->power)), h->power);
}

/* The halves' sum and difference, over the root of 2; it is its own inverse. The halves are multiples of 32.
 */
static void mix(const struct hadamard_kernels *kernels, const struct hadamard *h, float *x)
{
	size_t half = h->padded / 2;

	if (h->power < h->padded)
		kernels->mix(x, x + half, (float)sqrt(0.5), half);
}

void hadamard_rotate(const struct hadamard *h, float *x)
{
	const struct hadamard_kernels *kernels = hadamard_kernels_get();

	for (unsigned round = 0; round < HADAMARD_ROUNDS; round++) {
		kernels->flip(x, h->flips + (size_t)round * (h->padded / 64), h->padded);
		transform(kernels, h, x, round);
		mix(kernels, h, x);
	}
}

void hadamard_rotate_back(const struct hadamard *h, float *x)
{
	const struct hadamard_kernels *kernels = hadamard_kernels_get();

	for (unsigned round = HADAMARD_ROUNDS; round-- > 0;) {
		mix(kernels, h, x);
		transform(kernels, h, x, round);
		kernels->flip(x, h->flips + (size_t)round * (h->padded / 64), h->padded);
	}
}
