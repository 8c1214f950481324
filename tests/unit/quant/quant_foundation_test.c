/* SPDX-License-Identifier: Apache-2.0 */
/* The floor of quant/: dtypes, levels, the seeded generator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "quant/dtype.h"
#include "quant/level.h"
#include "quant/rng.h"

static void test_dtypes_have_names_and_widths(void **state)
{
	static const struct {
		const char *name;
		unsigned bits;
		size_t row_bytes_of_9;
	} want[VS_DTYPE_COUNT] = {{"f32", 32, 36}, {"f16", 16, 18}, {"bf16", 16, 18},
				  {"i8", 8, 9},    {"u8", 8, 9},    {"bit", 1, 2}};

	(void)state;
	for (int i = 0; i < VS_DTYPE_COUNT; i++) {
		assert_string_equal(vs_dtype_name((enum vs_dtype)i), want[i].name);
		assert_int_equal(vs_dtype_parse(want[i].name), i);
		assert_int_equal(vs_dtype_bits((enum vs_dtype)i), want[i].bits);
		assert_int_equal(vs_dtype_row_bytes((enum vs_dtype)i, 9), want[i].row_bytes_of_9);
	}
	assert_int_equal(vs_dtype_parse("f64"), -1);
	assert_string_equal(vs_dtype_name(VS_DTYPE_COUNT), "?");
}

static void test_levels_are_chosen_by_name(void **state)
{
	(void)state;
	assert_true(level_is_supported(LEVEL_SCALAR));
	for (enum level level = 0; level < LEVEL_COUNT; level++) {
		int rc = level_choose(level_name(level));

		assert_int_equal(rc, level_is_supported(level) ? 0 : -ENOTSUP);
		if (!rc)
			assert_int_equal(level_get(), level);
	}
	assert_int_equal(level_choose("scalar"), 0);
	assert_int_equal(level_choose("sse"), -EINVAL);
	assert_int_equal(level_get(), LEVEL_SCALAR);
	assert_int_equal(level_choose(NULL), 0);
	for (enum level level = level_get() + 1; level < LEVEL_COUNT; level++)
		assert_false(level_is_supported(level));
}

/* The published reference implementations give these. */
static void test_generator_is_xoshiro256_plus_plus(void **state)
{
	struct rng rng = {{1, 2, 3, 4}};
	static const uint64_t want[] = {41943041, 58720359, 3588806011781223, 3591011842654386};

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(rng_next(&rng), want[i]);
	rng_seed(&rng, 0); /* SplitMix64 from 0 */
	assert_true(rng.state[0] == 0xe220a8397b1dcdafu && rng.state[1] == 0x6e789e6aa1b965f4u);
}

static void test_numbers_below_a_limit_are_even(void **state)
{
	struct rng rng;
	unsigned seen[6] = {0};

	(void)state;
	rng_seed(&rng, 1);
	for (int i = 0; i < 60000; i++)
		seen[rng_below(&rng, 6)]++;
	for (int i = 0; i < 6; i++)
		assert_in_range(seen[i], 9600, 10400);
	assert_int_equal(rng_below(&rng, 1), 0);
	for (int i = 0; i < 1000; i++) {
		double x = rng_unit(&rng);

		assert_true(x >= 0 && x < 1);
	}
}

static void test_sample_is_sorted_even_and_whole_if_small(void **state)
{
	struct rng rng;
	uint64_t rows[10];
	unsigned seen[20] = {0};

	(void)state;
	rng_seed(&rng, 7);
	assert_int_equal(rng_sample(&rng, 3, 10, rows), 3);
	assert_true(rows[0] == 0 && rows[1] == 1 && rows[2] == 2);
	assert_int_equal(rng_sample(&rng, 0, 10, rows), 0);
	for (int round = 0; round < 10000; round++) {
		assert_int_equal(rng_sample(&rng, 20, 10, rows), 10);
		for (int i = 0; i < 10; i++) {
			assert_true(rows[i] < 20 && (i == 0 || rows[i - 1] < rows[i]));
			seen[rows[i]]++;
		}
	}
	for (int i = 0; i < 20; i++)
		assert_in_range(seen[i], 4800, 5200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dtypes_have_names_and_widths),
		cmocka_unit_test(test_levels_are_chosen_by_name),
		cmocka_unit_test(test_generator_is_xoshiro256_plus_plus),
		cmocka_unit_test(test_numbers_below_a_limit_are_even),
		cmocka_unit_test(test_sample_is_sorted_even_and_whole_if_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
