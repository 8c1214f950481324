/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipeline - items that are worked on beside each other and come out in the order in which they went in: a
 * ring of slots, of which the caller fills the next and empties the oldest, while a thread each works on
 * those between.
 *
 * One thread at a time calls these functions. What has been put must be taken before the pipeline goes.
 */
#ifndef VECFS_FS_CLI_PIPELINE_H
#define VECFS_FS_CLI_PIPELINE_H

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

#define PIPELINE_SLOTS_MAX 8u
#define PIPELINE_SLOTS_MORE 2u /* than processors: one to fill, one to empty */

struct pipeline {
	unsigned slots, oldest, busy;
	pthread_t threads[PIPELINE_SLOTS_MAX];
	bool has_thread[PIPELINE_SLOTS_MAX];
};

static inline void pipeline_start(struct pipeline *p)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned slots = (cpus < 1 ? 1 : (unsigned)cpus) + PIPELINE_SLOTS_MORE;

	*p = (struct pipeline){.slots = slots < PIPELINE_SLOTS_MAX ? slots : PIPELINE_SLOTS_MAX};
}

static inline bool pipeline_is_full(const struct pipeline *p)
{
	return p->busy == p->slots;
}

/* The slot to be filled next. */
static inline unsigned pipeline_next(const struct pipeline *p)
{
	assert(p->busy < p->slots);
	return (p->oldest + p->busy) % p->slots;
}

/* It has been filled: work(item) begins. */
static inline void pipeline_put(struct pipeline *p, void *(*work)(void *item), void *item)
{
	unsigned slot = pipeline_next(p);

	p->has_thread[slot] = pthread_create(&p->threads[slot], NULL, work, item) == 0;
	if (!p->has_thread[slot])
		work(item);
	p->busy++;
}

/* Waits until the oldest is done: its slot, which is free then. */
static inline unsigned pipeline_take(struct pipeline *p)
{
	unsigned slot = p->oldest;

	assert(p->busy > 0);
	if (p->has_thread[slot])
		pthread_join(p->threads[slot], NULL);
	p->oldest = (slot + 1) % p->slots;
	p->busy--;
	return slot;
}

#endif
