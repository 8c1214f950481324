/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/kmeans.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "quant/kmeans.kernel.h"
#include "quant/nearest.h"
#include "quant/rng.h"
#include "quant/scratch.h"

#define CANDIDATES 3
#define ASSIGN_ROWS 4096 /* of a part: a multiple of KMEANS_BLOCK */

static_assert(KMEANS_BLOCK % NEAREST_GROUP == 0 && ASSIGN_ROWS % KMEANS_BLOCK == 0, "blocks are made of groups");

struct kmeans {
	size_t rows, dim, ld, k;
	const float *x;
	const struct kmeans_kernels *kernels;
	const struct parallel *parallel;
	float *centroids;  /* [dim][k] */
	float *half_norms; /* [k] */
	int32_t *code;     /* [rows] of the last assignment */
	float *score;      /* [rows], 0 beyond */
	float *away[2];    /* [rows], 0 beyond: the squared distance to the nearest center so far, and a candidate's */
	double *block_sum[2]; /* of away */
	double *sum;       /* [dim][k] of the rows of a cluster */
	double *deviation; /* [dim][k] of their squared distances to the centroid */
	size_t *count;     /* [k] */
};

static size_t blocks_of(size_t rows)
{
	return (rows + KMEANS_BLOCK - 1) / KMEANS_BLOCK;
}

