/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sq8 - a byte a component, with a scale of its own for each vector, and exact search by it.
 *
 * scale = max|x| / 127, code = x/scale to the nearest, + 128. Three side factors a row (quant/block.h):
 * scale, |x^|^2 of the decoded vector x^, and e = |x - x^|, rounded up. From these the distance of x is
 * bounded on both sides: |q - x| is within e of |q - x^|. So a search that reads the codes, and the vectors
 * of those few rows that may be among the nearest, returns what reading every vector would, ties included, at
 * a quarter of the bytes. No training, nothing drifts.
 *
 * Under cosine a vector is normalised first; one of length 0 has no direction. A vector that is not finite,
 * or whose length no f32 holds, and under cosine one of length 0: code 128 throughout and scale = e = 0,
 * |x^|^2 = +inf. It is never found, and decodes to NaNs.
 *
 *   codes    (rows, dim) u8, row-major
 *   factors  (blocks, 3, 64) f32
 *
 * Codes and factors are the same bytes on every level. dim is 1 .. DISTANCE_DIM_MAX. Pure functions: callable
 * from any thread, for different rows at once.
 */
#ifndef VECFS_QUANT_SQ8_H
#define VECFS_QUANT_SQ8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/metric.h"
#include "quant/scan.h"

#define SQ8_FACTORS 3

/* Encodes n vectors as rows first .. first + n - 1 of codes and factors (which begin with row 0). scratch:
 * dim f32, for cosine. Returns how many cannot be found. */
size_t sq8_encode(uint8_t *codes, float *factors, size_t first, enum vs_metric metric, const float *vectors,
		  size_t n, uint32_t dim, float *scratch);
/* The vectors that codes stand for (of length 1 under cosine). */
void sq8_decode(float *vectors, const uint8_t *codes, const float *factors, size_t first, size_t n,
		uint32_t dim);

/* A query, in two bytes a component. */
struct sq8_query {
	enum vs_metric metric;
	uint32_t dim;
	int8_t *high, *low; /* of the caller: dim rounded up to 64 each; component = scale*(128*high + low) */
	int32_t high_sum, low_sum;
	float scale, norm, norm2; /* the length of the query as rounded, and its square */
	float error;              /* |query - rounded query|, rounded up */
	float looseness;          /* that f32 distances may err by, relatively */
};

/* Bytes of memory that sq8_query_init() takes. */
size_t sq8_query_bytes(uint32_t dim);
/* -EINVAL: the query is not finite, or has no direction under cosine. */
int sq8_query_init(struct sq8_query *sq, enum vs_metric metric, const float *query, uint32_t dim,
		   void *memory);

/* The nearest rows by their codes alone: the distance from the (rounded) query to x^. */
void sq8_scan(struct topk *top, const struct scan_rows *column, const struct sq8_query *sq,
	      const uint8_t *codes, const float *factors);

/* What the distances of a block's rows are not below, 64 of them. Returns which rows count. */
uint64_t sq8_bounds(float *out, const struct scan_rows *column, const struct sq8_query *sq,
		    const uint8_t *codes, const float *factors, size_t block);
/* The nearest rows exactly: what scan_exact() over f32 vectors, stride bytes apart, selects. Of those it
 * reads the rows it must, and adds their number to *read if that is not NULL. */
void sq8_search(struct topk *top, const struct scan_rows *column, const struct sq8_query *sq,
		const uint8_t *codes, const float *factors, const float *query, const float *vectors,
		size_t stride, size_t *read);

#endif
