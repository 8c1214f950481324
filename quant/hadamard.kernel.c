/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/hadamard.kernel.h"

#include "quant/wide.h"

static void flip(float *x, const uint64_t *bits, size_t n)
{
	for (size_t i = 0; i < n; i += WIDE)
		wide_store(x + i, wide_flip(wide_load(x + i), (uint32_t)(bits[i / 64] >> i % 64) & 0xffff));
}

/*
 * The four steps within sixteen lanes: lanes that are 1, 2, 4, 8 apart become their sum and their difference.
 * The lanes with the upper place get partner - self, which is partner + (self with its sign changed).
 */
#if SIMD_F32 == 1

SIMD_INLINE wide within(wide x)
{
	for (int h = 1; h < WIDE; h *= 2)
		for (int i = 0; i < WIDE; i += 2 * h)
			for (int j = i; j < i + h; j++) {
				float a = x.v[j], b = x.v[j + h];

				x.v[j] = a + b;
				x.v[j + h] = a - b;
			}
	return x;
}

#elif SIMD_F32 == 8

SIMD_INLINE vf step(vf x, __m256 partner, int upper)
{
	const __m256 sign = _mm256_castsi256_ps(
		_mm256_setr_epi32(0, upper & 1 ? INT32_MIN : 0, upper & 2 ? INT32_MIN : 0,
				  upper & 4 ? INT32_MIN : 0, upper & 8 ? INT32_MIN : 0,
				  upper & 16 ? INT32_MIN : 0, upper & 32 ? INT32_MIN : 0, INT32_MIN));

	return (vf)_mm256_add_ps(partner, _mm256_xor_ps((__m256)x, sign));
}

SIMD_INLINE wide within(wide x)
{
	wide r;

	WIDE_EACH(i)
	{ /* the bits say which of lanes 1 to 6 are upper ones; lane 0 never is, lane 7 always */
		vf v = step(x.v[i], _mm256_permute_ps((__m256)x.v[i], 0xb1), 0x15);

		v = step(v, _mm256_permute_ps((__m256)v, 0x4e), 0x26);
		x.v[i] = step(v, _mm256_permute2f128_ps((__m256)v, (__m256)v, 1), 0x38);
	}
	r.v[0] = x.v[0] + x.v[1];
	r.v[1] = x.v[0] - x.v[1];
	return r;
}

#else

SIMD_INLINE __m512 step(__m512 x, __m512 partner, __mmask16 upper)
{
	return _mm512_mask_sub_ps(_mm512_add_ps(partner, x), upper, partner, x);
}

SIMD_INLINE wide within(wide x)
{
	__m512 v = (__m512)x.v[0];

	v = step(v, _mm512_permute_ps(v, 0xb1), 0xaaaa);
	v = step(v, _mm512_permute_ps(v, 0x4e), 0xcccc);
	v = step(v, _mm512_shuffle_f32x4(v, v, 0xb1), 0xf0f0);
	v = step(v, _mm512_shuffle_f32x4(v, v, 0x4e), 0xff00);
	return (wide){{(vf)v}};
}

#endif

/* Two steps at once, of components h and 2h apart: the numbers are loaded and stored half as often. */
SIMD_INLINE void two_steps(float *x, size_t h)
{
	wide a = wide_load(x), b = wide_load(x + h), c = wide_load(x + 2 * h), d = wide_load(x + 3 * h);
	wide ab = wide_add(a, b), amb = wide_sub(a, b), cd = wide_add(c, d), cmd = wide_sub(c, d);

	wide_store(x, wide_add(ab, cd));
	wide_store(x + h, wide_add(amb, cmd));
	wide_store(x + 2 * h, wide_sub(ab, cd));
	wide_store(x + 3 * h, wide_sub(amb, cmd));
}

SIMD_INLINE void one_step(float *x, size_t h)
{
	wide a = wide_load(x), b = wide_load(x + h);

	wide_store(x, wide_add(a, b));
	wide_store(x + h, wide_sub(a, b));
}

static void transform(float *x, size_t n)
{
	size_t h = WIDE;

	for (size_t i = 0; i < n; i += WIDE)
		wide_store(x + i, within(wide_load(x + i)));
	for (; 4 * h <= n; h *= 4)
		for (size_t i = 0; i < n; i += 4 * h)
			for (size_t j = i; j < i + h; j += WIDE)
				two_steps(x + j, h);
	for (; h < n; h *= 2)
		for (size_t i = 0; i < n; i += 2 * h)
			for (size_t j = i; j < i + h; j += WIDE)
				one_step(x + j, h);
}

static void scale(float *x, float factor, size_t n)
{
	for (size_t i = 0; i < n; i += WIDE)
		wide_store(x + i, wide_mul(wide_load(x + i), wide_set1(factor)));
}

static void mix(float *a, float *b, float factor, size_t n)
{
	for (size_t i = 0; i < n; i += WIDE) {
		wide x = wide_load(a + i), y = wide_load(b + i);

		wide_store(a + i, wide_mul(wide_add(x, y), wide_set1(factor)));
		wide_store(b + i, wide_mul(wide_sub(x, y), wide_set1(factor)));
	}
}

const struct hadamard_kernels KERNEL(hadamard_kernels) = {flip, transform, scale, mix};
