/* SPDX-License-Identifier: Apache-2.0 */
/* Views through the engine's public interface: models, vectors, who reads and who writes beside them. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/io/io.h"
#include "tests/unit/store/view_fixture.h"

static void a_damaged_model_is_trained_anew(void **state)
{
	struct fixture *f = *state;

	put_many(f, 0, 400);
	create(f, "pq4x4");
	wait_whole(f, "pq4x4");
	assert_int_equal(vs_close(f->s), 0);
	flip(f, "view.pq4x4.1.npy", 4100);
	assert_int_equal(vs_check(f->sc.dir, NULL, false, NULL, NULL), VS_CHECK_DAMAGED);
	open_with(f, NULL, false);
	assert_int_equal(wait_whole(f, "pq4x4").epoch, 2);
	assert_true(compare(f, "pq4x4"));
	assert_non_null(strstr(f->warning, "its model cannot be used"));
	for (int i = 0; i < 400 && count_files(f, ".pq4x4.1.") > 0; i++) /* the builder's next step */
		pause_ms(50);
	assert_int_equal(count_files(f, ".pq4x4.1."), 0);
}

static void a_dropped_view_leaves_no_file_and_its_readers_go_on(void **state)
{
	struct fixture *f = *state;
	struct vs_snapshot *m;
	struct vs_view *v;
	struct vs_view_info info;
	char code[2 * DIM];

	put_many(f, 0, 500);
	create(f, "f16");
	wait_whole(f, "f16");
	assert_true(count_files(f, ".f16.") > 0);
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	assert_int_equal(vs_view_open(m, "f16", &v), 0);
	assert_int_equal(vs_view_drop(f->s, f->docs, "f16"), 0);
	assert_int_equal(vs_view_drop(f->s, f->docs, "f16"), -ENOENT);
	assert_int_equal(vs_view_get(f->s, f->docs, "f16", &info), -ENOENT);
	for (int i = 0; i < WAIT_MS / 5 && count_files(f, ".f16."); i++)
		pause_ms(5);
	assert_int_equal(count_files(f, ".f16."), 0);
	assert_int_equal(vs_view_codes(v, 499, 1, code), 0);
	vs_view_close(v);
	vs_snapshot_close(m);
	create(f, "f16");
	wait_whole(f, "f16");
	assert_true(compare(f, "f16"));
}

static void what_cannot_be_is_refused_with_what_would_fit(void **state)
{
	static const struct {
		const char *name, *why;
	} cases[] = {
		{"pq8", "256 vectors are the least for pq8; there are 200"},
		{"pq50", "50 sub-vectors are more than the 40 dims: 1 to 40 fit, 5 is usual"},
		{"rabitq9", "no view is called so"},
		{"pq08", "no view is called so"},
		{"..", "no view is called so"},
		{"sq8sq8sq8sq8sq8sq8sq8sq8sq8sq8sq8sq8", "no view is called so"},
	};
	struct fixture *f = *state;
	char why[200];

	assert_int_equal(vs_view_create(f->s, f->docs, "f16", NULL, why, sizeof why), -EINVAL);
	assert_string_equal(why, "there are no vectors yet");
	put_many(f, 0, 200);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(vs_view_create(f->s, f->docs, cases[i].name, NULL, why, sizeof why),
				 -EINVAL);
		assert_non_null(strstr(why, cases[i].why));
	}
	create(f, "bit");
	assert_int_equal(vs_view_create(f->s, f->docs, "bit", NULL, why, sizeof why), -EEXIST);
	assert_int_equal(vs_view_wait(f->s, f->docs, "bit", NULL, NULL), 0);
	assert_int_equal(vs_view_wait(f->s, f->docs, "sq8", NULL, NULL), -ENOENT);
}

