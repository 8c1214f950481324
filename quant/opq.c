/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/opq.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "quant/distance.h"
#include "quant/eigen.h"
#include "quant/gemm.h"
#include "quant/scratch.h"

#define COVARIANCE_ROWS 16384 /* as many as are looked at for the axes, evenly spread */
#define BLOCK_ROWS 256        /* multiplied in f32 before they are added in f64 */
#define STRIP 64              /* rows of the covariance that are one part of the work */
#define ROTATE_ROWS 256       /* a part of the work, too */
/* A variance below this part of the largest one counts as this: such axes hold noise, if anything. */
#define VARIANCE_MIN 1e-9

struct training {
	const struct pq_shape *shape;
	size_t rows, dim, stride, sampled; /* row i of the sample is row i * stride */
	const float *x;
	float *rotation;
	double *covariance, *values, *vectors; /* [dim][dim], [dim], [dim][dim] */
	float *mean;
	float *columns;  /* [dim][BLOCK_ROWS] */
	float *products; /* [dim][dim] of one block */
	float *rotated;  /* [rows][dim] */
	uint32_t *axes;
	void *allocation, *eigen, *pq;
	char *gemm; /* [workers] */
};

static size_t lay_out(struct training *t, const struct pq_shape *shape, size_t rows, unsigned workers,
		      void *base)
{
	struct scratch s = {.base = base};
	size_t dim = shape->dim;

	t->covariance = scratch_take(&s, dim * dim * sizeof *t->covariance);
	t->values = scratch_take(&s, dim * sizeof *t->values);
	t->vectors = scratch_take(&s, dim * dim * sizeof *t->vectors);
	t->mean = scratch_take(&s, dim * sizeof *t->mean);
	t->columns = scratch_take(&s, dim * BLOCK_ROWS * sizeof *t->columns);
	t->products = scratch_take(&s, dim * dim * sizeof *t->products);
	t->axes = scratch_take(&s, dim * sizeof *t->axes);
	t->allocation = scratch_take(&s, shape->subs * 16);
	t->eigen = scratch_take(&s, eigen_scratch_bytes(dim));
	t->gemm = scratch_take(&s, workers * (size_t)GEMM_SCRATCH_BYTES);
	t->rotated = scratch_take(&s, rows * dim * sizeof *t->rotated);
	t->pq = scratch_take(&s, pq_train_scratch_bytes(shape, rows, workers));
	return s.bytes;
}

size_t opq_train_scratch_bytes(const struct pq_shape *shape, size_t rows, unsigned workers)
{
	struct training t;

	return lay_out(&t, shape, rows, workers, NULL);
}

/* ------------------------------------------------------------------ the axes */

static void find_mean(struct training *t)
{
	double *sum = t->values; /* not needed yet */

	memset(sum, 0, t->dim * sizeof *sum);
	for (size_t i = 0; i < t->sampled; i++)
		for (size_t d = 0; d < t->dim; d++)
			sum[d] += (double)t->x[i * t->stride * t->dim + d];
	for (size_t d = 0; d < t->dim; d++)
		t->mean[d] = (float)(sum[d] / (double)t->sampled);
}

/* Of some rows of the covariance, what lies on and left of the diagonal; all that eigen_symmetric() needs. */
static void multiply_strip(void *arg, size_t strip, unsigned worker)
{
	const struct training *t = arg;
	size_t at = strip * STRIP, n = t->dim - at < STRIP ? t->dim - at : STRIP;

	gemm_nt(n, at + n, BLOCK_ROWS, t->columns + at * BLOCK_ROWS, BLOCK_ROWS, t->columns, BLOCK_ROWS,
		t->products + at * t->dim, t->dim, t->gemm + worker * (size_t)GEMM_SCRATCH_BYTES);
	for (size_t i = at; i < at + n; i++)
		for (size_t j = 0; j <= i; j++)
			t->covariance[i * t->dim + j] += (double)t->products[i * t->dim + j];
}

static void add_block(struct training *t, size_t first, const struct parallel *parallel)
{
	size_t rows = t->sampled - first < BLOCK_ROWS ? t->sampled - first : BLOCK_ROWS;
	size_t row_floats = t->stride * t->dim;

	if (rows < BLOCK_ROWS)
		memset(t->columns, 0, t->dim * BLOCK_ROWS * sizeof *t->columns);
	gemm_transpose(rows, t->dim, t->x + first * row_floats, row_floats, t->columns, BLOCK_ROWS);
	for (size_t d = 0; d < t->dim; d++)
		for (size_t i = 0; i < rows; i++)
			t->columns[d * BLOCK_ROWS + i] -= t->mean[d];
	parallel_for(parallel, (t->dim + STRIP - 1) / STRIP, multiply_strip, t);
}

