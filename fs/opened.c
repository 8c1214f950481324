/* SPDX-License-Identifier: Apache-2.0 */
#include "opened.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/node.h"

#define BUCKETS 1024
#define FORWARDS 8192 /* the kernel's cached names of moved vectors are invalidated long before this many moves */
#define FORWARD_STEPS_MAX 8

struct bucket {
	pthread_mutex_t lock;
	struct opened *first;
};

struct forward {
	uint64_t from, to;
};

struct opened_table {
	struct bucket buckets[BUCKETS];
	atomic_uint staged; /* the sum over all vectors: mostly 0, which saves looking for each */

	pthread_mutex_t forward_lock;
	atomic_bool forward_any;
	struct forward forwards[FORWARDS]; /* direct-mapped: a newer one takes the place of an older */
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

uint64_t opened_locate(struct opened_table *t, uint64_t ino)
{
	if (!atomic_load_explicit(&t->forward_any, memory_order_acquire))
		return ino;
	pthread_mutex_lock(&t->forward_lock);
	for (int step = 0; step < FORWARD_STEPS_MAX; step++) {
		const struct forward *f = &t->forwards[hash(ino) % FORWARDS];

		if (f->from != ino)
			break;
		ino = f->to;
	}
	pthread_mutex_unlock(&t->forward_lock);
	return ino;
}

static void add_forward(struct opened_table *t, uint64_t from, uint64_t to)
{
	pthread_mutex_lock(&t->forward_lock);
	t->forwards[hash(from) % FORWARDS] = (struct forward){from, to};
	atomic_store_explicit(&t->forward_any, true, memory_order_release);
	pthread_mutex_unlock(&t->forward_lock);
}

void opened_move(struct opened_table *t, uint64_t from, uint64_t to)
{
	struct bucket *a = bucket_of(t, from), *b = bucket_of(t, to);
	struct bucket *low = a < b ? a : b, *high = a < b ? b : a;
	struct opened *o;

	add_forward(t, from, to);
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
	rc = o->handles ? make_copy(s, o) : 0;
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

void opened_saved(struct serve *s, struct opened *o)
{
	struct node node = node_of(atomic_load(&o->ino));
	struct vs_attr attr;
	bool was_truncated;

	pthread_mutex_lock(&o->lock);
	assert(o->saving > 0);
	o->saving--;
	was_truncated = o->replace_next &&
	                vs_attr_get(s->store, node.collection, node.entry, &attr) == -ENOENT;
	if (was_truncated)
		o->replace_next = false;
	pthread_mutex_unlock(&o->lock);
	if (was_truncated)
		opened_put(s->opened, o);
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