static void another_seed_trains_anew_without_a_gap(void **state)
{
	struct vs_view_params params = {.seed = 7};
	struct fixture *f = *state;
	struct vs_view_info before, now;
	struct vs_snapshot *m;
	struct vs_view *v;
	char *want, *got;

	put_many(f, 0, 3000);
	create(f, "pq8x4");
	before = wait_whole(f, "pq8x4");
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	assert_int_equal(vs_view_open(m, "pq8x4", &v), 0);
	want = codes_of_vectors(m, vs_view_codec(v), 4);
	got = malloc(3000 * 4);
	assert_int_equal(vs_view_set_params(f->s, f->docs, "pq8x4", &params), 0);
	do {
		assert_true(compare(f, "pq8x4"));
		now = info_of(f, "pq8x4");
	} while (now.state != VS_VIEW_READY);
	assert_int_equal(now.epoch, 2);
	assert_true(now.model != before.model);
	put_many(f, 0, 100);
	assert_int_equal(vs_view_codes(v, 0, 3000, got), 0);
	assert_memory_equal(got, want, 3000 * 4);
	free(want);
	free(got);
	vs_view_close(v);
	vs_snapshot_close(m);
	reopen(f);
	assert_int_equal(wait_whole(f, "pq8x4").epoch, 2);
	assert_int_equal(info_of(f, "pq8x4").params.seed, 7);
	for (int i = 0; i < 200 && count_files(f, ".pq8x4.1."); i++)
		pause_ms(5);
	assert_int_equal(count_files(f, ".pq8x4.1."), 0);
}

static void a_damaged_vector_has_no_code_and_hinders_no_other(void **state)
{
	struct fixture *f = *state;
	struct vs_view_info info;
	struct vs_snapshot *m;
	struct vs_view *v;
	char codes[100];

	put_many(f, 0, 300);
	assert_int_equal(vs_close(f->s), 0);
	flip(f, "0.npy", 4096 + 70 * DIM * sizeof(float) + 5);
	open_with(f, NULL, false);
	create(f, "pq1");
	do
		info = info_of(f, "pq1");
	while (info.state != VS_VIEW_LAGGING);
	assert_string_equal(info.why, "1 vectors are damaged (checksum) and have no code");
	assert_int_equal(info.rows_encoded, 299);
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	assert_int_equal(vs_view_open(m, "pq1", &v), 0);
	assert_int_equal(vs_view_codes(v, 0, 70, codes), 0);
	assert_int_equal(vs_view_codes(v, 71, 100, codes), 0);
	assert_int_equal(vs_view_codes(v, 70, 1, codes), -EIO);
	vs_view_close(v);
	vs_snapshot_close(m);
	assert_int_equal(vs_remove(f->s, f->docs, "v70", NULL), 0);
	wait_whole(f, "pq1");
	assert_true(compare(f, "pq1"));
}

/* Vectors of two kinds: those that a view was trained on, and others. */
static void put_kind(struct fixture *f, unsigned from, unsigned to, bool other)
{
	for (unsigned i = from; i < to; i++) {
		struct vs_attr attr = {.perm = perm};
		float v[DIM];
		char id[16];

		for (int d = 0; d < DIM; d++)
			v[d] = (float)numbers_below(&f->numbers, 1000) / 1000 *
			       ((d < DIM / 2) == other ? 20 : 1);
		snprintf(id, sizeof id, "k%u", i);
		assert_int_equal(vs_entry_reserve(f->s, f->docs, &attr.entry), 0);
		assert_int_equal(vs_put(f->s, f->docs, id, &attr, v, sizeof v, NULL), 0);
	}
}

static void drift_is_told_and_trains_anew_if_wanted(void **state)
{
	struct vs_view_params params = {.retrain_auto = true};
	struct fixture *f = *state;
	struct vs_view_info info;
	char why[200];

	put_kind(f, 0, 3000, false);
	create(f, "opq5x4");
	assert_int_equal(vs_view_create(f->s, f->docs, "opq5", &params, why, sizeof why), 0);
	info = wait_whole(f, "opq5");
	assert_true(info.error_trained > 0 && info.error_trained < 1);
	wait_whole(f, "opq5x4");
	put_kind(f, 3000, 9000, true);
	for (int i = 0; i < WAIT_MS / 5 && info.epoch == 1; i++) {
		pause_ms(5);
		info = info_of(f, "opq5");
	}
	assert_int_equal(wait_whole(f, "opq5").epoch, 2);
	assert_true(compare(f, "opq5") && compare(f, "opq5x4"));
	info = wait_whole(f, "opq5x4");
	assert_int_equal(info.epoch, 1);
	assert_true(info.error_recent > VS_VIEW_DRIFT_MAX * info.error_trained);
	assert_int_equal(f->warnings, 2);
	assert_non_null(strstr(f->warning, "vectors have drifted"));
}

