/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/scan.h"

#include <assert.h>
#include <float.h>
#include <math.h>

#include "quant/distance.h"
#include "quant/scan.kernel.h"

/* Fewer valid rows of a block than this are read one by one. */
#define SPARSE_ROWS 16
#define NIBBLE_MAX 127 /* two of them are added in a byte */
#define BYTE_MAX 255

void scan_push(struct topk *top, const struct scan_rows *column, size_t block, const float *distances,
	       uint64_t mask)
{
	size_t first = block * BLOCK_ROWS;

	mask &= scan_not_above(distances, top->bound);
	if (mask)
		topk_push_block(top, distances, mask, column->first_row + (uint32_t)first,
				column->keys ? column->keys + first : NULL);
}

void scan_push_row(struct topk *top, const struct scan_rows *column, size_t row, float distance)
{
	topk_push(top, distance, column->first_row + (uint32_t)row,
		  column->keys ? column->keys[row] : column->first_row + row);
}

uint64_t scan_not_above(const float *values, float limit)
{
	return scan_kernels_get()->not_above(values, limit);
}

void scan_exact(struct topk *top, const struct scan_rows *column, enum vs_dtype dtype, enum vs_metric metric,
		const void *query, const void *rows, size_t stride, uint32_t dim)
{
	float distances[BLOCK_ROWS] = {0};

	for (size_t block = 0; block < block_count(column->rows); block++) {
		uint64_t mask = block_mask(column->valid, column->rows, block);
		size_t first = block * BLOCK_ROWS;
		const char *at = (const char *)rows + first * stride;

		if (__builtin_popcountll(mask) >= SPARSE_ROWS) {
			size_t n = column->rows - first < BLOCK_ROWS ? column->rows - first : BLOCK_ROWS;

			distance_rows(distances, dtype, metric, query, at, stride, n, dim);
		} else {
			for (uint64_t left = mask; left; left &= left - 1) {
				unsigned r = (unsigned)__builtin_ctzll(left);

				distance_rows(distances + r, dtype, metric, query, at + r * stride, stride, 1,
					      dim);
			}
		}
		scan_push(top, column, block, distances, mask);
	}
}

static size_t table_count(const struct scan_tables *t)
{
	return t->centroids == 16 ? 2 * t->code_bytes : t->code_bytes;
}

size_t scan_tables_bytes(size_t code_bytes, unsigned centroids)
{
	return centroids == 16 ? code_bytes * 32 : code_bytes * 256;
}

/*
 * One step for all tables, of which the widest uses all bytes: s steps are never more than the f32 entry is
 * above its table's minimum. A sum of M terms in f32 errs by less than M 2^-24 of the sum of their
 * magnitudes, the steps by a few 2^-24.
 */
void scan_tables_init(struct scan_tables *t, const float *tables, size_t code_bytes, unsigned centroids,
		      uint8_t *bytes)
{
	const struct scan_kernels *kernels = scan_kernels_get();
	double widest = 0, magnitude = 0;
	float least, most;
	size_t count;

	assert(centroids == 16 || centroids == 256);
	*t = (struct scan_tables){
		.tables = tables, .bytes = bytes, .code_bytes = code_bytes, .centroids = centroids};
	count = table_count(t);
	for (size_t m = 0; m < count; m++) {
		kernels->range(&least, &most, tables + m * centroids, centroids);
		widest = fmax(widest, (double)most - (double)least);
		magnitude += fmax(fabs((double)least), fabs((double)most));
		t->base += (double)least;
	}
	t->step = widest > 0 ? widest / (centroids == 16 ? NIBBLE_MAX : BYTE_MAX) : 1;
	t->slack = magnitude * (double)(count + 8) * 0x1p-23;
	for (size_t m = 0; m < count; m++) {
		kernels->range(&least, &most, tables + m * centroids, centroids);
		kernels->quantise(bytes + m * centroids, tables + m * centroids, centroids, least,
				  (float)(1 / t->step));
	}
}

/* The largest sum of bytes that a row may have whose distance is not above bound. */
static float limit_of(const struct scan_tables *t, float bound)
{
	double steps = ((double)bound + t->slack - t->base) / t->step;

	return bound < FLT_MAX ? (float)floor(steps * (1 + 0x1p-20)) + 1 : INFINITY;
}

float scan_tables_row(const struct scan_tables *t, const uint8_t *blocks, size_t row)
{
	const uint8_t *code = blocks + block_offset(row, t->code_bytes);
	const float *table = t->tables;
	float sum = 0;

	if (t->centroids == 16)
		for (size_t p = 0; p < t->code_bytes; p++, code += BLOCK_ROWS, table += 32) {
			sum += table[*code & 15];
			sum += table[16 + (*code >> 4)];
		}
	else
		for (size_t p = 0; p < t->code_bytes; p++, code += BLOCK_ROWS, table += 256)
			sum += table[*code];
	return sum;
}

/* Finishes the rows of a block that may be near enough, the bound falling from row to row. */
static void finish_block(struct topk *top, const struct scan_rows *column, const struct scan_tables *t,
			 const uint8_t *blocks, size_t block, const float *sums, uint64_t mask)
{
	float limit = limit_of(t, top->bound);
	size_t row;

	for (; mask; mask &= mask - 1) {
		unsigned r = (unsigned)__builtin_ctzll(mask);

		if (!(sums[r] <= limit))
			continue;
		row = block * BLOCK_ROWS + r;
		scan_push_row(top, column, row, scan_tables_row(t, blocks, row));
		limit = limit_of(t, top->bound);
	}
}

size_t scan_run(const struct scan_rows *column, size_t *block)
{
	size_t blocks = block_count(column->rows), run = 0;

	while (*block < blocks && !block_mask(column->valid, column->rows, *block))
		(*block)++;
	while (run < SCAN_RUN_BLOCKS && *block + run < blocks &&
	       block_mask(column->valid, column->rows, *block + run))
		run++;
	return run;
}

/* The sums of a run of blocks; then of each block the rows that count and may be near. */
static void scan_sums(struct topk *top, const struct scan_rows *column, const struct scan_tables *t,
		      const uint8_t *blocks, bool is_coarse)
{
	const struct scan_kernels *kernels = scan_kernels_get();
	struct scan_sums out;

	for (size_t block = 0, run; (run = scan_run(column, &block)) > 0; block += run) {
		const uint8_t *codes = blocks + block * BLOCK_ROWS * t->code_bytes;

		out.limit = is_coarse ? top->bound : limit_of(t, top->bound); /* it may fall during the run */
		if (t->centroids == 16)
			kernels->nibbles(&out, codes, run, t->code_bytes, t->bytes);
		else
			kernels->bytes(&out, codes, run, t->code_bytes, t->bytes);
		for (size_t b = 0; b < run; b++) {
			const float *of_block = out.sums + b * BLOCK_ROWS;
			uint64_t mask = out.near[b];

			if (mask)
				mask &= block_mask(column->valid, column->rows, block + b);
			if (mask && is_coarse)
				scan_push(top, column, block + b, of_block, mask);
			else if (mask)
				finish_block(top, column, t, blocks, block + b, of_block, mask);
		}
	}
}

void scan_codes(struct topk *top, const struct scan_rows *column, const struct scan_tables *t,
		const uint8_t *blocks)
{
	scan_sums(top, column, t, blocks, false);
}

void scan_codes_coarsely(struct topk *top, const struct scan_rows *column, const struct scan_tables *t,
			 const uint8_t *blocks)
{
	scan_sums(top, column, t, blocks, true);
}
