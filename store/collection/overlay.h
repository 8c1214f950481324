/* SPDX-License-Identifier: Apache-2.0 */
/*
 * overlay - the rows of a collection whose latest log record has not reached the segment files yet. Readers
 * take the overlay first; a file is only read at slots that are not in it, so files need no lock while they
 * are written.
 *
 * Open addressing with linear probing and backward-shift deletion. Not thread-safe, like the index.
 */
#ifndef VECFS_STORE_COLLECTION_OVERLAY_H
#define VECFS_STORE_COLLECTION_OVERLAY_H

#include <stddef.h>
#include <stdint.h>

#include "store/base/format.h"

struct overlay_item {
	const struct record_row *meta; /* the row's metadata and id; NULL marks a free place */
	const struct record_row *data; /* the record with its bytes, NULL: they are in the file */
	uint32_t row;
};

struct overlay {
	struct overlay_item *items;
	size_t capacity; /* a power of 2, or 0 */
	size_t count;
};

void overlay_init(struct overlay *ov);
void overlay_free(struct overlay *ov);
/* Room for one more row, so that overlay_set cannot fail. -ENOMEM. */
int overlay_reserve(struct overlay *ov, size_t more);
const struct overlay_item *overlay_find(const struct overlay *ov, uint32_t row);
/* The record is now the row's latest. */
void overlay_set(struct overlay *ov, uint32_t row, const struct record_row *record);
/* The record has been applied: forgets it, unless a later one took its place. */
void overlay_applied(struct overlay *ov, uint32_t row, const struct record_row *record);
/* The row does not exist any more. */
void overlay_drop(struct overlay *ov, uint32_t row);
/* None of count rows from first on exists any more: takes time by the overlay's size, not by theirs. */
void overlay_drop_rows(struct overlay *ov, uint32_t first, uint32_t count);

#endif
