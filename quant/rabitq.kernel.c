/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/rabitq.kernel.h"

#include <stdbool.h>

#include "quant/block.h"
#include "quant/wide.h"

SIMD_INLINE wide part(const float *x, size_t i, uint32_t dim)
{
	return i + WIDE <= dim ? wide_load(x + i) : wide_load_part(x + i, dim - i);
}

static double centre(float *out, const float *x, const float *mean, uint32_t dim, uint32_t padded)
{
	wide64 sum = wide64_zero();
	size_t i = 0;

	for (; i < dim; i += WIDE) {
		wide c = part(mean, i, dim), v = wide_sub(part(x, i, dim), c);

		sum = wide64_add_product(sum, v, c);
		wide_store(out + i, v);
	}
	for (; i < padded; i += WIDE)
		wide_store(out + i, wide_set1(0));
	return wide64_sum(sum);
}

static void signs(uint8_t *bits, double *norm2, double *magnitude, const float *o, uint32_t padded)
{
	wide64 squares = wide64_zero(), sum = wide64_zero();

	for (size_t i = 0; i < padded; i += WIDE) {
		wide v = wide_load(o + i);
		uint16_t mask = (uint16_t)wide_mask_gt(v, wide_set1(0));

		memcpy(bits + i / 8, &mask, sizeof mask);
		squares = wide64_add_product(squares, v, v);
		sum = wide64_add(sum, wide_abs(v));
	}
	*norm2 = wide64_sum(squares);
	*magnitude = wide64_sum(sum);
}

/* Half more than the level of a component. */
SIMD_INLINE wide grid(wide o, wide t, wide most)
{
	return wide_add(wide_floor(wide_min(wide_mul(wide_abs(o), t), most)), wide_set1(0.5f));
}

static struct rabitq_fit fit(const float *o, uint32_t padded, float t, unsigned most)
{
	const wide scale = wide_set1(t), top = wide_set1((float)most + 0.5f);
	wide dot = wide_set1(0), norm2 = wide_set1(0);

	for (size_t i = 0; i < padded; i += WIDE) {
		wide v = wide_load(o + i), g = grid(v, scale, top);

		dot = wide_fma(wide_abs(v), g, dot);
		norm2 = wide_fma(g, g, norm2);
	}
	return (struct rabitq_fit){(double)wide_sum(dot), (double)wide_sum(norm2)};
}

static void levels(uint8_t *out, const float *o, uint32_t padded, float t, unsigned most)
{
	const wide scale = wide_set1(t), top = wide_set1((float)most + 0.5f),
		   middle = wide_set1((float)most / 2);

	for (size_t i = 0; i < padded; i += WIDE) {
		wide v = wide_load(o + i);
		wide m = wide_sub(grid(v, scale, top), wide_set1(0.5f));
		/* Mirrored about the middle where the component is not above 0. */
		uint32_t positive = wide_mask_gt(v, wide_set1(0));

		m = wide_add(wide_flip(wide_sub(m, middle), ~positive & 0xffff), middle);
		wide_store_u8(out + i, m);
	}
}

#if SIMD_F32 == 16

/* The lower bits of 64 components, a byte each. */
SIMD_INLINE __m512i lower_bits(const uint8_t *extra, unsigned bits)
{
	__m512i value = _mm512_setzero_si512();
	unsigned place = 0;

	if (bits & 4) {
		__m256i x = _mm256_loadu_si256((const void *)extra);
		__m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(x), _mm256_srli_epi16(x, 4), 1);

		value = _mm512_and_si512(both, _mm512_set1_epi8(15));
		extra += 32;
		place = 4;
	}
	if (bits & 2) { /* the four quarters shifted by 0, 2, 4, 6 */
		const __m512i by =
			_mm512_set_epi64(0x0006000600060006, 0x0006000600060006, 0x0004000400040004,
					 0x0004000400040004, 0x0002000200020002, 0x0002000200020002, 0, 0);
		__m512i x = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)extra));

		x = _mm512_and_si512(_mm512_srlv_epi16(x, by), _mm512_set1_epi8(3));
		value = _mm512_or_si512(value, _mm512_sll_epi16(x, _mm_cvtsi32_si128((int)place)));
		extra += 16;
		place += 2;
	}
	if (bits & 1) {
		uint64_t word;

		memcpy(&word, extra, sizeof word);
		value = _mm512_mask_add_epi8(value, word, value, _mm512_set1_epi8((char)(1 << place)));
	}
	return value;
}

static void products(int32_t *high, int32_t *low, const struct rabitq_query *rqq, const uint8_t *sign,
		     const uint8_t *extra)
{
	const unsigned bits = rqq->rq->bits - 1;
	const __m512i top = _mm512_set1_epi8((char)(1 << bits));
	__m512i h = _mm512_setzero_si512(), l = h;

	for (size_t i = 0; i < rqq->rq->padded; i += 64) {
		__m512i k = lower_bits(extra + i / 8 * bits, bits);

		k = _mm512_mask_add_epi8(k, rabitq_sign_word(sign + i / 8 * BLOCK_ROWS), k, top);
		h = _mm512_dpbusd_epi32(h, k, _mm512_loadu_si512(rqq->high + i));
		l = _mm512_dpbusd_epi32(l, k, _mm512_loadu_si512(rqq->low + i));
	}
	*high = _mm512_reduce_add_epi32(h);
	*low = _mm512_reduce_add_epi32(l);
}

#elif SIMD_F32 == 8

/* 32 bits as 32 bytes of 0 or value. */
SIMD_INLINE __m256i spread(uint32_t bits, int value)
{
	const __m256i byte =
		_mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
	const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
	__m256i x = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), byte);

	x = _mm256_cmpeq_epi8(_mm256_and_si256(x, bit), bit);
	return _mm256_and_si256(x, _mm256_set1_epi8((char)value));
}

