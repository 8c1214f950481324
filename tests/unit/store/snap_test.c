/* SPDX-License-Identifier: Apache-2.0 */
/* Durable snapshots and clones through the public interface, beside a plain copy of what they must have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/store/fixture.h"

#define DIM 64
#define ROW_BYTES (DIM * sizeof(float))
#define IDS 200

/* What a collection must have: of id number i the number that its vector was made of, or 0. */
struct copy {
	unsigned value[IDS];
	uint64_t entry[IDS];
};

static unsigned said; /* lines about a row's metadata */

static void say(void *arg, const char *line)
{
	(void)arg;
	said += strstr(line, "metadata") != NULL;
	fprintf(stderr, "check: %s\n", line);
}

static void close_store(struct fixture *f)
{
	int rc = f->s ? vs_close(f->s) : -EIO;

	f->s = NULL;
	assert_int_equal(rc, 0);
	assert_int_equal(vs_check(f->sc.dir, NULL, false, say, NULL), VS_CHECK_CLEAN);
}

static int free_store(void **state)
{
	struct fixture *f = *state;

	close_store(f);
	scratch_free(&f->sc);
	free(f);
	return 0;
}

static void reopen(struct fixture *f)
{
	close_store(f);
	f->s = open_store(f, false);
}

static void vector_of(unsigned value, float v[DIM])
{
	for (int i = 0; i < DIM; i++)
		v[i] = (float)value + (float)i / DIM;
}

static void id_of(unsigned i, char id[32])
{
	snprintf(id, 32, "v%u%s", i, i % 7 ? "" : "-with-a-longer-id");
}

static void put(struct fixture *f, uint32_t collection, struct copy *copy, unsigned i, unsigned value)
{
	struct vs_attr attr = {.mtime = 77, .perm = perm};
	float v[DIM];
	char id[32];

	vector_of(value, v);
	id_of(i, id);
	if (copy->value[i]) {
		assert_int_equal(vs_write(f->s, collection, copy->entry[i], v, sizeof v, 0, 0, NULL), 0);
	} else {
		assert_int_equal(vs_entry_reserve(f->s, collection, &attr.entry), 0);
		assert_int_equal(vs_put(f->s, collection, id, &attr, v, sizeof v, NULL), 0);
		copy->entry[i] = attr.entry;
	}
	copy->value[i] = value;
}

static void take_away(struct fixture *f, uint32_t collection, struct copy *copy, unsigned i)
{
	uint64_t entry;
	char id[32];

	id_of(i, id);
	assert_int_equal(vs_remove(f->s, collection, id, &entry), copy->value[i] ? 0 : -ENOENT);
	if (copy->value[i])
		assert_true(entry == copy->entry[i]);
	copy->value[i] = 0;
}

/* All ways of looking at a collection show what the copy has. */
static void assert_same(struct vs_store *s, uint32_t collection, const struct copy *copy)
{
	struct vs_snapshot *m;
	struct vs_snapshot_info info;
	struct vs_collection_info c;
	char *ids, *at, *line;
	float *rows, want[DIM], got[DIM];
	uint64_t count = 0;

	for (unsigned i = 0; i < IDS; i++) {
		struct vs_attr attr;
		char id[32];
		int rc;

		id_of(i, id);
		rc = vs_lookup(s, collection, id, &attr);
		assert_int_equal(rc, copy->value[i] ? 0 : -ENOENT);
		if (rc)
			continue;
		count++;
		assert_true(attr.entry == copy->entry[i]);
		vector_of(copy->value[i], want);
		assert_int_equal(vs_read(s, collection, attr.entry, got, sizeof got, 0), sizeof got);
		assert_memory_equal(got, want, sizeof want);
	}
	assert_int_equal(vs_collection_get(s, collection, &c), 0);
	assert_int_equal(c.count, count);
	assert_int_equal(vs_snapshot_open(s, collection, &m), 0);
	vs_snapshot_info(m, &info);
	assert_int_equal(info.rows, count);
	ids = calloc(1, info.ids_bytes + 1);
	rows = malloc(count * ROW_BYTES + 1);
	assert_int_equal(vs_snapshot_ids(m, ids, info.ids_bytes, 0), info.ids_bytes);
	assert_int_equal(vs_snapshot_vectors(m, rows, count * ROW_BYTES, 0), count * ROW_BYTES);
	at = ids;
	for (uint64_t n = 0; n < count; n++) {
		unsigned i = 0;

		line = strsep(&at, "\n");
		assert_int_equal(sscanf(line, "v%u", &i), 1);
		vector_of(copy->value[i], want);
		assert_memory_equal(rows + n * DIM, want, sizeof want);
	}
	vs_snapshot_close(m);
	free(ids);
	free(rows);
}

