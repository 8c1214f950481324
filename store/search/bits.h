/* SPDX-License-Identifier: Apache-2.0 */
/* bits - masks of rows: bit i is row i of a block. */
#ifndef VECFS_STORE_SEARCH_BITS_H
#define VECFS_STORE_SEARCH_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool bit_is_set(const uint64_t *mask, uint32_t i)
{
	return mask[i / 64] >> i % 64 & 1;
}

static inline void bit_set(uint64_t *mask, uint32_t i)
{
	mask[i / 64] |= UINT64_C(1) << i % 64;
}

static inline void bit_clear(uint64_t *mask, uint32_t i)
{
	mask[i / 64] &= ~(UINT64_C(1) << i % 64);
}

static inline size_t bit_words(uint32_t n)
{
	return (n + 63) / 64;
}

static inline uint32_t bit_count(const uint64_t *mask, uint32_t n)
{
	uint32_t count = 0;

	for (size_t i = 0; i < bit_words(n); i++)
		count += (uint32_t)__builtin_popcountll(mask[i]);
	return count;
}

/* The lowest set bit from i on, or n. */
static inline uint32_t bit_next(const uint64_t *mask, uint32_t i, uint32_t n)
{
	while (i < n) {
		uint64_t rest = mask[i / 64] >> i % 64;

		if (rest) {
			i += (uint32_t)__builtin_ctzll(rest);
			return i < n ? i : n;
		}
		i = (i / 64 + 1) * 64;
	}
	return n;
}

#endif
