/* SPDX-License-Identifier: Apache-2.0 */
#include "store/log/commit.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/base/clock.h"
#include "store/engine.h"

#define LOST_LOOK_MS 500 /* whoever loses a page is in no position to tell */

struct waiter {
	uint64_t target; /* changes that must be durable */
	void (*fn)(void *arg, int result);
	void *arg;
	struct waiter *next;
};

int commit_init(struct vs_store *s)
{
	struct commit *c = &s->commit;

	memset(c, 0, sizeof *c);
	pthread_mutex_init(&c->mutex, NULL);
	pthread_cond_init(&c->work, NULL);
	pthread_cond_init(&c->done, NULL);
	pthread_cond_init(&c->space, NULL);
	pthread_cond_init(&c->room, NULL);
	pthread_cond_init(&c->ready, NULL);
	c->durable_end = &c->durable;
	for (int i = 0; i < GROUPS; i++) {
		struct group *g = calloc(1, sizeof *g);

		/* Untouched memory of a group costs nothing. */
		if (!g || posix_memalign((void **)&g->buf, FRAME_ALIGN, LOG_GROUP_BYTES)) {
			free(g);
			return -ENOMEM;
		}
		g->next = c->spare;
		c->spare = g;
	}
	c->open = c->spare;
	c->spare = c->open->next;
	return 0;
}

static void groups_free(struct group *g)
{
	while (g) {
		struct group *next = g->next;

		catalog_free(&g->catalog);
		free(g->buf);
		free(g);
		g = next;
	}
}

void commit_free(struct vs_store *s)
{
	struct commit *c = &s->commit;

	if (c->open)
		c->open->next = NULL;
	groups_free(c->open);
	groups_free(c->spare);
	groups_free(c->durable);
	pthread_cond_destroy(&c->work);
	pthread_cond_destroy(&c->done);
	pthread_cond_destroy(&c->space);
	pthread_cond_destroy(&c->room);
	pthread_cond_destroy(&c->ready);
	pthread_mutex_destroy(&c->mutex);
}

void commit_poison(struct vs_store *s, const char *what, int error)
{
	struct commit *c = &s->commit;
	bool first;

	s->io->dropped = true;
	pthread_mutex_lock(&c->mutex);
	first = !c->failed;
	c->failed = -EROFS;
	pthread_cond_broadcast(&c->room);
	pthread_cond_broadcast(&c->space);
	pthread_cond_broadcast(&c->done);
	pthread_cond_broadcast(&c->ready);
	pthread_cond_broadcast(&c->work);
	pthread_mutex_unlock(&c->mutex);
	if (first)
		engine_report(s, VS_ERROR, "%s: %s; the store is read-only until it is mounted again", what,
			      strerror(-error));
}

int commit_synced(struct vs_store *s, int rc)
{
	if (rc < 0)
		commit_poison(s, "cannot sync", rc);
	return rc;
}

void commit_mind_lost(struct vs_store *s)
{
	if (s->io->lost)
		commit_poison(s, "cannot read a mapped file", -EIO);
}

/* Waits, under the mutex, for what only the applier can bring about. */
static void wait_room(struct commit *c)
{
	c->applier_waiters++;
	pthread_cond_signal(&c->ready);
	pthread_cond_wait(&c->room, &c->mutex);
	c->applier_waiters--;
}

/* ------------------------------------------------------------------ leading */

/* Waits for a spare group and for the log file to be written to, and says whether this frame ends the epoch.
 */
