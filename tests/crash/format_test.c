/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format_test - what other versions of this program have left: a real store of format version 1, closed and
 * killed (tests/data/version1.tar.xz), is converted, with a crash at each change of that; what a newer one
 * wrote is refused.
 */
#define _XOPEN_SOURCE 700
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "tests/crash/model.h"
#include "tests/crash/rng.h"
#include "tests/crash/simdisk.h"
#include "store/base/format.h"

#define POINTS_MAX 40 /* crashes of a conversion that are tried; VECFS_LONG: all */

static char dir[] = "/tmp/vecfs-format.XXXXXX";

/* ------------------------------------------------------------------ a real folder, on a simulated disk */

static struct io *disk_io;
static size_t root_len;

static void load_file(const char *from, const char *to)
{
	static char buf[1 << 16];
	int in = open(from, O_RDONLY), out = disk_io->ops->open(disk_io, to, O_RDWR | O_CREAT, 0600);
	uint64_t off = 0;
	ssize_t n;

	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, buf, sizeof buf)) > 0) {
		assert_int_equal(io_write_full(disk_io, out, buf, (size_t)n, off), 0);
		off += (uint64_t)n;
	}
	assert_int_equal(disk_io->ops->datasync(disk_io, out), 0);
	disk_io->ops->close(disk_io, out);
	close(in);
}

static int load_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	const char *to = path + root_len;

	(void)st;
	(void)ftw;
	if (type == FTW_D && *to)
		assert_int_equal(disk_io->ops->mkdir(disk_io, to + 1, 0700), 0);
	else if (type == FTW_F)
		load_file(path, to + 1);
	return 0;
}

static int sync_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	const char *to = path + root_len;

	(void)st;
	(void)ftw;
	if (type == FTW_D)
		assert_true(disk_io->ops->syncdir(disk_io, *to ? to + 1 : ".") >= 0);
	return 0;
}

static void load(struct simdisk *d, const char *store)
{
	char path[256];

	simdisk_reset(d);
	disk_io = simdisk_io(d);
	snprintf(path, sizeof path, "%s/%s", dir, store);
	root_len = strlen(path);
	assert_int_equal(nftw(path, load_entry, 16, FTW_PHYS), 0);
	assert_int_equal(nftw(path, sync_entry, 16, FTW_PHYS), 0);
}

