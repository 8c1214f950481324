/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/workers.h"

#include <pthread.h>
#include <stdatomic.h>

struct work {
	_Atomic size_t next;
	size_t parts;
	parallel_fn *fn;
	void *arg;
};

static void work_on(struct work *w, unsigned worker)
{
	size_t part;

	while ((part = w->next++) < w->parts)
		w->fn(w->arg, part, worker);
}

static void *second(void *arg)
{
	work_on(arg, 1);
	return NULL;
}

void workers_run(void *pool, size_t parts, parallel_fn *fn, void *arg)
{
	struct work w = {.parts = parts, .fn = fn, .arg = arg};
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, second, &w);

	(void)pool;
	work_on(&w, 0);
	if (!rc)
		pthread_join(thread, NULL);
}
