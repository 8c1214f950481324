/* SPDX-License-Identifier: Apache-2.0 */
/* assign.kernel - the innermost loops of assign, once a level. */
#ifndef VECFS_QUANT_ASSIGN_KERNEL_H
#define VECFS_QUANT_ASSIGN_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "quant/assign.h"
#include "quant/level.h"

#define ASSIGN_LENGTH 8000.0f /* of an extended row, and of the longest centroid, in integers */

struct assign_kernels {
	size_t rows; /* of a tile; ASSIGN_GROUP is a multiple */
	/* pairs[p][row] of the rows x[d * ld + row] of a tile: extended, scaled and rounded. */
	void (*round)(const struct assign *a, const float *x, size_t ld, int32_t *pairs);
	/* Their codes. */
	void (*tile)(const struct assign *a, const int32_t *pairs, int32_t *code);
};

LEVEL_TABLES(assign_kernels)

#endif
