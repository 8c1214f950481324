/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rabitq - 1 to 8 bits a component of the randomly rotated vector, with an unbiased estimate of distances and
 * a bound on its error (Gao and Long, "RaBitQ: quantizing high-dimensional vectors with a theoretical error
 * bound", 2024; Gao et al., "Practical and asymptotically optimal quantization of high-dimensional vectors",
 * 2025).
 *
 * Nothing is trained but the mean c of the vectors, and that may be any point. With o = P(x - c), P a
 * rotation (quant/hadamard.h, D components), r = |o| and g the code's point of a grid, g_i = k_i - (2^bits -
 * 1)/2:
 *
 *   <q - c, x - c> is about <q', g> r / <o/r, g>     with q' = P(q - c),
 *
 * so the distance is A(q) + f_add + f_scale <q', g>. The first bit of each k_i is the sign of o_i: the signs
 * of all components are a code of 1 bit by themselves. A scan reads these, by nibble tables (quant/scan.h);
 * rows that by its error bound may be near are finished with all bits (for bits > 1).
 *
 * More than 1 bit: the scale t of o on the grid, k_i = floor(t |o_i|), is searched around the best of random
 * vectors by steps of 6 %, then twice refined to the best t for the codes found (as Lloyd does): O(D) each.
 *
 * Side factors of a row, f32, in blocks (quant/block.h), by place:
 *   f_add, f_scale of the signs, [of ip: f_error], [of more than 1 bit: f_scale of all bits]
 * For l2 and cosine the error follows from the others. Under cosine vectors are normalised first.
 *
 *   signs    (blocks, D/8, 64) u8: byte p, bit j of a row is component 8p + j
 *   extra    (rows, D*(bits-1)/8) u8, row-major: the lower bits, 64 components after each other; of these as
 * many as fit in runs of 4, then 2, then 1 bit (byte j of a run of 4: components j and j+32; of 2: j, j+16,
 * j+32, j+48; a run of 1 is a little-endian word of 64 bits) factors  (blocks, rabitq_factors(), 64) f32
 *
 * A vector that is not finite, or whose length (or a sum on the way) no f32 holds, and under cosine one
 * without direction: codes 0, f_add = +inf. It is never found, and decodes to NaNs. Codes and factors are the
 * same bytes on every level. dim is 1 .. DISTANCE_DIM_MAX. Pure functions: callable from any thread, for
 * different rows at once.
 */
#ifndef VECFS_QUANT_RABITQ_H
#define VECFS_QUANT_RABITQ_H

#include <stddef.h>
#include <stdint.h>

#include "quant/hadamard.h"
#include "quant/metric.h"
#include "quant/scan.h"

#define RABITQ_BITS_MAX 8
#define RABITQ_FACTORS_MAX 4
/* Rows whose true distance is below the bound that this gives are about 3 in 100 at most, and rarely near
 * ones. */
#define RABITQ_ERROR 1.9f

struct rabitq {
	struct hadamard rotation;
	const float *mean; /* dim */
	uint32_t dim, padded;
	unsigned bits;
	enum vs_metric metric;
};

/* bits is 1 .. 8. memory: hadamard_bytes(dim), of the caller as is mean; both stay as long as rq. */
void rabitq_init(struct rabitq *rq, uint32_t dim, unsigned bits, enum vs_metric metric, uint64_t seed,
		 const float *mean, void *memory);
unsigned rabitq_factors(const struct rabitq *rq);
size_t rabitq_sign_bytes(const struct rabitq *rq);  /* of a row */
size_t rabitq_extra_bytes(const struct rabitq *rq); /* of a row; 0 for 1 bit */

/* The mean of the vectors that can be encoded (under cosine: of the normalised ones), 0 if none can. In
 * order, in f64. scratch: dim f64 and dim f32. */
void rabitq_mean(float *mean, enum vs_metric metric, const float *vectors, size_t n, uint32_t dim,
		 void *scratch);

/* f32 of scratch that encoding and decoding take, of each thread. */
size_t rabitq_scratch(const struct rabitq *rq);
/* Encodes n vectors as rows first .. first + n - 1 of the three arrays, which begin with row 0; extra may be
 * NULL for 1 bit. Returns how many cannot be found. */
size_t rabitq_encode(const struct rabitq *rq, uint8_t *signs, uint8_t *extra, float *factors, size_t first,
		     const float *vectors, size_t n, float *scratch);
/* The nearest multiple of each code's point, which has the least error (of length about 1 under cosine). */
void rabitq_decode(const struct rabitq *rq, float *vectors, const uint8_t *signs, const uint8_t *extra,
		   const float *factors, size_t first, size_t n, float *scratch);

/* A query. */
struct rabitq_query {
	const struct rabitq *rq;
	struct scan_tables signs;
	int8_t *high, *low; /* the rotated query in two bytes a component, times scale */
	float add;          /* A(q) */
	float sign_base;    /* <q', g> by the signs = sign_base + sign_step * the sum of bytes */
	float sign_step;
	float scale, half_sum;                /* <q', g> by all bits = scale * (128 high + low) - half_sum */
	float error, error_scale2, error_add; /* error * sqrt(error_scale2 f_scale^2 - error_add f_add) */
};

/* Bytes of memory, aligned to 64, that rabitq_query_init() takes. */
size_t rabitq_query_bytes(const struct rabitq *rq);
/* error: how many deviations the bound of an estimate is wide; RABITQ_ERROR is the usual. -EINVAL: the query
 * is not finite, or has no direction under cosine. */
int rabitq_query_init(struct rabitq_query *rqq, const struct rabitq *rq, const float *query, float error,
		      void *memory);
/* The estimated distance of one row, by all its bits. */
float rabitq_distance(const struct rabitq_query *rqq, const uint8_t *signs, const uint8_t *extra,
		      const float *factors, size_t row);
/* The nearest rows by their estimates. With more than 1 bit: of the rows whose estimate by the signs, less
 * its error, is not above the bound; that is also what they are at least selected by, so that what is found
 * does not depend on the order of rows. Adds how many these are to *finished if that is not NULL. */
void rabitq_scan(struct topk *top, const struct scan_rows *column, const struct rabitq_query *rqq,
		 const uint8_t *signs, const uint8_t *extra, const float *factors, size_t *finished);

#endif
