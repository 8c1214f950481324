/* SPDX-License-Identifier: Apache-2.0 */
#include "store/replay/applier.h"

#include <errno.h>

#include "store/base/clock.h"
#include "store/engine.h"
#include "store/replay/apply.h"
#include "store/replay/checkpoint.h"
#include "store/replay/reclaim.h"

/* ------------------------------------------------------------------ requests for headers */

struct header_request {
	uint32_t collection, n;
	int result;
	bool served;
	struct header_request *next;
};

static int serve(struct vs_store *s, const struct header_request *r)
{
	struct collection *c;
	struct segment *seg;
	int rc;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, r->collection);
	seg = c && r->n < c->segment_count && c->segments[r->n]->count ? c->segments[r->n] : NULL;
	rc = !seg ? -ENOENT : c->damaged || !segment_has_files(seg) ? -EIO : 0;
	if (!rc)
		segment_get(seg);
	pthread_rwlock_unlock(&s->lock);
	if (rc)
		return rc;
	rc = segment_write_header(seg, &c->schema, seg->applied);
	segment_put(s->io, seg);
	return rc;
}

/* Serves all requests, or refuses them if the applier ends. */
static void serve_all(struct vs_store *s, bool gone)
{
	struct commit *c = &s->commit;
	struct header_request *r;

	pthread_mutex_lock(&c->mutex);
	c->applier_gone = gone;
	while ((r = c->requests)) {
		c->requests = r->next;
		pthread_mutex_unlock(&c->mutex);
		r->result = gone ? -EIO : serve(s, r);
		pthread_mutex_lock(&c->mutex);
		r->served = true;
		pthread_cond_broadcast(&c->room);
	}
	pthread_mutex_unlock(&c->mutex);
}

int applier_header(struct vs_store *s, uint32_t collection, uint32_t n)
{
	struct header_request r = {.collection = collection, .n = n};
	struct commit *c = &s->commit;

	pthread_mutex_lock(&c->mutex);
	if (c->applier_gone) {
		pthread_mutex_unlock(&c->mutex);
		return -EIO;
	}
	r.next = c->requests;
	c->requests = &r;
	pthread_cond_signal(&c->ready);
	while (!r.served)
		pthread_cond_wait(&c->room, &c->mutex);
	pthread_mutex_unlock(&c->mutex);
	return r.result;
}

/* ------------------------------------------------------------------ the thread */

/* Whether the applier should start, rather than wait for more groups to come. */
static bool is_wanted(const struct commit *c)
{
	return c->failed || c->stop || c->requests || c->relief ||
	       (c->durable && (c->applier_waiters || c->durable_count >= APPLY_BATCH || c->switch_file));
}

/*
 * Many small groups are carried over at once, and the applier is not woken for each: while groups come it
 * looks for them by itself, every APPLY_MS. Returns them in order; only the last may have a checkpoint after
 * it. *stop: none will come any more.
 */
static struct group *next_groups(struct commit *c, bool *stop)
{
	struct group *first = NULL, **end = &c->durable;
	bool waited = false;

	pthread_mutex_lock(&c->mutex);
	while (!is_wanted(c) && !(c->durable && waited)) {
		c->applier_idle = waited;
		if (waited) {
			pthread_cond_wait(&c->ready, &c->mutex);
			waited = false;
		} else {
			waited = !clock_wait(&c->ready, &c->mutex, clock_ms() + APPLY_MS);
		}
	}
	c->applier_idle = c->relief = false;
	if (!c->failed && c->durable) {
		first = c->durable;
		while (*end) {
			bool last = (*end)->catalog.head;

			c->durable_count--;
			end = &(*end)->next;
			if (last)
				break;
		}
		c->durable = *end;
		*end = NULL;
		if (!c->durable)
			c->durable_end = &c->durable;
	}
	*stop = !first && (c->failed || c->stop);
	pthread_mutex_unlock(&c->mutex);
	return first;
}

/* What an applied group leaves to be done; *g is given back. */
static int finish_group(struct vs_store *s, struct group *g)
{
	bool checkpointed = g->catalog.head;
	int file = checkpointed ? (int)((g->catalog.head->log_epoch - 1) % 2) : 0, rc;

	reclaim_rows(s, g);
	reclaim_segments(s, g);
	reclaim_collections(s, g);
	rc = checkpointed ? checkpoint_write(s, g) : 0;
	if (!rc)
		commit_applied(s, g, file, checkpointed);
	return rc;
}

/* Keeps the groups, since the overlay points into their buffers; their records stay in the log. */
static void give_up(struct vs_store *s, struct group *g, int rc)
{
	struct group **end = &g;

	commit_poison(s, "cannot write to the segments", rc);
	while (*end)
		end = &(*end)->next;
	pthread_mutex_lock(&s->commit.mutex);
	*end = s->commit.durable;
	if (!*end)
		s->commit.durable_end = end;
	s->commit.durable = g;
	pthread_mutex_unlock(&s->commit.mutex);
}

/* false: a write failed, and nothing more can be done. */
static bool apply_and_finish(struct vs_store *s, struct group *g)
{
	int rc = apply_groups(s, g);

	while (g && !rc) {
		struct group *next = g->next;

		rc = finish_group(s, g);
		if (!rc)
			g = next;
	}
	if (rc)
		give_up(s, g, rc);
	return !rc;
}

/* For those who wait until less is to be synced. */
static bool relieve(struct vs_store *s)
{
	int rc;

	if (!files_dirty_full(&s->files))
		return true;
	rc = files_relieve(&s->files);
	if (rc)
		commit_poison(s, "cannot sync the segments", rc);
	pthread_mutex_lock(&s->commit.mutex);
	pthread_cond_broadcast(&s->commit.room);
	pthread_mutex_unlock(&s->commit.mutex);
	return !rc;
}

void *applier_thread(void *store)
{
	struct vs_store *s = store;
	bool stop = false;

	while (!stop) {
		struct group *g = next_groups(&s->commit, &stop);

		if (g && !apply_and_finish(s, g))
			stop = true;
		if (!stop && !relieve(s))
			stop = true;
		serve_all(s, stop);
	}
	return NULL;
}
