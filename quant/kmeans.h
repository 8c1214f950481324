/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kmeans - Lloyd's algorithm from a greedy k-means++ start (Arthur and Vassilvitskii 2007; the best of three
 * candidates a centroid).
 *
 * A centroid that is nearest to no row takes half of the one with the largest error, along its widest dim. The
 * result is the same bytes on every level and for any number of workers: assignments depend on one row each, sums
 * are f64 in the order of the rows.
 */
#ifndef VECFS_QUANT_KMEANS_H
#define VECFS_QUANT_KMEANS_H

#include <stddef.h>
#include <stdint.h>

#include "quant/parallel.h"

struct kmeans_options {
	size_t k;
	unsigned rounds;  /* of Lloyd, at most */
	double gain;      /* the least part of the error that a round must save for another to follow */
	size_t seed_rows; /* the start is chosen among the first so many rows, and half of the rounds see no others */
	uint64_t seed;
};

/* Of rows x dim numbers, at SCRATCH_ALIGN. */
size_t kmeans_scratch_bytes(size_t rows, size_t dim, size_t k);

/*
 * x: rows of dim finite f32 side by side, x[d * ld + row], ld a multiple of NEAREST_GROUP, what lies beyond rows
 * readable. rows >= 1; fewer rows than centroids, or than are different, make equal centroids. centroids: becomes
 * [dim][k]. Returns the error at the last assignment: the sum of squared distances.
 */
double kmeans_train(size_t rows, size_t dim, const float *x, size_t ld, const struct kmeans_options *options,
                    const struct parallel *parallel, float *centroids, void *scratch);

/* half_norms[c] = half of the squared length of centroid c of centroids[dim][k]; what nearest() wants. */
void kmeans_half_norms(size_t dim, size_t k, const float *centroids, float *half_norms);

#endif
