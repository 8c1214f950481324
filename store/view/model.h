/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model - what a view's codes are made with: a codec with its codebook, made from a sample of the collection.
 * It does not change once it is made, and is counted. Its file, collections/C/view.NAME.EPOCH.npy, is an
 * array of one row of f32: what the codec has trained, then the mean of the sample. A codec without a
 * codebook has neither file nor mean.
 */
#ifndef VECFS_STORE_VIEW_MODEL_H
#define VECFS_STORE_VIEW_MODEL_H

#include <stdatomic.h>

#include "quant/codec.h"
#include "store/engine.h"
#include "store/view/definition.h"

struct view_model {
	_Atomic unsigned refs;
	uint32_t epoch;
	uint64_t number; /* vs_view_info.model: the owner of segments' codes, the seed of their tags */
	uint64_t seed;
	uint64_t sum; /* of its floats */
	uint64_t rows_trained;
	double error_trained;
	enum vs_dtype dtype; /* of the vectors whose codes it makes: other codes than the same bytes of
				another dtype would have */
	struct codec codec;
	float *floats;                     /* NULL: it has none */
	void *memory;                      /* the codec's */
	size_t block_bytes[CODES_COLUMNS]; /* of 64 rows */
};

/* The seed of a view's training. */
uint64_t view_model_seed(struct vs_store *s, uint32_t collection, const char *name,
			 const struct vs_view_params *params);
/* How many rows training is to have, of so many. */
size_t view_model_sample_rows(const struct codec_plan *plan, const struct vs_view_params *params,
			      uint64_t rows);
/* Whether the codec has a model that is trained, and a file. */
static inline bool view_model_is_trained(const struct codec_plan *plan)
{
	return plan->model_floats;
}
/*
 * Makes a model, for vectors of d's dtype, from a sample of a snapshot, without the lock; of a codec that has
 * none, at once. -EINVAL: too few vectors, -EDOM, -EIO, -ENOMEM: why says so in a sentence.
 */
int view_model_train(struct vs_store *s, struct vs_snapshot *m, const struct view_definition *d,
		     const struct codec_plan *plan, const struct parallel *parallel, struct view_model **out,
		     char *why, size_t why_size);
/* Makes its file durable, with its name. */
int view_model_save(struct vs_store *s, uint32_t collection, const char *name, const struct view_model *m);
/* Reads that of a definition; dtype: of its vectors, for one that does not say. -EUCLEAN: it is not what was
 * written; -ENOENT. */
int view_model_load(struct vs_store *s, uint32_t collection, const struct view_definition *d,
		    const struct codec_plan *plan, enum vs_dtype dtype, struct view_model **out);
void view_model_path(char path[CODES_PATH_MAX], uint32_t collection, const char *name, uint32_t epoch);
/* Whether it makes codes of such vectors. */
static inline bool view_model_fits(const struct view_model *m, const struct vs_schema *schema)
{
	return m->codec.plan.dim == schema->dim && m->codec.plan.metric == schema->metric &&
	       m->dtype == schema->dtype;
}
void view_model_get(struct view_model *m);
void view_model_put(struct view_model *m);
/* Adds |x - decoded|^2 and |x - mean|^2 of a vector, as the codec takes it, to sums of them. scratch: 2 dim
 * f32. */
void view_model_add_error(const struct view_model *m, const float *x, const float *decoded, float *scratch,
			  double *error, double *variance);

#endif
