/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/rotation.kernel.h"
#include "quant/wide.h"

/* As many sums as registers hold beside the vectors of r: 24 of 32, 12 of 16. */
#if SIMD_F32 == 16
#define TILE_ROWS 12
#elif SIMD_F32 == 8
#define TILE_ROWS 6
#else
#define TILE_ROWS 4
#endif
#define TILE_LANES (2 * SIMD_F32) /* of a panel at a time */

static void half_tile(const struct rotation_tile *t, size_t lane, float *out, size_t ld)
{
	const int32_t *r = t->r + lane;
	const int16_t *x = t->x;
	const size_t pairs = t->pairs;
	vi sum[TILE_ROWS][2];

	for (size_t i = 0; i < TILE_ROWS; i++)
		sum[i][0] = sum[i][1] = vi_set1(0);
	for (size_t p = 0; p < pairs; p++, r += ROTATION_PANEL) {
		vi r0 = vi_load(r), r1 = vi_load(r + SIMD_F32);

#pragma GCC unroll 12
		for (size_t i = 0; i < TILE_ROWS; i++) {
			int32_t pair;
			vi xi;

			memcpy(&pair, x + 2 * (i * pairs + p), sizeof pair);
			xi = vi_set1(pair);
			sum[i][0] = vi_dot_pairs(sum[i][0], xi, r0);
			sum[i][1] = vi_dot_pairs(sum[i][1], xi, r1);
		}
	}
	for (size_t i = 0; i < TILE_ROWS; i++)
		for (size_t j = 0; j < 2; j++)
			vf_store(out + i * ld + lane + j * SIMD_F32,
				 vf_fma(vf_from_vi(sum[i][j]), vf_set1(t->factors[i]),
					vf_load(t->added + lane + j * SIMD_F32)));
}

static void tile(const struct rotation_tile *t, float *out, size_t ld)
{
	for (size_t lane = 0; lane < ROTATION_PANEL; lane += TILE_LANES)
		half_tile(t, lane, out, ld);
}

static void round_all(size_t n, const float *x, float scale, int16_t *out)
{
	size_t i = 0;

	for (; i + WIDE <= n; i += WIDE)
		wide_store_i16(out + i, wide_round(wide_mul(wide_load(x + i), wide_set1(scale))));
	for (; i < n; i += WIDE) {
		int16_t rest[WIDE];

		wide_store_i16(rest, wide_round(wide_mul(wide_load_part(x + i, n - i), wide_set1(scale))));
		memcpy(out + i, rest, (n - i) * sizeof *out);
	}
}

static void subtract(size_t n, const float *x, const float *y, float *out)
{
	size_t i = 0;

	for (; i + WIDE <= n; i += WIDE)
		wide_store(out + i, wide_sub(wide_load(x + i), wide_load(y + i)));
	for (; i < n; i++)
		out[i] = x[i] - y[i];
}

const struct rotation_kernels KERNEL(rotation_kernels) = {
	.tile_rows = TILE_ROWS,
	.tile = tile,
	.subtract = subtract,
	.round = round_all,
};
