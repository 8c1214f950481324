/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name_heap - the allocator of a segment's name heap: which granules of N.names are free.
 *
 * New ids go into holes of their size, else of a larger one, else to the end. The holes are not on disk: they
 * are what no row refers to, found by one scan of the rows before the first allocation after opening. Not
 * thread-safe, like the index.
 */
#ifndef VECFS_STORE_SEGMENT_NAME_HEAP_H
#define VECFS_STORE_SEGMENT_NAME_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/base/format.h"

#define NAMES_CLASSES (256u / NAME_GRANULE) /* the longest id takes 32 granules */

struct names_holes {
	uint32_t *at;
	uint32_t count, capacity;
};

struct name_heap {
	uint32_t end;                            /* granules in use, holes included */
	bool scanned;                            /* the holes are known */
	uint32_t offered;                        /* bit n - 1: there are holes of n granules */
	struct names_holes holes[NAMES_CLASSES]; /* of 1.. granules */
};

static inline uint32_t names_granules(size_t len)
{
	return (uint32_t)((len + NAME_GRANULE - 1) / NAME_GRANULE);
}

void name_heap_init(struct name_heap *ns, uint32_t end);
void name_heap_free(struct name_heap *ns);
/* Rebuilds the free lists from a bitmap of used granules, ns->end of them. */
void name_heap_scan(struct name_heap *ns, const uint64_t *used);
/* A place for an id of len bytes; may move ns->end. Never fails. */
uint32_t name_heap_alloc(struct name_heap *ns, size_t len);
/* The end after name_heap_alloc of this length, to reserve room in the file first. */
uint32_t name_heap_end_after(const struct name_heap *ns, size_t len);
void name_heap_release(struct name_heap *ns, uint32_t at, size_t len);

#endif
