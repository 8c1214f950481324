/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/recode.h"

#include <assert.h>

#include "quant/convert.h"

#define BLOCK 1024 /* numbers at a time, on the way from f16 to bf16 or back */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "vectors are little-endian, and are not swapped");

static bool is_float(enum vs_dtype dtype)
{
	return dtype == VS_F32 || dtype == VS_F16 || dtype == VS_BF16;
}

bool recode_is_possible(enum vs_dtype from, enum vs_dtype to)
{
	return from == to || (is_float(from) && is_float(to));
}

static void widen(enum vs_dtype from, const void *in, float *out, size_t n)
{
	if (from == VS_F16)
		convert_f16_to_f32(out, in, n);
	else
		convert_bf16_to_f32(out, in, n);
}

static void narrow(const float *in, enum vs_dtype to, void *out, size_t n)
{
	if (to == VS_F16)
		convert_f32_to_f16(out, in, n);
	else
		convert_f32_to_bf16(out, in, n);
}

void recode(enum vs_dtype from, const void *in, enum vs_dtype to, void *out, size_t n)
{
	assert(from != to && recode_is_possible(from, to));
	if (to == VS_F32) {
		widen(from, in, out, n);
		return;
	}
	if (from == VS_F32) {
		narrow(in, to, out, n);
		return;
	}
	for (size_t done = 0; done < n; done += BLOCK) {
		size_t count = n - done < BLOCK ? n - done : BLOCK;
		float block[BLOCK];

		widen(from, (const uint16_t *)in + done, block, count);
		narrow(block, to, (uint16_t *)out + done, count);
	}
}
