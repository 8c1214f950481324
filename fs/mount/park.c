/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/mount/park.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define THREADS_MAX 16u

struct parked {
	struct parked *next;
	void (*answer)(void *arg);
	void *arg;
};

struct park {
	pthread_mutex_t lock; /* of all that follows */
	pthread_cond_t comes;
	struct parked *first, **last;
	unsigned threads_max, threads, idle;
	int less_urgent;
	bool quit;
	pthread_t thread[THREADS_MAX];
};

unsigned park_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof set, &set) ? 1 : (unsigned)CPU_COUNT(&set);
}

struct park *park_new(unsigned threads_max, int less_urgent)
{
	struct park *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->comes, NULL);
	p->last = &p->first;
	p->threads_max = threads_max < THREADS_MAX ? threads_max : THREADS_MAX;
	p->less_urgent = less_urgent;
	return p;
}

void park_free(struct park *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->quit = true;
	pthread_cond_broadcast(&p->comes);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->threads; i++)
		pthread_join(p->thread[i], NULL);
	pthread_cond_destroy(&p->comes);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* The next one, or NULL when there is none and will be none. With the lock. */
static struct parked *take(struct park *p)
{
	struct parked *parked;

	p->idle++;
	while (!p->first && !p->quit)
		pthread_cond_wait(&p->comes, &p->lock);
	p->idle--;
	parked = p->first;
	if (parked)
		p->first = parked->next;
	if (!p->first)
		p->last = &p->first;
	return parked;
}

static void *answer_always(void *arg)
{
	struct park *p = arg;
	struct parked *parked;

	if (p->less_urgent)
		setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid),
			    getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid)) + p->less_urgent);
	pthread_mutex_lock(&p->lock);
	while ((parked = take(p)) != NULL) {
		pthread_mutex_unlock(&p->lock);
		parked->answer(parked->arg);
		free(parked);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

bool park_request(struct park *p, void (*answer)(void *arg), void *arg)
{
	struct parked *parked = malloc(sizeof *parked);
	bool has_thread;

	if (!parked)
		return false;
	*parked = (struct parked){.answer = answer, .arg = arg};
	pthread_mutex_lock(&p->lock);
	if (!p->idle && p->threads < p->threads_max &&
	    !pthread_create(&p->thread[p->threads], NULL, answer_always, p))
		p->threads++;
	has_thread = p->threads > 0;
	if (has_thread) {
		*p->last = parked;
		p->last = &parked->next;
		pthread_cond_signal(&p->comes);
	}
	pthread_mutex_unlock(&p->lock);
	if (!has_thread)
		free(parked);
	return has_thread;
}
