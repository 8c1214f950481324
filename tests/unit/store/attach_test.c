/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A large batch becomes its collection's all at once, and yet nobody waits for its rows: not for new ones,
 * nor for those that it replaces, with or without snapshots that want copies of these. Others look on, and
 * change rows that will be replaced. How long the lock is held is told by the clock of the holder's own
 * processor time, and who waits for it by how many slices pass him, so that it does not matter what else the
 * machine does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/store/fixture.h"

#define DIM 4
#define ROW_BYTES (DIM * sizeof(float))
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__ /* the time tells little then */
#define ROWS_FEW 20000u
#define ROWS_MANY 50000u
#define HELD_MS_MAX 200
#define OVERTAKEN_PART 1
#else
#define ROWS_FEW 40000u
#define ROWS_MANY 1000000u
#define HELD_MS_MAX 20
#define OVERTAKEN_PART 10 /* once in so many slices; taken again at once it is once in 4 to 9 */
#endif

/* ------------------------------------------------------------------ the lock: how long, and who next */

static _Atomic double held_ms;
static _Thread_local double held_since_ms;
static _Atomic unsigned slices, overtakings; /* a slice that came while somebody waited, for each who did */
static _Thread_local bool is_importing;

int __real_pthread_rwlock_wrlock(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *lock);
int __real_pthread_rwlock_rdlock(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *lock);
int __real_pthread_rwlock_unlock(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_unlock(pthread_rwlock_t *lock);

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Takes it, and counts the slices that pass. */
static int take(pthread_rwlock_t *lock, int (*real)(pthread_rwlock_t *lock))
{
	unsigned before = slices;
	int rc = real(lock);

	if (!is_importing)
		overtakings += slices - before;
	return rc;
}

int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
	return take(lock, __real_pthread_rwlock_rdlock);
}

int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
	int rc = take(lock, __real_pthread_rwlock_wrlock);

	slices += is_importing;
	held_since_ms = cpu_ms();
	return rc;
}

int __wrap_pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
	double ms = held_since_ms > 0 ? cpu_ms() - held_since_ms : 0, before = held_ms;

	held_since_ms = 0;
	while (ms > before && !atomic_compare_exchange_weak(&held_ms, &before, ms))
		;
	return __real_pthread_rwlock_unlock(lock);
}

/* ------------------------------------------------------------------ batches */

/* Of any thread: cmocka's assertions are the first one's. */
static void must(bool fine, const char *what)
{
	if (fine)
		return;
	fprintf(stderr, "failed: %s\n", what);
	abort();
}

/* Imports v`first` … v`first + count - 1`, each vector full of `value`. */
static void import(struct fixture *f, unsigned first, unsigned count, float value,
		   struct vs_batch_change *change)
{
	struct vs_schema schema = {.dim = DIM, .dtype = VS_F32};
	char *ids = malloc(count * 12ul), why[256] = "";
	float *rows = malloc(count * ROW_BYTES);
	struct vs_upload *u;
	size_t len = 0;
	uint32_t b;

	for (unsigned i = 0; i < count; i++)
		len += (size_t)sprintf(ids + len, "v%u\n", first + i);
	for (unsigned i = 0; i < count * DIM; i++)
		rows[i] = value;
	must(!vs_collection_create(f->s, f->docs, "batch", &perm, &b), "create");
	must(!vs_upload_begin(f->s, b, &schema, &u), "begin");
	must(!vs_upload_append(u, rows, count * ROW_BYTES), "append");
	must(!vs_upload_end(u, true), "end");
	must(!vs_batch_text_write(f->s, b, VS_BATCH_IDS, ids, len, 0), "ids");
	is_importing = true;
	must(!vs_batch_commit(f->s, b, 0, change, why, sizeof why), why);
	is_importing = false;
	free(ids);
	free(rows);
}

