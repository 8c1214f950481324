/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kmeans - k-means by incremental passes: rows are assigned in blocks, and the centroids follow after each
 * block, not after all rows (Lloyd's algorithm as incremental expectation maximisation; Neal and Hinton, "A
 * view of the EM algorithm that justifies incremental, sparse, and other variants", 1998). Six passes over
 * sub-vectors of text embeddings come within 1 % of the error of 25 of Lloyd's rounds.
 *
 * The start is the first k rows, so rows must come in random order. (A k-means++ start was measured: as small
 * an error, but the centroids it spends on outliers are missing where the neighbours are: .765 for .771
 * recall.)
 *
 * A centroid that is nearest to no row moves into the cluster with the largest error, along its widest dim.
 * The result is the same bytes on every level and for any number of workers: assignments depend on one row
 * each, sums are f64 in the order of the rows.
 */
#ifndef VECFS_QUANT_KMEANS_H
#define VECFS_QUANT_KMEANS_H

#include <stddef.h>
#include <stdint.h>

#include "quant/parallel.h"

/* Scratch for rows x dim numbers, to be lent at 64 bytes. */
size_t kmeans_scratch_bytes(size_t rows, size_t dim, size_t k);

/*
 * x: rows of dim finite f32 side by side, x[d * ld + row], in random order; ld a multiple of NEAREST_GROUP,
 * what lies beyond rows readable. rows >= 1; fewer rows than centroids, or than are different, make equal
 * centroids. centroids: becomes [dim][k]. Returns the sum of squared distances as the last pass saw it.
 */
double kmeans_train(size_t rows, size_t dim, const float *x, size_t ld, size_t k, unsigned passes,
		    const struct parallel *parallel, float *centroids, void *scratch);

/* half_norms[c] = half of the squared length of centroid c of centroids[dim][k]; what nearest() wants. */
void kmeans_half_norms(size_t dim, size_t k, const float *centroids, float *half_norms);

#endif
