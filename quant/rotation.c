/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/rotation.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "quant/distance.h"
#include "quant/rotation.kernel.h"
#include "quant/scratch.h"

#define LENGTH_UNITS 32000LL
#define LENGTH ((double)LENGTH_UNITS) /* of a vector, and of a row of the matrix, in integers */
#define LENGTH_MIN 1e-30              /* below this a vector is its centre */
#define TILE_ROWS_MAX 12u

static_assert(ROTATION_ROWS % TILE_ROWS_MAX == 0, "tiles are whole");
/* Rounded to integers they may be longer by half of the root of the dims. */
static_assert((LENGTH_UNITS + 64) * (LENGTH_UNITS + 64) < 1LL << 31,
	      "products fit 32 bits up to 16,384 dims");

static size_t panels(size_t dim)
{
	return (dim + ROTATION_PANEL - 1) / ROTATION_PANEL;
}

static size_t pairs_of(size_t dim)
{
	return (dim + 1) / 2;
}

/* ------------------------------------------------------------------ the matrix */

static size_t lay_out_bound(size_t dim, float **centre, float **rotated, int32_t **pairs, void *base)
{
	struct scratch s = {.base = base};

	*centre = scratch_take(&s, dim * sizeof **centre);
	*rotated = scratch_take(&s, panels(dim) * ROTATION_PANEL * sizeof **rotated);
	*pairs = scratch_take(&s, panels(dim) * ROTATION_PANEL * pairs_of(dim) * sizeof **pairs);
	return s.bytes;
}

size_t rotation_bytes(size_t dim)
{
	float *part;
	int32_t *pairs;

	return lay_out_bound(dim, &part, &part, &pairs, NULL);
}

/* A number of an orthonormal matrix. One that is none (a model that is not what it seems) does no harm. */
static int16_t rounded(float x)
{
	return (int16_t)lrint(fmax(-LENGTH, fmin(LENGTH, (double)x * LENGTH)));
}

static void pack_row(size_t dim, const float *row, size_t n, int32_t *pairs)
{
	int32_t *out = pairs + n / ROTATION_PANEL * pairs_of(dim) * ROTATION_PANEL + n % ROTATION_PANEL;

	for (size_t p = 0; p < pairs_of(dim); p++) {
		int16_t two[2] = {rounded(row[2 * p]), 2 * p + 1 < dim ? rounded(row[2 * p + 1]) : 0};

		memcpy(out + p * ROTATION_PANEL, two, sizeof two);
	}
}

void rotation_bind(struct rotation *r, size_t dim, const float *matrix, const float *rotated, void *memory)
{
	float *centre, *kept;
	int32_t *pairs;

	lay_out_bound(dim, &centre, &kept, &pairs, memory);
	memset(kept, 0, panels(dim) * ROTATION_PANEL * sizeof *kept);
	memcpy(kept, rotated, dim * sizeof *kept);
	memset(pairs, 0, panels(dim) * ROTATION_PANEL * pairs_of(dim) * sizeof *pairs);
	for (size_t i = 0; i < dim; i++)
		pack_row(dim, matrix + i * dim, i, pairs);
	/* The way back is the transposed matrix. */
	for (size_t d = 0; d < dim; d++) {
		double sum = 0;

		for (size_t i = 0; i < dim; i++)
			sum += (double)matrix[i * dim + d] * (double)rotated[i];
		centre[d] = (float)sum;
	}
	*r = (struct rotation){.dim = dim, .centre = centre, .rotated = kept, .pairs = pairs};
}

/* ------------------------------------------------------------------ vectors */

struct work {
	float *away;    /* [dim] of a vector less the centre */
	int16_t *x;     /* [ROTATION_ROWS][2 * pairs] */
	float *factors; /* [ROTATION_ROWS] */
	float *edge;    /* [TILE_ROWS_MAX][ROTATION_PANEL] */
};

static size_t lay_out(struct work *w, size_t dim, void *base)
{
	struct scratch s = {.base = base};

	w->away = scratch_take(&s, dim * sizeof *w->away);
	w->x = scratch_take(&s, ROTATION_ROWS * 2 * pairs_of(dim) * sizeof *w->x);
	w->factors = scratch_take(&s, ROTATION_ROWS * sizeof *w->factors);
	w->edge = scratch_take(&s, TILE_ROWS_MAX * ROTATION_PANEL * sizeof *w->edge);
	return s.bytes;
}

size_t rotation_scratch_bytes(size_t dim)
{
	struct work w;

	return lay_out(&w, dim, NULL);
}

/* Makes integers of a vector. Returns what a unit of its products stands for. */
static float scale_vector(const struct rotation *r, const float *x, const struct work *w, int16_t *out)
{
	const struct rotation_kernels *kernels = rotation_kernels_get();
	double length;

	kernels->subtract(r->dim, x, r->centre, w->away);
	length = sqrt(distance_norm2(w->away, (uint32_t)r->dim));
	out[2 * pairs_of(r->dim) - 1] = 0; /* of an odd number of dims the last one has no neighbour */
	if (!(length >= LENGTH_MIN && isfinite(length))) {
		memset(out, 0, r->dim * sizeof *out);
		return 0;
	}
	kernels->round(r->dim, w->away, (float)(LENGTH / length), out);
	return (float)(length / (LENGTH * LENGTH));
}

static void multiply(const struct rotation *r, size_t rows, const struct work *w, float *out)
{
	const struct rotation_kernels *kernels = rotation_kernels_get();
	size_t pairs = pairs_of(r->dim);
	struct rotation_tile t = {.pairs = pairs};

	for (size_t j = 0; j < r->dim; j += ROTATION_PANEL) {
		size_t lanes = r->dim - j < ROTATION_PANEL ? r->dim - j : ROTATION_PANEL;

		t.r = r->pairs + j * pairs;
		t.added = r->rotated + j;
		for (size_t i = 0; i < rows; i += kernels->tile_rows) {
			size_t whole = rows - i < kernels->tile_rows ? rows - i : kernels->tile_rows;

			t.x = w->x + 2 * i * pairs;
			t.factors = w->factors + i;
			if (whole == kernels->tile_rows && lanes == ROTATION_PANEL) {
				kernels->tile(&t, out + i * r->dim + j, r->dim);
				continue;
			}
			kernels->tile(&t, w->edge, ROTATION_PANEL);
			for (size_t k = 0; k < whole; k++)
				memcpy(out + (i + k) * r->dim + j, w->edge + k * ROTATION_PANEL,
				       lanes * sizeof *out);
		}
	}
}

void rotation_apply(const struct rotation *r, size_t rows, const float *x, float *out, void *scratch)
{
	size_t pairs = pairs_of(r->dim);
	struct work w;

	assert(rotation_kernels_get()->tile_rows <= TILE_ROWS_MAX);
	lay_out(&w, r->dim, scratch);
	for (size_t first = 0; first < rows; first += ROTATION_ROWS) {
		size_t n = rows - first < ROTATION_ROWS ? rows - first : ROTATION_ROWS;
		size_t tiled = (n + TILE_ROWS_MAX - 1) / TILE_ROWS_MAX * TILE_ROWS_MAX;

		for (size_t i = 0; i < n; i++)
			w.factors[i] = scale_vector(r, x + (first + i) * r->dim, &w, w.x + i * 2 * pairs);
		memset(w.x + n * 2 * pairs, 0, (tiled - n) * 2 * pairs * sizeof *w.x);
		memset(w.factors + n, 0, (tiled - n) * sizeof *w.factors);
		multiply(r, n, &w, out + first * r->dim);
	}
}