static int unpack(void **state)
{
	char command[512];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(command, sizeof command, "tar -C %s -xJf '%s/version1.tar.xz'", dir, TEST_DATA);
	return system(command);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int clean_up(void **state)
{
	(void)state;
	return nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* ------------------------------------------------------------------ opening */

static int open_store(struct simdisk *d, bool read_only, struct vs_store **s, char why[256])
{
	struct vs_options options = {.io = simdisk_io(d), .read_only = read_only};

	return vs_open("sim", &options, s, why, 256);
}

static void load_model(struct vs_store *s, struct model *m)
{
	char why[512] = "";

	if (model_load(m, s, why, sizeof why))
		fail_msg("%s", why);
}

static void say(void *arg, const char *line)
{
	snprintf(arg, 256, "%s", line);
}

static void assert_clean(struct simdisk *d)
{
	char line[256] = "";

	if (vs_check("sim", simdisk_io(d), false, say, line) != VS_CHECK_CLEAN)
		fail_msg("check: %s", line);
}

/* ------------------------------------------------------------------ conversion */

static uint64_t count_vectors(const struct model *m)
{
	uint64_t n = 0;

	for (size_t i = 0; i < m->count; i++)
		n += m->collections[i].count;
	return n;
}

/* Converts it without a crash: what it must always come to. Returns how many changes of the disk that takes.
 */
static uint64_t convert_whole(struct simdisk *d, const char *store, struct model *want)
{
	uint64_t before, changes;
	struct vs_store *s;
	char why[256];

	load(d, store);
	before = simdisk_changes(d);
	assert_int_equal(open_store(d, false, &s, why), 0);
	changes = simdisk_changes(d) - before;
	load_model(s, want);
	assert_int_equal(vs_close(s), 0);
	assert_clean(d);
	assert_int_equal(open_store(d, true, &s, why), 0);
	assert_int_equal(vs_close(s), 0);
	return changes;
}

static void a_version_1_store_is_converted(void **state)
{
	static const struct {
		const char *name;
		uint64_t collections, vectors;
	} stores[] = {{"store-closed", 3, 295}, {"store-killed", 4, 1945}};
	struct simdisk *d = simdisk_new();

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct model m = {0};
		const struct model_vector *v;

		convert_whole(d, stores[i].name, &m);
		assert_int_equal(m.count, stores[i].collections);
		assert_int_equal(count_vectors(&m), stores[i].vectors);
		v = model_vector_find(model_find(&m, "docs"), "v4");
		assert_non_null(v);
		/* Its mtime of old, to the nanosecond; and ctime was the same. */
		assert_true(v->mtime ==
			    (1000000000ull + (1ull << 31)) * VS_TIME_NS_PER_S + 4 * 1234567891ull);
		assert_true(v->ctime - v->mtime < 1ull << 62 || v->ctime == v->mtime);
		assert_int_equal(v->perm.mode, 0604);
		model_clear(&m);
	}
	simdisk_free(d);
}

/* Crashes the conversion at change k, and perhaps the next one too; then it must come to the same. */
static void convert_with_crashes(struct simdisk *d, const char *store, uint64_t k, struct model *want)
{
	struct rng rng = rng_of(k, 77);
	struct model got = {0};
	struct vs_store *s;
	char why[512] = "";

	load(d, store);
	for (int crash = 0; crash < 3; crash++) {
		simdisk_crash_at(d, crash ? 1 + rng_below(&rng, k) : k, rng_next(&rng));
		if (!open_store(d, false, &s, why))
			vs_close(s);
		simdisk_crash_at(d, 0, 0);
		if (!simdisk_crashed(d))
			break;
		simdisk_reboot(d, rng_percent(&rng, 70) ? SIMDISK_POWER : SIMDISK_KILL, rng_next(&rng));
		if (rng_percent(&rng, 50))
			break;
	}
	if (open_store(d, false, &s, why))
		fail_msg("%s: crash at change %llu: cannot be opened: %s", store, (unsigned long long)k, why);
	load_model(s, &got);
	if (!model_same(want, &got, why, sizeof why))
		fail_msg("%s: crash at change %llu: %s", store, (unsigned long long)k, why);
	model_clear(&got);
	assert_int_equal(vs_close(s), 0);
	assert_clean(d);
}

static void a_crash_anywhere_in_a_conversion_costs_nothing(void **state)
{
	static const char *const stores[] = {"store-closed", "store-killed"};
	const char *mode = getenv("VECFS_LONG");
	struct simdisk *d = simdisk_new();

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct model want = {0};
		uint64_t changes = convert_whole(d, stores[i], &want);
		uint64_t points = mode && *mode == '1' ? changes : POINTS_MAX / 2,
			 last = changes > 80 ? changes - 80 : 0;

		/* The last are the ones that matter: all before repeats the log. */
		for (uint64_t p = 1; p <= points; p++)
			convert_with_crashes(d, stores[i], p * changes / points, &want);
		for (uint64_t k = last + 1; k <= changes; k += mode && *mode == '1' ? 1 : 3)
			convert_with_crashes(d, stores[i], k, &want);
		model_clear(&want);
	}
	simdisk_free(d);
}

static void a_version_1_store_is_not_read_without_being_converted(void **state)
{
	struct simdisk *d = simdisk_new();
	uint64_t changes;
	struct vs_store *s;
	char why[256], line[256] = "";

	(void)state;
	load(d, "store-killed");
	changes = simdisk_changes(d);
	assert_int_equal(open_store(d, true, &s, why), -EPROTO);
	assert_non_null(strstr(why, "version 1"));
	assert_int_equal(vs_check("sim", simdisk_io(d), false, say, line), VS_CHECK_FAILED);
	assert_non_null(strstr(line, "version 1"));
	assert_int_equal(simdisk_changes(d), changes);
	assert_int_equal(vs_check("sim", simdisk_io(d), true, say, line), VS_CHECK_REPAIRED);
	assert_clean(d);
	simdisk_free(d);
}

