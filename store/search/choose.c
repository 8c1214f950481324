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

int search_choose(struct search *s, const struct snapshot_run *run)
{
	uint64_t off = run->first - s->listed_first;
	void *filter = (void *)(uintptr_t)s->q->filter;

	memset(s->chosen, 0, bit_words(run->count) * sizeof *s->chosen);
	for (uint32_t i = 0; i < run->count && (!filter || s->listed); i++)
		if (!filter || s->listed[(off + i) / 64] >> (off + i) % 64 & 1)
			bit_set(s->chosen, i);
	return filter ? snapshot_select(s->m, run, s->listed != NULL, passes, filter, s->chosen) : 0;
}
