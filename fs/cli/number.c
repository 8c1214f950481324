/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/number.h"

#include <assert.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NUMBER_BYTES_MAX 500
#define EXPONENT_MAX 99999 /* beyond any number; larger ones are taken as this */
#define EXACT_POWER_MAX 22 /* 10^22 is the last power that a double holds exactly */
#define EXACT_DIGITS_MAX (UINT64_C(1) << 53)
#define BELOW_FLOAT_BITS 29 /* of a double's fraction, those that a float has no room for */

/* What a decimal number is made of: digits × 10^exponent. */
struct decimal {
	uint64_t digits;
	int exponent;
	bool negative;
	bool is_exact; /* no digit had to be left out */
	const char *end;
};

static locale_t c_locale;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_locale(void)
{
	c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static bool is_digit(const char *p, const char *end)
{
	return p < end && *p >= '0' && *p <= '9';
}

/* Takes the digits at p into d; each of them moves the point by shift. Returns the byte after them. */
static const char *take_digits(const char *p, const char *end, int shift, struct decimal *d)
{
	for (; is_digit(p, end); p++) {
		if (d->digits < UINT64_C(100000000000000000)) { /* 10^17: room for one more */
			d->digits = d->digits * 10 + (uint64_t)(*p - '0');
			d->exponent -= shift;
		} else {
			d->is_exact = d->is_exact && *p == '0';
			d->exponent += 1 - shift;
		}
	}
	return p;
}

static const char *take_exponent(const char *p, const char *end, int *exponent)
{
	const char *digits = p + 1;
	bool negative = digits < end && *digits == '-';
	int n = 0;

	if (digits < end && (*digits == '-' || *digits == '+'))
		digits++;
	if (!is_digit(digits, end))
		return NULL;
	for (; is_digit(digits, end); digits++)
		n = n < EXPONENT_MAX ? n * 10 + (*digits - '0') : EXPONENT_MAX;
	*exponent += negative ? -n : n;
	return digits;
}

/* Splits the number at p (behind its sign); false if there is none. */
static bool split(const char *p, const char *end, struct decimal *d)
{
	const char *start = p;
	bool found;

	if (end - p > NUMBER_BYTES_MAX)
		end = p + NUMBER_BYTES_MAX;
	p = take_digits(p, end, 0, d);
	found = p > start;
	if (p < end && *p == '.') {
		const char *fraction = p + 1;

		p = take_digits(fraction, end, 1, d);
		found = found || p > fraction;
	}
	if (found && p < end && (*p == 'e' || *p == 'E'))
		p = take_exponent(p, end, &d->exponent);
	d->end = p;
	return found && p && p - start < NUMBER_BYTES_MAX;
}

/*
 * One multiplication or division of two exact doubles is rounded once. To round its result again is safe, but
 * for a result in the middle between two floats: the number itself may have been on either side of it.
 */
static bool parse_fast(const struct decimal *d, float *out)
{
	static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
					1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
					1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
	uint64_t bits, middle = UINT64_C(1) << (BELOW_FLOAT_BITS - 1);
	double value;

	if (!d->is_exact || d->digits > EXACT_DIGITS_MAX || d->exponent > EXACT_POWER_MAX ||
	    d->exponent < -EXACT_POWER_MAX)
		return false;
	value = d->exponent < 0 ? (double)d->digits / powers[-d->exponent]
				: (double)d->digits * powers[d->exponent];
	memcpy(&bits, &value, sizeof bits);
	if (d->digits != 0 &&
	    (value < (double)FLT_MIN || value > (double)FLT_MAX || (bits & (2 * middle - 1)) == middle))
		return false;
	*out = (float)(d->negative ? -value : value);
	return true;
}

static bool parse_slowly(const char *text, const struct decimal *d, float *out)
{
	size_t len = (size_t)(d->end - text);
	char copy[NUMBER_BYTES_MAX + 1], *end;

	if (len > NUMBER_BYTES_MAX)
		return false;
	memcpy(copy, text, len);
	copy[len] = 0;
	pthread_once(&once, make_locale);
	*out = c_locale ? strtof_l(copy, &end, c_locale) : strtof(copy, &end);
	assert(!c_locale || *end == 0);
	return *end == 0 && !isinf(*out);
}

static const char *parse_word(const char *p, const char *end, bool negative, float *out)
{
	static const struct {
		const char *word;
		float value;
	} words[] = {{"infinity", INFINITY}, {"inf", INFINITY}, {"nan", NAN}};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		size_t len = strlen(words[i].word);

		if ((size_t)(end - p) < len || strncasecmp(p, words[i].word, len) != 0)
			continue;
		*out = negative ? -words[i].value : words[i].value;
		return p + len;
	}
	return NULL;
}

const char *number_parse(const char *text, const char *end, float *out)
{
	struct decimal d = {.is_exact = true};
	const char *p = text;

	if (p < end && (*p == '-' || *p == '+'))
		d.negative = *p++ == '-';
	if (p < end && *p != '.' && !is_digit(p, end))
		return parse_word(p, end, d.negative, out);
	if (!split(p, end, &d))
		return NULL;
	return parse_fast(&d, out) || parse_slowly(text, &d, out) ? d.end : NULL;
}
