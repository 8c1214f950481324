/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/sq8.kernel.h"

#include <float.h>
#include <math.h>

#include "quant/block.h"
#include "quant/wide.h"

/* A scale's reciprocal must be a f32; a vector as small as this is 0 to all but its residual. */
#define LARGEST_MIN 0x1p-100f

SIMD_INLINE wide part(const float *x, size_t i, uint32_t dim)
{
	return i + WIDE <= dim ? wide_load(x + i) : wide_load_part(x + i, dim - i);
}

SIMD_INLINE float largest_of(const float *x, uint32_t dim)
{
	wide largest = wide_set1(0);

	for (size_t i = 0; i < dim; i += WIDE)
		largest = wide_max(wide_abs(part(x, i, dim)), largest);
	return wide_largest(largest);
}

/*
 * The residual is summed in f32: its terms x - scale*level are rounded once, its sum errs by (dim/16 + 5)
 * 2^-24, its root and its factor by a few more. dim 2^-24 and 16 2^-24 on top are above all of them.
 */
static void encode(uint8_t *code, float factors[SQ8_FACTORS], const float *x, uint32_t dim)
{
	float largest = largest_of(x, dim), scale = largest / 127, per_scale = 127 / largest;
	wide error = wide_set1(0), norm = wide_set1(0);

	if (!(largest >= LARGEST_MIN))
		scale = per_scale = 0;
	for (size_t i = 0; i < dim; i += WIDE) {
		uint8_t last[WIDE];
		wide v = part(x, i, dim);
		wide level = wide_round(wide_mul(v, wide_set1(per_scale)));
		wide rest = wide_fnma(level, wide_set1(scale), v);

		error = wide_fma(rest, rest, error);
		norm = wide_fma(level, level, norm);
		level = wide_add(level, wide_set1(128));
		if (i + WIDE <= dim) {
			wide_store_u8(code + i, level);
		} else {
			wide_store_u8(last, level);
			memcpy(code + i, last, dim - i);
		}
	}
	factors[0] = scale;
	factors[1] = (float)((double)scale * (double)scale * (double)wide_sum(norm));
	factors[2] = sqrtf(wide_sum(error)) * (1 + ((float)dim + 16) * 0x1p-24f);
}

#if SIMD_F32 == 16

#define PRODUCT_ROWS 4

/* The totals of four times sixteen numbers. */
SIMD_INLINE __m128i totals(const __m512i x[4])
{
	__m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(x[0], x[1]), _mm512_unpackhi_epi32(x[0], x[1]));
	__m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(x[2], x[3]), _mm512_unpackhi_epi32(x[2], x[3]));
	__m512i s = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
	__m256i half = _mm256_add_epi32(_mm512_castsi512_si256(s), _mm512_extracti64x4_epi64(s, 1));

	return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

/* Sums of products of rows with both halves of the query; rows is 1 or 4. */
SIMD_INLINE void some_products(int32_t *high, int32_t *low, const struct sq8_query *sq, const uint8_t *codes,
			       int rows)
{
	const uint32_t dim = sq->dim;
	__m512i h[PRODUCT_ROWS], l[PRODUCT_ROWS];

	SIMD_UNROLL
	for (int r = 0; r < PRODUCT_ROWS; r++)
		h[r] = l[r] = _mm512_setzero_si512();
	for (uint32_t i = 0; i < dim; i += 64) {
		__mmask64 some = dim - i < 64 ? ((uint64_t)1 << (dim - i)) - 1 : UINT64_MAX;
		__m512i qh = _mm512_loadu_si512(sq->high + i), ql = _mm512_loadu_si512(sq->low + i);

		SIMD_UNROLL
		for (int r = 0; r < rows; r++) {
			__m512i x = _mm512_maskz_loadu_epi8(some, codes + (size_t)r * dim + i);

			h[r] = _mm512_dpbusd_epi32(h[r], x, qh);
			l[r] = _mm512_dpbusd_epi32(l[r], x, ql);
		}
	}
	if (rows == PRODUCT_ROWS) {
		_mm_storeu_si128((void *)high, totals(h));
		_mm_storeu_si128((void *)low, totals(l));
	} else {
		*high = _mm512_reduce_add_epi32(h[0]);
		*low = _mm512_reduce_add_epi32(l[0]);
	}
}

#elif SIMD_F32 == 8

#define PRODUCT_ROWS 2

SIMD_INLINE int32_t total(__m256i x)
{
	__m128i s = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));

	s = _mm_add_epi32(s, _mm_unpackhi_epi64(s, s));
	return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 1)));
}

SIMD_INLINE __m256i words_of(const void *p, uint32_t count, bool is_signed)
{
	uint8_t last[16] = {0};
	__m128i x = _mm_loadu_si128(count < 16 ? memcpy(last, p, count) : p);

	return is_signed ? _mm256_cvtepi8_epi16(x) : _mm256_cvtepu8_epi16(x);
}

/* Bytes times bytes would overflow the 16 bits in which avx2 adds two of them: words it is. */
SIMD_INLINE void some_products(int32_t *high, int32_t *low, const struct sq8_query *sq, const uint8_t *codes,
			       int rows)
{
	const uint32_t dim = sq->dim;
	__m256i h[PRODUCT_ROWS], l[PRODUCT_ROWS];

	SIMD_UNROLL
	for (int r = 0; r < rows; r++)
		h[r] = l[r] = _mm256_setzero_si256();
	for (uint32_t i = 0; i < dim; i += 16) {
		__m256i qh = words_of(sq->high + i, 16, true), ql = words_of(sq->low + i, 16, true);

		SIMD_UNROLL
		for (int r = 0; r < rows; r++) {
			__m256i x = words_of(codes + (size_t)r * dim + i, dim - i, false);

			h[r] = _mm256_add_epi32(h[r], _mm256_madd_epi16(x, qh));
			l[r] = _mm256_add_epi32(l[r], _mm256_madd_epi16(x, ql));
		}
	}
	SIMD_UNROLL
	for (int r = 0; r < rows; r++) {
		high[r] = total(h[r]);
		low[r] = total(l[r]);
	}
}

