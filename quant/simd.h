/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simd - vectors of the level that a *.kernel.c is being compiled for. For those files only.
 *
 * SIMD_F32 is the number of f32 a vector holds: 1 (scalar), 8 (avx2) or 16 (avx512). At level scalar a vector
 * is a plain number, so that one source is at once the reference and the fast form. Arithmetic on vf and vi
 * is written with the C operators; what those cannot say are the functions below. A multiplication that is to
 * be fused with an addition says so (vf_fma, vf_fnma): the compiler contracts nothing (-ffp-contract=off),
 * which makes each lane compute the same bits on every level.
 *
 * Loads and stores take any address of a f32 (unaligned is as fast as aligned where the address happens to
 * be).
 */
#ifndef VECFS_QUANT_SIMD_H
#define VECFS_QUANT_SIMD_H

#include <stdint.h>
#include <string.h>

#ifndef KERNEL_SUFFIX
#error "simd.h is for *.kernel.c files, which are compiled once a level"
#endif

#if SIMD_F32 > 1
#include <immintrin.h>
#endif

#define KERNEL_PASTE_(name, suffix) name##_##suffix
#define KERNEL_PASTE(name, suffix) KERNEL_PASTE_(name, suffix)
/* The name of a kernel's external symbol at this level. */
#define KERNEL(name) KERNEL_PASTE(name, KERNEL_SUFFIX)

/*
 * What kernels are made of is inlined by force, so that sums stay in registers. Not where a sanitizer
 * instruments each copy: there it made functions of a hundred thousand lines, which took minutes to compile.
 */
#ifdef SIMD_SANITIZED
#define SIMD_INLINE static inline __attribute__((unused))
#else
#define SIMD_INLINE static inline __attribute__((always_inline, unused))
#endif

/* vf: f32 lanes, vi: int32 lanes, vm: one truth value a lane. */
#if SIMD_F32 == 1

typedef float vf;
typedef int32_t vi;
typedef int vm;

SIMD_INLINE vf vf_set1(float x)
{
	return x;
}
SIMD_INLINE vf vf_load(const float *p)
{
	return *p;
}
SIMD_INLINE void vf_store(float *p, vf x)
{
	*p = x;
}
SIMD_INLINE vf vf_fma(vf a, vf b, vf c)
{
	return __builtin_fmaf(a, b, c);
} /* a*b + c */
SIMD_INLINE vf vf_fnma(vf a, vf b, vf c)
{
	return __builtin_fmaf(-a, b, c);
} /* c - a*b */
SIMD_INLINE vm vf_lt(vf a, vf b)
{
	return a < b;
} /* false for NaN */
SIMD_INLINE vf vf_select(vm m, vf yes, vf no)
{
	return m ? yes : no;
}
SIMD_INLINE vi vi_set1(int32_t x)
{
	return x;
}
SIMD_INLINE vi vi_load(const int32_t *p)
{
	return *p;
}
SIMD_INLINE void vi_store(int32_t *p, vi x)
{
	*p = x;
}
SIMD_INLINE vi vi_select(vm m, vi yes, vi no)
{
	return m ? yes : no;
}
SIMD_INLINE vm vi_lt(vi a, vi b)
{
	return a < b;
}
SIMD_INLINE vi vi_min(vi a, vi b)
{
	return a < b ? a : b;
}
SIMD_INLINE vi vi_from_bits(vf x)
{
	vi bits;

	memcpy(&bits, &x, sizeof bits);
	return bits;
}
SIMD_INLINE vi vi_pair(vi low, vi high)
{
	return (vi)(((uint32_t)low & 0xffff) | (uint32_t)high << 16);
} /* of two numbers that fit 16 bits */
SIMD_INLINE vi vi_times4(vi x)
{
	return (vi)((uint32_t)x << 2);
}
SIMD_INLINE vf vf_sqrt(vf x)
{
	return __builtin_sqrtf(x);
}
SIMD_INLINE vf vf_from_vi(vi x)
{
	return (float)x;
}
SIMD_INLINE vi vi_dot_pairs(vi sum, vi a, vi b)
{
	int32_t low = (int16_t)(a & 0xffff) * (int16_t)(b & 0xffff), high = (a >> 16) * (b >> 16);

	return (vi)((uint32_t)sum + (uint32_t)low + (uint32_t)high);
} /* sum + a.low * b.low + a.high * b.high, of halves of 16 bits */

#elif SIMD_F32 == 8

typedef float vf __attribute__((vector_size(32)));
typedef int32_t vi __attribute__((vector_size(32)));
typedef __m256 vm;