static uint64_t version_of(struct vs_store *s, uint32_t collection)
{
	struct vs_collection_info info;

	assert_int_equal(vs_collection_get(s, collection, &info), 0);
	return info.version;
}

static uint32_t snap(struct fixture *f, uint32_t collection, const char *name)
{
	uint32_t id;

	assert_int_equal(vs_snap_create(f->s, collection, name, &id), 0);
	assert_int_equal(vs_sync(f->s), 0);
	return id;
}

/* ------------------------------------------------------------------ tests */

static void a_snapshot_stays_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct vs_collection_info info;
	struct copy now = {0}, then;
	uint32_t id;

	for (unsigned i = 0; i < IDS; i++)
		put(f, f->docs, &now, i, i + 1);
	then = now;
	id = snap(f, f->docs, "monday");
	assert_same(f->s, id, &then);
	for (unsigned i = 0; i < IDS; i += 2)
		put(f, f->docs, &now, i, i + 1000);
	for (unsigned i = 0; i < IDS; i += 3)
		take_away(f, f->docs, &now, i);
	for (unsigned i = 0; i < IDS; i += 9)
		put(f, f->docs, &now, i, i + 2000);
	assert_same(f->s, f->docs, &now);
	assert_same(f->s, id, &then);
	assert_int_equal(vs_snap_find(f->s, f->docs, "monday", &info), 0);
	assert_int_equal(info.id, id);
	assert_true(info.frozen);
	reopen(f);
	assert_same(f->s, f->docs, &now);
	assert_same(f->s, id, &then);
	for (unsigned i = 0; i < IDS; i++)
		put(f, f->docs, &now, i, i + 3000);
	assert_same(f->s, f->docs, &now);
	assert_same(f->s, id, &then);
	assert_int_equal(vs_snap_drop(f->s, id), 0);
	assert_int_equal(vs_snap_find(f->s, f->docs, "monday", &info), -ENOENT);
	assert_same(f->s, f->docs, &now);
	reopen(f);
	assert_same(f->s, f->docs, &now);
}

static void nothing_changes_a_snapshot(void **state)
{
	struct fixture *f = *state;
	struct vs_attr attr = {.mtime = 1, .perm = perm};
	struct vs_batch_change change;
	struct vs_schema schema = {.dim = 3};
	struct copy now = {0};
	uint32_t id, batch;
	uint64_t entry;
	char why[256];
	float v[DIM];

	put(f, f->docs, &now, 1, 1);
	id = snap(f, f->docs, "s");
	vector_of(9, v);
	assert_int_equal(vs_entry_reserve(f->s, id, &entry), -EROFS);
	attr.entry = now.entry[1];
	assert_int_equal(vs_put(f->s, id, "new", &attr, v, sizeof v, NULL), -EROFS);
	assert_int_equal(vs_write(f->s, id, now.entry[1], v, sizeof v, 0, 0, NULL), -EROFS);
	assert_int_equal(vs_attr_set(f->s, id, now.entry[1], VS_SET_MTIME, &attr), -EROFS);
	assert_int_equal(vs_remove(f->s, id, "v1", &entry), -EROFS);
	assert_int_equal(vs_rename(f->s, id, "v1", id, "w", false, &entry, &entry), -EROFS);
	assert_int_equal(vs_rename(f->s, id, "v1", f->docs, "w", false, &entry, &entry), -EROFS);
	assert_int_equal(vs_collection_set(f->s, id, VS_SET_MODE, &perm, 0), -EROFS);
	assert_int_equal(vs_collection_rename(f->s, id, "t", false), -EROFS);
	assert_int_equal(vs_collection_remove(f->s, id), -EROFS);
	assert_int_equal(vs_schema_set(f->s, id, &schema), -EROFS);
	assert_int_equal(vs_attribute_set(f->s, id, VS_ATTRIBUTE_VIEWS, "x", 1), -EROFS);
	assert_int_equal(vs_collection_create(f->s, id, "b", &perm, &batch), -ENOENT);
	assert_int_equal(vs_batch_commit(f->s, id, 0, &change, why, sizeof why), -ENOENT);
	assert_int_equal(vs_snap_create(f->s, id, "of a snapshot", &batch), -ENOENT);
	assert_int_equal(vs_collection_remove(f->s, f->docs), -ENOTEMPTY);
	assert_same(f->s, id, &now);
}

