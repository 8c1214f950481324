/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/convert.h"

#include <string.h>

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

void convert_vector_to_f32(float *out, enum vs_dtype dtype, const void *in, uint32_t dim)
{
	const uint8_t *bytes = in;

	switch (dtype) {
	case VS_F16:
		convert_f16_to_f32(out, in, dim);
		return;
	case VS_BF16:
		convert_bf16_to_f32(out, in, dim);
		return;
	case VS_I8:
		for (uint32_t i = 0; i < dim; i++)
			out[i] = (float)(int8_t)bytes[i];
		return;
	case VS_U8:
		for (uint32_t i = 0; i < dim; i++)
			out[i] = (float)bytes[i];
		return;
	case VS_BIT:
		for (uint32_t i = 0; i < dim; i++)
			out[i] = (float)(bytes[i / 8] >> (7 - i % 8) & 1);
		return;
	default:
		memcpy(out, in, dim * sizeof *out);
	}
}