static int lead_prepare(struct vs_store *s, struct group **fresh, bool *ends)
{
	struct commit *c = &s->commit;
	int rc;

	pthread_mutex_lock(&c->mutex);
	while (!c->failed && (!c->spare || (c->switch_file && c->file_busy[(s->log.next.epoch + 1) % 2])))
		wait_room(c);
	rc = c->failed;
	if (!rc) {
		if (c->switch_file)
			log_switch(&s->log);
		c->switch_file = false;
		*ends = c->end_epoch;
		c->end_epoch = false;
		*fresh = c->spare;
		c->spare = c->spare->next;
	}
	pthread_mutex_unlock(&c->mutex);
	if (!rc && log_nearly_full(&s->log))
		*ends = true;
	if (!rc && s->log.sync_failed) {
		commit_poison(s, "cannot prepare the log", -EIO);
		pthread_mutex_lock(&c->mutex);
		(*fresh)->next = c->spare;
		c->spare = *fresh;
		pthread_mutex_unlock(&c->mutex);
		rc = -EROFS;
	}
	return rc;
}

/* Closes the open group: what is appended from now on goes to the fresh one. */
static int group_seal(struct vs_store *s, struct group *fresh, bool ends, struct group **out)
{
	struct commit *c = &s->commit;
	struct group *g;
	int rc = 0;

	fresh->used = 0;
	pthread_rwlock_wrlock(&s->lock);
	if (ends)
		rc = catalog_snapshot(s, 0, &c->open->catalog);
	pthread_mutex_lock(&c->mutex);
	g = c->open;
	g->last_change = c->changes;
	g->next = NULL;
	c->open = fresh;
	pthread_cond_broadcast(&c->space);
	pthread_mutex_unlock(&c->mutex);
	pthread_rwlock_unlock(&s->lock);
	*out = g;
	return rc;
}

/* Hands a durable group to the applier. */
static void group_hand_over(struct vs_store *s, struct group *g, bool ends)
{
	struct commit *c = &s->commit;

	pthread_mutex_lock(&c->mutex);
	c->durable_changes = g->last_change;
	if (ends) {
		struct catalog *head = g->catalog.head;

		head->log_epoch = s->log.next.epoch + 1;
		head->log_seq = s->log.next.seq;
		head->log_prev = s->log.next.prev;
		head->log_salt = s->log.next.salt;
		c->file_busy[s->log.next.epoch % 2] = true;
		c->switch_file = true;
	}
	*c->durable_end = g;
	c->durable_end = &g->next;
	c->durable_count++;
	if (c->applier_idle || c->durable_count >= APPLY_BATCH || ends)
		pthread_cond_signal(&c->ready);
	pthread_mutex_unlock(&c->mutex);
}

/* One commit. The caller is the leader and holds no lock. */
static void lead(struct vs_store *s)
{
	struct group *fresh, *g;
	bool ends = false;
	int rc = lead_prepare(s, &fresh, &ends);

	if (rc)
		return;
	rc = group_seal(s, fresh, ends, &g);
	commit_mind_lost(s);
	if (s->io->lost)
		rc = -EIO;
	if (!rc && g->used) {
		((struct frame *)(void *)g->buf)->time = vs_time_now();
		rc = log_write(&s->log, g->buf, g->used);
		s->counters.commits++;
		s->counters.commit_bytes += g->used;
	}
	if (rc) {
		/* Never retried: after a failed sync nobody knows what is on the disk. Keep the group: the
		 * overlay points into its buffer. */
		commit_poison(s, "cannot write the log", rc);
		pthread_mutex_lock(&s->commit.mutex);
		*s->commit.durable_end = g;
		s->commit.durable_end = &g->next;
		pthread_mutex_unlock(&s->commit.mutex);
		return;
	}
	group_hand_over(s, g, ends);
}

/* Takes the waiters whose changes are durable, or all after a failure. Under the mutex. */
static struct waiter *waiters_due(struct commit *c)
{
	struct waiter *due = NULL, **p = &c->waiters;

	while (*p) {
		struct waiter *w = *p;

		if (!c->failed && w->target > c->durable_changes) {
			p = &w->next;
			continue;
		}
		*p = w->next;
		w->next = due;
		due = w;
	}
	return due;
}

