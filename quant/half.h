/* SPDX-License-Identifier: Apache-2.0 */
/*
 * half - one 16-bit float from and to f32, in plain C: the specification of quant/convert.h.
 */
#ifndef VECFS_QUANT_HALF_H
#define VECFS_QUANT_HALF_H

#include <stdint.h>
#include <string.h>

#define F32_SIGN 0x80000000u
#define F32_INFINITY 0x7f800000u
#define F32_HALF 0x3f000000u     /* 0.5 */
#define F32_F16_MIN 0x38800000u  /* 2^-14, the smallest normal f16 */
#define F32_F16_OVER 0x477ff000u /* 65520: from here on, nearest is infinity */
#define F16_INFINITY 0x7c00u
#define F16_MIN 0x0400u /* the smallest normal f16 */
#define F16_SHIFT 13    /* bits of mantissa that an f32 has more */
#define BF16_SHIFT 16
#define EXPONENT_SHIFT (112u << 23) /* between the biases of f32 (127) and f16 (15) */

static inline uint32_t half_bits_of(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof bits);
	return bits;
}

static inline float half_float_of(uint32_t bits)
{
	float x;

	memcpy(&x, &bits, sizeof x);
	return x;
}

static inline uint16_t half_f16(uint32_t bits)
{
	uint32_t sign = (bits & F32_SIGN) >> 16;
	uint32_t magnitude = bits & ~F32_SIGN;

	if (magnitude > F32_INFINITY) { /* a NaN whose payload is cut off must not become infinity */
		uint32_t payload = magnitude >> F16_SHIFT & 0x3ff;

		return (uint16_t)(sign | F16_INFINITY | (payload ? payload : 0x200));
	}
	if (magnitude >= F32_F16_OVER)
		return (uint16_t)(sign | F16_INFINITY);
	/* The last bit of 0.5 is worth 2^-24, as is that of a subnormal f16: adding it lets the processor
	 * round. */
	if (magnitude < F32_F16_MIN)
		return (uint16_t)(sign | (half_bits_of(half_float_of(magnitude) + 0.5f) - F32_HALF));
	magnitude += (1u << (F16_SHIFT - 1)) - 1 + (magnitude >> F16_SHIFT & 1);
	return (uint16_t)(sign | (magnitude - EXPONENT_SHIFT) >> F16_SHIFT);
}

static inline uint32_t half_f16_bits(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16;
	uint32_t magnitude = half & 0x7fff;

	if (magnitude >= F16_INFINITY)
		return sign | F32_INFINITY | (magnitude & 0x3ff) << F16_SHIFT;
	if (magnitude >= F16_MIN)
		return sign | ((magnitude << F16_SHIFT) + EXPONENT_SHIFT);
	return sign | half_bits_of((float)magnitude * 0x1p-24f);
}

static inline float half_f16_value(uint16_t half)
{
	return half_float_of(half_f16_bits(half));
}

static inline uint16_t half_bf16(uint32_t bits)
{
	if ((bits & ~F32_SIGN) > F32_INFINITY) {
		uint32_t quiet = bits & 0x7f0000 ? 0 : 0x40;

		return (uint16_t)(bits >> BF16_SHIFT | quiet);
	}
	return (uint16_t)((bits + 0x7fff + (bits >> BF16_SHIFT & 1)) >> BF16_SHIFT);
}

static inline float half_bf16_value(uint16_t half)
{
	return half_float_of((uint32_t)half << BF16_SHIFT);
}

#endif
