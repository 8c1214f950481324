/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No lock is held over a call of the system: while every call on one collection's files takes 200 ms, others
 * create, read, look up and list as if nothing were, and so do those of the same collection who need none of
 * its files.
 *
 * Each kind of work is done on the slow collection in turn, by a thread of its own, while another measures
 * how long requests take. The bound is loose, since others use the machine; VECFS_LONG=1 asks for 20 ms.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "store/store.h"
#include "tests/unit/scratch.h"
#include "tests/unit/slow_io.h"

#define DELAY_MS 200
#define SHORT_MS 20
#define IMPORT_ROWS 400000u
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
#define IMPORT_WAIT_MS 2500
#else
#define IMPORT_WAIT_MS 250 /* under the lock all of their index took 800 */
#endif
#define DIM 1024
#define BYTES (DIM * sizeof(float))
#define FAST_BYTES 64 /* what waits for the applier stays below what the log takes */
#define ROWS 1200u    /* more than a megabyte's: their space is given back */
#define WORK_MS 1300
#define SAMPLES 65536u

struct fixture {
	struct scratch sc;
	struct slow_io slow;
	struct vs_store *s;
	uint32_t fast, slow_id, other, less; /* collections; all but fast are slow */
	_Atomic bool stop;
	_Atomic unsigned done; /* by the work */
	_Atomic unsigned next; /* number of the next id of its own */
};

static const struct vs_perm perm = {.mode = 0644};

