/* SPDX-License-Identifier: Apache-2.0 */
/* What can be a query, and queries as kernels want them. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "quant/convert.h"
#include "quant/distance.h"
#include "store/search/state.h"

static bool takes_f32(enum vs_dtype dtype)
{
	return dtype == VS_F32 || dtype == VS_F16 || dtype == VS_BF16;
}

/* Vectors of halves as f32. */
static void widen(float *out, const struct vs_schema *schema, const void *vectors, size_t n)
{
	if (schema->dtype == VS_F16)
		convert_f16_to_f32(out, vectors, n);
	else
		convert_bf16_to_f32(out, vectors, n);
}

static bool is_direction(const struct vs_schema *schema, const unsigned char *vector)
{
	size_t bytes = vs_row_bytes(schema);

	for (size_t i = 0; i < bytes; i++)
		if (vector[i])
			return true;
	return false;
}

static int check_floats(const struct vs_schema *schema, const float *x)
{
	double norm2 = distance_norm2(x, schema->dim);

	if (!isfinite(norm2) || !isfinite((float)sqrt(norm2)))
		return -EINVAL;
	return schema->metric == VS_COSINE && !(norm2 > 0) ? -EINVAL : 0;
}

int vs_query_check(const struct vs_schema *schema, const void *vectors, uint32_t count)
{
	size_t bytes = vs_row_bytes(schema);
	float *wide = NULL;
	int rc = 0;

	if (!schema->dim || schema->dim > DISTANCE_DIM_MAX)
		return -EINVAL;
	if (schema->dtype == VS_F16 || schema->dtype == VS_BF16)
		wide = malloc(schema->dim * sizeof *wide);
	if (!wide && schema->dtype != VS_F32 && takes_f32(schema->dtype))
		return -ENOMEM;
	for (uint32_t i = 0; i < count && !rc; i++) {
		const char *vector = (const char *)vectors + i * bytes;

		if (wide)
			widen(wide, schema, vector, schema->dim);
		if (takes_f32(schema->dtype))
			rc = check_floats(schema, wide ? wide : (const float *)(const void *)vector);
		else if (schema->metric == VS_COSINE && !is_direction(schema, (const unsigned char *)vector))
			rc = -EINVAL;
	}
	free(wide);
	return rc;
}

int search_take_queries(struct search *s)
{
	const struct vs_schema *schema = &s->info.schema;
	size_t n = (size_t)s->q->count * schema->dim;

	s->queries = s->q->vectors;
	s->query_bytes = s->info.row_bytes;
	if (schema->dtype != VS_F16 && schema->dtype != VS_BF16)
		return 0;
	s->converted = malloc(n * sizeof(float));
	if (!s->converted)
		return -ENOMEM;
	widen((float *)(void *)s->converted, schema, s->q->vectors, n);
	s->queries = s->converted;
	s->query_bytes = schema->dim * sizeof(float);
	return 0;
}
