/* SPDX-License-Identifier: Apache-2.0 */
#include "store/replay/nudge.h"

#include <pthread.h>
#include <stdlib.h>

#include "store/base/clock.h"
#include "store/engine.h"

#define PAUSE_MS 50 /* at first; then twice as long each time: who is waited for still is just slow */

struct nudge {
	struct vs_store *s;
	pthread_t thread;
	pthread_mutex_t mutex; /* of: */
	pthread_cond_t ending;
	bool ends;
};

static void *run(void *arg)
{
	struct nudge *n = arg;
	int64_t pause_ms = PAUSE_MS, until_ms;

	pthread_mutex_lock(&n->mutex);
	while (!n->ends) {
		pthread_mutex_unlock(&n->mutex);
		engine_publish_lock(n->s);
		until_ms = clock_ms() + pause_ms;
		pause_ms *= 2;
		pthread_mutex_lock(&n->mutex);
		if (!n->ends)
			clock_wait(&n->ending, &n->mutex, until_ms);
	}
	pthread_mutex_unlock(&n->mutex);
	return NULL;
}

struct nudge *nudge_begin(struct vs_store *s)
{
	bool wanted = s->io->width > 1 && !s->read_only && s->lock_fd >= 0;
	struct nudge *n = wanted ? calloc(1, sizeof *n) : NULL;

	if (!n)
		return NULL;
	n->s = s;
	pthread_mutex_init(&n->mutex, NULL);
	pthread_cond_init(&n->ending, NULL);
	if (!pthread_create(&n->thread, NULL, run, n))
		return n;
	pthread_cond_destroy(&n->ending);
	pthread_mutex_destroy(&n->mutex);
	free(n);
	return NULL;
}

void nudge_end(struct nudge *n)
{
	if (!n)
		return;
	pthread_mutex_lock(&n->mutex);
	n->ends = true;
	pthread_cond_signal(&n->ending);
	pthread_mutex_unlock(&n->mutex);
}

void nudge_free(struct nudge *n)
{
	if (!n)
		return;
	nudge_end(n);
	pthread_join(n->thread, NULL);
	pthread_cond_destroy(&n->ending);
	pthread_mutex_destroy(&n->mutex);
	free(n);
}
