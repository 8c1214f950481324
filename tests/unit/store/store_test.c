/* SPDX-License-Identifier: Apache-2.0 */
/* The engine through its public interface alone, on a real directory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/store/fixture.h"
#include "store/io/io.h"

#define DIM 4

static int free_store(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(vs_close(f->s), 0);
	assert_int_equal(vs_check(f->sc.dir, NULL, false, NULL, NULL), VS_CHECK_CLEAN);
	scratch_free(&f->sc);
	free(f);
	return 0;
}

static void reopen(struct fixture *f)
{
	assert_int_equal(vs_close(f->s), 0);
	f->s = open_store(f, false);
}

static void fill(float v[DIM], float x)
{
	for (int i = 0; i < DIM; i++)
		v[i] = x + (float)i;
}

static uint64_t put(struct fixture *f, uint32_t collection, const char *id, float x)
{
	struct vs_attr attr = {.mtime = 77, .perm = perm};
	float v[DIM];

	fill(v, x);
	assert_int_equal(vs_entry_reserve(f->s, collection, &attr.entry), 0);
	assert_int_equal(vs_put(f->s, collection, id, &attr, v, sizeof v, NULL), 0);
	return attr.entry;
}

static void assert_reads(struct fixture *f, uint32_t collection, const char *id, float x)
{
	struct vs_attr attr;
	float want[DIM], got[DIM];

	fill(want, x);
	assert_int_equal(vs_lookup(f->s, collection, id, &attr), 0);
	assert_int_equal(vs_read(f->s, collection, attr.entry, got, sizeof got, 0), sizeof got);
	assert_memory_equal(got, want, sizeof want);
}

static void assert_reads_bytes(struct fixture *f, uint32_t collection, const char *id, const void *want,
			       size_t size)
{
	struct vs_attr attr;
	char got[4096];

	assert_int_equal(vs_lookup(f->s, collection, id, &attr), 0);
	assert_int_equal(vs_read(f->s, collection, attr.entry, got, sizeof got, 0), size);
	assert_memory_equal(got, want, size);
}

static void assert_absent(struct fixture *f, uint32_t collection, const char *id)
{
	struct vs_attr attr;

	assert_int_equal(vs_lookup(f->s, collection, id, &attr), -ENOENT);
}

/* ------------------------------------------------------------------ words and sizes */

static void ids_are_file_names(void **state)
{
	char longest[VS_NAME_MAX + 2];

	(void)state;
	memset(longest, 'x', sizeof longest);
	assert_int_equal(vs_name_check("a", 1), 0);
	assert_int_equal(vs_name_check(longest, VS_NAME_MAX), 0);
	assert_int_equal(vs_name_check(longest, VS_NAME_MAX + 1), -ENAMETOOLONG);
	assert_int_equal(vs_name_check("", 0), -EINVAL);
	assert_int_equal(vs_name_check(".", 1), -EINVAL);
	assert_int_equal(vs_name_check("..", 2), -EINVAL);
	assert_int_equal(vs_name_check("...", 3), 0);
	assert_int_equal(vs_name_check("a/b", 3), -EINVAL);
	assert_int_equal(vs_name_check("a\0b", 3), -EINVAL);
	assert_int_equal(vs_name_check(".vecfs", 6), -EPERM);
	assert_int_equal(vs_name_check(".vecfs2", 7), 0);
}

static void schemas_tell_sizes(void **state)
{
	(void)state;
	assert_int_equal(vs_row_bytes(&(struct vs_schema){.dim = 768, .dtype = VS_F32}), 3072);
	assert_int_equal(vs_row_bytes(&(struct vs_schema){.dim = 768, .dtype = VS_BF16}), 1536);
	assert_int_equal(vs_row_bytes(&(struct vs_schema){.dim = 768, .dtype = VS_I8}), 768);
	assert_int_equal(vs_row_bytes(&(struct vs_schema){.dim = 13, .dtype = VS_BIT}), 2);
	assert_int_equal(vs_row_bytes(&(struct vs_schema){.dim = 0}), 0);
	assert_int_equal(vs_dim_of_size(VS_F32, 3072), 768);
	assert_int_equal(vs_dim_of_size(VS_F32, 3071), 0);
	assert_int_equal(vs_dim_of_size(VS_BIT, 2), 16);
	assert_int_equal(vs_dim_of_size(VS_F32, 0), 0);
	assert_int_equal(vs_dim_of_size(VS_U8, VS_ROW_BYTES_MAX), VS_ROW_BYTES_MAX);
	assert_int_equal(vs_dim_of_size(VS_U8, VS_ROW_BYTES_MAX + 1), 0);
	for (enum vs_dtype i = 0; i < VS_DTYPE_COUNT; i++)
		assert_int_equal(vs_dtype_parse(vs_dtype_name(i)), i);
	for (enum vs_metric i = 0; i < VS_METRIC_COUNT; i++)
		assert_int_equal(vs_metric_parse(vs_metric_name(i)), i);
	assert_int_equal(vs_dtype_parse("f64"), -1);
	assert_int_equal(vs_metric_parse(""), -1);
}

/* ------------------------------------------------------------------ collections */

static void collections_come_and_go(void **state)
{
	struct fixture *f = *state;
	struct vs_collection_info c;
	uint32_t other, again;

	assert_int_equal(vs_collection_create(f->s, 0, "docs", &perm, &other), -EEXIST);
	assert_int_equal(vs_collection_create(f->s, 0, "other", &perm, &other), 0);
	assert_int_equal(vs_collection_next(f->s, 0, 0, &c), 0);
	assert_string_equal(c.name, "docs");
	assert_int_equal(c.perm.uid, 10);
	assert_int_equal(vs_collection_next(f->s, 0, c.id, &c), 0);
	assert_int_equal(c.id, other);
	assert_int_equal(vs_collection_next(f->s, 0, c.id, &c), -ENOENT);
	put(f, f->docs, "a", 1);
	assert_int_equal(vs_collection_remove(f->s, f->docs), -ENOTEMPTY);
	assert_int_equal(vs_collection_remove(f->s, other), 0);
	assert_int_equal(vs_collection_get(f->s, other, &c), -ENOENT);
	assert_int_equal(vs_collection_create(f->s, 0, "other", &perm, &again), 0);
	assert_true(again > other);
}

