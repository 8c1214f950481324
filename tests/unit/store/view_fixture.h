/* SPDX-License-Identifier: Apache-2.0 */
/* view_fixture - a collection that has views, and whether their codes are those of its vectors. */
#ifndef VECFS_TESTS_UNIT_STORE_VIEW_FIXTURE_H
#define VECFS_TESTS_UNIT_STORE_VIEW_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "store/io/io.h"
#include "store/view/view.h"
#include "tests/unit/codes.h"
#include "tests/unit/scratch.h"

#define DIM 40
#define WAIT_MS 20000

struct fixture {
	struct scratch sc;
	struct vs_store *s;
	uint32_t docs;
	struct numbers numbers;
	_Atomic unsigned warnings;
	char warning[512]; /* the last */
	unsigned scrub_ms; /* of the next opening */
};

static const struct vs_perm perm = {.mode = 0644, .uid = 10, .gid = 20};

static inline void keep_warning(void *arg, enum vs_severity severity, const char *line)
{
	struct fixture *f = arg;

	if (severity == VS_INFO)
		return;
	snprintf(f->warning, sizeof f->warning, "%s", line);
	f->warnings++;
}

static inline void open_with(struct fixture *f, struct io *io, bool read_only)
{
	struct vs_options options = {.log_bytes = 1u << 20,
				     .io = io,
				     .read_only = read_only,
				     .scrub_ms = f->scrub_ms,
				     .report = keep_warning,
				     .report_arg = f};
	char why[256];

	if (vs_open(f->sc.dir, &options, &f->s, why, sizeof why))
		fail_msg("the store does not open: %s", why);
}

static inline int new_store(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	scratch_new(&f->sc);
	f->numbers.state = 42;
	open_with(f, NULL, false);
	assert_int_equal(vs_collection_create(f->s, 0, "docs", &perm, &f->docs), 0);
	*state = f;
	return 0;
}

static inline void say(void *arg, const char *line)
{
	(void)arg;
	print_message("check: %s\n", line);
}

static inline int free_store(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(vs_close(f->s), 0);
	assert_int_equal(vs_check(f->sc.dir, NULL, false, say, NULL), VS_CHECK_CLEAN);
	scratch_free(&f->sc);
	free(f);
	return 0;
}

static inline void reopen(struct fixture *f)
{
	assert_int_equal(vs_close(f->s), 0);
	open_with(f, NULL, false);
}

static inline void fill(struct numbers *n, float v[DIM])
{
	for (int i = 0; i < DIM; i++)
		v[i] = (float)(numbers_below(n, 2000)) / 1000 - 1;
	if (numbers_below(n, 50) == 0)
		v[3] = NAN;
	if (numbers_below(n, 50) == 0)
		memset(v, 0, DIM * sizeof *v);
}

static inline int put_id(struct fixture *f, struct numbers *n, const char *id)
{
	struct vs_attr attr = {.mtime = 77, .perm = perm};
	float v[DIM];
	int rc = vs_entry_reserve(f->s, f->docs, &attr.entry);

	fill(n, v);
	return rc ? rc : vs_put(f->s, f->docs, id, &attr, v, sizeof v, NULL);
}

static inline void put_many(struct fixture *f, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		char id[16];

		snprintf(id, sizeof id, "v%u", i);
		assert_int_equal(put_id(f, &f->numbers, id), 0);
	}
}

static inline void create(struct fixture *f, const char *name)
{
	char why[200] = "";
	int rc = vs_view_create(f->s, f->docs, name, NULL, why, sizeof why);

	if (rc)
		fail_msg("%s: %d: %s", name, rc, why);
}

static inline void pause_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static inline struct vs_view_info info_of(struct fixture *f, const char *name)
{
	struct vs_view_info info;

	assert_int_equal(vs_view_get(f->s, f->docs, name, &info), 0);
	return info;
}

/* Waits until every row has its code. */
static inline struct vs_view_info wait_whole(struct fixture *f, const char *name)
{
	struct vs_view_info info;

	for (int i = 0; i < WAIT_MS / 5; i++) {
		info = info_of(f, name);
		if (info.state == VS_VIEW_READY && info.rows_encoded == info.rows)
			return info;
		pause_ms(5);
	}
	fail_msg("%s: %llu of %llu rows after %d ms, state %d: %s", name,
		 (unsigned long long)info.rows_encoded, (unsigned long long)info.rows, WAIT_MS,
		 (int)info.state, info.why);
	return info;
}

/* Every row of the snapshot has the code that its vector makes. */
static inline void compare_rows(struct vs_snapshot *m, struct vs_view *v, const char *name)
{
	size_t bytes = vs_view_code_bytes(v);
	struct vs_snapshot_info info;
	char *got, *want;

	vs_snapshot_info(m, &info);
	if (!info.rows)
		return;
	got = malloc(info.rows * bytes);
	assert_int_equal(vs_view_codes(v, 0, info.rows, got), 0);
	want = codes_of_vectors(m, vs_view_codec(v), bytes);
	for (uint64_t i = 0; i < info.rows; i++)
		if (memcmp(got + i * bytes, want + i * bytes, bytes) != 0)
			fail_msg("%s: row %llu of %llu has another code", name, (unsigned long long)i,
				 (unsigned long long)info.rows);
	free(got);
	free(want);
}

/* false: the view cannot be read yet. */
static inline bool compare_in(struct fixture *f, uint32_t collection, const char *name)
{
	struct vs_snapshot *m;
	struct vs_view *v;
	int rc;

	assert_int_equal(vs_snapshot_open(f->s, collection, &m), 0);
	rc = vs_view_open(m, name, &v);
	if (!rc) {
		compare_rows(m, v, name);
		vs_view_close(v);
	}
	vs_snapshot_close(m);
	assert_true(!rc || rc == -EAGAIN);
	return !rc;
}

static inline bool compare(struct fixture *f, const char *name)
{
	return compare_in(f, f->docs, name);
}

/* Of the view's own, in the collection's directory; part: of their names. */
static inline unsigned count_files(struct fixture *f, const char *part)
{
	char path[128];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof path, "%s/collections/%u", f->sc.dir, f->docs);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)))
		n += strstr(e->d_name, part) != NULL;
	closedir(d);
	return n;
}

static inline void flip(struct fixture *f, const char *file, off_t at)
{
	char path[160], byte;
	int fd;

	snprintf(path, sizeof path, "%s/collections/%u/%s", f->sc.dir, f->docs, file);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 4;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

#endif