/* Changes bytes of a file. */
static void poke(struct simdisk *d, const char *path, const void *bytes, size_t size, uint64_t off)
{
	struct io *io = simdisk_io(d);
	int fd = io->ops->open(io, path, O_RDWR, 0);

	assert_true(fd >= 0);
	assert_int_equal(io_write_full(io, fd, bytes, size, off), 0);
	assert_int_equal(io->ops->datasync(io, fd), 0);
	io->ops->close(io, fd);
}

static void a_damaged_row_is_so_afterwards(void **state)
{
	struct simdisk *d = simdisk_new();
	struct vs_store *s;
	char why[256], line[256] = "";

	(void)state;
	load(d, "store-closed");
	poke(d, "collections/1/0.rows", "\377", 1, 28 * 5 + 9);
	assert_int_equal(open_store(d, false, &s, why), 0);
	assert_int_equal(vs_close(s), 0);
	assert_int_equal(vs_check("sim", simdisk_io(d), false, say, line), VS_CHECK_DAMAGED);
	assert_non_null(strstr(line, "row 5: metadata or id damaged"));
	simdisk_free(d);
}

static void a_full_disk_leaves_it_as_it_was(void **state)
{
	struct simdisk *d = simdisk_new();
	struct model m = {0};
	struct vs_store *s;
	char why[256];

	(void)state;
	load(d, "store-killed");
	simdisk_capacity(d, 1);
	assert_int_equal(open_store(d, false, &s, why), -ENOSPC);
	assert_non_null(strstr(why, "version 1"));
	simdisk_capacity(d, 0);
	assert_int_equal(open_store(d, false, &s, why), 0);
	load_model(s, &m);
	assert_int_equal(count_vectors(&m), 1945);
	model_clear(&m);
	assert_int_equal(vs_close(s), 0);
	simdisk_free(d);
}

/* Without a catalog nothing says which version it is, but the rows do: a repair must not take them for
 * damaged. */
static void an_old_store_without_a_catalog_is_left_alone(void **state)
{
	struct simdisk *d = simdisk_new();
	char line[256] = "", zeros[4096] = "";
	uint64_t size, size_after;
	int fd;

	(void)state;
	load(d, "store-closed");
	poke(d, "catalog.0", zeros, sizeof zeros, 0);
	poke(d, "catalog.1", zeros, sizeof zeros, 0);
	fd = disk_io->ops->open(disk_io, "collections/1/0.rows", O_RDONLY, 0);
	assert_int_equal(disk_io->ops->size(disk_io, fd, &size), 0);
	assert_int_equal(vs_check("sim", disk_io, true, say, line), VS_CHECK_FAILED);
	assert_non_null(strstr(line, "version 1"));
	assert_int_equal(disk_io->ops->size(disk_io, fd, &size_after), 0);
	assert_int_equal(size, size_after);
	disk_io->ops->close(disk_io, fd);
	simdisk_free(d);
}

/* ------------------------------------------------------------------ newer versions */

/* Makes a closed store with a collection that has an attribute; returns its newest catalog, of *size bytes.
 */
static struct catalog *make_new(struct simdisk *d, char path[16], size_t *size)
{
	const struct vs_perm perm = {.mode = 0755};
	struct io *io = simdisk_io(d);
	struct catalog *newest = NULL;
	struct vs_store *s;
	char why[256];
	uint32_t id;

	simdisk_reset(d);
	assert_int_equal(open_store(d, false, &s, why), 0);
	assert_int_equal(vs_collection_create(s, 0, "docs", &perm, &id), 0);
	assert_int_equal(vs_attribute_set(s, id, VS_ATTRIBUTE_VIEWS, "f16\n", 4), 0);
	assert_int_equal(vs_close(s), 0);
	for (int i = 0; i < 2; i++) {
		const char *slot = i ? "catalog.1" : "catalog.0";
		int fd = io->ops->open(io, slot, O_RDONLY, 0);
		struct catalog *head;
		uint64_t bytes;

		assert_true(fd >= 0);
		assert_int_equal(io->ops->size(io, fd, &bytes), 0);
		head = malloc(bytes);
		assert_int_equal(io_read_full(io, fd, head, bytes, 0), 0);
		io->ops->close(io, fd);
		if (newest && newest->seq > head->seq) {
			free(head);
			continue;
		}
		free(newest);
		newest = head;
		*size = bytes;
		strcpy(path, slot);
	}
	return newest;
}