static void a_renamed_collection_replaces_an_empty_one_only(void **state)
{
	struct fixture *f = *state;
	struct vs_collection_info c;
	uint32_t other;

	assert_int_equal(vs_collection_create(f->s, 0, "other", &perm, &other), 0);
	put(f, f->docs, "a", 1);
	assert_int_equal(vs_collection_rename(f->s, other, "docs", false), -ENOTEMPTY);
	assert_int_equal(vs_collection_rename(f->s, f->docs, "other", true), -EEXIST);
	assert_int_equal(vs_collection_rename(f->s, f->docs, "other", false), 0);
	reopen(f);
	assert_int_equal(vs_collection_find(f->s, 0, "docs", &c), -ENOENT);
	assert_int_equal(vs_collection_find(f->s, 0, "other", &c), 0);
	assert_int_equal(c.id, f->docs);
	assert_reads(f, c.id, "a", 1);
}

static void a_schema_is_fixed_by_the_first_vector(void **state)
{
	struct fixture *f = *state;
	struct vs_schema schema = {.dim = 3, .dtype = VS_I8, .metric = VS_IP};
	struct vs_attr attr = {.perm = perm};
	struct vs_collection_info c;

	assert_int_equal(
		vs_schema_set(f->s, f->docs, &(struct vs_schema){.dim = UINT32_MAX, .dtype = VS_F32}),
		-EINVAL);
	assert_int_equal(vs_schema_set(f->s, f->docs, &schema), 0);
	schema.dim = 5;
	assert_int_equal(vs_schema_set(f->s, f->docs, &schema), 0);
	assert_int_equal(vs_entry_reserve(f->s, f->docs, &attr.entry), 0);
	assert_int_equal(vs_put(f->s, f->docs, "a", &attr, "abc", 3, NULL), -EINVAL);
	assert_int_equal(vs_put(f->s, f->docs, "a", &attr, "abcde", 5, NULL), 0);
	assert_int_equal(vs_schema_set(f->s, f->docs, &schema), 0); /* which it is */
	schema.dim = 7;
	assert_int_equal(vs_schema_set(f->s, f->docs, &schema), -EBUSY);
	reopen(f);
	assert_int_equal(vs_collection_get(f->s, f->docs, &c), 0);
	assert_true(c.schema_fixed);
	assert_int_equal(c.schema.dim, 5);
	assert_int_equal(c.schema.metric, VS_IP);
	/* What somebody has said stays without vectors, but only until somebody says something else. */
	assert_int_equal(vs_remove(f->s, f->docs, "a", NULL), 0);
	assert_int_equal(vs_collection_get(f->s, f->docs, &c), 0);
	assert_false(c.schema_fixed);
	assert_int_equal(c.schema.dim, 5);
	assert_int_equal(vs_entry_reserve(f->s, f->docs, &attr.entry), 0);
	assert_int_equal(vs_put(f->s, f->docs, "a", &attr, "abc", 3, NULL), -EINVAL);
	assert_int_equal(vs_schema_set(f->s, f->docs, &schema), 0);
	assert_int_equal(vs_put(f->s, f->docs, "a", &attr, "abcdefg", 7, NULL), 0);
	assert_reads_bytes(f, f->docs, "a", "abcdefg", 7);
}

/* Puts a vector of so many values, all of which are n. */
static void put_values(struct fixture *f, uint32_t collection, const char *id, int values, float n)
{
	struct vs_attr attr = {.perm = perm};
	float v[64];

	for (int i = 0; i < values; i++)
		v[i] = n;
	assert_int_equal(vs_entry_reserve(f->s, collection, &attr.entry), 0);
	assert_int_equal(vs_put(f->s, collection, id, &attr, v, (size_t)values * sizeof *v, NULL), 0);
	assert_reads_bytes(f, collection, id, v, (size_t)values * sizeof *v);
}

static void the_last_vector_frees_what_the_first_has_fixed(void **state)
{
	struct fixture *f = *state;
	struct vs_collection_info c;
	uint64_t entry, replaced;
	struct vs_snapshot *m;
	uint32_t other;

	assert_int_equal(vs_collection_create(f->s, 0, "other", &perm, &other), 0);
	for (int values = 1; values <= 64; values *= 2) {
		for (int i = 0; i < 3; i++)
			put_values(f, f->docs, (const char *[]){"a", "b", "c"}[i], values, (float)i);
		assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0); /* keeps the files of all */
		assert_int_equal(vs_remove(f->s, f->docs, "a", NULL), 0);
		assert_int_equal(vs_remove(f->s, f->docs, "b", NULL), 0);
		assert_int_equal(vs_collection_get(f->s, f->docs, &c), 0);
		assert_true(c.schema_fixed);
		assert_int_equal(c.schema.dim, values);
		/* One leaves by a name of another collection, whose last has another size. */
		assert_int_equal(vs_rename(f->s, f->docs, "c", other, "c", false, &entry, &replaced), 0);
		assert_int_equal(vs_remove(f->s, other, "c", NULL), 0);
		vs_snapshot_close(m);
		if (values == 4 || values == 16)
			reopen(f);
		assert_int_equal(vs_collection_get(f->s, f->docs, &c), 0);
		assert_false(c.schema_fixed);
		assert_int_equal(c.schema.dim, 0);
		assert_int_equal(c.row_bytes, 0);
	}
	put_values(f, f->docs, "a", 9, 9);
	reopen(f);
	assert_int_equal(vs_collection_get(f->s, f->docs, &c), 0);
	assert_int_equal(c.schema.dim, 9);
}

#define LARGE_BYTES (256u << 10)

static void put_large(struct fixture *f, uint32_t collection, const char *id)
{
	struct vs_attr attr = {.perm = perm};
	static const char zeros[LARGE_BYTES];

	assert_int_equal(vs_entry_reserve(f->s, collection, &attr.entry), 0);
	assert_int_equal(vs_put(f->s, collection, id, &attr, zeros, sizeof zeros, NULL), 0);
}

/* A batch reserves room for all of its rows, also for those that replace others; a segment that was made for
 * them, and got none, goes with the last vector. */
