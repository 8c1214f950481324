/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/view_table.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "store/base/checksum.h"

#define SLOTS 4096u /* a power of 2 */
#define VIEWS_FIRST 16u

struct slot {
	uint64_t n; /* its number; 0: free */
	struct view_data data;
};

/* The slots of numbers n that end alike. */
struct ring {
	uint64_t last;
	struct slot slots[SLOTS]; /* n is in slot n % SLOTS, while it is remembered */
	uint64_t by_hash[SLOTS];  /* the last number that was given to data of this hash */
};

struct view {
	uint32_t collection;
	char name[VS_VIEW_NAME_MAX + 1];
	struct view_recall recall; /* model 0: not measured */
};

struct view_table {
	pthread_mutex_t lock;
	struct view *views;
	uint64_t count, capacity;
	/* Vectors have a ring of their own, so that a listing of many does not make arrays forgotten. */
	struct ring rings[2];
};

struct view_table *view_table_new(void)
{
	struct view_table *t = calloc(1, sizeof *t);

	if (t)
		pthread_mutex_init(&t->lock, NULL);
	return t;
}

void view_table_free(struct view_table *t)
{
	if (!t)
		return;
	free(t->views);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* ------------------------------------------------------------------ views */

/* With the lock held: the number of a view, or the count if it has none. */
static uint64_t find(const struct view_table *t, uint32_t collection, const char *name)
{
	uint64_t i = 0;

	while (i < t->count && (t->views[i].collection != collection || strcmp(t->views[i].name, name) != 0))
		i++;
	return i;
}

/* With the lock held. */
static int add(struct view_table *t, uint32_t collection, const char *name)
{
	if (t->count == t->capacity) {
		uint64_t capacity = t->capacity ? t->capacity * 2 : VIEWS_FIRST;
		struct view *grown = realloc(t->views, capacity * sizeof *grown);

		if (!grown)
			return -ENOMEM;
		t->views = grown;
		t->capacity = capacity;
	}
	t->views[t->count] = (struct view){.collection = collection};
	strcpy(t->views[t->count++].name, name);
	return 0;
}

int view_table_number(struct view_table *t, uint32_t collection, const char *name, uint64_t *number)
{
	int rc = 0;

	if (strlen(name) > VS_VIEW_NAME_MAX)
		return -ENOENT;
	pthread_mutex_lock(&t->lock);
	*number = find(t, collection, name);
	if (*number == t->count)
		rc = add(t, collection, name);
	pthread_mutex_unlock(&t->lock);
	return rc;
}

int view_table_name(struct view_table *t, uint64_t number, char name[VS_VIEW_NAME_MAX + 1])
{
	int rc = 0;

	pthread_mutex_lock(&t->lock);
	if (number < t->count)
		strcpy(name, t->views[number].name);
	else
		rc = -ESTALE;
	pthread_mutex_unlock(&t->lock);
	return rc;
}

bool view_table_recall(struct view_table *t, uint64_t number, uint64_t model, struct view_recall *out)
{
	bool is_known;

	pthread_mutex_lock(&t->lock);
	is_known = number < t->count && model && t->views[number].recall.model == model;
	if (is_known)
		*out = t->views[number].recall;
	pthread_mutex_unlock(&t->lock);
	return is_known;
}

void view_table_set_recall(struct view_table *t, uint64_t number, const struct view_recall *recall)
{
	pthread_mutex_lock(&t->lock);
	if (number < t->count)
		t->views[number].recall = *recall;
	pthread_mutex_unlock(&t->lock);
}

/* ------------------------------------------------------------------ data */

static bool is_same(const struct view_data *a, const struct view_data *b)
{
	return a->view == b->view && a->kind == b->kind && a->model == b->model && a->which == b->which &&
	       a->ctime == b->ctime;
}

static uint64_t hash_of(const struct view_data *data)
{
	const uint64_t key[] = {data->view, data->kind, data->model, data->which, data->ctime};

	return XXH3_64bits(key, sizeof key) % SLOTS;
}

/* With the lock held: the number in the ring. */
static uint64_t remember(struct ring *ring, const struct view_data *data)
{
	uint64_t *n = &ring->by_hash[hash_of(data)];
	struct slot *slot = &ring->slots[*n % SLOTS];

	if (!*n || slot->n != *n || !is_same(&slot->data, data)) {
		*n = ++ring->last;
		slot = &ring->slots[*n % SLOTS];
		slot->n = *n;
	}
	slot->data = *data;
	return *n;
}

/* Which ring it is in the lowest bit of a number tells. */
uint64_t view_table_remember(struct view_table *t, const struct view_data *data)
{
	unsigned ring = view_data_is_vector(data);
	uint64_t n;

	pthread_mutex_lock(&t->lock);
	n = remember(&t->rings[ring], data);
	pthread_mutex_unlock(&t->lock);
	return n << 1 | ring;
}

int view_table_data(struct view_table *t, uint64_t number, struct view_data *out)
{
	const struct ring *ring = &t->rings[number & 1];
	uint64_t n = number >> 1;
	const struct slot *slot = &ring->slots[n % SLOTS];
	int rc = 0;

	pthread_mutex_lock(&t->lock);
	if (n && slot->n == n)
		*out = slot->data;
	else
		rc = -ESTALE;
	pthread_mutex_unlock(&t->lock);
	return rc;
}
