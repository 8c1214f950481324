/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/kmeans.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "quant/nearest.h"
#include "quant/scratch.h"

#define BLOCK_ROWS 2048
#define PART_ROWS 256 /* of a block that one worker assigns at a time */
#define WARM_PASSES                                                                                          \
	4 /* over the first block alone, before rows far from their centroid weigh on the sums               \
	   */

static_assert(BLOCK_ROWS % PART_ROWS == 0 && PART_ROWS % NEAREST_GROUP == 0, "parts are made of groups");

struct kmeans {
	size_t rows, dim, ld, k;
	const float *x;
	const struct parallel *parallel;
	float *centroids;  /* [dim][k] */
	float *half_norms; /* [k] */
	int32_t *code;     /* [rows] of the last assignment; -1: never assigned */
	size_t block_first, block_rows;
	int32_t *block_code; /* [BLOCK_ROWS] */
	float *block_score;  /* [BLOCK_ROWS] */
	double *sum;         /* [k][dim] of the rows of a cluster */
	double *deviation;   /* [k][dim] of their squared distances to the centroid */
	size_t *count;       /* [k] */
};

static size_t lay_out(struct kmeans *km, size_t rows, size_t dim, size_t k, void *base)
{
	struct scratch s = {.base = base};

	km->half_norms = scratch_take(&s, k * sizeof *km->half_norms);
	km->code = scratch_take(&s, rows * sizeof *km->code);
	km->block_code = scratch_take(&s, BLOCK_ROWS * sizeof *km->block_code);
	km->block_score = scratch_take(&s, BLOCK_ROWS * sizeof *km->block_score);
	km->sum = scratch_take(&s, dim * k * sizeof *km->sum);
	km->deviation = scratch_take(&s, dim * k * sizeof *km->deviation);
	km->count = scratch_take(&s, k * sizeof *km->count);
	return s.bytes;
}

size_t kmeans_scratch_bytes(size_t rows, size_t dim, size_t k)
{
	struct kmeans km;

	return lay_out(&km, rows, dim, k, NULL);
}

void kmeans_half_norms(size_t dim, size_t k, const float *centroids, float *half_norms)
{
	for (size_t c = 0; c < k; c++) {
		double sum = 0;

		for (size_t d = 0; d < dim; d++)
			sum += (double)centroids[d * k + c] * (double)centroids[d * k + c];
		half_norms[c] = (float)(sum / 2);
	}
}

/* ------------------------------------------------------------------ a block */

static void assign_part(void *arg, size_t part, unsigned worker)
{
	const struct kmeans *km = arg;
	size_t at = part * PART_ROWS, rows = km->block_rows - at;

	(void)worker;
	nearest(rows < PART_ROWS ? rows : PART_ROWS, km->dim, km->x + km->block_first + at, km->ld, km->k,
		km->centroids, km->half_norms, km->block_code + at, km->block_score + at);
}

/* The row leaves the sums of one cluster for those of another. */
static void move_row(struct kmeans *km, size_t row, int32_t from, int32_t to)
{
	double *new_sum = km->sum + (size_t)to * km->dim,
	       *old_sum = from < 0 ? NULL : km->sum + (size_t)from * km->dim;
	const float *x = km->x + row;

	km->count[to]++;
	for (size_t d = 0; d < km->dim; d++)
		new_sum[d] += (double)x[d * km->ld];
	if (!old_sum)
		return;
	km->count[from]--;
	for (size_t d = 0; d < km->dim; d++)
		old_sum[d] -= (double)x[d * km->ld];
}

static void follow_rows(struct kmeans *km)
{
	for (size_t c = 0; c < km->k; c++)
		for (size_t d = 0; km->count[c] && d < km->dim; d++)
			km->centroids[d * km->k + c] =
				(float)(km->sum[c * km->dim + d] / (double)km->count[c]);
}

/* Returns the sum of the scores: half of the error of the block, but for what no centroid changes. */
static double run_block(struct kmeans *km, size_t first)
{
	double total = 0;

	km->block_first = first;
	km->block_rows = km->rows - first < BLOCK_ROWS ? km->rows - first : BLOCK_ROWS;
	kmeans_half_norms(km->dim, km->k, km->centroids, km->half_norms);
	parallel_for(km->parallel, (km->block_rows + PART_ROWS - 1) / PART_ROWS, assign_part, km);
	for (size_t i = 0; i < km->block_rows; i++) {
		int32_t *code = &km->code[first + i];

		total += (double)km->block_score[i];
		if (*code != km->block_code[i])
			move_row(km, first + i, *code, km->block_code[i]);
		*code = km->block_code[i];
	}
	follow_rows(km);
	return total;
}

