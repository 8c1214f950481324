/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as text beside the C library's strtof, which rounds correctly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/cli/number.h"

#define ROUNDS 300000

static uint64_t state_of_random = 0x9e3779b97f4a7c15;

static uint64_t next_random(void)
{
	state_of_random ^= state_of_random << 13;
	state_of_random ^= state_of_random >> 7;
	state_of_random ^= state_of_random << 17;
	return state_of_random;
}

static void assert_same(const char *text)
{
	const char *end = text + strlen(text), *at;
	float got = 0, want = strtof(text, NULL);

	at = number_parse(text, end, &got);
	if (isinf(want)) {
		assert_null(at);
		return;
	}
	if (at != end || memcmp(&got, &want, sizeof got) != 0)
		fail_msg("%s: got %a, want %a", text, (double)got, (double)want);
}

static void test_random_floats(void **state)
{
	static const char *const formats[] = {"%.9g", "%.6g", "%.17g", "%.8e", "%.3f", "%.40g"};
	char text[500];

	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint32_t bits = (uint32_t)next_random();
		float value;

		memcpy(&value, &bits, sizeof value);
		if (!isfinite(value))
			continue;
		snprintf(text, sizeof text, formats[i % 6], (double)value);
		assert_same(text);
	}
}

static void test_random_digits(void **state)
{
	char text[64];

	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned long long a = next_random() >> next_random() % 64,
				   b = next_random() >> next_random() % 64;

		snprintf(text, sizeof text, "%s%llu.%llue%d", i % 2 ? "-" : "", a, b,
			 (int)(next_random() % 100) - 50);
		assert_same(text);
	}
}

/* The middle between two floats, exactly and a little beside it: where to round twice would go wrong. */
static void test_middles(void **state)
{
	char text[256], *digit;

	(void)state;
	for (unsigned i = 0; i < ROUNDS / 10; i++) {
		uint32_t bits =
			((uint32_t)next_random() & 0x007fffff) | (120 + (uint32_t)(next_random() % 16)) << 23;
		float value;

		memcpy(&value, &bits, sizeof value);
		snprintf(text, sizeof text, "%.60f",
			 ((double)value + (double)nextafterf(value, INFINITY)) / 2);
		assert_same(text);
		strcat(text, "1");
		assert_same(text);
		digit = text + strcspn(text, "123456789");
		(*digit)--; /* far from the middle, or a little below it if it is the last one */
		assert_same(text);
	}
	assert_same("16777217");
	assert_same("16777217.0000000000000000000000000001");
	assert_same("16777219");
	assert_same("0.50000002980232238769531250");
}

static void test_edges(void **state)
{
	static const char *const texts[] = {
		"0",
		"-0",
		"0e99999",
		"1e-45",
		"7e-46",
		"1.17549435e-38",
		"1.1754942e-38",
		"3.4028235e38",
		"3.4028236e38",
		"3.40282357e38",
		"1e39",
		"-1e99999",
		"1e-99999",
		"00000000000000000000000000001",
		".5",
		"5.",
		"1E+2",
		"+3",
		"123456789012345678901234567890",
		"0.000000000000000000000000000000000000000000000001",
		"100000000000000000000000000000000000000000000000e-46",
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		assert_same(texts[i]);
}

static void test_words(void **state)
{
	static const char *const texts[] = {"nan", "-nan", "NaN", "inf", "-INF", "+Infinity"};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		float got, want = strtof(texts[i], NULL);

		assert_ptr_equal(number_parse(texts[i], texts[i] + strlen(texts[i]), &got),
				 texts[i] + strlen(texts[i]));
		assert_memory_equal(&got, &want, sizeof got);
	}
}

static void test_what_is_no_number(void **state)
{
	static const char *const texts[] = {"",  ".", "-",  "+",   "e5",  "-.", "1e", "1e+",
					    "x", "n", "in", "--1", "+ 1", " 1", ".e1"};
	char longest[600];
	float got;

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		assert_null(number_parse(texts[i], texts[i] + strlen(texts[i]), &got));
	memset(longest, '1', sizeof longest);
	longest[0] = '.';
	assert_null(number_parse(longest, longest + sizeof longest, &got));
	assert_ptr_equal(number_parse(longest, longest + 400, &got), longest + 400);
}

/* Only what stands before end is read, and the number ends where it ends. */
static void test_ends(void **state)
{
	const char *text = "12,5 7";
	float got;

	(void)state;
	assert_ptr_equal(number_parse(text, text + 6, &got), text + 2);
	assert_true(got == 12);
	assert_ptr_equal(number_parse(text, text + 1, &got), text + 1);
	assert_true(got == 1);
	text = "0x1p3";
	assert_ptr_equal(number_parse(text, text + 5, &got), text + 1);
}

static void test_other_locales(void **state)
{
	float got;
	const char *text = "1.50000001234567890123";

	(void)state;
	if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8"))
		skip();
	assert_ptr_equal(number_parse(text, text + strlen(text), &got), text + strlen(text));
	setlocale(LC_ALL, "C");
	assert_true(got == 1.5f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_floats), cmocka_unit_test(test_random_digits),
		cmocka_unit_test(test_middles),       cmocka_unit_test(test_edges),
		cmocka_unit_test(test_words),         cmocka_unit_test(test_what_is_no_number),
		cmocka_unit_test(test_ends),          cmocka_unit_test(test_other_locales),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
