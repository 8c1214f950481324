/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/convert.h"

#include "quant/convert.kernel.h"

void convert_f32_to_f16(uint16_t *out, const float *in, size_t n)
{
	convert_kernels_get()->f32_to_f16(out, in, n);
}

void convert_f16_to_f32(float *out, const uint16_t *in, size_t n)
{
	convert_kernels_get()->f16_to_f32(out, in, n);
}

void convert_f32_to_bf16(uint16_t *out, const float *in, size_t n)
{
	convert_kernels_get()->f32_to_bf16(out, in, n);
}

void convert_bf16_to_f32(float *out, const uint16_t *in, size_t n)
{
	convert_kernels_get()->bf16_to_f32(out, in, n);
}
