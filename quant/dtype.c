/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/dtype.h"

#include <assert.h>
#include <string.h>

static const struct {
	const char *name;
	unsigned bits;
} dtypes[VS_DTYPE_COUNT] = {
	[VS_F32] = {"f32", 32}, [VS_F16] = {"f16", 16}, [VS_BF16] = {"bf16", 16},
	[VS_I8] = {"i8", 8},    [VS_U8] = {"u8", 8},    [VS_BIT] = {"bit", 1},
};

const char *vs_dtype_name(enum vs_dtype dtype)
{
	return (unsigned)dtype < VS_DTYPE_COUNT ? dtypes[dtype].name : "?";
}

int vs_dtype_parse(const char *word)
{
	for (int i = 0; i < VS_DTYPE_COUNT; i++)
		if (!strcmp(word, dtypes[i].name))
			return i;
	return -1;
}

unsigned vs_dtype_bits(enum vs_dtype dtype)
{
	assert((unsigned)dtype < VS_DTYPE_COUNT);
	return dtypes[dtype].bits;
}

size_t vs_dtype_row_bytes(enum vs_dtype dtype, uint32_t dim)
{
	return ((size_t)dim * vs_dtype_bits(dtype) + 7) / 8;
}
