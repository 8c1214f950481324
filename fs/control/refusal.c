/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/refusal.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More are not told apart: of such a batch one will rather start over. */
#define REFUSALS_MAX 1000
#define SCRATCH VS_BATCH_TEMPORARY_LAST
#define PROVISIONAL UINT64_MAX /* in place of an entry */
#define FIELDS 4               /* of one in the file, each ended by a NUL */

struct refusal {
	struct refusal *next; /* later ones */
	char *key, *why;
	uint64_t number; /* of this process */
	/* Of a vector: which entry had this id when it was refused (0: none), and its mtime. */
	uint64_t entry;
	vs_time mtime;
};

/* Of one batch. */
struct refusals {
	struct refusals *next;
	uint32_t batch;
	struct refusal *first;
	unsigned count;
};

/*
 * Batches with refusals that this process knows of. Held while a batch's few lines are written to its file,
 * too: so that what is written last is what is true. Nobody needs it but who has just been refused, looks
 * into a batch's control directory, or commits.
 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct refusals *all;
static uint64_t number; /* of the last refusal */
static atomic_bool any; /* there has been one */

static void refusal_free(struct refusal *r)
{
	free(r->key);
	free(r->why);
	free(r);
}

static void refusals_free(struct refusals *b)
{
	while (b->first) {
		struct refusal *r = b->first;

		b->first = r->next;
		refusal_free(r);
	}
	free(b);
}

static int append(struct refusals *b, const char *key, const char *why, uint64_t entry, vs_time mtime)
{
	struct refusal *r = calloc(1, sizeof *r), **link = &b->first;

	if (!r)
		return -ENOMEM;
	*r = (struct refusal){
		.key = strdup(key), .why = strdup(why), .entry = entry, .mtime = mtime, .number = ++number};
	atomic_store(&any, true);
	if (!r->key || !r->why) {
		refusal_free(r);
		return -ENOMEM;
	}
	while (*link)
		link = &(*link)->next;
	*link = r;
	b->count++;
	return 0;
}

/* ------------------------------------------------------------------ the file */

static void parse(struct refusals *b, const char *text, size_t size)
{
	const char *end = text + size, *field[FIELDS];

	while (text < end) {
		for (int i = 0; i < FIELDS; i++) {
			field[i] = text;
			text = text < end ? memchr(text, '\0', (size_t)(end - text)) : NULL;
			if (!text)
				return;
			text++;
		}
		append(b, field[0], field[1], strtoull(field[2], NULL, 10), strtoull(field[3], NULL, 10));
	}
}

/* What an earlier daemon has left, if anything. */
static struct refusals *load(struct mount *s, uint32_t batch)
{
	struct refusals *b;
	uint64_t size;
	char *text;

	if (vs_batch_text_size(s->store, batch, VS_BATCH_REFUSED, &size) || !size)
		return NULL;
	b = calloc(1, sizeof *b);
	text = malloc(size);
	if (b && text &&
	    vs_batch_text_read(s->store, batch, VS_BATCH_REFUSED, text, size, 0) == (ssize_t)size)
		parse(b, text, size);
	free(text);
	if (b && !b->first) { /* not to be read: something was refused, and nobody knows what */
		append(b, REFUSAL_CONTROL "refused", "a file was refused, and the reason cannot be read", 0,
		       0);
	}
	if (b)
		b->batch = batch;
	return b;
}

/* As far as the disk lets: where it is full, the refusals last as long as the daemon. */
static void store(struct mount *s, const struct refusals *b)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return;
	for (const struct refusal *r = b->first; r; r = r->next)
		fprintf(out, "%s%c%s%c%" PRIu64 "%c%" PRId64 "%c", r->key, 0, r->why, 0, r->entry, 0,
			r->mtime, 0);
	if (!fclose(out)) {
		if (!size)
			vs_batch_text_remove(s->store, b->batch, VS_BATCH_REFUSED);
		else if (!vs_batch_text_truncate(s->store, b->batch, SCRATCH, 0) &&
			 !vs_batch_text_write(s->store, b->batch, SCRATCH, text, size, 0))
			vs_batch_text_rename(s->store, b->batch, SCRATCH, VS_BATCH_REFUSED);
	}
	free(text);
}

/* ------------------------------------------------------------------ the table; with the lock held */

static struct refusals *find(struct mount *s, uint32_t batch)
{
	struct refusals *b = all;

	while (b && b->batch != batch)
		b = b->next;
	if (b)
		return b;
	b = load(s, batch);
	if (b) {
		b->next = all;
		all = b;
	}
	return b;
}

static struct refusals *find_or_make(struct mount *s, uint32_t batch)
{
	struct refusals *b = find(s, batch);

	if (b)
		return b;
	b = calloc(1, sizeof *b);
	if (b) {
		b->batch = batch;
		b->next = all;
		all = b;
	}
	return b;
}

static struct refusal **find_key(struct refusals *b, const char *key)
{
	struct refusal **link = &b->first;

	while (*link && strcmp((*link)->key, key) != 0)
		link = &(*link)->next;
	return link;
}

static bool is_vector(const char *key)
{
	return strncmp(key, REFUSAL_CONTROL, strlen(REFUSAL_CONTROL)) != 0;
}