static float value_of(struct fixture *f, unsigned i)
{
	struct vs_attr attr;
	float v[DIM] = {0};
	char id[16];
	int rc;

	snprintf(id, sizeof id, "v%u", i);
	/* It may be replaced just then: its entry goes. */
	do
		rc = vs_lookup(f->s, f->docs, id, &attr)
			     ? -EIO
			     : (int)vs_read(f->s, f->docs, attr.entry, v, ROW_BYTES, 0);
	while (rc == -ENOENT);
	must(rc == (int)ROW_BYTES, id);
	return v[0];
}

/* That a snapshot has rows of one value only, as many as it should. */
static float assert_even(struct vs_snapshot *m, uint64_t count)
{
	struct vs_snapshot_info info;
	float *rows = malloc(count * ROW_BYTES), first;

	vs_snapshot_info(m, &info);
	must(info.rows == count, "rows of a snapshot");
	must(vs_snapshot_vectors(m, rows, count * ROW_BYTES, 0) == (ssize_t)(count * ROW_BYTES), "vectors");
	for (uint64_t i = 1; i < count * DIM; i++)
		must(rows[i] == rows[0], "a snapshot has all of a batch or nothing");
	first = rows[0];
	free(rows);
	return first;
}

static int free_store(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(vs_close(f->s), 0);
	assert_int_equal(vs_check(f->sc.dir, NULL, false, NULL, NULL), VS_CHECK_CLEAN);
	scratch_free(&f->sc);
	free(f);
	return 0;
}

/* ------------------------------------------------------------------ nobody waits */

static void import_and_tell(struct fixture *f, const char *what, unsigned first, unsigned replaced)
{
	struct vs_batch_change change;

	held_ms = 0;
	import(f, first, ROWS_MANY, (float)(first + 1), &change);
	assert_int_equal(change.replaced, replaced);
	assert_int_equal(change.added, ROWS_MANY - replaced);
	print_message("%u rows, %s: the lock was held for %.1f ms at most\n", ROWS_MANY, what, held_ms);
	assert_true(held_ms < HELD_MS_MAX);
}

static void no_hold_of_the_lock_is_long(void **state)
{
	struct fixture *f = *state;
	struct vs_collection_info info;
	struct vs_snapshot *m;

	import_and_tell(f, "all new", 0, 0);
	import_and_tell(f, "all replaced", 0, ROWS_MANY);
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	import_and_tell(f, "half of them replaced, under a snapshot", ROWS_MANY / 2, ROWS_MANY / 2);
	assert_true(assert_even(m, ROWS_MANY) == 1);
	vs_snapshot_close(m);
	assert_int_equal(vs_collection_get(f->s, f->docs, &info), 0);
	assert_int_equal(info.count, ROWS_MANY + ROWS_MANY / 2);
	assert_true(value_of(f, ROWS_MANY / 2 - 1) == 1);
	assert_true(value_of(f, ROWS_MANY / 2) == ROWS_MANY / 2 + 1);
}

/* ------------------------------------------------------------------ others have their turn */

struct client {
	struct fixture *f;
	uint32_t other;
	_Atomic bool stop;
};

/* Puts vectors into another collection, and looks them up. */
static void *put_elsewhere(void *arg)
{
	struct client *c = arg;
	struct vs_collection_info info;
	struct vs_attr attr = {.mtime = 1, .perm = perm};
	char id[16];

	for (unsigned i = 0; !c->stop; i++) {
		snprintf(id, sizeof id, "o%u", i);
		must(!vs_collection_get(c->f->s, c->other, &info), "get");
		must(!vs_entry_reserve(c->f->s, c->other, &attr.entry), "reserve");
		must(!vs_put(c->f->s, c->other, id, &attr, id, sizeof id, NULL), "put");
		must(!vs_lookup(c->f->s, c->other, id, &attr), "lookup");
		usleep(500);
	}
	return NULL;
}

