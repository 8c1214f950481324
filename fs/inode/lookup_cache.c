/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/inode/lookup_cache.h"

#include <stdatomic.h>

#include "fs/request/ino.h"

/* A cache: each inode number has its place, where it replaces another. */
static atomic_uint_fast64_t slots[RECENT_MAX];

static atomic_uint_fast64_t *slot_of(uint64_t ino)
{
	return &slots[((ino * UINT64_C(0x9e3779b97f4a7c15)) >> 48) % RECENT_MAX];
}

void lookup_cache_put(uint64_t ino)
{
	atomic_store(slot_of(ino), ino);
}

bool lookup_cache_has(uint64_t ino)
{
	return atomic_load(slot_of(ino)) == ino;
}

size_t lookup_cache_of(uint32_t collection, uint64_t inos[RECENT_MAX])
{
	size_t count = 0;

	for (size_t i = 0; i < RECENT_MAX; i++) {
		uint64_t ino = atomic_load(&slots[i]);

		if (ino && node_of(ino).collection == collection)
			inos[count++] = ino;
	}
	return count;
}
