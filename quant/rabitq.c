/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/rabitq.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "quant/distance.h"
#include "quant/rabitq.kernel.h"
#include "quant/scan.kernel.h"
#include "quant/split.h"

#define REFINEMENTS 2

enum { ADD, SCALE }; /* places of factors; further ones by rabitq */

static size_t place_of_error(const struct rabitq *rq)
{
	assert(rq->metric == VS_IP);
	return 2;
}

static size_t place_of_scale(const struct rabitq *rq)
{
	return rq->bits == 1 ? SCALE : rq->metric == VS_IP ? 3 : 2;
}

unsigned rabitq_factors(const struct rabitq *rq)
{
	return 2u + (rq->metric == VS_IP) + (rq->bits > 1);
}

size_t rabitq_sign_bytes(const struct rabitq *rq)
{
	return rq->padded / 8;
}

size_t rabitq_extra_bytes(const struct rabitq *rq)
{
	return (size_t)rq->padded / 8 * (rq->bits - 1);
}

size_t rabitq_scratch(const struct rabitq *rq)
{
	/* the vector, normalised; centred and rotated; levels and signs */
	return 2 * (size_t)rq->padded + rq->padded / 4 + rq->padded / 32;
}

void rabitq_init(struct rabitq *rq, uint32_t dim, unsigned bits, enum vs_metric metric, uint64_t seed,
		 const float *mean, void *memory)
{
	assert(dim > 0 && dim <= DISTANCE_DIM_MAX && bits >= 1 && bits <= RABITQ_BITS_MAX);
	*rq = (struct rabitq){.mean = mean, .dim = dim, .bits = bits, .metric = metric};
	hadamard_init(&rq->rotation, dim, seed, memory);
	rq->padded = rq->rotation.padded;
}

/* The vector itself, or normalised into scratch; NULL if it cannot be encoded. */
static const float *prepared(enum vs_metric metric, const float *x, uint32_t dim, float *scratch)
{
	if (metric == VS_COSINE)
		return distance_normalise(scratch, x, dim) == 0 ? scratch : NULL;
	return sqrt(distance_norm2(x, dim)) <= (double)FLT_MAX ? x : NULL;
}

void rabitq_mean(float *mean, enum vs_metric metric, const float *vectors, size_t n, uint32_t dim,
		 void *scratch)
{
	double *sums = scratch;
	float *unit = (float *)(sums + dim);
	size_t count = 0;

	memset(sums, 0, dim * sizeof *sums);
	for (size_t i = 0; i < n; i++) {
		const float *x = prepared(metric, vectors + i * dim, dim, unit);

		if (!x)
			continue;
		count++;
		for (uint32_t j = 0; j < dim; j++)
			sums[j] += (double)x[j];
	}
	for (uint32_t j = 0; j < dim; j++)
		mean[j] = count ? (float)(sums[j] / (double)count) : 0;
}

/* The best scale of the grid of random unit vectors of so many components, times the root of that number:
 * means of 200 seeded Gaussian vectors, by bits and by log2 of the components, from 64 to 2,048. */
static float usual_scale(uint32_t padded, unsigned bits)
{
	static const float scales[RABITQ_BITS_MAX - 1][6] = {
		{0.95f, 0.99f, 1.00f, 1.00f, 1.00f, 1.00f},       /* 2 bits */
		{1.69f, 1.70f, 1.69f, 1.70f, 1.71f, 1.71f},       /* 3 bits */
		{3.07f, 3.05f, 2.98f, 2.97f, 2.98f, 2.98f},       /* 4 bits */
		{5.96f, 5.74f, 5.48f, 5.35f, 5.32f, 5.34f},       /* 5 bits */
		{11.85f, 11.33f, 10.49f, 10.00f, 9.75f, 9.73f},   /* 6 bits */
		{23.70f, 22.47f, 20.72f, 19.62f, 18.72f, 18.38f}, /* 7 bits */
		{47.39f, 45.07f, 41.31f, 38.97f, 37.11f, 36.01f}, /* 8 bits */
	};
	unsigned size = 0;

	while (size < 5 && padded >= 128u << size)
		size++;
	return scales[bits - 2][size];
}