/* ------------------------------------------------------------------ beside writers */

struct writer {
	struct fixture *f;
	pthread_t thread;
	unsigned number;
	_Atomic bool *stop;
	unsigned changes;
};

static void batch(struct fixture *f, struct numbers *n, unsigned number)
{
	struct vs_schema schema = {.dim = DIM, .dtype = VS_F32};
	char name[16], text[4000] = "", why[200];
	struct vs_upload *u;
	uint32_t id;
	size_t len = 0;

	snprintf(name, sizeof name, "b%u", number);
	assert_int_equal(vs_collection_create(f->s, f->docs, name, &perm, &id), 0);
	assert_int_equal(vs_upload_begin(f->s, id, &schema, &u), 0);
	for (int i = 0; i < 100; i++) {
		float v[DIM];

		fill(n, v);
		assert_int_equal(vs_upload_append(u, v, sizeof v), 0);
		len += (size_t)snprintf(text + len, sizeof text - len, "w%u-%d\n", number, i);
	}
	assert_int_equal(vs_upload_end(u, true), 0);
	assert_int_equal(vs_batch_text_write(f->s, id, VS_BATCH_IDS, text, len, 0), 0);
	if (vs_batch_commit(f->s, id, 0, NULL, why, sizeof why))
		fail_msg("batch: %s", why);
}

static void *write_on(void *arg)
{
	struct writer *w = arg;
	struct numbers n = {.state = 1000 + w->number};

	for (; !*w->stop; w->changes++) {
		char id[32], to[32];
		uint64_t what = numbers_below(&n, 100), entry, replaced;
		struct vs_attr attr;
		float x = (float)numbers_below(&n, 100);

		snprintf(id, sizeof id, "w%u-%u", w->number, (unsigned)numbers_below(&n, 400));
		snprintf(to, sizeof to, "w%u-%u", w->number, (unsigned)numbers_below(&n, 400));
		if (what < 50)
			assert_int_equal(put_id(w->f, &n, id), 0);
		else if (what < 75)
			vs_remove(w->f->s, w->f->docs, id, NULL);
		else if (what < 85)
			vs_rename(w->f->s, w->f->docs, id, w->f->docs, to, false, &entry, &replaced);
		else if (what < 99 && !vs_lookup(w->f->s, w->f->docs, id, &attr))
			vs_write(w->f->s, w->f->docs, attr.entry, &x, sizeof x, 4 * numbers_below(&n, DIM), 0,
				 NULL);
		else if (what == 99)
			batch(w->f, &n, w->number);
	}
	return NULL;
}

static void every_snapshot_has_its_codes_beside_writers(void **state)
{
	static const char *const names[] = {"f16", "sq8", "opq8", "rabitq2"};
	struct fixture *f = *state;
	struct writer writers[4];
	_Atomic bool stop = false;
	unsigned compared = 0;
	time_t end;

	put_many(f, 0, 600);
	for (unsigned i = 0; i < 4; i++) {
		create(f, names[i]);
		writers[i] = (struct writer){.f = f, .number = i, .stop = &stop};
		assert_int_equal(pthread_create(&writers[i].thread, NULL, write_on, &writers[i]), 0);
	}
	for (end = time(NULL) + 6; time(NULL) < end; compared++)
		compare(f, names[compared % 4]);
	stop = true;
	for (unsigned i = 0; i < 4; i++)
		pthread_join(writers[i].thread, NULL);
	for (unsigned i = 0; i < 4; i++) {
		wait_whole(f, names[i]);
		assert_true(compare(f, names[i]));
	}
	reopen(f);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(compare(f, names[i]));
		wait_whole(f, names[i]);
	}
	/* What the writers write may be unlike what the first of them were trained on. */
	if (f->warnings && !strstr(f->warning, "vectors have drifted"))
		fail_msg("%s", f->warning);
}