/* Whoever waits for the lock has it before the next slice: it is not taken again before he is awake. */
static void who_waits_has_his_turn(void **state)
{
	struct fixture *f = *state;
	struct client c = {.f = f};
	struct vs_batch_change change;
	pthread_t thread;
	unsigned before;

	import(f, 0, ROWS_MANY, 1, NULL);
	assert_int_equal(vs_collection_create(f->s, 0, "other", &perm, &c.other), 0);
	before = slices;
	overtakings = 0;
	pthread_create(&thread, NULL, put_elsewhere, &c);
	import(f, 0, ROWS_MANY, 2, &change);
	c.stop = true;
	pthread_join(thread, NULL);
	assert_int_equal(change.replaced, ROWS_MANY);
	print_message("%u slices: somebody who waited was passed by one %u times\n", slices - before,
		      overtakings);
	assert_true(overtakings < (slices - before) / OVERTAKEN_PART);
}

/* ------------------------------------------------------------------ others look on */

struct onlooker {
	struct fixture *f;
	unsigned value; /* of the last batch that is known to be there; the next one may be */
	_Atomic bool stop;
	unsigned looks;
};

struct listing {
	unsigned count;
	uint64_t after;
};

static bool list_one(void *arg, const struct vs_attr *attr, const char *name, size_t len)
{
	struct listing *l = arg;

	(void)name;
	(void)len;
	l->count++;
	l->after = attr->entry;
	return true;
}

/* A batch is there, or it is not, whichever way one looks. */
static void *look_on(void *arg)
{
	struct onlooker *o = arg;

	for (; !o->stop; o->looks++) {
		struct listing l = {0};
		struct vs_snapshot *m;
		float first = value_of(o->f, 0), last = value_of(o->f, ROWS_FEW - 1),
		      again = value_of(o->f, 0);

		must(first <= last && (last <= again || first == last),
		     "the last of a batch comes with the first");
		must(!vs_snapshot_open(o->f->s, o->f->docs, &m), "a snapshot");
		must(assert_even(m, ROWS_FEW) >= last, "a snapshot is not behind");
		vs_snapshot_close(m);
		must(!vs_list(o->f->s, o->f->docs, 0, list_one, &l) && l.count == ROWS_FEW,
		     "a listing has each once");
	}
	return NULL;
}

static void a_batch_is_there_or_not(void **state)
{
	struct fixture *f = *state;
	struct onlooker o = {.f = f};
	struct vs_batch_change change;
	pthread_t thread;

	import(f, 0, ROWS_FEW, 1, NULL);
	pthread_create(&thread, NULL, look_on, &o);
	for (unsigned value = 2; value < 12; value++) {
		import(f, 0, ROWS_FEW, (float)value, &change);
		assert_int_equal(change.replaced, ROWS_FEW);
	}
	o.stop = true;
	pthread_join(thread, NULL);
	assert_true(o.looks > 0);
	assert_true(value_of(f, ROWS_FEW / 2) == 11);
}

/* ------------------------------------------------------------------ others write */

struct writer {
	struct fixture *f;
	_Atomic bool stop;
	unsigned writes;
};

/* Changes rows while they are being replaced. Of a durable snapshot's files each gets another place. */
static void *write_rows(void *arg)
{
	struct writer *w = arg;
	struct numbers n = {77};
	float v[DIM] = {-1, -1, -1, -1};

	while (!w->stop) {
		struct vs_attr attr;
		char id[16];
		int rc;

		snprintf(id, sizeof id, "v%u", (unsigned)numbers_below(&n, ROWS_FEW));
		must(!vs_lookup(w->f->s, w->f->docs, id, &attr), id);
		rc = vs_write(w->f->s, w->f->docs, attr.entry, v, ROW_BYTES, 0, 0, NULL);
		must(!rc || rc == -ENOENT, "a write");
		w->writes += !rc;
	}
	return NULL;
}