static void waiters_tell(struct waiter *w, int result)
{
	while (w) {
		struct waiter *next = w->next;

		w->fn(w->arg, result);
		free(w);
		w = next;
	}
}

static void stop_leading(struct commit *c)
{
	c->leading = false;
	pthread_cond_broadcast(&c->done);
	pthread_cond_broadcast(&c->space); /* who waits for it may have to lead */
	if (c->waiters)
		pthread_cond_signal(&c->work); /* the committer leads for them */
}

/* One commit, and its waiters. The mutex is held before and afterwards; the caller is the leader. */
static void lead_once(struct vs_store *s)
{
	struct commit *c = &s->commit;
	struct waiter *due;

	pthread_mutex_unlock(&c->mutex);
	lead(s);
	pthread_mutex_lock(&c->mutex);
	due = waiters_due(c);
	pthread_cond_broadcast(&c->done);
	if (due) {
		int result = c->failed ? -EIO : 0;

		pthread_mutex_unlock(&c->mutex);
		waiters_tell(due, result);
		pthread_mutex_lock(&c->mutex);
	}
}

/* Leads until target is durable. Called and returns with the mutex held, not leading. */
static void lead_until(struct vs_store *s, uint64_t target)
{
	struct commit *c = &s->commit;

	c->leading = true;
	while (!c->failed && (c->durable_changes < target || c->end_epoch))
		lead_once(s);
	stop_leading(c);
}

/* Waits until target is durable, leading if nobody does. Under the mutex. */
static int wait_durable(struct vs_store *s, uint64_t target)
{
	struct commit *c = &s->commit;

	while (!c->failed && c->durable_changes < target) {
		if (c->leading)
			pthread_cond_wait(&c->done, &c->mutex);
		else
			lead_until(s, target);
	}
	return c->failed ? -EIO : 0;
}

int commit_wait(struct vs_store *s)
{
	int rc;

	pthread_mutex_lock(&s->commit.mutex);
	rc = wait_durable(s, s->commit.changes);
	pthread_mutex_unlock(&s->commit.mutex);
	return rc;
}

int commit_wait_applied(struct vs_store *s)
{
	struct commit *c = &s->commit;
	uint64_t target;
	int rc;

	pthread_mutex_lock(&c->mutex);
	target = c->changes;
	rc = wait_durable(s, target);
	while (!rc && c->applied_changes < target) {
		if (c->failed)
			rc = -EIO;
		else
			wait_room(c);
	}
	pthread_mutex_unlock(&c->mutex);
	return rc;
}

int commit_checkpoint(struct vs_store *s)
{
	struct commit *c = &s->commit;
	int rc;

	pthread_mutex_lock(&c->mutex);
	c->end_epoch = true;
	/* A leader that has taken the wish up has not yet handed its group to the applier, until it leads no
	 * more. */
	while (!c->failed && (c->end_epoch || c->leading)) {
		if (c->leading)
			pthread_cond_wait(&c->done, &c->mutex);
		else
			lead_until(s, 0);
	}
	while (!c->failed && (c->file_busy[0] || c->file_busy[1]))
		wait_room(c);
	rc = c->failed ? -EIO : 0;
	pthread_mutex_unlock(&c->mutex);
	return rc;
}

void commit_stop(struct vs_store *s)
{
	struct commit *c = &s->commit;

	pthread_mutex_lock(&c->mutex);
	c->stop = true;
	pthread_cond_broadcast(&c->work);
	pthread_cond_broadcast(&c->done);
	pthread_cond_broadcast(&c->ready);
	pthread_mutex_unlock(&c->mutex);
}

void commit_applied(struct vs_store *s, struct group *g, int file, bool checkpointed)
{
	struct commit *c = &s->commit;

	catalog_free(&g->catalog);
	pthread_mutex_lock(&c->mutex);
	c->applied_changes = g->last_change;
	if (checkpointed)
		c->file_busy[file] = false;
	g->next = c->spare;
	c->spare = g;
	pthread_cond_broadcast(&c->room);
	pthread_mutex_unlock(&c->mutex);
}

