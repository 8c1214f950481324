/* SPDX-License-Identifier: Apache-2.0 */
/*
 * digest - sets of rows as one number: equal wherever the rows are equal, in whatever order they stand. Each
 * row has a checksum of 128 bits (XXH3), and these are added up. That keeps chance away, not malice.
 *
 * The digest of a collection is made of ids and vectors. Its fingerprint is made of ids and of the checksums
 * of vectors that the engine has anyway (struct row's data_sum, 32 bits each), so that it takes no vector to
 * be read.
 */
#ifndef VECFS_STORE_BASE_DIGEST_H
#define VECFS_STORE_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/base/checksum.h"

struct digest {
	uint64_t rows;
	uint64_t low, high;
};

static inline void digest_sum(struct digest *d, uint64_t low, uint64_t high)
{
	d->low += low;
	d->high += high + (d->low < low);
}

/* Adds the rows of another set. */
static inline void digest_merge(struct digest *d, const struct digest *other)
{
	d->rows += other->rows;
	digest_sum(d, other->low, other->high);
}

static inline void digest_add(struct digest *d, const char *id, size_t len, const void *vector, size_t size)
{
	XXH128_hash_t h = XXH3_128bits_withSeed(vector, size, XXH3_64bits(id, len));

	d->rows++;
	digest_sum(d, h.low64, h.high64);
}

/* The same of a fingerprint. */
static inline void digest_add_sum(struct digest *d, const char *id, size_t len, uint32_t data_sum)
{
	XXH128_hash_t h = XXH3_128bits_withSeed(id, len, data_sum);

	d->rows++;
	digest_sum(d, h.low64, h.high64);
}

static inline bool digest_equal(const struct digest *a, const struct digest *b)
{
	return a->rows == b->rows && a->low == b->low && a->high == b->high;
}

#endif
