/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemm - products of f32 matrices.
 *
 * Each number of the result is one chain of fused multiply-adds over k in ascending order, starting from +0:
 * the same bits on every level, however the matrices are cut up, and so for any number of threads that share
 * the rows of a or b. Packed panels and register tiles after Goto and van de Geijn, "Anatomy of
 * High-Performance Matrix Multiplication" (2008). NaN and infinities go where IEEE 754 sends them.
 *
 * Callable from any thread.
 */
#ifndef VECFS_QUANT_GEMM_H
#define VECFS_QUANT_GEMM_H

#include <stddef.h>

#define GEMM_SCRATCH_BYTES (512u << 10)

/*
 * c[i][j] = <a[i], b[j]>: a has m rows of k numbers, b has n rows of k, c becomes m rows of n; lda, ldb and
 * ldc are the distances between rows, in numbers. c overlaps neither a nor b. scratch: GEMM_SCRATCH_BYTES, at
 * 64 bytes.
 */
void gemm_nt(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b, size_t ldb, float *c,
	     size_t ldc, void *scratch);

/* Out of place: out[j][i] = in[i][j], in has rows x columns. The distances between rows are in numbers. */
void gemm_transpose(size_t rows, size_t columns, const float *in, size_t ld_in, float *out, size_t ld_out);

#endif