/* ------------------------------------------------------------------ the public calls */

int vs_sync(struct vs_store *s)
{
	return commit_wait(s);
}

/* Who finds no leader leads one commit, which answers it. Those who have come meanwhile are the committer's:
 * a thread that led on for them might never come back. */
void vs_sync_async(struct vs_store *s, void (*fn)(void *arg, int result), void *arg)
{
	struct commit *c = &s->commit;
	struct waiter *w = malloc(sizeof *w);
	int rc;

	pthread_mutex_lock(&c->mutex);
	if (!w || c->failed || c->durable_changes == c->changes) {
		rc = wait_durable(s, c->changes);
		pthread_mutex_unlock(&c->mutex);
		free(w);
		fn(arg, rc);
		return;
	}
	*w = (struct waiter){c->changes, fn, arg, c->waiters};
	c->waiters = w;
	if (!c->leading)
		lead_until(s, w->target);
	pthread_mutex_unlock(&c->mutex);
}

/* ------------------------------------------------------------------ the committer */

/*
 * While there are changes it wakes up by itself when the open group is due: a signal for each group would
 * cost more than the group. While there are none it looks now and then whether a mapping has been lost.
 */
void *commit_thread(void *store)
{
	struct vs_store *s = store;
	struct commit *c = &s->commit;

	pthread_mutex_lock(&c->mutex);
	while (!c->stop) {
		int64_t due_ms = c->open->opened_ms + s->options.commit_ms;
		int64_t now_ms = clock_ms(), look_ms = now_ms + LOST_LOOK_MS;

		if (s->io->lost && !c->failed) {
			pthread_mutex_unlock(&c->mutex);
			commit_mind_lost(s);
			pthread_mutex_lock(&c->mutex);
		} else if (c->waiters && !c->leading) {
			c->leading = true;
			lead_once(s); /* also after a failure: they are told of it */
			stop_leading(c);
		} else if (c->failed || c->changes == c->durable_changes) {
			c->committer_idle = true;
			clock_wait(&c->work, &c->mutex, look_ms);
			c->committer_idle = false;
		} else if (now_ms < due_ms) {
			clock_wait(&c->work, &c->mutex, due_ms < look_ms ? due_ms : look_ms);
		} else if (c->leading) {
			pthread_cond_wait(&c->done, &c->mutex);
		} else {
			lead_until(s, c->changes);
		}
	}
	pthread_mutex_unlock(&c->mutex);
	return NULL;
}

/* ------------------------------------------------------------------ changes */

/* Nothing changes meanwhile: all changes wait for start_mutex. */
static int write_open_catalog(struct vs_store *s)
{
	struct catalog_image image;
	int rc;

	pthread_rwlock_rdlock(&s->lock);
	rc = catalog_snapshot(s, 0, &image);
	pthread_rwlock_unlock(&s->lock);
	return rc ? rc : catalog_write_at(s, &image);
}

/* The first change makes the store dirty: the log is created, then a catalog says so. */
int commit_start_logging(struct vs_store *s)
{
	int rc;

	pthread_mutex_lock(&s->start_mutex);
	if (__atomic_load_n(&s->logging, __ATOMIC_ACQUIRE)) {
		pthread_mutex_unlock(&s->start_mutex);
		return 0;
	}
	rc = log_create(&s->log, s->io, &s->position, s->options.log_bytes);
	if (!rc) {
		rc = write_open_catalog(s);
		if (rc) {
			log_close(&s->log);
			log_remove(s->io);
		}
	}
	if (!rc)
		__atomic_store_n(&s->logging, true, __ATOMIC_RELEASE);
	else if (s->log.sync_failed)
		commit_poison(s, "cannot start the log", rc);
	pthread_mutex_unlock(&s->start_mutex);
	return rc;
}

