/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/inode/inode.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/inode/ino_alias.h"
#include "fs/inode/orphan_cache.h"
#include "fs/request/ino.h"
#include "fs/inode/lookup_cache.h"

#define BUCKETS 1024
struct bucket {
	pthread_mutex_t lock;
	struct inode *first;
};

struct inode_table {
	struct bucket buckets[BUCKETS];
	atomic_uint staged; /* the sum over all vectors: mostly 0, which saves looking for each */
	struct ino_aliases aliases;
	struct orphan_cache orphans;

	pthread_mutex_t all_lock;
	struct inode_set *all; /* collections that are being saved as a whole */
	atomic_uint all_count;

	pthread_mutex_t move_lock; /* held from inode_move_begin to inode_move_end */
	atomic_uint moving;        /* not 0 meanwhile */
};

static struct bucket *bucket_of(struct inode_table *t, uint64_t ino)
{
	return &t->buckets[((ino * UINT64_C(0x9e3779b97f4a7c15)) >> 48) % BUCKETS];
}

struct inode_table *inode_table_new(void)
{
	struct inode_table *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	for (unsigned i = 0; i < BUCKETS; i++)
		pthread_mutex_init(&t->buckets[i].lock, NULL);
	ino_alias_init(&t->aliases);
	orphan_cache_init(&t->orphans);
	pthread_mutex_init(&t->all_lock, NULL);
	pthread_mutex_init(&t->move_lock, NULL);
	return t;
}

static void inode_free(struct inode *o)
{
	pthread_mutex_destroy(&o->lock);
	draft_free(&o->draft);
	free(o->copy);
	free(o);
}

void inode_table_free(struct inode_table *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < BUCKETS; i++) {
		while (t->buckets[i].first) {
			struct inode *o = t->buckets[i].first;

			t->buckets[i].first = o->next;
			inode_free(o);
		}
		pthread_mutex_destroy(&t->buckets[i].lock);
	}
	ino_alias_destroy(&t->aliases);
	orphan_cache_destroy(&t->orphans);
	pthread_mutex_destroy(&t->all_lock);
	pthread_mutex_destroy(&t->move_lock);
	free(t);
}

static struct inode *inode_new(uint64_t ino)
{
	struct inode *o = calloc(1, sizeof *o);

	if (!o)
		return NULL;
	atomic_store_explicit(&o->ino, ino, memory_order_relaxed);
	pthread_mutex_init(&o->lock, NULL);
	return o;
}

static struct inode *find(struct inode_table *t, uint64_t ino, bool make)
{
	struct bucket *b = bucket_of(t, ino);
	struct inode *o;

	pthread_mutex_lock(&b->lock);
	for (o = b->first; o && atomic_load_explicit(&o->ino, memory_order_relaxed) != ino; o = o->next)
		;
	if (!o && make && (o = inode_new(ino)) != NULL) {
		o->next = b->first;
		b->first = o;
	}
	if (o)
		o->refs++;
	pthread_mutex_unlock(&b->lock);
	return o;
}

struct inode *inode_get(struct inode_table *t, uint64_t ino)
{
	struct inode *o = find(t, ino, false);

	if (o)
		return o;
	if (atomic_load(&t->moving)) { /* perhaps to this very number */
		pthread_mutex_lock(&t->move_lock);
		pthread_mutex_unlock(&t->move_lock);
	}
	return find(t, ino, true);
}

struct inode *inode_find(struct inode_table *t, uint64_t ino)
{
	return find(t, ino, false);
}

static void unlink_from(struct bucket *b, struct inode *o)
{
	struct inode **link = &b->first;

	while (*link != o) {
		assert(*link);
		link = &(*link)->next;
	}
	*link = o->next;
}

/* Locks the bucket that a vector is in, which may change until it is locked. */
static struct bucket *lock_bucket(struct inode_table *t, struct inode *o)
{
	for (;;) {
		uint64_t ino = atomic_load(&o->ino);
		struct bucket *b = bucket_of(t, ino);

		pthread_mutex_lock(&b->lock);
		if (atomic_load(&o->ino) == ino)
			return b;
		pthread_mutex_unlock(&b->lock);
	}
}

void inode_put(struct inode_table *t, struct inode *o)
{
	struct bucket *b = lock_bucket(t, o);
	bool last;

	assert(o->refs > 0);
	last = --o->refs == 0;
	if (last)
		unlink_from(b, o);
	pthread_mutex_unlock(&b->lock);
	if (last)
		inode_free(o);
}

