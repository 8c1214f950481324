/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/pipeline.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#define SLOTS_MORE 2u /* than processors: one to fill, one to use */

struct pipeline {
	const struct pipeline_ops *ops;
	void *arg;
	unsigned slots;
	pthread_mutex_t lock;
	pthread_cond_t has_work, has_done, has_room;
	uint64_t filled, taken, used;  /* items so far; each is in slot number % slots */
	bool done[PIPELINE_SLOTS_MAX]; /* of what has been filled */
	bool ended;                    /* nothing more is filled */
	int error;                     /* of using */
	pthread_t threads[PIPELINE_SLOTS_MAX + 1];
	unsigned thread_count;
};

static unsigned processors(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus < 1 ? 1 : cpus > INT16_MAX ? INT16_MAX : (unsigned)cpus;
}

unsigned pipeline_slots(void)
{
	unsigned slots = processors() + SLOTS_MORE;

	return slots < PIPELINE_SLOTS_MAX ? slots : PIPELINE_SLOTS_MAX;
}

static void *run_work(void *arg)
{
	struct pipeline *p = arg;

	pthread_mutex_lock(&p->lock);
	while (p->taken < p->filled || !p->ended) {
		unsigned slot;

		if (p->taken == p->filled) {
			pthread_cond_wait(&p->has_work, &p->lock);
			continue;
		}
		slot = (unsigned)(p->taken++ % p->slots);
		pthread_mutex_unlock(&p->lock);
		p->ops->work(p->arg, slot);
		pthread_mutex_lock(&p->lock);
		p->done[slot] = true;
		pthread_cond_signal(&p->has_done);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static void *run_use(void *arg)
{
	struct pipeline *p = arg;

	pthread_mutex_lock(&p->lock);
	while (p->used < p->filled || !p->ended) {
		unsigned slot = (unsigned)(p->used % p->slots);
		int rc = p->error;

		if (p->used == p->filled || !p->done[slot]) {
			pthread_cond_wait(&p->has_done, &p->lock);
			continue;
		}
		pthread_mutex_unlock(&p->lock);
		if (!rc)
			rc = p->ops->use(p->arg, slot);
		pthread_mutex_lock(&p->lock);
		p->error = rc;
		p->used++;
		pthread_cond_signal(&p->has_room);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Waits for a slot that is free; false: using has failed. */
static bool wait_for_room(struct pipeline *p)
{
	bool goes_on;

	pthread_mutex_lock(&p->lock);
	while (p->filled - p->used == p->slots && !p->error)
		pthread_cond_wait(&p->has_room, &p->lock);
	goes_on = !p->error;
	pthread_mutex_unlock(&p->lock);
	return goes_on;
}

static int fill_all(struct pipeline *p)
{
	int rc = 0;

	while (wait_for_room(p)) {
		unsigned slot = (unsigned)(p->filled % p->slots);

		rc = p->ops->fill(p->arg, slot);
		if (rc <= 0)
			break;
		pthread_mutex_lock(&p->lock);
		p->done[slot] = false;
		p->filled++;
		pthread_cond_signal(&p->has_work);
		pthread_mutex_unlock(&p->lock);
	}
	return rc > 0 ? 0 : rc;
}

/* The user first, then as many workers as there are processors. */
static void start(struct pipeline *p)
{
	unsigned workers = processors() < p->slots ? processors() : p->slots;

	while (p->thread_count < 1 + workers && pthread_create(&p->threads[p->thread_count], NULL,
							       p->thread_count ? run_work : run_use, p) == 0)
		p->thread_count++;
}

static void end(struct pipeline *p)
{
	pthread_mutex_lock(&p->lock);
	p->ended = true;
	pthread_cond_broadcast(&p->has_work);
	pthread_cond_broadcast(&p->has_done);
	pthread_mutex_unlock(&p->lock);
	while (p->thread_count > 0)
		pthread_join(p->threads[--p->thread_count], NULL);
}

static int run_alone(const struct pipeline_ops *ops, void *arg)
{
	int rc;

	while ((rc = ops->fill(arg, 0)) > 0) {
		ops->work(arg, 0);
		rc = ops->use(arg, 0);
		if (rc)
			break;
	}
	return rc;
}

int pipeline_run(const struct pipeline_ops *ops, void *arg)
{
	struct pipeline p = {.ops = ops,
			     .arg = arg,
			     .slots = pipeline_slots(),
			     .lock = PTHREAD_MUTEX_INITIALIZER,
			     .has_work = PTHREAD_COND_INITIALIZER,
			     .has_done = PTHREAD_COND_INITIALIZER,
			     .has_room = PTHREAD_COND_INITIALIZER};
	bool has_threads;
	int rc = 0;

	start(&p);
	has_threads = p.thread_count > 1;
	if (has_threads)
		rc = fill_all(&p);
	end(&p);
	if (!has_threads)
		return run_alone(ops, arg);
	return p.error ? p.error : rc;
}
