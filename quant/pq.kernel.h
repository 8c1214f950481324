/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VECFS_QUANT_PQ_KERNEL_H
#define VECFS_QUANT_PQ_KERNEL_H

#include <stddef.h>

#include "quant/level.h"

/* A part of a query against the centroids of its sub-vector. */
struct pq_sub_query {
	const float *query, *origin; /* [width] */
	const float *columns;        /* [width][k]: centroids less origin */
	size_t width, k;             /* k a multiple of 16 */
};

struct pq_kernels {
	/* table[k] = scale * the squared distance. */
	void (*l2_table)(const struct pq_sub_query *sub, float scale, float *table);
	/* table[k] = minus the inner product. */
	void (*ip_table)(const struct pq_sub_query *sub, float *table);
};

LEVEL_TABLES(pq_kernels)

#endif
