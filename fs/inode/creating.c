/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/inode/creating.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define LEAVING_MS 50 /* a release is on its way for much less */
#define BUCKETS 1024  /* each with a lock of its own: creates of different names do not meet */

static struct bucket {
	pthread_mutex_t lock;
	struct creating *first;
} buckets[BUCKETS] = {[0 ... BUCKETS - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};

static struct bucket *bucket_of(const struct creating *p)
{
	return &buckets[XXH3_64bits_withSeed(p->name, strlen(p->name), p->collection) % BUCKETS];
}

/* Adds it, unless another must go first, which is returned; it is valid under the lock only. */
static const struct creating *add(struct bucket *b, struct creating *p, bool exclusive)
{
	for (const struct creating *q = b->first; q && exclusive; q = q->next)
		if (q->collection == p->collection && !strcmp(q->name, p->name))
			return q;
	p->next = b->first;
	b->first = p;
	return NULL;
}

bool creating_add(struct creating *p, bool exclusive)
{
	struct bucket *b = bucket_of(p);

	for (int waited_ms = 0;; waited_ms++) {
		const struct creating *other;
		bool leaves;

		pthread_mutex_lock(&b->lock);
		other = add(b, p, exclusive);
		leaves = other && other->refused;
		pthread_mutex_unlock(&b->lock);
		if (!other)
			return true;
		if (!leaves || waited_ms == LEAVING_MS)
			return false;
		usleep(1000);
	}
}

void creating_refuse(struct creating *p)
{
	struct bucket *b = bucket_of(p);

	pthread_mutex_lock(&b->lock);
	p->refused = true;
	pthread_mutex_unlock(&b->lock);
}

void creating_remove(struct creating *p)
{
	struct bucket *b = bucket_of(p);
	struct creating **link = &b->first;

	pthread_mutex_lock(&b->lock);
	while (*link != p) {
		assert(*link);
		link = &(*link)->next;
	}
	*link = p->next;
	pthread_mutex_unlock(&b->lock);
}
