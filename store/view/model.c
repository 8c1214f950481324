/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/model.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/block.h"
#include "quant/convert.h"
#include "quant/distance.h"
#include "quant/rng.h"
#include "quant/scratch.h"
#include "store/array/npy.h"
#include "store/base/checksum.h"

#define TRAIN_ROWS 16384u /* 64 for each of 256 centroids; more are worth it for who asks for them */
#define ERROR_ROWS 512u   /* that a model's error is measured on */

uint64_t view_model_seed(struct vs_store *s, uint32_t collection, const char *name,
			 const struct vs_view_params *params)
{
	uint64_t seed = XXH3_64bits_withSeed(s->uuid, sizeof s->uuid, collection);

	return params->seed ? params->seed : XXH3_64bits_withSeed(name, strlen(name), seed);
}

size_t view_model_sample_rows(const struct codec_plan *plan, const struct vs_view_params *params,
			      uint64_t rows)
{
	uint64_t n = params->train_rows ? params->train_rows : TRAIN_ROWS;

	n = n < plan->rows_min ? plan->rows_min : n > plan->rows_max ? plan->rows_max : n;
	return (size_t)(rows < n ? rows : n);
}

void view_model_path(char path[CODES_PATH_MAX], uint32_t collection, const char *name, uint32_t epoch)
{
	snprintf(path, CODES_PATH_MAX, "collections/%u/view.%s.%u.npy", collection, name, epoch);
}

/* ------------------------------------------------------------------ a model in memory */

static size_t float_count(const struct codec_plan *plan)
{
	return plan->model_floats ? plan->model_floats + plan->dim : 0;
}

static const float *mean_of(const struct view_model *m)
{
	return m->floats + m->codec.plan.model_floats;
}

void view_model_get(struct view_model *m)
{
	m->refs++;
}

void view_model_put(struct view_model *m)
{
	if (!m || --m->refs)
		return;
	scratch_free(m->floats);
	scratch_free(m->memory);
	free(m);
}

static struct view_model *view_model_new(const struct codec_plan *plan)
{
	struct view_model *m = calloc(1, sizeof *m);

	if (!m)
		return NULL;
	m->refs = 1;
	m->codec.plan = *plan;
	m->memory = scratch_alloc(codec_bound_bytes(plan));
	m->floats = float_count(plan) ? scratch_alloc(float_count(plan) * sizeof *m->floats) : NULL;
	if (m->memory && (m->floats || !float_count(plan)))
		return m;
	view_model_put(m);
	return NULL;
}

/* Its floats are what they are to be. dtype: that of its definition; of one that does not say the number is
 * as if it were f32, as it was then. */
static void view_model_finish(struct view_model *m, const char *name, uint64_t seed, enum vs_dtype dtype)
{
	struct codec_plan plan = m->codec.plan;
	uint64_t kind = dtype == VS_DTYPE_COUNT ? plan.metric : plan.metric | (uint64_t)dtype << 8;
	uint64_t what[] = {seed, plan.dim, kind, XXH3_64bits(name, strlen(name))};

	codec_bind(&m->codec, &plan, seed, m->floats, m->memory);
	m->seed = seed;
	m->sum =
		XXH3_64bits(m->floats ? (const void *)m->floats : "", float_count(&plan) * sizeof *m->floats);
	m->number = XXH3_64bits_withSeed(what, sizeof what, m->sum);
	m->number += !m->number;
	m->block_bytes[0] = BLOCK_ROWS * plan.block_bytes;
	m->block_bytes[1] = BLOCK_ROWS * plan.row_bytes;
	m->block_bytes[2] = BLOCK_ROWS * plan.factors * sizeof(float);
}

/* ------------------------------------------------------------------ the file */

static struct npy_shape file_shape(const struct codec_plan *plan)
{
	return (struct npy_shape){.dtype = VS_F32, .dim = (uint32_t)float_count(plan), .rows = 1};
}

