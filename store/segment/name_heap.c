/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment/name_heap.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void name_heap_init(struct name_heap *ns, uint32_t end)
{
	memset(ns, 0, sizeof *ns);
	ns->end = end;
	ns->scanned = !end;
}

void name_heap_free(struct name_heap *ns)
{
	for (unsigned i = 0; i < NAMES_CLASSES; i++)
		free(ns->holes[i].at);
	name_heap_init(ns, ns->end);
}

/* Without memory for it a hole is forgotten, until the next scan. */
static void hole_add(struct name_heap *ns, uint32_t at, uint32_t granules)
{
	while (granules) {
		uint32_t n = granules < NAMES_CLASSES ? granules : NAMES_CLASSES;
		struct names_holes *h = &ns->holes[n - 1];

		if (h->count == h->capacity) {
			uint32_t capacity = h->capacity ? h->capacity * 2 : 16;
			uint32_t *p = realloc(h->at, capacity * sizeof *p);

			if (!p)
				return;
			h->at = p;
			h->capacity = capacity;
		}
		h->at[h->count++] = at;
		ns->offered |= UINT32_C(1) << (n - 1);
		at += n;
		granules -= n;
	}
}

void name_heap_scan(struct name_heap *ns, const uint64_t *used)
{
	uint32_t hole = 0;

	for (uint32_t i = 0; i <= ns->end; i++) {
		if (i < ns->end && !(used[i / 64] >> (i % 64) & 1))
			continue;
		if (i < ns->end || hole < i)
			hole_add(ns, hole, i - hole);
		hole = i + 1;
	}
	ns->scanned = true;
}

static_assert(NAMES_CLASSES == 32, "offered has a bit for each");

/* The smallest holes that so many granules fit into; NAMES_CLASSES: there are none. */
static unsigned class_for(const struct name_heap *ns, uint32_t granules)
{
	uint32_t fit = ns->offered >> (granules - 1);

	return fit ? granules - 1 + (unsigned)__builtin_ctz(fit) : NAMES_CLASSES;
}

uint32_t name_heap_end_after(const struct name_heap *ns, size_t len)
{
	uint32_t granules = names_granules(len);

	return class_for(ns, granules) < NAMES_CLASSES ? ns->end : ns->end + granules;
}

uint32_t name_heap_alloc(struct name_heap *ns, size_t len)
{
	uint32_t granules = names_granules(len), at;
	unsigned i = class_for(ns, granules);

	assert(ns->scanned && granules && granules <= NAMES_CLASSES);
	if (i == NAMES_CLASSES) {
		at = ns->end;
		ns->end += granules;
		return at;
	}
	at = ns->holes[i].at[--ns->holes[i].count];
	if (!ns->holes[i].count)
		ns->offered &= ~(UINT32_C(1) << i);
	hole_add(ns, at + granules, i + 1 - granules);
	return at;
}

void name_heap_release(struct name_heap *ns, uint32_t at, size_t len)
{
	assert(at + names_granules(len) <= ns->end);
	if (ns->scanned) /* else the scan will find it */
		hole_add(ns, at, names_granules(len));
}
