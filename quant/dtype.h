/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dtype - what one component of a vector is: its name, its width, and what follows for the bytes of a row.
 *
 * This is the only table of widths. A bit vector is packed, eight components a byte, the first one in the
 * highest bit, as numpy.packbits does.
 *
 * Pure functions: callable from any thread.
 */
#ifndef VECFS_QUANT_DTYPE_H
#define VECFS_QUANT_DTYPE_H

#include <stddef.h>
#include <stdint.h>

enum vs_dtype { VS_F32, VS_F16, VS_BF16, VS_I8, VS_U8, VS_BIT, VS_DTYPE_COUNT };

/* "f32"; "?" for what is no dtype. */
const char *vs_dtype_name(enum vs_dtype dtype);
/* The dtype of this name, or -1. */
int vs_dtype_parse(const char *word);
/* The width of one component in bits: 32, 16, 8 or 1. */
unsigned vs_dtype_bits(enum vs_dtype dtype);
/* Bytes of a vector of dim components: the last byte of a bit vector may be partly used. */
size_t vs_dtype_row_bytes(enum vs_dtype dtype, uint32_t dim);

#endif
