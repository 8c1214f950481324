/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/inode/ino_alias.h"

#include "fs/inode/inode.h"

#define STEPS_MAX 8 /* of a vector that has moved again and again */

static struct ino_alias_set *set_of(struct ino_aliases *f, uint64_t ino)
{
	return &f->sets[((ino * UINT64_C(0x9e3779b97f4a7c15)) >> 48) % FORWARD_SETS];
}

void ino_alias_init(struct ino_aliases *f)
{
	pthread_mutex_init(&f->lock, NULL);
}

void ino_alias_destroy(struct ino_aliases *f)
{
	pthread_mutex_destroy(&f->lock);
}

/* With the lock held: where one step leads, or 0. */
static uint64_t follow(struct ino_aliases *f, uint64_t ino)
{
	const struct ino_alias_set *set = set_of(f, ino);

	for (unsigned way = 0; way < FORWARD_WAYS; way++)
		if (set->ways[way].from == ino)
			return set->ways[way].to;
	return 0;
}

/* With the lock held. */
static uint64_t locate(struct ino_aliases *f, uint64_t ino)
{
	uint64_t next;

	for (int step = 0; step < STEPS_MAX && (next = follow(f, ino)) != 0; step++)
		ino = next;
	return ino;
}

uint64_t ino_alias_locate(struct ino_aliases *f, uint64_t ino)
{
	if (!atomic_load_explicit(&f->any, memory_order_acquire))
		return ino;
	pthread_mutex_lock(&f->lock);
	ino = locate(f, ino);
	pthread_mutex_unlock(&f->lock);
	return ino;
}

static bool is_in_use(struct inode_table *inodes, uint64_t ino)
{
	struct inode *o = inode_find(inodes, ino);

	if (o)
		inode_put(inodes, o);
	return o != NULL;
}

void ino_alias_add(struct ino_aliases *f, struct inode_table *inodes, uint64_t from, uint64_t to)
{
	struct ino_alias_set *set = set_of(f, from);
	unsigned way = 0;

	pthread_mutex_lock(&f->lock);
	for (int tries = 0; tries < FORWARD_WAYS; tries++) {
		way = set->added++ % FORWARD_WAYS;
		if (!set->ways[way].from || !is_in_use(inodes, locate(f, set->ways[way].to)))
			break;
	}
	set->ways[way].from = from;
	set->ways[way].to = to;
	atomic_store_explicit(&f->any, true, memory_order_release);
	pthread_mutex_unlock(&f->lock);
}
