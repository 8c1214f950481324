/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/crash/history.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void history_init(struct history *h)
{
	*h = (struct history){.room = 64};
	h->ops = malloc(h->room * sizeof *h->ops);
	h->hashes = malloc((h->room + 1) * sizeof *h->hashes);
	assert(h->ops && h->hashes);
	history_clear(h);
}

void history_free(struct history *h)
{
	model_clear(&h->now);
	free(h->ops);
	free(h->hashes);
}

void history_clear(struct history *h)
{
	model_clear(&h->now);
	h->count = h->durable = 0;
	h->in_flight = false;
	h->hashes[0] = model_hash(&h->now);
}

int history_add(struct history *h, const struct op *op, int rc)
{
	int want;

	if (h->count == h->room) {
		h->room *= 2;
		h->ops = realloc(h->ops, h->room * sizeof *h->ops);
		h->hashes = realloc(h->hashes, (h->room + 1) * sizeof *h->hashes);
		assert(h->ops && h->hashes);
	}
	want = op_apply(op, &h->now);
	h->ops[h->count++] = *op;
	h->hashes[h->count] = model_hash(&h->now);
	h->in_flight = rc != want;
	return want;
}

void history_durable(struct history *h)
{
	h->durable = h->count - h->in_flight;
}

static void replay(const struct history *h, size_t count, struct model *m)
{
	model_clear(m);
	for (size_t i = 0; i < count; i++)
		op_apply(&h->ops[i], m);
}

static bool same_as_prefix(const struct history *h, size_t count, struct model *got, char *why,
			   size_t why_size)
{
	struct model want = {0};
	bool same;

	replay(h, count, &want);
	same = model_same(&want, got, why, why_size);
	model_clear(&want);
	return same;
}

/* Why no prefix fits: something durable is missing, or the state is none that ever was. */
static void explain(const struct history *h, struct model *got, uint64_t hash, char *why, size_t why_size)
{
	char least[400] = "", most[400] = "";

	for (size_t i = h->durable; i-- > 0;) {
		if (h->hashes[i] == hash) {
			snprintf(why, why_size, "the state after %zu operations; of %zu, %zu were durable", i,
				 h->count, h->durable);
			return;
		}
	}
	same_as_prefix(h, h->durable, got, least, sizeof least);
	same_as_prefix(h, h->count, got, most, sizeof most);
	snprintf(why, why_size, "no prefix of the history: against the durable %zu: %s; against all %zu: %s",
		 h->durable, least, h->count, most);
}

ssize_t history_match(struct history *h, struct model *got, char *why, size_t why_size)
{
	uint64_t hash = model_hash(got);
	bool found = false;

	/* From the end: among equal states the longest prefix forgets the fewest operations. */
	for (size_t i = h->count + 1; i-- > h->durable;) {
		if (h->hashes[i] != hash && !got->no_snapshots)
			continue;
		found = true;
		if (same_as_prefix(h, i, got, why, why_size))
			return (ssize_t)i;
	}
	if (!found)
		explain(h, got, hash, why, why_size);
	return -1;
}

void history_cut(struct history *h, size_t count)
{
	assert(count <= h->count && h->durable <= count);
	h->count = count;
	h->in_flight = false;
	replay(h, count, &h->now);
}
