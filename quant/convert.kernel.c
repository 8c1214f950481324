/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/convert.kernel.h"

#include "quant/wide.h"

/*
 * The processor's own conversions round as half.h does, but set the quiet bit of a NaN, which half.h leaves
 * as it is. A group of sixteen that holds a NaN is therefore left to half.h.
 */

#if SIMD_F32 > 1

SIMD_INLINE int has_nan(wide x)
{
	int any = 0;

	WIDE_EACH(i)
	{
#if SIMD_F32 == 16
		any |= _mm512_cmp_ps_mask((__m512)x.v[i], (__m512)x.v[i], _CMP_UNORD_Q);
#else
		any |= _mm256_movemask_ps(_mm256_cmp_ps((__m256)x.v[i], (__m256)x.v[i], _CMP_UNORD_Q));
#endif
	}
	return any;
}

/* Each returns how many it did: the rest begins with a NaN or is shorter than a group. */
static size_t narrow_f16(uint16_t *out, const float *in, size_t n)
{
	size_t done = 0;

	for (; done + WIDE <= n; done += WIDE) {
		wide x = wide_load(in + done);

		if (has_nan(x))
			break;
		WIDE_EACH(i)
		{
#if SIMD_F32 == 16
			_mm256_storeu_si256((void *)(out + done), _mm512_cvtps_ph((__m512)x.v[i], 0));
#else
			_mm_storeu_si128((void *)(out + done + 8 * i), _mm256_cvtps_ph((__m256)x.v[i], 0));
#endif
		}
	}
	return done;
}

static size_t widen_f16(float *out, const uint16_t *in, size_t n)
{
	size_t done = 0;

	for (; done + WIDE <= n; done += WIDE) {
		wide x = wide_load_f16(in + done);

		if (has_nan(x))
			break;
		wide_store(out + done, x);
	}
	return done;
}

/* bits + 0x7fff + (lowest bit that stays), of which the upper half is the nearest bf16. */
static size_t narrow_bf16(uint16_t *out, const float *in, size_t n)
{
	size_t done = 0;

	for (; done + WIDE <= n; done += WIDE) {
		wide x = wide_load(in + done);

		if (has_nan(x))
			break;
#if SIMD_F32 == 16
		__m512i bits = _mm512_castps_si512((__m512)x.v[0]);
		__m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));

		bits = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
		_mm256_storeu_si256((void *)(out + done), _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16)));
#else
		__m256i half[2];

		for (int i = 0; i < 2; i++) {
			__m256i bits = _mm256_castps_si256((__m256)x.v[i]);
			__m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));

			bits = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
			half[i] = _mm256_srli_epi32(bits, 16);
		}
		_mm256_storeu_si256((void *)(out + done),
				    _mm256_permute4x64_epi64(_mm256_packus_epi32(half[0], half[1]), 0xd8));
#endif
	}
	return done;
}

#else

static size_t narrow_f16(uint16_t *out, const float *in, size_t n)
{
	(void)out, (void)in, (void)n;
	return 0;
}

static size_t widen_f16(float *out, const uint16_t *in, size_t n)
{
	(void)out, (void)in, (void)n;
	return 0;
}

static size_t narrow_bf16(uint16_t *out, const float *in, size_t n)
{
	(void)out, (void)in, (void)n;
	return 0;
}

#endif

/* One group by half.h, then on with the fast form. */
SIMD_INLINE size_t group_end(size_t done, size_t n)
{
	return done + WIDE < n ? done + WIDE : n;
}

static void f32_to_f16(uint16_t *out, const float *in, size_t n)
{
	for (size_t done = 0; done < n;) {
		done += narrow_f16(out + done, in + done, n - done);
		for (size_t end = group_end(done, n); done < end; done++)
			out[done] = half_f16(half_bits_of(in[done]));
	}
}

static void f16_to_f32(float *out, const uint16_t *in, size_t n)
{
	for (size_t done = 0; done < n;) {
		done += widen_f16(out + done, in + done, n - done);
		for (size_t end = group_end(done, n); done < end; done++) {
			uint32_t bits = half_f16_bits(in[done]);

			memcpy(out + done, &bits, sizeof bits);
		}
	}
}

static void f32_to_bf16(uint16_t *out, const float *in, size_t n)
{
	for (size_t done = 0; done < n;) {
		done += narrow_bf16(out + done, in + done, n - done);
		for (size_t end = group_end(done, n); done < end; done++)
			out[done] = half_bf16(half_bits_of(in[done]));
	}
}

static void bf16_to_f32(float *out, const uint16_t *in, size_t n)
{
	size_t done = 0;

	for (; done + WIDE <= n; done += WIDE)
		wide_store(out + done, wide_load_bf16(in + done));
	for (; done < n; done++) {
		uint32_t bits = (uint32_t)in[done] << BF16_SHIFT;

		memcpy(out + done, &bits, sizeof bits);
	}
}

const struct convert_kernels KERNEL(convert_kernels) = {f32_to_f16, f16_to_f32, f32_to_bf16, bf16_to_f32};