SIMD_INLINE vf vf_set1(float x)
{
	return (vf)_mm256_set1_ps(x);
}
SIMD_INLINE vf vf_load(const float *p)
{
	return (vf)_mm256_loadu_ps(p);
}
SIMD_INLINE void vf_store(float *p, vf x)
{
	_mm256_storeu_ps(p, (__m256)x);
}
SIMD_INLINE vf vf_fma(vf a, vf b, vf c)
{
	return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
SIMD_INLINE vf vf_fnma(vf a, vf b, vf c)
{
	return (vf)_mm256_fnmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
SIMD_INLINE vm vf_lt(vf a, vf b)
{
	return _mm256_cmp_ps((__m256)a, (__m256)b, _CMP_LT_OQ);
}
SIMD_INLINE vf vf_select(vm m, vf yes, vf no)
{
	return (vf)_mm256_blendv_ps((__m256)no, (__m256)yes, m);
}
SIMD_INLINE vi vi_set1(int32_t x)
{
	return (vi)_mm256_set1_epi32(x);
}
SIMD_INLINE vi vi_load(const int32_t *p)
{
	return (vi)_mm256_loadu_si256((const void *)p);
}
SIMD_INLINE void vi_store(int32_t *p, vi x)
{
	_mm256_storeu_si256((void *)p, (__m256i)x);
}
SIMD_INLINE vi vi_select(vm m, vi yes, vi no)
{
	return (vi)_mm256_blendv_ps((__m256)no, (__m256)yes, m);
}
SIMD_INLINE vm vi_lt(vi a, vi b)
{
	return _mm256_castsi256_ps(_mm256_cmpgt_epi32((__m256i)b, (__m256i)a));
}
SIMD_INLINE vi vi_min(vi a, vi b)
{
	return (vi)_mm256_min_epi32((__m256i)a, (__m256i)b);
}
SIMD_INLINE vi vi_from_bits(vf x)
{
	return (vi)x;
}
SIMD_INLINE vi vi_pair(vi low, vi high)
{
	return (vi)_mm256_blend_epi16((__m256i)low, _mm256_slli_epi32((__m256i)high, 16), 0xaa);
}
SIMD_INLINE vi vi_times4(vi x)
{
	return (vi)_mm256_slli_epi32((__m256i)x, 2);
}
SIMD_INLINE vf vf_sqrt(vf x)
{
	return (vf)_mm256_sqrt_ps((__m256)x);
}
SIMD_INLINE vf vf_from_vi(vi x)
{
	return (vf)_mm256_cvtepi32_ps((__m256i)x);
}
SIMD_INLINE vi vi_dot_pairs(vi sum, vi a, vi b)
{
	return (vi)_mm256_add_epi32((__m256i)sum, _mm256_madd_epi16((__m256i)a, (__m256i)b));
}

#elif SIMD_F32 == 16

typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef __mmask16 vm;

SIMD_INLINE vf vf_set1(float x)
{
	return (vf)_mm512_set1_ps(x);
}
SIMD_INLINE vf vf_load(const float *p)
{
	return (vf)_mm512_loadu_ps(p);
}
SIMD_INLINE void vf_store(float *p, vf x)
{
	_mm512_storeu_ps(p, (__m512)x);
}
SIMD_INLINE vf vf_fma(vf a, vf b, vf c)
{
	return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
SIMD_INLINE vf vf_fnma(vf a, vf b, vf c)
{
	return (vf)_mm512_fnmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
SIMD_INLINE vm vf_lt(vf a, vf b)
{
	return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ);
}
SIMD_INLINE vf vf_select(vm m, vf yes, vf no)
{
	return (vf)_mm512_mask_blend_ps(m, (__m512)no, (__m512)yes);
}
SIMD_INLINE vi vi_set1(int32_t x)
{
	return (vi)_mm512_set1_epi32(x);
}
SIMD_INLINE vi vi_load(const int32_t *p)
{
	return (vi)_mm512_loadu_si512(p);
}
SIMD_INLINE void vi_store(int32_t *p, vi x)
{
	_mm512_storeu_si512(p, (__m512i)x);
}
SIMD_INLINE vi vi_select(vm m, vi yes, vi no)
{
	return (vi)_mm512_mask_blend_epi32(m, (__m512i)no, (__m512i)yes);
}
SIMD_INLINE vm vi_lt(vi a, vi b)
{
	return _mm512_cmplt_epi32_mask((__m512i)a, (__m512i)b);
}
SIMD_INLINE vi vi_min(vi a, vi b)
{
	return (vi)_mm512_min_epi32((__m512i)a, (__m512i)b);
}
SIMD_INLINE vi vi_from_bits(vf x)
{
	return (vi)x;
}
SIMD_INLINE vi vi_pair(vi low, vi high)
{
	return (vi)_mm512_mask_blend_epi16(0xaaaaaaaa, (__m512i)low, _mm512_slli_epi32((__m512i)high, 16));
}
SIMD_INLINE vi vi_times4(vi x)
{
	return (vi)_mm512_slli_epi32((__m512i)x, 2);
}
SIMD_INLINE vf vf_sqrt(vf x)
{
	return (vf)_mm512_sqrt_ps((__m512)x);
}
SIMD_INLINE vf vf_from_vi(vi x)
{
	return (vf)_mm512_cvtepi32_ps((__m512i)x);
}
SIMD_INLINE vi vi_dot_pairs(vi sum, vi a, vi b)
{
	return (vi)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
}

#endif

#endif
