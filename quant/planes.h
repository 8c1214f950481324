/* SPDX-License-Identifier: Apache-2.0 */
/*
 * planes - numbers taken apart into planes: the first bytes of all numbers, then all second ones, and so on.
 * In embeddings only the bytes with the exponents repeat themselves, so a compressor finds something once
 * these lie together, and need not look at the others.
 */
#ifndef VECFS_QUANT_PLANES_H
#define VECFS_QUANT_PLANES_H

#include <stddef.h>

/* Splits count numbers of width bytes (1 or more) into width planes of count bytes, end to end. They must not
 * overlap. */
void planes_split(const void *numbers, size_t count, size_t width, void *planes);
/* The way back. */
void planes_merge(const void *planes, size_t count, size_t width, void *numbers);

#endif