/* ------------------------------------------------------------------ durable snapshots */

static uint32_t take_snapshot(struct fixture *f, const char *name)
{
	uint32_t id;

	assert_int_equal(vs_snap_create(f->s, f->docs, name, &id), 0);
	return id;
}

static void a_durable_snapshot_has_the_views_of_its_collection(void **state)
{
	static const char *const names[] = {"f16", "sq8", "opq8", "rabitq2"};
	struct fixture *f = *state;
	struct vs_view_info info;
	uint32_t snap;
	char why[200];

	put_many(f, 0, 1500);
	for (unsigned i = 0; i < 4; i++)
		create(f, names[i]);
	for (unsigned i = 0; i < 4; i++)
		wait_whole(f, names[i]);
	snap = take_snapshot(f, "S");
	assert_int_equal(vs_view_get(f->s, snap, "sq8", &info), 0);
	assert_true(info.rows == 1500 && info.rows_encoded == 1500 && info.state == VS_VIEW_READY);
	put_many(f, 1400, 1600);
	assert_int_equal(vs_remove(f->s, f->docs, "v5", NULL), 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(compare_in(f, snap, names[i]));
		wait_whole(f, names[i]);
		assert_true(compare_in(f, snap, names[i]) && compare(f, names[i]));
		assert_int_equal(vs_view_get(f->s, snap, names[i], &info), 0);
		assert_int_equal(info.rows_encoded, 1500 - 101); /* that both have */
	}
	info.name[0] = '\0';
	assert_int_equal(vs_view_next(f->s, snap, info.name, &info), 0);
	assert_string_equal(info.name, "f16");
	assert_int_equal(vs_view_create(f->s, snap, "bit", NULL, why, sizeof why), -EROFS);
	assert_int_equal(vs_view_drop(f->s, snap, "f16"), -EROFS);
	assert_int_equal(vs_view_set_params(f->s, snap, "f16", &info.params), -EROFS);
	reopen(f);
	for (unsigned i = 0; i < 4; i++)
		assert_true(compare_in(f, snap, names[i]));
	assert_int_equal(vs_close(f->s), 0);
	open_with(f, NULL, true);
	for (unsigned i = 0; i < 4; i++)
		assert_true(compare_in(f, snap, names[i]));
	reopen(f);
	assert_int_equal(vs_view_drop(f->s, f->docs, "f16"), 0);
	assert_int_equal(vs_view_get(f->s, snap, "f16", &info), -ENOENT);
	assert_int_equal(f->warnings, 0);
}

static void a_durable_snapshot_that_is_dropped_is_read_to_the_end(void **state)
{
	struct fixture *f = *state;
	struct vs_snapshot *m;
	struct vs_view *v;
	uint32_t snap;

	put_many(f, 0, 1000);
	create(f, "sq8");
	wait_whole(f, "sq8");
	snap = take_snapshot(f, "S");
	put_many(f, 300, 500);
	assert_int_equal(vs_snapshot_open(f->s, snap, &m), 0);
	assert_int_equal(vs_view_open(m, "sq8", &v), 0);
	compare_rows(m, v, "before");
	assert_int_equal(vs_snap_drop(f->s, snap), 0);
	put_many(f, 1000, 1300); /* in the holes that it has left */
	wait_whole(f, "sq8");
	compare_rows(m, v, "after");
	vs_view_close(v);
	vs_snapshot_close(m);
}

