/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "quant/convert.h"
#include "quant/level.h"

#define PATTERNS 65536u

static float float_of(uint32_t bits)
{
	float x;

	memcpy(&x, &bits, sizeof x);
	return x;
}

static uint16_t to_f16(float x)
{
	uint16_t half;

	convert_f32_to_f16(&half, &x, 1);
	return half;
}

static float from_f16(uint16_t half)
{
	float x;

	convert_f16_to_f32(&x, &half, 1);
	return x;
}

static uint16_t to_bf16(float x)
{
	uint16_t half;

	convert_f32_to_bf16(&half, &x, 1);
	return half;
}

/* The value of a finite f16 as the standard defines it, computed without a bit trick. */
static double f16_value(uint16_t half)
{
	int exponent = half >> 10 & 31;
	double mantissa = half & 0x3ff;
	double value = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);

	return half & 0x8000 ? -value : value;
}

static void test_f16_all_patterns_widen_exactly_and_return(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < PATTERNS; i++) {
		uint16_t half = (uint16_t)i;
		float x = from_f16(half);

		if ((half & 0x7fff) > 0x7c00)
			assert_true(isnan(x));
		else if ((half & 0x7fff) == 0x7c00)
			assert_true(isinf(x));
		else
			assert_true((double)x == f16_value(half));
		assert_int_equal(!!signbit(x), half >> 15);
		assert_int_equal(to_f16(x), half);
	}
}

/* Between each two neighbours: below, at and above the middle. */
static void test_f16_rounds_to_nearest_even(void **state)
{
	(void)state;
	for (uint16_t half = 0; half < 0x7bff; half++) {
		float low = from_f16(half), high = from_f16((uint16_t)(half + 1));
		float middle = low + (high - low) / 2; /* exact: f32 has 13 bits more */

		assert_int_equal(to_f16(nextafterf(middle, 0)), half);
		assert_int_equal(to_f16(middle), half % 2 ? half + 1 : half);
		assert_int_equal(to_f16(nextafterf(middle, INFINITY)), half + 1);
		assert_int_equal(to_f16(-middle), 0x8000 | (half % 2 ? half + 1 : half));
	}
}

static void test_f16_ends_of_the_range(void **state)
{
	(void)state;
	assert_int_equal(to_f16(65504.0f), 0x7bff);
	assert_int_equal(to_f16(nextafterf(65520.0f, 0)), 0x7bff);
	assert_int_equal(to_f16(65520.0f), 0x7c00);
	assert_int_equal(to_f16(-1e30f), 0xfc00);
	assert_int_equal(to_f16(0x1p-25f), 0);
	assert_int_equal(to_f16(nextafterf(0x1p-25f, 1)), 1);
	assert_int_equal(to_f16(float_of(1)), 0);
	assert_int_equal(to_f16(-0.0f), 0x8000);
	assert_int_equal(to_f16(float_of(0x7f800001)), 0x7e00); /* a NaN whose payload does not fit */
	assert_int_equal(to_f16(float_of(0xff800001)), 0xfe00);
}

static void test_bf16_all_patterns_return(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < PATTERNS; i++) {
		uint16_t half = (uint16_t)i;
		float x;
		uint32_t bits;

		convert_bf16_to_f32(&x, &half, 1);
		memcpy(&bits, &x, sizeof bits);
		assert_int_equal(bits, i << 16);
		assert_int_equal(to_bf16(x), half);
	}
}

static void test_bf16_rounds_to_nearest_even(void **state)
{
	(void)state;
	for (uint32_t half = 0; half < 0x7f80; half++) {
		assert_int_equal(to_bf16(float_of(half << 16 | 0x7fff)), half);
		assert_int_equal(to_bf16(float_of(half << 16 | 0x8000)), half % 2 ? half + 1 : half);
		assert_int_equal(to_bf16(float_of(half << 16 | 0x8001)), half + 1);
	}
	assert_int_equal(to_bf16(float_of(0x7f800001)), 0x7fc0);
	assert_int_equal(to_bf16(float_of(0x7f7fffff)), 0x7f80); /* FLT_MAX rounds to infinity */
}

static void test_arrays_of_any_length(void **state)
{
	float in[67], back[68];
	uint16_t half[67];

	(void)state;
	for (size_t n = 0; n < 67; n++) {
		for (size_t i = 0; i < n; i++)
			in[i] = (float)i - 30.0f;
		back[n] = 12345.0f;
		convert_f32_to_f16(half, in, n);
		convert_f16_to_f32(back, half, n);
		assert_memory_equal(in, back, n * sizeof *in);
		convert_f32_to_bf16(half, in, n);
		convert_bf16_to_f32(back, half, n);
		assert_memory_equal(in, back, n * sizeof *in);
		assert_true(back[n] == 12345.0f);
	}
}

/* All halves, and floats of all kinds in an order that puts NaNs among others: each level, the same bits. */
static void test_levels_agree(void **state)
{
	static uint32_t in[PATTERNS];
	static uint16_t halves[PATTERNS], narrow[2][PATTERNS], got[PATTERNS];
	static float wide[2][PATTERNS], widened[PATTERNS];

	(void)state;
	for (uint32_t i = 0; i < PATTERNS; i++) {
		halves[i] = (uint16_t)(i * 40503u);
		in[i] = i % 5 ? i * 2654435761u
			      : 0x7f800000u + (i * 2654435761u & 0x807fffffu) + (i % 10 ? 1 : 0);
	}
	for (enum level level = LEVEL_SCALAR; level < LEVEL_COUNT; level++) {
		const float *floats = (const void *)in;

		if (level_choose(level_name(level)) != 0)
			continue;
		for (size_t n = PATTERNS - 20; n <= PATTERNS; n++) { /* the last ones are no whole group */
			convert_f32_to_f16(got, floats, n);
			if (level == LEVEL_SCALAR)
				memcpy(narrow[0], got, sizeof got);
			assert_memory_equal(got, narrow[0], n * sizeof *got);
			convert_f32_to_bf16(got, floats, n);
			if (level == LEVEL_SCALAR)
				memcpy(narrow[1], got, sizeof got);
			assert_memory_equal(got, narrow[1], n * sizeof *got);
			convert_f16_to_f32(widened, halves, n);
			if (level == LEVEL_SCALAR)
				memcpy(wide[0], widened, sizeof widened);
			assert_memory_equal(widened, wide[0], n * sizeof *widened);
			convert_bf16_to_f32(widened, halves, n);
			if (level == LEVEL_SCALAR)
				memcpy(wide[1], widened, sizeof widened);
			assert_memory_equal(widened, wide[1], n * sizeof *widened);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_f16_all_patterns_widen_exactly_and_return),
		cmocka_unit_test(test_f16_rounds_to_nearest_even),
		cmocka_unit_test(test_f16_ends_of_the_range),
		cmocka_unit_test(test_bf16_all_patterns_return),
		cmocka_unit_test(test_bf16_rounds_to_nearest_even),
		cmocka_unit_test(test_arrays_of_any_length),
		cmocka_unit_test(test_levels_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
