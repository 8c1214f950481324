/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wide - sixteen lanes of f32, or of f64, on every level. For *.kernel.c files only.
 *
 * A sum over the components of a vector depends on the order of its additions. Here component i is always
 * added in lane i % 16, by a fused multiply-add in the order of i, and the lanes are always added as a tree
 * (i and i + 8, then + 4, + 2, + 1): so a distance is the same float on each level, for one row or for many.
 * It costs nothing: sixteen lanes are one register of avx512 and two of avx2.
 *
 * What a row lacks to a multiple of sixteen counts as zeros.
 */
#ifndef VECFS_QUANT_WIDE_H
#define VECFS_QUANT_WIDE_H

#include <stddef.h>

#include "quant/half.h"
#include "quant/simd.h"

#define WIDE 16
#define WIDE_PARTS (WIDE / SIMD_F32)

/* Loops over lanes, rows and queries of a tile, whose sums must be in registers. */
#if SIMD_F32 == 1
#define SIMD_UNROLL
#elif defined __clang__
#define SIMD_UNROLL _Pragma("unroll")
#else
#define SIMD_UNROLL _Pragma("GCC unroll 16")
#endif

#define WIDE_EACH(i) SIMD_UNROLL for (int i = 0; i < WIDE_PARTS; i++)

typedef struct {
	vf v[WIDE_PARTS];
} wide;

SIMD_INLINE wide wide_set1(float x)
{
	wide r;

	WIDE_EACH(i)
	r.v[i] = vf_set1(x);
	return r;
}

SIMD_INLINE wide wide_load(const float *p)
{
	wide r;

	WIDE_EACH(i)
	r.v[i] = vf_load(p + i * SIMD_F32);
	return r;
}

SIMD_INLINE void wide_store(float *p, wide x)
{
	WIDE_EACH(i)
	vf_store(p + i * SIMD_F32, x.v[i]);
}

SIMD_INLINE wide wide_add(wide a, wide b)
{
	WIDE_EACH(i)
	a.v[i] = a.v[i] + b.v[i];
	return a;
}

SIMD_INLINE wide wide_sub(wide a, wide b)
{
	WIDE_EACH(i)
	a.v[i] = a.v[i] - b.v[i];
	return a;
}

SIMD_INLINE wide wide_mul(wide a, wide b)
{
	WIDE_EACH(i)
	a.v[i] = a.v[i] * b.v[i];
	return a;
}

/* a*b + c, rounded once */
SIMD_INLINE wide wide_fma(wide a, wide b, wide c)
{
	WIDE_EACH(i)
	c.v[i] = vf_fma(a.v[i], b.v[i], c.v[i]);
	return c;
}

/* c - a*b, rounded once */
SIMD_INLINE wide wide_fnma(wide a, wide b, wide c)
{
	WIDE_EACH(i)
	c.v[i] = vf_fnma(a.v[i], b.v[i], c.v[i]);
	return c;
}

/* The smaller and the larger; the second if either is a NaN. */
SIMD_INLINE wide wide_min(wide a, wide b)
{
	WIDE_EACH(i)
	a.v[i] = vf_select(vf_lt(a.v[i], b.v[i]), a.v[i], b.v[i]);
	return a;
}

SIMD_INLINE wide wide_max(wide a, wide b)
{
	WIDE_EACH(i)
	a.v[i] = vf_select(vf_lt(b.v[i], a.v[i]), a.v[i], b.v[i]);
	return a;
}

#if SIMD_F32 == 1

SIMD_INLINE wide wide_load_part(const float *p, size_t count)
{
	wide r;

	for (size_t i = 0; i < WIDE; i++)
		r.v[i] = i < count ? p[i] : 0;
	return r;
}

SIMD_INLINE wide wide_load_f16(const uint16_t *p)
{
	wide r;

	for (size_t i = 0; i < WIDE; i++)
		r.v[i] = half_f16_value(p[i]);
	return r;
}

SIMD_INLINE wide wide_load_bf16(const uint16_t *p)
{
	wide r;

	for (size_t i = 0; i < WIDE; i++)
		r.v[i] = half_bf16_value(p[i]);
	return r;
}

SIMD_INLINE wide wide_abs(wide x)
{
	for (size_t i = 0; i < WIDE; i++)
		x.v[i] = __builtin_fabsf(x.v[i]);
	return x;
}

SIMD_INLINE wide wide_floor(wide x)
{
	for (size_t i = 0; i < WIDE; i++)
		x.v[i] = __builtin_floorf(x.v[i]);
	return x;
}

