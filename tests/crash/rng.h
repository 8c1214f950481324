/* SPDX-License-Identifier: Apache-2.0 */
/* rng - small seeded random numbers (splitmix64): the same seed gives the same run on every machine. */
#ifndef VECFS_TESTS_CRASH_RNG_H
#define VECFS_TESTS_CRASH_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
	uint64_t x = r->state += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* A stream of its own for each pair of numbers. */
static inline struct rng rng_of(uint64_t a, uint64_t b)
{
	struct rng r = {a};

	r.state = rng_next(&r) ^ b;
	r.state = rng_next(&r);
	return r;
}

/* 0..limit-1; limit must not be 0. */
static inline uint64_t rng_below(struct rng *r, uint64_t limit)
{
	return rng_next(r) % limit;
}

static inline bool rng_percent(struct rng *r, unsigned percent)
{
	return rng_below(r, 100) < percent;
}

static inline void rng_fill(struct rng *r, void *buf, size_t size)
{
	unsigned char *p = buf;

	for (size_t piece; size; size -= piece, p += piece) {
		uint64_t x = rng_next(r);

		piece = size < sizeof x ? size : sizeof x;
		memcpy(p, &x, piece);
	}
}

#endif
