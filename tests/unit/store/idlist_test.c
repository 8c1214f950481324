/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/base/idlist.h"
#include "store/store.h"

#define TEXT(literal) literal, sizeof literal - 1
#define BOM "\xef\xbb\xbf"

static char why[256];

static int parse(const char *text, size_t size, enum idlist_separator separator, idlist_encoder encode,
		 struct idlist *out)
{
	char *copy = malloc(size ? size : 1); /* of just its size: what reads beyond is found */

	assert_non_null(copy);
	memcpy(copy, text, size);
	*why = 0;
	return idlist_parse(copy, size, separator, encode, out, why, sizeof why);
}

/* The same list in pieces of every size: what is found, and where, must not depend on them. */
static void assert_scans(const char *text, size_t size, enum idlist_separator separator, int want,
			 const char *says)
{
	for (size_t step = 1; step <= size + 1; step = step < 8 ? step + 1 : step * 2) {
		struct idlist_scan scan;
		int rc = 0;

		*why = 0;
		idlist_scan_start(&scan, separator);
		for (size_t at = 0; at < size && !rc; at += step)
			rc = idlist_scan_add(&scan, text + at, size - at < step ? size - at : step, why,
					     sizeof why);
		if (!rc)
			rc = idlist_scan_end(&scan, why, sizeof why);
		assert_int_equal(rc, want);
		if (!strstr(why, says))
			fail_msg("says '%s', want '%s'", why, says);
	}
}

static void assert_ids(const char *text, size_t size, enum idlist_separator separator, const char *want,
		       size_t want_size)
{
	struct idlist list;
	size_t at = 0;

	assert_scans(text, size, separator, 0, "");
	assert_int_equal(parse(text, size, separator, NULL, &list), 0);
	assert_int_equal(list.size_bytes, want_size);
	assert_memory_equal(list.text, want, want_size);
	for (uint64_t i = 0; i < list.count; i++) {
		assert_ptr_equal(list.id[i], list.text + at);
		at += strlen(list.id[i]) + 1;
	}
	assert_int_equal(at, want_size);
	idlist_free(&list);
}

static void assert_refused(const char *text, size_t size, enum idlist_separator separator, int rc,
			   const char *says)
{
	struct idlist list;

	assert_int_equal(parse(text, size, separator, NULL, &list), rc);
	assert_null(list.text);
	assert_null(list.id);
	if (!strstr(why, says))
		fail_msg("says '%s', want '%s'", why, says);
	assert_scans(text, size, separator, rc, says);
}

static void test_lines(void **state)
{
	(void)state;
	assert_ids(TEXT(""), IDLIST_LINES, TEXT(""));
	assert_ids(TEXT("a\nb c\n\\\n100%\n"), IDLIST_LINES, TEXT("a\0b c\0\\\000100%\0"));
	assert_ids(TEXT("a\nlast"), IDLIST_LINES, TEXT("a\0last\0"));
	assert_ids(TEXT("C:\\new\n\\r\n\\\\n\n"), IDLIST_LINES, TEXT("C:\\new\0\\r\0\\\\n\0"));
	assert_ids(TEXT("a\rb\nc\n"), IDLIST_LINES, TEXT("a\rb\0c\0"));
}

static void test_byte_order_mark(void **state)
{
	(void)state;
	assert_ids(TEXT(BOM "a\nb\n"), IDLIST_LINES, TEXT("a\0b\0"));
	assert_ids(TEXT(BOM), IDLIST_LINES, TEXT(""));
	assert_ids(TEXT("a\n" BOM "b\n"), IDLIST_LINES, TEXT("a\0" BOM "b\0"));
	assert_ids(TEXT(BOM "a\0b\0"), IDLIST_NULS, TEXT(BOM "a\0b\0"));
}

static void test_line_ends(void **state)
{
	(void)state;
	assert_ids(TEXT("a\r\nb\r\n"), IDLIST_LINES, TEXT("a\0b\0"));
	assert_ids(TEXT(BOM "a\r\nb"), IDLIST_LINES, TEXT("a\0b\0"));
	assert_ids(TEXT("a\r\nb\r"), IDLIST_LINES, TEXT("a\0b\0"));
	assert_ids(TEXT("a\r"), IDLIST_LINES, TEXT("a\0"));
	assert_ids(TEXT("a\r\r\nb\r\n"), IDLIST_LINES, TEXT("a\r\0b\0"));
	assert_ids(TEXT("a\r\nb\r\n\0"), IDLIST_NULS, TEXT("a\r\nb\r\n\0"));
	assert_refused(TEXT("a\r\nb\r\nc\nd\r\n"), IDLIST_LINES, -EINVAL, "line 3: it ends in LF alone");
	assert_refused(TEXT("a\nb\r\nc\n"), IDLIST_LINES, -EINVAL, "line 2: it ends in CR LF");
	assert_refused(TEXT("a\nb\r"), IDLIST_LINES, -EINVAL, "line 2: it ends in CR LF");
	assert_refused(TEXT("a\r\n\r\n"), IDLIST_LINES, -EINVAL, "line 2: the id is empty");
}

static void test_nuls(void **state)
{
	(void)state;
	assert_ids(TEXT("a\0b\nc\0last"), IDLIST_NULS, TEXT("a\0b\nc\0last\0"));
	assert_ids(TEXT(""), IDLIST_NULS, TEXT(""));
	assert_refused(TEXT("a\0\0"), IDLIST_NULS, -EINVAL, "id 2: the id is empty");
	assert_refused(TEXT("a/\\n\0"), IDLIST_NULS, -EILSEQ, "id 1: the id has a '/' in it");
}

