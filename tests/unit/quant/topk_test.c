/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/topk.h"
#include "tests/unit/vectors.h"

#define ROWS 500

static int by_order(const void *a, const void *b)
{
	return topk_is_before(a, b) ? -1 : topk_is_before(b, a);
}

/* Few different distances: most are ties. */
static void fill(struct topk_item *all, uint64_t seed)
{
	struct rng rng;

	rng_seed(&rng, seed);
	for (uint32_t i = 0; i < ROWS; i++)
		all[i] = (struct topk_item){
			.key = i * 7919 % 1009, .distance = (float)rng_below(&rng, 20) - 5, .row = i};
}

static void test_the_k_first_whatever_the_order(void **state)
{
	static const size_t step[] = {1, 31, ROWS - 1};
	struct topk_item all[ROWS], got[ROWS];
	struct topk top;

	(void)state;
	for (size_t k = 1; k <= ROWS + 10; k = k * 3 / 2 + 1)
		for (uint64_t seed = 0; seed < 3; seed++) {
			size_t count, want = k < ROWS ? k : ROWS;
			struct topk_item *items = malloc(k * sizeof *items);

			fill(all, 1);
			topk_start(&top, items, k);
			for (size_t i = 0; i < ROWS; i++) { /* three different orders */
				size_t j = (i * step[seed] + seed * 7) % ROWS;

				topk_push(&top, all[j].distance, all[j].row, all[j].key);
			}
			qsort(all, ROWS, sizeof *all, by_order);
			count = topk_finish(&top);
			assert_int_equal(count, want);
			memcpy(got, items, count * sizeof *got);
			for (size_t i = 0; i < count; i++)
				assert_true(got[i].key == all[i].key && got[i].row == all[i].row);
			free(items);
		}
}

static unsigned asked;

static uint64_t key_of_row(void *arg, uint32_t row)
{
	asked++;
	return ((const struct topk_item *)arg)[row].key;
}

/* The same selection; a key is asked for where rows are equally far. */
static void test_keys_may_be_told_late(void **state)
{
	struct topk_item all[ROWS], sorted[ROWS], items[40];
	struct topk top;

	(void)state;
	for (size_t k = 1; k <= 40; k += 3) {
		fill(all, k);
		memcpy(sorted, all, sizeof all);
		qsort(sorted, ROWS, sizeof *sorted, by_order);
		topk_start_late(&top, items, k, k, key_of_row, all);
		for (size_t i = 0; i < ROWS; i++)
			topk_push(&top, all[i * 31 % ROWS].distance, (uint32_t)(i * 31 % ROWS), 12345);
		assert_int_equal(topk_finish(&top), k);
		for (size_t i = 0; i < k; i++)
			assert_int_equal(items[i].row, sorted[i].row);
	}
	asked = 0;
	topk_start_late(&top, items, 10, 10, key_of_row, all);
	for (uint32_t i = 0; i < ROWS; i++)
		topk_push(&top, (float)(i * 31 % ROWS), i, i);
	assert_int_equal(topk_finish(&top), 10);
	assert_int_equal(asked, 0);
}

/* The same selection with room for more than k, in any order of rows, however many are equally far. */
static void test_room_for_more_changes_nothing(void **state)
{
	struct topk_item all[ROWS], sorted[ROWS], items[ROWS];
	struct topk top;

	(void)state;
	for (size_t k = 1; k <= 40; k += 3)
		for (size_t more = 1; more <= ROWS / 2; more = more * 3 + 1) {
			fill(all, more % 2 ? k : ROWS);
			memcpy(sorted, all, sizeof all);
			qsort(sorted, ROWS, sizeof *sorted, by_order);
			topk_start_late(&top, items, k, k + more, key_of_row, all);
			for (size_t i = 0; i < ROWS; i++) {
				topk_push(&top, all[i * 31 % ROWS].distance, (uint32_t)(i * 31 % ROWS), 0);
				assert_true(top.count <= k + more);
				if (i % 50 == 0)
					topk_shrink(&top);
			}
			topk_trim(&top);
			assert_int_equal(top.count, k);
			assert_int_equal(topk_finish(&top), k);
			for (size_t i = 0; i < k; i++)
				assert_int_equal(items[i].row, sorted[i].row);
		}
}