static double quality(struct rabitq_fit f)
{
	return f.dot * f.dot / f.norm2;
}

/* The scale t of o on the grid for which the cosine between o and its code is the largest found. */
static float best_scale(const struct rabitq_kernels *kernels, const float *o, uint32_t padded, unsigned bits,
			double norm, struct rabitq_fit *best)
{
	static const float steps[] = {1, 0.83f, 0.89f, 0.94f, 1.06f, 1.12f, 1.19f};
	const unsigned most = (1u << (bits - 1)) - 1;
	float usual = (float)((double)usual_scale(padded, bits) * sqrt((double)padded) / norm), t = usual;

	*best = kernels->fit(o, padded, usual, most);
	for (size_t i = 1; i < sizeof steps / sizeof *steps; i++) {
		struct rabitq_fit f = kernels->fit(o, padded, usual * steps[i], most);

		if (quality(f) > quality(*best)) {
			*best = f;
			t = usual * steps[i];
		}
	}
	for (int i = 0; i < REFINEMENTS;
	     i++) { /* the point of the grid nearest to o*t: t = |g|^2 / <|o|, g> */
		float refined = (float)(best->norm2 / best->dot);
		struct rabitq_fit f = kernels->fit(o, padded, refined, most);

		if (!(quality(f) > quality(*best)))
			break;
		*best = f;
		t = refined;
	}
	return t;
}

/* 64 levels of so many bits into 8*bits bytes. */
static void pack_run(uint8_t *out, const uint8_t *levels, unsigned run, unsigned place)
{
	unsigned bytes = 8 * run;

	memset(out, 0, bytes);
	for (unsigned i = 0; i < 64; i++)
		out[i % bytes] = (uint8_t)(out[i % bytes] | (levels[i] >> place & ((1 << run) - 1))
								    << i / bytes * run);
}

static void pack_word(uint8_t *out, const uint8_t *levels, unsigned place)
{
	uint64_t word = 0;

	for (unsigned i = 0; i < 64; i++)
		word |= (uint64_t)(levels[i] >> place & 1) << i;
	memcpy(out, &word, sizeof word);
}

static void pack_levels(uint8_t *extra, const uint8_t *levels, uint32_t padded, unsigned bits)
{
	for (uint32_t i = 0; i < padded; i += 64, levels += 64) {
		unsigned place = 0;

		for (unsigned run = 4; run > 1; run /= 2)
			if (bits & run) {
				pack_run(extra, levels, run, place);
				extra += 8 * run;
				place += run;
			}
		if (bits & 1) {
			pack_word(extra, levels, place);
			extra += 8;
		}
	}
}

/* The side factors. ratio is r/<o/r, g> of the signs' grid, all_ratio of all bits'. */
static void set_factors(const struct rabitq *rq, float *factors, double norm2, double ratio, double all_ratio,
			double mean_dot)
{
	double scale = rq->metric == VS_L2 ? -2 : -1;

	if (rq->metric == VS_IP) {
		double error2 = ratio * ratio * rq->padded / 4 - norm2;

		factors[ADD] = (float)-mean_dot;
		factors[place_of_error(rq)] = (float)sqrt(error2 > 0 ? error2 : 0);
	} else {
		factors[ADD] = (float)(rq->metric == VS_L2 ? norm2 : norm2 / 2);
	}
	factors[SCALE] = (float)(scale * ratio);
	factors[place_of_scale(rq)] = (float)(scale * all_ratio);
}

