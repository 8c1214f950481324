/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/pq.h"

#include <assert.h>
#include <string.h>

#include "quant/gemm.h"
#include "quant/kmeans.h"
#include "quant/nearest.h"
#include "quant/pq.kernel.h"
#include "quant/rng.h"
#include "quant/scratch.h"

#define PASSES 6
#define ENCODE_ROWS 64 /* at a time: their transposed numbers stay in L2 */

static_assert(ENCODE_ROWS % NEAREST_GROUP == 0 && ENCODE_ROWS % ASSIGN_GROUP == 0,
	      "rows are encoded by whole groups");

static size_t sub_width(const struct pq_shape *shape, size_t m)
{
	return pq_sub_first(shape, m + 1) - pq_sub_first(shape, m);
}

static size_t whole_groups(size_t rows)
{
	return (rows + NEAREST_GROUP - 1) / NEAREST_GROUP * NEAREST_GROUP;
}

/* ------------------------------------------------------------------ training */

struct training {
	const struct pq_shape *shape;
	size_t rows, ld;
	const float *x;
	float *codebook;
	uint32_t *order; /* [rows] at random, as k-means wants them */
	double *error;   /* [subs] */
	char *own;       /* [workers] parts of own_bytes */
	size_t own_bytes;
};

/* What a worker has for itself. */
struct own {
	float *columns;   /* [sub_dim][ld] */
	float *centroids; /* [sub_dim][K] */
	float *mean;      /* [sub_dim] */
	void *kmeans;
};

static size_t lay_out_own(struct own *own, const struct pq_shape *shape, size_t rows, void *base)
{
	struct scratch s = {.base = base};
	size_t sub_dim = pq_sub_dim(shape), k = pq_centroids(shape);

	own->columns = scratch_take(&s, sub_dim * (whole_groups(rows) + NEAREST_GROUP) * sizeof(float));
	own->centroids = scratch_take(&s, sub_dim * k * sizeof(float));
	own->mean = scratch_take(&s, sub_dim * sizeof(float));
	own->kmeans = scratch_take(&s, kmeans_scratch_bytes(rows, sub_dim, k));
	return s.bytes;
}

static size_t lay_out(struct training *t, const struct pq_shape *shape, size_t rows, unsigned workers,
		      void *base)
{
	struct scratch s = {.base = base};
	struct own own;

	t->own_bytes = lay_out_own(&own, shape, rows, NULL);
	t->order = scratch_take(&s, rows * sizeof *t->order);
	t->error = scratch_take(&s, shape->subs * sizeof *t->error);
	t->own = scratch_take(&s, workers * t->own_bytes);
	return s.bytes;
}

size_t pq_train_scratch_bytes(const struct pq_shape *shape, size_t rows, unsigned workers)
{
	struct training t;

	return lay_out(&t, shape, rows, workers, NULL);
}

static void shuffle(uint32_t *order, size_t n, uint64_t seed)
{
	struct rng rng;

	rng_seed(&rng, seed);
	for (size_t i = 0; i < n; i++) {
		size_t j = rng_below(&rng, i + 1);

		order[i] = order[j];
		order[j] = (uint32_t)i;
	}
}

/* Dims first .. first + width - 1 of all rows, side by side, less their mean. */
static void gather_columns(const struct training *t, size_t first, size_t width, const struct own *own)
{
	for (size_t d = 0; d < width; d++) {
		float *column = own->columns + d * t->ld;
		double sum = 0;

		for (size_t i = 0; i < t->rows; i++) {
			column[i] = t->x[(size_t)t->order[i] * t->shape->dim + first + d];
			sum += (double)column[i];
		}
		own->mean[d] = (float)(sum / (double)t->rows);
		for (size_t i = 0; i < t->rows; i++)
			column[i] -= own->mean[d];
		memset(column + t->rows, 0, (t->ld - t->rows) * sizeof *column);
	}
}

static void train_sub(void *arg, size_t m, unsigned worker)
{
	const struct training *t = arg;
	size_t k = pq_centroids(t->shape), sub_dim = pq_sub_dim(t->shape), width = sub_width(t->shape, m);
	float *out = t->codebook + m * k * sub_dim;
	struct own own;

	lay_out_own(&own, t->shape, t->rows, t->own + worker * t->own_bytes);
	gather_columns(t, pq_sub_first(t->shape, m), width, &own);
	t->error[m] =
		kmeans_train(t->rows, width, own.columns, t->ld, k, PASSES, NULL, own.centroids, own.kmeans);
	for (size_t c = 0; c < k; c++)
		for (size_t d = 0; d < sub_dim; d++)
			out[c * sub_dim + d] = d < width ? own.centroids[d * k + c] + own.mean[d] : 0;
}

