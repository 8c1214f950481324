/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recovery that reads the keys of rows in several threads, as it does where files are far, finds what one
 * that reads them alone does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"
#include "tests/unit/scratch.h"

#define VECTORS 30000u /* more than a thread takes at once */
#define GONE 7u        /* every seventh is removed */

static const struct vs_perm perm = {.mode = 0644};

struct fixture {
	struct scratch sc;
	struct vs_store *s;
	struct vs_collection_info before;
	uint64_t ids_bytes;
};

static void open_store(struct fixture *f)
{
	struct vs_options options = {.io = f->sc.io};
	char why[256];

	if (vs_open(f->sc.dir, &options, &f->s, why, sizeof why))
		fail_msg("the store does not open: %s", why);
}

static void put_all(struct fixture *f, uint32_t docs)
{
	for (unsigned n = 0; n < VECTORS; n++) {
		struct vs_attr attr = {.mtime = 1, .perm = perm};
		const float v[2] = {(float)n, 1};
		char id[16];

		snprintf(id, sizeof id, n % 5 ? "%u" : "%u\n", n);
		assert_int_equal(vs_entry_reserve(f->s, docs, &attr.entry), 0);
		assert_int_equal(vs_put(f->s, docs, id, &attr, v, sizeof v, NULL), 0);
		if (n % GONE == 0)
			assert_int_equal(vs_remove(f->s, docs, id, NULL), 0);
	}
}

/* Of the list of ids, in which some are longer than their names. */
static uint64_t ids_bytes(struct fixture *f, uint32_t docs)
{
	struct vs_snapshot_info info;
	struct vs_snapshot *m;

	assert_int_equal(vs_snapshot_open(f->s, docs, &m), 0);
	vs_snapshot_info(m, &info);
	vs_snapshot_close(m);
	return info.ids_bytes;
}

/* What a kill leaves: the files of a store that is open. */
static int crashed_store(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	char command[400];
	uint32_t docs;

	scratch_new(&f->sc);
	open_store(f);
	assert_int_equal(vs_collection_create(f->s, 0, "docs", &perm, &docs), 0);
	put_all(f, docs);
	assert_int_equal(vs_sync(f->s), 0);
	assert_int_equal(vs_collection_get(f->s, docs, &f->before), 0);
	f->ids_bytes = ids_bytes(f, docs);
	snprintf(command, sizeof command, "cp -r %s %s.copy", f->sc.dir, f->sc.dir);
	assert_int_equal(system(command), 0);
	vs_close(f->s);
	snprintf(command, sizeof command, "rm -r %s/* && mv %s.copy/* %s && rmdir %s.copy", f->sc.dir,
		 f->sc.dir, f->sc.dir, f->sc.dir);
	assert_int_equal(system(command), 0);
	*state = f;
	return 0;
}

static int free_store(void **state)
{
	struct fixture *f = *state;

	scratch_free(&f->sc);
	free(f);
	return 0;
}

static void threads_find_all_rows(void **state)
{
	struct fixture *f = *state;
	struct vs_collection_info after;
	float got[2];

	f->sc.io->width = 16;
	open_store(f);
	assert_int_equal(vs_collection_find(f->s, 0, "docs", &after), 0);
	assert_int_equal(after.count, f->before.count);
	assert_int_equal(after.name_bytes, f->before.name_bytes);
	assert_int_equal(ids_bytes(f, after.id), f->ids_bytes);
	for (unsigned n = 0; n < VECTORS; n++) {
		struct vs_attr attr;
		char id[16];
		int rc;

		snprintf(id, sizeof id, n % 5 ? "%u" : "%u\n", n);
		rc = vs_lookup(f->s, after.id, id, &attr);
		assert_int_equal(rc, n % GONE ? 0 : -ENOENT);
		if (rc)
			continue;
		assert_int_equal(vs_read(f->s, after.id, attr.entry, got, sizeof got, 0), sizeof got);
		assert_true(got[0] == (float)n);
	}
	assert_int_equal(vs_close(f->s), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(threads_find_all_rows, crashed_store, free_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
