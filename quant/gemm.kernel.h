/* SPDX-License-Identifier: Apache-2.0 */
/* gemm.kernel - the innermost loop of gemm, once a level. */
#ifndef VECFS_QUANT_GEMM_KERNEL_H
#define VECFS_QUANT_GEMM_KERNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "quant/level.h"

struct gemm_kernels {
	size_t tile_m, tile_n; /* the rows of a and of b in a tile of c */
	/* c[tile_m][tile_n] = or += a . b over k, of which a is packed as [k][tile_m], b as [k][tile_n]. */
	void (*tile)(size_t k, const float *a, const float *b, float *c, size_t ldc, bool is_first);
	void (*transpose)(size_t rows, size_t columns, const float *in, size_t ld_in, float *out,
			  size_t ld_out);
};

LEVEL_TABLES(gemm_kernels)

#endif