static void names_of_snapshots_are_their_own(void **state)
{
	struct fixture *f = *state;
	struct vs_collection_info info;
	struct copy now = {0};
	uint32_t a, b, batch;

	put(f, f->docs, &now, 1, 1);
	a = snap(f, f->docs, "a");
	assert_int_equal(vs_snap_create(f->s, f->docs, "a", &b), -EEXIST);
	assert_int_equal(vs_collection_create(f->s, f->docs, "a", &perm, &batch), 0);
	assert_int_equal(vs_collection_next(f->s, f->docs, 0, &info), 0);
	assert_int_equal(info.id, batch);
	assert_int_equal(vs_collection_next(f->s, f->docs, batch, &info), -ENOENT);
	b = snap(f, f->docs, "b");
	assert_int_equal(vs_snap_rename(f->s, b, "a"), -EEXIST);
	assert_int_equal(vs_snap_rename(f->s, b, "c"), 0);
	assert_int_equal(vs_snap_next(f->s, f->docs, 0, &info), 0);
	assert_int_equal(info.id, a);
	assert_int_equal(vs_snap_next(f->s, f->docs, a, &info), 0);
	assert_string_equal(info.name, "c");
	assert_int_equal(vs_collection_remove(f->s, batch), 0);
	reopen(f);
	assert_int_equal(vs_snap_find(f->s, f->docs, "c", &info), 0);
	assert_int_equal(vs_snap_find(f->s, f->docs, "b", &info), -ENOENT);
	assert_int_equal(vs_snap_drop(f->s, b), 0);
	assert_int_equal(vs_snap_drop(f->s, b), -ENOENT);
	assert_int_equal(vs_snap_drop(f->s, f->docs), -EINVAL);
}

static void a_clone_goes_its_own_way(void **state)
{
	struct fixture *f = *state;
	struct copy now = {0}, then, other;
	uint32_t s, clone, of_clone;

	for (unsigned i = 0; i < IDS; i++)
		put(f, f->docs, &now, i, i + 1);
	take_away(f, f->docs, &now, 17);
	s = snap(f, f->docs, "s");
	then = other = now;
	assert_int_equal(vs_snap_clone(f->s, s, "docs", &perm, &clone), -EEXIST);
	assert_int_equal(vs_snap_clone(f->s, s, "copy", &perm, &clone), 0);
	assert_same(f->s, clone, &other);
	for (unsigned i = 0; i < IDS; i += 2)
		put(f, clone, &other, i, i + 5000);
	for (unsigned i = 0; i < IDS; i += 3)
		put(f, f->docs, &now, i, i + 6000);
	for (unsigned i = 0; i < IDS; i += 5)
		take_away(f, clone, &other, i);
	of_clone = snap(f, clone, "s");
	assert_same(f->s, of_clone, &other);
	assert_int_equal(vs_snap_drop(f->s, s), 0);
	assert_same(f->s, f->docs, &now);
	assert_same(f->s, clone, &other);
	reopen(f);
	assert_same(f->s, f->docs, &now);
	assert_same(f->s, clone, &other);
	assert_same(f->s, of_clone, &other);
	for (unsigned i = 0; i < IDS; i++)
		take_away(f, f->docs, &now, i);
	for (unsigned i = 0; i < IDS; i += 2)
		put(f, f->docs, &now, i, i + 7000);
	assert_same(f->s, f->docs, &now);
	assert_same(f->s, clone, &other);
	(void)then;
}

static void assert_same_order(struct vs_store *s, uint32_t a, uint32_t b)
{
	char *ids[2];
	size_t bytes[2];

	for (int i = 0; i < 2; i++) {
		struct vs_snapshot_info info;
		struct vs_snapshot *m;

		assert_int_equal(vs_snapshot_open(s, i ? a : b, &m), 0);
		vs_snapshot_info(m, &info);
		bytes[i] = info.ids_bytes;
		ids[i] = malloc(bytes[i] + 1);
		assert_int_equal(vs_snapshot_ids(m, ids[i], bytes[i], 0), bytes[i]);
		vs_snapshot_close(m);
	}
	assert_int_equal(bytes[0], bytes[1]);
	assert_memory_equal(ids[0], ids[1], bytes[0]);
	free(ids[0]);
	free(ids[1]);
}

/* The collection is what the copy has, in rows with entry numbers of their own. */
static void roll_back(struct fixture *f, uint32_t snap, struct copy *now, const struct copy *then)
{
	assert_int_equal(vs_snap_rollback(f->s, snap), 0);
	for (unsigned i = 0; i < IDS; i++) {
		struct vs_attr attr;
		char id[32];

		id_of(i, id);
		now->value[i] = then->value[i];
		assert_int_equal(vs_lookup(f->s, f->docs, id, &attr), then->value[i] ? 0 : -ENOENT);
		if (!then->value[i])
			continue;
		assert_true(attr.entry > now->entry[i] && attr.entry > then->entry[i]);
		now->entry[i] = attr.entry;
	}
	assert_same(f->s, f->docs, now);
	assert_same(f->s, snap, then);
	assert_same_order(f->s, f->docs, snap);
}

