/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/inode/name_lock.h"

#include <pthread.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define LOCKS 256 /* names share them: that costs a little waiting, and nothing else */

static pthread_mutex_t locks[LOCKS] = {[0 ... LOCKS - 1] = PTHREAD_MUTEX_INITIALIZER};

static unsigned lock_of(uint32_t collection, const char *name)
{
	return (unsigned)(XXH3_64bits_withSeed(name, strlen(name), collection) % LOCKS);
}

/* Locks in index order, to avoid deadlock. */
static struct name_lock take(unsigned a, unsigned b)
{
	struct name_lock held = {a < b ? a : b, a < b ? b : a};

	pthread_mutex_lock(&locks[held.first]);
	if (held.last != held.first)
		pthread_mutex_lock(&locks[held.last]);
	return held;
}

struct name_lock name_lock_take(uint32_t collection, const char *name)
{
	unsigned lock = lock_of(collection, name);

	return take(lock, lock);
}

struct name_lock name_lock_take_two(uint32_t collection, const char *name, uint32_t other_collection,
				    const char *other_name)
{
	return take(lock_of(collection, name), lock_of(other_collection, other_name));
}

void name_lock_release(struct name_lock held)
{
	if (held.last != held.first)
		pthread_mutex_unlock(&locks[held.last]);
	pthread_mutex_unlock(&locks[held.first]);
}