double pq_train(const struct pq_shape *shape, size_t rows, const float *x, uint64_t seed,
		const struct parallel *parallel, float *codebook, void *scratch)
{
	struct training t = {.shape = shape, .rows = rows, .x = x, .codebook = codebook};
	double error = 0;

	assert(rows > 0 && rows <= UINT32_MAX && shape->subs > 0 && shape->subs <= shape->dim);
	lay_out(&t, shape, rows, parallel_workers(parallel), scratch);
	/* Columns a power of two apart would all fall on the same lines of the cache. */
	t.ld = whole_groups(rows) + NEAREST_GROUP;
	shuffle(t.order, rows, seed);
	parallel_for(parallel, shape->subs, train_sub, &t);
	for (size_t m = 0; m < shape->subs; m++)
		error += t.error[m];
	return error / (double)rows;
}

/* ------------------------------------------------------------------ a bound codebook */

/* The parts of a bound codebook, before they are const. */
struct bound {
	float *origin, *columns, *half_norms;
	struct assign *integers;
	int32_t *pairs; /* [subs][pairs of sub_dim][K]: what those point to */
};

static size_t lay_out_bound(struct bound *b, const struct pq_shape *shape, void *base)
{
	struct scratch s = {.base = base};
	size_t sub_dim = pq_sub_dim(shape), k = pq_centroids(shape);

	b->origin = scratch_take(&s, shape->subs * sub_dim * sizeof *b->origin);
	b->columns = scratch_take(&s, pq_codebook_floats(shape) * sizeof *b->columns);
	b->half_norms = scratch_take(&s, shape->subs * k * sizeof *b->half_norms);
	b->integers = scratch_take(&s, shape->subs * sizeof *b->integers);
	b->pairs = scratch_take(&s, shape->subs * assign_pairs(sub_dim) * k * sizeof *b->pairs);
	return s.bytes / sizeof(float);
}

size_t pq_bound_floats(const struct pq_shape *shape)
{
	struct bound b;

	return lay_out_bound(&b, shape, NULL);
}

static void tell_from_mean(const struct pq_shape *shape, const float *codebook, size_t m,
			   const struct bound *b)
{
	size_t k = pq_centroids(shape), sub_dim = pq_sub_dim(shape);

	for (size_t d = 0; d < sub_dim; d++) {
		const float *from = codebook + m * k * sub_dim + d;
		float *origin = b->origin + m * sub_dim + d, *column = b->columns + (m * sub_dim + d) * k;
		double sum = 0;

		for (size_t c = 0; c < k; c++)
			sum += (double)from[c * sub_dim];
		*origin = (float)(sum / (double)k);
		for (size_t c = 0; c < k; c++)
			column[c] = from[c * sub_dim] - *origin;
	}
}

void pq_bind(struct pq *pq, const struct pq_shape *shape, const float *codebook, float *memory)
{
	size_t k = pq_centroids(shape), sub_dim = pq_sub_dim(shape);
	struct bound b;

	lay_out_bound(&b, shape, memory);
	for (size_t m = 0; m < shape->subs; m++) {
		const float *columns = b.columns + m * sub_dim * k;

		tell_from_mean(shape, codebook, m, &b);
		kmeans_half_norms(sub_dim, k, columns, b.half_norms + m * k);
		assign_bind(&b.integers[m], sub_width(shape, m), k, b.origin + m * sub_dim, columns,
			    b.pairs + m * assign_pairs(sub_dim) * k);
	}
	*pq = (struct pq){.shape = *shape,
			  .codebook = codebook,
			  .origin = b.origin,
			  .columns = b.columns,
			  .half_norms = b.half_norms,
			  .integers = b.integers};
}

/* ------------------------------------------------------------------ codes */

struct encoding {
	float *columns;   /* [dim][ENCODE_ROWS] */
	float *sub;       /* [sub_dim][ENCODE_ROWS] less the origin */
	float *score;     /* [ENCODE_ROWS] */
	void *pairs;      /* of assign */
	int32_t *code[2]; /* [ENCODE_ROWS] of one sub-vector, or of the two that share a byte */
};

static size_t lay_out_encoding(struct encoding *e, const struct pq_shape *shape, void *base)
{
	struct scratch s = {.base = base};

	e->columns = scratch_take(&s, shape->dim * ENCODE_ROWS * sizeof *e->columns);
	e->sub = scratch_take(&s, pq_sub_dim(shape) * ENCODE_ROWS * sizeof *e->sub);
	e->score = scratch_take(&s, ENCODE_ROWS * sizeof *e->score);
	e->pairs = scratch_take(&s, assign_scratch_bytes(pq_sub_dim(shape)));
	for (int i = 0; i < 2; i++)
		e->code[i] = scratch_take(&s, ENCODE_ROWS * sizeof *e->code[i]);
	return s.bytes;
}

size_t pq_encode_scratch_bytes(const struct pq_shape *shape)
{
	struct encoding e;

	return lay_out_encoding(&e, shape, NULL);
}