/* Whether the vector can be found; the row of extra, if any, is written. */
static bool encode_row(const struct rabitq *rq, uint8_t *bits, uint8_t *extra, float *factors,
		       const float *vector, float *scratch)
{
	const struct rabitq_kernels *kernels = rabitq_kernels_get();
	float *o = scratch + rq->padded;
	const float *x = prepared(rq->metric, vector, rq->dim, scratch);
	double mean_dot, norm2, magnitude, ratio, all_ratio;
	struct rabitq_fit f = {1, 1};

	if (!x)
		return false;
	mean_dot = kernels->centre(o, x, rq->mean, rq->dim, rq->padded);
	hadamard_rotate(&rq->rotation, o);
	kernels->signs(bits, &norm2, &magnitude, o, rq->padded);
	if (!(sqrt(norm2) <= (double)FLT_MAX) || !(fabs(mean_dot) <= (double)FLT_MAX))
		return false;
	if (norm2 < 0x1p-149) /* no f32 can tell it from 0 */
		magnitude = 0;
	ratio = all_ratio = magnitude > 0 ? 2 * norm2 / magnitude : 0;
	if (rq->bits > 1) {
		const unsigned most = (1u << (rq->bits - 1)) - 1;
		uint8_t *levels = (uint8_t *)(o + rq->padded);
		float t = magnitude > 0 ? best_scale(kernels, o, rq->padded, rq->bits, sqrt(norm2), &f) : 0;

		kernels->levels(levels, o, rq->padded, t, most);
		pack_levels(extra, levels, rq->padded, rq->bits - 1);
		all_ratio = magnitude > 0 ? norm2 / f.dot : 0;
	}
	set_factors(rq, factors, norm2, ratio, all_ratio, mean_dot);
	return isfinite(factors[ADD]) && isfinite(factors[SCALE]) && isfinite(factors[place_of_scale(rq)]);
}

size_t rabitq_encode(const struct rabitq *rq, uint8_t *signs, uint8_t *extra, float *factors, size_t first,
		     const float *vectors, size_t n, float *scratch)
{
	const size_t sign_bytes = rabitq_sign_bytes(rq), extra_bytes = rabitq_extra_bytes(rq);
	uint8_t *bits = (uint8_t *)(scratch + 2 * (size_t)rq->padded + rq->padded / 4);
	size_t lost = 0;

	for (size_t i = 0; i < n; i++) {
		float side[RABITQ_FACTORS_MAX] = {0};
		uint8_t *row = extra_bytes ? extra + (first + i) * extra_bytes : NULL;

		if (!encode_row(rq, bits, row, side, vectors + i * rq->dim, scratch)) {
			memset(bits, 0, sign_bytes);
			if (row)
				memset(row, 0, extra_bytes);
			memset(side, 0, sizeof side);
			side[ADD] = INFINITY;
			lost++;
		}
		block_pack(signs, first + i, bits, 1, sign_bytes);
		block_pack_factors(factors, first + i, side, 1, rabitq_factors(rq));
	}
	return lost;
}

/* Decoding: g times r <o/r, g> / |g|^2 is the multiple of g nearest to o; r <o/r, g> is r^2 over the ratio.
 */
static void decode_row(const struct rabitq *rq, float *o, const uint8_t *sign, const uint8_t *extra,
		       const float *side)
{
	const double scale = rq->metric == VS_L2 ? -2 : -1, half = ((1u << rq->bits) - 1) / 2.0;
	double ratio = (double)side[SCALE * BLOCK_ROWS] / scale, norm2 = (double)side[ADD * BLOCK_ROWS],
	       grid2 = 0;
	double all_ratio = (double)side[place_of_scale(rq) * BLOCK_ROWS] / scale, multiple;

	if (rq->metric == VS_IP)
		norm2 = ratio * ratio * rq->padded / 4 -
			pow((double)side[place_of_error(rq) * BLOCK_ROWS], 2);
	else if (rq->metric == VS_COSINE)
		norm2 *= 2;
	for (uint32_t i = 0; i < rq->padded; i += 64) {
		uint8_t k[64];

		rabitq_unpack(k, sign + i / 8 * BLOCK_ROWS, extra + i / 8 * (rq->bits - 1), rq->bits - 1);
		for (uint32_t j = 0; j < 64; j++) {
			o[i + j] = (float)(k[j] - half);
			grid2 += (k[j] - half) * (k[j] - half);
		}
	}
	multiple = all_ratio > 0 ? norm2 / (all_ratio * grid2) : 0;
	for (uint32_t i = 0; i < rq->padded; i++)
		o[i] = (float)(o[i] * multiple);
}

