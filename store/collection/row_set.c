/* SPDX-License-Identifier: Apache-2.0 */
#include "store/collection/row_set.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void row_set_init(struct row_set *set, unsigned shift)
{
	*set = (struct row_set){.shift = shift};
}

void row_set_free(struct row_set *set)
{
	for (uint32_t n = 0; n < set->segments; n++)
		free(set->map[n]);
	free(set->map);
	free(set->count);
	row_set_init(set, set->shift);
}

static int reserve_segments(struct row_set *set, uint32_t segments)
{
	uint64_t **map = realloc(set->map, segments * sizeof(uint64_t *));
	uint32_t *count = realloc(set->count, segments * sizeof *count);

	set->map = map ? map : set->map;
	set->count = count ? count : set->count;
	if (!map || !count)
		return -ENOMEM;
	for (; set->segments < segments; set->segments++) {
		map[set->segments] = NULL;
		count[set->segments] = 0;
	}
	return 0;
}

int row_set_reserve(struct row_set *set, uint32_t row)
{
	uint32_t n = row >> set->shift;
	int rc = n < set->segments ? 0 : reserve_segments(set, n + 1);

	if (!rc && !set->map[n])
		set->map[n] = calloc(1, row_set_bytes(set));
	return rc ? rc : set->map[n] ? 0 : -ENOMEM;
}

void row_set_add(struct row_set *set, uint32_t row)
{
	uint32_t n = row >> set->shift, slot = row & ((1u << set->shift) - 1);

	assert(!row_set_has(set, row));
	set->map[n][slot / 64] |= 1ull << (slot % 64);
	set->count[n]++;
}

void row_set_remove(struct row_set *set, uint32_t row)
{
	uint32_t n = row >> set->shift, slot = row & ((1u << set->shift) - 1);

	assert(row_set_has(set, row));
	set->map[n][slot / 64] &= ~(1ull << (slot % 64));
	set->count[n]--;
}

uint32_t row_set_next(const struct row_set *set, uint32_t segment, uint32_t from, uint32_t end)
{
	const uint64_t *map = segment < set->segments ? set->map[segment] : NULL;

	while (map && from < end) {
		uint64_t bits = map[from / 64] >> (from % 64);

		if (bits) {
			from += (uint32_t)__builtin_ctzll(bits);
			return from < end ? from : end;
		}
		from = (from / 64 + 1) * 64;
	}
	return end;
}
