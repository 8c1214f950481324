/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VECFS_QUANT_NEAREST_KERNEL_H
#define VECFS_QUANT_NEAREST_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "quant/level.h"

struct nearest_kernels {
	size_t rows; /* of a tile; NEAREST_GROUP is a multiple */
	void (*tile)(size_t dim, const float *x, size_t ld, size_t k, const float *centroids,
		     const float *half_norms, int32_t *code, float *score);
};

LEVEL_TABLES(nearest_kernels)

#endif