static void every_durable_snapshot_has_its_codes_beside_writers(void **state)
{
	static const char *const names[] = {"sq8", "opq8"};
	struct fixture *f = *state;
	struct writer writers[2];
	_Atomic bool stop = false;
	uint32_t snaps[3] = {0};
	time_t end;

	put_many(f, 0, 600);
	for (unsigned i = 0; i < 2; i++)
		create(f, names[i]);
	for (unsigned i = 0; i < 2; i++) /* before the writers, beside whom the builder rests */
		wait_whole(f, names[i]);
	for (unsigned i = 0; i < 2; i++) {
		writers[i] = (struct writer){.f = f, .number = i, .stop = &stop};
		assert_int_equal(pthread_create(&writers[i].thread, NULL, write_on, &writers[i]), 0);
	}
	end = time(NULL) + 4;
	for (unsigned n = 0; time(NULL) < end; n++) {
		uint32_t *snap = &snaps[n % 3];
		char name[16];

		if (*snap)
			assert_int_equal(vs_snap_drop(f->s, *snap), 0);
		snprintf(name, sizeof name, "S%u", n);
		*snap = take_snapshot(f, name);
		for (unsigned i = 0; i < 3; i++)
			if (snaps[i])
				compare_in(f, snaps[i], names[(n + i) % 2]);
	}
	stop = true;
	for (unsigned i = 0; i < 2; i++)
		pthread_join(writers[i].thread, NULL);
}

/* ------------------------------------------------------------------ a disk that is full for codes */

#define FDS_MAX 1024

/* The real table, but that there is no space for files whose names hold ".f16.". */
static struct {
	const struct io_ops *real;
	struct io_ops ops;
	_Atomic bool of_view[FDS_MAX]; /* any thread opens files */
	_Atomic bool is_full;
} full;

static int full_open(struct io *io, const char *path, int flags, mode_t mode)
{
	int fd = full.real->open(io, path, flags, mode);

	if (fd >= 0 && fd < FDS_MAX)
		full.of_view[fd] = strstr(path, ".f16.") != NULL;
	return fd;
}

static int full_fallocate(struct io *io, int fd, int mode, uint64_t off, uint64_t len)
{
	return full.is_full && full.of_view[fd] ? -ENOSPC : full.real->fallocate(io, fd, mode, off, len);
}

static ssize_t full_pwritev(struct io *io, int fd, const struct iovec *iov, int count, uint64_t off)
{
	return full.is_full && full.of_view[fd] ? -ENOSPC : full.real->pwritev(io, fd, iov, count, off);
}

/* Opens the store again, on a disk that is full as these of its calls tell; the others are the real ones. */
static struct io *open_on_full_disk(struct fixture *f, const struct io_ops *calls)
{
	struct io *io;

	assert_int_equal(vs_close(f->s), 0);
	assert_int_equal(io_new_real(f->sc.dir, false, &io), 0);
	full.real = io->ops;
	full.ops = *io->ops;
	full.ops.open = calls->open;
	full.ops.fallocate = full_fallocate;
	full.ops.pwritev = calls->pwritev ? calls->pwritev : full.real->pwritev;
	full.ops.datasync = calls->datasync ? calls->datasync : full.real->datasync;
	io->ops = &full.ops;
	full.is_full = true;
	open_with(f, io, false);
	return io;
}

/* Opens it on the real disk again. */
static void leave_full_disk(struct fixture *f, struct io *io)
{
	assert_int_equal(vs_close(f->s), 0);
	io->ops = full.real;
	io_free_real(io);
	open_with(f, NULL, false);
}

static void a_full_disk_makes_the_view_lag_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	struct vs_view_info info;
	struct io *io;

	put_many(f, 0, 300);
	io = open_on_full_disk(f, &(struct io_ops){.open = full_open, .pwritev = full_pwritev});
	create(f, "f16");
	create(f, "bit");
	wait_whole(f, "bit");
	do
		info = info_of(f, "f16");
	while (info.state != VS_VIEW_LAGGING);
	assert_string_equal(info.why, "encoding: No space left on device");
	assert_true(compare(f, "f16"));
	put_many(f, 300, 400);
	assert_true(compare(f, "f16"));
	assert_int_equal(f->warnings, 1);
	full.is_full = false;
	info = wait_whole(f, "f16");
	assert_string_equal(info.why, "");
	full.is_full = true;
	put_many(f, 390, 500);
	assert_true(compare(f, "f16"));
	full.is_full = false;
	wait_whole(f, "f16");
	assert_true(compare(f, "f16"));
	leave_full_disk(f, io);
	assert_true(compare(f, "f16"));
}

