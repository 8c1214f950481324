/* SPDX-License-Identifier: Apache-2.0 */
/* sq8's kernels, and the products of bytes that rabitq shares. */
#ifndef VECFS_QUANT_SQ8_KERNEL_H
#define VECFS_QUANT_SQ8_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "quant/level.h"
#include "quant/sq8.h"

struct sq8_kernels {
	/* One vector of dim f32 to its code and factors. */
	void (*encode)(uint8_t *code, float factors[SQ8_FACTORS], const float *x, uint32_t dim);
	/* high[r] = sum of code * sq->high over the components of row r of n <= 64, and low[r] likewise. */
	void (*products)(int32_t *high, int32_t *low, const struct sq8_query *sq, const uint8_t *codes,
			 size_t n);
	/* The distance of each of a block's rows to the query, or what it is not below. */
	void (*distances)(float *out, const struct sq8_query *sq, const int32_t *high, const int32_t *low,
			  const float *factors);
	void (*bounds)(float *out, const struct sq8_query *sq, const int32_t *high, const int32_t *low,
		       const float *factors);
};

LEVEL_TABLES(sq8_kernels)

#endif