static void a_segment_that_was_not_used_does_not_keep_the_size(void **state)
{
	enum { SEGMENT_ROWS = 1024 };
	struct fixture *f = *state;
	struct vs_collection_info c;
	struct stat st;
	char path[128], id[8], why[256];
	uint32_t batch;

	assert_int_equal(vs_close(f->s), 0); /* whose log is too small for them */
	assert_int_equal(vs_open(f->sc.dir, &(struct vs_options){0}, &f->s, why, sizeof why), 0);
	for (int i = 0; i < SEGMENT_ROWS - 1; i++) {
		snprintf(id, sizeof id, "%d", i);
		put_large(f, f->docs, id);
	}
	assert_int_equal(vs_collection_create(f->s, f->docs, "b", &perm, &batch), 0);
	put_large(f, batch, "0");
	put_large(f, batch, "1");
	assert_int_equal(vs_batch_commit(f->s, batch, 0, NULL, why, sizeof why), 0);
	snprintf(path, sizeof path, "%s/collections/%u/1.npy", f->sc.dir, f->docs);
	assert_int_equal(stat(path, &st), 0);
	for (int i = 0; i < SEGMENT_ROWS - 1; i++) {
		snprintf(id, sizeof id, "%d", i);
		assert_int_equal(vs_remove(f->s, f->docs, id, NULL), 0);
	}
	assert_int_equal(vs_collection_get(f->s, f->docs, &c), 0);
	assert_false(c.schema_fixed);
	put(f, f->docs, "small", 1);
	assert_reads(f, f->docs, "small", 1);
}

/* ------------------------------------------------------------------ vectors */

/* When a file of the first segment of a collection was last written to, after all has been applied. */
static int64_t written_ns(struct fixture *f, const char *suffix)
{
	char path[128];
	struct stat st;

	assert_int_equal(vs_checkpoint(f->s), 0);
	snprintf(path, sizeof path, "%s/collections/%u/0.%s", f->sc.dir, f->docs, suffix);
	assert_int_equal(stat(path, &st), 0);
	usleep(20000); /* the next time of a file is another one */
	return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

static void an_overwritten_vector_leaves_its_id_as_it_is(void **state)
{
	struct fixture *f = *state;
	int64_t ids_ns, vectors_ns;
	uint64_t entry, replaced;

	put(f, f->docs, "a", 1);
	ids_ns = written_ns(f, "names");
	vectors_ns = written_ns(f, "npy");
	put(f, f->docs, "a", 2);
	assert_true(written_ns(f, "npy") > vectors_ns);
	assert_true(written_ns(f, "names") == ids_ns);
	assert_int_equal(vs_rename(f->s, f->docs, "a", f->docs, "b", false, &entry, &replaced), 0);
	put(f, f->docs, "b", 3); /* of the same checkpoint */
	assert_true(written_ns(f, "names") > ids_ns);
	for (int i = 0; i < 2; i++, reopen(f)) {
		assert_absent(f, f->docs, "a");
		assert_reads(f, f->docs, "b", 3);
	}
}

static void vectors_survive_a_reopening(void **state)
{
	struct fixture *f = *state;
	uint64_t entry = put(f, f->docs, "a", 1);
	struct vs_attr attr;
	char name[VS_NAME_MAX + 1];

	put(f, f->docs, "b", 2);
	for (int i = 0; i < 2; i++) {
		assert_reads(f, f->docs, "a", 1);
		assert_reads(f, f->docs, "b", 2);
		assert_int_equal(vs_attr_get(f->s, f->docs, entry, &attr), 0);
		assert_int_equal(attr.mtime, 77);
		assert_int_equal(attr.perm.gid, 20);
		assert_int_equal(attr.size, DIM * sizeof(float));
		assert_int_equal(vs_name_get(f->s, f->docs, entry, name), 0);
		assert_string_equal(name, "a");
		reopen(f);
	}
}

static void a_put_replaces_and_the_old_entry_dies(void **state)
{
	struct fixture *f = *state;
	uint64_t old = put(f, f->docs, "a", 1), replaced;
	struct vs_attr attr = {.perm = perm};
	float v[DIM];

	fill(v, 5);
	assert_int_equal(vs_entry_reserve(f->s, f->docs, &attr.entry), 0);
	assert_int_equal(vs_put(f->s, f->docs, "a", &attr, v, sizeof v, &replaced), 0);
	assert_int_equal(replaced, old);
	assert_int_equal(vs_attr_get(f->s, f->docs, old, &attr), -ENOENT);
	assert_reads(f, f->docs, "a", 5);
}

static void a_part_of_a_vector_is_written(void **state)
{
	struct fixture *f = *state;
	uint64_t entry = put(f, f->docs, "a", 1);
	struct vs_attr attr = {.mtime = 99};
	float v[DIM] = {1, 2, 3, 4}, got[DIM], x = 50;

	assert_int_equal(vs_write(f->s, f->docs, entry, &x, sizeof x, 8, VS_SET_MTIME, &attr), 0);
	assert_int_equal(vs_write(f->s, f->docs, entry, &x, sizeof x, 13, 0, NULL), -EFBIG);
	v[2] = 50;
	assert_int_equal(vs_read(f->s, f->docs, entry, got, sizeof got, 0), sizeof got);
	assert_memory_equal(got, v, sizeof v);
	assert_int_equal(vs_read(f->s, f->docs, entry, got, sizeof got, 12), 4);
	assert_memory_equal(got, &v[3], 4);
	assert_int_equal(vs_read(f->s, f->docs, entry, got, sizeof got, 16), 0);
	assert_int_equal(vs_attr_get(f->s, f->docs, entry, &attr), 0);
	assert_int_equal(attr.mtime, 99);
}

static void removing_one_leaves_the_others(void **state)
{
	struct fixture *f = *state;
	char id[16];
	uint64_t entry;

	for (int i = 0; i < 100; i++) {
		snprintf(id, sizeof id, "id-%d", i);
		put(f, f->docs, id, (float)i);
	}
	for (int i = 0; i < 100; i += 3) {
		snprintf(id, sizeof id, "id-%d", i);
		assert_int_equal(vs_remove(f->s, f->docs, id, &entry), 0);
		assert_int_equal(vs_remove(f->s, f->docs, id, &entry), -ENOENT);
	}
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 100; i++) {
			snprintf(id, sizeof id, "id-%d", i);
			if (i % 3)
				assert_reads(f, f->docs, id, (float)i);
			else
				assert_absent(f, f->docs, id);
		}
		reopen(f);
	}
}