static void rows_that_others_write_are_replaced(void **state)
{
	struct fixture *f = *state;
	struct writer w = {.f = f};
	pthread_t thread;
	unsigned behind = 0;

	import(f, 0, ROWS_FEW, 1, NULL);
	for (unsigned value = 2; value < 8; value++) {
		struct vs_batch_change change;
		struct vs_collection_info info;
		uint32_t snap;
		char name[16];

		snprintf(name, sizeof name, "s%u", value);
		assert_int_equal(vs_snap_create(f->s, f->docs, name, &snap), 0);
		w.stop = false;
		pthread_create(&thread, NULL, write_rows, &w);
		import(f, 0, ROWS_FEW, (float)value, &change);
		w.stop = true;
		pthread_join(thread, NULL);
		assert_int_equal(change.replaced, ROWS_FEW);
		assert_int_equal(vs_collection_get(f->s, f->docs, &info), 0);
		assert_int_equal(info.count, ROWS_FEW);
		for (unsigned i = 0; i < ROWS_FEW; i++) {
			float got = value_of(f, i);

			assert_true(got == (float)value || got == -1); /* written afterwards */
			behind += got == -1;
		}
	}
	assert_true(w.writes > behind);
}

/* ------------------------------------------------------------------ many snapshots */

#define HELD 8
#define SMALL_ROWS 130u /* they go through the log, in one frame */
#define SMALL_BATCHES 40u

/* Opens one after the other, and keeps some open: each may be read. */
static void *open_snapshots(void *arg)
{
	struct onlooker *o = arg;
	struct vs_snapshot *m[HELD] = {0};
	char *rows = malloc(ROWS_FEW * ROW_BYTES);

	for (unsigned i = 0; !o->stop; i = (i + 1) % HELD, o->looks++) {
		if (m[i]) {
			must(vs_snapshot_vectors(m[i], rows, ROWS_FEW * ROW_BYTES, 0) == ROWS_FEW * ROW_BYTES,
			     "the vectors of a snapshot");
			vs_snapshot_close(m[i]);
		}
		must(!vs_snapshot_open(o->f->s, o->f->docs, &m[i]), "a snapshot");
	}
	for (unsigned i = 0; i < HELD; i++)
		if (m[i])
			vs_snapshot_close(m[i]);
	free(rows);
	return NULL;
}

/* Who opens snapshots of a collection that somebody writes to does not keep a batch from coming. */
static void snapshots_do_not_keep_a_batch_away(void **state)
{
	struct fixture *f = *state;
	struct writer w = {.f = f};
	struct onlooker o = {.f = f};
	pthread_t threads[2];

	import(f, 0, ROWS_FEW, 1, NULL);
	pthread_create(&threads[0], NULL, write_rows, &w);
	pthread_create(&threads[1], NULL, open_snapshots, &o);
	for (unsigned value = 2; value < 5; value++) {
		struct vs_batch_change change;

		import(f, 0, ROWS_FEW - 1, (float)value, &change); /* one stays, and so does its segment */
		assert_int_equal(change.replaced, ROWS_FEW - 1);
	}
	w.stop = o.stop = true;
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	assert_true(w.writes && o.looks);
}

/* What a batch replaces may be more than a snapshot holds in memory: it is written to its file later. */
static void a_small_batch_goes_through_beside_a_snapshot(void **state)
{
	struct fixture *f = *state;
	struct vs_snapshot *m;

	import(f, 0, SMALL_ROWS * SMALL_BATCHES, 1, NULL);
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	for (unsigned i = 0; i < SMALL_BATCHES; i++) {
		struct vs_batch_change change;

		import(f, i * SMALL_ROWS, SMALL_ROWS, 2, &change);
		assert_int_equal(change.replaced, SMALL_ROWS);
	}
	assert_float_equal(assert_even(m, SMALL_ROWS * SMALL_BATCHES), 1, 0);
	vs_snapshot_close(m);
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	assert_float_equal(assert_even(m, SMALL_ROWS * SMALL_BATCHES), 2, 0);
	vs_snapshot_close(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_hold_of_the_lock_is_long, new_store, free_store),
		cmocka_unit_test_setup_teardown(who_waits_has_his_turn, new_store, free_store),
		cmocka_unit_test_setup_teardown(a_batch_is_there_or_not, new_store, free_store),
		cmocka_unit_test_setup_teardown(rows_that_others_write_are_replaced, new_store, free_store),
		cmocka_unit_test_setup_teardown(snapshots_do_not_keep_a_batch_away, new_store, free_store),
		cmocka_unit_test_setup_teardown(a_small_batch_goes_through_beside_a_snapshot, new_store,
						free_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
