/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "fs/control/view_table.h"

static void test_views_keep_their_numbers(void **state)
{
	struct view_table *t = view_table_new();
	char name[VS_VIEW_NAME_MAX + 1], want[VS_VIEW_NAME_MAX + 1];
	uint64_t number;

	(void)state;
	for (uint32_t i = 0; i < 100; i++) {
		snprintf(want, sizeof want, "pq%u", i / 2 + 1);
		assert_int_equal(view_table_number(t, i % 2, want, &number), 0);
		assert_int_equal(number, i);
	}
	assert_int_equal(view_table_number(t, 1, "pq20", &number), 0);
	assert_int_equal(number, 39);
	assert_int_equal(view_table_name(t, 39, name), 0);
	assert_string_equal(name, "pq20");
	assert_int_equal(view_table_name(t, 100, name), -ESTALE);
	assert_int_equal(view_table_number(t, 1, "a name that is longer than any of a view's is", &number),
			 -ENOENT);
	view_table_free(t);
}

static struct view_data data_of(uint64_t which, vs_time ctime)
{
	return (struct view_data){.view = 3, .kind = VIEW_CODE, .model = 5, .which = which, .ctime = ctime};
}

/* The same thing has the same number while it is remembered; another ctime, model or kind is another thing.
 */
static void test_what_is_remembered(void **state)
{
	struct view_table *t = view_table_new();
	struct view_data a = data_of(4096, 1), b = a, out;
	uint64_t n = view_table_remember(t, &a);

	(void)state;
	assert_int_equal(view_table_remember(t, &a), n);
	b.ctime = 2;
	assert_int_not_equal(view_table_remember(t, &b), n);
	b = a;
	b.model = 6;
	assert_int_not_equal(view_table_remember(t, &b), n);
	b = a;
	b.kind = VIEW_CODES;
	assert_int_not_equal(view_table_remember(t, &b), n);
	assert_int_equal(view_table_data(t, n, &out), 0);
	assert_int_equal(out.which, 4096);
	assert_int_equal(out.ctime, 1);
	assert_int_equal(view_table_data(t, n + 1000, &out), -ESTALE);
	assert_int_equal(view_table_data(t, 0, &out), -ESTALE);
	view_table_free(t);
}

/* A number is never used again: it names what it did, or nothing. Arrays outlive any number of vectors. */
static void test_what_is_forgotten(void **state)
{
	struct view_table *t = view_table_new();
	struct view_data array = {.kind = VIEW_CODES, .model = 1, .which = 9}, out;
	uint64_t first, n, array_n = view_table_remember(t, &array);

	(void)state;
	first = 0;
	for (uint64_t i = 0; i < 20000; i++) {
		struct view_data d = data_of(4096 + i, i);

		n = view_table_remember(t, &d);
		if (!first)
			first = n;
		assert_int_equal(view_table_data(t, n, &out), 0);
		assert_int_equal(out.which, 4096 + i);
	}
	assert_int_equal(view_table_data(t, first, &out), -ESTALE);
	assert_int_equal(view_table_data(t, array_n, &out), 0);
	assert_int_equal(out.which, 9);
	assert_int_equal(view_table_remember(t, &array), array_n);
	array = data_of(4096, 0);
	assert_int_not_equal(view_table_remember(t, &array), first);
	view_table_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_views_keep_their_numbers),
		cmocka_unit_test(test_what_is_remembered),
		cmocka_unit_test(test_what_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
