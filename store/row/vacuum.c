/* SPDX-License-Identifier: Apache-2.0 */
#include "store/row/vacuum.h"

#include <errno.h>
#include <unistd.h>

#include "store/row/row.h"

/* So many rows are moved; then others have their turn. */
#define TURN_ROWS 64u
#define PAUSE_US 1000

static bool has_holes(const struct segment *seg)
{
	return seg->deleted && !segment_is_shared(seg);
}

static bool any_holes(const struct collection *c)
{
	uint32_t i = 0;

	if (!c->deleted || c->damaged || c->frozen || c->lazy)
		return false;
	while (i < c->segment_count && !has_holes(c->segments[i]))
		i++;
	return i < c->segment_count;
}

/* Fills one deleted row of a collection. Rows only move: what is in it stays. */
static int fill_one(struct txn *txn, struct collection *c)
{
	uint32_t i = 0;

	while (i < c->segment_count && !has_holes(c->segments[i]))
		i++;
	c->version++;
	c->index_stamp = 0;
	return i < c->segment_count ? rows_fill_deleted(txn, c, c->segments[i]) : 0;
}

/* The bytes of a row, if there is something to fill; or 0. */
static size_t look(struct vs_store *s, uint32_t collection)
{
	const struct collection *c;
	size_t row_bytes;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, collection);
	row_bytes = c && any_holes(c) ? c->row_bytes : 0;
	pthread_rwlock_unlock(&s->lock);
	return row_bytes;
}

/* One transaction. -EAGAIN: something has to be made ready first. */
static int fill(struct vs_store *s, struct ahead *ahead, uint32_t collection, size_t row_bytes)
{
	struct collection *c;
	struct txn txn;
	int rc = txn_begin(s, &txn, txn_row_bytes(row_bytes) + 3 * TXN_SMALL_BYTES);

	if (rc)
		return rc;
	txn.ahead = ahead;
	c = collection_get(&s->table, collection);
	if (c && c->row_bytes == row_bytes && !(rc = ahead_attach(ahead, c)))
		rc = fill_one(&txn, c);
	txn_end(&txn);
	return rc;
}

/* Until there are no more, or stop (which may be NULL) says so; slowly: with pauses. */
static int fill_all(struct vs_store *s, uint32_t collection, const _Atomic bool *stop, bool slowly)
{
	struct ahead ahead = {0};
	size_t row_bytes;
	int rc = 0;

	for (unsigned n = 1; !rc && !(stop && *stop) && (row_bytes = look(s, collection)); n++) {
		rc = fill(s, &ahead, collection, row_bytes);
		if (rc == -EAGAIN)
			rc = rows_fetch(s, &ahead);
		else
			ahead_free(s, &ahead);
		if (n % TURN_ROWS)
			continue;
		if (slowly)
			usleep(PAUSE_US);
		else
			engine_let_in(s);
	}
	ahead_free(s, &ahead);
	return rc;
}

int rows_vacuum(struct vs_store *s, uint32_t collection)
{
	return fill_all(s, collection, NULL, false);
}

/* ------------------------------------------------------------------ the thread */

/* The lowest number above after of a collection with something to fill; 0 if there is none. */
static uint32_t find_holes(struct vs_store *s, uint32_t after)
{
	const struct collection *c;
	uint32_t id;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_next(&s->table, after);
	while (c && !any_holes(c))
		c = collection_next(&s->table, c->id);
	id = c ? c->id : 0;
	pthread_rwlock_unlock(&s->lock);
	return id;
}

/* false: it is to end. */
static bool wait_for_work(struct vs_store *s)
{
	struct vacuum *v = &s->vacuum;

	pthread_mutex_lock(&v->mutex);
	while (!v->wanted && !v->stop)
		pthread_cond_wait(&v->work, &v->mutex);
	v->wanted = false;
	pthread_mutex_unlock(&v->mutex);
	return !v->stop;
}

/* What cannot be filled now (a full disk, a row that cannot be read) is tried again at the next time. */
static void *run(void *store)
{
	struct vs_store *s = store;

	while (wait_for_work(s))
		for (uint32_t id = 0; !s->vacuum.stop && (id = find_holes(s, id));)
			fill_all(s, id, &s->vacuum.stop, true);
	return NULL;
}

void vacuum_start(struct vs_store *s)
{
	s->vacuum.wanted = true; /* a crash may have left holes */
	s->vacuum.runs = !pthread_create(&s->vacuum.thread, NULL, run, s);
}

void vacuum_stop(struct vs_store *s)
{
	struct vacuum *v = &s->vacuum;

	if (!v->runs)
		return;
	pthread_mutex_lock(&v->mutex);
	v->stop = true;
	pthread_cond_signal(&v->work);
	pthread_mutex_unlock(&v->mutex);
	pthread_join(v->thread, NULL);
	v->runs = false;
}
