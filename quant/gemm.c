/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/gemm.h"

#include <assert.h>
#include <string.h>

#include "quant/gemm.kernel.h"

#define BLOCK_M 240 /* rows of a that stay packed, a multiple of every tile_m: with BLOCK_K half of L2 */
#define BLOCK_K 384
#define TILE_M_MAX 12
#define TILE_N_MAX 32

struct gemm_scratch {
	float a[BLOCK_M * BLOCK_K];
	float b[TILE_N_MAX * BLOCK_K];
	float edge[TILE_M_MAX * TILE_N_MAX];
};
static_assert(sizeof(struct gemm_scratch) <= GEMM_SCRATCH_BYTES, "what callers give is enough");

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* rows x k of in as tiles of [k][tile] each, the last one filled up with zeros. */
static void pack(const struct gemm_kernels *kernels, size_t tile, size_t rows, size_t k, const float *in,
		 size_t ld, float *out)
{
	for (size_t i = 0; i < rows; i += tile, out += tile * k) {
		if (rows - i < tile)
			memset(out, 0, tile * k * sizeof *out);
		kernels->transpose(least(tile, rows - i), k, in + i * ld, ld, out, tile);
	}
}

/* A tile at the edge of c is computed whole, and only the part that exists is copied. */
static void edge_tile(const struct gemm_kernels *kernels, size_t m, size_t n, size_t k, const float *a,
		      const float *b, float *c, size_t ldc, bool is_first, float *edge)
{
	const size_t ld = TILE_N_MAX;

	memset(edge, 0, TILE_M_MAX * TILE_N_MAX * sizeof *edge);
	for (size_t i = 0; !is_first && i < m; i++)
		memcpy(edge + i * ld, c + i * ldc, n * sizeof *c);
	kernels->tile(k, a, b, edge, ld, is_first);
	for (size_t i = 0; i < m; i++)
		memcpy(c + i * ldc, edge + i * ld, n * sizeof *c);
}

/* One panel of b against all packed rows of a. */
static void panel(const struct gemm_kernels *kernels, size_t m, size_t n, size_t k, float *c, size_t ldc,
		  bool is_first, struct gemm_scratch *scratch)
{
	const float *a = scratch->a;

	for (size_t i = 0; i < m; i += kernels->tile_m, a += kernels->tile_m * k)
		if (n == kernels->tile_n && m - i >= kernels->tile_m)
			kernels->tile(k, a, scratch->b, c + i * ldc, ldc, is_first);
		else
			edge_tile(kernels, least(kernels->tile_m, m - i), n, k, a, scratch->b, c + i * ldc,
				  ldc, is_first, scratch->edge);
}

static void clear(size_t m, size_t n, float *c, size_t ldc)
{
	for (size_t i = 0; i < m; i++)
		memset(c + i * ldc, 0, n * sizeof *c);
}

void gemm_nt(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b, size_t ldb, float *c,
	     size_t ldc, void *scratch_bytes)
{
	const struct gemm_kernels *kernels = gemm_kernels_get();
	struct gemm_scratch *scratch = scratch_bytes;

	assert(kernels->tile_m <= TILE_M_MAX && kernels->tile_n <= TILE_N_MAX &&
	       BLOCK_M % kernels->tile_m == 0);
	if (!k)
		clear(m, n, c, ldc);
	for (size_t i = 0; i < m; i += BLOCK_M)
		for (size_t p = 0; p < k; p += BLOCK_K) {
			size_t rows = least(BLOCK_M, m - i), depth = least(BLOCK_K, k - p);

			pack(kernels, kernels->tile_m, rows, depth, a + i * lda + p, lda, scratch->a);
			for (size_t j = 0; j < n; j += kernels->tile_n) {
				size_t columns = least(kernels->tile_n, n - j);

				pack(kernels, kernels->tile_n, columns, depth, b + j * ldb + p, ldb,
				     scratch->b);
				panel(kernels, rows, columns, depth, c + i * ldc + j, ldc, p == 0, scratch);
			}
		}
}

void gemm_transpose(size_t rows, size_t columns, const float *in, size_t ld_in, float *out, size_t ld_out)
{
	gemm_kernels_get()->transpose(rows, columns, in, ld_in, out, ld_out);
}
