/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/array/npy.h"

static char why[256];

/* A header of the given version around a text, as another program may have written it. */
static size_t make_header(unsigned char *buf, unsigned version, const char *text)
{
	size_t len = strlen(text), off = version == 1 ? 10 : 12;

	memcpy(buf, "\x93NUMPY", 6);
	buf[6] = (unsigned char)version;
	buf[7] = 0;
	buf[8] = (unsigned char)len;
	buf[9] = (unsigned char)(len >> 8);
	if (version > 1)
		buf[10] = buf[11] = 0;
	memcpy(buf + off, text, len);
	return off + len;
}

static int parse_text(unsigned version, const char *text, struct npy_shape *out)
{
	unsigned char buf[1024];
	size_t size = make_header(buf, version, text), header_bytes = 0;
	int rc;

	why[0] = 0;
	rc = npy_header_parse(buf, size, out, &header_bytes, why, sizeof why);
	if (rc == 0)
		assert_int_equal(header_bytes, size);
	else
		assert_true(why[0]);
	return rc;
}

static void test_built_headers_parse(void **state)
{
	static const enum vs_dtype dtypes[] = {VS_F32, VS_F16, VS_BF16, VS_I8, VS_U8};
	unsigned char buf[NPY_HEADER_BYTES];
	struct npy_shape out;
	size_t header_bytes;

	(void)state;
	for (size_t i = 0; i < 2 * sizeof dtypes / sizeof *dtypes; i++) {
		struct npy_shape in = {.dtype = dtypes[i / 2],
				       .dim = i % 4 < 2 ? 768 : 65536,
				       .rows = i % 4 < 2 ? 0 : 123456789012};
		size_t bytes = i % 2 ? NPY_HEADER_BYTES : NPY_NUMPY_HEADER_BYTES;

		npy_header_build(&in, buf, bytes);
		assert_int_equal(buf[bytes - 1], '\n');
		assert_int_equal(npy_header_parse(buf, bytes, &out, &header_bytes, why, sizeof why), 0);
		assert_int_equal(header_bytes, bytes);
		assert_int_equal(out.dtype, in.dtype);
		assert_int_equal(out.dim, in.dim);
		assert_int_equal(out.rows, in.rows);
	}
}

static void test_bits_are_bytes_to_numpy(void **state)
{
	unsigned char buf[NPY_HEADER_BYTES];
	struct npy_shape in = {.dtype = VS_BIT, .dim = 1024}, out;
	size_t header_bytes;

	(void)state;
	npy_header_build(&in, buf, sizeof buf);
	assert_int_equal(npy_header_parse(buf, sizeof buf, &out, &header_bytes, why, sizeof why), 0);
	assert_int_equal(out.dtype, VS_U8);
	assert_int_equal(out.dim, 128);
	assert_int_equal(out.rows, 0);
}

static void test_any_spelling_of_the_dict(void **state)
{
	static const char *const texts[] = {
		"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }          \n",
		"{'shape': (3, 4), 'fortran_order': False, 'descr': '<f4'}\n",
		"{\"descr\":\"<f4\",\"fortran_order\":False,\"shape\":(3,4,)}",
		"  {\t'shape' : ( 3L , 4L ) ,\n'descr':'=f4','fortran_order' :False\n}\n",
	};
	struct npy_shape out;

	(void)state;
	for (unsigned version = 1; version <= 3; version++)
		for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
			assert_int_equal(parse_text(version, texts[i], &out), 0);
			assert_int_equal(out.dtype, VS_F32);
			assert_int_equal(out.rows, 3);
			assert_int_equal(out.dim, 4);
		}
}

static void test_refusals_say_what_to_do(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{"{'descr': '<f4', 'fortran_order': True, 'shape': (3, 4)}",
		 "np.ascontiguousarray(a, dtype='<f4')"},
		{"{'descr': '>f4', 'fortran_order': False, 'shape': (3, 4)}", "a.astype('<f4')"},
		{"{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4)}", "found dtype '<f8'"},
		{"{'descr': '>f8', 'fortran_order': False, 'shape': (3, 4)}", "dtype='<f4'"},
		{"{'descr': '<i8', 'fortran_order': False, 'shape': (3, 4)}", "dtype='<f4'"},
		{"{'descr': '|b1', 'fortran_order': False, 'shape': (3, 4)}", "np.packbits"},
		{"{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (3,)}", "structures"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", "1 dimension, want 2"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': ()}", "0 dimensions"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4, 5)}", "3 dimensions"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 0)}", "rows of 0 numbers"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 262145)}", "rows of 262145 numbers"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 4)}",
		 "more than any file"},
	};
	struct npy_shape out;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(parse_text(1, cases[i].text, &out), -EINVAL);
		assert_non_null(strstr(why, cases[i].says));
	}
}

static void test_malformed_dicts_are_refused(void **state)
{
	static const char *const texts[] = {
		"{}",
		"{'descr'",
		"{'descr': '<f4",
		"{'descr': '<f4'}",
		"not a dict",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (3, -4)}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (3 4)}",
		"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (3, 4)}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 4)}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)} trailing",
		"{'descr': '\\x3cf4', 'fortran_order': False, 'shape': (3, 4)}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), 'extra': 1}",
	};
	struct npy_shape out;

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		assert_int_equal(parse_text(1, texts[i], &out), -EINVAL);
}

static void test_magic_and_version(void **state)
{
	unsigned char buf[64];
	struct npy_shape out;
	size_t header_bytes, size = make_header(buf, 1, "{'descr': '<f4'}");

	(void)state;
	buf[6] = 4;
	assert_int_equal(npy_header_parse(buf, size, &out, &header_bytes, why, sizeof why), -EINVAL);
	assert_non_null(strstr(why, "version 4.0"));
	buf[0] = 'x';
	assert_int_equal(npy_header_parse(buf, size, &out, &header_bytes, why, sizeof why), -EINVAL);
	memcpy(buf, "\x93NUMPY\x02\0\xff\xff\xff\xff", 12);
	assert_int_equal(npy_header_parse(buf, size, &out, &header_bytes, why, sizeof why), -EINVAL);
	assert_non_null(strstr(why, "at most"));
}

/* Every prefix asks for more; none is read beyond its end (each is in memory of its own, for ASan). */
static void test_prefixes_ask_for_more(void **state)
{
	unsigned char buf[NPY_HEADER_BYTES];
	struct npy_shape in = {.dtype = VS_F32, .dim = 100, .rows = 7}, out;
	size_t header_bytes;

	(void)state;
	npy_header_build(&in, buf, sizeof buf);
	for (size_t size = 0; size < sizeof buf; size++) {
		unsigned char *copy = malloc(size ? size : 1);

		memcpy(copy, buf, size);
		assert_int_equal(npy_header_parse(copy, size, &out, &header_bytes, why, sizeof why), -EAGAIN);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_built_headers_parse),
		cmocka_unit_test(test_bits_are_bytes_to_numpy),
		cmocka_unit_test(test_any_spelling_of_the_dict),
		cmocka_unit_test(test_refusals_say_what_to_do),
		cmocka_unit_test(test_malformed_dicts_are_refused),
		cmocka_unit_test(test_magic_and_version),
		cmocka_unit_test(test_prefixes_ask_for_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