static void a_rename_keeps_the_entry_and_replaces_the_target(void **state)
{
	struct fixture *f = *state;
	uint64_t a = put(f, f->docs, "a", 1), b = put(f, f->docs, "b", 2), entry, replaced;

	assert_int_equal(vs_rename(f->s, f->docs, "a", f->docs, "b", true, &entry, &replaced), -EEXIST);
	assert_int_equal(vs_rename(f->s, f->docs, "x", f->docs, "b", false, &entry, &replaced), -ENOENT);
	assert_int_equal(vs_rename(f->s, f->docs, "a", f->docs, "b", false, &entry, &replaced), 0);
	assert_int_equal(entry, a);
	assert_int_equal(replaced, b);
	assert_absent(f, f->docs, "a");
	assert_reads(f, f->docs, "b", 1);
}

static void vectors_move_between_collections_of_one_kind(void **state)
{
	struct fixture *f = *state;
	uint64_t entry, replaced;
	uint32_t same, different;

	assert_int_equal(vs_collection_create(f->s, 0, "same", &perm, &same), 0);
	assert_int_equal(vs_collection_create(f->s, 0, "different", &perm, &different), 0);
	assert_int_equal(vs_schema_set(f->s, different, &(struct vs_schema){.dim = DIM, .dtype = VS_F16}), 0);
	put(f, f->docs, "a", 1);
	assert_int_equal(vs_rename(f->s, f->docs, "a", different, "a", false, &entry, &replaced), -EXDEV);
	assert_int_equal(vs_rename(f->s, f->docs, "a", same, "b", false, &entry, &replaced), 0);
	assert_absent(f, f->docs, "a");
	assert_reads(f, same, "b", 1);
	reopen(f);
	assert_absent(f, f->docs, "a");
	assert_reads(f, same, "b", 1);
}

/* ------------------------------------------------------------------ listing and bulk */

struct listing {
	uint64_t entries[64];
	unsigned count, limit;
};

static bool add(void *arg, const struct vs_attr *attr, const char *name, size_t len)
{
	struct listing *l = arg;

	assert_true(len && name);
	l->entries[l->count++] = attr->entry;
	return l->count < l->limit;
}

static void a_listing_in_pieces_names_each_once(void **state)
{
	struct fixture *f = *state;
	struct listing l = {.limit = 7};
	char id[16];
	uint64_t after = 0;

	for (int i = 0; i < 20; i++) {
		snprintf(id, sizeof id, "id-%d", i);
		put(f, f->docs, id, (float)i);
	}
	assert_int_equal(vs_list(f->s, f->docs, after, add, &l), 0);
	assert_int_equal(l.count, 7);
	after = l.entries[6];
	assert_int_equal(vs_remove(f->s, f->docs, "id-3", NULL), 0); /* moves the last row: no matter */
	l.limit = 64;
	assert_int_equal(vs_list(f->s, f->docs, after, add, &l), 0);
	assert_int_equal(l.count, 20);
	for (unsigned i = 1; i < l.count; i++)
		assert_true(l.entries[i] > l.entries[i - 1]);
}

static void a_moment_stays_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct vs_snapshot_info info;
	struct vs_snapshot *m;
	float rows[3][DIM], want[DIM];
	char ids[32] = "";

	put(f, f->docs, "a", 1);
	put(f, f->docs, "b", 2);
	put(f, f->docs, "c", 3);
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	vs_snapshot_info(m, &info);
	assert_int_equal(info.rows, 3);
	assert_int_equal(info.ids_bytes, 6);
	put(f, f->docs, "b", 20);
	assert_int_equal(vs_remove(f->s, f->docs, "a", NULL), 0);
	put(f, f->docs, "d", 4);
	assert_int_equal(vs_snapshot_ids(m, ids, sizeof ids, 0), 6);
	assert_string_equal(ids, "a\nb\nc\n");
	assert_int_equal(vs_snapshot_ids(m, ids, sizeof ids, 2), 4);
	assert_memory_equal(ids, "b\nc\n", 4);
	assert_int_equal(vs_snapshot_vectors(m, rows, sizeof rows, 0), sizeof rows);
	for (int i = 0; i < 3; i++) {
		fill(want, (float)(i + 1));
		assert_memory_equal(rows[i], want, sizeof want);
	}
	vs_snapshot_close(m);
	assert_reads(f, f->docs, "b", 20);
}

/* ------------------------------------------------------------------ batches */

static uint32_t new_batch(struct fixture *f, const char *ids, unsigned rows)
{
	struct vs_schema schema = {.dim = DIM, .dtype = VS_F32};
	struct vs_upload *u;
	uint32_t batch;
	float v[DIM];

	assert_int_equal(vs_collection_create(f->s, f->docs, "b", &perm, &batch), 0);
	assert_int_equal(vs_upload_begin(f->s, batch, &schema, &u), 0);
	for (unsigned i = 0; i < rows; i++) {
		fill(v, (float)(100 + i));
		assert_int_equal(vs_upload_append(u, v, sizeof v), 0);
	}
	assert_int_equal(vs_upload_end(u, true), 0);
	if (ids)
		assert_int_equal(vs_batch_text_write(f->s, batch, VS_BATCH_IDS, ids, strlen(ids), 0), 0);
	return batch;
}

static void a_batch_appears_at_once_and_is_gone(void **state)
{
	struct fixture *f = *state;
	struct vs_collection_info c;
	struct vs_batch_info info;
	uint32_t batch = new_batch(f, "x\ny\n", 2);
	char why[256];

	put(f, f->docs, "old", 1);
	put(f, batch, "z", 7);
	assert_int_equal(vs_batch_text_write(f->s, batch, VS_BATCH_DELETE, "old\nnever\n", 10, 0), 0);
	assert_absent(f, f->docs, "x");
	assert_int_equal(vs_batch_get(f->s, batch, &info), 0);
	assert_int_equal(info.upload_rows, 2);
	assert_int_equal(vs_batch_commit(f->s, batch, 0, NULL, why, sizeof why), 0);
	assert_int_equal(vs_collection_get(f->s, batch, &c), -ENOENT);
	for (int i = 0; i < 2; i++) {
		assert_reads(f, f->docs, "x", 100);
		assert_reads(f, f->docs, "y", 101);
		assert_reads(f, f->docs, "z", 7);
		assert_absent(f, f->docs, "old");
		reopen(f);
	}
}

