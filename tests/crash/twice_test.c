/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A short work whose crashes are all tried, in pairs: the process is killed at each change of the work, and
 * the power fails at each change of the recovery that follows, or as soon as that is over. The random
 * workloads of crash_test.c seldom come to what only such a pair shows: a recovery that takes what it finds
 * in the page cache for durable.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdbool.h>

#include "store/base/format.h"
#include "store/store.h"
#include "tests/crash/simdisk.h"

#define VALUE 7.5f
#define SEEDS 4                /* what survives a power loss is another choice with each */
#define LOG_BYTES (256u << 10) /* small, so that it is quickly made */

/* What the work has made durable. */
struct promised {
	bool snapshot;
};

static struct vs_store *open_store(struct simdisk *d)
{
	struct vs_options options = {.io = simdisk_io(d), .log_bytes = LOG_BYTES};
	struct vs_store *s;
	char why[256];
	int rc = vs_open("sim", &options, &s, why, sizeof why);

	if (rc && !simdisk_crashed(d))
		fail_msg("the store does not open: %s", why);
	return s;
}

static bool put_vector(struct vs_store *s, uint32_t docs, const char *id)
{
	struct vs_attr attr = {.perm = {.mode = 0644}};
	const float value = VALUE;

	return !vs_entry_reserve(s, docs, &attr.entry) &&
	       !vs_put(s, docs, id, &attr, &value, sizeof value, NULL);
}

/* A snapshot of a collection whose last vector goes afterwards, so that the files have the snapshot's names
 * alone. Ends where the disk does. */
static void work(struct vs_store *s, struct promised *p)
{
	const struct vs_perm perm = {.mode = 0755};
	uint32_t docs, snap;

	if (vs_collection_create(s, 0, "docs", &perm, &docs) || !put_vector(s, docs, "a") ||
	    vs_checkpoint(s) || vs_snap_create(s, docs, "snap", &snap) || vs_sync(s))
		return;
	p->snapshot = true;
	if (!vs_remove(s, docs, "a", NULL) && !vs_sync(s))
		vs_checkpoint(s);
}

static void assert_kept(struct vs_store *s, const struct promised *p)
{
	struct vs_collection_info docs, snap;
	struct vs_attr attr;
	float value;

	if (!p->snapshot)
		return;
	assert_int_equal(vs_collection_next(s, 0, 0, &docs), 0);
	assert_int_equal(vs_snap_find(s, docs.id, "snap", &snap), 0);
	assert_int_equal(vs_lookup(s, snap.id, "a", &attr), 0);
	assert_int_equal(vs_read(s, snap.id, attr.entry, &value, sizeof value, 0), sizeof value);
	assert_true(value == VALUE);
}

static void say(void *arg, const char *line)
{
	(void)arg;
	print_error("check: %s\n", line);
}

/* Returns whether the work was killed before it had ended, and in *cut whether the recovery was cut short. */
static bool crash_twice(struct simdisk *d, uint64_t killed_at, uint64_t cut_at, uint64_t seed, bool *cut)
{
	struct promised promised = {0};
	struct vs_store *s;
	bool killed;

	simdisk_reset(d);
	simdisk_crash_at(d, killed_at, seed);
	s = open_store(d);
	if (s) {
		work(s, &promised);
		vs_close(s);
	}
	killed = simdisk_crashed(d);
	simdisk_reboot(d, SIMDISK_KILL, seed);

	simdisk_crash_at(d, cut_at, seed);
	s = open_store(d);
	*cut = simdisk_crashed(d);
	simdisk_crash_at(d, 1, seed);
	if (s)
		vs_close(s);
	simdisk_reboot(d, SIMDISK_POWER, seed);

	simdisk_crash_at(d, 0, 0);
	s = open_store(d);
	assert_kept(s, &promised);
	assert_int_equal(vs_close(s), 0);
	if (vs_check("sim", simdisk_io(d), false, say, NULL) != VS_CHECK_CLEAN)
		fail_msg("killed at change %u, cut at %u: the check is not clean", (unsigned)killed_at,
			 (unsigned)cut_at);
	return killed;
}

static void nothing_is_lost_to_a_kill_and_a_power_loss(void **state)
{
	struct simdisk *d = simdisk_new();
	bool killed = true, cut;
	unsigned rounds = 0;

	(void)state;
	for (uint64_t k = 1; killed; k++) {
		cut = true;
		for (uint64_t m = 1; cut; m++)
			for (uint64_t seed = 0; seed < SEEDS; seed++, rounds++)
				killed = crash_twice(d, k, m, k * 1000 + m + seed * 1000000, &cut);
	}
	print_message("%u pairs of crashes\n", rounds);
	simdisk_free(d);
}

/* The catalog that was written last. */
static const char *newest_catalog(struct io *io)
{
	static const char *const paths[2] = {"catalog.0", "catalog.1"};
	struct catalog head[2];

	for (int i = 0; i < 2; i++) {
		int fd = io->ops->open(io, paths[i], O_RDONLY, 0);

		assert_int_equal(io_read_full(io, fd, &head[i], sizeof head[i], 0), 0);
		io->ops->close(io, fd);
	}
	return paths[head[1].seq > head[0].seq];
}

static void damage(struct simdisk *d, const char *path)
{
	struct io *io = simdisk_io(d);
	int fd = io->ops->open(io, path, O_RDWR, 0);
	char byte;

	assert_int_equal(io_read_full(io, fd, &byte, 1, sizeof(struct catalog)), 0);
	byte = (char)(byte ^ 1);
	assert_int_equal(io_write_full(io, fd, &byte, 1, sizeof(struct catalog)), 0);
	io->ops->close(io, fd);
}

/* The one before says that the store is closed; but there is a log. */
static void a_damaged_catalog_of_an_open_store_costs_nothing(void **state)
{
	struct simdisk *d = simdisk_new();
	struct promised promised = {0};
	struct vs_collection_info docs;
	struct vs_store *s;
	struct vs_attr attr;

	(void)state;
	s = open_store(d);
	work(s, &promised);
	assert_int_equal(vs_close(s), 0);
	s = open_store(d);
	assert_int_equal(vs_collection_next(s, 0, 0, &docs), 0);
	assert_true(put_vector(s, docs.id, "b"));
	assert_int_equal(vs_sync(s), 0);
	simdisk_crash_at(d, 1, 1);
	vs_close(s);
	simdisk_reboot(d, SIMDISK_KILL, 1);
	simdisk_crash_at(d, 0, 0);
	damage(d, newest_catalog(simdisk_io(d)));
	s = open_store(d);
	assert_kept(s, &promised);
	assert_int_equal(vs_lookup(s, docs.id, "b", &attr), 0);
	assert_int_equal(vs_close(s), 0);
	assert_int_equal(vs_check("sim", simdisk_io(d), false, say, NULL), VS_CHECK_CLEAN);
	simdisk_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost_to_a_kill_and_a_power_loss),
		cmocka_unit_test(a_damaged_catalog_of_an_open_store_costs_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
