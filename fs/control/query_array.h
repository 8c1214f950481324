/* SPDX-License-Identifier: Apache-2.0 */
/* query_array - the vectors of an array file in memory, as queries. */
#ifndef VECFS_FS_CONTROL_QUERY_ARRAY_H
#define VECFS_FS_CONTROL_QUERY_ARRAY_H

#include "store/array/array_format.h"

struct query_array {
	const void *vectors; /* count vectors without gaps, aligned for numbers: in the file's bytes or in
				packed */
	uint32_t count;
	void *packed; /* malloc'ed; to be freed by query_array_free */
};

/*
 * Finds the vectors of a file of size bytes, whose name's suffix tells its format. -EINVAL with a sentence in
 * why: a header that is cut off or does not fit the bytes, or vectors that are not of the schema's dim and
 * dtype; -ENOMEM.
 */
int query_array_of(const char *name, const char *bytes, size_t size, const struct vs_schema *schema,
		   struct query_array *out, char *why, size_t why_size);
void query_array_free(struct query_array *q);

#endif
