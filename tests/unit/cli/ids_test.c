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
#include <unistd.h>

#include "fs/cli/ids.h"

static char why[256];

static int load(const char *text, size_t size, bool escape, struct idlist *out)
{
	char path[] = "/tmp/vecfs-ids-XXXXXX";
	int fd = mkstemp(path), rc;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, size), size);
	close(fd);
	rc = ids_load(path, IDLIST_LINES, escape, out, why, sizeof why);
	unlink(path);
	return rc;
}

static void assert_loads_as(const char *text, size_t size, bool escape, const char *want)
{
	struct idlist ids;

	assert_int_equal(load(text, size, escape, &ids), 0);
	assert_int_equal(ids.size_bytes, strlen(want));
	for (size_t i = 0; i < ids.size_bytes; i++)
		assert_int_equal(ids.text[i], want[i] == '\n' ? 0 : want[i]);
	idlist_free(&ids);
}

static void assert_refused(const char *text, size_t size, bool escape, const char *says)
{
	struct idlist ids;
	int rc = load(text, size, escape, &ids);

	assert_true(rc == -EINVAL || rc == -EILSEQ);
	assert_non_null(strstr(why, says));
}

#define TEXT(literal) literal, sizeof literal - 1

static void test_plain_ids(void **state)
{
	(void)state;
	assert_loads_as(TEXT("apple\n.hidden\na b\n100%\n"), false, "apple\n.hidden\na b\n100%\n");
	assert_loads_as(TEXT("no newline\nat the end"), false, "no newline\nat the end\n");
	assert_loads_as(TEXT(""), false, "");
}

static void test_counts_ids(void **state)
{
	struct idlist ids;

	(void)state;
	assert_int_equal(load(TEXT("a\nb\nc"), false, &ids), 0);
	assert_int_equal(ids.count, 3);
	idlist_free(&ids);
}

static void test_refusals_name_the_line(void **state)
{
	char long_id[300];

	(void)state;
	memset(long_id, 'x', sizeof long_id);
	assert_refused(TEXT("a\nand/or\n"), false, "line 2: the id has a '/'");
	assert_refused(TEXT("a\n\nb\n"), false, "line 2: the id is empty");
	assert_refused(TEXT("a\nb\n..\n"), false, "line 3: the id is \".\" or \"..\"");
	assert_refused(TEXT(".vecfs\n"), false, "line 1: the id .vecfs is reserved (--escape");
	assert_refused(TEXT("a\0b\n"), false, "line 1: the id has a NUL byte");
	assert_refused(long_id, sizeof long_id, false, "line 1: the id is longer than 255 bytes");
	assert_refused(TEXT("x\ny\nx\n"), false, "line 3: the id is that of line 1");
}

static void test_escape(void **state)
{
	char long_id[255];

	(void)state;
	assert_loads_as(TEXT("and/or\n.\n..\n.vecfs\n100%\n"), true,
			"and%2For\n%2E\n%2E%2E\n%2Evecfs\n100%25\n");
	assert_loads_as(TEXT("a\0b\n\t\x7f\n.a\n"), true, "a%00b\n%09%7F\n.a\n");
	/* What looks encoded already is another id than what it would stand for. */
	assert_loads_as(TEXT(".\n%2E\n"), true, "%2E\n%252E\n");
	assert_refused(TEXT("a\n\n"), true, "line 2: the id is empty");
	memset(long_id, '/', sizeof long_id);
	assert_refused(long_id, sizeof long_id, true, "longer than 255 bytes");
}

static void test_unescape_is_the_way_back(void **state)
{
	static const char *const ids[] = {"and/or", ".", "..",      ".vecfs", "100%",
					  "%2E",    "%", "a\tb\nc", "plain",  "..."};
	static const char *const others[] = {"%",    "100%", "%2",    "%2f", "%41", "a/b",
					     "%2E.", ".%2E", "a%2Eb", "\t",  "%zz", "."};
	char encoded[256], decoded[256];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
		len = ids_escape(ids[i], strlen(ids[i]), encoded);
		assert_int_equal(ids_unescape(encoded, len, decoded), strlen(ids[i]));
		assert_memory_equal(decoded, ids[i], strlen(ids[i]));
	}
	/* What comes back otherwise than it went is refused. */
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		assert_int_equal(ids_unescape(others[i], strlen(others[i]), decoded), 0);
}

static void test_lists_of_other_systems(void **state)
{
	(void)state;
	assert_loads_as(TEXT("\xef\xbb\xbf"
			     "a\r\nb\r\n"),
			false, "a\nb\n");
	assert_loads_as(TEXT("\xef\xbb\xbf"
			     "a/\r\nb"),
			true, "a%2F\nb\n");
	assert_refused(TEXT("a\r\nb\n"), false, "line 2: it ends in LF alone");
	assert_refused(TEXT("a\nb\nc\r\n"), false, "line 3: it ends in CR LF");
}

static void test_many_ids_and_one_duplicate(void **state)
{
	enum { COUNT = 100000 };
	char *text = malloc(COUNT * 8), *end = text;

	(void)state;
	for (int i = 0; i < COUNT; i++)
		end += sprintf(end, "%d\n", i == COUNT - 1 ? 4711 : i);
	assert_refused(text, (size_t)(end - text), false, "line 100000: the id is that of line 4712");
	free(text);
}

static void test_missing_file(void **state)
{
	struct idlist ids;

	(void)state;
	assert_int_equal(ids_load("/nonexistent/ids", IDLIST_LINES, false, &ids, why, sizeof why), -ENOENT);
	assert_string_equal(why, "No such file or directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain_ids),
		cmocka_unit_test(test_counts_ids),
		cmocka_unit_test(test_refusals_name_the_line),
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_unescape_is_the_way_back),
		cmocka_unit_test(test_lists_of_other_systems),
		cmocka_unit_test(test_many_ids_and_one_duplicate),
		cmocka_unit_test(test_missing_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