uint64_t inode_locate(struct inode_table *t, uint64_t ino)
{
	return ino_alias_locate(&t->aliases, ino);
}

/* The struct, if there is one, gets the new number. */
static void renumber(struct inode_table *t, uint64_t from, uint64_t to)
{
	struct bucket *a = bucket_of(t, from), *b = bucket_of(t, to);
	struct bucket *low = a < b ? a : b, *high = a < b ? b : a;
	struct inode *o;

	pthread_mutex_lock(&low->lock);
	if (high != low)
		pthread_mutex_lock(&high->lock);
	for (o = a->first; o && atomic_load(&o->ino) != from; o = o->next)
		;
	if (o) {
		unlink_from(a, o);
		atomic_store(&o->ino, to);
		o->next = b->first;
		b->first = o;
	}
	if (high != low)
		pthread_mutex_unlock(&high->lock);
	pthread_mutex_unlock(&low->lock);
}

void inode_move_begin(struct inode_table *t)
{
	pthread_mutex_lock(&t->move_lock);
	atomic_fetch_add(&t->moving, 1);
}

void inode_move_end(struct inode_table *t, uint64_t from, uint64_t to)
{
	if (to) {
		ino_alias_add(&t->aliases, t, from, to);
		renumber(t, from, to);
	}
	atomic_fetch_sub(&t->moving, 1);
	pthread_mutex_unlock(&t->move_lock);
}

/* Copies the vector aside. One that the engine does not know any more keeps the copy it has. */
static int make_copy(struct mount *s, struct inode *o)
{
	struct node node = node_of(atomic_load(&o->ino));
	struct orphan_data *copy;
	struct vs_attr attr;
	ssize_t got;
	int rc = vs_attr_get(s->store, node.collection, node.entry, &attr);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	copy = malloc(sizeof *copy + attr.size);
	if (!copy)
		return -ENOMEM;
	copy->attr = attr;
	got = vs_read(s->store, node.collection, node.entry, copy->bytes, attr.size, 0);
	if (got != (ssize_t)attr.size) { /* gone by now, or damaged: then there is nothing to keep */
		free(copy);
		return 0;
	}
	free(o->copy);
	o->copy = copy;
	return 0;
}

static bool is_being_saved(struct inode_table *t, uint32_t collection)
{
	struct inode_set *all;

	if (!atomic_load(&t->all_count))
		return false;
	pthread_mutex_lock(&t->all_lock);
	for (all = t->all; all && all->collection != collection; all = all->next)
		;
	pthread_mutex_unlock(&t->all_lock);
	return all != NULL;
}

int inode_join(struct mount *s, struct inode *o)
{
	bool saving = o->saving > 0 || is_being_saved(s->inodes, node_of(atomic_load(&o->ino)).collection);

	return saving ? make_copy(s, o) : 0;
}

static int save(struct mount *s, struct inode *o)
{
	int rc;

	pthread_mutex_lock(&o->lock);
	rc = o->files || lookup_cache_has(atomic_load(&o->ino)) ? make_copy(s, o) : 0;
	if (!rc)
		o->saving++;
	pthread_mutex_unlock(&o->lock);
	return rc;
}

int inode_preserve_begin(struct mount *s, uint64_t ino, struct inode **out)
{
	struct inode *o = inode_get(s->inodes, ino);
	int rc = o ? save(s, o) : -ENOMEM;

	if (rc && o)
		inode_put(s->inodes, o);
	*out = rc ? NULL : o;
	return rc;
}

void inode_preserve_end(struct mount *s, struct inode *o)
{
	struct node node = node_of(atomic_load(&o->ino));
	struct vs_attr attr;
	bool is_gone, was_truncated;

	pthread_mutex_lock(&o->lock);
	assert(o->saving > 0);
	o->saving--;
	is_gone = vs_attr_get(s->store, node.collection, node.entry, &attr) == -ENOENT;
	was_truncated = is_gone && o->replace_next;
	if (was_truncated)
		o->replace_next = false;
	pthread_mutex_unlock(&o->lock);
	if (was_truncated)
		inode_put(s->inodes, o); /* the reference of replace_next */
	if (is_gone && o->copy)
		orphan_cache_add(&s->inodes->orphans, s->inodes, o);
	else
		inode_put(s->inodes, o);
}

