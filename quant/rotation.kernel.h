/* SPDX-License-Identifier: Apache-2.0 */
/* rotation.kernel - the innermost loops of rotation, once a level. */
#ifndef VECFS_QUANT_ROTATION_KERNEL_H
#define VECFS_QUANT_ROTATION_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "quant/level.h"

#define ROTATION_PANEL 32u /* outputs that are computed together, on every level */

/* What a tile is made of. */
struct rotation_tile {
	size_t pairs;
	const int16_t *x;     /* [tile_rows][2 * pairs] */
	const int32_t *r;     /* [pairs][ROTATION_PANEL] */
	const float *factors; /* [tile_rows]: what a unit of the products stands for */
	const float *added;   /* [ROTATION_PANEL] */
};

struct rotation_kernels {
	size_t tile_rows;
	/* out[tile_rows][ROTATION_PANEL], rows ld apart. */
	void (*tile)(const struct rotation_tile *t, float *out, size_t ld);
	/* out = x - y */
	void (*subtract)(size_t n, const float *x, const float *y, float *out);
	/* out[i] = x[i] * scale, rounded to the nearest, even if in doubt; |x[i] * scale| < 32,768. */
	void (*round)(size_t n, const float *x, float scale, int16_t *out);
};

LEVEL_TABLES(rotation_kernels)

#endif
