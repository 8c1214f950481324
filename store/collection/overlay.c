/* SPDX-License-Identifier: Apache-2.0 */
#include "store/collection/overlay.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 64u

void overlay_init(struct overlay *ov)
{
	memset(ov, 0, sizeof *ov);
}

void overlay_free(struct overlay *ov)
{
	free(ov->items);
	overlay_init(ov);
}

static size_t home(const struct overlay *ov, uint32_t row)
{
	return (row * 0x9e3779b97f4a7c15ull >> 32) & (ov->capacity - 1);
}

/* The place of a row, or the free place where it would go. */
static struct overlay_item *place(const struct overlay *ov, uint32_t row)
{
	size_t i = home(ov, row);

	while (ov->items[i].meta && ov->items[i].row != row)
		i = (i + 1) & (ov->capacity - 1);
	return &ov->items[i];
}

int overlay_reserve(struct overlay *ov, size_t more)
{
	struct overlay old = *ov;
	size_t capacity = ov->capacity ? ov->capacity : CAPACITY_MIN;

	while ((ov->count + more) * 4 > capacity * 3)
		capacity *= 2;
	if (capacity == ov->capacity)
		return 0;
	ov->items = calloc(capacity, sizeof *ov->items);
	if (!ov->items) {
		*ov = old;
		return -ENOMEM;
	}
	ov->capacity = capacity;
	for (size_t i = 0; i < old.capacity; i++)
		if (old.items[i].meta)
			*place(ov, old.items[i].row) = old.items[i];
	free(old.items);
	return 0;
}

const struct overlay_item *overlay_find(const struct overlay *ov, uint32_t row)
{
	const struct overlay_item *item;

	if (!ov->count)
		return NULL;
	item = place(ov, row);
	return item->meta ? item : NULL;
}

void overlay_set(struct overlay *ov, uint32_t row, const struct record_row *record)
{
	struct overlay_item *item = place(ov, row);

	if (!item->meta) {
		assert(ov->count < ov->capacity);
		ov->count++;
		item->row = row;
		item->data = NULL;
	}
	item->meta = record;
	if (record->head.flags & RECORD_HAS_DATA)
		item->data = record;
}

static void erase(struct overlay *ov, struct overlay_item *item)
{
	size_t mask = ov->capacity - 1, hole = (size_t)(item - ov->items), i = hole;

	for (;;) {
		i = (i + 1) & mask;
		if (!ov->items[i].meta)
			break;
		/* Moves back what would not be found across the hole. */
		if (((i - home(ov, ov->items[i].row)) & mask) >= ((i - hole) & mask)) {
			ov->items[hole] = ov->items[i];
			hole = i;
		}
	}
	ov->items[hole].meta = NULL;
	ov->count--;
}

void overlay_applied(struct overlay *ov, uint32_t row, const struct record_row *record)
{
	struct overlay_item *item;

	if (!ov->count)
		return;
	item = place(ov, row);
	if (!item->meta)
		return;
	if (item->data == record)
		item->data = NULL;
	/* While the bytes are still to be applied the metadata stays too: its record comes later in the log.
	 */
	if (item->meta == record)
		erase(ov, item);
}

void overlay_drop(struct overlay *ov, uint32_t row)
{
	struct overlay_item *item;

	if (!ov->count)
		return;
	item = place(ov, row);
	if (item->meta)
		erase(ov, item);
}

void overlay_drop_rows(struct overlay *ov, uint32_t first, uint32_t count)
{
	/* What is moved back into a place that was emptied is looked at as well. */
	for (size_t i = 0; i < ov->capacity && ov->count; i++)
		while (ov->items[i].meta && ov->items[i].row - first < count)
			erase(ov, &ov->items[i]);
}