void rabitq_decode(const struct rabitq *rq, float *vectors, const uint8_t *signs, const uint8_t *extra,
		   const float *factors, size_t first, size_t n, float *scratch)
{
	const size_t sign_bytes = rabitq_sign_bytes(rq), extra_bytes = rabitq_extra_bytes(rq);

	for (size_t row = first; row < first + n; row++, vectors += rq->dim) {
		const float *side = factors + block_factor_offset(row, rabitq_factors(rq));
		const uint8_t *sign = signs + block_offset(row, sign_bytes);
		bool is_lost = isinf(side[ADD]);

		decode_row(rq, scratch, sign, extra_bytes ? extra + row * extra_bytes : sign, side);
		hadamard_rotate_back(&rq->rotation, scratch);
		for (uint32_t i = 0; i < rq->dim; i++)
			vectors[i] = is_lost ? NAN : scratch[i] + rq->mean[i];
	}
}

/* The parts of a query's memory, all of whole cache lines. */
struct query_memory {
	float *tables; /* (padded/4, 16) */
	float *rotated;
	uint8_t *bytes;
	int8_t *high, *low;
};

size_t rabitq_query_bytes(const struct rabitq *rq)
{
	return (size_t)rq->padded * (16 + 4 + 4 + 1 + 1);
}

static struct query_memory parts_of(const struct rabitq *rq, void *memory)
{
	struct query_memory m = {.tables = memory};

	m.rotated = m.tables + 4 * (size_t)rq->padded;
	m.bytes = (uint8_t *)(m.rotated + rq->padded);
	m.high = (int8_t *)(m.bytes + 4 * (size_t)rq->padded);
	m.low = m.high + rq->padded;
	return m;
}

/* Of four components each: for each choice of signs, the sum of those whose bit is set. */
static void fill_tables(float *tables, const float *rotated, uint32_t padded)
{
	for (uint32_t i = 0; i < padded; i += 4, tables += 16) {
		tables[0] = 0;
		for (unsigned j = 1; j < 16; j++)
			tables[j] = tables[j & (j - 1)] + rotated[i + (unsigned)__builtin_ctz(j)];
	}
}

static void split_query(struct rabitq_query *rqq, const float *rotated, uint32_t padded)
{
	double largest = 0, sum = 0;

	for (uint32_t i = 0; i < padded; i++)
		largest = fmax(largest, fabs((double)rotated[i]));
	rqq->scale = (float)(largest / SPLIT_MAX);
	for (uint32_t i = 0; i < padded; i++) {
		int value = split_value((double)rotated[i], (double)rqq->scale);

		rqq->high[i] = split_high(value);
		rqq->low[i] = split_low(value);
		sum += value;
	}
	rqq->half_sum = (float)((double)rqq->scale * sum * ((1u << rqq->rq->bits) - 1) / 2);
}

static void set_error(struct rabitq_query *rqq, double norm, double deviations)
{
	const struct rabitq *rq = rqq->rq;
	double scale = rq->metric == VS_L2 ? 2 : 1;

	rqq->error = (float)(deviations * scale * norm / sqrt((double)rq->padded - 1));
	rqq->error_scale2 =
		(float)rq->padded / (rq->metric == VS_L2 ? 16 : 4); /* r/<o/r, g> is f_scale over 2, or 1 */
	rqq->error_add = rq->metric == VS_L2 ? 1 : 2;               /* f_add is r^2, or half of it */
}

int rabitq_query_init(struct rabitq_query *rqq, const struct rabitq *rq, const float *query, float error,
		      void *memory)
{
	struct query_memory m = parts_of(rq, memory);
	const float *q = prepared(rq->metric, query, rq->dim, m.tables);
	double mean_dot, norm2, sum = 0;

	if (!q)
		return -EINVAL;
	*rqq = (struct rabitq_query){.rq = rq, .high = m.high, .low = m.low};
	mean_dot = rabitq_kernels_get()->centre(m.rotated, q, rq->mean, rq->dim, rq->padded);
	norm2 = distance_norm2(m.rotated, rq->padded);
	mean_dot += distance_norm2(rq->mean, rq->dim); /* <q - c, c> + <c, c> */
	if (!(norm2 * 16 <= (double)FLT_MAX) || !(fabs(mean_dot) <= (double)FLT_MAX))
		return -EINVAL;
	rqq->add = (float)(rq->metric == VS_IP ? -mean_dot : rq->metric == VS_L2 ? norm2 : norm2 / 2);
	hadamard_rotate(&rq->rotation, m.rotated);
	fill_tables(m.tables, m.rotated, rq->padded);
	scan_tables_init(&rqq->signs, m.tables, rabitq_sign_bytes(rq), 16, m.bytes);
	for (uint32_t i = 0; i < rq->padded; i++)
		sum += (double)m.rotated[i];
	/* A table's entry is half a step above its byte on average. */
	rqq->sign_step = (float)rqq->signs.step;
	rqq->sign_base = (float)(rqq->signs.base - sum / 2 + rqq->signs.step * rq->padded / 8);
	split_query(rqq, m.rotated, rq->padded);
	set_error(rqq, sqrt(norm2), (double)error);
	return 0;
}