static void seal(struct catalog *head)
{
	uint64_t seed;

	head->sum = 0;
	seed = XXH3_64bits(head, sizeof *head);
	head->sum = XXH3_64bits_withSeed(head + 1, head->bytes - sizeof *head, seed);
}

static void assert_refused(struct simdisk *d, const char *sentence)
{
	struct vs_store *s;
	char why[256] = "", line[256] = "";
	uint64_t changes;

	for (int read_only = 0; read_only < 2; read_only++) {
		assert_int_equal(open_store(d, read_only, &s, why), -EPROTO);
		assert_non_null(strstr(why, sentence));
	}
	changes = simdisk_changes(d);
	for (int repair = 0; repair < 2; repair++) {
		assert_int_equal(vs_check("sim", simdisk_io(d), repair, say, line), VS_CHECK_FAILED);
		assert_non_null(strstr(line, sentence));
	}
	assert_true(simdisk_changes(d) - changes < 12); /* the lock's */
}

static void a_newer_version_is_refused(void **state)
{
	struct simdisk *d = simdisk_new();
	size_t size;
	char path[16];
	struct catalog *head = make_new(d, path, &size);

	(void)state;
	head->version = 3;
	seal(head);
	poke(d, path, head, size, 0);
	assert_refused(d, "format version 3, which is newer");
	/* It may have another sum, too. */
	head->sum ^= 1;
	poke(d, "catalog.0", head, size, 0);
	poke(d, "catalog.1", head, size, 0);
	assert_refused(d, "format version 3, which is newer");
	free(head);
	simdisk_free(d);
}

static void an_unknown_attribute_is_refused(void **state)
{
	struct simdisk *d = simdisk_new();
	size_t size;
	char path[16];
	struct catalog *head = make_new(d, path, &size);
	struct attribute *a = NULL;

	(void)state;
	for (char *p = (char *)head; p < (char *)head + head->bytes - 8; p += 8)
		if (!memcmp(p, &(struct attribute){.tag = VS_ATTRIBUTE_VIEWS, .bytes = 4}, sizeof *a) &&
		    !memcmp(p + sizeof *a, "f16\n", 4))
			a = (struct attribute *)(void *)p;
	assert_non_null(a);
	a->tag = 4711;
	seal(head);
	poke(d, path, head, size, 0);
	assert_refused(d, "docs has an attribute (tag 4711) that this program does not know");
	free(head);
	simdisk_free(d);
}

/* ------------------------------------------------------------------ attributes */

