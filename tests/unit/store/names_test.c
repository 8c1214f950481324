/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tests/unit/scratch.h"
#include "store/segment/name_heap.h"

static void lengths_are_rounded_up_to_granules(void **state)
{
	(void)state;
	assert_int_equal(names_granules(0), 0);
	assert_int_equal(names_granules(1), 1);
	assert_int_equal(names_granules(8), 1);
	assert_int_equal(names_granules(9), 2);
	assert_int_equal(names_granules(255), NAMES_CLASSES);
}

static void a_hole_of_the_size_is_taken_first(void **state)
{
	struct name_heap ns;

	(void)state;
	name_heap_init(&ns, 0);
	assert_int_equal(name_heap_alloc(&ns, 20), 0);
	assert_int_equal(name_heap_alloc(&ns, 5), 3);
	assert_int_equal(name_heap_alloc(&ns, 100), 4);
	assert_int_equal(ns.end, 17);
	name_heap_release(&ns, 0, 20);
	name_heap_release(&ns, 3, 5);
	assert_int_equal(name_heap_end_after(&ns, 8), 17);
	assert_int_equal(name_heap_alloc(&ns, 8), 3);
	assert_int_equal(name_heap_alloc(&ns, 8), 0); /* of the larger one: the rest stays a hole */
	assert_int_equal(name_heap_alloc(&ns, 16), 1);
	assert_int_equal(name_heap_end_after(&ns, 8), 18);
	name_heap_free(&ns);
}

static void a_scan_finds_the_holes(void **state)
{
	const uint64_t used = 0xb; /* 0, 1 and 3 of 6 */
	struct name_heap ns;

	(void)state;
	name_heap_init(&ns, 6);
	assert_false(ns.scanned);
	name_heap_release(&ns, 3, 8); /* which the scan will see anyway */
	name_heap_scan(&ns, &used);
	assert_int_equal(name_heap_alloc(&ns, 8), 2);
	assert_int_equal(name_heap_alloc(&ns, 16), 4);
	assert_int_equal(name_heap_alloc(&ns, 8), 6);
	name_heap_free(&ns);
}

static void no_two_ids_ever_overlap(void **state)
{
	enum { IDS = 400, GRANULES = IDS * NAMES_CLASSES };
	struct numbers numbers = {5};
	struct {
		uint32_t at;
		size_t len;
	} ids[IDS] = {{0}};
	bool *used = calloc(GRANULES, sizeof *used);
	struct name_heap ns;

	(void)state;
	name_heap_init(&ns, 0);
	for (int round = 0; round < 50000; round++) {
		size_t i = numbers_below(&numbers, IDS);

		if (ids[i].len) {
			name_heap_release(&ns, ids[i].at, ids[i].len);
			memset(used + ids[i].at, false, names_granules(ids[i].len));
			ids[i].len = 0;
			continue;
		}
		ids[i].len = 1 + numbers_below(&numbers, 255);
		ids[i].at = name_heap_alloc(&ns, ids[i].len);
		for (uint32_t k = 0; k < names_granules(ids[i].len); k++) {
			assert_true(ids[i].at + k < ns.end);
			assert_false(used[ids[i].at + k]);
			used[ids[i].at + k] = true;
		}
	}
	assert_true(ns.end < GRANULES);
	name_heap_free(&ns);
	free(used);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lengths_are_rounded_up_to_granules),
		cmocka_unit_test(a_hole_of_the_size_is_taken_first),
		cmocka_unit_test(a_scan_finds_the_holes),
		cmocka_unit_test(no_two_ids_ever_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