static void a_batch_that_is_wrong_is_refused_and_stays(void **state)
{
	static const struct {
		const char *ids, *why;
	} cases[] = {
		{"x\n", "1 ids, but 2 vectors"},
		{"x\ny\nz\n", "3 ids, but 2 vectors"},
		{"x\nx\n", "ids: line 2: the id is that of line 1"},
		{"x\na/b\n", "ids: line 2: the id has a '/' in it"},
		{"x\n.vecfs\n", "ids: line 2: the id .vecfs is reserved"},
	};
	struct fixture *f = *state;
	struct vs_collection_info c;
	char why[256];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint32_t batch = new_batch(f, cases[i].ids, 2);

		assert_int_equal(vs_batch_commit(f->s, batch, 0, NULL, why, sizeof why), -EINVAL);
		if (!strstr(why, cases[i].why))
			fail_msg("says '%s', want '%s'", why, cases[i].why);
		assert_int_equal(vs_collection_get(f->s, batch, &c), 0);
		assert_absent(f, f->docs, "x");
		assert_int_equal(vs_collection_remove(f->s, batch), 0);
	}
}

static void uploaded_rows_bring_their_attributes(void **state)
{
	static const struct vs_file_attr attrs[2] = {{1000000000, 5, 04711, 7, 8},
						     {-1, 999999999, 0600, 0, 9}};
	struct fixture *f = *state;
	uint32_t batch = new_batch(f, "x\ny\n", 2);
	struct vs_row_meta meta[3];
	struct vs_snapshot *m;
	struct timespec t;
	struct vs_attr a;
	char why[256];

	put(f, f->docs, "x", 1);
	assert_int_equal(vs_batch_text_write(f->s, batch, VS_BATCH_ATTRIBUTES, attrs, 47, 0), 0);
	assert_int_equal(vs_batch_commit(f->s, batch, 0, NULL, why, sizeof why), -EINVAL);
	assert_non_null(strstr(why, "attributes: 47 bytes, want 48"));
	assert_int_equal(vs_batch_text_write(f->s, batch, VS_BATCH_ATTRIBUTES, attrs, sizeof attrs, 0), 0);
	assert_int_equal(vs_batch_commit(f->s, batch, 0, NULL, why, sizeof why), 0);
	reopen(f);
	assert_int_equal(vs_lookup(f->s, f->docs, "x", &a), 0);
	vs_time_split(a.mtime, &t);
	assert_true(t.tv_sec == 1000000000 && t.tv_nsec == 5);
	assert_true(a.perm.mode == 04711 && a.perm.uid == 7 && a.perm.gid == 8);
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	assert_int_equal(vs_snapshot_meta(m, 0, 3, meta), 2);
	for (int i = 0; i < 2; i++) {
		int at = meta[0].attr.uid == 7 ? i : 1 - i;

		assert_memory_equal(&meta[i].attr, &attrs[at], sizeof attrs[at]);
		assert_true(meta[i].entry >= VS_ENTRY_FIRST && meta[i].data_sum != 0);
	}
	assert_true(meta[0].place < meta[1].place);
	assert_int_equal(vs_snapshot_meta(m, 1, 5, meta), 1);
	assert_int_equal(vs_snapshot_meta(m, 2, 5, meta), 0);
	vs_snapshot_close(m);
}

/* Both a change of a vector and one of its attributes show in its metadata, and nothing else does. */
static void metadata_tell_what_has_changed(void **state)
{
	struct vs_row_meta before[3], after[3];
	struct fixture *f = *state;
	struct vs_snapshot *m, *n;
	struct vs_attr a;

	put(f, f->docs, "a", 1);
	put(f, f->docs, "b", 2);
	put(f, f->docs, "c", 3);
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	put(f, f->docs, "b", 20);
	assert_int_equal(vs_lookup(f->s, f->docs, "c", &a), 0);
	a.perm.mode = 0600;
	assert_int_equal(vs_attr_set(f->s, f->docs, a.entry, VS_SET_MODE, &a), 0);
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &n), 0);
	assert_int_equal(vs_snapshot_meta(m, 0, 3, before), 3);
	assert_int_equal(vs_snapshot_meta(n, 0, 3, after), 3);
	assert_memory_equal(&before[0], &after[0], sizeof before[0]);
	assert_true(before[1].entry != after[1].entry && before[1].data_sum != after[1].data_sum);
	assert_true(before[2].entry == after[2].entry && before[2].data_sum == after[2].data_sum);
	assert_true(before[2].ctime_s < after[2].ctime_s ||
		    (before[2].ctime_s == after[2].ctime_s && before[2].ctime_ns < after[2].ctime_ns));
	vs_snapshot_close(m);
	vs_snapshot_close(n);
}

static void an_upload_is_gone_on_with(void **state)
{
	struct vs_schema schema = {.dim = DIM, .dtype = VS_F32}, wrong = {.dim = DIM, .dtype = VS_I8};
	struct fixture *f = *state;
	uint32_t batch = new_batch(f, "x\ny\nz\n", 2);
	struct vs_upload *u;
	float v[DIM];
	char why[256];

	for (int reopened = 0; reopened < 2; reopened++) {
		assert_int_equal(vs_upload_resume(f->s, batch, &schema, 4, &u), -ENODATA);
		assert_int_equal(vs_upload_resume(f->s, batch, &schema, 1, &u), 0);
		assert_int_equal(vs_upload_append(u, "part", 4), 0);
		assert_int_equal(vs_upload_trim(u), 0);
		fill(v, 201);
		assert_int_equal(vs_upload_append(u, v, sizeof v), 0);
		fill(v, 202);
		assert_int_equal(vs_upload_append(u, v, sizeof v), 0);
		assert_int_equal(vs_upload_end(u, true), 0);
		if (!reopened)
			reopen(f);
	}
	put(f, f->docs, "one", 1);
	assert_int_equal(vs_upload_resume(f->s, batch, &wrong, 1, &u), -EINVAL);
	assert_int_equal(vs_batch_commit(f->s, batch, 0, NULL, why, sizeof why), 0);
	assert_reads(f, f->docs, "x", 100);
	assert_reads(f, f->docs, "y", 201);
	assert_reads(f, f->docs, "z", 202);
}

