/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/gemm.kernel.h"
#include "quant/simd.h"

/* As many sums as registers hold beside two vectors of b: 24 of 32, 12 of 16. */
#if SIMD_F32 == 16
#define TILE_M 12
#elif SIMD_F32 == 8
#define TILE_M 6
#else
#define TILE_M 4
#endif
#define TILE_N (2 * SIMD_F32)

static void tile(size_t k, const float *a, const float *b, float *c, size_t ldc, bool is_first)
{
	vf sum[TILE_M][2];

	for (size_t i = 0; i < TILE_M; i++)
		for (size_t j = 0; j < 2; j++)
			sum[i][j] = is_first ? vf_set1(0) : vf_load(c + i * ldc + j * SIMD_F32);
	for (size_t p = 0; p < k; p++, a += TILE_M, b += TILE_N) {
		vf b0 = vf_load(b), b1 = vf_load(b + SIMD_F32);

#pragma GCC unroll 12
		for (size_t i = 0; i < TILE_M; i++) {
			vf ai = vf_set1(a[i]);

			sum[i][0] = vf_fma(ai, b0, sum[i][0]);
			sum[i][1] = vf_fma(ai, b1, sum[i][1]);
		}
	}
	for (size_t i = 0; i < TILE_M; i++)
		for (size_t j = 0; j < 2; j++)
			vf_store(c + i * ldc + j * SIMD_F32, sum[i][j]);
}

/* Four rows of four: two rounds of interleaving. Such vectors exist on every machine. */
static void transpose4(const float *in, size_t ld_in, float *out, size_t ld_out)
{
	typedef float f4 __attribute__((vector_size(16)));
	f4 r[4], t[4];

	for (size_t i = 0; i < 4; i++)
		memcpy(&r[i], in + i * ld_in, sizeof r[i]);
	t[0] = __builtin_shufflevector(r[0], r[2], 0, 4, 1, 5);
	t[1] = __builtin_shufflevector(r[0], r[2], 2, 6, 3, 7);
	t[2] = __builtin_shufflevector(r[1], r[3], 0, 4, 1, 5);
	t[3] = __builtin_shufflevector(r[1], r[3], 2, 6, 3, 7);
	r[0] = __builtin_shufflevector(t[0], t[2], 0, 4, 1, 5);
	r[1] = __builtin_shufflevector(t[0], t[2], 2, 6, 3, 7);
	r[2] = __builtin_shufflevector(t[1], t[3], 0, 4, 1, 5);
	r[3] = __builtin_shufflevector(t[1], t[3], 2, 6, 3, 7);
	for (size_t i = 0; i < 4; i++)
		memcpy(out + i * ld_out, &r[i], sizeof r[i]);
}

/* Whole lines of the cache on both sides. */
static void transpose16(const float *in, size_t ld_in, float *out, size_t ld_out)
{
	for (size_t j = 0; j < 16; j += 4)
		for (size_t i = 0; i < 16; i += 4)
			transpose4(in + i * ld_in + j, ld_in, out + j * ld_out + i, ld_out);
}

static void transpose_plainly(size_t rows, size_t columns, const float *in, size_t ld_in, float *out,
			      size_t ld_out)
{
	size_t rows4 = rows & ~(size_t)3, columns4 = columns & ~(size_t)3;

	for (size_t i = 0; i < rows4; i += 4)
		for (size_t j = 0; j < columns4; j += 4)
			transpose4(in + i * ld_in + j, ld_in, out + j * ld_out + i, ld_out);
	for (size_t i = 0; i < rows; i++)
		for (size_t j = i < rows4 ? columns4 : 0; j < columns; j++)
			out[j * ld_out + i] = in[i * ld_in + j];
}

static void transpose(size_t rows, size_t columns, const float *in, size_t ld_in, float *out, size_t ld_out)
{
	for (size_t i = 0; i < rows; i += 16)
		for (size_t j = 0; j < columns; j += 16) {
			const float *from = in + i * ld_in + j;
			float *to = out + j * ld_out + i;
			size_t m = rows - i < 16 ? rows - i : 16, n = columns - j < 16 ? columns - j : 16;

			if (m == 16 && n == 16)
				transpose16(from, ld_in, to, ld_out);
			else
				transpose_plainly(m, n, from, ld_in, to, ld_out);
		}
}

const struct gemm_kernels KERNEL(gemm_kernels) = {
	.tile_m = TILE_M,
	.tile_n = TILE_N,
	.tile = tile,
	.transpose = transpose,
};
