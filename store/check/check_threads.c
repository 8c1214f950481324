/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_threads - a collection's segments are shared out among threads, and still what is found is said in
 * the segments' order, as if one thread had looked at one after the other.
 *
 * Segments are given out in their order. The one before which all are done has its *turn*: what is found in
 * it is said at once. Of a later one it is kept until then; when that becomes much, or the segment is done,
 * its thread waits. So somebody always works on the segment whose turn it is, and what is kept is bounded. An
 * error ends all when the turn of its segment comes, so it does not depend on the threads either.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/check/check.h"

#define THREADS_MAX 16
#define THREADS_A_CPU 2 /* one waits for the disk while the other computes */
#define SAID_BYTES_MAX (64u << 10)

struct shared {
	struct check_collection *cc;
	check_segment_fn fn;
	void *arg;
	pthread_mutex_t mutex; /* of all that follows; held over nothing but the caller's report */
	pthread_cond_t turned;
	uint32_t next;  /* the first segment that nobody has */
	uint32_t turn;  /* the first one that is not done */
	bool *is_done;  /* those behind it */
	int rc;         /* of the segment that has ended all */
	bool is_ending; /* nothing more is begun */
};

/* A thread's own, with a check that says what is found to us. */
struct thread {
	struct shared *sh;
	pthread_t id;
	bool is_started;
	struct check k;
	struct check_collection cc;
	uint32_t segment;
	char *said; /* lines of the segment that its turn has yet to see, each with its zero */
	size_t used, room;
};

/* ------------------------------------------------------------------ lines, under the mutex */

static void tell_kept(struct thread *t)
{
	const struct check *k = t->sh->cc->k;

	for (size_t i = 0; i < t->used; i += strlen(t->said + i) + 1)
		k->report(k->arg, t->said + i);
	t->used = 0;
}

/* False: an earlier segment has ended all. */
static bool wait_turn(struct thread *t)
{
	struct shared *sh = t->sh;

	while (sh->turn != t->segment && !sh->rc)
		pthread_cond_wait(&sh->turned, &sh->mutex);
	return !sh->rc;
}

static bool keep(struct thread *t, const char *line)
{
	size_t bytes = strlen(line) + 1;

	if (t->used + bytes > t->room) {
		size_t room = t->room ? 2 * t->room : 4096;
		char *p = room > SAID_BYTES_MAX ? NULL : realloc(t->said, room);

		if (!p)
			return false;
		t->said = p;
		t->room = room;
	}
	memcpy(t->said + t->used, line, bytes);
	t->used += bytes;
	return true;
}

static void say(void *arg, const char *line)
{
	struct thread *t = arg;
	struct shared *sh = t->sh;

	pthread_mutex_lock(&sh->mutex);
	if ((sh->turn == t->segment || !keep(t, line)) && wait_turn(t)) {
		tell_kept(t);
		sh->cc->k->report(sh->cc->k->arg, line);
	}
	pthread_mutex_unlock(&sh->mutex);
}

/* ------------------------------------------------------------------ segments */

static bool take_segment(struct thread *t)
{
	struct shared *sh = t->sh;
	bool taken;

	pthread_mutex_lock(&sh->mutex);
	taken = !sh->is_ending && sh->next < sh->cc->c->segment_count;
	if (taken)
		t->segment = sh->next++;
	pthread_mutex_unlock(&sh->mutex);
	return taken;
}

/* The segment is done: what was found in it counts. */
static void finish_segment(struct thread *t, int rc)
{
	struct shared *sh = t->sh;

	pthread_mutex_lock(&sh->mutex);
	sh->is_ending |= rc != 0;
	if ((t->used || rc) && wait_turn(t)) {
		tell_kept(t);
		sh->rc = rc;
	}
	sh->cc->k->found += t->k.found;
	sh->cc->k->stopped |= t->k.stopped && rc && sh->rc == rc;
	t->k.found = 0;
	sh->is_done[t->segment] = true;
	while (sh->turn < sh->cc->c->segment_count && sh->is_done[sh->turn])
		sh->turn++;
	pthread_cond_broadcast(&sh->turned);
	pthread_mutex_unlock(&sh->mutex);
}

static void *work(void *arg)
{
	struct thread *t = arg;

	while (take_segment(t))
		finish_segment(t, t->sh->fn(&t->cc, t->segment, t->sh->arg));
	free(t->said);
	return NULL;
}

static void thread_init(struct thread *t, struct shared *sh)
{
	t->sh = sh;
	t->k = *sh->cc->k;
	t->k.found = 0;
	if (t->k.report) {
		t->k.report = say;
		t->k.arg = t;
	}
	t->cc = *sh->cc;
	t->cc.k = &t->k;
}

static unsigned thread_count(const struct check_collection *cc)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned count = cpus > THREADS_MAX / THREADS_A_CPU ? THREADS_MAX
			 : cpus > 0                         ? (unsigned)cpus * THREADS_A_CPU
							    : 1;

	/* A repair writes, and does it in one order. */
	return cc->k->mend ? 1 : count > cc->c->segment_count ? cc->c->segment_count : count;
}

static int run(struct shared *sh, unsigned count)
{
	struct thread threads[THREADS_MAX] = {0};

	for (unsigned i = 0; i < count; i++)
		thread_init(&threads[i], sh);
	/* Without one of them the others have more to do. */
	for (unsigned i = 1; i < count; i++)
		threads[i].is_started = !pthread_create(&threads[i].id, NULL, work, &threads[i]);
	work(&threads[0]);
	for (unsigned i = 1; i < count; i++)
		if (threads[i].is_started)
			pthread_join(threads[i].id, NULL);
	return sh->rc;
}

int check_each_segment(struct check_collection *cc, check_segment_fn fn, void *arg)
{
	struct shared sh = {.cc = cc, .fn = fn, .arg = arg};
	unsigned count = thread_count(cc);
	int rc = 0;

	if (count < 2) {
		for (uint32_t i = 0; i < cc->c->segment_count && !rc; i++)
			rc = fn(cc, i, arg);
		return rc;
	}
	sh.is_done = calloc(cc->c->segment_count, sizeof *sh.is_done);
	if (!sh.is_done)
		return -ENOMEM;
	pthread_mutex_init(&sh.mutex, NULL);
	pthread_cond_init(&sh.turned, NULL);
	rc = run(&sh, count);
	pthread_cond_destroy(&sh.turned);
	pthread_mutex_destroy(&sh.mutex);
	free(sh.is_done);
	return rc;
}
