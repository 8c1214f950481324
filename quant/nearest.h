/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nearest - which of k centroids a row is nearest to, and how near: the inner loop of k-means.
 *
 * The score of centroid c for row x is half_norm[c] - <x, c>, half of the squared distance less a part that
 * all centroids share: one chain of fused multiply-adds in the order of the dims, the same bits on every
 * level. Of equal scores the lower number wins. A score that is no number never wins: a row for which none
 * does gets centroid 0 and score +infinity.
 *
 * Rows lie side by side: x[d * ld + row]. So do centroids: centroids[d * k + c]. No alignment is asked for.
 * Callable from any thread.
 */
#ifndef VECFS_QUANT_NEAREST_H
#define VECFS_QUANT_NEAREST_H

#include <stddef.h>
#include <stdint.h>

/* Rows come in groups of this many: ld and the room of code and score are a multiple of it, what lies beyond
 * the rows must be readable and is computed for nothing. */
#define NEAREST_GROUP 32

/* code[row] and score[row] for the rows 0 .. rows - 1, rounded up to whole groups. k >= 1. */
void nearest(size_t rows, size_t dim, const float *x, size_t ld, size_t k, const float *centroids,
	     const float *half_norms, int32_t *code, float *score);

#endif
