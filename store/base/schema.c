/* SPDX-License-Identifier: Apache-2.0 */
/* schema - row sizes and what a legal id is. */
#include <errno.h>
#include <string.h>

#include "store/store.h"

_Static_assert(sizeof(struct vs_file_attr) == 24 && sizeof(struct vs_row_meta) == 56,
	       "both are formats of files");

size_t vs_row_bytes(const struct vs_schema *schema)
{
	return vs_dtype_row_bytes(schema->dtype, schema->dim);
}

uint32_t vs_dim_of_size(enum vs_dtype dtype, size_t size)
{
	size_t bits = size * 8, width_bits = vs_dtype_bits(dtype);

	if (!size || size > VS_ROW_BYTES_MAX || bits % width_bits)
		return 0;
	return (uint32_t)(bits / width_bits);
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
