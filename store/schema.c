/* SPDX-License-Identifier: Apache-2.0 */
/* schema - dtypes, metrics, row sizes and what a legal id is. */
#include <errno.h>
#include <string.h>

#include "store.h"

static const struct {
	const char *name;
	unsigned bits; /* of one component */
} dtypes[VS_DTYPE_COUNT] = {
	[VS_F32] = {"f32", 32}, [VS_F16] = {"f16", 16}, [VS_BF16] = {"bf16", 16},
	[VS_I8] = {"i8", 8},    [VS_U8] = {"u8", 8},    [VS_BIT] = {"bit", 1},
};

static const char *const metrics[VS_METRIC_COUNT] = {[VS_L2] = "l2", [VS_IP] = "ip", [VS_COSINE] = "cosine"};

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

const char *vs_metric_name(enum vs_metric metric)
{
	return (unsigned)metric < VS_METRIC_COUNT ? metrics[metric] : "?";
}

int vs_metric_parse(const char *word)
{
	for (int i = 0; i < VS_METRIC_COUNT; i++)
		if (!strcmp(word, metrics[i]))
			return i;
	return -1;
}

size_t vs_row_bytes(const struct vs_schema *schema)
{
	return ((size_t)schema->dim * dtypes[schema->dtype].bits + 7) / 8;
}

uint32_t vs_dim_of_size(enum vs_dtype dtype, size_t size)
{
	size_t bits = size * 8;

	if (!size || size > VS_ROW_BYTES_MAX || bits % dtypes[dtype].bits)
		return 0;
	return (uint32_t)(bits / dtypes[dtype].bits);
}

int vs_name_check(const char *name, size_t len)
{
	if (len > VS_NAME_MAX)
		return -ENAMETOOLONG;
	if (!len || memchr(name, '/', len) || memchr(name, 0, len))
		return -EINVAL;
	if ((len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.'))
		return -EINVAL;
	return len == 6 && !memcmp(name, ".vecfs", 6) ? -EPERM : 0;
}
