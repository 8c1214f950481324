/* SPDX-License-Identifier: Apache-2.0 */
#include "pending.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define BUCKETS 1024 /* each with a lock of its own: creates of different names do not meet */

static struct bucket {
	pthread_mutex_t lock;
	struct pending *first;
} buckets[BUCKETS] = {[0 ... BUCKETS - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};

static struct bucket *bucket_of(const struct pending *p)
{
	return &buckets[XXH3_64bits_withSeed(p->name, strlen(p->name), p->collection) % BUCKETS];
}

bool pending_add(struct pending *p, bool exclusive)
{
	struct bucket *b = bucket_of(p);
	bool taken = false;

	pthread_mutex_lock(&b->lock);
	for (struct pending *q = b->first; q && exclusive && !taken; q = q->next)
		taken = q->collection == p->collection && !strcmp(q->name, p->name);
	if (!taken) {
		p->next = b->first;
		b->first = p;
	}
	pthread_mutex_unlock(&b->lock);
	return !taken;
}

void pending_remove(struct pending *p)
{
	struct bucket *b = bucket_of(p);
	struct pending **link = &b->first;

	pthread_mutex_lock(&b->lock);
	while (*link != p) {
		assert(*link);
		link = &(*link)->next;
	}
	*link = p->next;
	pthread_mutex_unlock(&b->lock);
}