/* Of sub-vectors whose centroids integers do not tell apart. */
static void encode_finely(const struct pq *pq, const struct encoding *e, size_t rows, size_t m,
			  const float *from, int32_t *code)
{
	size_t k = pq_centroids(&pq->shape), sub_dim = pq_sub_dim(&pq->shape),
	       width = sub_width(&pq->shape, m);
	const float *origin = pq->origin + m * sub_dim;

	for (size_t d = 0; d < width; d++)
		for (size_t i = 0; i < ENCODE_ROWS; i++)
			e->sub[d * ENCODE_ROWS + i] = from[d * ENCODE_ROWS + i] - origin[d];
	nearest(rows, width, e->sub, ENCODE_ROWS, k, pq->columns + m * sub_dim * k, pq->half_norms + m * k,
		code, e->score);
}

static void encode_sub(const struct pq *pq, const struct encoding *e, size_t rows, size_t m, int32_t *code)
{
	const float *from = e->columns + pq_sub_first(&pq->shape, m) * ENCODE_ROWS;

	if (pq->integers[m].tells_apart)
		assign(&pq->integers[m], rows, from, ENCODE_ROWS, code, e->pairs);
	else
		encode_finely(pq, e, rows, m, from, code);
}

static void encode_block(const struct pq *pq, const struct encoding *e, size_t rows, const float *x,
			 uint8_t *codes)
{
	size_t dim = pq->shape.dim, bytes = pq_code_bytes(&pq->shape);

	gemm_transpose(rows, dim, x, dim, e->columns, ENCODE_ROWS);
	for (size_t p = 0; p < bytes; p++) {
		if (pq->shape.bits == 8) {
			encode_sub(pq, e, rows, p, e->code[0]);
			for (size_t i = 0; i < rows; i++)
				codes[i * bytes + p] = (uint8_t)e->code[0][i];
			continue;
		}
		encode_sub(pq, e, rows, 2 * p, e->code[0]);
		if (2 * p + 1 < pq->shape.subs)
			encode_sub(pq, e, rows, 2 * p + 1, e->code[1]);
		else
			memset(e->code[1], 0, ENCODE_ROWS * sizeof *e->code[1]);
		for (size_t i = 0; i < rows; i++)
			codes[i * bytes + p] = (uint8_t)(e->code[0][i] | e->code[1][i] << 4);
	}
}

void pq_encode(const struct pq *pq, size_t rows, const float *x, uint8_t *codes, void *scratch)
{
	struct encoding e;

	lay_out_encoding(&e, &pq->shape, scratch);
	memset(e.columns, 0, pq->shape.dim * ENCODE_ROWS * sizeof *e.columns);
	for (size_t i = 0; i < rows; i += ENCODE_ROWS)
		encode_block(pq, &e, rows - i < ENCODE_ROWS ? rows - i : ENCODE_ROWS, x + i * pq->shape.dim,
			     codes + i * pq_code_bytes(&pq->shape));
}

static size_t code_of(const struct pq_shape *shape, const uint8_t *code, size_t m)
{
	return shape->bits == 8 ? code[m] : (size_t)code[m / 2] >> (m % 2 * 4) & 15;
}

void pq_decode(const struct pq *pq, size_t rows, const uint8_t *codes, float *out)
{
	const struct pq_shape *shape = &pq->shape;
	size_t k = pq_centroids(shape), sub_dim = pq_sub_dim(shape);

	for (size_t i = 0; i < rows; i++, codes += pq_code_bytes(shape), out += shape->dim)
		for (size_t m = 0; m < shape->subs; m++)
			memcpy(out + pq_sub_first(shape, m),
			       pq->codebook + (m * k + code_of(shape, codes, m)) * sub_dim,
			       sub_width(shape, m) * sizeof *out);
}

/* ------------------------------------------------------------------ distances */

void pq_tables(const struct pq *pq, enum vs_metric metric, const float *query, float *tables)
{
	const struct pq_kernels *kernels = pq_kernels_get();
	size_t k = pq_centroids(&pq->shape), sub_dim = pq_sub_dim(&pq->shape);

	for (size_t m = 0; m < pq->shape.subs; m++) {
		struct pq_sub_query sub = {
			.query = query + pq_sub_first(&pq->shape, m),
			.origin = pq->origin + m * sub_dim,
			.columns = pq->columns + m * sub_dim * k,
			.width = sub_width(&pq->shape, m),
			.k = k,
		};

		if (metric == VS_IP)
			kernels->ip_table(&sub, tables + m * k);
		else
			kernels->l2_table(&sub, metric == VS_COSINE ? 0.5f : 1.0f, tables + m * k);
	}
}

void pq_estimate(const struct pq_shape *shape, const float *tables, size_t rows, const uint8_t *codes,
		 float *distances)
{
	size_t k = pq_centroids(shape);

	for (size_t i = 0; i < rows; i++, codes += pq_code_bytes(shape)) {
		float sum = 0;

		for (size_t m = 0; m < shape->subs; m++)
			sum += tables[m * k + code_of(shape, codes, m)];
		distances[i] = sum;
	}
}