static void find_covariance(struct training *t, const struct parallel *parallel)
{
	t->stride = t->rows > COVARIANCE_ROWS ? t->rows / COVARIANCE_ROWS : 1;
	t->sampled = t->rows / t->stride;
	find_mean(t);
	memset(t->covariance, 0, t->dim * t->dim * sizeof *t->covariance);
	for (size_t i = 0; i < t->sampled; i += BLOCK_ROWS)
		add_block(t, i, parallel);
	for (size_t i = 0; i < t->dim; i++)
		for (size_t j = 0; j < i; j++)
			t->covariance[j * t->dim + i] = t->covariance[i * t->dim + j];
}

/*
 * A product of variances, as a fraction and a power of two: log() of one C library rounds unlike that of
 * another, and the axes must not depend on it.
 */
struct volume {
	double fraction;
	int32_t exponent;
	uint32_t axes; /* dealt so far */
};

static_assert(sizeof(struct volume) <= 16, "the room that opq_allocate() asks for");

static bool is_smaller(const struct volume *a, const struct volume *b)
{
	return a->exponent != b->exponent ? a->exponent < b->exponent : a->fraction < b->fraction;
}

void opq_allocate(const struct pq_shape *shape, const double *variances, uint32_t *axes, void *scratch)
{
	double largest = variances[0] > 0 ? variances[0] : 1, smallest = variances[shape->dim - 1];
	struct volume *volumes = scratch;

	/* Told in units of the smallest one, none makes a product smaller: else the product of many small
	 * ones would be the smallest, and all large ones would go to it. */
	smallest = fmax(smallest, largest * VARIANCE_MIN);
	for (size_t m = 0; m < shape->subs; m++)
		volumes[m] = (struct volume){.fraction = 0.5, .exponent = 1};
	for (uint32_t i = 0; i < shape->dim; i++) {
		struct volume *least = NULL;
		int exponent;

		for (size_t m = 0; m < shape->subs; m++) {
			bool is_full = volumes[m].axes == pq_sub_first(shape, m + 1) - pq_sub_first(shape, m);

			if (!is_full && (!least || is_smaller(&volumes[m], least)))
				least = &volumes[m];
		}
		assert(least);
		axes[pq_sub_first(shape, (size_t)(least - volumes)) + least->axes++] = i;
		least->fraction =
			frexp(least->fraction * (fmax(variances[i], smallest) / smallest), &exponent);
		least->exponent += exponent;
	}
}

/* ------------------------------------------------------------------ rotations */

void opq_rotate(size_t dim, const float *rotation, size_t rows, const float *x, float *out, void *scratch)
{
	gemm_nt(rows, dim, dim, x, dim, rotation, dim, out, dim, scratch);
}

void opq_rotate_query(size_t dim, const float *rotation, const float *query, float *out)
{
	distance_rows(out, VS_F32, VS_IP, query, rotation, dim * sizeof *rotation, dim, (uint32_t)dim);
	for (size_t i = 0; i < dim; i++)
		out[i] = -out[i];
}

void opq_rotate_back(size_t dim, const float *rotation, size_t rows, const float *x, float *out,
		     void *scratch)
{
	float *transposed = (float *)((char *)scratch + GEMM_SCRATCH_BYTES);

	gemm_transpose(dim, dim, rotation, dim, transposed, dim);
	gemm_nt(rows, dim, dim, x, dim, transposed, dim, out, dim, scratch);
}

static void rotate_part(void *arg, size_t part, unsigned worker)
{
	const struct training *t = arg;
	size_t first = part * ROTATE_ROWS,
	       rows = t->rows - first < ROTATE_ROWS ? t->rows - first : ROTATE_ROWS;

	opq_rotate(t->dim, t->rotation, rows, t->x + first * t->dim, t->rotated + first * t->dim,
		   t->gemm + worker * (size_t)GEMM_SCRATCH_BYTES);
}

/* ------------------------------------------------------------------ the whole */

int opq_train(const struct pq_shape *shape, size_t rows, const float *x, uint64_t seed,
	      const struct parallel *parallel, float *rotation, float *codebook, double *error, void *scratch)
{
	struct training t = {.shape = shape, .rows = rows, .dim = shape->dim, .x = x, .rotation = rotation};
	int rc;

	assert(rows > 0 && shape->dim <= OPQ_DIM_MAX);
	lay_out(&t, shape, rows, parallel_workers(parallel), scratch);
	find_covariance(&t, parallel);
	rc = eigen_symmetric(t.dim, t.covariance, t.values, t.vectors, parallel, t.eigen);
	if (rc)
		return rc;
	opq_allocate(shape, t.values, t.axes, t.allocation);
	for (size_t i = 0; i < t.dim; i++)
		for (size_t j = 0; j < t.dim; j++)
			rotation[i * t.dim + j] = (float)t.vectors[t.axes[i] * t.dim + j];
	parallel_for(parallel, (rows + ROTATE_ROWS - 1) / ROTATE_ROWS, rotate_part, &t);
	*error = pq_train(shape, rows, t.rotated, seed, parallel, codebook, t.pq);
	return 0;
}
