/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/bit.kernel.h"

#include "quant/wide.h"

/* The bits of each byte in reverse: by pairs of halves, quarters, eighths. */
SIMD_INLINE uint32_t reverse_bytes(uint32_t x)
{
	x = (x & 0x0f0f) << 4 | (x >> 4 & 0x0f0f);
	x = (x & 0x3333) << 2 | (x >> 2 & 0x3333);
	return (x & 0x5555) << 1 | (x >> 1 & 0x5555);
}

static void encode(uint8_t *code, const float *x, uint32_t dim)
{
	for (size_t i = 0; i < dim; i += WIDE) {
		wide v = i + WIDE <= dim ? wide_load(x + i) : wide_load_part(x + i, dim - i);
		uint32_t bits = reverse_bytes(wide_mask_gt(v, wide_set1(0)));

		code[i / 8] = (uint8_t)bits;
		if (dim - i > 8)
			code[i / 8 + 1] = (uint8_t)(bits >> 8);
	}
}

const struct bit_kernels KERNEL(bit_kernels) = {encode};
