/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/kmeans.kernel.h"
#include "quant/simd.h"

static void approach(size_t dim, const float *x, size_t ld, const float *center, size_t center_ld, const float *near,
                     float *out)
{
	for (size_t i = 0; i < KMEANS_BLOCK; i += SIMD_F32) {
		vf sum = vf_set1(0), before = vf_load(near + i);

		for (size_t d = 0; d < dim; d++) {
			vf away = vf_load(x + d * ld + i) - vf_set1(center[d * center_ld]);

			sum = vf_fma(away, away, sum);
		}
		vf_store(out + i, vf_select(vf_lt(sum, before), sum, before));
	}
}

/* Eight sums of each eighth number, then in order: what vectors of any width can do alike. */
static double sum(const float *in)
{
	double part[8] = {0}, total = 0;

	for (size_t i = 0; i < KMEANS_BLOCK; i += 8)
		for (size_t j = 0; j < 8; j++)
			part[j] += (double)in[i + j];
	for (size_t j = 0; j < 8; j++)
		total += part[j];
	return total;
}

const struct kmeans_kernels KERNEL(kmeans_kernels) = {
	.approach = approach,
	.sum = sum,
};
