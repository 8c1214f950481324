/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/nearest.h"

#include <assert.h>

#include "quant/nearest.kernel.h"

void nearest(size_t rows, size_t dim, const float *x, size_t ld, size_t k, const float *centroids,
	     const float *half_norms, int32_t *code, float *score)
{
	const struct nearest_kernels *kernels = nearest_kernels_get();

	assert(NEAREST_GROUP % kernels->rows == 0 && k > 0 && k <= INT32_MAX);
	for (size_t i = 0; i < rows; i += kernels->rows)
		kernels->tile(dim, x + i, ld, k, centroids, half_norms, code + i, score + i);
}
