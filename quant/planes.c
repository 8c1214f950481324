/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/planes.h"

#include <stdint.h>
#include <string.h>

#define LANES 16u

typedef uint8_t v16 __attribute__((vector_size(LANES)));

static inline v16 load(const uint8_t *at)
{
	v16 v;

	memcpy(&v, at, sizeof v);
	return v;
}

static inline void store(uint8_t *at, v16 v)
{
	memcpy(at, &v, sizeof v);
}

/* Of two vectors end to end, every second byte from the first one on, */
static inline v16 evens(v16 a, v16 b)
{
	return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}

/* and from the second one on. */
static inline v16 odds(v16 a, v16 b)
{
	return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

/* The way back: the first half of the bytes of a and b in turns, */
static inline v16 zip_low(v16 a, v16 b)
{
	return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

/* and the second half. */
static inline v16 zip_high(v16 a, v16 b)
{
	return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/* These return how many numbers they have done: whole vectors of them. */
static size_t split2(const uint8_t *in, size_t count, uint8_t *out)
{
	size_t i = 0;

	for (; i + LANES <= count; i += LANES) {
		v16 a = load(in + 2 * i), b = load(in + 2 * i + LANES);

		store(out + i, evens(a, b));
		store(out + count + i, odds(a, b));
	}
	return i;
}

static size_t split4(const uint8_t *in, size_t count, uint8_t *out)
{
	size_t i = 0;

	for (; i + LANES <= count; i += LANES) {
		v16 a = load(in + 4 * i), b = load(in + 4 * i + LANES);
		v16 c = load(in + 4 * i + 2 * LANES), d = load(in + 4 * i + 3 * LANES);
		v16 low = evens(a, b), high = evens(c, d);

		store(out + i, evens(low, high));
		store(out + 2 * count + i, odds(low, high));
		low = odds(a, b);
		high = odds(c, d);
		store(out + count + i, evens(low, high));
		store(out + 3 * count + i, odds(low, high));
	}
	return i;
}

static size_t merge2(const uint8_t *in, size_t count, uint8_t *out)
{
	size_t i = 0;

	for (; i + LANES <= count; i += LANES) {
		v16 a = load(in + i), b = load(in + count + i);

		store(out + 2 * i, zip_low(a, b));
		store(out + 2 * i + LANES, zip_high(a, b));
	}
	return i;
}

static size_t merge4(const uint8_t *in, size_t count, uint8_t *out)
{
	size_t i = 0;

	for (; i + LANES <= count; i += LANES) {
		v16 p0 = load(in + i), p1 = load(in + count + i);
		v16 p2 = load(in + 2 * count + i), p3 = load(in + 3 * count + i);
		v16 even = zip_low(p0, p2), odd = zip_low(p1, p3);

		store(out + 4 * i, zip_low(even, odd));
		store(out + 4 * i + LANES, zip_high(even, odd));
		even = zip_high(p0, p2);
		odd = zip_high(p1, p3);
		store(out + 4 * i + 2 * LANES, zip_low(even, odd));
		store(out + 4 * i + 3 * LANES, zip_high(even, odd));
	}
	return i;
}

void planes_split(const void *numbers, size_t count, size_t width, void *planes)
{
	const uint8_t *in = numbers;
	uint8_t *out = planes;
	size_t i = width == 2 ? split2(in, count, out) : width == 4 ? split4(in, count, out) : 0;

	if (width == 1 && count > 0)
		memcpy(planes, numbers, count);
	for (; width > 1 && i < count; i++)
		for (size_t p = 0; p < width; p++)
			out[p * count + i] = in[i * width + p];
}

void planes_merge(const void *planes, size_t count, size_t width, void *numbers)
{
	const uint8_t *in = planes;
	uint8_t *out = numbers;
	size_t i = width == 2 ? merge2(in, count, out) : width == 4 ? merge4(in, count, out) : 0;

	if (width == 1 && count > 0)
		memcpy(numbers, planes, count);
	for (; width > 1 && i < count; i++)
		for (size_t p = 0; p < width; p++)
			out[i * width + p] = in[p * count + i];
}