/* A collection that has changed in every way since the snapshot that is returned; then: what that has. */
static uint32_t snap_and_change(struct fixture *f, struct copy *now, struct copy *then)
{
	struct vs_attr attr = {.mtime = 123456789, .perm = {0600, 7, 8}};
	uint32_t s;

	for (unsigned i = 0; i < IDS; i++)
		put(f, f->docs, now, i, i + 1);
	take_away(f, f->docs, now, 17);
	assert_int_equal(
		vs_attr_set(f->s, f->docs, now->entry[5], VS_SET_MTIME | VS_SET_MODE | VS_SET_UID, &attr), 0);
	*then = *now;
	s = snap(f, f->docs, "s");
	for (unsigned i = 0; i < IDS; i += 2)
		put(f, f->docs, now, i, i + 1000);
	for (unsigned i = 0; i < IDS; i += 3)
		take_away(f, f->docs, now, i);
	put(f, f->docs, now, 17, 18);
	attr.mtime = 1;
	assert_int_equal(vs_attr_set(f->s, f->docs, now->entry[5], VS_SET_MTIME, &attr), 0);
	return s;
}

static void a_rollback_brings_back_what_was(void **state)
{
	struct fixture *f = *state;
	struct copy now = {0}, then, gone;
	struct vs_collection_info info;
	struct vs_attr attr, old;
	struct vs_snapshot *m;
	uint32_t s = snap_and_change(f, &now, &then), batch;
	float v[DIM], was[DIM];

	/* Whoever reads it goes on reading what it was; a batch stays open. */
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	assert_int_equal(vs_snapshot_vectors(m, was, sizeof was, 0), sizeof was);
	assert_int_equal(vs_collection_create(f->s, f->docs, "b", &perm, &batch), 0);
	gone = now;
	roll_back(f, s, &now, &then);
	assert_int_equal(vs_snapshot_vectors(m, v, sizeof v, 0), sizeof v);
	assert_memory_equal(v, was, sizeof v);
	vs_snapshot_close(m);
	assert_int_equal(vs_read(f->s, f->docs, gone.entry[17], v, sizeof v, 0), -ENOENT);
	assert_int_equal(vs_attr_get(f->s, f->docs, now.entry[5], &attr), 0);
	assert_int_equal(vs_attr_get(f->s, s, then.entry[5], &old), 0);
	assert_true(attr.mtime == 123456789 && attr.perm.mode == 0600 && attr.perm.uid == 7);
	assert_true(attr.ctime > old.ctime);
	assert_int_equal(vs_collection_get(f->s, batch, &info), 0);
	assert_int_equal(vs_collection_remove(f->s, batch), 0);
	reopen(f);
	assert_same(f->s, f->docs, &now);
	assert_same(f->s, s, &then);
}

static void after_a_rollback_all_goes_on(void **state)
{
	struct fixture *f = *state;
	struct copy now = {0}, then;
	uint32_t s = snap_and_change(f, &now, &then);

	roll_back(f, s, &now, &then);
	reopen(f);
	for (unsigned i = 0; i < IDS; i += 5)
		put(f, f->docs, &now, i, i + 3000);
	roll_back(f, s, &now, &then); /* and again, without a change and with one */
	roll_back(f, s, &now, &then);
	assert_int_equal(vs_snap_drop(f->s, s), 0);
	for (unsigned i = 0; i < IDS; i += 4)
		put(f, f->docs, &now, i, i + 4000);
	for (unsigned i = 1; i < IDS; i += 4)
		take_away(f, f->docs, &now, i);
	assert_same(f->s, f->docs, &now);
	reopen(f);
	assert_same(f->s, f->docs, &now);
	assert_int_equal(vs_snap_rollback(f->s, s), -ENOENT);
	assert_int_equal(vs_snap_rollback(f->s, f->docs), -EINVAL);
}

static void a_rollback_to_nothing(void **state)
{
	struct fixture *f = *state;
	struct copy now = {0}, then = {0}, full;
	uint32_t empty, s;

	empty = snap(f, f->docs, "empty");
	for (unsigned i = 0; i < IDS; i++)
		put(f, f->docs, &now, i, i + 1);
	s = snap(f, f->docs, "s");
	full = now;
	roll_back(f, empty, &now, &then);
	reopen(f);
	assert_same(f->s, f->docs, &then);
	roll_back(f, s, &now, &full);
	reopen(f);
	assert_same(f->s, f->docs, &now);
}

