/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/pq.kernel.h"
#include "quant/simd.h"

static void l2_table(const struct pq_sub_query *sub, float scale, float *table)
{
	for (size_t c = 0; c < sub->k; c += SIMD_F32) {
		vf sum = vf_set1(0);

		for (size_t d = 0; d < sub->width; d++) {
			vf away = vf_set1(sub->query[d] - sub->origin[d]) -
				  vf_load(sub->columns + d * sub->k + c);

			sum = vf_fma(away, away, sum);
		}
		vf_store(table + c, sum * vf_set1(scale));
	}
}

static void ip_table(const struct pq_sub_query *sub, float *table)
{
	float at_origin = 0;

	for (size_t d = 0; d < sub->width; d++)
		at_origin = __builtin_fmaf(-sub->query[d], sub->origin[d], at_origin);
	for (size_t c = 0; c < sub->k; c += SIMD_F32) {
		vf sum = vf_set1(at_origin);

		for (size_t d = 0; d < sub->width; d++)
			sum = vf_fnma(vf_set1(sub->query[d]), vf_load(sub->columns + d * sub->k + c), sum);
		vf_store(table + c, sum);
	}
}

const struct pq_kernels KERNEL(pq_kernels) = {
	.l2_table = l2_table,
	.ip_table = ip_table,
};