static void test_escapes(void **state)
{
	(void)state;
	assert_ids(TEXT("a/\\nb/\\r\n/\\b/\\n\n"), IDLIST_LINES, TEXT("a\nb\r\0" BOM "\n\0"));
	assert_refused(TEXT("a/\\b\n"), IDLIST_LINES, -EILSEQ, "line 1: the id has a '/'");
	assert_refused(TEXT("x\na/\\x\n"), IDLIST_LINES, -EILSEQ, "line 2: the id has a '/'");
	assert_refused(TEXT("x\na/\\"), IDLIST_LINES, -EILSEQ, "line 2: the id has a '/'");
	assert_refused(TEXT("a/n\n"), IDLIST_LINES, -EILSEQ, "line 1: the id has a '/'");
}

static void test_refusals(void **state)
{
	char long_id[5000];

	(void)state;
	memset(long_id, 'x', sizeof long_id);
	assert_refused(long_id, 256, IDLIST_LINES, -EINVAL, "line 1: the id is longer than 255 bytes");
	assert_refused(long_id, sizeof long_id, IDLIST_NULS, -EINVAL,
		       "id 1: the id is longer than 255 bytes");
	assert_refused(TEXT("a\n\nb\n"), IDLIST_LINES, -EINVAL, "line 2: the id is empty");
	assert_refused(TEXT("a\n..\n"), IDLIST_LINES, -EILSEQ, "line 2: the id is \".\" or \"..\"");
	assert_refused(TEXT(".vecfs\n"), IDLIST_LINES, -EILSEQ, "line 1: the id .vecfs is reserved");
	assert_refused(TEXT("a\0b\n"), IDLIST_LINES, -EILSEQ, "line 1: the id has a NUL byte in it");
	assert_refused(TEXT("\xff\xfe"
			    "a\0\n\0"),
		       IDLIST_LINES, -EILSEQ, "line 1: the id is UTF-16, want UTF-8");
}

static size_t slash_encoder(const char *id, size_t len, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		if (id[i] == '/' || !id[i]) {
			memcpy(out + n, id[i] ? "%2F" : "%00", 3);
			n += 3;
		} else {
			out[n++] = id[i];
		}
	return n;
}

static void test_encoder(void **state)
{
	struct idlist list;

	(void)state;
	assert_int_equal(parse(TEXT("///\r\na/\\n\r\nb\0\r\n"), IDLIST_LINES, slash_encoder, &list), 0);
	assert_int_equal(list.count, 3);
	assert_string_equal(list.id[0], "%2F%2F%2F");
	assert_string_equal(list.id[1], "a%2F\\n");
	assert_string_equal(list.id[2], "b%00");
	idlist_free(&list);
}

static void test_unique(void **state)
{
	enum { COUNT = 100000 };
	char *text = malloc(COUNT * 8), *end = text;
	struct idlist list;

	(void)state;
	for (int i = 0; i < COUNT; i++)
		end += sprintf(end, "%d\n", i == COUNT - 1 ? 4711 : i);
	assert_int_equal(idlist_parse(text, (size_t)(end - text), IDLIST_LINES, NULL, &list, why, sizeof why),
			 0);
	assert_int_equal(idlist_check_unique(&list, IDLIST_LINES, why, sizeof why), -EINVAL);
	assert_string_equal(why, "line 100000: the id is that of line 4712");
	list.count--;
	assert_int_equal(idlist_check_unique(&list, IDLIST_LINES, why, sizeof why), 0);
	idlist_free(&list);
	assert_int_equal(parse(TEXT("a\0b\0a\0"), IDLIST_NULS, NULL, &list), 0);
	assert_int_equal(idlist_check_unique(&list, IDLIST_NULS, why, sizeof why), -EINVAL);
	assert_string_equal(why, "id 3: the id is that of id 1");
	idlist_free(&list);
}

/* Any ids written as lines, or with NULs, are read back as they were. */
static void test_round_trips(void **state)
{
	static const char bytes[] = "\n\r\\/%nrb \xef\xbb\xbf"
				    "a\x01\x7f\xff";

	(void)state;
	srand(1);
	for (int round = 0; round < 20000; round++) {
		int count = rand() % 4;
		char nuls[4 * 16], lines[4 * (3 * 15 + 1)];
		size_t nuls_size = 0, lines_size = 0;

		for (int i = 0; i < count; i++) {
			char id[16];
			size_t len = 1 + (size_t)(rand() % 15), line;

			do
				for (size_t k = 0; k < len; k++)
					id[k] = bytes[rand() % (int)(sizeof bytes - 1)];
			while (vs_name_check(id, len));
			line = idlist_line(id, len, lines + lines_size);
			assert_int_equal(line, idlist_line_bytes(id, len));
			assert_int_equal(lines[lines_size + line - 1], '\n');
			assert_null(memchr(lines + lines_size, '\n', line - 1));
			lines_size += line;
			memcpy(nuls + nuls_size, id, len);
			nuls[nuls_size + len] = 0;
			nuls_size += len + 1;
		}
		assert_ids(lines, lines_size, IDLIST_LINES, nuls, nuls_size);
		assert_ids(nuls, nuls_size, IDLIST_NULS, nuls, nuls_size);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),       cmocka_unit_test(test_byte_order_mark),
		cmocka_unit_test(test_line_ends),   cmocka_unit_test(test_nuls),
		cmocka_unit_test(test_escapes),     cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_encoder),     cmocka_unit_test(test_unique),
		cmocka_unit_test(test_round_trips),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