/* An open snapshot still is what the copy says. */
static void assert_reads(struct vs_snapshot *m, const struct copy *then)
{
	float rows[IDS * DIM], want[DIM];
	struct vs_row_meta meta[IDS];
	struct vs_snapshot_info info;
	char ids[IDS * 32] = "", *at = ids;

	vs_snapshot_info(m, &info);
	assert_int_equal(vs_snapshot_ids(m, ids, sizeof ids - 1, 0), info.ids_bytes);
	assert_int_equal(vs_snapshot_vectors(m, rows, sizeof rows, 0), info.rows * ROW_BYTES);
	assert_int_equal(vs_snapshot_meta(m, 0, info.rows, meta), info.rows);
	for (uint64_t n = 0; n < info.rows; n++) {
		unsigned i = IDS;

		assert_int_equal(sscanf(strsep(&at, "\n"), "v%u", &i), 1);
		vector_of(then->value[i], want);
		assert_memory_equal(rows + n * DIM, want, sizeof want);
		assert_true(meta[n].entry == then->entry[i]);
	}
}

/* Waits until the files are as all that has changed says, and what has been dropped is gone. */
static void wait_gone(struct fixture *f, uint32_t id)
{
	char path[512];

	assert_int_equal(vs_sync(f->s), 0);
	snprintf(path, sizeof path, "%s/collections/%u", f->sc.dir, id);
	for (int ms = 0; ms < 20000 && !access(path, F_OK); ms += 10)
		usleep(10000);
	assert_int_equal(access(path, F_OK), -1);
}

/* Another collection comes and goes after what was changed, which therefore is in the files. */
static void wait_applied(struct fixture *f)
{
	uint32_t id;

	assert_int_equal(vs_snap_create(f->s, f->docs, "passing", &id), 0);
	assert_int_equal(vs_snap_drop(f->s, id), 0);
	wait_gone(f, id);
}

/* The collection's files are its own again only when nobody reads what they were; marked: some rows had
 * changed before. */
static void read_dropped(struct fixture *f, bool marked)
{
	struct copy now = {0}, then;
	struct vs_snapshot *m[2];
	uint32_t s;

	for (unsigned i = 0; i < IDS; i++)
		put(f, f->docs, &now, i, i + 1);
	then = now;
	s = snap(f, f->docs, "s");
	for (unsigned i = 60; marked && i < 100; i++)
		put(f, f->docs, &now, i, i + 1000);
	for (int i = 0; i < 2; i++)
		assert_int_equal(vs_snapshot_open(f->s, s, &m[i]), 0);
	assert_int_equal(vs_snap_drop(f->s, s), 0);
	wait_gone(f, s);
	assert_reads(m[0], &then);
	for (int i = 0; i < 2; i++) {
		for (unsigned k = 0; k < IDS; k += 3)
			put(f, f->docs, &now, k, k + 2000 + 100 * (unsigned)i);
		for (unsigned k = 1; k < IDS; k += 7)
			take_away(f, f->docs, &now, k);
		wait_applied(f);
		assert_reads(m[i], &then);
		vs_snapshot_close(m[i]);
	}
	for (unsigned k = 0; k < IDS; k += 2)
		put(f, f->docs, &now, k, k + 3000);
	assert_same(f->s, f->docs, &now);
	reopen(f);
	assert_same(f->s, f->docs, &now);
}

static void a_dropped_snapshot_is_read_to_the_end(void **state)
{
	read_dropped(*state, true);
}

static void rows_of_a_dropped_snapshot_are_not_marked(void **state)
{
	read_dropped(*state, false);
}

/* The collection has no rows any more, then there is no snapshot: the clone has the file for itself, but for
 * who reads what the collection was. */
static void rows_that_went_are_read_beside_a_clone(void **state)
{
	struct fixture *f = *state;
	struct copy now = {0}, then, other;
	struct vs_snapshot *m;
	uint32_t empty = snap(f, f->docs, "empty"), s, clone;

	for (unsigned i = 0; i < IDS; i++)
		put(f, f->docs, &now, i, i + 1);
	then = other = now;
	s = snap(f, f->docs, "s");
	assert_int_equal(vs_snap_clone(f->s, s, "copy", &perm, &clone), 0);
	assert_same(f->s, clone, &other);
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	assert_int_equal(vs_snap_rollback(f->s, empty), 0);
	assert_int_equal(vs_snap_drop(f->s, s), 0);
	wait_gone(f, s);
	for (unsigned i = 0; i < IDS; i += 2)
		put(f, clone, &other, i, i + 1000);
	wait_applied(f);
	assert_reads(m, &then);
	for (unsigned i = 0; i < IDS; i += 3)
		take_away(f, clone, &other, i);
	wait_applied(f);
	assert_reads(m, &then);
	vs_snapshot_close(m);
	assert_same(f->s, clone, &other);
	reopen(f);
	assert_same(f->s, clone, &other);
}

#define LARGE_BYTES (64u << 10)
#define LARGE_ROWS 256u