/* ------------------------------------------------------------------ empty clusters */

static bool has_empty(const struct kmeans *km)
{
	for (size_t c = 0; c < km->k; c++)
		if (!km->count[c])
			return true;
	return false;
}

static void measure_deviations(struct kmeans *km)
{
	memset(km->deviation, 0, km->dim * km->k * sizeof *km->deviation);
	for (size_t i = 0; i < km->rows; i++)
		for (size_t d = 0; d < km->dim; d++) {
			size_t c = (size_t)km->code[i];
			double away = (double)km->x[d * km->ld + i] - (double)km->centroids[d * km->k + c];

			km->deviation[c * km->dim + d] += away * away;
		}
}

/* The cluster with the largest error; k if none has an error. */
static size_t worst_cluster(const struct kmeans *km)
{
	size_t worst = km->k;
	double largest = 0;

	for (size_t c = 0; c < km->k; c++) {
		double error = 0;

		for (size_t d = 0; d < km->dim; d++)
			error += km->deviation[c * km->dim + d];
		if (km->count[c] > 1 && error > largest) {
			largest = error;
			worst = c;
		}
	}
	return worst;
}

/* Centroid c, which has no rows, goes one standard deviation aside of centroid from. */
static void settle(struct kmeans *km, size_t c, size_t from)
{
	double *deviation = km->deviation + from * km->dim;
	size_t widest = 0;

	for (size_t d = 0; d < km->dim; d++) {
		if (deviation[d] > deviation[widest])
			widest = d;
		km->centroids[d * km->k + c] = km->centroids[d * km->k + from];
	}
	km->centroids[widest * km->k + c] += (float)sqrt(deviation[widest] / (double)km->count[from]);
	for (size_t d = 0; d < km->dim; d++) /* so that the next one looks elsewhere */
		deviation[d] /= d == widest ? 4 : 2;
}

static void settle_empty(struct kmeans *km)
{
	measure_deviations(km);
	for (size_t c = 0; c < km->k; c++) {
		size_t from = km->count[c] ? km->k : worst_cluster(km);

		if (!km->count[c] && from == km->k)
			return; /* fewer different rows than centroids */
		if (from < km->k)
			settle(km, c, from);
	}
}

/* ------------------------------------------------------------------ the whole */

static double squared_lengths(const struct kmeans *km)
{
	double total = 0;

	for (size_t d = 0; d < km->dim; d++)
		for (size_t i = 0; i < km->rows; i++)
			total += (double)km->x[d * km->ld + i] * (double)km->x[d * km->ld + i];
	return total;
}

static void start(struct kmeans *km)
{
	for (size_t d = 0; d < km->dim; d++)
		for (size_t c = 0; c < km->k; c++)
			km->centroids[d * km->k + c] = km->x[d * km->ld + c % km->rows];
	memset(km->sum, 0, km->dim * km->k * sizeof *km->sum);
	memset(km->count, 0, km->k * sizeof *km->count);
	for (size_t i = 0; i < km->rows; i++)
		km->code[i] = -1;
}

double kmeans_train(size_t rows, size_t dim, const float *x, size_t ld, size_t k, unsigned passes,
		    const struct parallel *parallel, float *centroids, void *scratch)
{
	struct kmeans km = {.rows = rows,
			    .dim = dim,
			    .ld = ld,
			    .k = k,
			    .x = x,
			    .parallel = parallel,
			    .centroids = centroids};
	double error = 0, lengths = squared_lengths(&km);

	assert(rows > 0 && dim > 0 && k > 0 && passes > 0 && ld % NEAREST_GROUP == 0 && ld >= rows);
	lay_out(&km, rows, dim, k, scratch);
	start(&km);
	for (unsigned pass = 0; pass < WARM_PASSES; pass++)
		run_block(&km, 0);
	for (unsigned pass = 0; pass < passes; pass++) {
		double total = 0;

		for (size_t first = 0; first < rows; first += BLOCK_ROWS)
			total += run_block(&km, first);
		error = lengths + 2 * total;
		if (has_empty(&km))
			settle_empty(&km);
	}
	return error > 0 ? error : 0;
}
