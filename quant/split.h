/* SPDX-License-Identifier: Apache-2.0 */
/*
 * split - a component of a query as two signed bytes, 128*high + low, for kernels that multiply bytes.
 * Fifteen bits keep the query's rounding below that of a code of 8 bits.
 */
#ifndef VECFS_QUANT_SPLIT_H
#define VECFS_QUANT_SPLIT_H

#include <math.h>
#include <stdint.h>

#define SPLIT_MAX 16319 /* 127*128 + 63 */

/* x/scale to the nearest that two bytes hold; 0 for scale 0. */
static inline int split_value(double x, double scale)
{
	return scale > 0 ? (int)fmin(fmax(rint(x / scale), -SPLIT_MAX), SPLIT_MAX) : 0;
}

static inline int8_t split_high(int value)
{
	return (int8_t)((value + 64 + 128 * 128) / 128 - 128); /* rounded down, of negative numbers, too */
}

static inline int8_t split_low(int value)
{
	return (int8_t)(value - 128 * split_high(value));
}

#endif
