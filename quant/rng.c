/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/rng.h"

#include <assert.h>

static uint64_t rotate_left(uint64_t x, int by)
{
	return x << by | x >> (64 - by);
}

static uint64_t splitmix_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

void rng_seed(struct rng *rng, uint64_t seed)
{
	for (int i = 0; i < 4; i++)
		rng->state[i] = splitmix_next(&seed);
}

uint64_t rng_next(struct rng *rng)
{
	uint64_t *s = rng->state, out = rotate_left(s[0] + s[3], 23) + s[0], t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate_left(s[3], 45);
	return out;
}

uint64_t rng_below(struct rng *rng, uint64_t limit)
{
	uint64_t uneven, x; /* the first `uneven` numbers would make some results likelier */

	assert(limit > 0);
	uneven = -limit % limit;
	do
		x = rng_next(rng);
	while (x < uneven);
	return x % limit;
}

double rng_unit(struct rng *rng)
{
	return (double)(rng_next(rng) >> 11) * 0x1p-53;
}

size_t rng_sample(struct rng *rng, uint64_t n, size_t count, uint64_t *out)
{
	size_t taken = 0;

	/* Of n - i rows that are left, count - taken are wanted (Knuth's algorithm S). */
	for (uint64_t i = 0; i < n && taken < count; i++)
		if (n - i <= count - taken || rng_below(rng, n - i) < count - taken)
			out[taken++] = i;
	return taken;
}
