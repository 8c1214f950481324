/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rng - a seeded generator of pseudo-random numbers, the same sequence on every machine: xoshiro256++, whose
 * state SplitMix64 makes from one 64-bit seed (Blackman and Vigna, "Scrambled linear pseudorandom number
 * generators", 2021). Not for secrets.
 *
 * A generator belongs to one thread at a time. Work that is split starts one for each part, from
 * rng_seed(seed + part) or the like, so that the number of threads changes nothing.
 */
#ifndef VECFS_QUANT_RNG_H
#define VECFS_QUANT_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
	uint64_t state[4];
};

void rng_seed(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);
/* Uniform in 0 .. limit - 1, without bias; limit > 0. */
uint64_t rng_below(struct rng *rng, uint64_t limit);
/* Uniform in [0, 1), a multiple of 2^-53. */
double rng_unit(struct rng *rng);
/* A row sample: min(count, n) different numbers below n, each set of them equally likely, ascending. Returns
 * how many were written to out. */
size_t rng_sample(struct rng *rng, uint64_t n, size_t count, uint64_t *out);

#endif
