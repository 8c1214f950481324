/* SPDX-License-Identifier: Apache-2.0 */
#include "opened.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/node.h"

#define BUCKETS 1024
#define FORWARD_SETS 1024 /* the kernel's cached names of moved vectors are invalidated long before so many moves */
#define FORWARD_WAYS 16
#define FORWARD_STEPS_MAX 8
#define GRAVES 32 /* removals that may happen between a lookup and the open that follows it */

struct bucket {
	pthread_mutex_t lock;
	struct opened *first;
};

struct forward_set {
	unsigned added;
	struct {
		uint64_t from, to; /* 0: none */
	} ways[FORWARD_WAYS];
};

struct opened_table {
	struct bucket buckets[BUCKETS];
	atomic_uint staged; /* the sum over all vectors: mostly 0, which saves looking for each */

	pthread_mutex_t forward_lock;
	atomic_bool forward_any;
	struct forward_set forwards[FORWARD_SETS]; /* a cache: a newer one takes the place of an older */

	pthread_mutex_t move_lock; /* held from opened_move_begin to opened_move_end */
	atomic_uint moving;        /* not 0 meanwhile */

	pthread_mutex_t grave_lock;
	struct opened *graves[GRAVES]; /* a ring of those that lost their names last, each with a reference */
	unsigned graves_dug;
};

static unsigned hash(uint64_t ino)
{
	return (unsigned)((ino * UINT64_C(0x9e3779b97f4a7c15)) >> 48);
}

static struct bucket *bucket_of(struct opened_table *t, uint64_t ino)
{
	return &t->buckets[hash(ino) % BUCKETS];
}

struct opened_table *opened_table_new(void)
{
	struct opened_table *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	for (unsigned i = 0; i < BUCKETS; i++)
		pthread_mutex_init(&t->buckets[i].lock, NULL);
	pthread_mutex_init(&t->forward_lock, NULL);
	pthread_mutex_init(&t->move_lock, NULL);
	pthread_mutex_init(&t->grave_lock, NULL);
	return t;
}

static void opened_free(struct opened *o)
{
	pthread_mutex_destroy(&o->lock);
	free(o->copy);
	free(o);
}

void opened_table_free(struct opened_table *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < BUCKETS; i++) {
		while (t->buckets[i].first) {
			struct opened *o = t->buckets[i].first;

			t->buckets[i].first = o->next;
			opened_free(o);
		}
		pthread_mutex_destroy(&t->buckets[i].lock);
	}
	pthread_mutex_destroy(&t->forward_lock);
	pthread_mutex_destroy(&t->move_lock);
	pthread_mutex_destroy(&t->grave_lock);
	free(t);
}

static struct opened *opened_new(uint64_t ino)
{
	struct opened *o = calloc(1, sizeof *o);

	if (!o)
		return NULL;
	atomic_store_explicit(&o->ino, ino, memory_order_relaxed);
	pthread_mutex_init(&o->lock, NULL);
	return o;
}

static struct opened *find(struct opened_table *t, uint64_t ino, bool make)
{
	struct bucket *b = bucket_of(t, ino);
	struct opened *o;

	pthread_mutex_lock(&b->lock);
	for (o = b->first; o && atomic_load_explicit(&o->ino, memory_order_relaxed) != ino; o = o->next)
		;
	if (!o && make && (o = opened_new(ino)) != NULL) {
		o->next = b->first;
		b->first = o;
	}
	if (o)
		o->refs++;
	pthread_mutex_unlock(&b->lock);
	return o;
}

struct opened *opened_get(struct opened_table *t, uint64_t ino)
{
	struct opened *o = find(t, ino, false);

	if (o)
		return o;
	if (atomic_load(&t->moving)) { /* perhaps to this very number */
		pthread_mutex_lock(&t->move_lock);
		pthread_mutex_unlock(&t->move_lock);
	}
	return find(t, ino, true);
}

struct opened *opened_find(struct opened_table *t, uint64_t ino)
{
	return find(t, ino, false);
}

static void unlink_from(struct bucket *b, struct opened *o)
{
	struct opened **link = &b->first;

	while (*link != o) {
		assert(*link);
		link = &(*link)->next;
	}
	*link = o->next;
}

/* Locks the bucket that a vector is in, which may change until it is locked. */
static struct bucket *lock_bucket(struct opened_table *t, struct opened *o)
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

void opened_put(struct opened_table *t, struct opened *o)
{
	struct bucket *b = lock_bucket(t, o);
	bool last;

	assert(o->refs > 0);
	last = --o->refs == 0;
	if (last)
		unlink_from(b, o);
	pthread_mutex_unlock(&b->lock);
	if (last)
		opened_free(o);
}

/* With the forward lock held: where one step leads, or 0. */
static uint64_t follow(const struct opened_table *t, uint64_t ino)
{
	const struct forward_set *set = &t->forwards[hash(ino) % FORWARD_SETS];

	for (unsigned i = 0; i < FORWARD_WAYS; i++)
		if (set->ways[i].from == ino)
			return set->ways[i].to;
	return 0;
}

/* With the forward lock held. */
static uint64_t locate(const struct opened_table *t, uint64_t ino)
{
	uint64_t next;

	for (int step = 0; step < FORWARD_STEPS_MAX && (next = follow(t, ino)) != 0; step++)
		ino = next;
	return ino;
}