#else

#define PRODUCT_ROWS 1

SIMD_INLINE void some_products(int32_t *high, int32_t *low, const struct sq8_query *sq, const uint8_t *codes,
			       int rows)
{
	(void)rows;
	*high = *low = 0;
	for (uint32_t i = 0; i < sq->dim; i++) {
		*high += codes[i] * sq->high[i];
		*low += codes[i] * sq->low[i];
	}
}

#endif

/* Long rows one by one, as in distance.kernel.c. */
#define LONG_ROW_BYTES 256

static void products(int32_t *high, int32_t *low, const struct sq8_query *sq, const uint8_t *codes, size_t n)
{
	const size_t dim = sq->dim;
	size_t r = 0;

	for (; dim < LONG_ROW_BYTES && r + PRODUCT_ROWS <= n; r += PRODUCT_ROWS)
		some_products(high + r, low + r, sq, codes + r * dim, PRODUCT_ROWS);
	for (; r < n; r++)
		some_products(high + r, low + r, sq, codes + r * dim, 1);
}

/* <rounded query, x^> of sixteen rows. A code is 128 above its level: what that adds is taken off exactly. */
SIMD_INLINE wide inner(const struct sq8_query *sq, const int32_t *high, const int32_t *low,
		       const float *factors)
{
	int32_t h[WIDE], l[WIDE];

	for (int i = 0; i < WIDE; i++) {
		h[i] = high[i] - 128 * sq->high_sum;
		l[i] = low[i] - 128 * sq->low_sum;
	}
	wide sum = wide_fma(wide_load_i32(h), wide_set1(128), wide_load_i32(l));

	return wide_mul(wide_mul(sum, wide_load(factors)), wide_set1(sq->scale));
}

static void distances(float *out, const struct sq8_query *sq, const int32_t *high, const int32_t *low,
		      const float *factors)
{
	for (size_t i = 0; i < BLOCK_ROWS; i += WIDE) {
		wide dot = inner(sq, high + i, low + i, factors + i);
		wide norm2 = wide_load(factors + BLOCK_ROWS + i), d;

		if (sq->metric == VS_IP) /* 0 times |x^|^2: a row that cannot be found stays one */
			d = wide_fma(wide_set1(0), norm2, wide_sub(wide_set1(0), dot));
		else
			d = wide_max(wide_fnma(wide_set1(2), dot, wide_add(norm2, wide_set1(sq->norm2))),
				     wide_set1(0));
		if (sq->metric == VS_COSINE)
			d = wide_mul(d, wide_set1(0.5f));
		wide_store(out + i, d);
	}
}

/*
 * What the f32 distance of a row is not below. SLACK is above the rounding of this estimate itself, a few
 * 2^-24 of |q|^2 + |x^|^2; sq->looseness is above that of the f32 distance it is compared with.
 */
#define SLACK 0x1p-20f

SIMD_INLINE wide bound_l2(const struct sq8_query *sq, wide dot, wide norm2, wide e)
{
	wide sum = wide_add(norm2, wide_set1(sq->norm2));
	wide d2 = wide_fnma(wide_set1(2), dot, wide_mul(sum, wide_set1(1 - SLACK)));
	wide d = wide_sub(wide_sqrt(wide_max(d2, wide_set1(0))), wide_add(e, wide_set1(sq->error)));

	d = wide_max(d, wide_set1(0));
	return wide_mul(wide_mul(d, d), wide_set1(1 - sq->looseness));
}

/* |<q,x> - <q^,x^>| <= |q^| |x - x^| + |q - q^| |x|, and |x| <= |x^| + e. */
SIMD_INLINE wide bound_ip(const struct sq8_query *sq, wide dot, wide norm2, wide e)
{
	wide norm = wide_sqrt(norm2), length = wide_add(norm, e);
	wide error = wide_fma(wide_set1(sq->norm), e, wide_mul(wide_set1(sq->error), length));

	error = wide_fma(wide_set1((sq->norm + sq->error) * (SLACK + sq->looseness)), length, error);
	return wide_sub(wide_sub(wide_set1(0), dot), error);
}

static void bounds(float *out, const struct sq8_query *sq, const int32_t *high, const int32_t *low,
		   const float *factors)
{
	for (size_t i = 0; i < BLOCK_ROWS; i += WIDE) {
		wide dot = inner(sq, high + i, low + i, factors + i);
		wide norm2 = wide_load(factors + BLOCK_ROWS + i), e = wide_load(factors + 2 * BLOCK_ROWS + i),
		     d;

		if (sq->metric == VS_IP) {
			d = bound_ip(sq, dot, norm2, e);
		} else {
			d = bound_l2(sq, dot, norm2, e);
			if (sq->metric == VS_COSINE) /* 1 - cos errs by rounding absolutely, not relatively */
				d = wide_sub(wide_mul(d, wide_set1(0.5f)), wide_set1(SLACK + sq->looseness));
		}
		wide_store(out + i, d);
	}
}

const struct sq8_kernels KERNEL(sq8_kernels) = {encode, products, distances, bounds};
