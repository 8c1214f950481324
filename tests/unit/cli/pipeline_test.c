/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/cli/pipeline.h"

#define ITEMS 1000u

/* Squares of numbers, some of which take long. */
struct run {
	unsigned items, filled, used;
	unsigned fails_at; /* an item that cannot be filled, or used; ITEMS: none */
	int fill_error, use_error;
	uint64_t in[PIPELINE_SLOTS_MAX], out[PIPELINE_SLOTS_MAX];
	_Atomic unsigned works;
	uint64_t sum;
};

static int fill(void *arg, unsigned slot)
{
	struct run *r = arg;

	assert_true(slot < pipeline_slots());
	if (r->filled == r->items)
		return 0;
	if (r->fill_error && r->filled == r->fails_at)
		return r->fill_error;
	r->in[slot] = r->filled++;
	return 1;
}

static void work(void *arg, unsigned slot)
{
	struct run *r = arg;

	r->works++;
	if (r->in[slot] % 7 == 0)
		usleep(200);
	r->out[slot] = r->in[slot] * r->in[slot];
}

static int use(void *arg, unsigned slot)
{
	struct run *r = arg;

	if (r->use_error && r->used == r->fails_at)
		return r->use_error;
	assert_int_equal(r->in[slot], r->used); /* in their order */
	assert_int_equal(r->out[slot], (uint64_t)r->used * r->used);
	r->sum += r->out[slot];
	r->used++;
	return 0;
}

static const struct pipeline_ops ops = {fill, work, use};

static void items_come_out_in_their_order(void **state)
{
	struct run r = {.items = ITEMS};

	(void)state;
	assert_int_equal(pipeline_run(&ops, &r), 0);
	assert_int_equal(r.used, ITEMS);
	assert_int_equal(r.works, ITEMS);
	assert_int_equal(r.sum, (uint64_t)(ITEMS - 1) * ITEMS * (2 * ITEMS - 1) / 6);
	r = (struct run){.items = 0};
	assert_int_equal(pipeline_run(&ops, &r), 0);
	assert_int_equal(r.used, 0);
	r = (struct run){.items = 1};
	assert_int_equal(pipeline_run(&ops, &r), 0);
	assert_int_equal(r.used, 1);
}

static void what_came_before_an_error_of_filling_is_used(void **state)
{
	(void)state;
	for (unsigned at = 0; at < 40; at++) {
		struct run r = {.items = ITEMS, .fails_at = at, .fill_error = -5};

		assert_int_equal(pipeline_run(&ops, &r), -5);
		assert_int_equal(r.used, at);
	}
}

static void an_error_of_using_ends_it(void **state)
{
	(void)state;
	for (unsigned at = 0; at < 40; at++) {
		struct run r = {.items = ITEMS, .fails_at = at, .use_error = 3};

		assert_int_equal(pipeline_run(&ops, &r), 3);
		assert_int_equal(r.used, at);
		assert_in_range(r.filled, at + 1, at + 1 + 2 * PIPELINE_SLOTS_MAX);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(items_come_out_in_their_order),
		cmocka_unit_test(what_came_before_an_error_of_filling_is_used),
		cmocka_unit_test(an_error_of_using_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
