/* SPDX-License-Identifier: Apache-2.0 */
#include "store/collection/entry_map.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Chunks between the lowest and the highest entry: 6.9e10 numbers, of which few may be in use. */
#define DIRECTORY_MAX (1u << 24)

void entry_map_init(struct entry_map *es)
{
	memset(es, 0, sizeof *es);
}

static void rows_free(struct entry_map *es, uint32_t *rows)
{
	const char *p = (const char *)rows;

	if (!es->image || p < es->image || p >= es->image + es->image_bytes)
		free(rows);
}

void entry_map_free(struct entry_map *es)
{
	for (size_t i = 0; i < es->count; i++)
		rows_free(es, es->chunks[i].rows);
	free(es->chunks);
	entry_map_init(es);
}

static struct entries_chunk *chunk_of(const struct entry_map *es, uint64_t entry)
{
	uint64_t n = entry / ENTRIES_CHUNK;

	return n >= es->base && n - es->base < es->count ? &es->chunks[n - es->base] : NULL;
}

void entry_map_hide(struct entry_map *es, uint64_t first, uint64_t count)
{
	es->hidden = first;
	es->hidden_count = count;
}

static bool is_hidden(const struct entry_map *es, uint64_t entry)
{
	return entry - es->hidden < es->hidden_count;
}

uint32_t entry_map_get(const struct entry_map *es, uint64_t entry)
{
	const struct entries_chunk *c = is_hidden(es, entry) ? NULL : chunk_of(es, entry);

	return c && c->rows ? c->rows[entry % ENTRIES_CHUNK] - 1 : ROW_NONE;
}

/* Makes the directory reach over chunk n, forwards or backwards; forwards by more than asked, so that it is
 * rare. */
static int directory_reach(struct entry_map *es, uint64_t n)
{
	uint64_t base = es->count && es->base < n ? es->base : n;
	uint64_t end = es->count && es->base + es->count > n ? es->base + es->count : n + 1 + es->count / 2;
	struct entries_chunk *chunks;

	if (es->count && base == es->base && end == es->base + es->count)
		return 0;
	if (end - base > DIRECTORY_MAX)
		return -EOVERFLOW;
	chunks = calloc(end - base, sizeof *chunks);
	if (!chunks)
		return -ENOMEM;
	if (es->count)
		memcpy(chunks + (es->base - base), es->chunks, es->count * sizeof *chunks);
	free(es->chunks);
	es->chunks = chunks;
	es->base = base;
	es->count = end - base;
	return 0;
}

/* Forgets leading chunks that are gone, once they are most of the directory. */
static void directory_trim(struct entry_map *es)
{
	size_t dead = 0;

	while (dead < es->count && !es->chunks[dead].rows)
		dead++;
	if (dead < 64 || dead < es->count / 2)
		return;
	es->base += dead;
	es->count -= dead;
	memmove(es->chunks, es->chunks + dead, es->count * sizeof *es->chunks);
}

int entry_map_reserve(struct entry_map *es, uint64_t entry)
{
	struct entries_chunk *c;
	int rc;

	if (!chunk_of(es, entry)) {
		directory_trim(es);
		rc = directory_reach(es, entry / ENTRIES_CHUNK);
		if (rc)
			return rc;
	}
	c = chunk_of(es, entry);
	if (!c->rows)
		c->rows = calloc(ENTRIES_CHUNK, sizeof *c->rows);
	return c->rows ? 0 : -ENOMEM;
}

void entry_map_set(struct entry_map *es, uint64_t entry, uint32_t row)
{
	struct entries_chunk *c = chunk_of(es, entry);
	uint32_t *p;

	assert(c && c->rows);
	p = &c->rows[entry % ENTRIES_CHUNK];
	c->live += (uint32_t)(row != ROW_NONE) - (uint32_t)(*p != 0);
	*p = row + 1;
	if (!c->live) {
		rows_free(es, c->rows);
		c->rows = NULL;
	}
}

uint64_t entry_map_next(const struct entry_map *es, uint64_t after)
{
	uint64_t first = es->base * ENTRIES_CHUNK, entry = after + 1 > first ? after + 1 : first;

	for (; entry / ENTRIES_CHUNK < es->base + es->count; entry++) {
		const struct entries_chunk *c = chunk_of(es, entry);

		if (is_hidden(es, entry))
			entry = es->hidden + es->hidden_count - 1;
		else if (!c->rows)
			entry |= ENTRIES_CHUNK - 1; /* the whole chunk is empty */
		else if (c->rows[entry % ENTRIES_CHUNK])
			return entry;
	}
	return 0;
}
