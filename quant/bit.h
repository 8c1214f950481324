/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bit - the sign of each component: 1 for what is above 0. The plainest code there is; rabitq of 1 bit is its
 * better.
 *
 * Codes are vectors of dtype bit (quant/dtype.h), row-major, the first component in the highest bit:
 * scan_exact() with VS_BIT and VS_L2 finds the nearest by Hamming distance. Of two random directions that
 * differ in a share h of their signs the angle is about pi h (Charikar, "Similarity estimation techniques
 * from rounding algorithms", 2002), from which bit_distance() estimates; lengths are not kept, vectors count
 * as of length 1.
 *
 * Codes are the same bytes on every level. Pure functions: callable from any thread, for different rows at
 * once, but for rows of one word of valid.
 */
#ifndef VECFS_QUANT_BIT_H
#define VECFS_QUANT_BIT_H

#include <stddef.h>
#include <stdint.h>

#include "quant/metric.h"

/* Encodes n vectors as rows first .. first + n - 1. A vector that is not finite (or whose length no f32
 * holds), and under cosine one of length 0: code 0, and its bit of valid (quant/block.h) is cleared; others
 * are set. Returns how many were cleared. */
size_t bit_encode(uint8_t *codes, uint64_t *valid, size_t first, enum vs_metric metric, const float *vectors,
		  size_t n, uint32_t dim);
/* Vectors of length 1: each component is +-1/sqrt(dim). */
void bit_decode(float *vectors, const uint8_t *codes, size_t first, size_t n, uint32_t dim);
/* What a Hamming distance says of the metric's: the more of the one, the more of the other. */
float bit_distance(enum vs_metric metric, float hamming, uint32_t dim);

#endif
