/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/cli/row_diff.h"
#include "tests/unit/scratch.h"

#define DIM 4

static const struct vs_perm perm = {0644, 0, 0};

static void put(struct vs_store *s, uint32_t docs, const char *id, float value)
{
	float v[DIM] = {value, 1, 2, 3};
	struct vs_attr attr = {.perm = perm, .mtime = vs_time_now()};

	assert_int_equal(vs_entry_reserve(s, docs, &attr.entry), 0);
	assert_int_equal(vs_put(s, docs, id, &attr, v, sizeof v, NULL), 0);
}

/* A store with two snapshots, which is closed: 100 vectors, and then some changed, gone, renamed and new. */
static void make_store(const char *dir)
{
	struct vs_options options = {0};
	struct vs_store *s;
	char why[256], id[16];
	uint32_t docs, snap;

	assert_int_equal(vs_open(dir, &options, &s, why, sizeof why), 0);
	assert_int_equal(vs_collection_create(s, 0, "docs", &perm, &docs), 0);
	for (int i = 0; i < 100; i++) {
		snprintf(id, sizeof id, "v%d", i);
		put(s, docs, id, (float)i);
	}
	assert_int_equal(vs_snap_create(s, docs, "first", &snap), 0);
	put(s, docs, "v7", 700);
	assert_int_equal(vs_remove(s, docs, "v0", NULL), 0); /* which moves another */
	assert_int_equal(vs_rename(s, docs, "v50", docs, "renamed", false, &(uint64_t){0}, &(uint64_t){0}),
			 0);
	put(s, docs, "new", 1);
	assert_int_equal(vs_snap_create(s, docs, "second", &snap), 0);
	put(s, docs, "later", 1);
	assert_int_equal(vs_close(s), 0);
}

static struct row_source *source(const char *dir, const char *of)
{
	struct row_source *s;
	char path[4096], why[256] = "";

	snprintf(path, sizeof path, "%s/docs%s", dir, of);
	if (row_source_open(path, true, &s, why, sizeof why))
		fail_msg("%s: %s", path, why);
	return s;
}

static void test_snapshots_differ_by_what_has_changed(void **state)
{
	struct scratch sc;
	const char *dir = sc.dir;
	struct row_source *first, *second;
	struct digest print;
	struct row_diff d;
	char why[256];

	(void)state;
	scratch_new(&sc);
	make_store(dir);
	first = source(dir, "/.vecfs/snap/first");
	second = source(dir, "/.vecfs/snap/second");
	assert_string_equal(row_source_info(second)->snapshot, "second");
	assert_int_equal(row_source_info(first)->rows, 100);
	assert_int_equal(row_diff_make(second, first, &d, why, sizeof why), 0);
	assert_int_equal(d.rows, 3);     /* v7, renamed, new */
	assert_int_equal(d.removals, 2); /* v0, v50 */
	assert_int_equal(row_fingerprint(first, &print, why, sizeof why), 0);
	assert_true(digest_equal(&print, &d.from) && !digest_equal(&print, &d.to));
	row_diff_free(&d);
	assert_int_equal(row_diff_make(first, first, &d, why, sizeof why), 0);
	assert_true(d.rows == 0 && d.removals == 0);
	row_diff_free(&d);
	row_source_close(first);
	row_source_close(second);
	scratch_free(&sc);
}

/* A store in which somebody went back from what came after `first` to it, and then changed something else. */
static void make_rollback(const char *dir)
{
	struct vs_options options = {0};
	struct vs_store *s;
	char why[256], id[16];
	uint32_t docs, first, second, third;

	assert_int_equal(vs_open(dir, &options, &s, why, sizeof why), 0);
	assert_int_equal(vs_collection_create(s, 0, "docs", &perm, &docs), 0);
	for (int i = 0; i < 100; i++) {
		snprintf(id, sizeof id, "v%d", i);
		put(s, docs, id, (float)i);
	}
	assert_int_equal(vs_snap_create(s, docs, "first", &first), 0);
	put(s, docs, "v7", 700);
	assert_int_equal(vs_remove(s, docs, "v8", NULL), 0);
	put(s, docs, "only in second", 1);
	assert_int_equal(vs_snap_create(s, docs, "second", &second), 0);
	assert_int_equal(vs_snap_rollback(s, first), 0);
	put(s, docs, "v9", 900);
	assert_int_equal(vs_remove(s, docs, "v10", NULL), 0);
	put(s, docs, "only in third", 1);
	assert_int_equal(vs_snap_create(s, docs, "third", &third), 0);
	assert_int_equal(vs_close(s), 0);
}

/* A going back gives all rows other entry numbers, and yet they are the same. */
static void test_a_rollback_between_snapshots_changes_nothing_else(void **state)
{
	struct row_source *first, *second, *third;
	struct scratch sc;
	struct row_diff d;
	char why[256];

	(void)state;
	scratch_new(&sc);
	make_rollback(sc.dir);
	first = source(sc.dir, "/.vecfs/snap/first");
	second = source(sc.dir, "/.vecfs/snap/second");
	third = source(sc.dir, "/.vecfs/snap/third");
	assert_int_equal(row_diff_make(third, first, &d, why, sizeof why), 0);
	assert_int_equal(d.rows, 2); /* v9, only in third */
	assert_int_equal(d.removals, 1);
	assert_string_equal(d.removed, "v10");
	row_diff_free(&d);
	assert_int_equal(row_diff_make(third, second, &d, why, sizeof why), 0);
	assert_int_equal(d.rows, 4);     /* v7 and v8 of then, v9, only in third */
	assert_int_equal(d.removals, 2); /* v10, only in second */
	row_diff_free(&d);
	row_source_close(first);
	row_source_close(second);
	row_source_close(third);
	scratch_free(&sc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_snapshots_differ_by_what_has_changed),
		cmocka_unit_test(test_a_rollback_between_snapshots_changes_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
