/* SPDX-License-Identifier: Apache-2.0 */
#include "store/array/array_format.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BIN_HEADER_BYTES 8 /* of fbin, u8bin and i8bin: rows, dim */

static const struct {
	const char *suffix;
	enum array_format format;
	enum vs_dtype dtype;
} suffixes[] = {
	{"npy", ARRAY_NPY, VS_F32},   {"fvecs", ARRAY_FVECS, VS_F32}, {"bvecs", ARRAY_BVECS, VS_U8},
	{"fbin", ARRAY_FBIN, VS_F32}, {"u8bin", ARRAY_U8BIN, VS_U8},  {"i8bin", ARRAY_I8BIN, VS_I8},
	{"f32", ARRAY_RAW, VS_F32},   {"f16", ARRAY_RAW, VS_F16},     {"bf16", ARRAY_RAW, VS_BF16},
	{"i8", ARRAY_RAW, VS_I8},     {"u8", ARRAY_RAW, VS_U8},       {"bit", ARRAY_RAW, VS_BIT},
};

int array_format_of_name(const char *file_name, enum array_format *format, enum vs_dtype *dtype)
{
	const char *dot = strrchr(file_name, '.');

	for (size_t i = 0; dot && i < sizeof suffixes / sizeof *suffixes; i++)
		if (strcmp(dot + 1, suffixes[i].suffix) == 0) {
			*format = suffixes[i].format;
			*dtype = suffixes[i].dtype;
			return 0;
		}
	return -EINVAL;
}

const char *array_format_name(enum array_format format)
{
	static const char *const names[] = {
		[ARRAY_NPY] = "npy",   [ARRAY_FVECS] = "fvecs", [ARRAY_BVECS] = "bvecs",
		[ARRAY_FBIN] = "fbin", [ARRAY_U8BIN] = "u8bin", [ARRAY_I8BIN] = "i8bin",
		[ARRAY_RAW] = "raw",
	};

	assert(format <= ARRAY_RAW);
	return names[format];
}

bool array_format_fits(enum array_format format, enum vs_dtype dtype)
{
	if (format == ARRAY_NPY || format == ARRAY_RAW)
		return true;
	for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
		if (suffixes[i].format == format)
			return suffixes[i].dtype == dtype;
	return false;
}

static bool is_bin(enum array_format format)
{
	return format == ARRAY_FBIN || format == ARRAY_U8BIN || format == ARRAY_I8BIN;
}

static enum vs_dtype dtype_of_format(enum array_format format)
{
	if (format == ARRAY_I8BIN)
		return VS_I8;
	return format == ARRAY_U8BIN || format == ARRAY_BVECS ? VS_U8 : VS_F32;
}

uint64_t array_rows_max(enum array_format format)
{
	return is_bin(format) ? UINT32_MAX : UINT64_MAX;
}

size_t array_row_prefix(enum array_format format)
{
	return format == ARRAY_FVECS || format == ARRAY_BVECS ? ARRAY_PREFIX_BYTES : 0;
}

size_t array_row_bytes(const struct array_shape *shape)
{
	return vs_row_bytes(&(struct vs_schema){.dim = shape->dim, .dtype = shape->dtype});
}

static void put_u32(unsigned char *to, uint32_t n)
{
	n = htole32(n);
	memcpy(to, &n, sizeof n);
}

static uint32_t get_u32(const unsigned char *from)
{
	uint32_t n;

	memcpy(&n, from, sizeof n);
	return le32toh(n);
}

size_t array_header_build(enum array_format format, const struct array_shape *shape,
			  unsigned char buf[ARRAY_HEADER_BYTES_MAX])
{
	assert(array_format_fits(format, shape->dtype) && shape->rows <= array_rows_max(format));
	if (format == ARRAY_NPY) {
		struct npy_shape npy = {.dtype = shape->dtype, .dim = shape->dim, .rows = shape->rows};

		npy_header_build(&npy, buf, NPY_NUMPY_HEADER_BYTES);
		return NPY_NUMPY_HEADER_BYTES;
	}
	if (!is_bin(format))
		return 0;
	put_u32(buf, (uint32_t)shape->rows);
	put_u32(buf + 4, shape->dim);
	return BIN_HEADER_BYTES;
}

/* The header of the formats whose dtype is in their name: rows (but for fvecs and bvecs) and dim. */
static int parse_numbers(enum array_format format, const unsigned char *buf, size_t size,
			 struct array_shape *out, size_t *header_bytes, char *why, size_t why_size)
{
	size_t need_bytes = is_bin(format) ? BIN_HEADER_BYTES : ARRAY_PREFIX_BYTES;
	uint32_t dim_max;

	if (size < need_bytes)
		return -EAGAIN;
	out->dtype = dtype_of_format(format);
	out->dim = get_u32(buf + need_bytes - 4);
	out->rows = is_bin(format) ? get_u32(buf) : ARRAY_ROWS_UNTOLD;
	out->is_uint16 = false;
	dim_max = VS_ROW_BYTES_MAX / (out->dtype == VS_F32 ? 4 : 1);
	if (out->dim == 0 || out->dim > dim_max) {
		snprintf(why, why_size,
			 "found dim %u in the %s header, want 1 to %u: is it a little-endian .%s file?",
			 out->dim, array_format_name(format), dim_max, array_format_name(format));
		return -EINVAL;
	}
	*header_bytes = is_bin(format) ? BIN_HEADER_BYTES : 0;
	return 0;
}

int array_header_parse(enum array_format format, const void *buf, size_t size, struct array_shape *out,
		       size_t *header_bytes, char *why, size_t why_size)
{
	struct npy_shape npy;
	int rc;

	if (format == ARRAY_RAW) {
		out->dim = 0;
		out->rows = ARRAY_ROWS_UNTOLD;
		out->is_uint16 = false;
		*header_bytes = 0;
		return 0;
	}
	if (format != ARRAY_NPY)
		return parse_numbers(format, buf, size, out, header_bytes, why, why_size);
	rc = npy_header_parse(buf, size, &npy, header_bytes, why, why_size);
	if (rc == 0)
		*out = (struct array_shape){npy.dtype, npy.dim, npy.rows, npy.is_uint16};
	return rc;
}
