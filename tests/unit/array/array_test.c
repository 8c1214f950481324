/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "store/array/array_format.h"

static const enum array_format formats[] = {
	ARRAY_NPY, ARRAY_FVECS, ARRAY_BVECS, ARRAY_FBIN, ARRAY_U8BIN, ARRAY_I8BIN, ARRAY_RAW,
};
#define FORMATS (sizeof formats / sizeof *formats)

static char why[256];

static void test_formats_by_name(void **state)
{
	enum array_format format;
	enum vs_dtype dtype;

	(void)state;
	assert_int_equal(array_format_of_name("vectors.npy", &format, &dtype), 0);
	assert_int_equal(format, ARRAY_NPY);
	assert_int_equal(array_format_of_name("a/b.c/base.1B.u8bin", &format, &dtype), 0);
	assert_int_equal(format, ARRAY_U8BIN);
	assert_int_equal(dtype, VS_U8);
	assert_int_equal(array_format_of_name(".bf16", &format, &dtype), 0);
	assert_int_equal(format, ARRAY_RAW);
	assert_int_equal(dtype, VS_BF16);
	assert_int_equal(array_format_of_name("vectors", &format, &dtype), -EINVAL);
	assert_int_equal(array_format_of_name("vectors.", &format, &dtype), -EINVAL);
	assert_int_equal(array_format_of_name("npy", &format, &dtype), -EINVAL);
	assert_int_equal(array_format_of_name("a.npy.gz", &format, &dtype), -EINVAL);
}

static void test_what_fits_where(void **state)
{
	(void)state;
	assert_true(array_format_fits(ARRAY_NPY, VS_BIT));
	assert_true(array_format_fits(ARRAY_RAW, VS_BF16));
	assert_true(array_format_fits(ARRAY_BVECS, VS_U8));
	assert_false(array_format_fits(ARRAY_FVECS, VS_F16));
	assert_false(array_format_fits(ARRAY_I8BIN, VS_U8));
}

static void test_headers_there_and_back(void **state)
{
	unsigned char buf[ARRAY_HEADER_BYTES_MAX];

	(void)state;
	for (size_t i = 0; i < FORMATS; i++) {
		struct array_shape in = {.dim = 100, .rows = 3000000000}, out = {.dim = 1, .rows = 1};
		size_t built, parsed;

		if (!array_format_fits(formats[i], in.dtype))
			in.dtype = formats[i] == ARRAY_I8BIN ? VS_I8 : VS_U8;
		built = array_header_build(formats[i], &in, buf);
		if (array_row_prefix(formats[i])) /* what a reader finds first is the first row's dim */
			memcpy(buf, (unsigned char[]){100, 0, 0, 0}, 4);
		assert_int_equal(
			array_header_parse(formats[i], buf, sizeof buf, &out, &parsed, why, sizeof why), 0);
		assert_int_equal(parsed, built);
		assert_int_equal(out.dtype, in.dtype);
		assert_int_equal(out.dim, formats[i] == ARRAY_RAW ? 0 : in.dim);
		assert_true(out.rows == (built ? in.rows : ARRAY_ROWS_UNTOLD));
	}
}

static void test_short_input_asks_for_more(void **state)
{
	static const unsigned char bytes[8] = {1, 0, 0, 0, 1, 0, 0, 0};
	struct array_shape out;
	size_t header_bytes;

	(void)state;
	for (size_t i = 0; i < FORMATS; i++) {
		size_t need = array_row_prefix(formats[i]) ? 4 : 8;

		if (formats[i] == ARRAY_NPY || formats[i] == ARRAY_RAW)
			continue;
		assert_int_equal(
			array_header_parse(formats[i], bytes, need - 1, &out, &header_bytes, why, sizeof why),
			-EAGAIN);
		assert_int_equal(
			array_header_parse(formats[i], bytes, need, &out, &header_bytes, why, sizeof why), 0);
	}
}

static void test_impossible_dims_are_refused(void **state)
{
	static const unsigned char zero[8], big[8] = {0, 0, 0, 1, 0, 0, 0, 1};
	struct array_shape out;
	size_t header_bytes;

	(void)state;
	for (size_t i = 0; i < FORMATS; i++) {
		if (formats[i] == ARRAY_NPY || formats[i] == ARRAY_RAW)
			continue;
		assert_int_equal(
			array_header_parse(formats[i], zero, 8, &out, &header_bytes, why, sizeof why),
			-EINVAL);
		assert_non_null(strstr(why, "found dim 0"));
		assert_int_equal(array_header_parse(formats[i], big, 8, &out, &header_bytes, why, sizeof why),
				 -EINVAL);
		assert_non_null(strstr(why, "found dim 16777216"));
	}
}

static void test_row_bytes(void **state)
{
	(void)state;
	assert_int_equal(array_row_bytes(&(struct array_shape){.dtype = VS_F32, .dim = 768, .rows = 0}),
			 3072);
	assert_int_equal(array_row_bytes(&(struct array_shape){.dtype = VS_BF16, .dim = 768, .rows = 0}),
			 1536);
	assert_int_equal(array_row_bytes(&(struct array_shape){.dtype = VS_BIT, .dim = 768, .rows = 0}), 96);
	assert_int_equal(array_row_bytes(&(struct array_shape){.dtype = VS_F32, .dim = 0, .rows = 0}), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats_by_name),
		cmocka_unit_test(test_what_fits_where),
		cmocka_unit_test(test_headers_there_and_back),
		cmocka_unit_test(test_short_input_asks_for_more),
		cmocka_unit_test(test_impossible_dims_are_refused),
		cmocka_unit_test(test_row_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
