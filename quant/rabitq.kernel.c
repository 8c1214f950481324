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
