/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/filter_table.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

#define SLOTS 16u
#define BYTES_MAX (64u << 20) /* of all that is kept */

struct filter_rows {
	atomic_uint refs;
	uint32_t collection;
	uint64_t version, digest[2], used; /* used: when, for the table */
	size_t bytes;
	uint64_t bits[];
};

struct filter_table {
	pthread_mutex_t lock; /* of all that follows */
	uint64_t seed, clock;
	size_t bytes;
	struct filter_rows *slots[SLOTS];
};

struct filter_table *filter_table_new(void)
{
	struct filter_table *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	pthread_mutex_init(&t->lock, NULL);
	if (getrandom(&t->seed, sizeof t->seed, 0) != (ssize_t)sizeof t->seed)
		t->seed = (uintptr_t)t;
	return t;
}

void filter_table_free(struct filter_table *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < SLOTS; i++)
		filter_rows_put(t->slots[i]);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

const uint64_t *filter_rows_bits(const struct filter_rows *r)
{
	return r->bits;
}

void filter_rows_put(struct filter_rows *r)
{
	if (r && atomic_fetch_sub(&r->refs, 1) == 1)
		free(r);
}

static bool is_same_filter(const struct filter_rows *a, const struct filter_rows *b)
{
	return a->collection == b->collection && a->digest[0] == b->digest[0] && a->digest[1] == b->digest[1];
}

/* With a reference; NULL: it is not known. */
static struct filter_rows *find(struct filter_table *t, const struct filter_rows *wanted)
{
	struct filter_rows *found = NULL;

	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < SLOTS && !found; i++)
		if (t->slots[i] && is_same_filter(t->slots[i], wanted) &&
		    t->slots[i]->version == wanted->version)
			found = t->slots[i];
	if (found) {
		atomic_fetch_add(&found->refs, 1);
		found->used = ++t->clock;
	}
	pthread_mutex_unlock(&t->lock);
	return found;
}

static void drop(struct filter_table *t, unsigned slot)
{
	t->bytes -= t->slots[slot]->bytes;
	filter_rows_put(t->slots[slot]);
	t->slots[slot] = NULL;
}

static unsigned free_slot(const struct filter_table *t)
{
	unsigned at = 0;

	while (at < SLOTS && t->slots[at])
		at++;
	return at;
}

/* The one that was used longest ago; there is one. */
static unsigned oldest(const struct filter_table *t)
{
	unsigned at = SLOTS;

	for (unsigned i = 0; i < SLOTS; i++)
		if (t->slots[i] && (at == SLOTS || t->slots[i]->used < t->slots[at]->used))
			at = i;
	return at;
}

/* In the place of what is known of another version. */
static void keep(struct filter_table *t, struct filter_rows *r)
{
	if (r->bytes > BYTES_MAX / 4)
		return;
	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < SLOTS; i++)
		if (t->slots[i] && is_same_filter(t->slots[i], r))
			drop(t, i);
	while (t->bytes + r->bytes > BYTES_MAX || free_slot(t) == SLOTS)
		drop(t, oldest(t));
	atomic_fetch_add(&r->refs, 1);
	r->used = ++t->clock;
	t->bytes += r->bytes;
	t->slots[free_slot(t)] = r;
	pthread_mutex_unlock(&t->lock);
}

int filter_table_rows(struct filter_table *t, struct vs_snapshot *m, const struct vs_filter *filter,
		      bool (*is_cancelled)(void *arg, uint64_t rows), void *arg, struct filter_rows **out)
{
	struct filter_rows key = {.used = 0}, *r;
	struct vs_snapshot_info info;
	int rc;

	vs_snapshot_info(m, &info);
	key.collection = info.collection;
	key.version = info.version;
	vs_filter_digest(filter, t->seed, key.digest);
	*out = find(t, &key);
	if (*out)
		return 0;
	key.bytes = vs_filter_rows_bytes(info.rows);
	r = malloc(sizeof *r + key.bytes);
	if (!r)
		return -ENOMEM;
	*r = key;
	r->refs = 1;
	rc = vs_filter_rows(m, filter, is_cancelled, arg, r->bits);
	if (rc) {
		free(r);
		return rc;
	}
	keep(t, r);
	*out = r;
	return 0;
}
