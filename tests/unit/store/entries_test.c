/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "tests/unit/scratch.h"
#include "store/collection/entry_map.h"

static void set(struct entry_map *es, uint64_t entry, uint32_t row)
{
	assert_int_equal(entry_map_reserve(es, entry), 0);
	entry_map_set(es, entry, row);
}

static void rows_follow_their_entries(void **state)
{
	enum { COUNT = 50000 };
	struct numbers numbers = {3};
	uint32_t *rows = malloc(COUNT * sizeof *rows);
	struct entry_map es;

	(void)state;
	entry_map_init(&es);
	for (int i = 0; i < COUNT; i++)
		rows[i] = ROW_NONE;
	for (int round = 0; round < 4 * COUNT; round++) {
		uint64_t entry = numbers_below(&numbers, COUNT);

		assert_int_equal(entry_map_get(&es, entry), rows[entry]);
		rows[entry] =
			numbers_below(&numbers, 3) ? (uint32_t)numbers_below(&numbers, ROW_NONE) : ROW_NONE;
		if (rows[entry] != ROW_NONE)
			set(&es, entry, rows[entry]);
		else if (entry_map_get(&es, entry) != ROW_NONE)
			entry_map_set(&es, entry, ROW_NONE);
	}
	for (uint64_t entry = 0; entry < COUNT; entry++)
		assert_int_equal(entry_map_get(&es, entry), rows[entry]);
	entry_map_free(&es);
	free(rows);
}

static void they_are_listed_in_order(void **state)
{
	static const uint64_t some[] = {4096, 4097, 8191, 8192, 100000, 5000000};
	struct entry_map es;
	uint64_t entry = 0;

	(void)state;
	entry_map_init(&es);
	assert_int_equal(entry_map_next(&es, 0), 0);
	for (int i = 5; i >= 0; i--)
		set(&es, some[i], (uint32_t)i);
	for (int i = 0; i < 6; i++) {
		entry = entry_map_next(&es, entry);
		assert_int_equal(entry, some[i]);
	}
	assert_int_equal(entry_map_next(&es, entry), 0);
	entry_map_set(&es, 8191, ROW_NONE);
	assert_int_equal(entry_map_next(&es, 4097), 8192);
	entry_map_free(&es);
}

static void numbers_that_only_grow_need_no_memory_for_what_is_gone(void **state)
{
	struct entry_map es;

	(void)state;
	entry_map_init(&es);
	for (uint64_t entry = 4096; entry < 4096 + 3000ull * ENTRIES_CHUNK; entry += 64) {
		set(&es, entry, 1);
		if (entry > 4096)
			entry_map_set(&es, entry - 64, ROW_NONE);
	}
	assert_true(es.count < 1000);
	entry_map_free(&es);
}

static void an_unknown_entry_has_no_row(void **state)
{
	struct entry_map es;

	(void)state;
	entry_map_init(&es);
	assert_int_equal(entry_map_get(&es, 0), ROW_NONE);
	set(&es, 10000, 0);
	assert_int_equal(entry_map_get(&es, 10000), 0);
	assert_int_equal(entry_map_get(&es, 10001), ROW_NONE);
	assert_int_equal(entry_map_get(&es, UINT64_MAX), ROW_NONE);
	entry_map_free(&es);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_follow_their_entries),
		cmocka_unit_test(they_are_listed_in_order),
		cmocka_unit_test(numbers_that_only_grow_need_no_memory_for_what_is_gone),
		cmocka_unit_test(an_unknown_entry_has_no_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
