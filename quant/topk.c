/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/topk.h"

#include <float.h>
#include <math.h>

static void learn_key(struct topk *top, struct topk_item *item)
{
	if (item->key == TOPK_KEY_LATE)
		item->key = top->key_of(top->arg, item->row);
}

static bool is_before(struct topk *top, struct topk_item *a, struct topk_item *b)
{
	if (top->key_of && a->distance == b->distance) {
		learn_key(top, a);
		learn_key(top, b);
	}
	return topk_is_before(a, b);
}

/* Puts item where it belongs in the heap of the first count items, from place i downwards. */
static void sift_down(struct topk *top, size_t count, size_t i, struct topk_item item)
{
	struct topk_item *items = top->items;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= count)
			break;
		if (child + 1 < count && is_before(top, &items[child], &items[child + 1]))
			child++;
		if (!is_before(top, &item, &items[child]))
			break;
		items[i] = items[child];
		i = child;
	}
	items[i] = item;
}

void topk_start(struct topk *top, struct topk_item *items, size_t k)
{
	*top = (struct topk){.items = items, .k = k, .bound = k ? FLT_MAX : -INFINITY};
}

void topk_start_late(struct topk *top, struct topk_item *items, size_t k,
		     uint64_t (*key_of)(void *arg, uint32_t row), void *arg)
{
	topk_start(top, items, k);
	top->key_of = key_of;
	top->arg = arg;
}

/* The first k are only collected; with the k-th they become a heap. */
static void collect(struct topk *top, struct topk_item item)
{
	top->items[top->count++] = item;
	if (top->count < top->k)
		return;
	for (size_t i = top->k / 2; i-- > 0;)
		sift_down(top, top->k, i, top->items[i]);
	top->bound = top->items[0].distance;
}

void topk_push(struct topk *top, float distance, uint32_t row, uint64_t key)
{
	struct topk_item item = {.key = top->key_of ? TOPK_KEY_LATE : key, .distance = distance, .row = row};

	if (!(distance <= top->bound))
		return;
	if (top->count < top->k) {
		collect(top, item);
	} else if (top->k && is_before(top, &item, &top->items[0])) {
		sift_down(top, top->k, 0, item);
		top->bound = top->items[0].distance;
	}
}

void topk_push_block(struct topk *top, const float *distances, uint64_t mask, uint32_t first_row,
		     const uint64_t *keys)
{
	for (; mask; mask &= mask - 1) {
		unsigned i = (unsigned)__builtin_ctzll(mask);

		topk_push(top, distances[i], first_row + i, keys ? keys[i] : first_row + i);
	}
}

size_t topk_finish(struct topk *top)
{
	size_t count = top->count;

	for (size_t i = count / 2; i-- > 0;)
		sift_down(top, count, i, top->items[i]);
	for (size_t end = count; end-- > 1;) { /* heap sort: the farthest goes last */
		struct topk_item last = top->items[end];

		top->items[end] = top->items[0];
		sift_down(top, end, 0, last);
	}
	return count;
}
