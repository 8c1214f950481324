/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/temporary.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"

struct temporary {
	struct temporary *next;
	uint32_t batch;
	unsigned number;
	char name[VS_NAME_MAX + 1];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct temporary *all; /* the few there are */

static struct temporary **find(uint32_t batch, const char *name)
{
	struct temporary **link = &all;

	while (*link && ((*link)->batch != batch || strcmp((*link)->name, name) != 0))
		link = &(*link)->next;
	return link;
}

int temporary_find(uint32_t batch, const char *name)
{
	const struct temporary *t;
	int number;

	pthread_mutex_lock(&lock);
	t = *find(batch, name);
	number = t ? (int)t->number : -ENOENT;
	pthread_mutex_unlock(&lock);
	return number;
}

static int free_number(uint32_t batch)
{
	unsigned used = 0;

	for (const struct temporary *t = all; t; t = t->next)
		used |= t->batch == batch ? 1u << t->number : 0;
	for (unsigned n = 0; n < TEMPORARY_COUNT; n++)
		if (!(used & 1u << n))
			return (int)n;
	return -ENOSPC;
}

int temporary_add(uint32_t batch, const char *name)
{
	struct temporary *t = calloc(1, sizeof *t);
	int number;

	if (!t)
		return -ENOMEM;
	strncpy(t->name, name, VS_NAME_MAX);
	t->batch = batch;
	pthread_mutex_lock(&lock);
	number = free_number(batch);
	if (number >= 0) {
		t->number = (unsigned)number;
		t->next = all;
		all = t;
		t = NULL;
	}
	pthread_mutex_unlock(&lock);
	free(t);
	return number;
}

bool temporary_name(uint32_t batch, unsigned number, char *name)
{
	const struct temporary *t;

	pthread_mutex_lock(&lock);
	for (t = all; t && (t->batch != batch || t->number != number); t = t->next)
		;
	if (t)
		strcpy(name, t->name);
	pthread_mutex_unlock(&lock);
	return t;
}

void temporary_remove(uint32_t batch, const char *name)
{
	struct temporary **link, *t;

	pthread_mutex_lock(&lock);
	link = find(batch, name);
	t = *link;
	if (t)
		*link = t->next;
	pthread_mutex_unlock(&lock);
	free(t);
}

void temporary_rename(uint32_t batch, const char *name, const char *new_name)
{
	struct temporary *t;

	temporary_remove(batch, new_name);
	pthread_mutex_lock(&lock);
	t = *find(batch, name);
	if (t)
		strncpy(t->name, new_name, VS_NAME_MAX);
	pthread_mutex_unlock(&lock);
}

void temporary_forget(uint32_t batch)
{
	struct temporary **link = &all, *t;

	pthread_mutex_lock(&lock);
	while ((t = *link)) {
		if (t->batch == batch) {
			*link = t->next;
			free(t);
		} else {
			link = &t->next;
		}
	}
	pthread_mutex_unlock(&lock);
}