/* To the nearest integer, ties to even. */
SIMD_INLINE wide wide_round(wide x)
{
	for (size_t i = 0; i < WIDE; i++)
		x.v[i] = __builtin_rintf(x.v[i]);
	return x;
}

SIMD_INLINE wide wide_sqrt(wide x)
{
	for (size_t i = 0; i < WIDE; i++)
		x.v[i] = __builtin_sqrtf(x.v[i]);
	return x;
}

/* Bit i: lane i of a is greater than lane i of b. */
SIMD_INLINE uint32_t wide_mask_gt(wide a, wide b)
{
	uint32_t mask = 0;

	for (int i = 0; i < WIDE; i++)
		mask |= (uint32_t)(a.v[i] > b.v[i]) << i;
	return mask;
}

/* Bit i: lane i of a is not above that of b, and neither is a NaN. */
SIMD_INLINE uint32_t wide_mask_le(wide a, wide b)
{
	uint32_t mask = 0;

	for (int i = 0; i < WIDE; i++)
		mask |= (uint32_t)(a.v[i] <= b.v[i]) << i;
	return mask;
}

/* Changes the sign of the lanes whose bit is set. */
SIMD_INLINE wide wide_flip(wide x, uint32_t mask)
{
	for (int i = 0; i < WIDE; i++)
		x.v[i] = mask >> i & 1 ? -x.v[i] : x.v[i];
	return x;
}

SIMD_INLINE float wide_sum(wide x)
{
	for (int half = 8; half; half /= 2)
		for (int i = 0; i < half; i++)
			x.v[i] += x.v[i + half];
	return x.v[0];
}

SIMD_INLINE float wide_largest(wide x)
{
	float largest = x.v[0];

	for (int i = 1; i < WIDE; i++)
		largest = x.v[i] > largest ? x.v[i] : largest;
	return largest;
}

/* The lanes as bytes; they hold whole numbers from 0 to 255. */
SIMD_INLINE void wide_store_u8(uint8_t *p, wide x)
{
	for (int i = 0; i < WIDE; i++)
		p[i] = (uint8_t)x.v[i];
}

/* The lanes as integers; they hold whole numbers that fit. */
SIMD_INLINE void wide_store_i16(int16_t *p, wide x)
{
	for (int i = 0; i < WIDE; i++)
		p[i] = (int16_t)x.v[i];
}

SIMD_INLINE wide wide_load_i32(const int32_t *p)
{
	wide r;

	for (int i = 0; i < WIDE; i++)
		r.v[i] = (float)p[i];
	return r;
}

#else

SIMD_INLINE __m128i wide_load_part_u16(const uint16_t *p, size_t count)
{
	uint16_t part[8] = {0};

	memcpy(part, p, count * sizeof *p);
	return _mm_loadu_si128((const void *)part);
}

/* The last addition steps, from eight lanes on. */
SIMD_INLINE __m128 wide_fold(__m256 x)
{
	return _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
}

#if SIMD_F32 == 8

SIMD_INLINE wide wide_load_part(const float *p, size_t count)
{
	const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	const __m256i low = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lane);
	const __m256i high = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count - 8), lane);
	wide r = {{(vf)_mm256_maskload_ps(p, low), vf_set1(0)}};

	if (count > 8)
		r.v[1] = (vf)_mm256_maskload_ps(p + 8, high);
	return r;
}

SIMD_INLINE wide wide_load_f16(const uint16_t *p)
{
	return (wide){{(vf)_mm256_cvtph_ps(_mm_loadu_si128((const void *)p)),
		       (vf)_mm256_cvtph_ps(_mm_loadu_si128((const void *)(p + 8)))}};
}

SIMD_INLINE vf vf_load_bf16(const uint16_t *p)
{
	return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p)), 16);
}

SIMD_INLINE wide wide_load_bf16(const uint16_t *p)
{
	return (wide){{vf_load_bf16(p), vf_load_bf16(p + 8)}};
}

SIMD_INLINE wide wide_abs(wide x)
{
	WIDE_EACH(i)
	x.v[i] = (vf)_mm256_andnot_ps(_mm256_set1_ps(-0.0f), (__m256)x.v[i]);
	return x;
}

SIMD_INLINE wide wide_floor(wide x)
{
	WIDE_EACH(i)
	x.v[i] = (vf)_mm256_floor_ps((__m256)x.v[i]);
	return x;
}

