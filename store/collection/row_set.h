/* SPDX-License-Identifier: Apache-2.0 */
/*
 * row_set - a set of a collection's rows: a bitmap for each segment that has some of them. Not thread-safe,
 * like the index.
 */
#ifndef VECFS_STORE_COLLECTION_ROW_SET_H
#define VECFS_STORE_COLLECTION_ROW_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct row_set {
	uint64_t **map;  /* by segment number: a bit for each slot, or NULL */
	uint32_t *count; /* how many are set */
	uint32_t segments;
	unsigned shift; /* row number = segment << shift | slot */
};

/* An empty set. */
void row_set_init(struct row_set *set, unsigned shift);
void row_set_free(struct row_set *set);
/* Makes sure that adding this row cannot fail. -ENOMEM. */
int row_set_reserve(struct row_set *set, uint32_t row);
/* After row_set_reserve; it is not in the set yet. */
void row_set_add(struct row_set *set, uint32_t row);
/* It is in the set. */
void row_set_remove(struct row_set *set, uint32_t row);
static inline bool row_set_has(const struct row_set *set, uint32_t row)
{
	uint32_t n = row >> set->shift, slot = row & ((1u << set->shift) - 1);

	return n < set->segments && set->map[n] && set->map[n][slot / 64] >> (slot % 64) & 1;
}
/* Bytes of a segment's bitmap: whole words. */
static inline size_t row_set_bytes(const struct row_set *set)
{
	return (((size_t)1 << set->shift) + 63) / 64 * sizeof(uint64_t);
}
/* The lowest slot of a segment's, from `from` on, below end; or end. */
uint32_t row_set_next(const struct row_set *set, uint32_t segment, uint32_t from, uint32_t end);

#endif
