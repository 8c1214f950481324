/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lanes are rows, so nothing is ever added or compared across lanes. A tile is two vectors of rows against
 * four centroids at a time: eight sums, enough to hide the latency of a multiply-add, for six loads a dim.
 */
#include <math.h>

#include "quant/nearest.kernel.h"
#include "quant/simd.h"

#define ROW_VECTORS 2

struct best {
	vf score[ROW_VECTORS];
	vi code[ROW_VECTORS];
};

/* One vector of rows has scores for two candidates; the second one wins only if it is nearer. */
SIMD_INLINE void keep_nearer(vf *score, vi *code, vf other_score, vi other_code)
{
	vm nearer = vf_lt(other_score, *score);

	*score = vf_select(nearer, other_score, *score);
	*code = vi_select(nearer, other_code, *code);
}

SIMD_INLINE void try_one(size_t c, size_t dim, const float *x, size_t ld, size_t k, const float *centroids,
			 const float *half_norms, struct best *best)
{
	for (size_t v = 0; v < ROW_VECTORS; v++) {
		vf sum = vf_set1(half_norms[c]);

		for (size_t d = 0; d < dim; d++)
			sum = vf_fnma(vf_set1(centroids[d * k + c]), vf_load(x + d * ld + v * SIMD_F32), sum);
		keep_nearer(&best->score[v], &best->code[v], sum, vi_set1((int32_t)c));
	}
}

/* The four play a tournament before the winner meets the best so far: a chain of one comparison, not four. */
SIMD_INLINE void try_four(size_t first, size_t dim, const float *x, size_t ld, size_t k,
			  const float *centroids, const float *half_norms, struct best *best)
{
	vf sum[4][ROW_VECTORS];

#pragma GCC unroll 4
	for (size_t c = 0; c < 4; c++)
		sum[c][0] = sum[c][1] = vf_set1(half_norms[first + c]);
	centroids += first;
	for (size_t d = 0; d < dim; d++, x += ld, centroids += k) {
		vf x0 = vf_load(x), x1 = vf_load(x + SIMD_F32);

#pragma GCC unroll 4
		for (size_t c = 0; c < 4; c++) {
			vf y = vf_set1(centroids[c]);

			sum[c][0] = vf_fnma(y, x0, sum[c][0]);
			sum[c][1] = vf_fnma(y, x1, sum[c][1]);
		}
	}
#pragma GCC unroll 2
	for (size_t v = 0; v < ROW_VECTORS; v++) {
		int32_t c = (int32_t)first;
		vi code0 = vi_set1(c), code2 = vi_set1(c + 2);

		keep_nearer(&sum[0][v], &code0, sum[1][v], vi_set1(c + 1));
		keep_nearer(&sum[2][v], &code2, sum[3][v], vi_set1(c + 3));
		keep_nearer(&sum[0][v], &code0, sum[2][v], code2);
		keep_nearer(&best->score[v], &best->code[v], sum[0][v], code0);
	}
}

static void tile(size_t dim, const float *x, size_t ld, size_t k, const float *centroids,
		 const float *half_norms, int32_t *code, float *score)
{
	struct best best;
	size_t c = 0;

	for (size_t v = 0; v < ROW_VECTORS; v++) {
		best.score[v] = vf_set1(INFINITY);
		best.code[v] = vi_set1(0);
	}
	for (; c + 4 <= k; c += 4)
		try_four(c, dim, x, ld, k, centroids, half_norms, &best);
	for (; c < k; c++)
		try_one(c, dim, x, ld, k, centroids, half_norms, &best);
	for (size_t v = 0; v < ROW_VECTORS; v++) {
		vi_store(code + v * SIMD_F32, best.code[v]);
		vf_store(score + v * SIMD_F32, best.score[v]);
	}
}

const struct nearest_kernels KERNEL(nearest_kernels) = {
	.rows = ROW_VECTORS * SIMD_F32,
	.tile = tile,
};
