/* SPDX-License-Identifier: Apache-2.0 */
/* Which rows of a block are compared: those whose ids the filter lets pass. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/search/state.h"

#define LOOK_UP_SHARE 4u /* a list of ids is looked up if it is shorter than such a share of the rows */

static bool passes(void *arg, const char *name, size_t len)
{
	return vs_filter_passes(arg, name, len);
}

int search_look_up(struct search *s, uint64_t first, uint64_t end)
{
	const struct vs_filter *f = s->q->filter;
	size_t at = 0, len;
	const char *id;

	if (!f || vs_filter_allowed(f) >= (end - first) / LOOK_UP_SHARE)
		return 0;
	s->listed = calloc((end - first) / 64 + 1, sizeof *s->listed);
	if (!s->listed)
		return -ENOMEM;
	s->listed_first = first;
	while ((id = vs_filter_next(f, &at, &len)) != NULL) {
		uint64_t row;
		int rc = vs_filter_passes(f, id, len) ? snapshot_find(s->m, id, len, &row) : -ENOENT;

		if (!rc && row >= first && row < end)
			s->listed[(row - first) / 64] |= UINT64_C(1) << (row - first) % 64;
		if (!rc || rc == -ENOENT)
			continue;
		free(s->listed); /* each row is asked, then */
		s->listed = NULL;
		return 0;
	}
	return 0;
}

/* 64 of the listed rows, from row at on, which may be in the middle of a word. */
static uint64_t listed_word(const struct search *s, uint64_t at, uint64_t end)
{
	uint64_t word = s->listed[at / 64] >> at % 64;

	if (at % 64 && at / 64 + 1 <= (end - 1) / 64)
		word |= s->listed[at / 64 + 1] << (64 - at % 64);
	return word;
}

int search_choose(struct search *s, const struct snapshot_run *run)
{
	uint64_t off = run->first - s->listed_first, end = off + run->count;
	void *filter = (void *)(uintptr_t)s->q->filter;

	for (uint32_t i = 0; i < run->count; i += 64) {
		uint64_t word = s->listed ? listed_word(s, off + i, end) : filter ? 0 : UINT64_MAX;

		s->chosen[i / 64] =
			word & (run->count - i < 64 ? (UINT64_C(1) << (run->count - i)) - 1 : UINT64_MAX);
	}
	return filter ? snapshot_select(s->m, run, s->listed != NULL, passes, filter, s->chosen) : 0;
}