/* Takes over a reference. */
static int add(struct inode_set *all, struct inode *o)
{
	struct inode **more = realloc(all->each, (all->count + 1) * sizeof *more);

	if (!more)
		return -ENOMEM;
	all->each = more;
	more[all->count++] = o;
	return 0;
}

/* All of the collection in one bucket. */
static int add_bucket(struct inode_set *all, struct bucket *b)
{
	int rc = 0;

	pthread_mutex_lock(&b->lock);
	for (struct inode *o = b->first; o && !rc; o = o->next) {
		if (node_of(atomic_load(&o->ino)).collection != all->collection)
			continue;
		rc = add(all, o);
		o->refs += !rc;
	}
	pthread_mutex_unlock(&b->lock);
	return rc;
}

static int add_recent(struct inode_table *t, struct inode_set *all)
{
	uint64_t inos[RECENT_MAX];
	size_t count = lookup_cache_of(all->collection, inos);
	int rc = 0;

	for (size_t i = 0; i < count && !rc; i++) {
		struct inode *o = inode_get(t, inos[i]);

		rc = o ? add(all, o) : -ENOMEM;
		if (rc && o)
			inode_put(t, o);
	}
	return rc;
}

static void all_begin(struct inode_table *t, struct inode_set *all)
{
	pthread_mutex_lock(&t->all_lock);
	all->next = t->all;
	t->all = all;
	atomic_fetch_add(&t->all_count, 1);
	pthread_mutex_unlock(&t->all_lock);
}

static void all_end(struct inode_table *t, struct inode_set *all)
{
	struct inode_set **link = &t->all;

	pthread_mutex_lock(&t->all_lock);
	while (*link != all)
		link = &(*link)->next;
	*link = all->next;
	atomic_fetch_sub(&t->all_count, 1);
	pthread_mutex_unlock(&t->all_lock);
}

int inode_preserve_all_begin(struct mount *s, uint32_t collection, struct inode_set *all)
{
	size_t saved = 0;
	int rc = 0;

	*all = (struct inode_set){.collection = collection};
	all_begin(s->inodes, all); /* before looking: whoever opens one from now on sees to it himself */
	for (unsigned i = 0; i < BUCKETS && !rc; i++)
		rc = add_bucket(all, &s->inodes->buckets[i]);
	if (!rc)
		rc = add_recent(s->inodes, all);
	while (saved < all->count && !rc) {
		rc = save(s, all->each[saved]);
		saved += !rc;
	}
	if (!rc)
		return 0;
	while (all->count > saved)
		inode_put(s->inodes, all->each[--all->count]);
	inode_preserve_all_end(s, all);
	return rc;
}

void inode_preserve_all_end(struct mount *s, struct inode_set *all)
{
	all_end(s->inodes, all);
	for (size_t i = 0; i < all->count; i++)
		inode_preserve_end(s, all->each[i]);
	free(all->each);
}

void inode_staged(struct inode_table *t, struct inode *o, int change)
{
	assert(change == 1 || change == -1);
	if (change > 0) {
		atomic_fetch_add(&o->staged, 1);
		atomic_fetch_add(&t->staged, 1);
	} else {
		atomic_fetch_sub(&o->staged, 1);
		atomic_fetch_sub(&t->staged, 1);
	}
}

bool inode_is_staged(struct inode_table *t, uint64_t ino)
{
	struct inode *o;
	bool staged;

	if (!atomic_load(&t->staged))
		return false;
	o = inode_find(t, ino);
	if (!o)
		return false;
	staged = atomic_load(&o->staged) > 0;
	inode_put(t, o);
	return staged;
}

/* Those of one bucket, each with a reference, as many as fit: how many. */
static size_t take_staged(struct bucket *b, struct inode *out[], size_t max)
{
	size_t count = 0;

	pthread_mutex_lock(&b->lock);
	for (struct inode *o = b->first; o && count < max; o = o->next) {
		if (!atomic_load(&o->staged))
			continue;
		o->refs++;
		out[count++] = o;
	}
	pthread_mutex_unlock(&b->lock);
	return count;
}

bool inode_each_staged(struct mount *s, void (*each)(struct mount *s, struct inode *o))
{
	struct inode_table *t = s->inodes;
	struct inode *some[64];

	if (!atomic_load(&t->staged))
		return false;
	for (unsigned i = 0; i < BUCKETS; i++) {
		size_t count = take_staged(&t->buckets[i], some, sizeof some / sizeof *some);

		for (size_t k = 0; k < count; k++) {
			each(s, some[k]);
			inode_put(t, some[k]);
		}
	}
	return true;
}