static uint64_t allocated(const struct fixture *f, const char *path)
{
	char whole[512];
	struct stat st;

	snprintf(whole, sizeof whole, "%s/%s", f->sc.dir, path);
	return stat(whole, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

static void large_id(unsigned i, char id[32])
{
	snprintf(id, 32, "large-%u", i);
}

/* Removed vectors of a snapshot's file leave holes; when the snapshot goes these are filled soon, and their
 * space comes back while the store is open. */
static void a_dropped_snapshot_gives_back_space(void **state)
{
	struct fixture *f = *state;
	unsigned char *v = calloc(1, LARGE_BYTES), *got = malloc(LARGE_BYTES);
	struct vs_attr attr = {.mtime = 77, .perm = perm};
	uint64_t full, left, entry;
	struct vs_batch_change change;
	uint32_t s, batch;
	char id[32], why[256];

	for (unsigned i = 0; i < LARGE_ROWS; i++) {
		large_id(i, id);
		v[i] = 1;
		assert_int_equal(vs_entry_reserve(f->s, f->docs, &attr.entry), 0);
		assert_int_equal(vs_put(f->s, f->docs, id, &attr, v, LARGE_BYTES, NULL), 0);
	}
	s = snap(f, f->docs, "s");
	for (unsigned i = 0; i < LARGE_ROWS; i++)
		if (i % 4) {
			large_id(i, id);
			assert_int_equal(vs_remove(f->s, f->docs, id, &entry), 0);
		}
	assert_int_equal(vs_sync(f->s), 0);
	full = allocated(f, "collections/1/0.npy");
	assert_true(full >= (uint64_t)LARGE_ROWS * LARGE_BYTES);
	/* What a batch expects is of what is in the collection: rows that only move are no change. */
	assert_int_equal(vs_collection_create(f->s, f->docs, "b", &perm, &batch), 0);
	assert_int_equal(vs_snap_drop(f->s, s), 0);
	assert_int_equal(vs_batch_expect(f->s, batch, version_of(f->s, f->docs)), 0);
	left = full;
	for (int ms = 0; ms < 20000 && left > full / 2; ms += 10) {
		usleep(10000);
		left = allocated(f, "collections/1/0.npy");
	}
	assert_true(left <= full / 2);
	assert_int_equal(vs_batch_commit(f->s, batch, 0, &change, why, sizeof why), 0);
	memset(v, 0, LARGE_BYTES);
	for (unsigned i = 0; i < LARGE_ROWS; i++) {
		large_id(i, id);
		v[i] = 1;
		assert_int_equal(vs_lookup(f->s, f->docs, id, &attr), i % 4 ? -ENOENT : 0);
		if (i % 4)
			continue;
		assert_int_equal(vs_read(f->s, f->docs, attr.entry, got, LARGE_BYTES, 0), LARGE_BYTES);
		assert_memory_equal(got, v, LARGE_BYTES);
	}
	free(v);
	free(got);
}

static void flip(const struct fixture *f, const char *path, off_t at)
{
	char whole[512], byte;
	int fd;

	snprintf(whole, sizeof whole, "%s/%s", f->sc.dir, path);
	fd = open(whole, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte = (char)(byte ^ 0x40);
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static uint64_t count_of(struct vs_store *s, uint32_t collection)
{
	struct vs_collection_info info;
	struct vs_snapshot *m;

	if (vs_snapshot_open(s, collection, &m))
		return 0; /* it is damaged as a whole */
	vs_snapshot_close(m);
	assert_int_equal(vs_collection_get(s, collection, &info), 0);
	return info.count;
}

/* A vector of a file that a snapshot alone has is damaged, and a row of it: the collection is as it was, also
 * after a repair, which keeps the snapshots with all that is sound. */
static void a_damaged_snapshot_harms_nobody_else(void **state)
{
	struct fixture *f = *state;
	struct copy now = {0}, sound;
	struct vs_collection_info info;
	char path[64];
	uint32_t hurt, other;

	for (unsigned i = 0; i < IDS; i++)
		put(f, f->docs, &now, i, i + 1);
	hurt = snap(f, f->docs, "hurt");
	for (unsigned i = 0; i < IDS; i++) /* so that nobody else has its vectors */
		put(f, f->docs, &now, i, i + 1000);
	sound = now;
	other = snap(f, f->docs, "other");
	for (unsigned i = 0; i < IDS; i += 2)
		take_away(f, f->docs, &now, i);
	close_store(f);
	snprintf(path, sizeof path, "collections/%u/0.npy", hurt);
	flip(f, path, 4096 + 3 * (off_t)ROW_BYTES + 1);
	snprintf(path, sizeof path, "collections/%u/0.rows", hurt);
	flip(f, path, 5 * 32 + 9);

	f->s = open_store(f, false);
	assert_same(f->s, f->docs, &now);
	assert_same(f->s, other, &sound);
	count_of(f->s, hurt); /* it answers, one way or the other */
	assert_int_equal(vs_close(f->s), 0);
	f->s = NULL;
	assert_int_equal(vs_check(f->sc.dir, NULL, false, say, NULL), VS_CHECK_DAMAGED);
	assert_int_equal(vs_check(f->sc.dir, NULL, true, say, NULL), VS_CHECK_REPAIRED);

	f->s = open_store(f, false);
	assert_same(f->s, f->docs, &now);
	assert_same(f->s, other, &sound);
	assert_int_equal(vs_snap_find(f->s, f->docs, "hurt", &info), 0);
	assert_int_equal(info.id, hurt);
	assert_int_equal(count_of(f->s, hurt), IDS - 2);
}

/* Hundreds of random steps on one collection with several snapshots, with reopenings. */
static void random_steps(void **state)
{
	struct fixture *f = *state;
	struct numbers n = {4711};
	struct copy now = {0}, then[8] = {0};
	uint32_t ids[8] = {0};

	for (int step = 0; step < 4000; step++) {
		unsigned i = (unsigned)numbers_below(&n, IDS), k = (unsigned)numbers_below(&n, 8);
		uint64_t what = numbers_below(&n, 1000);
		char name[16];

		snprintf(name, sizeof name, "s%u", k);
		if (what < 600) {
			put(f, f->docs, &now, i, 1 + (unsigned)numbers_below(&n, 1u << 20));
		} else if (what < 900) {
			take_away(f, f->docs, &now, i);
		} else if (what < 960 && now.value[i]) {
			struct vs_attr attr = {.mtime = numbers_below(&n, 1u << 30)};

			assert_int_equal(vs_attr_set(f->s, f->docs, now.entry[i], VS_SET_MTIME, &attr), 0);
		} else if (what < 990) {
			if (ids[k])
				assert_int_equal(vs_snap_drop(f->s, ids[k]), 0);
			ids[k] = ids[k] ? 0 : snap(f, f->docs, name);
			then[k] = now;
		} else if (what < 993) {
			if (ids[k])
				roll_back(f, ids[k], &now, &then[k]);
		} else if (what < 996) {
			reopen(f);
		} else {
			assert_same(f->s, f->docs, &now);
			if (ids[k])
				assert_same(f->s, ids[k], &then[k]);
		}
	}
	assert_same(f->s, f->docs, &now);
	for (unsigned k = 0; k < 8; k++)
		if (ids[k])
			assert_same(f->s, ids[k], &then[k]);
}

static void put_other(struct fixture *f, const char *id)
{
	struct vs_attr attr = {.perm = perm};
	float v[DIM / 2] = {1};

	assert_int_equal(vs_entry_reserve(f->s, f->docs, &attr.entry), 0);
	assert_int_equal(vs_put(f->s, f->docs, id, &attr, v, sizeof v, NULL), 0);
}

static uint32_t dim_of(const struct fixture *f, uint32_t collection)
{
	struct vs_collection_info info;

	assert_int_equal(vs_collection_get(f->s, collection, &info), 0);
	return info.schema.dim;
}

/* With its last vector a collection's dim is free, whatever dim its snapshots have; and what they have comes
 * back. */
static void an_emptied_collection_takes_another_dim(void **state)
{
	struct fixture *f = *state;
	struct copy now = {0}, then, none = {0};
	uint32_t wide, empty, narrow;
	uint64_t entry;

	for (unsigned i = 0; i < IDS; i++)
		put(f, f->docs, &now, i, i + 1);
	then = now;
	wide = snap(f, f->docs, "wide");
	for (unsigned i = 0; i < IDS; i++)
		take_away(f, f->docs, &now, i);
	assert_int_equal(dim_of(f, f->docs), 0);
	put_other(f, "x");
	assert_int_equal(dim_of(f, f->docs), DIM / 2);
	narrow = snap(f, f->docs, "narrow");
	assert_int_equal(vs_snap_rollback(f->s, wide), -EBUSY);
	assert_int_equal(dim_of(f, f->docs), DIM / 2);
	assert_same(f->s, wide, &then);
	reopen(f);
	assert_same(f->s, wide, &then);
	assert_int_equal(vs_remove(f->s, f->docs, "x", &entry), 0);
	empty = snap(f, f->docs, "empty");
	roll_back(f, wide, &now, &then);
	assert_int_equal(dim_of(f, f->docs), DIM);
	put(f, f->docs, &now, 3, 3000);
	reopen(f);
	assert_same(f->s, f->docs, &now);
	assert_int_equal(dim_of(f, narrow), DIM / 2);
	roll_back(f, empty, &now, &none);
	assert_int_equal(dim_of(f, f->docs), 0);
	assert_int_equal(vs_snap_rollback(f->s, narrow), 0);
	assert_int_equal(dim_of(f, f->docs), DIM / 2);
	reopen(f);
	assert_int_equal(dim_of(f, f->docs), DIM / 2);
	assert_same(f->s, wide, &then);
}

static ino_t index_inode(const struct fixture *f, struct stat *st)
{
	char path[128];

	snprintf(path, sizeof path, "%s/collections/%u/index", f->sc.dir, f->docs);
	return stat(path, st) == 0 ? st->st_ino : 0;
}

/* Rows that are only marked, because a snapshot has them, do not cost the next opening a look at all rows. */
static void marks_are_in_the_index_file(void **state)
{
	struct fixture *f = *state;
	struct copy now = {0}, then;
	struct stat st;
	ino_t inode;
	uint32_t id;

	for (unsigned i = 0; i < IDS; i++)
		put(f, f->docs, &now, i, i + 1);
	then = now;
	id = snap(f, f->docs, "s");
	for (unsigned i = 0; i < IDS; i += 3)
		put(f, f->docs, &now, i, i + 1000);
	for (unsigned i = 0; i < IDS; i += 7)
		take_away(f, f->docs, &now, i);
	close_store(f);
	inode = index_inode(f, &st);
	assert_true(inode);
	f->s = open_store(f, false);
	put(f, f->docs, &now, 5, 5000); /* there is a log, and none of it is about what is marked */
	assert_same(f->s, f->docs, &now);
	assert_same(f->s, id, &then);
	close_store(f);
	inode = index_inode(f, &st);
	f->s = open_store(f, false);
	assert_same(f->s, f->docs, &now);
	close_store(f);
	assert_true(index_inode(f, &st) == inode); /* it was used, not made anew */
	f->s = open_store(f, false);
	assert_int_equal(vs_snap_drop(f->s, id), 0);
	reopen(f); /* the holes are filled */
	assert_same(f->s, f->docs, &now);
}

static void read_file(const char *path, char *buf, size_t size, off_t off)
{
	int fd = open(path, O_RDONLY);

	assert_int_equal(pread(fd, buf, size, off), size);
	close(fd);
}

static void write_file(const char *path, const char *buf, size_t size, off_t off)
{
	int fd = open(path, O_WRONLY);

	assert_int_equal(pwrite(fd, buf, size, off), size);
	close(fd);
}

/* A row of zeros is one that was deleted only where the index file says so. */
static void zeros_without_a_mark_are_damage(void **state)
{
	struct fixture *f = *state;
	struct copy now = {0};
	char path[128], row[32], zeros[32] = {0};

	for (unsigned i = 0; i < IDS; i++)
		put(f, f->docs, &now, i, i + 1);
	snap(f, f->docs, "s");
	put(f, f->docs, &now, 3, 1000);
	close_store(f);
	snprintf(path, sizeof path, "%s/collections/%u/0.rows", f->sc.dir, f->docs);
	read_file(path, row, sizeof row, 9 * 32);
	write_file(path, zeros, sizeof zeros, 9 * 32);
	said = 0;
	assert_int_equal(vs_check(f->sc.dir, NULL, false, say, NULL), VS_CHECK_DAMAGED);
	assert_int_equal(said, 1); /* not only a column that has another digest */
	write_file(path, row, sizeof row, 9 * 32);
	f->s = open_store(f, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_snapshot_stays_as_it_was, new_store, free_store),
		cmocka_unit_test_setup_teardown(nothing_changes_a_snapshot, new_store, free_store),
		cmocka_unit_test_setup_teardown(names_of_snapshots_are_their_own, new_store, free_store),
		cmocka_unit_test_setup_teardown(a_clone_goes_its_own_way, new_store, free_store),
		cmocka_unit_test_setup_teardown(a_rollback_brings_back_what_was, new_store, free_store),
		cmocka_unit_test_setup_teardown(after_a_rollback_all_goes_on, new_store, free_store),
		cmocka_unit_test_setup_teardown(a_rollback_to_nothing, new_store, free_store),
		cmocka_unit_test_setup_teardown(a_dropped_snapshot_is_read_to_the_end, new_store, free_store),
		cmocka_unit_test_setup_teardown(rows_of_a_dropped_snapshot_are_not_marked, new_store,
						free_store),
		cmocka_unit_test_setup_teardown(rows_that_went_are_read_beside_a_clone, new_store,
						free_store),
		cmocka_unit_test_setup_teardown(a_dropped_snapshot_gives_back_space, new_store, free_store),
		cmocka_unit_test_setup_teardown(a_damaged_snapshot_harms_nobody_else, new_store, free_store),
		cmocka_unit_test_setup_teardown(an_emptied_collection_takes_another_dim, new_store,
						free_store),
		cmocka_unit_test_setup_teardown(marks_are_in_the_index_file, new_store, free_store),
		cmocka_unit_test_setup_teardown(zeros_without_a_mark_are_damage, new_store, free_store),
		cmocka_unit_test_setup_teardown(random_steps, new_store, free_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
