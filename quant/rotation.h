/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rotation - y = R (x - c) + R c for many vectors, R orthonormal, in integers of 16 bits: twice as fast as
 * gemm in f32, and as good for what is to be encoded.
 *
 * A vector less its centre c is scaled to the length 32,000 and rounded, and so are the rows of R, whose
 * length is
 * 1. Their products are then sums of integers that fit 32 bits, whatever the vector (Cauchy and Schwarz), and
 * exact: the same on every level and in any order. What rounding loses is about 3e-4 of |x - c|, spread over
 * all dims: a hundredth of what a code of a byte for eight dims loses, or less.
 *
 * No function here allocates; memory and scratch are lent at 64 bytes. Callable from any thread.
 */
#ifndef VECFS_QUANT_ROTATION_H
#define VECFS_QUANT_ROTATION_H

#include <stddef.h>
#include <stdint.h>

#define ROTATION_ROWS 192u /* that are multiplied together: blocks of so many waste nothing */

struct rotation {
	size_t dim;
	const float *centre;  /* [dim] */
	const float *rotated; /* [dim] R centre, filled up with zeros */
	const int32_t *pairs; /* [panels][dim / 2][ROTATION_PANEL]: two neighbours of a row of R each */
};

size_t rotation_bytes(size_t dim);
/* matrix[dim][dim] is R, rotated[dim] is R c; neither is needed any more afterwards. */
void rotation_bind(struct rotation *r, size_t dim, const float *matrix, const float *rotated, void *memory);

size_t rotation_scratch_bytes(size_t dim);
/* out[row][dim] of finite vectors x[row][dim]; the same bits whatever other rows are there. */
void rotation_apply(const struct rotation *r, size_t rows, const float *x, float *out, void *scratch);

#endif
