/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/mount/humanize.h"

#include <stddef.h>
#include <stdio.h>

#define DIGITS_MAX 20 /* of a uint64_t */

const char *humanize_count(char text[QUANTITY_SIZE], uint64_t n)
{
	char digits[DIGITS_MAX + 1];
	int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
	char *to = text;

	for (int i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = 0;
	return text;
}

const char *humanize_bytes(char text[QUANTITY_SIZE], uint64_t size_bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	double size = (double)size_bytes;
	unsigned unit = 0;

	while (size >= 999.5) {
		size /= 1000;
		unit++;
	}
	snprintf(text, QUANTITY_SIZE, unit > 0 && size < 9.95 ? "%.1f %s" : "%.0f %s", size, units[unit]);
	return text;
}

const char *humanize_time(char text[QUANTITY_SIZE], double time_s)
{
	/* Beyond this the estimate means nothing, and the number would not fit its type. */
	unsigned long s = time_s < 1e8 ? (unsigned long)time_s : 100000000ul;

	if (s >= 3600)
		snprintf(text, QUANTITY_SIZE, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
	else
		snprintf(text, QUANTITY_SIZE, "%lu:%02lu", s / 60, s % 60);
	return text;
}

bool humanize_parse(const char *text, uint64_t least, uint64_t most, uint64_t *n)
{
	uint64_t value = 0;

	if (!*text)
		return false;
	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9')
			return false;
		if (__builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return false;
	}
	if (value < least || value > most)
		return false;
	*n = value;
	return true;
}