static int late_open(struct io *io, const char *path, int flags, mode_t mode)
{
	int fd = full.real->open(io, path, flags, mode);

	if (fd >= 0 && fd < FDS_MAX)
		full.of_view[fd] = strstr(path, "/view.pq8.") != NULL;
	return fd;
}

/* As file systems do that look for space when they write back. */
static int late_datasync(struct io *io, int fd)
{
	return full.is_full && full.of_view[fd] ? -ENOSPC : full.real->datasync(io, fd);
}

static void a_model_without_space_poisons_no_store(void **state)
{
	struct fixture *f = *state;
	struct vs_view_info info;
	struct io *io;

	put_many(f, 0, 300);
	io = open_on_full_disk(f, &(struct io_ops){.open = late_open, .datasync = late_datasync});
	create(f, "pq8");
	do
		info = info_of(f, "pq8");
	while (!*info.why);
	assert_string_equal(info.why, "training: No space left on device");
	put_many(f, 300, 400);
	assert_int_equal(vs_sync(f->s), 0);
	full.is_full = false;
	info = wait_whole(f, "pq8");
	assert_string_equal(info.why, "");
	leave_full_disk(f, io);
	assert_true(compare(f, "pq8"));
}

/* ------------------------------------------------------------------ other vectors */

static struct {
	struct fixture *f;
	const struct io_ops *real;
	_Atomic bool waits;  /* for the builder to open a model */
	_Atomic bool opened; /* the store */
} other;

static void remove_from(struct fixture *f, const char *prefix, unsigned first, unsigned count)
{
	char id[16];

	for (unsigned i = first; i < first + count; i++) {
		snprintf(id, sizeof id, "%s%u", prefix, i);
		assert_int_equal(vs_remove(f->s, f->docs, id, NULL), 0);
	}
}

static void remove_many(struct fixture *f, const char *prefix, unsigned count)
{
	remove_from(f, prefix, 0, count);
}

/* The last vector goes, and others of twice the size come. */
static void replace_all(struct fixture *f)
{
	struct vs_attr attr = {.mtime = 77, .perm = perm};
	float v[2 * DIM] = {0};
	char id[16];

	remove_many(f, "v", 1000);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(id, sizeof id, "w%u", i);
		v[i % DIM] = (float)i;
		assert_int_equal(vs_entry_reserve(f->s, f->docs, &attr.entry), 0);
		assert_int_equal(vs_put(f->s, f->docs, id, &attr, v, sizeof v, NULL), 0);
	}
	assert_int_equal(vs_checkpoint(f->s), 0);
}

static int replacing_open(struct io *io, const char *path, int flags, mode_t mode)
{
	if (strstr(path, "/view.pq8.") && atomic_exchange(&other.waits, false)) {
		while (!other.opened)
			pause_ms(1);
		replace_all(other.f);
	}
	return other.real->open(io, path, flags, mode);
}

static void vectors_of_another_size_come_while_the_builder_is_at_work(void **state)
{
	struct fixture *f = *state;
	struct io *io;
	struct io_ops ops;

	put_many(f, 0, 1000);
	create(f, "pq8");
	wait_whole(f, "pq8");
	assert_int_equal(vs_close(f->s), 0);
	assert_int_equal(io_new_real(f->sc.dir, false, &io), 0);
	other.f = f;
	other.real = io->ops;
	ops = *io->ops;
	ops.open = replacing_open;
	io->ops = &ops;
	other.waits = true;
	open_with(f, io, false);
	other.opened = true;
	do
		pause_ms(5);
	while (other.waits || info_of(f, "pq8").plan.dim != 2 * DIM);
	assert_int_equal(wait_whole(f, "pq8").rows, 1000);
	assert_true(compare(f, "pq8"));
	reopen(f);
	io->ops = other.real;
	io_free_real(io);
}

