/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/bit.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "quant/bit.kernel.h"
#include "quant/block.h"
#include "quant/distance.h"

size_t bit_encode(uint8_t *codes, uint64_t *valid, size_t first, enum vs_metric metric, const float *vectors,
		  size_t n, uint32_t dim)
{
	const size_t bytes = vs_dtype_row_bytes(VS_BIT, dim);
	size_t lost = 0;

	for (size_t row = first; row < first + n; row++, vectors += dim) {
		double norm = sqrt(distance_norm2(vectors, dim));
		bool is_valid = norm <= (double)FLT_MAX && (metric != VS_COSINE || norm > 0);

		if (is_valid) {
			bit_kernels_get()->encode(codes + row * bytes, vectors, dim);
		} else {
			memset(codes + row * bytes, 0, bytes);
			lost++;
		}
		block_set_valid(valid, row, is_valid);
	}
	return lost;
}

void bit_decode(float *vectors, const uint8_t *codes, size_t first, size_t n, uint32_t dim)
{
	const size_t bytes = vs_dtype_row_bytes(VS_BIT, dim);
	const float component = (float)(1 / sqrt((double)dim));

	for (size_t row = first; row < first + n; row++, vectors += dim)
		for (uint32_t i = 0; i < dim; i++)
			vectors[i] = codes[row * bytes + i / 8] >> (7 - i % 8) & 1 ? component : -component;
}

float bit_distance(enum vs_metric metric, float hamming, uint32_t dim)
{
	double cosine = cos(acos(-1) * (double)hamming / dim);

	if (metric == VS_IP)
		return (float)-cosine;
	return (float)((metric == VS_L2 ? 2 : 1) * (1 - cosine));
}
