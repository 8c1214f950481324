/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pq - product quantisation (Jégou, Douze and Schmid, "Product Quantization for Nearest Neighbor Search",
 * 2011).
 *
 * A vector of dim numbers is cut into `subs` sub-vectors of neighbouring dims, each of which is replaced by
 * the number of the nearest of K centroids: K = 256, one byte a sub-vector, or K = 16, two of them in a byte,
 * the even one in the low bits. Where subs does not divide dim, some sub-vectors are one dim wider than
 * others; the missing dim of the others counts as zero.
 *
 * A codebook is f32 [subs][K][sub_dim], the whole state of the codec. Distances between a query and a code
 * are sums of table entries: exact distances to the decoded vector, but for rounding.
 *
 * Codebooks and codes are the same bytes on every level and for any number of workers. No function here
 * allocates; scratch is lent at 64 bytes. Callable from any thread.
 */
#ifndef VECFS_QUANT_PQ_H
#define VECFS_QUANT_PQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/assign.h"
#include "quant/metric.h"
#include "quant/parallel.h"

#define PQ_TRAIN_ROWS 65536 /* more rows make training longer and little better */

struct pq_shape {
	uint32_t dim, subs; /* 1 <= subs <= dim */
	unsigned bits;      /* 4 or 8 */
};

static inline size_t pq_centroids(const struct pq_shape *shape)
{
	return (size_t)1 << shape->bits;
}

/* The dims of sub-vector m are pq_sub_first(m) .. pq_sub_first(m + 1) - 1. */
static inline size_t pq_sub_first(const struct pq_shape *shape, size_t m)
{
	return m * shape->dim / shape->subs;
}

/* Of the widest sub-vector. */
static inline size_t pq_sub_dim(const struct pq_shape *shape)
{
	return (shape->dim + shape->subs - 1) / shape->subs;
}

static inline size_t pq_code_bytes(const struct pq_shape *shape)
{
	return shape->bits == 8 ? shape->subs : (shape->subs + 1) / 2;
}

/* Floats of a codebook. */
static inline size_t pq_codebook_floats(const struct pq_shape *shape)
{
	return shape->subs * pq_centroids(shape) * pq_sub_dim(shape);
}

size_t pq_train_scratch_bytes(const struct pq_shape *shape, size_t rows, unsigned workers);

/*
 * Learns a codebook from rows vectors x[row][dim], finite ones, of which there are at least one and should be
 * 39 for each centroid. Sub-vectors are trained in parallel. Returns the mean squared error of a row.
 */
double pq_train(const struct pq_shape *shape, size_t rows, const float *x, uint64_t seed,
		const struct parallel *parallel, float *codebook, void *scratch);

/*
 * A codebook as encoding wants it. Centroids are told from their mean, so that data far from the origin lose
 * no precision. The parts point into the codebook and memory given to pq_bind() and live as long as those.
 */
struct pq {
	struct pq_shape shape;
	const float *codebook;         /* [subs][K][sub_dim] */
	const float *origin;           /* [subs][sub_dim]: the mean of the centroids */
	const float *columns;          /* [subs][sub_dim][K]: centroids less origin */
	const float *half_norms;       /* [subs][K] of those */
	const struct assign *integers; /* [subs]: centroids less origin, as encoding compares them */
};

/* Floats of the memory that pq_bind() wants, at 64 bytes. */
size_t pq_bound_floats(const struct pq_shape *shape);
void pq_bind(struct pq *pq, const struct pq_shape *shape, const float *codebook, float *memory);

size_t pq_encode_scratch_bytes(const struct pq_shape *shape);

/* codes[row][pq_code_bytes] of rows vectors x[row][dim]. What is not finite gets some code, the same
 * everywhere: callers mask such rows. */
void pq_encode(const struct pq *pq, size_t rows, const float *x, uint8_t *codes, void *scratch);

/* out[row][dim] = what the codes stand for. */
void pq_decode(const struct pq *pq, size_t rows, const uint8_t *codes, float *out);

/*
 * tables[subs][K] = what each sub-vector adds to the distance of query[dim], smaller is nearer: for l2 the
 * squared distance, for ip minus the inner product, for cosine half of l2's (query and rows are of length 1).
 */
void pq_tables(const struct pq *pq, enum vs_metric metric, const float *query, float *tables);

/* The distances of rows codes by the tables of a query: f32 sums in the order of the sub-vectors. */
void pq_estimate(const struct pq_shape *shape, const float *tables, size_t rows, const uint8_t *codes,
		 float *distances);

#endif