static void a_batch_may_expect_a_version(void **state)
{
	struct fixture *f = *state;
	struct vs_collection_info info;
	uint32_t batch;
	char why[256];

	put(f, f->docs, "old", 1);
	batch = new_batch(f, "x\n", 1);
	assert_int_equal(vs_collection_get(f->s, f->docs, &info), 0);
	assert_int_equal(vs_batch_expect(f->s, batch, info.version), 0);
	put(f, f->docs, "old", 2);
	assert_int_equal(vs_batch_commit(f->s, batch, 0, NULL, why, sizeof why), -EINVAL);
	assert_non_null(strstr(why, "has been changed meanwhile"));
	assert_absent(f, f->docs, "x");
	assert_int_equal(vs_collection_get(f->s, f->docs, &info), 0);
	assert_int_equal(vs_batch_expect(f->s, batch, info.version), 0);
	assert_int_equal(vs_batch_commit(f->s, batch, 0, NULL, why, sizeof why), 0);
	assert_reads(f, f->docs, "x", 100);
}

static void rows_without_ids_are_numbered(void **state)
{
	struct fixture *f = *state;
	uint32_t batch = new_batch(f, NULL, 3);
	char why[256];

	assert_int_equal(vs_batch_commit(f->s, batch, 0, NULL, why, sizeof why), 0);
	assert_reads(f, f->docs, "0", 100);
	assert_reads(f, f->docs, "2", 102);
}

static void assert_change(const struct vs_batch_change *got, uint64_t added, uint64_t replaced,
			  uint64_t deleted)
{
	assert_int_equal(got->added, added);
	assert_int_equal(got->replaced, replaced);
	assert_int_equal(got->deleted, deleted);
}

/* A small batch goes through the log, a large one does not: both count, and both may be told to add only. */
static void a_batch_tells_what_it_changed(void **state)
{
	static const unsigned sizes[] = {4, 40000};
	struct fixture *f = *state;
	struct vs_batch_change change;
	char why[256];

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		unsigned rows = sizes[i];
		uint32_t batch;

		put(f, f->docs, "1", 1);
		put(f, f->docs, "3", 1);
		put(f, f->docs, "other", 1);
		batch = new_batch(f, NULL, rows);
		assert_int_equal(vs_batch_commit(f->s, batch, VS_BATCH_ADD, &change, why, sizeof why),
				 -EEXIST);
		assert_string_equal(why, "'1' is there already");
		assert_reads(f, f->docs, "1", 1);
		assert_absent(f, f->docs, "0");
		put(f, batch, "file", 7);
		assert_int_equal(
			vs_batch_text_write(f->s, batch, VS_BATCH_DELETE, "3\nother\nnever\n", 14, 0), 0);
		assert_int_equal(vs_batch_commit(f->s, batch, 0, &change, why, sizeof why), 0);
		assert_change(&change, rows, 1, 2); /* 0, 2, 3, ... and file; 1; 3 and other */
		batch = new_batch(f, NULL, rows);
		assert_int_equal(vs_batch_commit(f->s, batch, 0, &change, why, sizeof why), 0);
		assert_change(&change, 0, rows, 0);
		assert_int_equal(vs_collection_create(f->s, f->docs, "b", &perm, &batch), 0);
		put(f, batch, "file", 8);
		assert_int_equal(vs_batch_commit(f->s, batch, VS_BATCH_ADD, NULL, why, sizeof why), -EEXIST);
		assert_string_equal(why, "'file' is there already");
		assert_int_equal(vs_collection_remove(f->s, batch), 0);
		assert_reads(f, f->docs, "file", 7);
		assert_int_equal(vs_remove(f->s, f->docs, "file", NULL), 0);
		for (unsigned n = 0; n < rows; n++) {
			char id[16];

			snprintf(id, sizeof id, "%u", n);
			assert_int_equal(vs_remove(f->s, f->docs, id, NULL), 0);
		}
	}
}

/* ------------------------------------------------------------------ permissions */

static void assert_owner(struct fixture *f, const char *id, uint32_t uid)
{
	struct vs_attr attr;

	assert_int_equal(vs_lookup(f->s, f->docs, id, &attr), 0);
	assert_int_equal(attr.perm.uid, uid);
}

/* What keeps its owner all the time, of each kind of thing that has one. */
static void assert_kept_owners(struct fixture *f)
{
	struct vs_collection_info c;
	struct vs_root root;

	assert_owner(f, "kept", 7777777);
	assert_owner(f, "0", 20);
	assert_int_equal(vs_collection_get(f->s, f->docs, &c), 0);
	assert_int_equal(c.perm.uid, perm.uid);
	vs_root_get(f->s, &root);
	assert_int_equal(root.perm.uid, 8888888);
}

/* Rows refer to their permissions by 16 bits: classes that nobody uses any more are given out anew. */
static void more_permissions_than_there_are_classes(void **state)
{
	enum { OWNERS = 70000, BATCH_ROWS = 40000 };
	struct fixture *f = *state;
	struct vs_attr attr = {.perm = {.mode = 0640, .uid = 7777777}};
	struct vs_perm owner = {.mode = 0755, .uid = 8888888};
	uint64_t kept = put(f, f->docs, "kept", 1), changed = put(f, f->docs, "changed", 2);
	uint32_t batch = new_batch(f, NULL, BATCH_ROWS);
	char why[256];

	if (getenv("VECFS_SANITIZED"))
		skip(); /* minutes */
	assert_int_equal(vs_root_set(f->s, VS_SET_MODE | VS_SET_UID | VS_SET_GID, &owner, 0), 0);
	assert_int_equal(vs_collection_set(f->s, batch, VS_SET_UID, &(struct vs_perm){.uid = 20}, 0), 0);
	assert_int_equal(vs_batch_commit(f->s, batch, 0, NULL, why, sizeof why), 0);
	assert_int_equal(vs_attr_set(f->s, f->docs, kept, VS_SET_UID, &attr), 0);
	for (uint32_t uid = 0; uid < OWNERS; uid++) {
		attr.perm.uid = uid;
		assert_int_equal(vs_attr_set(f->s, f->docs, changed, VS_SET_UID, &attr), 0);
		if (uid == 1000 || uid == OWNERS - 10)
			reopen(f);
	}
	for (int i = 0; i < 2; i++, reopen(f)) {
		assert_owner(f, "changed", OWNERS - 1);
		assert_kept_owners(f);
	}
}