/* rabitq_unpack() of 64 components: two registers of 32. */
SIMD_INLINE void unpack(__m256i k[2], uint64_t signs, const uint8_t *extra, unsigned bits)
{
	int place = 0;

	k[0] = spread((uint32_t)signs, 1 << bits);
	k[1] = spread((uint32_t)(signs >> 32), 1 << bits);
	if (bits & 4) {
		__m256i x = _mm256_loadu_si256((const void *)extra), four = _mm256_set1_epi8(15);

		k[0] = _mm256_or_si256(k[0], _mm256_and_si256(x, four));
		k[1] = _mm256_or_si256(k[1], _mm256_and_si256(_mm256_srli_epi16(x, 4), four));
		extra += 32;
		place = 4;
	}
	if (bits & 2) {
		__m256i x = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)extra));
		const __m256i two = _mm256_set1_epi8(3), by = _mm256_setr_epi64x(0, 0, 2, 2);
		__m256i low = _mm256_and_si256(_mm256_srlv_epi64(x, by), two);
		__m256i high = _mm256_and_si256(_mm256_srlv_epi64(_mm256_srli_epi64(x, 4), by), two);

		k[0] = _mm256_or_si256(k[0], _mm256_slli_epi16(low, place));
		k[1] = _mm256_or_si256(k[1], _mm256_slli_epi16(high, place));
		extra += 16;
		place += 2;
	}
	if (bits & 1) {
		uint64_t word;

		memcpy(&word, extra, sizeof word);
		k[0] = _mm256_or_si256(k[0], spread((uint32_t)word, 1 << place));
		k[1] = _mm256_or_si256(k[1], spread((uint32_t)(word >> 32), 1 << place));
	}
}

SIMD_INLINE __m256i add_products(__m256i sum, __m128i k, const int8_t *q)
{
	__m256i x = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)q));

	return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_cvtepu8_epi16(k), x));
}

SIMD_INLINE int32_t total(__m256i x)
{
	__m128i s = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));

	s = _mm_add_epi32(s, _mm_unpackhi_epi64(s, s));
	return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 1)));
}

static void products(int32_t *high, int32_t *low, const struct rabitq_query *rqq, const uint8_t *sign,
		     const uint8_t *extra)
{
	const unsigned bits = rqq->rq->bits - 1;
	__m256i h = _mm256_setzero_si256(), l = h;

	for (size_t i = 0; i < rqq->rq->padded; i += 64) {
		__m256i k[2];

		unpack(k, rabitq_sign_word(sign + i / 8 * BLOCK_ROWS), extra + i / 8 * bits, bits);
		for (size_t j = 0; j < 2; j++) {
			__m128i a = _mm256_castsi256_si128(k[j]), b = _mm256_extracti128_si256(k[j], 1);

			h = add_products(h, a, rqq->high + i + 32 * j);
			h = add_products(h, b, rqq->high + i + 32 * j + 16);
			l = add_products(l, a, rqq->low + i + 32 * j);
			l = add_products(l, b, rqq->low + i + 32 * j + 16);
		}
	}
	*high = total(h);
	*low = total(l);
}

#else

static void products(int32_t *high, int32_t *low, const struct rabitq_query *rqq, const uint8_t *sign,
		     const uint8_t *extra)
{
	const unsigned bits = rqq->rq->bits - 1;
	int32_t h = 0, l = 0;

	for (size_t i = 0; i < rqq->rq->padded; i += 64) {
		uint8_t k[64];

		rabitq_unpack(k, sign + i / 8 * BLOCK_ROWS, extra + i / 8 * bits, bits);
		for (int j = 0; j < 64; j++) {
			h += k[j] * rqq->high[i + (size_t)j];
			l += k[j] * rqq->low[i + (size_t)j];
		}
	}
	*high = h;
	*low = l;
}

#endif

/* The estimates of sixteen rows by their signs, or what these less their error are. */
SIMD_INLINE wide estimate(const struct rabitq_query *rqq, const float *sums, const float *factors,
			  bool is_bound)
{
	wide add = wide_load(factors), scale = wide_load(factors + BLOCK_ROWS), error, x;

	x = wide_fma(wide_load(sums), wide_set1(rqq->sign_step), wide_set1(rqq->sign_base));
	x = wide_fma(scale, x, wide_add(add, wide_set1(rqq->add)));
	if (!is_bound)
		return x;
	if (rqq->rq->metric == VS_IP) {
		error = wide_load(factors + 2 * BLOCK_ROWS);
	} else {
		error = wide_mul(wide_mul(scale, scale), wide_set1(rqq->error_scale2));
		error = wide_fnma(wide_set1(rqq->error_add), add, error);
		error = wide_sqrt(wide_max(error, wide_set1(0)));
	}
	return wide_fnma(wide_set1(rqq->error), error, x);
}

static void estimates(float *out, const struct rabitq_query *rqq, const float *sums, const float *factors)
{
	for (size_t i = 0; i < BLOCK_ROWS; i += WIDE)
		wide_store(out + i, estimate(rqq, sums + i, factors + i, false));
}

static void bounds(float *out, const struct rabitq_query *rqq, const float *sums, const float *factors)
{
	for (size_t i = 0; i < BLOCK_ROWS; i += WIDE)
		wide_store(out + i, estimate(rqq, sums + i, factors + i, true));
}

const struct rabitq_kernels KERNEL(rabitq_kernels) = {centre,   signs,     fit,   levels,
						      products, estimates, bounds};
