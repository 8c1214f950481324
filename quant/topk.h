/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topk - the k nearest rows seen so far, and the distance that a further one must have.
 *
 * Order: by distance, equal ones by key. A key is what the caller knows a row by for good (its entry id): a
 * result does not depend on where a row stands or when it is met. Keys are different from each other. A
 * distance that is a NaN or +infinity is never selected.
 *
 * Where a key costs more than a distance it may be told late, of those rows alone that are equally far as
 * another: see topk_start_late().
 *
 * A heap with the farthest of the k on top: the bound is exact after every row. A scan accepts some k ln(n/k)
 * rows, each for log k steps. Of many k these are what takes the time: where a row is offered for little, a
 * selection with room for more than k appends rows, and drops the farthest of them when there is no room left
 * (topk_start_late). Its bound is late, so that it accepts a few times as many rows, each for a step or two.
 *
 * The items are the caller's. One selection belongs to one thread; those of several threads merge by pushing
 * the items of one into the other.
 */
#ifndef VECFS_QUANT_TOPK_H
#define VECFS_QUANT_TOPK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct topk_item {
	uint64_t key;
	float distance;
	uint32_t row;
};

struct topk {
	struct topk_item *items; /* of the caller: capacity */
	size_t k, capacity, count;
	float bound; /* a row must not be farther than this: as far as the farthest, once there are k */
	/* NULL, or what tells a row's key, which is not TOPK_KEY_LATE. */
	uint64_t (*key_of)(void *arg, uint32_t row);
	void *arg;
};

#define TOPK_KEY_LATE 0

/* k may be 0: nothing is selected then. */
void topk_start(struct topk *top, struct topk_item *items, size_t k);
/* The same; whatever keys are pushed, key_of is asked for the key of a row when it is compared with one as
 * far away. Items may have the key TOPK_KEY_LATE at the end. There is room for capacity items, k at the
 * least: if it is more there may be more than k of them until topk_trim(). */
void topk_start_late(struct topk *top, struct topk_item *items, size_t k, size_t capacity,
		     uint64_t (*key_of)(void *arg, uint32_t row), void *arg);
/* What is a good capacity for k. */
size_t topk_capacity(size_t k);
/* Drops most of what is more than k, so that the bound is about what it can be. */
void topk_shrink(struct topk *top);
/* Drops all that is more than k. */
void topk_trim(struct topk *top);
/* Offers a row. */
void topk_push(struct topk *top, float distance, uint32_t row, uint64_t key);
/* Offers the rows of a block whose bit is set in mask: bit i is row first_row + i at distances[i]. Their keys
 * are keys[i], or the row numbers if keys is NULL. */
void topk_push_block(struct topk *top, const float *distances, uint64_t mask, uint32_t first_row,
		     const uint64_t *keys);
/* Sorts the items, the nearest first, and returns how many there are. The selection has ended. */
size_t topk_finish(struct topk *top);

/* Is a before b? */
static inline bool topk_is_before(const struct topk_item *a, const struct topk_item *b)
{
	return a->distance < b->distance || (a->distance == b->distance && a->key < b->key);
}

#endif
