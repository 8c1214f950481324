/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lanes are rows, so nothing is ever added or compared across lanes. A tile is two vectors of rows against as
 * many centroids at a time as there are registers for their sums.
 */
#include <math.h>

#include "quant/assign.kernel.h"
#include "quant/simd.h"

#if SIMD_F32 == 16
#define TILE_CENTROIDS 8
#else
#define TILE_CENTROIDS 4
#endif
#define ROW_VECTORS 2
#define TILE_ROWS (ROW_VECTORS * SIMD_F32)

/* Adding it leaves the nearest integer in the low bits of a float's fraction. */
#define ROUNDER 12582912.0f

/* Component d of a vector of rows, less the origin. */
SIMD_INLINE vf away(const struct assign *a, const float *x, size_t ld, size_t d)
{
	return vf_load(x + d * ld) - vf_set1(a->origin[d]);
}

/* What the components of a vector of rows are multiplied by: 0 if they are not finite, or too long. */
SIMD_INLINE vf scale_of(const struct assign *a, const float *x, size_t ld)
{
	vf length2 = vf_set1(a->extra * a->extra);

	for (size_t d = 0; d < a->dim; d++) {
		vf xd = away(a, x, ld, d);

		length2 = vf_fma(xd, xd, length2);
	}
	return vf_select(vf_lt(length2, vf_set1(INFINITY)), vf_set1(ASSIGN_LENGTH) / vf_sqrt(length2),
			 vf_set1(0));
}

SIMD_INLINE vi round_one(vf x, vf scale)
{
	vf scaled = vf_select(vf_lt(vf_set1(0), scale), x * scale, vf_set1(0));

	return vi_times4(vi_from_bits(scaled + vf_set1(ROUNDER)));
}

static void round_tile(const struct assign *a, const float *x, size_t ld, int32_t *pairs)
{
	size_t last = assign_pairs(a->dim) - 1;

	for (size_t v = 0; v < ROW_VECTORS; v++, x += SIMD_F32, pairs += SIMD_F32) {
		vf scale = scale_of(a, x, ld);

		for (size_t p = 0; p < last; p++) {
			size_t d = 2 * p;
			vi low = round_one(away(a, x, ld, d), scale), high = vi_set1(0);

			if (d + 1 < a->dim)
				high = round_one(away(a, x, ld, d + 1), scale);
			vi_store(pairs + p * TILE_ROWS, vi_pair(low, high));
		}
		vi_store(pairs + last * TILE_ROWS, vi_pair(round_one(vf_set1(a->extra), scale), vi_set1(1)));
	}
}

/* The least scores of some centroids from `first` on, and those so far. */
SIMD_INLINE void try_some(const struct assign *a, const int32_t *x, size_t first, vi least[ROW_VECTORS])
{
	const int32_t *centroids = a->pairs + first;
	vi sum[TILE_CENTROIDS][ROW_VECTORS];

#pragma GCC unroll 8
	for (size_t c = 0; c < TILE_CENTROIDS; c++)
		sum[c][0] = sum[c][1] = vi_set1(0);
	for (size_t p = 0; p < assign_pairs(a->dim); p++, x += TILE_ROWS, centroids += a->k) {
		vi x0 = vi_load(x), x1 = vi_load(x + SIMD_F32);

#pragma GCC unroll 8
		for (size_t c = 0; c < TILE_CENTROIDS; c++) {
			vi y = vi_set1(centroids[c]);

			sum[c][0] = vi_dot_pairs(sum[c][0], y, x0);
			sum[c][1] = vi_dot_pairs(sum[c][1], y, x1);
		}
	}
#pragma GCC unroll 8
	for (size_t c = 0; c < TILE_CENTROIDS; c++)
		for (size_t v = 0; v < ROW_VECTORS; v++)
			least[v] = vi_min(least[v], sum[c][v]);
}

static void tile(const struct assign *a, const int32_t *pairs, int32_t *code)
{
	vi best[ROW_VECTORS], where[ROW_VECTORS];

	for (size_t v = 0; v < ROW_VECTORS; v++) {
		best[v] = vi_set1(INT32_MAX);
		where[v] = vi_set1(0);
	}
	for (size_t first = 0; first < a->k; first += ASSIGN_CENTROIDS) {
		vi least[ROW_VECTORS];

		for (size_t v = 0; v < ROW_VECTORS; v++)
			least[v] = vi_set1(INT32_MAX);
		for (size_t c = 0; c < ASSIGN_CENTROIDS; c += TILE_CENTROIDS)
			try_some(a, pairs, first + c, least);
		/* Of equal scores the earlier one stays: what tells the centroids apart is left out. */
		for (size_t v = 0; v < ROW_VECTORS; v++) {
			vm nearer = vi_lt(least[v], best[v] & ~vi_set1(ASSIGN_CENTROIDS - 1));

			best[v] = vi_select(nearer, least[v], best[v]);
			where[v] = vi_select(nearer, vi_set1((int32_t)first), where[v]);
		}
	}
	for (size_t v = 0; v < ROW_VECTORS; v++)
		vi_store(code + v * SIMD_F32, where[v] + (best[v] & vi_set1(ASSIGN_CENTROIDS - 1)));
}

const struct assign_kernels KERNEL(assign_kernels) = {
	.rows = TILE_ROWS,
	.round = round_tile,
	.tile = tile,
};
