/* SPDX-License-Identifier: Apache-2.0 */
/*
 * definition - what is durable of a view, as a line of text in its collection's attribute
 * (VS_ATTRIBUTE_VIEWS):
 *
 *   opq96 seed=0 train=0 retrain=1 epoch=2 model=93b1f0c2a57d6e01 sum=0c3a51e9d2b8f467 rows=16384 \
 *   error=0.21 dim=768 metric=cosine dtype=0 unsettled=0
 *
 * Of one that is lent to another process (vs_view_lend) owner=17 follows: the collection whose directory has
 * its files. Keys that are not known are passed over.
 */
#ifndef VECFS_STORE_VIEW_DEFINITION_H
#define VECFS_STORE_VIEW_DEFINITION_H

#include "store/view/view.h"

struct view_definition {
	char name[VS_VIEW_NAME_MAX + 1];
	struct vs_view_params params;
	uint32_t epoch; /* of the model; 0: not trained yet */
	bool unsettled; /* its files were not all looked at since a crash: they may hold torn blocks */
	/* Of the model: */
	uint64_t model;     /* its number */
	uint64_t model_sum; /* of its file, XXH3 */
	uint64_t rows_trained;
	double error_trained;
	uint32_t dim;
	enum vs_metric metric;
	enum vs_dtype dtype; /* of the vectors; VS_DTYPE_COUNT: earlier versions did not say */
	uint32_t owner;      /* of a lent one; else 0 */
};

/* Whether its model is one of such vectors. */
static inline bool definition_fits(const struct view_definition *d, const struct vs_schema *schema)
{
	return d->dim == schema->dim && d->metric == schema->metric &&
	       (d->dtype == VS_DTYPE_COUNT || d->dtype == schema->dtype);
}

#define VIEW_LINE_BYTES 512 /* of the longest, with a NUL */

/* Writes a line, with its newline, and returns its length, or size if it does not fit. */
size_t definition_format(const struct view_definition *d, char *buf, size_t size);
/* Reads the line at *text, which ends at end, and moves *text behind it. -EINVAL: it is none. */
int definition_parse(const char **text, const char *end, struct view_definition *out);

#endif
