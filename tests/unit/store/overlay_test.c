/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tests/unit/scratch.h"
#include "store/collection/overlay.h"

static const struct record_row with_data = {.head = {.flags = RECORD_HAS_DATA}};
static const struct record_row without_data, later = {.head = {.flags = RECORD_HAS_DATA}};

static void set(struct overlay *ov, uint32_t row, const struct record_row *record)
{
	assert_int_equal(overlay_reserve(ov, 1), 0);
	overlay_set(ov, row, record);
}

static void the_latest_record_counts(void **state)
{
	struct overlay ov;

	(void)state;
	overlay_init(&ov);
	assert_null(overlay_find(&ov, 1));
	set(&ov, 1, &with_data);
	set(&ov, 1, &without_data);
	assert_ptr_equal(overlay_find(&ov, 1)->meta, &without_data);
	assert_ptr_equal(overlay_find(&ov, 1)->data, &with_data);
	assert_int_equal(ov.count, 1);
	overlay_free(&ov);
}

static void what_is_applied_is_forgotten_unless_overtaken(void **state)
{
	struct overlay ov;

	(void)state;
	overlay_init(&ov);
	overlay_applied(&ov, 1, &with_data);
	set(&ov, 1, &with_data);
	set(&ov, 1, &without_data);
	overlay_applied(&ov, 1, &with_data);
	assert_null(overlay_find(&ov, 1)->data);
	assert_ptr_equal(overlay_find(&ov, 1)->meta, &without_data);
	set(&ov, 1, &later);
	overlay_applied(&ov, 1, &without_data);
	assert_ptr_equal(overlay_find(&ov, 1)->data, &later);
	overlay_applied(&ov, 1, &later);
	assert_null(overlay_find(&ov, 1));
	overlay_free(&ov);
}

static void rows_come_and_go(void **state)
{
	enum { ROWS = 3000 };
	struct numbers numbers = {9};
	const struct record_row **model = calloc(ROWS, sizeof *model);
	struct overlay ov;
	size_t count = 0;

	(void)state;
	overlay_init(&ov);
	for (int round = 0; round < 100000; round++) {
		/* Neighbours share chains. */
		uint32_t row = (uint32_t)numbers_below(&numbers, ROWS);
		const struct overlay_item *item = overlay_find(&ov, row);

		assert_ptr_equal(item ? item->meta : NULL, model[row]);
		count -= model[row] != NULL;
		if (numbers_below(&numbers, 2)) {
			set(&ov, row, &later);
			model[row] = &later;
		} else if (numbers_below(&numbers, 2)) {
			overlay_drop(&ov, row);
			model[row] = NULL;
		} else {
			overlay_applied(&ov, row, &later);
			model[row] = NULL;
		}
		count += model[row] != NULL;
		assert_int_equal(ov.count, count);
	}
	overlay_free(&ov);
	free(model);
}

static void rows_go_together(void **state)
{
	enum { ROWS = 300 };
	struct numbers numbers = {10};
	struct overlay ov;

	(void)state;
	overlay_init(&ov);
	for (int round = 0; round < 2000; round++) {
		uint32_t base = round % 2 ? UINT32_MAX - ROWS : 0;
		uint32_t first = (uint32_t)numbers_below(&numbers, ROWS);
		uint32_t count = (uint32_t)numbers_below(&numbers, ROWS - first + 1);
		bool has[ROWS];

		for (uint32_t i = 0; i < ROWS; i++) {
			has[i] = numbers_below(&numbers, 3);
			if (has[i])
				set(&ov, base + i, &later);
		}
		overlay_drop_rows(&ov, base + first, count);
		for (uint32_t i = 0; i < ROWS; i++)
			assert_int_equal(overlay_find(&ov, base + i) != NULL,
					 has[i] && (i < first || i - first >= count));
		overlay_drop_rows(&ov, base, ROWS);
		assert_int_equal(ov.count, 0);
	}
	overlay_free(&ov);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_latest_record_counts),
		cmocka_unit_test(what_is_applied_is_forgotten_unless_overtaken),
		cmocka_unit_test(rows_come_and_go),
		cmocka_unit_test(rows_go_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