SIMD_INLINE wide wide_round(wide x)
{
	WIDE_EACH(i)
	x.v[i] = (vf)_mm256_round_ps((__m256)x.v[i], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
	return x;
}

SIMD_INLINE wide wide_sqrt(wide x)
{
	WIDE_EACH(i)
	x.v[i] = (vf)_mm256_sqrt_ps((__m256)x.v[i]);
	return x;
}

SIMD_INLINE uint32_t wide_mask_gt(wide a, wide b)
{
	unsigned low = (unsigned)_mm256_movemask_ps(vf_lt(b.v[0], a.v[0]));
	unsigned high = (unsigned)_mm256_movemask_ps(vf_lt(b.v[1], a.v[1]));

	return low | high << 8;
}

SIMD_INLINE uint32_t wide_mask_le(wide a, wide b)
{
	unsigned low =
		(unsigned)_mm256_movemask_ps(_mm256_cmp_ps((__m256)a.v[0], (__m256)b.v[0], _CMP_LE_OQ));
	unsigned high =
		(unsigned)_mm256_movemask_ps(_mm256_cmp_ps((__m256)a.v[1], (__m256)b.v[1], _CMP_LE_OQ));

	return low | high << 8;
}

SIMD_INLINE wide wide_flip(wide x, uint32_t mask)
{
	const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);

	WIDE_EACH(i)
	{
		__m256i set = _mm256_and_si256(_mm256_set1_epi32((int)(mask >> 8 * i)), bits);
		__m256i sign = _mm256_slli_epi32(_mm256_cmpeq_epi32(set, bits), 31);

		x.v[i] = (vf)_mm256_xor_ps((__m256)x.v[i], _mm256_castsi256_ps(sign));
	}
	return x;
}

SIMD_INLINE __m128 wide_quarter(wide x)
{
	return wide_fold((__m256)(x.v[0] + x.v[1]));
}

SIMD_INLINE void wide_store_u8(uint8_t *p, wide x)
{
	__m256i low = _mm256_cvttps_epi32((__m256)x.v[0]), high = _mm256_cvttps_epi32((__m256)x.v[1]);
	__m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8);

	_mm_storeu_si128((void *)p,
			 _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}

SIMD_INLINE void wide_store_i16(int16_t *p, wide x)
{
	__m256i low = _mm256_cvttps_epi32((__m256)x.v[0]), high = _mm256_cvttps_epi32((__m256)x.v[1]);

	_mm256_storeu_si256((void *)p, _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8));
}

SIMD_INLINE wide wide_load_i32(const int32_t *p)
{
	return (wide){{(vf)_mm256_cvtepi32_ps((__m256i)vi_load(p)),
		       (vf)_mm256_cvtepi32_ps((__m256i)vi_load(p + 8))}};
}

#else /* SIMD_F32 == 16 */

SIMD_INLINE wide wide_load_part(const float *p, size_t count)
{
	return (wide){{(vf)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p)}};
}

SIMD_INLINE wide wide_load_f16(const uint16_t *p)
{
	return (wide){{(vf)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)p))}};
}

SIMD_INLINE wide wide_load_bf16(const uint16_t *p)
{
	__m512i x = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p));

	return (wide){{(vf)_mm512_slli_epi32(x, 16)}};
}

SIMD_INLINE wide wide_abs(wide x)
{
	return (wide){{(vf)_mm512_abs_ps((__m512)x.v[0])}};
}

SIMD_INLINE wide wide_floor(wide x)
{
	return (wide){{(vf)_mm512_roundscale_ps((__m512)x.v[0], _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)}};
}

SIMD_INLINE wide wide_round(wide x)
{
	return (wide){
		{(vf)_mm512_roundscale_ps((__m512)x.v[0], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}};
}

SIMD_INLINE wide wide_sqrt(wide x)
{
	return (wide){{(vf)_mm512_sqrt_ps((__m512)x.v[0])}};
}

SIMD_INLINE uint32_t wide_mask_gt(wide a, wide b)
{
	return vf_lt(b.v[0], a.v[0]);
}

SIMD_INLINE uint32_t wide_mask_le(wide a, wide b)
{
	return _mm512_cmp_ps_mask((__m512)a.v[0], (__m512)b.v[0], _CMP_LE_OQ);
}

SIMD_INLINE wide wide_flip(wide x, uint32_t mask)
{
	__m512i bits = _mm512_castps_si512((__m512)x.v[0]);

	bits = _mm512_mask_xor_epi32(bits, (__mmask16)mask, bits, _mm512_set1_epi32(INT32_MIN));
	return (wide){{(vf)_mm512_castsi512_ps(bits)}};
}

SIMD_INLINE __m128 wide_quarter(wide x)
{
	__m512 all = (__m512)x.v[0];

	return wide_fold(_mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1)));
}

