/* SPDX-License-Identifier: Apache-2.0 */
#include "store/io/crew.h"

#include <pthread.h>
#include <stdatomic.h>

#define CREW_MAX 16u

struct crew {
	size_t count;
	int (*fn)(void *arg, size_t i);
	void *arg;
	_Atomic size_t next;
	_Atomic int rc;
};

static void *work(void *arg)
{
	struct crew *c = arg;
	size_t i;

	while (!c->rc && (i = c->next++) < c->count) {
		int rc = c->fn(c->arg, i);

		if (rc < 0)
			c->rc = rc;
	}
	return NULL;
}

int crew_run(struct io *io, size_t count, int (*fn)(void *arg, size_t i), void *arg)
{
	struct crew c = {.count = count, .fn = fn, .arg = arg};
	size_t width = io->width < count ? io->width : count;
	pthread_t threads[CREW_MAX];
	unsigned started = 0;

	/* Without as many threads it takes longer, and that is all. */
	while (started + 1 < width && started < CREW_MAX &&
	       !pthread_create(&threads[started], NULL, work, &c))
		started++;
	work(&c);
	while (started)
		pthread_join(threads[--started], NULL);
	return c.rc;
}
