/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VECFS_QUANT_KMEANS_KERNEL_H
#define VECFS_QUANT_KMEANS_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "quant/level.h"

#define KMEANS_BLOCK 64 /* rows that are summed up in one go, in an order that is the same on every level */

struct kmeans_kernels {
	/* out[row] = the smaller of near[row] and the squared distance of the row to center[d * center_ld], for one
	 * block of rows. */
	void (*approach)(size_t dim, const float *x, size_t ld, const float *center, size_t center_ld,
	                 const float *near, float *out);
	/* The sum of one block of numbers. */
	double (*sum)(const float *in);
};

LEVEL_TABLES(kmeans_kernels)

#endif