SIMD_INLINE void wide_store_u8(uint8_t *p, wide x)
{
	_mm_storeu_si128((void *)p, _mm512_cvtepi32_epi8(_mm512_cvttps_epi32((__m512)x.v[0])));
}

SIMD_INLINE void wide_store_i16(int16_t *p, wide x)
{
	_mm256_storeu_si256((void *)p, _mm512_cvtepi32_epi16(_mm512_cvttps_epi32((__m512)x.v[0])));
}

SIMD_INLINE wide wide_load_i32(const int32_t *p)
{
	return (wide){{(vf)_mm512_cvtepi32_ps((__m512i)vi_load(p))}};
}

#endif

SIMD_INLINE float wide_sum(wide x)
{
	__m128 q = wide_quarter(x);

	q = _mm_add_ps(q, _mm_movehl_ps(q, q));
	return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

SIMD_INLINE float wide_largest(wide x)
{
	float lanes[WIDE], largest;

	wide_store(lanes, x);
	largest = lanes[0];
	for (int i = 1; i < WIDE; i++)
		largest = lanes[i] > largest ? lanes[i] : largest;
	return largest;
}

#endif

/* The sums of four, in the same order as wide_sum, for a third of its shuffles. */
SIMD_INLINE void wide_sum4(float *out, const wide x[4])
{
#if SIMD_F32 == 1
	for (int i = 0; i < 4; i++)
		out[i] = wide_sum(x[i]);
#else
	__m128 a = wide_quarter(x[0]), b = wide_quarter(x[1]), c = wide_quarter(x[2]), d = wide_quarter(x[3]);
	__m128 ab = _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
	__m128 cd = _mm_add_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));

	_mm_storeu_ps(out, _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab)));
#endif
}

/* Sixteen f64 lanes: component i of a row is in lane i % 16 again. */
#if SIMD_F32 == 16
#define WIDE64_PARTS 2
typedef __m512d vd;
#define vd_zero() _mm512_setzero_pd()
#elif SIMD_F32 == 8
#define WIDE64_PARTS 4
typedef __m256d vd;
#define vd_zero() _mm256_setzero_pd()
#else
#define WIDE64_PARTS 16
typedef double vd;
#define vd_zero() 0.0
#endif

typedef struct {
	vd v[WIDE64_PARTS];
} wide64;

SIMD_INLINE wide64 wide64_zero(void)
{
	wide64 r;

	SIMD_UNROLL
	for (int i = 0; i < WIDE64_PARTS; i++)
		r.v[i] = vd_zero();
	return r;
}

SIMD_INLINE wide64 wide64_of(wide x)
{
	wide64 r;

#if SIMD_F32 == 16
	r.v[0] = _mm512_cvtps_pd(_mm512_castps512_ps256((__m512)x.v[0]));
	r.v[1] = _mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)x.v[0], 1));
#elif SIMD_F32 == 8
	SIMD_UNROLL
	for (int i = 0; i < 2; i++) {
		r.v[2 * i] = _mm256_cvtps_pd(_mm256_castps256_ps128((__m256)x.v[i]));
		r.v[2 * i + 1] = _mm256_cvtps_pd(_mm256_extractf128_ps((__m256)x.v[i], 1));
	}
#else
	for (int i = 0; i < WIDE; i++)
		r.v[i] = (double)x.v[i];
#endif
	return r;
}

/* sum + x*y. The product of two f32 is exact in f64: whether the operations are fused makes no difference. */
SIMD_INLINE wide64 wide64_add_product(wide64 sum, wide x, wide y)
{
	wide64 a = wide64_of(x), b = wide64_of(y);

	SIMD_UNROLL
	for (int i = 0; i < WIDE64_PARTS; i++)
		sum.v[i] = sum.v[i] + a.v[i] * b.v[i];
	return sum;
}

SIMD_INLINE wide64 wide64_add(wide64 sum, wide x)
{
	wide64 a = wide64_of(x);

	SIMD_UNROLL
	for (int i = 0; i < WIDE64_PARTS; i++)
		sum.v[i] = sum.v[i] + a.v[i];
	return sum;
}

SIMD_INLINE double wide64_sum(wide64 x)
{
	double lanes[WIDE];

	memcpy(lanes, &x, sizeof lanes);
	for (int half = 8; half; half /= 2)
		for (int i = 0; i < half; i++)
			lanes[i] += lanes[i + half];
	return lanes[0];
}

#endif
