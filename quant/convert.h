/* SPDX-License-Identifier: Apache-2.0 */
/*
 * convert - arrays of 32-bit floats from and to the 16-bit formats: f16 (IEEE 754 binary16) and bf16 (the
 * upper half of an f32).
 *
 * Widening is exact. Narrowing rounds to nearest, ties to even; what is too large becomes infinity,
 * subnormals are kept, NaNs stay NaNs with their sign and the leading bits of their payload. Numbers are in
 * the machine's byte order. n counts numbers; in and out must not overlap.
 *
 * Pure functions: callable from any thread.
 */
#ifndef VECFS_QUANT_CONVERT_H
#define VECFS_QUANT_CONVERT_H

#include <stddef.h>
#include <stdint.h>

#include "quant/dtype.h"

void convert_f32_to_f16(uint16_t *out, const float *in, size_t n);
void convert_f16_to_f32(float *out, const uint16_t *in, size_t n);
void convert_f32_to_bf16(uint16_t *out, const float *in, size_t n);
void convert_bf16_to_f32(float *out, const uint16_t *in, size_t n);
/* A vector of any dtype, of dim components; a bit is 0 or 1. */
void convert_vector_to_f32(float *out, enum vs_dtype dtype, const void *in, uint32_t dim);

#endif