/* Vectors are published and removed elsewhere, and a refusal shows by itself that it is over. */
static bool is_over(struct mount *s, uint32_t batch, const struct refusal *r)
{
	struct vs_attr attr;

	if (!is_vector(r->key))
		return false;
	if (vs_lookup(s->store, batch, r->key, &attr))
		return r->entry != 0;
	return attr.entry != r->entry || attr.mtime != r->mtime;
}

static void take(struct refusals *b, struct refusal **link)
{
	struct refusal *r = *link;

	*link = r->next;
	b->count--;
	refusal_free(r);
}

static bool is_provisional(const struct refusal *r)
{
	return r->entry == PROVISIONAL;
}

/* Adds the refusal of a file that has none. */
static void add(struct mount *s, struct refusals *b, const char *key, const char *why)
{
	struct vs_attr attr = {0};
	int rc;

	if (is_vector(key))
		vs_lookup(s->store, b->batch, key, &attr); /* stays 0 if there is none */
	if (b->count < REFUSALS_MAX)
		rc = append(b, key, why, attr.entry, attr.mtime);
	else
		rc = append(b, REFUSAL_CONTROL "refused", "too many files were refused", 0, 0);
	if (!rc)
		store(s, b);
}

/* ------------------------------------------------------------------ for everybody */

void refusal_add(struct mount *s, uint32_t batch, const char *key, const char *why)
{
	struct refusals *b;
	struct refusal **link;

	pthread_mutex_lock(&lock);
	b = find_or_make(s, batch);
	if (b && b->count <= REFUSALS_MAX) {
		link = find_key(b, key);
		if (*link && (is_provisional(*link) || is_over(s, batch, *link)))
			take(b, link);
		else if (*link)
			b = NULL;
		if (b)
			add(s, b, key, why);
	}
	pthread_mutex_unlock(&lock);
}

void refusal_begin(struct mount *s, uint32_t batch, const char *key, const char *why)
{
	struct refusals *b;

	pthread_mutex_lock(&lock);
	b = find_or_make(s, batch);
	if (b && !*find_key(b, key) && !append(b, key, why, PROVISIONAL, 0))
		store(s, b);
	pthread_mutex_unlock(&lock);
}

void refusal_remove(struct mount *s, uint32_t batch, const char *key)
{
	struct refusals *b;
	struct refusal **link;

	pthread_mutex_lock(&lock);
	b = find(s, batch);
	link = b ? find_key(b, key) : NULL;
	if (link && *link) {
		take(b, link);
		store(s, b);
	}
	pthread_mutex_unlock(&lock);
}

bool refusal_has(struct mount *s, uint32_t batch, const char *key)
{
	struct refusals *b;
	struct refusal *r;
	bool has;

	pthread_mutex_lock(&lock);
	b = find(s, batch);
	r = b ? *find_key(b, key) : NULL;
	has = r && !is_over(s, batch, r);
	pthread_mutex_unlock(&lock);
	return has;
}

bool refusal_first(struct mount *s, uint32_t batch, char why[REFUSAL_WHY_BYTES])
{
	struct refusals *b;
	bool found;

	pthread_mutex_lock(&lock);
	b = find(s, batch);
	while (b && b->first && is_over(s, batch, b->first))
		take(b, &b->first);
	found = b && b->first;
	if (found)
		snprintf(why, REFUSAL_WHY_BYTES, "%s", b->first->why);
	pthread_mutex_unlock(&lock);
	return found;
}

void refusal_load(struct mount *s, uint32_t batch)
{
	pthread_mutex_lock(&lock);
	find(s, batch);
	pthread_mutex_unlock(&lock);
}

bool refusal_vector(struct mount *s, uint32_t batch, const char *id, uint64_t *number_out)
{
	struct refusals *b;
	struct refusal *r;
	struct vs_attr attr;
	bool has;

	if (!atomic_load(&any))
		return false;
	pthread_mutex_lock(&lock);
	for (b = all; b && b->batch != batch; b = b->next)
		;
	r = b ? *find_key(b, id) : NULL;
	has = r && vs_lookup(s->store, batch, id, &attr) && !is_over(s, batch, r);
	if (has)
		*number_out = r->number;
	pthread_mutex_unlock(&lock);
	return has;
}

bool refusal_vector_name(uint32_t batch, uint64_t number_in, char id[VS_NAME_MAX + 1])
{
	const struct refusal *r = NULL;

	pthread_mutex_lock(&lock);
	for (const struct refusals *b = all; b && !r; b = b->next)
		for (r = b->batch == batch ? b->first : NULL; r && r->number != number_in; r = r->next)
			;
	if (r)
		snprintf(id, VS_NAME_MAX + 1, "%s", r->key);
	pthread_mutex_unlock(&lock);
	return r;
}

void refusal_forget(uint32_t batch)
{
	struct refusals **link = &all, *b;

	pthread_mutex_lock(&lock);
	while (*link && (*link)->batch != batch)
		link = &(*link)->next;
	b = *link;
	if (b) {
		*link = b->next;
		refusals_free(b);
	}
	pthread_mutex_unlock(&lock);
}
