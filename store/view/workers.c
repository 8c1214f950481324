/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/workers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

struct work {
	_Atomic size_t next;
	_Atomic unsigned workers; /* that have begun */
	size_t parts;
	parallel_fn *fn;
	void *arg;
};

unsigned workers_count(void)
{
	static _Atomic unsigned count; /* the same for ever: memory is laid out by it */

	if (!count) {
		long n = sysconf(_SC_NPROCESSORS_ONLN);

		count = n < 1 ? 1 : n > WORKERS_MAX ? WORKERS_MAX : (unsigned)n;
	}
	return count;
}

static void *work_on(void *arg)
{
	struct work *w = arg;
	unsigned worker = w->workers++;
	size_t part;

	while ((part = w->next++) < w->parts)
		w->fn(w->arg, part, worker);
	return NULL;
}

void workers_run(void *pool, size_t parts, parallel_fn *fn, void *arg)
{
	struct work w = {.parts = parts, .fn = fn, .arg = arg};
	unsigned wanted = workers_count() - 1, others = 0;
	pthread_t threads[WORKERS_MAX];

	(void)pool;
	if (wanted > parts - 1)
		wanted = (unsigned)(parts - 1);
	while (others < wanted && pthread_create(&threads[others], NULL, work_on, &w) == 0)
		others++;
	work_on(&w);
	while (others)
		pthread_join(threads[--others], NULL);
}