/* ------------------------------------------------------------------ a vacuum that fails */

/* The real table, but that the first segment of collection 1 cannot be read while that is wanted. */
static struct io_ops faulty_ops;
static const struct io_ops *real_ops;
static atomic_int faulty_fd = -1;
static atomic_bool failing;

static int faulty_open(struct io *io, const char *path, int flags, mode_t mode)
{
	int fd = real_ops->open(io, path, flags, mode);

	if (!strcmp(path, "collections/1/0.npy"))
		faulty_fd = fd;
	return fd;
}

static ssize_t faulty_pread(struct io *io, int fd, void *buf, size_t size, uint64_t off)
{
	return failing && fd == faulty_fd ? -EIO : real_ops->pread(io, fd, buf, size, off);
}

static void count_warning(void *arg, enum vs_severity severity, const char *line)
{
	unsigned *warnings = arg;

	(void)line;
	*warnings += severity == VS_WARNING;
}

static void reopen_faulty(struct fixture *f, struct io **io, unsigned *warnings)
{
	struct vs_options options = {.log_bytes = 1u << 20, .report = count_warning, .report_arg = warnings};
	char why[256];

	assert_int_equal(vs_close(f->s), 0);
	assert_int_equal(io_new_real(f->sc.dir, false, io), 0);
	real_ops = (*io)->ops;
	faulty_ops = *real_ops;
	faulty_ops.open = faulty_open;
	faulty_ops.pread = faulty_pread;
	(*io)->ops = &faulty_ops;
	options.io = *io;
	assert_int_equal(vs_open(f->sc.dir, &options, &f->s, why, sizeof why), 0);
}

static void commit_rows(struct fixture *f, unsigned rows)
{
	char why[256];

	assert_int_equal(vs_batch_commit(f->s, new_batch(f, NULL, rows), 0, NULL, why, sizeof why), 0);
}

/* A snapshot of so many rows, each of which is there once, with the vector that its id has. */
static void assert_numbered_rows(struct vs_snapshot *m, unsigned rows)
{
	float *vectors = malloc(rows * sizeof *vectors * DIM), want[DIM];
	unsigned char *seen = calloc(rows, 1);
	struct vs_snapshot_info info;
	char *ids, *p;

	vs_snapshot_info(m, &info);
	assert_int_equal(info.rows, rows);
	ids = malloc(info.ids_bytes + 1);
	assert_int_equal(vs_snapshot_ids(m, ids, info.ids_bytes + 1, 0), info.ids_bytes);
	assert_int_equal(vs_snapshot_vectors(m, vectors, rows * sizeof want, 0), rows * sizeof want);
	ids[info.ids_bytes] = 0;
	p = ids;
	for (unsigned i = 0; i < rows; i++) {
		unsigned long id = strtoul(p, &p, 10);

		assert_int_equal(*p++, '\n');
		assert_true(id < rows && !seen[id]++);
		fill(want, (float)(100 + id));
		assert_memory_equal(vectors + i * DIM, want, sizeof want);
	}
	free(seen);
	free(ids);
	free(vectors);
}

static void a_vacuum_that_fails_refuses_neither_a_batch_nor_a_view(void **state)
{
	enum { ROWS = 40000 };
	struct fixture *f = *state;
	struct vs_snapshot *holed, *dense;
	unsigned warnings = 0;
	struct io *io;

	commit_rows(f, ROWS);
	reopen_faulty(f, &io, &warnings);
	failing = true;
	commit_rows(f, ROWS / 2);
	assert_int_equal(warnings, 1);
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &holed), 0);
	failing = false;
	assert_numbered_rows(holed, ROWS);
	commit_rows(f, ROWS / 4); /* and all is tidied */
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &dense), 0);
	assert_numbered_rows(dense, ROWS);
	assert_numbered_rows(holed, ROWS);
	vs_snapshot_close(dense);
	failing = true;
	commit_rows(f, ROWS / 4 * 3);
	failing = false;
	assert_numbered_rows(holed, ROWS);
	vs_snapshot_close(holed);
	reopen(f);
	io_free_real(io);
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &dense), 0);
	assert_numbered_rows(dense, ROWS);
	vs_snapshot_close(dense);
}

/* ------------------------------------------------------------------ the store as a whole */

static void one_process_holds_a_store(void **state)
{
	struct fixture *f = *state;
	struct vs_options options = {0};
	struct vs_store *second;
	char why[256], want[64];

	snprintf(want, sizeof want, "in use by process %d", (int)getpid());
	for (int i = 0; i < 2; i++) {
		assert_int_equal(vs_open(f->sc.dir, &options, &second, why, sizeof why), -EBUSY);
		assert_string_equal(why, want);
		assert_null(second);
	}
}

static void a_read_only_store_refuses_changes(void **state)
{
	struct fixture *f = *state;
	struct vs_attr attr = {.perm = perm};
	uint64_t entry = put(f, f->docs, "a", 1);
	uint32_t id;

	assert_int_equal(vs_close(f->s), 0);
	f->s = open_store(f, true);
	assert_reads(f, f->docs, "a", 1);
	assert_int_equal(vs_collection_create(f->s, 0, "new", &perm, &id), -EROFS);
	assert_int_equal(vs_entry_reserve(f->s, f->docs, &attr.entry), -EROFS);
	assert_int_equal(vs_write(f->s, f->docs, entry, "abcd", 4, 0, 0, NULL), -EROFS);
	assert_int_equal(vs_remove(f->s, f->docs, "a", NULL), -EROFS);
}

