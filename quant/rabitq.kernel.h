/* SPDX-License-Identifier: Apache-2.0 */
/* rabitq's kernels. padded is a multiple of 64. */
#ifndef VECFS_QUANT_RABITQ_KERNEL_H
#define VECFS_QUANT_RABITQ_KERNEL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "quant/block.h"
#include "quant/level.h"
#include "quant/rabitq.h"

/* A vector and its point of the grid. */
struct rabitq_fit {
	double dot;   /* sum |o_i| (m_i + 1/2) */
	double norm2; /* sum (m_i + 1/2)^2 */
};

/* The signs of 64 components of a row: eight bytes, a block's rows apart. */
static inline uint64_t rabitq_sign_word(const uint8_t *sign)
{
	uint64_t word = 0;

	for (int i = 0; i < 8; i++)
		word |= (uint64_t)sign[i * BLOCK_ROWS] << 8 * i;
	return word;
}

/* 64 components k, of which `bits` lower bits are at extra: the specification of that layout. */
static inline void rabitq_unpack(uint8_t *k, const uint8_t *sign, const uint8_t *extra, unsigned bits)
{
	uint64_t word = rabitq_sign_word(sign);
	unsigned place = 0;

	for (unsigned i = 0; i < 64; i++)
		k[i] = (uint8_t)((word >> i & 1) << bits);
	for (unsigned run = 4; run > 1; run /= 2) {
		unsigned bytes = 8 * run;

		if (!(bits & run))
			continue;
		for (unsigned i = 0; i < 64; i++)
			k[i] |= (uint8_t)((extra[i % bytes] >> i / bytes * run & ((1 << run) - 1)) << place);
		extra += bytes;
		place += run;
	}
	if (bits & 1) {
		memcpy(&word, extra, sizeof word);
		for (unsigned i = 0; i < 64; i++)
			k[i] |= (uint8_t)((word >> i & 1) << place);
	}
}

struct rabitq_kernels {
	/* out = x - mean, with zeros up to padded. Returns <out, mean>. */
	double (*centre)(float *out, const float *x, const float *mean, uint32_t dim, uint32_t padded);
	/* The signs, bit set for a component above 0, with the sums of squares and of magnitudes. */
	void (*signs)(uint8_t *bits, double *norm2, double *magnitude, const float *o, uint32_t padded);
	/* m_i = floor(t |o_i|), at most most. */
	struct rabitq_fit (*fit)(const float *o, uint32_t padded, float t, unsigned most);
	/* The lower bits, k_i less its first bit, a byte each: m_i, or most - m_i for a component not above
	 * 0. */
	void (*levels)(uint8_t *levels, const float *o, uint32_t padded, float t, unsigned most);
	/* The sums of k_i times both halves of a query. sign: the row's first byte in its block. */
	void (*products)(int32_t *high, int32_t *low, const struct rabitq_query *rqq, const uint8_t *sign,
			 const uint8_t *extra);
	/* Of a block: estimates by the sums of sign tables; the same less their error. */
	void (*estimates)(float *out, const struct rabitq_query *rqq, const float *sums,
			  const float *factors);
	void (*bounds)(float *out, const struct rabitq_query *rqq, const float *sums, const float *factors);
};

LEVEL_TABLES(rabitq_kernels)

#endif