static void attributes_last(void **state)
{
	struct simdisk *d = simdisk_new();
	const struct vs_perm perm = {.mode = 0755};
	char why[256], got[VS_ATTRIBUTE_BYTES_MAX] = "", value[VS_ATTRIBUTE_BYTES_MAX];
	struct vs_store *s;
	uint32_t id;

	(void)state;
	memset(value, 'v', sizeof value);
	for (int end = 0; end < 3; end++) { /* closed, killed, checkpointed and killed */
		simdisk_reset(d);
		assert_int_equal(open_store(d, false, &s, why), 0);
		assert_int_equal(vs_collection_create(s, 0, "docs", &perm, &id), 0);
		assert_int_equal(vs_attribute_get(s, id, VS_ATTRIBUTE_VIEWS, got, sizeof got), -ENOENT);
		assert_int_equal(vs_attribute_set(s, id, VS_ATTRIBUTE_VIEWS, "short", 5), 0);
		assert_int_equal(vs_attribute_set(s, id, VS_ATTRIBUTE_VIEWS, value, sizeof value), 0);
		assert_int_equal(vs_attribute_set(s, id, VS_ATTRIBUTE_VIEWS, value, sizeof value + 1),
				 -EINVAL);
		assert_int_equal(vs_attribute_set(s, id, (enum vs_attribute)99, value, 1), -EINVAL);
		assert_int_equal(vs_attribute_set(s, id + 1, VS_ATTRIBUTE_VIEWS, value, 1), -ENOENT);
		assert_int_equal(vs_sync(s), 0);
		if (end)
			simdisk_crash_at(d, (uint64_t)end, 1);
		vs_close(s);
		simdisk_crash_at(d, 0, 0);
		if (end)
			simdisk_reboot(d, SIMDISK_POWER, 1);
		assert_int_equal(open_store(d, false, &s, why), 0);
		assert_int_equal(vs_attribute_get(s, id, VS_ATTRIBUTE_VIEWS, got, sizeof got), sizeof value);
		assert_memory_equal(got, value, sizeof value);
		assert_int_equal(vs_attribute_set(s, id, VS_ATTRIBUTE_VIEWS, NULL, 0), 0);
		assert_int_equal(vs_close(s), 0);
		assert_clean(d);
		assert_int_equal(open_store(d, true, &s, why), 0);
		assert_int_equal(vs_attribute_get(s, id, VS_ATTRIBUTE_VIEWS, got, sizeof got), -ENOENT);
		assert_int_equal(vs_close(s), 0);
	}
	simdisk_free(d);
}

static void the_root_is_durable(void **state)
{
	struct simdisk *d = simdisk_new();
	const struct vs_perm perm = {.mode = 02750, .uid = 5, .gid = 6};
	struct vs_root before, root;
	struct vs_store *s;
	char why[256];
	uint32_t id;

	(void)state;
	assert_int_equal(open_store(d, false, &s, why), 0);
	vs_root_get(s, &root);
	assert_false(root.owned);
	assert_int_equal(vs_root_set(s, VS_SET_MODE, &perm, 0), -EINVAL);
	assert_int_equal(vs_root_set(s, VS_SET_MODE | VS_SET_UID | VS_SET_GID | VS_SET_MTIME, &perm, 4711),
			 0);
	vs_root_get(s, &before);
	assert_true(before.mtime == 4711 && before.ctime > root.ctime);
	assert_int_equal(vs_collection_create(s, 0, "docs", &perm, &id), 0);
	vs_root_get(s, &root);
	assert_true(root.mtime == root.ctime && root.ctime > before.ctime);
	before = root;
	assert_int_equal(vs_collection_rename(s, id, "more", false), 0);
	vs_root_get(s, &root);
	assert_true(root.mtime > before.mtime);
	before = root;
	assert_int_equal(vs_collection_remove(s, id), 0);
	vs_root_get(s, &root);
	assert_true(root.mtime > before.mtime);
	assert_int_equal(vs_sync(s), 0);
	before = root;
	simdisk_crash_at(d, 1, 1);
	vs_close(s);
	simdisk_crash_at(d, 0, 0);
	simdisk_reboot(d, SIMDISK_POWER, 1);
	assert_int_equal(open_store(d, false, &s, why), 0);
	vs_root_get(s, &root);
	assert_true(root.owned && root.perm.mode == perm.mode && root.perm.uid == 5 && root.perm.gid == 6);
	assert_true(root.mtime == before.mtime && root.ctime == before.ctime);
	assert_int_equal(vs_close(s), 0);
	assert_clean(d);
	simdisk_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_version_1_store_is_converted),
		cmocka_unit_test(a_crash_anywhere_in_a_conversion_costs_nothing),
		cmocka_unit_test(a_version_1_store_is_not_read_without_being_converted),
		cmocka_unit_test(a_damaged_row_is_so_afterwards),
		cmocka_unit_test(a_full_disk_leaves_it_as_it_was),
		cmocka_unit_test(an_old_store_without_a_catalog_is_left_alone),
		cmocka_unit_test(a_newer_version_is_refused),
		cmocka_unit_test(an_unknown_attribute_is_refused),
		cmocka_unit_test(attributes_last),
		cmocka_unit_test(the_root_is_durable),
	};

	return cmocka_run_group_tests(tests, unpack, clean_up);
}
