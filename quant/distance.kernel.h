/* SPDX-License-Identifier: Apache-2.0 */
/* distance's kernels; quant/distance.h says what they do. */
#ifndef VECFS_QUANT_DISTANCE_KERNEL_H
#define VECFS_QUANT_DISTANCE_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "quant/distance.h"
#include "quant/level.h"

typedef void distance_rows_fn(float *out, const void *query, const void *rows, size_t stride, size_t n,
			      uint32_t dim);
/* Queries are f32 and ldq numbers apart; out[q*ldo + i]. */
typedef void distance_batch_fn(float *out, size_t ldo, const float *queries, size_t ldq, size_t query_count,
			       const void *rows, size_t stride, size_t n, uint32_t dim);

struct distance_kernels {
	distance_rows_fn *rows[VS_DTYPE_COUNT][VS_METRIC_COUNT];
	distance_batch_fn *batch[VS_BF16 + 1][VS_METRIC_COUNT]; /* of f32, f16, bf16 */
	double (*norm2)(const float *x, uint32_t dim);
};

LEVEL_TABLES(distance_kernels)

#endif
