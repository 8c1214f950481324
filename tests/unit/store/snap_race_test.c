/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to durable snapshots at one moment, brought about by stopping a thread at a call of the
 * system. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/slow_io.h"
#include "tests/unit/store/fixture.h"

#define DIM 16
#define ROWS 64
#define HELD_MS 300

static struct {
	struct fixture f;
	struct slow_io slow;
	pthread_t tester;
	_Atomic unsigned reports;
	_Atomic bool holds;       /* the applier is to wait when it links */
	_Atomic int copies;       /* reserved, and not used */
	_Atomic int most;         /* of those there have been */
	_Atomic uint32_t to_drop; /* a snapshot that goes when the tester opens a file of it */
} t;

static void report(void *arg, enum vs_severity severity, const char *line)
{
	(void)arg;
	(void)severity;
	fprintf(stderr, "reported: %s\n", line);
	t.reports++;
}

static void say(void *arg, const char *line)
{
	(void)arg;
	fprintf(stderr, "check: %s\n", line);
}

static bool ends_with(const char *path, const char *end)
{
	size_t a = strlen(path), b = strlen(end);

	return a >= b && strcmp(path + a - b, end) == 0;
}

static void before(struct slow_io *slow, enum slow_call call, const char *path)
{
	bool is_tester = pthread_equal(pthread_self(), t.tester);
	uint32_t id = t.to_drop;
	char dir[32];

	(void)slow;
	if (call == SLOW_LINK && !is_tester && t.holds)
		usleep(HELD_MS * 1000);
	if (call == SLOW_OPEN && is_tester && ends_with(path, ".rows.copy") && ++t.copies > t.most)
		t.most = t.copies;
	if (call == SLOW_RENAME && ends_with(path, ".rows.copy"))
		t.copies--;
	snprintf(dir, sizeof dir, "collections/%u/", id);
	if (call == SLOW_OPEN && is_tester && id && strncmp(path, dir, strlen(dir)) == 0) {
		t.to_drop = 0;
		assert_int_equal(vs_snap_drop(t.f.s, id), 0);
		assert_int_equal(vs_sync(t.f.s), 0);
		usleep(HELD_MS * 1000); /* the applier removes its files */
	}
}

static void open_it(void)
{
	struct vs_options options = {.io = &t.slow.io, .report = report};
	char why[256];

	if (vs_open(t.f.sc.dir, &options, &t.f.s, why, sizeof why))
		fail_msg("the store does not open: %s", why);
}

static void write_row(unsigned i, float value)
{
	struct vs_attr attr = {.perm = perm};
	float v[DIM] = {value};
	char id[16];

	snprintf(id, sizeof id, "v%u", i);
	if (vs_lookup(t.f.s, t.f.docs, id, &attr) == 0) {
		assert_int_equal(vs_write(t.f.s, t.f.docs, attr.entry, v, sizeof v, 0, 0, NULL), 0);
		return;
	}
	attr = (struct vs_attr){.perm = perm};
	assert_int_equal(vs_entry_reserve(t.f.s, t.f.docs, &attr.entry), 0);
	assert_int_equal(vs_put(t.f.s, t.f.docs, id, &attr, v, sizeof v, NULL), 0);
}

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	t.tester = pthread_self();
	scratch_new(&t.f.sc);
	slow_io_init(&t.slow, t.f.sc.io);
	t.slow.before = before;
	open_it();
	assert_int_equal(vs_collection_create(t.f.s, 0, "docs", &perm, &t.f.docs), 0);
	for (unsigned i = 0; i < ROWS; i++)
		write_row(i, (float)i);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(vs_close(t.f.s), 0);
	assert_int_equal(vs_check(t.f.sc.dir, NULL, false, say, NULL), VS_CHECK_CLEAN);
	scratch_free(&t.f.sc);
	return 0;
}

/* The space of a rows column belongs to the mark that has reserved it: while that waits for the applier, with
 * a snapshot between, the next mark gets none by asking for the same. */
static void two_marks(void **state)
{
	uint32_t a, b;

	(void)state;
	assert_int_equal(vs_snap_create(t.f.s, t.f.docs, "A", &a), 0);
	t.holds = true;
	write_row(1, 100);
	assert_int_equal(vs_snap_create(t.f.s, t.f.docs, "B", &b), 0);
	write_row(2, 200);
	t.holds = false;
	assert_int_equal(vs_sync(t.f.s), 0);
	assert_int_equal(t.most, 1);
	write_row(3, 300);
	assert_int_equal(vs_snap_drop(t.f.s, a), 0);
	assert_int_equal(t.reports, 0);
}

/* A batch that replaces rows of a shared segment needs the same. */
static void a_mark_and_a_batch(void **state)
{
	struct vs_schema schema = {.dim = DIM};
	struct vs_upload *upload;
	uint32_t a, b, batch;
	struct vs_batch_change change;
	float *rows = calloc(1u << 16, sizeof(float[DIM]));
	char why[256];

	(void)state;
	assert_int_equal(vs_snap_create(t.f.s, t.f.docs, "A", &a), 0);
	t.holds = true;
	write_row(1, 100);
	assert_int_equal(vs_snap_create(t.f.s, t.f.docs, "B", &b), 0);
	assert_int_equal(vs_collection_create(t.f.s, t.f.docs, "batch", &perm, &batch), 0);
	assert_int_equal(vs_upload_begin(t.f.s, batch, &schema, &upload), 0);
	assert_int_equal(vs_upload_append(upload, rows, (1u << 16) * sizeof(float[DIM])), 0);
	assert_int_equal(vs_upload_end(upload, true), 0);
	assert_int_equal(vs_batch_text_write(t.f.s, batch, VS_BATCH_DELETE, "v5\nv6\n", 6, 0), 0);
	assert_int_equal(vs_batch_commit(t.f.s, batch, 0, &change, why, sizeof why), 0);
	t.holds = false;
	assert_int_equal(t.most, 1);
	assert_int_equal(t.reports, 0);
	free(rows);
}

/* Whoever looks into a snapshot while it goes finds none: nothing is damaged. */
static void dropped_while_loading(void **state)
{
	struct vs_attr attr;
	uint32_t a;

	(void)state;
	assert_int_equal(vs_snap_create(t.f.s, t.f.docs, "A", &a), 0);
	assert_int_equal(vs_close(t.f.s), 0);
	open_it();
	write_row(1, 100); /* a store that has a log */
	t.to_drop = a;
	assert_int_equal(vs_lookup(t.f.s, a, "v7", &attr), -ENOENT);
	assert_int_equal(t.to_drop, 0);
	assert_int_equal(t.reports, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(two_marks, setup, teardown),
		cmocka_unit_test_setup_teardown(a_mark_and_a_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(dropped_while_loading, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
