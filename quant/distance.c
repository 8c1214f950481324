/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/distance.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/distance.kernel.h"

/* Rows that a batch takes at a time where it has no kernel of its own: they stay in the cache for all
 * queries. */
#define BATCH_ROWS 64

void distance_rows(float *out, enum vs_dtype dtype, enum vs_metric metric, const void *query,
		   const void *rows, size_t stride, size_t n, uint32_t dim)
{
	assert(dim > 0 && dim <= DISTANCE_DIM_MAX);
	distance_kernels_get()->rows[dtype][metric](out, query, rows, stride, n, dim);
}

void distance_batch(float *out, enum vs_dtype dtype, enum vs_metric metric, const void *queries,
		    size_t query_count, const void *rows, size_t stride, size_t n, uint32_t dim)
{
	const struct distance_kernels *kernels = distance_kernels_get();
	size_t query_bytes = vs_dtype_row_bytes(dtype, dim);

	assert(dim > 0 && dim <= DISTANCE_DIM_MAX);
	if (query_count == 1) {
		/* Nothing of a row is used twice: as it comes from memory. */
		kernels->rows[dtype][metric](out, queries, rows, stride, n, dim);
		return;
	}
	if (dtype == VS_F32 || dtype == VS_F16 || dtype == VS_BF16) {
		kernels->batch[dtype][metric](out, n, queries, dim, query_count, rows, stride, n, dim);
		return;
	}
	for (size_t i = 0; i < n; i += BATCH_ROWS)
		for (size_t q = 0; q < query_count; q++)
			kernels->rows[dtype][metric](out + q * n + i, (const char *)queries + q * query_bytes,
						     (const char *)rows + i * stride, stride,
						     n - i < BATCH_ROWS ? n - i : BATCH_ROWS, dim);
}

double distance_norm2(const float *x, uint32_t dim)
{
	return distance_kernels_get()->norm2(x, dim);
}

int distance_normalise(float *out, const float *x, uint32_t dim)
{
	double norm = sqrt(distance_norm2(x, dim));
	double scale = 1 / norm;

	if (!(norm > 0 && norm <= (double)FLT_MAX)) {
		memset(out, 0, dim * sizeof *out);
		return -EINVAL;
	}
	for (uint32_t i = 0; i < dim; i++)
		out[i] = (float)((double)x[i] * scale);
	return 0;
}
