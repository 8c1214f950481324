/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/inode/orphan_cache.h"

#include <assert.h>

#include "fs/inode/inode.h"

void orphan_cache_init(struct orphan_cache *g)
{
	pthread_mutex_init(&g->lock, NULL);
}

void orphan_cache_destroy(struct orphan_cache *g)
{
	pthread_mutex_destroy(&g->lock);
}

void orphan_cache_add(struct orphan_cache *g, struct inode_table *inodes, struct inode *o)
{
	size_t bytes = o->copy->attr.size;

	assert(bytes <= GRAVE_BYTES_MAX);
	pthread_mutex_lock(&g->lock);
	while (g->count && (g->count == GRAVE_MAX || g->bytes + bytes > GRAVE_BYTES_MAX)) {
		struct inode *oldest = g->ring[g->first];

		g->first = (g->first + 1) % GRAVE_MAX;
		g->count--;
		g->bytes -= oldest->copy->attr.size;
		inode_put(inodes, oldest);
	}
	g->ring[(g->first + g->count++) % GRAVE_MAX] = o;
	g->bytes += bytes;
	pthread_mutex_unlock(&g->lock);
}
