/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "store/base/row_time.h"

#define S VS_TIME_NS_PER_S
#define Y2020 ROW_STEPS_ORIGIN
#define Y2093 (Y2020 + (ROW_CTIME_STEPS - 1) * ROW_STEP_NS)

static uint64_t next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void check(vs_time mtime, vs_time ctime)
{
	struct row row = {.name_at = 0x1555555};
	bool exact = mtime % S == 0 || (ctime >= mtime && ctime - mtime < ROW_CTIME_STEPS);

	row_set_times(&row, mtime, ctime);
	assert_true(row_mtime(&row) == mtime);
	assert_int_equal(row.name_at, 0x1555555);
	if (exact)
		assert_true(row_ctime(&row) == ctime);
	else if (ctime >= Y2020 && ctime <= Y2093)
		assert_true(row_ctime(&row) >= ctime && row_ctime(&row) - ctime < ROW_STEP_NS);
	else
		assert_true(row_ctime(&row) == (ctime < Y2020 ? Y2020 : Y2093));
}

static void both_times_come_back(void **state)
{
	uint64_t x = 88172645463325252ull;
	static const vs_time some[] = {
		0, 1, S, Y2020 - 1, Y2020, Y2020 + 1, Y2093, VS_TIME_END - S, VS_TIME_END - 1};

	(void)state;
	for (size_t i = 0; i < sizeof some / sizeof *some; i++)
		for (size_t k = 0; k < sizeof some / sizeof *some; k++)
			check(some[i], some[k]);
	for (int i = 0; i < 200000; i++) {
		vs_time ctime = Y2020 + next(&x) % (Y2093 - Y2020), mtime = next(&x) % VS_TIME_END;

		check(mtime, ctime);
		check(mtime / S * S, ctime);
		check(ctime - next(&x) % (600 * S), ctime);
	}
}

static void every_change_moves_ctime(void **state)
{
	static const vs_time mtimes[] = {Y2020 / S * S, Y2020 - 12345, Y2020 + 500 * S + 7};
	struct row row = {0};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		vs_time now = Y2020 + 500 * S + 8, last;

		row_set_times(&row, mtimes[i], now);
		for (int k = 0; k < 1000;
		     k++) { /* all at the same moment, and then of a clock set back a little */
			last = row_ctime(&row);
			row_set_times(&row, mtimes[i], vs_time_after(last, k < 500 ? now : now - S));
			assert_true(row_ctime(&row) > last);
		}
		/* A clock that had been far in the future is no reason to stay there. */
		assert_true(vs_time_after(now + 7200 * S, now) == now);
	}
}

/* Whatever stands there, it is a time. */
static void forged_times_are_times(void **state)
{
	uint64_t x = 1181783497276652981ull;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		struct row row = {.mtime = next(&x) | (i % 2 ? UINT64_C(15) << 60 : 0),
				  .ctime = next(&x) & ROW_CTIME_MASK};

		assert_true(row_mtime(&row) < VS_TIME_END && row_ctime(&row) < VS_TIME_END);
	}
}

static void times_are_clamped_as_in_ext4(void **state)
{
	static const struct {
		int64_t s, ns, want_s, want_ns;
	} cases[] = {
		{0, 1, 0, 1},
		{-2, 499999999, -2, 499999999},
		{9999999999, 5, 9999999999, 5},
		{INT64_C(15032385534), 999999999, INT64_C(15032385534), 999999999},
		{INT64_C(15032385535), 5, INT64_C(15032385535), 0},
		{INT64_C(99999999999999), 5, INT64_C(15032385535), 0},
		{INT64_MAX, 5, INT64_C(15032385535), 0},
		{INT64_C(-2147483647), 5, INT64_C(-2147483647), 5},
		{INT64_C(-2147483648), 5, INT64_C(-2147483648), 0},
		{INT64_MIN, 5, INT64_C(-2147483648), 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct timespec t = {.tv_sec = cases[i].s, .tv_nsec = cases[i].ns}, got;

		vs_time_split(vs_time_of(&t), &got);
		assert_int_equal(got.tv_sec, cases[i].want_s);
		assert_int_equal(got.tv_nsec, cases[i].want_ns);
	}
}

/* Bit fields are the compiler's; the file is not. */
static void a_row_has_its_bytes(void **state)
{
	static const unsigned char want[] = {1, 0, 0, 0, 2, 0, 0, 0, 3,    0,    0,    0,    0, 0, 0, 0,
					     4, 0, 0, 0, 5, 6, 7, 0, 0xff, 0xff, 0xff, 0x09, 0, 0, 0, 0x80};
	struct row row = {.data_sum = 1,
			  .row_sum = 2,
			  .mtime = 3,
			  .entry_low = 4,
			  .entry_high = 5,
			  .name_len = 6,
			  .perm = 7,
			  .name_at = 0x1ffffff,
			  .ctime = UINT64_C(1) << 38 | 4};

	(void)state;
	assert_memory_equal(&row, want, sizeof want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_times_come_back),   cmocka_unit_test(every_change_moves_ctime),
		cmocka_unit_test(forged_times_are_times), cmocka_unit_test(times_are_clamped_as_in_ext4),
		cmocka_unit_test(a_row_has_its_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