/* Of any thread: cmocka's assertions are the first one's. */
static void must(bool fine, const char *what)
{
	if (fine)
		return;
	fprintf(stderr, "failed: %s\n", what);
	abort();
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void fill(float v[DIM], unsigned x)
{
	for (unsigned i = 0; i < DIM; i++)
		v[i] = (float)(x + i);
}

static void put(struct fixture *f, uint32_t collection, const char *id, unsigned x)
{
	struct vs_attr attr = {.mtime = 1, .perm = perm};
	float v[DIM];

	fill(v, x);
	must((vs_entry_reserve(f->s, collection, &attr.entry)) == 0, __func__);
	must((vs_put(f->s, collection, id, &attr, v, collection == f->fast ? FAST_BYTES : BYTES, NULL)) == 0,
	     __func__);
}

static void put_number(struct fixture *f, uint32_t collection, unsigned n)
{
	char id[16];

	snprintf(id, sizeof id, "v%u", n);
	put(f, collection, id, n);
}

static uint64_t entry_of(struct fixture *f, uint32_t collection, const char *id)
{
	struct vs_attr attr;

	return vs_lookup(f->s, collection, id, &attr) ? 0 : attr.entry;
}

static uint64_t entry_of_number(struct fixture *f, uint32_t collection, unsigned n)
{
	char id[16];

	snprintf(id, sizeof id, "v%u", n);
	return entry_of(f, collection, id);
}

static uint32_t slow_collection(struct fixture *f, uint32_t parent, const char *name)
{
	uint32_t id;

	must((vs_collection_create(f->s, parent, name, &perm, &id)) == 0, __func__);
	must(id < SLOW_COLLECTIONS, __func__);
	f->slow.collection[id] = true;
	return id;
}

/* ------------------------------------------------------------------ what is done on the slow disk */

static void works_reading(struct fixture *f, unsigned n)
{
	float v[DIM], want[DIM];

	fill(want, n % ROWS);
	must((vs_read(f->s, f->slow_id, entry_of_number(f, f->slow_id, n % ROWS), v, 100, 8)) == 100,
	     __func__);
	must(!memcmp(v, want + 2, 100), __func__);
}

static void works_part_writing(struct fixture *f, unsigned n)
{
	uint64_t entry = entry_of_number(f, f->slow_id, n % ROWS);
	float v[DIM], x[2];

	fill(v, n % ROWS);
	memcpy(x, v + 1, sizeof x);
	must((vs_write(f->s, f->slow_id, entry, x, sizeof x, 4, 0, NULL)) == 0, __func__);
}

static void works_creating(struct fixture *f, unsigned n)
{
	put_number(f, f->slow_id, ROWS + n);
	put_number(f, f->other, ROWS + n);
}

static void works_removing(struct fixture *f, unsigned n)
{
	char id[16];

	snprintf(id, sizeof id, "v%u", ROWS / 2 + n);
	must((vs_remove(f->s, f->other, id, NULL)) == 0, __func__);
}

static void works_renaming_over(struct fixture *f, unsigned n)
{
	char from[16], to[16];
	uint64_t entry, replaced;

	snprintf(from, sizeof from, "v%u", n % 100);
	snprintf(to, sizeof to, "v%u", n % 100 + 100);
	must((vs_rename(f->s, f->slow_id, from, f->slow_id, to, false, &entry, &replaced)) == 0, __func__);
	put_number(f, f->slow_id, n % 100);
}

static void works_moving(struct fixture *f, unsigned n)
{
	char id[16];
	uint64_t entry, replaced;

	snprintf(id, sizeof id, "v%u", ROWS - 1 - n);
	must((vs_rename(f->s, f->slow_id, id, f->other, id, false, &entry, &replaced)) == 0, __func__);
	put_number(f, f->slow_id, ROWS - 1 - n);
}

static void works_starting_a_collection(struct fixture *f, unsigned n)
{
	char name[16];

	snprintf(name, sizeof name, "c%u", f->next++);
	put_number(f, slow_collection(f, 0, name), n);
}

static void works_changing_under_a_snapshot(struct fixture *f, unsigned n)
{
	uint64_t entry = entry_of_number(f, f->slow_id, 200 + n);
	struct vs_snapshot *m;
	float v[DIM], want[DIM];

	fill(want, 200 + n);
	must((vs_snapshot_open(f->s, f->slow_id, &m)) == 0, __func__);
	must((vs_write(f->s, f->slow_id, entry, want, BYTES, 0, 0, NULL)) == 0, __func__);
	must(vs_snapshot_vectors(m, v, BYTES, 0) == (ssize_t)BYTES, __func__);
	vs_snapshot_close(m);
}

/* Puts and deletes rows by a batch: `rows` of them uploaded. */
static void batch(struct fixture *f, unsigned rows, unsigned first)
{
	struct vs_schema schema = {.dim = DIM, .dtype = VS_F32};
	struct vs_upload *u;
	char name[16], why[256] = "", ids[16 * 1024];
	float(*v)[DIM] = malloc(rows * BYTES);
	size_t len = 0;
	uint32_t id;

	snprintf(name, sizeof name, "b%u", f->next++);
	id = slow_collection(f, f->slow_id, name);
	put(f, id, "of-the-batch", 1);
	must((vs_upload_begin(f->s, id, &schema, &u)) == 0, __func__);
	for (unsigned i = 0; i < rows; i++) {
		fill(v[i], first + i);
		len += (size_t)snprintf(ids + len, sizeof ids - len, "v%u\n", first + i);
	}
	must((vs_upload_append(u, v, rows * BYTES)) == 0, __func__);
	must((vs_upload_end(u, true)) == 0, __func__);
	free(v);
	must((vs_batch_text_write(f->s, id, VS_BATCH_IDS, ids, len, 0)) == 0, __func__);
	must((vs_batch_text_write(f->s, id, VS_BATCH_DELETE, "of-the-batch\n", 13, 0)) == 0, __func__);
	if (vs_batch_commit(f->s, id, 0, NULL, why, sizeof why))
		must(false, why);
}

static void works_small_batches(struct fixture *f, unsigned n)
{
	batch(f, 20, 300 + n);
}

static void works_large_batches(struct fixture *f, unsigned n)
{
	batch(f, 600, 400 + n);
}

/* Directory and links of a snapshot, and rows columns of their own for what it shares. */
static void works_keeping_snapshots(struct fixture *f, unsigned n)
{
	char name[16], row[16];
	uint32_t id;

	snprintf(name, sizeof name, "before%u", n);
	id = slow_collection(f, 0, name) + 1;
	must(id < SLOW_COLLECTIONS, __func__);
	f->slow.collection[id] = true;
	must((vs_snap_create(f->s, f->slow_id, name, &id)) == 0, __func__);
	snprintf(row, sizeof row, "v%u", 300 + n);
	must((vs_remove(f->s, f->slow_id, row, NULL)) == 0, __func__);
	put_number(f, f->slow_id, 300 + n);
	must((vs_snap_drop(f->s, id)) == 0, __func__);
}

static void works_giving_space_back(struct fixture *f, unsigned n)
{
	char name[16];

	for (unsigned i = ROWS; !n && i--;) {
		snprintf(name, sizeof name, "v%u", i);
		must((vs_remove(f->s, f->less, name, NULL)) == 0, __func__);
	}
}

static const struct work {
	const char *name;
	void (*fn)(struct fixture *f, unsigned n);
} works[] = {
	{"reading", works_reading},
	{"writing parts", works_part_writing},
	{"creating", works_creating},
	{"removing", works_removing},
	{"renaming over", works_renaming_over},
	{"moving", works_moving},
	{"first vectors", works_starting_a_collection},
	{"snapshots", works_changing_under_a_snapshot},
	{"durable snapshots", works_keeping_snapshots},
	{"small batches", works_small_batches},
	{"large batches", works_large_batches},
	{"giving space back", works_giving_space_back},
};
#define WORKS (sizeof works / sizeof *works)

/* ------------------------------------------------------------------ how long others wait */

enum probe { CREATE, READ, LOOKUP, LIST, SAME_WRITE, SAME_READ, SAME_LOOKUP, SAME_LIST, PROBES };
static const char *const probe_names[PROBES] = {"create",     "read",      "lookup",      "list",
						"same write", "same read", "same lookup", "same list"};

struct samples {
	unsigned count;
	float ms[SAMPLES];
};

static bool list_some(void *arg, const struct vs_attr *attr, const char *name, size_t len)
{
	unsigned *left = arg;

	(void)attr;
	(void)name;
	(void)len;
	return --*left;
}

static void list(struct fixture *f, uint32_t collection)
{
	unsigned left = 100;

	must((vs_list(f->s, collection, 0, list_some, &left)) == 0, __func__);
}

static void probe(struct fixture *f, enum probe p, unsigned n)
{
	float v[DIM];

	switch (p) {
	case CREATE:
		put_number(f, f->fast, ROWS + f->next++);
		break;
	case READ:
		must(vs_read(f->s, f->fast, entry_of_number(f, f->fast, n % ROWS), v, BYTES, 0) == FAST_BYTES,
		     __func__);
		break;
	case LOOKUP:
		must(entry_of_number(f, f->fast, n % ROWS), __func__);
		break;
	case LIST:
		list(f, f->fast);
		break;
	case SAME_WRITE:
		fill(v, 7);
		must(!vs_write(f->s, f->slow_id, entry_of(f, f->slow_id, "hot"), v, BYTES, 0, 0, NULL),
		     __func__);
		break;
	case SAME_LOOKUP:
		must(entry_of_number(f, f->slow_id, n % 100 + ROWS - 300), __func__);
		break;
	case SAME_LIST:
		list(f, f->slow_id);
		break;
	default:
		/* The row in the overlay: the applier would need at least one delay for it. */
		must(vs_read(f->s, f->slow_id, entry_of(f, f->slow_id, "hot"), v, BYTES, 0) == (ssize_t)BYTES,
		     __func__);
	}
}

static int by_time(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static double p99(struct samples *s)
{
	qsort(s->ms, s->count, sizeof *s->ms, by_time);
	return s->count ? (double)s->ms[s->count - 1 - s->count / 100] : 1e9;
}

struct job {
	struct fixture *f;
	const struct work *work;
};

static void *work_thread(void *arg)
{
	struct job *job = arg;

	while (!job->f->stop) {
		job->work->fn(job->f, job->f->done++);
		usleep(DELAY_MS * 1000); /* the applier takes three delays for a row */
	}
	return NULL;
}

/* Of one kind of work: the worst p99 of all probes. */
static double measure(struct fixture *f, const struct work *work)
{
	static struct samples samples[PROBES];
	struct job job = {f, work};
	double end = now_ms() + WORK_MS, worst = 0, longest = 0, hot_until = 0;
	enum probe worst_of = 0;
	pthread_t thread;

	memset(samples, 0, sizeof samples);
	f->stop = false;
	f->done = 0;
	f->slow.delay_ms = DELAY_MS;
	pthread_create(&thread, NULL, work_thread, &job);
	for (unsigned n = 0; now_ms() < end; n++) {
		for (enum probe p = 0; p < PROBES; p++) {
			double start = now_ms();

			/* The applier takes three delays for each: they must not pile up. */
			if (p == SAME_WRITE && start < hot_until)
				continue;
			if (p == SAME_WRITE)
				hot_until = start + DELAY_MS;
			probe(f, p, n);
			if (samples[p].count < SAMPLES)
				samples[p].ms[samples[p].count++] = (float)(now_ms() - start);
		}
		usleep(2000);
	}
	f->stop = true;
	f->slow.delay_ms = 0;
	pthread_join(thread, NULL);
	for (enum probe p = 0; p < PROBES; p++) {
		double ms = p99(&samples[p]);

		if (p == SAME_WRITE)
			continue; /* under a snapshot it may need the old bytes */
		if (ms > worst) {
			worst = ms;
			worst_of = p;
		}
		longest = samples[p].ms[samples[p].count - 1] > longest ? samples[p].ms[samples[p].count - 1]
									: longest;
	}
	print_message("%-18s %4u done, %6u probes: worst p99 %6.1f ms (%s), longest %6.1f ms\n", work->name,
		      f->done, samples[0].count * PROBES, worst, probe_names[worst_of], longest);
	assert_true(f->done);
	return worst;
}

static void a_slow_disk_is_felt_by_who_needs_it(void **state)
{
	struct fixture *f = *state;
	const char *long_run = getenv("VECFS_LONG");
	double bound = long_run && *long_run == '1' ? 20 : DELAY_MS / 2;
	unsigned failed = 0;
	char path[256];

	for (unsigned i = 0; i < WORKS; i++) {
		unsigned long before = f->slow.delayed;

		failed += measure(f, &works[i]) > bound;
		assert_true(f->slow.delayed > before); /* else nothing was proven */
		/* So that nothing is left for the next: this waits for the applier. */
		assert_int_equal(vs_segment_path(f->s, f->fast, 0, path, sizeof path, NULL), 0);
	}
	assert_int_equal(failed, 0);
}

/* ------------------------------------------------------------------ who makes a segment */

struct first_put {
	struct fixture *f;
	uint32_t id;
	unsigned after_ms;
};

static void *first_put_thread(void *arg)
{
	struct first_put *p = arg;

	usleep(p->after_ms * 1000);
	put_number(p->f, p->id, 5000);
	return NULL;
}

static void share_a_collection(struct fixture *f, unsigned after_ms)
{
	uint32_t slow_id = f->slow_id;
	struct first_put p = {f, 0, after_ms};
	struct vs_attr attr;
	pthread_t thread;
	char id[16];
	float v[DIM];

	snprintf(id, sizeof id, "both%u", after_ms);
	p.id = slow_collection(f, 0, id);
	f->slow.delay_ms = SHORT_MS;
	pthread_create(&thread, NULL, first_put_thread, &p);
	f->slow_id = p.id;
	batch(f, 600, 0);
	f->slow_id = slow_id;
	pthread_join(thread, NULL);
	f->slow.delay_ms = 0;
	for (unsigned i = 0; i < 601; i++) {
		snprintf(id, sizeof id, "v%u", i < 600 ? i : 5000);
		assert_int_equal(vs_lookup(f->s, p.id, id, &attr), 0);
		assert_true(vs_read(f->s, p.id, attr.entry, v, BYTES, 0) == (ssize_t)BYTES);
	}
}

/* Both want number 0: whoever comes second must not take the other's files for left over. */
static void a_batch_and_a_first_vector_share_a_collection(void **state)
{
	for (unsigned n = 0; n < 16; n++)
		share_a_collection(*state, n * 2 * SHORT_MS);
}

/* ------------------------------------------------------------------ large batches */

struct import {
	struct fixture *f;
	uint32_t id;
	unsigned puts;
};

/* Puts vectors into the collection that is imported to: they wait for the attach, and none is lost. */
static void *put_thread(void *arg)
{
	struct import *p = arg;
	struct vs_attr attr = {.mtime = 1, .perm = perm};
	char id[16];

	for (; !p->f->stop; p->puts++) {
		snprintf(id, sizeof id, "mine%u", p->puts);
		must(!vs_entry_reserve(p->f->s, p->id, &attr.entry), __func__);
		must(!vs_put(p->f->s, p->id, id, &attr, id, sizeof id, NULL), __func__);
		usleep(1000);
	}
	return NULL;
}

static void *commit_thread(void *arg)
{
	struct import *p = arg;
	struct vs_schema schema = {.dim = 4, .dtype = VS_F32};
	char *ids = malloc(IMPORT_ROWS * 12ul), *rows = calloc(IMPORT_ROWS, 16), why[256] = "";
	struct vs_upload *u;
	size_t len = 0;
	uint32_t b;

	must(!vs_collection_create(p->f->s, p->id, "batch", &perm, &b), __func__);
	must(!vs_upload_begin(p->f->s, b, &schema, &u), __func__);
	must(!vs_upload_append(u, rows, IMPORT_ROWS * 16ul), __func__);
	must(!vs_upload_end(u, true), __func__);
	for (unsigned i = 0; i < IMPORT_ROWS; i++)
		len += (size_t)sprintf(ids + len, "v%u\n", i);
	must(!vs_batch_text_write(p->f->s, b, VS_BATCH_IDS, ids, len, 0), __func__);
	must(!vs_batch_commit(p->f->s, b, 0, NULL, why, sizeof why), why);
	p->f->stop = true;
	free(ids);
	free(rows);
	return NULL;
}

/* Its rows are there all at once, and nobody waits for all of their index. */
static void a_large_batch_lets_others_go_on(void **state)
{
	struct fixture *f = *state;
	struct import p = {f, 0, 0};
	struct vs_collection_info info;
	pthread_t committer, putter;
	double longest = 0;
	char last[16];

	snprintf(last, sizeof last, "v%u", IMPORT_ROWS - 1);
	assert_int_equal(vs_collection_create(f->s, 0, "import", &perm, &p.id), 0);
	f->stop = false;
	pthread_create(&putter, NULL, put_thread, &p);
	pthread_create(&committer, NULL, commit_thread, &p);
	for (unsigned n = 0; !f->stop; n++) {
		double start = now_ms();
		bool first = entry_of(f, p.id, "v0");

		assert_true(!first || entry_of(f, p.id, last));
		probe(f, n % (LIST + 1), n);
		longest = now_ms() - start > longest ? now_ms() - start : longest;
		usleep(500);
	}
	pthread_join(committer, NULL);
	pthread_join(putter, NULL);
	assert_int_equal(vs_collection_get(f->s, p.id, &info), 0);
	assert_int_equal(info.count, IMPORT_ROWS + p.puts);
	print_message("%u rows: the longest wait of others %.1f ms\n", IMPORT_ROWS, longest);
	assert_true(longest < IMPORT_WAIT_MS);
}

/* ------------------------------------------------------------------ the end of a collection */

/* The applier removes an empty segment's files, and somebody the collection, at the same time: what the table
 * counts, and the catalog has space for, is right after it. */
static void a_collection_goes_while_its_files_are_removed(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 4; i++) {
		uint32_t id = slow_collection(f, 0, "short-lived");
		unsigned long before = f->slow.unlinks;

		put(f, id, "only", i);
		must(vs_sync(f->s) == 0, __func__);
		f->slow.delay_ms = SHORT_MS;
		must(vs_remove(f->s, id, "only", NULL) == 0, __func__);
		while (f->slow.unlinks == before)
			usleep(1000);
		must(vs_collection_remove(f->s, id) == 0, __func__);
		f->slow.delay_ms = 0;
		must(vs_sync(f->s) == 0, __func__);
	}
}

/* ------------------------------------------------------------------ the store */

static int new_store(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct vs_options options = {0};
	char why[256];

	scratch_new(&f->sc);
	slow_io_init(&f->slow, f->sc.io);
	options.io = &f->slow.io;
	if (vs_open(f->sc.dir, &options, &f->s, why, sizeof why))
		fail_msg("the store does not open: %s", why);
	assert_int_equal(vs_collection_create(f->s, 0, "fast", &perm, &f->fast), 0);
	f->slow_id = slow_collection(f, 0, "slow");
	f->other = slow_collection(f, 0, "other");
	f->less = slow_collection(f, 0, "less");
	for (unsigned i = 0; i < ROWS; i++) {
		put_number(f, f->fast, i);
		put_number(f, f->slow_id, i);
		put_number(f, f->other, i);
		put_number(f, f->less, i);
	}
	put(f, f->slow_id, "hot", 7);
	assert_int_equal(vs_close(f->s), 0);
	if (vs_open(f->sc.dir, &options, &f->s, why, sizeof why))
		fail_msg("the store does not open: %s", why);
	*state = f;
	return 0;
}

static int free_store(void **state)
{
	struct fixture *f = *state;

	f->slow.delay_ms = 0;
	assert_int_equal(vs_close(f->s), 0);
	assert_int_equal(vs_check(f->sc.dir, NULL, false, NULL, NULL), VS_CHECK_CLEAN);
	scratch_free(&f->sc);
	free(f);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_batch_and_a_first_vector_share_a_collection, new_store,
						free_store),
		cmocka_unit_test_setup_teardown(a_large_batch_lets_others_go_on, new_store, free_store),
		cmocka_unit_test_setup_teardown(a_collection_goes_while_its_files_are_removed, new_store,
						free_store),
		cmocka_unit_test_setup_teardown(a_slow_disk_is_felt_by_who_needs_it, new_store, free_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