/* Waits while more is written than descriptors can be kept open for: the applier syncs it. */
static void wait_relief(struct vs_store *s)
{
	struct commit *c = &s->commit;

	pthread_mutex_lock(&c->mutex);
	while (!c->failed && !c->applier_gone && files_dirty_full(&s->files)) {
		c->relief = true;
		pthread_cond_signal(&c->ready);
		pthread_cond_wait(&c->room, &c->mutex);
	}
	pthread_mutex_unlock(&c->mutex);
}

int txn_begin(struct vs_store *s, struct txn *txn, size_t bytes)
{
	struct commit *c = &s->commit;
	int rc = 0;

	commit_mind_lost(s);
	if (s->read_only || c->failed)
		return -EROFS;
	if (!__atomic_load_n(&s->logging, __ATOMIC_ACQUIRE) && (rc = commit_start_logging(s)))
		return rc;
	if (files_dirty_full(&s->files))
		wait_relief(s);
	if (files_mapped_full(&s->files))
		engine_unmap(s);
	if (s->catalog_short)
		catalog_grow(s);
	if (bytes > s->log.group_bytes - sizeof(struct frame)) /* which a full disk may have made small */
		return s->log.group_bytes < LOG_GROUP_BYTES / 4 ? -ENOSPC : -E2BIG;
	pthread_mutex_lock(&c->mutex);
	/* Two cases: the group is full and must be written, or those before us will fill it: their turn is
	 * short. */
	while (!c->failed &&
	       sizeof(struct frame) + c->open->used + c->reserved + bytes > s->log.group_bytes) {
		if (c->leading || !c->open->used)
			pthread_cond_wait(&c->space, &c->mutex);
		else
			lead_until(s, c->changes);
	}
	rc = c->failed;
	if (!rc)
		c->reserved += bytes;
	pthread_mutex_unlock(&c->mutex);
	if (rc)
		return rc;
	pthread_rwlock_wrlock(&s->lock);
	*txn = (struct txn){.s = s, .reserved = bytes, .start = c->open->used};
	/* Under the lock the open group stays the same, and nobody else appends. */
	return 0;
}

void *txn_append(struct txn *txn, enum record_type type, uint32_t collection, size_t bytes)
{
	struct group *g = txn->s->commit.open;
	struct record *r = (struct record *)(void *)(g->buf + sizeof(struct frame) + txn->start);

	bytes = (bytes + 7) / 8 * 8;
	assert(txn->reserved >= txn->start + bytes - g->used);
	memset(r, 0, bytes);
	r->type = (uint16_t)type;
	r->bytes = (uint32_t)bytes;
	r->collection = collection;
	txn->start += bytes;
	return r;
}

bool txn_has_begun(const struct txn *txn)
{
	return txn->start > txn->s->commit.open->used;
}

void txn_end(struct txn *txn)
{
	struct vs_store *s = txn->s;
	struct commit *c = &s->commit;

	pthread_mutex_lock(&c->mutex);
	if (txn->start != c->open->used) {
		if (!c->open->used) {
			c->open->opened_ms = clock_ms();
			if (c->committer_idle)
				pthread_cond_signal(&c->work);
		}
		c->open->used = txn->start;
		c->changes++;
	}
	c->reserved -= txn->reserved;
	/* Somebody may wait for the room that this change reserved and did not use. */
	if (c->reserved == 0)
		pthread_cond_broadcast(&c->space);
	pthread_mutex_unlock(&c->mutex);
	engine_wake_builder(s); /* still under the lock: it looks again, under it, before it sleeps */
	pthread_rwlock_unlock(&s->lock);
}

int txn_begin_log(struct vs_store *s)
{
	struct txn txn;
	int rc;

	if (__atomic_load_n(&s->logging, __ATOMIC_ACQUIRE))
		return 0;
	rc = txn_begin(s, &txn, TXN_SMALL_BYTES);
	if (!rc)
		txn_end(&txn);
	return rc;
}