float rabitq_distance(const struct rabitq_query *rqq, const uint8_t *signs, const uint8_t *extra,
		      const float *factors, size_t row)
{
	const struct rabitq *rq = rqq->rq;
	const size_t extra_bytes = rabitq_extra_bytes(rq);
	const float *side = factors + block_factor_offset(row, rabitq_factors(rq));
	const uint8_t *sign = signs + block_offset(row, rabitq_sign_bytes(rq));
	int32_t high, low;
	float dot;

	rabitq_kernels_get()->products(&high, &low, rqq, sign,
				       extra_bytes ? extra + row * extra_bytes : sign);
	dot = rqq->scale * (float)(128 * (int64_t)high + low) - rqq->half_sum;
	return side[place_of_scale(rq) * BLOCK_ROWS] * dot + (side[ADD * BLOCK_ROWS] + rqq->add);
}

/* Finishes the rows of a block whose bound is not above that of the selection. A row counts as no nearer than
 * its bound: this one may err, and else it would depend on what was met before whether the row is found. */
static size_t finish_block(struct topk *top, const struct scan_rows *column, const struct rabitq_query *rqq,
			   const uint8_t *signs, const uint8_t *extra, const float *factors, size_t block,
			   const float *bounds, uint64_t mask)
{
	size_t finished = 0;

	for (; mask; mask &= mask - 1) {
		unsigned r = (unsigned)__builtin_ctzll(mask);
		size_t row = block * BLOCK_ROWS + r;

		if (!(bounds[r] <= top->bound))
			continue;
		scan_push_row(top, column, row,
			      fmaxf(rabitq_distance(rqq, signs, extra, factors, row), bounds[r]));
		finished++;
	}
	return finished;
}

void rabitq_scan(struct topk *top, const struct scan_rows *column, const struct rabitq_query *rqq,
		 const uint8_t *signs, const uint8_t *extra, const float *factors, size_t *finished)
{
	const struct rabitq *rq = rqq->rq;
	const struct rabitq_kernels *kernels = rabitq_kernels_get();
	const size_t sign_bytes = rabitq_sign_bytes(rq);
	struct scan_sums signs_of; /* no limit is of use: these are no distances yet */
	float distances[BLOCK_ROWS];

	signs_of.limit = INFINITY;
	for (size_t block = 0, run; (run = scan_run(column, &block)) > 0; block += run) {
		scan_kernels_get()->nibbles(&signs_of, signs + block * BLOCK_ROWS * sign_bytes, run,
					    sign_bytes, rqq->signs.bytes);
		for (size_t b = block; b < block + run; b++) {
			const float *side = factors + b * BLOCK_ROWS * rabitq_factors(rq);
			uint64_t mask = block_mask(column->valid, column->rows, b);
			size_t count = 0;

			if (rq->bits == 1) {
				kernels->estimates(distances, rqq, signs_of.sums + (b - block) * BLOCK_ROWS,
						   side);
				scan_push(top, column, b, distances, mask);
				continue;
			}
			kernels->bounds(distances, rqq, signs_of.sums + (b - block) * BLOCK_ROWS, side);
			mask &= scan_not_above(distances, top->bound);
			if (mask)
				count = finish_block(top, column, rqq, signs, extra, factors, b, distances,
						     mask);
			if (finished)
				*finished += count;
		}
	}
}