/* Of what is dropped at the end only those are asked for their keys that are as far as the last that stays.
 */
static void test_keys_of_the_farthest_alone(void **state)
{
	struct topk_item all[ROWS], items[ROWS];
	struct topk top;

	(void)state;
	fill(all, 1);
	for (size_t k = 90; k <= 100; k++) {
		asked = 0;
		topk_start_late(&top, items, k, ROWS, key_of_row, all);
		for (uint32_t i = 0; i < 200; i++)
			topk_push(&top, (float)(i * 31 % 200 / 10), i, 0);
		topk_trim(&top);
		assert_int_equal(top.count, k);
		assert_int_equal(asked, k % 10 ? 10 : 0);
		assert_true(top.bound == (k > 90 ? 9 : 8));
	}
}

/* Distances whose differences are no f32, and all the same ones. */
static void test_room_for_more_of_extremes(void **state)
{
	static const float far[] = {FLT_MAX, -FLT_MAX, 0, 1e-45f, 1e-44f};
	struct topk_item all[ROWS], items[20];
	struct topk top;

	(void)state;
	for (size_t i = 0; i < ROWS; i++)
		all[i] = (struct topk_item){.key = ROWS - i, .row = (uint32_t)i};
	for (size_t set = 0; set < 3; set++) {
		topk_start_late(&top, items, 5, 20, key_of_row, all);
		for (uint32_t i = 0; i < ROWS; i++)
			topk_push(&top, set == 0 ? 7.0f : set == 1 ? far[i % 3] : far[2 + i % 3], i, 0);
		assert_int_equal(topk_finish(&top), 5);
		for (size_t i = 0; i < 5; i++) {
			assert_true(items[i].distance == (set == 0 ? 7.0f : far[set]));
			assert_true(!i || items[i].key > items[i - 1].key);
		}
	}
}

static void test_blocks_take_keys_or_row_numbers(void **state)
{
	float distances[64];
	uint64_t keys[64];
	struct topk_item items[3];
	struct topk top;

	(void)state;
	for (int i = 0; i < 64; i++) {
		distances[i] = 1;
		keys[i] = (uint64_t)(100 - i);
	}
	topk_start(&top, items, 3);
	topk_push_block(&top, distances, 0xff0, 1000, keys);
	assert_int_equal(topk_finish(&top), 3);
	assert_int_equal(items[0].row, 1011);
	assert_int_equal(items[0].key, 89);
	topk_start(&top, items, 3);
	topk_push_block(&top, distances, 0xff0, 1000, NULL);
	assert_int_equal(topk_finish(&top), 3);
	assert_int_equal(items[0].row, 1004);
	assert_int_equal(items[2].key, 1006);
}

static void test_no_number_and_no_k(void **state)
{
	struct topk_item items[2];
	struct topk top;

	(void)state;
	topk_start(&top, items, 2);
	topk_push(&top, NAN, 1, 1);
	topk_push(&top, INFINITY, 2, 2);
	topk_push(&top, 3, 3, 3);
	assert_int_equal(topk_finish(&top), 1);
	assert_int_equal(items[0].row, 3);
	topk_start(&top, NULL, 0);
	topk_push(&top, -3, 3, 3);
	assert_int_equal(topk_finish(&top), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_k_first_whatever_the_order),
		cmocka_unit_test(test_keys_may_be_told_late),
		cmocka_unit_test(test_keys_of_the_farthest_alone),
		cmocka_unit_test(test_room_for_more_changes_nothing),
		cmocka_unit_test(test_room_for_more_of_extremes),
		cmocka_unit_test(test_blocks_take_keys_or_row_numbers),
		cmocka_unit_test(test_no_number_and_no_k),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
