/* SPDX-License-Identifier: Apache-2.0 */
/*
 * distance - exact distances between vectors as they are stored: f32, f16, bf16, i8, u8 and bit.
 *
 * Smaller is nearer, as quant/metric.h says: l2 squared, ip negated, cosine 1 - cos. For bit vectors, whose
 * components are 0 and 1, l2 is the Hamming distance; the unused bits of their last byte must be 0.
 *
 * The query of f32, f16 and bf16 rows is f32; that of i8, u8 and bit rows has the dtype of the rows. Sums of
 * integers are exact, those of floats have one order (quant/wide.h): the distance of a query and a row is the
 * same float on every level, whether rows are many or one, queries many or one. The result is a NaN if a
 * component is, or if a vector has no direction under cosine (its length is 0, or no f32 holds it).
 *
 * dim is 1 .. DISTANCE_DIM_MAX. Any alignment works. Pure functions: callable from any thread.
 */
#ifndef VECFS_QUANT_DISTANCE_H
#define VECFS_QUANT_DISTANCE_H

#include <stddef.h>
#include <stdint.h>

#include "quant/dtype.h"
#include "quant/metric.h"

/* Sums of products of u8 must fit into 32 bits. */
#define DISTANCE_DIM_MAX 65536

/* out[i]: from the query to row i of n, which are stride bytes apart. */
void distance_rows(float *out, enum vs_dtype dtype, enum vs_metric metric, const void *query,
		   const void *rows, size_t stride, size_t n, uint32_t dim);

/* out[q*n + i]: from query q to row i. Queries are rows of dim numbers without gaps between them. Each pair
 * costs less than in distance_rows, since rows and queries are read once for several. */
void distance_batch(float *out, enum vs_dtype dtype, enum vs_metric metric, const void *queries,
		    size_t query_count, const void *rows, size_t stride, size_t n, uint32_t dim);

/* The sum of squares of a f32 vector in f64. */
double distance_norm2(const float *x, uint32_t dim);

/* Writes x / |x| to out (out may be x). 0, or -EINVAL if the length is 0, not finite, or not a f32: then out
 * is all 0. */
int distance_normalise(float *out, const float *x, uint32_t dim);

#endif
