/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/topk.h"

#include <assert.h>
#include <float.h>
#include <math.h>

#define CAPACITY_MORE 256
#define BUCKETS 256

static void learn_key(struct topk *top, struct topk_item *item)
{
	if (item->key == TOPK_KEY_LATE)
		item->key = top->key_of(top->arg, item->row);
}

static bool is_before(struct topk *top, struct topk_item *a, struct topk_item *b)
{
	if (a->distance != b->distance)
		return a->distance < b->distance;
	if (top->key_of) {
		learn_key(top, a);
		learn_key(top, b);
	}
	return a->key < b->key;
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
	*top = (struct topk){.items = items, .k = k, .capacity = k, .bound = k ? FLT_MAX : -INFINITY};
}

void topk_start_late(struct topk *top, struct topk_item *items, size_t k, size_t capacity,
		     uint64_t (*key_of)(void *arg, uint32_t row), void *arg)
{
	assert(capacity >= k);
	topk_start(top, items, k);
	top->capacity = k ? capacity : 0;
	top->key_of = key_of;
	top->arg = arg;
}

static void make_heap(struct topk *top)
{
	for (size_t i = top->k / 2; i-- > 0;)
		sift_down(top, top->k, i, top->items[i]);
	top->bound = top->items[0].distance;
}

/* Offers an item to the heap of the first k. */
static void offer(struct topk *top, struct topk_item item)
{
	if (!is_before(top, &item, &top->items[0]))
		return;
	sift_down(top, top->k, 0, item);
	top->bound = top->items[0].distance;
}

void topk_push(struct topk *top, float distance, uint32_t row, uint64_t key)
{
	struct topk_item item = {.key = top->key_of ? TOPK_KEY_LATE : key, .distance = distance, .row = row};

	if (!(distance <= top->bound))
		return;
	if (top->count < top->capacity) {
		top->items[top->count++] = item;
		if (top->count < top->capacity)
			return;
		if (top->capacity > top->k)
			topk_shrink(top);
		else
			make_heap(top);
	} else if (top->k) {
		offer(top, item);
	}
}

/* ------------------------------------------------------------------ room for more than k */

size_t topk_capacity(size_t k)
{
	return 2 * k + CAPACITY_MORE;
}

/* Items are told apart by counting, in buckets of distances from the least on. */
struct buckets {
	float least, a_unit;
	unsigned last; /* the nearest k are in it, or in one before it */
};

static unsigned bucket_of(const struct buckets *b, float distance)
{
	return (unsigned)(int)((distance - b->least) * b->a_unit);
}

/* false: all are as far, or so far that a difference is no f32. */
static bool count_items(const struct topk *top, struct buckets *b)
{
	unsigned counts[BUCKETS] = {0};
	float least = top->items[0].distance, most = least;
	size_t n;

	for (size_t i = 1; i < top->count; i++) {
		float d = top->items[i].distance;

		least = d < least ? d : least;
		most = d > most ? d : most;
	}
	*b = (struct buckets){.least = least, .a_unit = (float)(BUCKETS - 1) / (most - least)};
	if (!(b->a_unit > 0 && b->a_unit <= FLT_MAX))
		return false;
	for (size_t i = 0; i < top->count; i++)
		counts[bucket_of(b, top->items[i].distance)]++;
	for (n = counts[0]; n < top->k; n += counts[b->last])
		b->last++;
	return true;
}

/* The bound is that of the next bucket: what is rounded moves no item farther than that. */
void topk_shrink(struct topk *top)
{
	struct buckets b;
	size_t n = 0;
	float bound;

	if (top->count <= top->k)
		return;
	if (count_items(top, &b)) {
		for (size_t i = 0; i < top->count; i++) {
			struct topk_item item = top->items[i];

			top->items[n] = item;
			n += bucket_of(&b, item.distance) <= b.last;
		}
		top->count = n;
		bound = b.least + (float)(b.last + 2) / b.a_unit;
		top->bound = bound < top->bound ? bound : top->bound;
	}
	if (top->count > top->k + (top->capacity - top->k) / 2) /* too many are about as far */
		topk_trim(top);
}

static void swap(struct topk_item *a, struct topk_item *b)
{
	struct topk_item item = *a;

	*a = *b;
	*b = item;
}

/* Sorts items so far that those nearer than the k-th nearest come first, then, from *first to *end, those as
 * far as it. Whoever knows what is chosen as pivot could make it slow, so nobody does. */
static void part_items(struct topk_item *items, size_t count, size_t k, size_t *first, size_t *end)
{
	size_t low = 0, high = count;
	uint64_t random = (uintptr_t)items;

	for (;;) {
		float pivot;

		random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		pivot = items[low + (random >> 32) % (high - low)].distance;
		*first = low;
		*end = high;
		for (size_t i = low; i < *end;)
			if (items[i].distance < pivot)
				swap(&items[i++], &items[(*first)++]);
			else if (items[i].distance > pivot)
				swap(&items[i], &items[--*end]);
			else
				i++;
		if (k <= *first)
			high = *first;
		else if (k > *end)
			low = *end;
		else
			return;
	}
}

/* Keys decide only among those as far as the k-th nearest. */
void topk_trim(struct topk *top)
{
	struct topk last = *top;
	size_t first, end;

	if (top->count <= top->k)
		return;
	part_items(top->items, top->count, top->k, &first, &end);
	last.items = top->items + first;
	last.k = top->k - first;
	if (end > top->k)
		make_heap(&last);
	for (size_t i = top->k; i < end; i++)
		offer(&last, top->items[i]);
	top->bound = last.items[0].distance;
	top->count = top->k;
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
	size_t count;

	topk_trim(top);
	count = top->count;
	for (size_t i = count / 2; i-- > 0;)
		sift_down(top, count, i, top->items[i]);
	for (size_t end = count; end-- > 1;) { /* heap sort: the farthest goes last */
		struct topk_item last = top->items[end];

		top->items[end] = top->items[0];
		sift_down(top, end, 0, last);
	}
	return count;
}
