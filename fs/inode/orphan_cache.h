/* SPDX-License-Identifier: Apache-2.0 */
/* orphan_cache - unlinked vectors, kept so that an open that raced with the unlink still succeeds. */
#ifndef VECFS_FS_INODE_ORPHAN_CACHE_H
#define VECFS_FS_INODE_ORPHAN_CACHE_H

#include <pthread.h>
#include <stddef.h>

#include "fs/inode/lookup_cache.h"

#define GRAVE_MAX RECENT_MAX
#define GRAVE_BYTES_MAX (8u << 20) /* of all of them */

struct inode;
struct inode_table;

struct orphan_cache {
	pthread_mutex_t lock;
	struct inode *ring[GRAVE_MAX]; /* each with a reference */
	size_t first, count, bytes;
};

void orphan_cache_init(struct orphan_cache *g);
void orphan_cache_destroy(struct orphan_cache *g);
/* Takes over a reference to one that has a copy. */
void orphan_cache_add(struct orphan_cache *g, struct inode_table *inodes, struct inode *o);

#endif
