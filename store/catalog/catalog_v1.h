/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalog_v1 - what a catalog of format version 1 says, in the form of ours. How a whole store is converted
 * is told in replay/convert_v1.h. No locks.
 */
#ifndef VECFS_STORE_CATALOG_CATALOG_V1_H
#define VECFS_STORE_CATALOG_CATALOG_V1_H

#include <assert.h>
#include <stdint.h>

#include "store/base/format.h"
#include "store/store.h"

struct catalog_image;

struct catalog_collection_v1 {
	uint32_t id;
	uint32_t parent;
	uint32_t dim;
	uint8_t dtype, metric, schema_fixed, name_len;
	uint32_t perm;
	uint32_t segments;
	int64_t mtime_ns;
	uint64_t next_entry;
	uint64_t index_stamp;
	uint64_t index_sum;
};
static_assert(sizeof(struct catalog_collection_v1) == 56, "catalog_collection_v1");

/* Times were nanoseconds since 1970. */
vs_time convert_time(uint64_t time_ns);
struct catalog_collection convert_collection(const struct catalog_collection_v1 *old);
/* Replaces a catalog of version 1 by one of our version. -EUCLEAN: it contradicts itself. */
int convert_catalog(struct catalog_image *image);

#endif