static void other_peoples_directories_are_refused(void **state)
{
	struct fixture *f = *state;
	struct vs_options options = {0};
	struct vs_store *s;
	char path[128], why[256];
	FILE *letter;

	snprintf(path, sizeof path, "%s/home", f->sc.dir);
	assert_int_equal(f->sc.io->ops->mkdir(f->sc.io, "home", 0700), 0);
	strcat(path, "/letter");
	letter = fopen(path, "w");
	assert_non_null(letter);
	fclose(letter);
	path[strlen(path) - strlen("/letter")] = 0;
	assert_int_equal(vs_open(path, &options, &s, why, sizeof why), -ENOTEMPTY);
	assert_int_equal(vs_check(path, NULL, true, NULL, NULL), VS_CHECK_FAILED);
	options.read_only = true;
	strcat(path, "/nothing");
	assert_int_equal(vs_open(path, &options, &s, why, sizeof why), -ENOENT);
	assert_int_equal(f->sc.io->ops->unlink(f->sc.io, "home/letter"), 0);
	f->sc.io->ops->unlink(f->sc.io, "home/lock");
	assert_int_equal(f->sc.io->ops->rmdir(f->sc.io, "home"), 0);
}

static void told(void *arg, int result)
{
	atomic_store((atomic_int *)arg, result);
}

static void counters_count(void **state)
{
	struct fixture *f = *state;
	struct vs_counters before, after;
	float v[DIM] = {0};
	uint64_t entry;
	atomic_int result = 1;

	vs_counters(f->s, &before);
	put(f, f->docs, "a", 1);
	entry = put(f, f->docs, "a", 2);
	assert_int_equal(vs_write(f->s, f->docs, entry, v, sizeof v, 0, 0, NULL), 0);
	assert_int_equal(vs_write(f->s, f->docs, entry, v, 4, 4, 0, NULL), 0);
	assert_int_equal(vs_remove(f->s, f->docs, "a", NULL), 0);
	vs_sync_async(f->s, told, &result);
	assert_int_equal(vs_sync(f->s), 0);
	/* It is told by whoever led, perhaps just after the other was. */
	for (int i = 0; i < 10000 && atomic_load(&result) == 1; i++)
		usleep(1000);
	assert_int_equal(atomic_load(&result), 0);
	vs_counters(f->s, &after);
	assert_int_equal(after.puts - before.puts, 2);
	assert_int_equal(after.overwrites - before.overwrites, 1);
	assert_int_equal(after.patches - before.patches, 1);
	assert_int_equal(after.removes - before.removes, 1);
	assert_true(after.commits > before.commits);
	assert_int_equal(after.collections, 1);
	assert_int_equal(after.vectors, 0);
	assert_int_equal(strlen(vs_uuid(f->s)), 36);
}

struct chain {
	struct fixture *f;
	_Atomic bool stop, ended;
	_Atomic unsigned links;
	_Atomic unsigned deepest; /* calls within calls */
};

/* Whenever one change is durable the next is made, and waited for. */
static void link_durable(void *arg, int result)
{
	static _Thread_local unsigned depth;
	struct chain *chain = arg;

	if (++depth > chain->deepest)
		chain->deepest = depth;
	if (result || chain->stop) {
		chain->ended = true;
	} else {
		chain->links++;
		put(chain->f, chain->f->docs, "link", 1);
		vs_sync_async(chain->f->s, link_durable, chain);
	}
	depth--;
}

/* There is always somebody whose change is not yet durable, so who led for others would never come back. */
static void nobody_commits_for_others_for_ever(void **state)
{
	struct chain chain = {.f = *state};

	put(chain.f, chain.f->docs, "mine", 1);
	vs_sync_async(chain.f->s, link_durable, &chain);
	for (int i = 0; i < 20; i++) {
		put(chain.f, chain.f->docs, "mine", (float)i);
		assert_int_equal(vs_sync(chain.f->s), 0);
	}
	while (chain.links < 100)
		usleep(100);
	chain.stop = true;
	while (!chain.ended)
		usleep(100);
	assert_true(chain.deepest <= 2); /* two if the first was durable before it was asked for */
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, new_store, free_store)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_file_names),
		cmocka_unit_test(schemas_tell_sizes),
		WITH_STORE(collections_come_and_go),
		WITH_STORE(a_renamed_collection_replaces_an_empty_one_only),
		WITH_STORE(a_schema_is_fixed_by_the_first_vector),
		WITH_STORE(the_last_vector_frees_what_the_first_has_fixed),
		WITH_STORE(a_segment_that_was_not_used_does_not_keep_the_size),
		WITH_STORE(an_overwritten_vector_leaves_its_id_as_it_is),
		WITH_STORE(vectors_survive_a_reopening),
		WITH_STORE(a_put_replaces_and_the_old_entry_dies),
		WITH_STORE(a_part_of_a_vector_is_written),
		WITH_STORE(removing_one_leaves_the_others),
		WITH_STORE(a_rename_keeps_the_entry_and_replaces_the_target),
		WITH_STORE(vectors_move_between_collections_of_one_kind),
		WITH_STORE(a_listing_in_pieces_names_each_once),
		WITH_STORE(a_moment_stays_as_it_was),
		WITH_STORE(nobody_commits_for_others_for_ever),
		WITH_STORE(a_batch_appears_at_once_and_is_gone),
		WITH_STORE(a_batch_that_is_wrong_is_refused_and_stays),
		WITH_STORE(rows_without_ids_are_numbered),
		WITH_STORE(uploaded_rows_bring_their_attributes),
		WITH_STORE(metadata_tell_what_has_changed),
		WITH_STORE(an_upload_is_gone_on_with),
		WITH_STORE(a_batch_may_expect_a_version),
		WITH_STORE(a_batch_tells_what_it_changed),
		WITH_STORE(more_permissions_than_there_are_classes),
		WITH_STORE(a_vacuum_that_fails_refuses_neither_a_batch_nor_a_view),
		WITH_STORE(one_process_holds_a_store),
		WITH_STORE(a_read_only_store_refuses_changes),
		WITH_STORE(other_peoples_directories_are_refused),
		WITH_STORE(counters_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