int view_model_save(struct vs_store *s, uint32_t collection, const char *name, const struct view_model *m)
{
	struct npy_shape shape = file_shape(&m->codec.plan);
	const size_t floats_bytes = shape.dim * sizeof *m->floats;
	unsigned char page[NPY_HEADER_BYTES];
	char path[CODES_PATH_MAX];
	struct io *io = s->io;
	int fd, rc;

	if (!m->floats)
		return 0;
	view_model_path(path, collection, name, m->epoch);
	fd = io->ops->open(io, path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return fd;
	/* That there is no space must not be told by the sync: that is for ever. */
	rc = io_allocate(io, fd, FALLOC_FL_KEEP_SIZE, 0, sizeof page + floats_bytes);
	npy_header_build(&shape, page, sizeof page);
	if (!rc)
		rc = io_write_full(io, fd, page, sizeof page, 0);
	if (!rc)
		rc = io_write_full(io, fd, m->floats, floats_bytes, sizeof page);
	if (!rc)
		rc = commit_synced(s, io->ops->datasync(io, fd));
	io->ops->close(io, fd);
	collection_path(path, collection, NULL);
	if (rc >= 0)
		rc = commit_synced(s, io->ops->syncdir(io, path));
	return rc < 0 ? rc : 0;
}

int view_model_load(struct vs_store *s, uint32_t collection, const struct view_definition *d,
		    const struct codec_plan *plan, enum vs_dtype dtype, struct view_model **out)
{
	struct view_model *m = view_model_new(plan);
	char path[CODES_PATH_MAX];
	int fd = 0, rc = 0;

	*out = NULL;
	if (!m)
		return -ENOMEM;
	if (m->floats) {
		view_model_path(path, collection, d->name, d->epoch);
		fd = s->io->ops->open(s->io, path, O_RDONLY, 0);
		rc = fd < 0 ? fd
			    : io_read_full(s->io, fd, m->floats, float_count(plan) * sizeof *m->floats,
					   NPY_HEADER_BYTES);
		if (fd >= 0)
			s->io->ops->close(s->io, fd);
	}
	if (!rc)
		view_model_finish(m, d->name, view_model_seed(s, collection, d->name, &d->params), d->dtype);
	if (!rc && (m->sum != d->model_sum || m->number != d->model))
		rc = -EUCLEAN;
	if (rc) {
		view_model_put(m);
		return rc == -ENODATA ? -EUCLEAN : rc;
	}
	m->dtype = d->dtype == VS_DTYPE_COUNT ? dtype : d->dtype;
	m->epoch = d->epoch;
	m->rows_trained = d->rows_trained;
	m->error_trained = d->error_trained;
	*out = m;
	return 0;
}

/* ------------------------------------------------------------------ training */

/* Rows of a snapshot, as f32. */
struct sample {
	size_t count;
	float *x;
};

static int sample_read(struct vs_snapshot *m, const struct vs_snapshot_info *info, uint64_t seed, size_t want,
		       struct sample *out)
{
	uint64_t *rows = scratch_alloc(want * sizeof *rows);
	char *raw = malloc(info->row_bytes);
	struct rng rng;
	size_t n;
	int rc;

	*out = (struct sample){.x = scratch_alloc(want * info->schema.dim * sizeof(float))};
	rc = rows && raw && out->x ? 0 : -ENOMEM;
	rng_seed(&rng, seed);
	n = rc ? 0 : rng_sample(&rng, info->rows, want, rows);
	for (size_t i = 0; i < n && !rc; i++) {
		ssize_t got = vs_snapshot_vectors(m, raw, info->row_bytes, rows[i] * info->row_bytes);

		if (got == -EIO)
			continue; /* damaged, and told: the others do as well */
		rc = got < 0 ? (int)got : 0;
		if (!rc)
			convert_vector_to_f32(out->x + out->count++ * info->schema.dim, info->schema.dtype,
					      raw, info->schema.dim);
	}
	scratch_free(rows);
	free(raw);
	return rc;
}

/* A vector as the codec takes it. false: it cannot be found. */
static bool as_taken(const struct codec_plan *plan, const float *x, float *out)
{
	if (plan->metric == VS_COSINE)
		return distance_normalise(out, x, plan->dim) == 0;
	memcpy(out, x, plan->dim * sizeof *out);
	return isfinite(distance_norm2(x, plan->dim));
}

static int find_mean(const struct codec_plan *plan, const struct sample *sample, float *mean)
{
	double *sum = calloc(plan->dim, sizeof *sum);
	float *x = malloc(plan->dim * sizeof *x);
	size_t n = 0;

	for (size_t i = 0; sum && x && i < sample->count; i++) {
		if (!as_taken(plan, sample->x + i * plan->dim, x))
			continue;
		n++;
		for (uint32_t d = 0; d < plan->dim; d++)
			sum[d] += (double)x[d];
	}
	for (uint32_t d = 0; sum && x && d < plan->dim; d++)
		mean[d] = n ? (float)(sum[d] / (double)n) : 0;
	free(x);
	free(sum);
	return sum && x ? 0 : -ENOMEM;
}

void view_model_add_error(const struct view_model *m, const float *x, const float *decoded, float *scratch,
			  double *error, double *variance)
{
	const struct codec_plan *plan = &m->codec.plan;
	const float *mean = mean_of(m);

	if (!as_taken(plan, x, scratch))
		return;
	for (uint32_t d = 0; d < plan->dim; d++) {
		double e = (double)scratch[d] - (double)decoded[d], v = (double)scratch[d] - (double)mean[d];

		*error += e * e;
		*variance += v * v;
	}
}

/* The error of a model on some rows, which it encodes and decodes. */
static int measure(struct view_model *m, const float *rows, size_t count)
{
	const struct codec_plan *plan = &m->codec.plan;
	size_t blocks = block_count(count);
	uint64_t *valid = calloc(blocks, sizeof *valid);
	struct codec_columns columns = {.blocks = scratch_alloc(blocks * m->block_bytes[0]),
					.rows = scratch_alloc(blocks * m->block_bytes[1]),
					.factors = scratch_alloc(blocks * m->block_bytes[2]),
					.valid = valid};
	float *decoded = scratch_alloc(count * plan->dim * sizeof *decoded),
	      *x = malloc(plan->dim * sizeof *x);
	void *scratch = scratch_alloc(codec_scratch_bytes(&m->codec));
	double error = 0, variance = 0;
	int rc = valid && columns.blocks && columns.rows && columns.factors && decoded && x && scratch
			 ? 0
			 : -ENOMEM;

	if (!rc) {
		codec_encode(&m->codec, &columns, 0, count, rows, scratch);
		codec_decode(&m->codec, &columns, 0, count, decoded, scratch);
	}
	for (size_t i = 0; i < count && !rc; i++)
		if (valid[i / BLOCK_ROWS] >> i % BLOCK_ROWS & 1)
			view_model_add_error(m, rows + i * plan->dim, decoded + i * plan->dim, x, &error,
					     &variance);
	m->error_trained = variance > 0 ? error / variance : 0;
	free(valid);
	scratch_free(columns.blocks);
	scratch_free(columns.rows);
	scratch_free(columns.factors);
	scratch_free(decoded);
	free(x);
	scratch_free(scratch);
	return rc;
}

/* Trains on a sample, which is used up. */
static int train(struct view_model *m, struct sample *sample, uint64_t seed, const struct parallel *parallel,
		 size_t *used)
{
	const struct codec_plan *plan = &m->codec.plan;
	void *scratch =
		scratch_alloc(codec_train_scratch_bytes(plan, sample->count, parallel_workers(parallel)));
	int rc = scratch ? find_mean(plan, sample, m->floats + plan->model_floats) : -ENOMEM;

	if (!rc)
		rc = codec_train(plan, sample->count, sample->x, seed, parallel, m->floats, used, scratch);
	scratch_free(scratch);
	return rc;
}

static void say_why(int rc, const struct view_definition *d, const struct codec_plan *plan, size_t used,
		    char *why, size_t why_size)
{
	if (rc == -EINVAL)
		snprintf(why, why_size, "%zu vectors are the least for %s; there are %zu", plan->rows_min,
			 d->name, used);
	else if (rc == -EDOM)
		snprintf(why, why_size, "its rotation cannot be found: the eigenvectors do not converge");
	else
		snprintf(why, why_size, "training: %s", strerror(-rc));
}

/* Some rows of a sample, evenly. */
static float *some_rows(const struct sample *sample, uint32_t dim, size_t *count)
{
	size_t n = sample->count < ERROR_ROWS ? sample->count : ERROR_ROWS;
	float *rows = scratch_alloc(n * dim * sizeof *rows);

	for (size_t i = 0; rows && i < n; i++)
		memcpy(rows + i * dim, sample->x + i * sample->count / n * dim, dim * sizeof *rows);
	*count = rows ? n : 0;
	return rows;
}

static int train_sampled(struct vs_snapshot *snapshot, const struct vs_snapshot_info *info,
			 const struct view_definition *d, struct view_model *m, uint64_t seed,
			 const struct parallel *parallel, size_t *used)
{
	const struct codec_plan *plan = &m->codec.plan;
	struct sample sample = {0};
	size_t want = view_model_sample_rows(plan, &d->params, info->rows), count = 0;
	float *rows = NULL;
	int rc;

	*used = want;
	if (want < plan->rows_min)
		return -EINVAL;
	rc = sample_read(snapshot, info, seed, want, &sample);
	if (!rc)
		rows = some_rows(&sample, plan->dim, &count);
	if (!rc)
		rc = rows ? train(m, &sample, seed, parallel, used) : -ENOMEM;
	scratch_free(sample.x);
	m->rows_trained = *used;
	if (!rc)
		view_model_finish(m, d->name, seed, d->dtype);
	if (!rc)
		rc = measure(m, rows, count);
	scratch_free(rows);
	return rc;
}

int view_model_train(struct vs_store *s, struct vs_snapshot *snapshot, const struct view_definition *d,
		     const struct codec_plan *plan, const struct parallel *parallel, struct view_model **out,
		     char *why, size_t why_size)
{
	struct view_model *m = view_model_new(plan);
	struct vs_snapshot_info info;
	uint64_t seed;
	size_t used = 0;
	int rc = 0;

	*out = NULL;
	vs_snapshot_info(snapshot, &info);
	seed = view_model_seed(s, info.collection, d->name, &d->params);
	if (!m)
		rc = -ENOMEM;
	else if (view_model_is_trained(plan))
		rc = train_sampled(snapshot, &info, d, m, seed, parallel, &used);
	else
		view_model_finish(m, d->name, seed, d->dtype);
	if (rc) {
		say_why(rc, d, plan, used, why, why_size);
		view_model_put(m);
		return rc;
	}
	m->dtype = d->dtype;
	m->epoch = d->epoch + 1;
	*out = m;
	return 0;
}