/* They need not be durable, and the next segment of the number would have them. */
static void codes_of_what_has_gone_go_with_the_close(void **state)
{
	struct fixture *f = *state;

	put_many(f, 0, 100);
	create(f, "f16");
	wait_whole(f, "f16");
	reopen(f);
	assert_true(count_files(f, "0.f16.") > 0);
	remove_many(f, "v", 100);
	assert_int_equal(vs_close(f->s), 0);
	assert_int_equal(count_files(f, "0.f16."), 0);
	open_with(f, NULL, false);
}

static void put_bytes(struct fixture *f, unsigned first, unsigned count)
{
	struct vs_attr attr = {.mtime = 77, .perm = perm};
	unsigned char v[DIM];
	char id[16];

	for (unsigned i = first; i < first + count; i++) {
		for (unsigned k = 0; k < DIM; k++)
			v[k] = (unsigned char)(i * 7 + k * 13);
		snprintf(id, sizeof id, "v%u", i);
		assert_int_equal(vs_entry_reserve(f->s, f->docs, &attr.entry), 0);
		assert_int_equal(vs_put(f->s, f->docs, id, &attr, v, sizeof v, NULL), 0);
	}
	assert_int_equal(vs_sync(f->s), 0);
}

/* The same bytes, which mean other numbers: no code of before is one of theirs. */
static void vectors_of_the_same_bytes_and_another_dtype_have_codes_of_their_own(void **state)
{
	static const char *const names[] = {"f16", "sq8", "pq8"};
	struct vs_schema schema = {.dim = DIM, .dtype = VS_I8};
	struct fixture *f = *state;

	for (unsigned n = 0; n < 12; n++) {
		schema.dtype = n % 2 ? VS_U8 : VS_I8;
		assert_int_equal(vs_schema_set(f->s, f->docs, &schema), 0);
		put_bytes(f, 0, 1000);
		for (unsigned i = 0; i < sizeof names / sizeof *names && !n; i++)
			create(f, names[i]);
		for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
			wait_whole(f, names[i]);
			assert_true(compare(f, names[i]));
		}
		remove_many(f, "v", 1000);
	}
	/* The builder may look while there are few of them. */
	if (f->warnings && !strstr(f->warning, "256 vectors are the least for pq8"))
		fail_msg("%s", f->warning);
}

/* Puts ten vectors from v`first` on, each once the builder has seen that with the one before there are too
 * few. */
static void put_too_few(struct fixture *f, unsigned first)
{
	char want[64];

	for (unsigned n = first; n < first + 10; n++) {
		put_bytes(f, n, 1);
		snprintf(want, sizeof want, "there are %u", n + 1);
		for (int t = 0; t < WAIT_MS / 5 && !strstr(info_of(f, "pq8").why, want); t++)
			pause_ms(5);
		assert_non_null(strstr(info_of(f, "pq8").why, want));
		assert_int_equal(info_of(f, "pq8").state, VS_VIEW_FAILED);
	}
}

/* A whole pq8 of 300 vectors. */
static void view_of_bytes(struct fixture *f, const struct vs_schema *schema)
{
	assert_int_equal(vs_schema_set(f->s, f->docs, schema), 0);
	put_bytes(f, 0, 300);
	create(f, "pq8");
	wait_whole(f, "pq8");
}

static void that_vectors_are_too_few_is_told_once(void **state)
{
	struct vs_schema schema = {.dim = DIM, .dtype = VS_I8};
	struct fixture *f = *state;

	view_of_bytes(f, &schema);
	remove_many(f, "v", 300);
	schema.dtype = VS_U8;
	assert_int_equal(vs_schema_set(f->s, f->docs, &schema), 0);
	put_too_few(f, 0);
	assert_int_equal(f->warnings, 1);
	assert_non_null(strstr(f->warning, "256 vectors are the least for pq8"));
	put_bytes(f, 10, 290);
	wait_whole(f, "pq8");
	assert_true(compare(f, "pq8"));
	assert_int_equal(f->warnings, 1);
}