static size_t lay_out(struct kmeans *km, size_t rows, size_t dim, size_t k, void *base)
{
	struct scratch s = {.base = base};
	size_t whole = blocks_of(rows) * KMEANS_BLOCK;

	km->half_norms = scratch_take(&s, k * sizeof *km->half_norms);
	km->code = scratch_take(&s, whole * sizeof *km->code);
	km->score = scratch_take(&s, whole * sizeof *km->score);
	for (int i = 0; i < 2; i++) {
		km->away[i] = scratch_take(&s, whole * sizeof *km->away[i]);
		km->block_sum[i] = scratch_take(&s, blocks_of(rows) * sizeof *km->block_sum[i]);
	}
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

/* ------------------------------------------------------------------ the start */

/* The sum of the squared distances if row became a center, too; away[1] and block_sum[1] then hold them. */
static double potential_with(struct kmeans *km, size_t row)
{
	double total = 0;

	for (size_t b = 0, i = 0; b < blocks_of(km->rows); b++, i += KMEANS_BLOCK) {
		float *out = km->away[1] + i;

		km->kernels->approach(km->dim, km->x + i, km->ld, km->x + row, km->ld, km->away[0] + i, out);
		if (km->rows - i < KMEANS_BLOCK)
			memset(out + (km->rows - i), 0, (KMEANS_BLOCK - (km->rows - i)) * sizeof *out);
		km->block_sum[1][b] = km->kernels->sum(out);
		total += km->block_sum[1][b];
	}
	return total;
}

static void become_center(struct kmeans *km, size_t center, size_t row)
{
	float *away = km->away[0];
	double *sums = km->block_sum[0];

	for (size_t d = 0; d < km->dim; d++)
		km->centroids[d * km->k + center] = km->x[d * km->ld + row];
	km->away[0] = km->away[1];
	km->away[1] = away;
	km->block_sum[0] = km->block_sum[1];
	km->block_sum[1] = sums;
}

/* A row with a probability proportional to its squared distance from the centers; any, if all are 0. */
static size_t draw_row(const struct kmeans *km, double total, struct rng *rng)
{
	double left = rng_unit(rng) * total;
	size_t b = 0, blocks = blocks_of(km->rows), row, end;

	if (!(total > 0))
		return rng_below(rng, km->rows);
	for (; b + 1 < blocks && left >= km->block_sum[0][b]; b++)
		left -= km->block_sum[0][b];
	row = b * KMEANS_BLOCK;
	end = row + KMEANS_BLOCK < km->rows ? row + KMEANS_BLOCK : km->rows;
	for (; row + 1 < end && left >= (double)km->away[0][row]; row++)
		left -= (double)km->away[0][row];
	return row;
}

static void choose_start(struct kmeans *km, uint64_t seed)
{
	struct rng rng;
	size_t row;
	double total;

	rng_seed(&rng, seed);
	for (size_t i = 0; i < blocks_of(km->rows) * KMEANS_BLOCK; i++)
		km->away[0][i] = INFINITY;
	row = rng_below(&rng, km->rows);
	total = potential_with(km, row);
	become_center(km, 0, row);
	for (size_t c = 1; c < km->k; c++) {
		double least = INFINITY;
		size_t best = 0, tried = 0;

		for (int i = 0; i < CANDIDATES; i++) {
			double potential;

			tried = draw_row(km, total, &rng);
			potential = potential_with(km, tried);
			if (potential < least) {
				least = potential;
				best = tried;
			}
		}
		total = best == tried ? least : potential_with(km, best);
		become_center(km, c, best);
	}
}

/* ------------------------------------------------------------------ a round */

static void assign_part(void *arg, size_t part, unsigned worker)
{
	const struct kmeans *km = arg;
	size_t first = part * ASSIGN_ROWS, rows = km->rows - first;

	(void)worker;
	nearest(rows < ASSIGN_ROWS ? rows : ASSIGN_ROWS, km->dim, km->x + first, km->ld, km->k, km->centroids,
	        km->half_norms, km->code + first, km->score + first);
}

/* Returns the sum of all scores: half of the error, but for what no centroid changes. */
static double assign(struct kmeans *km)
{
	double total = 0;

	kmeans_half_norms(km->dim, km->k, km->centroids, km->half_norms);
	parallel_for(km->parallel, (km->rows + ASSIGN_ROWS - 1) / ASSIGN_ROWS, assign_part, km);
	for (size_t i = km->rows; i < blocks_of(km->rows) * KMEANS_BLOCK; i++)
		km->score[i] = 0;
	for (size_t b = 0; b < blocks_of(km->rows); b++)
		total += km->kernels->sum(km->score + b * KMEANS_BLOCK);
	return total;
}

static void sum_clusters(struct kmeans *km)
{
	memset(km->sum, 0, km->dim * km->k * sizeof *km->sum);
	memset(km->count, 0, km->k * sizeof *km->count);
	for (size_t i = 0; i < km->rows; i++)
		km->count[km->code[i]]++;
	for (size_t d = 0; d < km->dim; d++) {
		const float *x = km->x + d * km->ld;
		double *sum = km->sum + d * km->k;

		for (size_t i = 0; i < km->rows; i++)
			sum[km->code[i]] += (double)x[i];
	}
}

static void measure_deviations(struct kmeans *km)
{
	memset(km->deviation, 0, km->dim * km->k * sizeof *km->deviation);
	for (size_t d = 0; d < km->dim; d++)
		for (size_t i = 0; i < km->rows; i++) {
			size_t at = d * km->k + (size_t)km->code[i];
			double away = (double)km->x[d * km->ld + i] - (double)km->centroids[at];

			km->deviation[at] += away * away;
		}
}

/* The cluster with the largest error, and in *dim where it is widest; k if none has an error. */
static size_t widest_cluster(const struct kmeans *km, size_t *dim)
{
	size_t worst = km->k;
	double largest = 0, widest = 0;

	for (size_t c = 0; c < km->k; c++) {
		double error = 0;

		for (size_t d = 0; d < km->dim; d++)
			error += km->deviation[d * km->k + c];
		if (error > largest && km->count[c] > 1) {
			largest = error;
			worst = c;
		}
	}
	for (size_t d = 0; worst < km->k && d < km->dim; d++)
		if (km->deviation[d * km->k + worst] > widest) {
			widest = km->deviation[d * km->k + worst];
			*dim = d;
		}
	return worst;
}

/* Both halves are taken to be as wide as a half of something even: a quarter of the deviation in all. */
static void split_cluster(struct kmeans *km, size_t from, size_t to, size_t dim)
{
	double *deviation = km->deviation + dim * km->k;
	float *along = km->centroids + dim * km->k;
	float half_width = (float)sqrt(deviation[from] / (double)km->count[from]);

	km->count[to] = km->count[from] / 2;
	km->count[from] -= km->count[to];
	for (size_t d = 0; d < km->dim; d++) {
		km->centroids[d * km->k + to] = km->centroids[d * km->k + from];
		km->deviation[d * km->k + from] /= 2;
		km->deviation[d * km->k + to] = km->deviation[d * km->k + from];
	}
	along[from] -= half_width;
	along[to] += half_width;
	deviation[from] /= 4;
	deviation[to] = deviation[from];
}

static void move_centroids(struct kmeans *km)
{
	bool has_empty = false;
	size_t dim = 0;

	sum_clusters(km);
	for (size_t c = 0; c < km->k; c++) {
		has_empty |= !km->count[c];
		for (size_t d = 0; km->count[c] && d < km->dim; d++)
			km->centroids[d * km->k + c] = (float)(km->sum[d * km->k + c] / (double)km->count[c]);
	}
	if (!has_empty)
		return;
	measure_deviations(km);
	for (size_t c = 0; c < km->k; c++)
		if (!km->count[c]) {
			size_t from = widest_cluster(km, &dim);

			if (from == km->k)
				return; /* fewer different rows than centroids */
			split_cluster(km, from, c, dim);
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

static double lloyd(struct kmeans *km, unsigned rounds, double gain)
{
	double lengths = squared_lengths(km), before = INFINITY, error = INFINITY;

	for (unsigned round = 0; round < rounds; round++) {
		error = lengths + 2 * assign(km);
		move_centroids(km);
		if (!(error > 0) || before - error < gain * before)
			break;
		before = error;
	}
	return error > 0 ? error : 0;
}

double kmeans_train(size_t rows, size_t dim, const float *x, size_t ld, const struct kmeans_options *options,
                    const struct parallel *parallel, float *centroids, void *scratch)
{
	struct kmeans km = {.rows = rows, .dim = dim, .ld = ld, .k = options->k, .x = x, .parallel = parallel,
	                    .kernels = kmeans_kernels_get(), .centroids = centroids};
	unsigned early = 0;

	assert(rows > 0 && dim > 0 && options->k > 0 && ld % NEAREST_GROUP == 0 && ld >= rows);
	lay_out(&km, rows, dim, options->k, scratch);
	if (options->seed_rows && options->seed_rows < rows) {
		km.rows = options->seed_rows;
		early = options->rounds / 2;
	}
	choose_start(&km, options->seed);
	lloyd(&km, early, options->gain);
	km.rows = rows;
	return lloyd(&km, options->rounds - early, options->gain);
}