uint64_t opened_locate(struct opened_table *t, uint64_t ino)
{
	if (!atomic_load_explicit(&t->forward_any, memory_order_acquire))
		return ino;
	pthread_mutex_lock(&t->forward_lock);
	ino = locate(t, ino);
	pthread_mutex_unlock(&t->forward_lock);
	return ino;
}

static bool is_in_use(struct opened_table *t, uint64_t ino)
{
	struct opened *o = opened_find(t, ino);

	if (o)
		opened_put(t, o);
	return o != NULL;
}

/* The oldest of a set makes room, but rather not one that leads to an open file. */
static void add_forward(struct opened_table *t, uint64_t from, uint64_t to)
{
	struct forward_set *set = &t->forwards[hash(from) % FORWARD_SETS];
	unsigned way;

	pthread_mutex_lock(&t->forward_lock);
	for (int tries = 0; tries < FORWARD_WAYS; tries++) {
		way = set->added++ % FORWARD_WAYS;
		if (!set->ways[way].from || !is_in_use(t, locate(t, set->ways[way].to)))
			break;
	}
	set->ways[way].from = from;
	set->ways[way].to = to;
	atomic_store_explicit(&t->forward_any, true, memory_order_release);
	pthread_mutex_unlock(&t->forward_lock);
}

/* The struct, if there is one, gets the new number. */
static void renumber(struct opened_table *t, uint64_t from, uint64_t to)
{
	struct bucket *a = bucket_of(t, from), *b = bucket_of(t, to);
	struct bucket *low = a < b ? a : b, *high = a < b ? b : a;
	struct opened *o;

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

void opened_move_begin(struct opened_table *t)
{
	pthread_mutex_lock(&t->move_lock);
	atomic_fetch_add(&t->moving, 1);
}

void opened_move_end(struct opened_table *t, uint64_t from, uint64_t to)
{
	if (to) {
		add_forward(t, from, to);
		renumber(t, from, to);
	}
	atomic_fetch_sub(&t->moving, 1);
	pthread_mutex_unlock(&t->move_lock);
}

/* Copies the vector aside. One that the engine does not know any more keeps the copy it has. */
static int make_copy(struct serve *s, struct opened *o)
{
	struct node node = node_of(atomic_load(&o->ino));
	struct opened_copy *copy;
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

int opened_join(struct serve *s, struct opened *o)
{
	return o->saving > 0 ? make_copy(s, o) : 0;
}

static int save(struct serve *s, struct opened *o)
{
	int rc;

	pthread_mutex_lock(&o->lock);
	rc = make_copy(s, o);
	if (!o->handles)
		rc = 0; /* nobody has a right to the copy */
	if (!rc)
		o->saving++;
	pthread_mutex_unlock(&o->lock);
	return rc;
}

int opened_save(struct serve *s, uint64_t ino, struct opened **out)
{
	struct opened *o = opened_get(s->opened, ino);
	int rc = o ? save(s, o) : -ENOMEM;

	if (rc && o)
		opened_put(s->opened, o);
	*out = rc ? NULL : o;
	return rc;
}

/* Takes over a reference. */
static void bury(struct opened_table *t, struct opened *o)
{
	struct opened *oldest;

	pthread_mutex_lock(&t->grave_lock);
	oldest = t->graves[t->graves_dug % GRAVES];
	t->graves[t->graves_dug++ % GRAVES] = o;
	pthread_mutex_unlock(&t->grave_lock);
	if (oldest)
		opened_put(t, oldest);
}

void opened_saved(struct serve *s, struct opened *o)
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
		opened_put(s->opened, o);
	if (is_gone)
		bury(s->opened, o);
	else
		opened_put(s->opened, o);
}

/* References to all vectors of a collection in one bucket, added to *all. */
static int collect(struct bucket *b, uint32_t collection, struct opened ***all, size_t *count)
{
	int rc = 0;

	pthread_mutex_lock(&b->lock);
	for (struct opened *o = b->first; o && !rc; o = o->next) {
		struct opened **more;

		if (node_of(atomic_load(&o->ino)).collection != collection)
			continue;
		more = realloc(*all, (*count + 1) * sizeof *more);
		if (!more) {
			rc = -ENOMEM;
			break;
		}
		*all = more;
		more[(*count)++] = o;
		o->refs++;
	}
	pthread_mutex_unlock(&b->lock);
	return rc;
}

ssize_t opened_save_all(struct serve *s, uint32_t collection, struct opened ***out)
{
	struct opened **all = NULL;
	size_t count = 0, saved = 0;
	int rc = 0;

	for (unsigned i = 0; i < BUCKETS && !rc; i++)
		rc = collect(&s->opened->buckets[i], collection, &all, &count);
	while (saved < count && !rc) {
		rc = save(s, all[saved]);
		saved += !rc;
	}
	if (!rc) {
		*out = all;
		return (ssize_t)count;
	}
	while (count > saved)
		opened_put(s->opened, all[--count]);
	opened_saved_all(s, all, (ssize_t)saved);
	return rc;
}

void opened_saved_all(struct serve *s, struct opened **all, ssize_t count)
{
	for (ssize_t i = 0; i < count; i++)
		opened_saved(s, all[i]);
	free(all);
}

void opened_staged(struct opened_table *t, struct opened *o, int change)
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

bool opened_is_staged(struct opened_table *t, uint64_t ino)
{
	struct opened *o;
	bool staged;

	if (!atomic_load(&t->staged))
		return false;
	o = opened_find(t, ino);
	if (!o)
		return false;
	staged = atomic_load(&o->staged) > 0;
	opened_put(t, o);
	return staged;
}
