/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/query_array.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the file says it has; the dim and dtype of a raw one are the schema's and its suffix's. */
static int read_shape(const char *name, const char *bytes, size_t size, const struct vs_schema *schema,
		      enum array_format *format, struct array_shape *shape, size_t *header, char *why,
		      size_t why_size)
{
	enum vs_dtype dtype;
	int rc = array_format_of_name(name, format, &dtype);

	*shape = (struct array_shape){.dtype = dtype, .dim = schema->dim, .rows = ARRAY_ROWS_UNTOLD};
	*header = 0;
	if (rc) {
		snprintf(why, why_size, "%s: not a format of arrays known here", name);
		return -EINVAL;
	}
	if (*format == ARRAY_RAW)
		return 0;
	rc = array_header_parse(*format, bytes, size, shape, header, why, why_size);
	if (rc == -EAGAIN) {
		snprintf(why, why_size, "%s is cut off in its header", name);
		rc = -EINVAL;
	}
	if (!rc && *format == ARRAY_NPY && schema->dtype == VS_BIT && shape->dtype == VS_U8) {
		shape->dtype = VS_BIT; /* as vectors.npy has them */
		shape->dim *= 8;
	}
	return rc;
}

int query_array_of(const char *name, const char *bytes, size_t size, const struct vs_schema *schema,
		   struct query_array *out, char *why, size_t why_size)
{
	size_t row = vs_row_bytes(schema), header, prefix, stride;
	enum array_format format;
	struct array_shape shape;
	int rc = read_shape(name, bytes, size, schema, &format, &shape, &header, why, why_size);

	*out = (struct query_array){.count = 0};
	if (rc)
		return rc;
	if (!row) {
		snprintf(why, why_size, "the collection has no vectors yet");
		return -EINVAL;
	}
	prefix = array_row_prefix(format);
	stride = row + prefix;
	if (format == ARRAY_RAW && shape.dtype == schema->dtype && size % row) {
		snprintf(why, why_size, "%s has %zu bytes, want vectors of %zu (dim=%u dtype=%s)", name, size,
			 row, schema->dim, vs_dtype_name(schema->dtype));
		return -EINVAL;
	}
	if (shape.dtype != schema->dtype || array_row_bytes(&shape) != row || (size - header) % stride ||
	    (shape.rows != ARRAY_ROWS_UNTOLD && shape.rows != (size - header) / stride)) {
		snprintf(why, why_size,
			 "%s has %zu bytes of dim=%u dtype=%s, want vectors of dim=%u dtype=%s", name, size,
			 shape.dim, vs_dtype_name(shape.dtype), schema->dim, vs_dtype_name(schema->dtype));
		return -EINVAL;
	}
	out->count = (uint32_t)((size - header) / stride);
	out->vectors = bytes + header;
	if (!prefix && (uintptr_t)out->vectors % sizeof(double) == 0)
		return 0;
	out->vectors = out->packed = malloc(out->count * row + 1);
	if (!out->packed)
		return -ENOMEM;
	for (uint32_t i = 0; i < out->count; i++)
		memcpy((char *)out->packed + i * row, bytes + header + i * stride + prefix, row);
	return 0;
}

void query_array_free(struct query_array *q)
{
	free(q->packed);
	*q = (struct query_array){.count = 0};
}
