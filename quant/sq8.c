/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/sq8.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/distance.h"
#include "quant/split.h"
#include "quant/sq8.kernel.h"

/* Fewer valid rows of a block than this are estimated one by one. */
#define SPARSE_ROWS 16

static size_t padded(uint32_t dim)
{
	return ((size_t)dim + 63) / 64 * 64;
}

static bool is_finite_norm(const float *x, uint32_t dim)
{
	return sqrt(distance_norm2(x, dim)) <= (double)FLT_MAX;
}

size_t sq8_encode(uint8_t *codes, float *factors, size_t first, enum vs_metric metric, const float *vectors,
		  size_t n, uint32_t dim, float *scratch)
{
	const struct sq8_kernels *kernels = sq8_kernels_get();
	size_t lost = 0;

	for (size_t i = 0; i < n; i++) {
		const float *x = vectors + i * dim;
		uint8_t *code = codes + (first + i) * dim;
		float side[SQ8_FACTORS] = {0, INFINITY, 0};
		bool is_findable;

		if (metric == VS_COSINE) {
			is_findable = distance_normalise(scratch, x, dim) == 0;
			x = scratch;
		} else {
			is_findable = is_finite_norm(x, dim);
		}
		if (is_findable) {
			kernels->encode(code, side, x, dim);
		} else {
			memset(code, 128, dim);
			lost++;
		}
		block_pack_factors(factors, first + i, side, 1, SQ8_FACTORS);
	}
	return lost;
}

void sq8_decode(float *vectors, const uint8_t *codes, const float *factors, size_t first, size_t n,
		uint32_t dim)
{
	for (size_t i = 0; i < n; i++) {
		const float *side = factors + block_factor_offset(first + i, SQ8_FACTORS);
		const uint8_t *code = codes + (first + i) * dim;
		float scale = isinf(side[BLOCK_ROWS]) ? NAN : side[0];

		for (uint32_t j = 0; j < dim; j++)
			vectors[i * dim + j] = scale * (float)(code[j] - 128);
	}
}

size_t sq8_query_bytes(uint32_t dim)
{
	return 2 * padded(dim);
}

/* Rounds the query; the error it makes is measured, not assumed. */
static void round_query(struct sq8_query *sq, const float *query, double unit)
{
	double error = 0, norm2 = 0, largest = 0;

	for (uint32_t i = 0; i < sq->dim; i++)
		largest = fmax(largest, fabs((double)query[i] * unit));
	sq->scale = (float)(largest / SPLIT_MAX);
	if (!(sq->scale >= FLT_MIN))
		sq->scale = 0;
	for (uint32_t i = 0; i < sq->dim; i++) {
		double x = (double)query[i] * unit, scale = (double)sq->scale;
		int value = split_value(x, scale);
		double rest = x - scale * value;

		sq->high[i] = split_high(value);
		sq->low[i] = split_low(value);
		sq->high_sum += sq->high[i];
		sq->low_sum += sq->low[i];
		error += rest * rest;
		norm2 += scale * value * scale * value;
	}
	sq->norm2 = (float)norm2;
	sq->norm = (float)sqrt(norm2);
	sq->error = (float)(sqrt(error) * (1 + 0x1p-20));
}

int sq8_query_init(struct sq8_query *sq, enum vs_metric metric, const float *query, uint32_t dim,
		   void *memory)
{
	double norm = sqrt(distance_norm2(query, dim));

	assert(dim > 0 && dim <= DISTANCE_DIM_MAX);
	if (!(norm <= (double)FLT_MAX) || (metric == VS_COSINE && norm == 0))
		return -EINVAL;
	memset(memory, 0, sq8_query_bytes(dim));
	*sq = (struct sq8_query){
		.metric = metric, .dim = dim, .high = memory, .low = (int8_t *)memory + padded(dim)};
	sq->looseness = ((float)dim / 16 + 16) * 0x1p-22f;
	round_query(sq, query, metric == VS_COSINE ? 1 / norm : 1);
	return 0;
}

/* The sums of a block's rows; where few count, of those only. */
static void block_products(const struct sq8_kernels *kernels, int32_t *high, int32_t *low,
			   const struct sq8_query *sq, const uint8_t *codes, size_t n, uint64_t mask)
{
	if (__builtin_popcountll(mask) >= SPARSE_ROWS) {
		kernels->products(high, low, sq, codes, n);
		return;
	}
	for (; mask; mask &= mask - 1) {
		unsigned r = (unsigned)__builtin_ctzll(mask);

		kernels->products(high + r, low + r, sq, codes + (size_t)r * sq->dim, 1);
	}
}

/* Estimates of a block's rows, or bounds of them. Returns which rows count. */
static uint64_t block_estimates(float *out, bool is_bound, const struct scan_rows *column,
				const struct sq8_query *sq, const uint8_t *codes, const float *factors,
				size_t block)
{
	const struct sq8_kernels *kernels = sq8_kernels_get();
	int32_t high[BLOCK_ROWS] = {0}, low[BLOCK_ROWS] = {0};
	uint64_t mask = block_mask(column->valid, column->rows, block);
	size_t first = block * BLOCK_ROWS, left = column->rows - first;
	const float *side = factors + first * SQ8_FACTORS;

	if (!mask)
		return 0;
	block_products(kernels, high, low, sq, codes + first * sq->dim, left < BLOCK_ROWS ? left : BLOCK_ROWS,
		       mask);
	(is_bound ? kernels->bounds : kernels->distances)(out, sq, high, low, side);
	return mask;
}

void sq8_scan(struct topk *top, const struct scan_rows *column, const struct sq8_query *sq,
	      const uint8_t *codes, const float *factors)
{
	float distances[BLOCK_ROWS];

	for (size_t block = 0; block < block_count(column->rows); block++) {
		uint64_t mask = block_estimates(distances, false, column, sq, codes, factors, block);

		if (mask)
			scan_push(top, column, block, distances, mask);
	}
}

uint64_t sq8_bounds(float *out, const struct scan_rows *column, const struct sq8_query *sq,
		    const uint8_t *codes, const float *factors, size_t block)
{
	return block_estimates(out, true, column, sq, codes, factors, block);
}

void sq8_search(struct topk *top, const struct scan_rows *column, const struct sq8_query *sq,
		const uint8_t *codes, const float *factors, const float *query, const float *vectors,
		size_t stride, size_t *read)
{
	float bounds[BLOCK_ROWS];

	for (size_t block = 0; block < block_count(column->rows); block++) {
		uint64_t mask = sq8_bounds(bounds, column, sq, codes, factors, block);

		if (mask)
			mask &= scan_not_above(bounds, top->bound);
		for (; mask; mask &= mask - 1) {
			unsigned r = (unsigned)__builtin_ctzll(mask);
			size_t row = block * BLOCK_ROWS + r;

			if (!(bounds[r] <= top->bound))
				continue;
			distance_rows(bounds + r, VS_F32, sq->metric, query,
				      (const char *)vectors + row * stride, stride, 1, sq->dim);
			scan_push_row(top, column, row, bounds[r]);
			if (read)
				++*read;
		}
	}
}