static void a_damaged_model_is_told_once_though_vectors_are_too_few(void **state)
{
	struct vs_schema schema = {.dim = DIM, .dtype = VS_U8};
	struct fixture *f = *state;

	view_of_bytes(f, &schema);
	remove_from(f, "v", 200, 100);
	assert_int_equal(vs_close(f->s), 0);
	flip(f, "view.pq8.1.npy", 4100);
	open_with(f, NULL, false);
	put_too_few(f, 200);
	assert_int_equal(f->warnings, 2); /* the model, and the vectors */
	put_bytes(f, 210, 90);
	assert_int_equal(wait_whole(f, "pq8").epoch, 2);
	assert_true(compare(f, "pq8"));
	assert_int_equal(f->warnings, 2);
}

/* So many rows of i8, which fixes the dtype if nobody has said it. */
static void upload_bytes(struct fixture *f, unsigned count)
{
	struct vs_schema schema = {.dim = DIM, .dtype = VS_I8};
	struct vs_upload *upload;
	uint32_t batch;
	char why[256];

	assert_int_equal(vs_collection_create(f->s, f->docs, "b", &perm, &batch), 0);
	assert_int_equal(vs_upload_begin(f->s, batch, &schema, &upload), 0);
	for (unsigned i = 0; i < count; i++) {
		signed char v[DIM];

		for (unsigned k = 0; k < DIM; k++)
			v[k] = (signed char)(i * 7 + k * 13);
		assert_int_equal(vs_upload_append(upload, v, sizeof v), 0);
	}
	assert_int_equal(vs_upload_end(upload, true), 0);
	assert_int_equal(vs_batch_commit(f->s, batch, 0, NULL, why, sizeof why), 0);
}

static void a_collection_that_was_emptied_keeps_the_models_of_what_it_had(void **state)
{
	const struct vs_schema schema = {.dim = DIM};
	struct fixture *f = *state;
	uint64_t model;

	assert_int_equal(vs_schema_change(f->s, f->docs, VS_SCHEMA_DIM, &schema), 0);
	upload_bytes(f, 1000);
	create(f, "pq8");
	create(f, "f16");
	wait_whole(f, "f16");
	model = wait_whole(f, "pq8").model;
	remove_many(f, "", 1000);
	pause_ms(300); /* the builder looks */
	assert_int_equal(info_of(f, "pq8").model, model);
	reopen(f);
	pause_ms(300);
	upload_bytes(f, 1000);
	wait_whole(f, "f16");
	assert_int_equal(wait_whole(f, "pq8").model, model);
	assert_true(compare(f, "pq8") && compare(f, "f16"));
	assert_int_equal(f->warnings, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, new_store, free_store)
		TEST(a_damaged_model_is_trained_anew),
		TEST(a_dropped_view_leaves_no_file_and_its_readers_go_on),
		TEST(what_cannot_be_is_refused_with_what_would_fit),
		TEST(another_seed_trains_anew_without_a_gap),
		TEST(a_damaged_vector_has_no_code_and_hinders_no_other),
		TEST(drift_is_told_and_trains_anew_if_wanted),
		TEST(a_full_disk_makes_the_view_lag_and_nothing_else),
		TEST(a_model_without_space_poisons_no_store),
		TEST(vectors_of_another_size_come_while_the_builder_is_at_work),
		TEST(vectors_of_the_same_bytes_and_another_dtype_have_codes_of_their_own),
		TEST(that_vectors_are_too_few_is_told_once),
		TEST(a_damaged_model_is_told_once_though_vectors_are_too_few),
		TEST(codes_of_what_has_gone_go_with_the_close),
		TEST(a_collection_that_was_emptied_keeps_the_models_of_what_it_had),
		TEST(every_snapshot_has_its_codes_beside_writers),
		TEST(a_durable_snapshot_has_the_views_of_its_collection),
		TEST(a_durable_snapshot_that_is_dropped_is_read_to_the_end),
		TEST(every_durable_snapshot_has_its_codes_beside_writers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
