/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the simulated disk itself: what must survive does, what may be lost is lost under some seed. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/crash/simdisk.h"

#define SEEDS 200

static struct simdisk *disk;
static struct io *io;

static int set_up(void **state)
{
	(void)state;
	disk = simdisk_new();
	io = simdisk_io(disk);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	simdisk_free(disk);
	return 0;
}

static int open_new(const char *path)
{
	int fd = io->ops->open(io, path, O_RDWR | O_CREAT, 0600);

	assert_true(fd >= 0);
	return fd;
}

static void write_text(int fd, const char *text, uint64_t off)
{
	struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};

	assert_int_equal(io->ops->pwritev(io, fd, &iov, 1, off), strlen(text));
}

static bool holds(const char *path, const char *text)
{
	char buf[64] = {0};
	int fd = io->ops->open(io, path, O_RDONLY, 0);

	if (fd < 0)
		return false;
	assert_true(io->ops->pread(io, fd, buf, sizeof buf - 1, 0) >= 0);
	io->ops->close(io, fd);
	return !strcmp(buf, text);
}

static bool exists(const char *path)
{
	int fd = io->ops->open(io, path, O_RDONLY, 0);

	if (fd >= 0)
		io->ops->close(io, fd);
	return fd >= 0;
}

/* A file "f" that holds "old", durably. */
static int durable_file(void)
{
	int fd;

	simdisk_reset(disk);
	fd = open_new("f");
	write_text(fd, "old", 0);
	assert_int_equal(io->ops->datasync(io, fd), 0);
	assert_int_equal(io->ops->syncdir(io, "."), 0);
	return fd;
}

static void synced_bytes_and_names_survive(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		durable_file();
		simdisk_reboot(disk, SIMDISK_POWER, seed);
		assert_true(holds("f", "old"));
		assert_int_equal(simdisk_handles(disk), 0);
	}
}

static void unsynced_bytes_survive_or_not(void **state)
{
	unsigned old = 0, new = 0, other = 0;

	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		write_text(durable_file(), "new", 0);
		simdisk_reboot(disk, SIMDISK_POWER, seed);
		old += holds("f", "old");
		new += holds("f", "new");
		other += !holds("f", "old") && !holds("f", "new");
	}
	assert_true(old > SEEDS / 10);
	assert_true(new > SEEDS / 10);
	assert_true(other > 0 && other < SEEDS / 10);
}

static void a_second_name_is_the_same_file(void **state)
{
	struct io_identity a, b;
	unsigned there = 0;

	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		durable_file();
		assert_int_equal(io->ops->link(io, "f", "g"), 0);
		assert_int_equal(io->ops->link(io, "f", "g"), -EEXIST);
		assert_int_equal(io->ops->link(io, "absent", "h"), -ENOENT);
		assert_int_equal(io->ops->identify(io, "f", &a), 0);
		assert_int_equal(io->ops->identify(io, "g", &b), 0);
		assert_true(a.inode == b.inode && a.names == 2 && b.names == 2);
		if (seed % 2)
			assert_int_equal(io->ops->syncdir(io, "."), 0);
		simdisk_reboot(disk, SIMDISK_POWER, seed);
		assert_true(holds("f", "old"));
		assert_true(!exists("g") || holds("g", "old"));
		assert_true(exists("g") || seed % 2 == 0);
		there += exists("g");
		assert_int_equal(io->ops->identify(io, "f", &a), 0);
		assert_int_equal(a.names, exists("g") ? 2 : 1);
		if (!exists("g"))
			continue;
		assert_int_equal(io->ops->unlink(io, "f"), 0);
		assert_true(holds("g", "old"));
		assert_int_equal(io->ops->identify(io, "g", &a), 0);
		assert_int_equal(a.names, 1);
	}
	assert_true(there > SEEDS / 2 && there < SEEDS);
}

static void unsynced_name_may_vanish_with_synced_bytes(void **state)
{
	unsigned there = 0;

	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		int fd;

		simdisk_reset(disk);
		fd = open_new("f");
		write_text(fd, "old", 0);
		assert_int_equal(io->ops->datasync(io, fd), 0);
		simdisk_reboot(disk, SIMDISK_POWER, seed);
		assert_true(holds("f", "old") || !exists("f"));
		there += exists("f");
	}
	assert_true(there > SEEDS / 10 && there < SEEDS * 9 / 10);
}

static void rename_is_atomic(void **state)
{
	unsigned renamed = 0;

	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		durable_file();
		write_text(open_new("g"), "new", 0);
		assert_int_equal(io->ops->rename(io, "f", "g"), 0);
		assert_false(exists("f"));
		simdisk_reboot(disk, SIMDISK_POWER, seed);
		assert_int_equal(holds("f", "old") + holds("g", "old"), 1);
		renamed += holds("g", "old");
	}
	assert_true(renamed > SEEDS / 10 && renamed < SEEDS * 9 / 10);
}

static void unlink_is_undone_until_its_directory_is_synced(void **state)
{
	unsigned back = 0;

	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		durable_file();
		assert_int_equal(io->ops->unlink(io, "f"), 0);
		simdisk_reboot(disk, SIMDISK_POWER, seed);
		assert_true(holds("f", "old") || !exists("f"));
		back += exists("f");
		durable_file();
		assert_int_equal(io->ops->unlink(io, "f"), 0);
		assert_int_equal(io->ops->syncdir(io, ""), 0);
		simdisk_reboot(disk, SIMDISK_POWER, seed);
		assert_false(exists("f"));
	}
	assert_true(back > SEEDS / 10 && back < SEEDS * 9 / 10);
}

static void directory_sync_does_not_reach_into_other_directories(void **state)
{
	unsigned inner = 0;

	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		simdisk_reset(disk);
		assert_int_equal(io->ops->mkdir(io, "d", 0700), 0);
		assert_int_equal(io->ops->datasync(io, open_new("d/f")), 0);
		assert_int_equal(io->ops->syncdir(io, "."), 0);
		simdisk_reboot(disk, SIMDISK_POWER, seed);
		assert_int_equal(io->ops->mkdir(io, "d", 0700), -EEXIST);
		inner += exists("d/f");
	}
	assert_true(inner > SEEDS / 10 && inner < SEEDS * 9 / 10);
}

static void kill_keeps_the_cache_unsynced(void **state)
{
	unsigned lost = 0;

	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		write_text(durable_file(), "new", 0);
		simdisk_reboot(disk, SIMDISK_KILL, seed);
		assert_true(holds("f", "new"));
		simdisk_reboot(disk, SIMDISK_POWER, seed);
		lost += holds("f", "old");
	}
	assert_true(lost > SEEDS / 10);
}

static void crash_fails_all_calls_from_the_kth(void **state)
{
	int fd = durable_file();
	struct iovec iov = {(char[]){"new"}, 3};
	uint64_t size;

	(void)state;
	simdisk_crash_at(disk, 2, 1);
	write_text(fd, "one", 0);
	assert_false(simdisk_crashed(disk));
	assert_int_equal(io->ops->pwritev(io, fd, &iov, 1, 0), -EIO);
	assert_true(simdisk_crashed(disk));
	assert_int_equal(io->ops->datasync(io, fd), -EIO);
	assert_int_equal(io->ops->size(io, fd, &size), -EIO);
	assert_int_equal(io->ops->close(io, fd), 0);
	simdisk_reboot(disk, SIMDISK_POWER, 1);
	assert_true(exists("f"));
}

static void crash_in_open_leaks_no_descriptor(void **state)
{
	(void)state;
	durable_file();
	simdisk_crash_at(disk, 1, 1);
	assert_int_equal(io->ops->open(io, "g", O_RDWR | O_CREAT, 0600), -EIO);
	assert_int_equal(simdisk_handles(disk), 1);
}

static void shared_map_shows_later_writes(void **state)
{
	int fd = durable_file();
	void *shared, *private;

	(void)state;
	assert_int_equal(io->ops->map(io, fd, 1 << 20, true, &shared), 0);
	assert_int_equal(io->ops->map(io, fd, 1 << 20, false, &private), 0);
	write_text(fd, "new", 0);
	write_text(fd, "far", 100000);
	assert_memory_equal(shared, "new", 3);
	assert_memory_equal((char *)shared + 100000, "far", 3);
	assert_memory_equal(private, "old", 3);
	assert_int_equal(io->ops->unmap(io, shared, 1 << 20), 0);
	assert_int_equal(io->ops->unmap(io, private, 1 << 20), 0);
}

static void holes_and_sizes(void **state)
{
	int fd = durable_file(), mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	uint64_t size;

	(void)state;
	assert_int_equal(io->ops->fallocate(io, fd, 0, 0, 10000), 0);
	assert_int_equal(io->ops->size(io, fd, &size), 0);
	assert_int_equal(size, 10000);
	assert_true(holds("f", "old"));
	assert_int_equal(io->ops->fallocate(io, fd, mode, 0, 4096), 0);
	assert_true(holds("f", ""));
	write_text(fd, "new", 0);
	assert_int_equal(io->ops->truncate(io, fd, 1), 0);
	assert_true(holds("f", "n"));
	assert_int_equal(io->ops->truncate(io, fd, 5), 0);
	assert_true(holds("f", "n"));
	assert_int_equal(io->ops->datasync(io, fd), 0);
	simdisk_reboot(disk, SIMDISK_POWER, 3);
	assert_true(holds("f", "n"));
}

static void faults_hit_once(void **state)
{
	int fd = durable_file();
	struct iovec iov = {(char[]){"newer"}, 5};
	char buf[8];

	(void)state;
	simdisk_fail(disk, SIMDISK_SHORT, 2, 1);
	assert_int_equal(io->ops->pread(io, fd, buf, 2, 0), 2);
	assert_int_equal(io->ops->pwritev(io, fd, &iov, 1, 0), 2);
	assert_string_equal(simdisk_failed(disk), "pwritev");
	assert_true(holds("f", "ned"));
	simdisk_fail(disk, SIMDISK_EINTR, 1, 1);
	assert_int_equal(io->ops->pwritev(io, fd, &iov, 1, 0), -EINTR);
	assert_int_equal(io->ops->pwritev(io, fd, &iov, 1, 0), 5);
	simdisk_fail(disk, SIMDISK_ENOSPC, 1, 1);
	assert_int_equal(io->ops->pread(io, fd, buf, 2, 0), 2);
	assert_int_equal(io->ops->fallocate(io, fd, 0, 0, 1), -ENOSPC);
}

static void failed_sync_is_never_made_good(void **state)
{
	unsigned lost = 0;

	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		int fd = durable_file();

		write_text(fd, "new", 0);
		simdisk_fail(disk, SIMDISK_EIO, 1, seed);
		assert_int_equal(io->ops->datasync(io, fd), -EIO);
		assert_int_equal(simdisk_retried_syncs(disk), 0);
		assert_int_equal(io->ops->datasync(io, fd), 0);
		assert_int_equal(simdisk_retried_syncs(disk), 1);
		assert_true(holds("f", "new"));
		simdisk_reboot(disk, SIMDISK_POWER, seed);
		lost += holds("f", "old");
	}
	assert_true(lost > SEEDS / 10);
}

static void full_disk(void **state)
{
	int fd = durable_file();
	struct iovec iov = {(char[]){"x"}, 1};
	struct statvfs st;

	(void)state;
	simdisk_capacity(disk, 3 * 4096);
	assert_int_equal(io->ops->fallocate(io, fd, 0, 0, 3 * 4096), 0);
	assert_int_equal(io->ops->pwritev(io, fd, &iov, 1, 3 * 4096), -ENOSPC);
	assert_int_equal(io->ops->pwritev(io, fd, &iov, 1, 2 * 4096), 1);
	assert_int_equal(io->ops->statvfs(io, &st), 0);
	assert_int_equal(st.f_bavail, 0);
	assert_int_equal(io->ops->truncate(io, fd, 4096), 0);
	assert_int_equal(io->ops->statvfs(io, &st), 0);
	assert_int_equal(st.f_bavail, 2);
}

static void lies_are_told(void **state)
{
	unsigned lost = 0;
	int fd;

	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		simdisk_reset(disk);
		simdisk_lie(disk, SIMDISK_NO_DATASYNC, "f");
		fd = open_new("f");
		write_text(fd, "new", 0);
		assert_int_equal(io->ops->datasync(io, fd), 0);
		assert_int_equal(io->ops->syncdir(io, "."), 0);
		simdisk_reboot(disk, SIMDISK_POWER, seed);
		lost += !holds("f", "new");
	}
	assert_true(lost > SEEDS / 10);
	simdisk_reset(disk);
	simdisk_lie(disk, SIMDISK_LATE_DATASYNC, "f");
	fd = open_new("f");
	write_text(fd, "a", 0);
	assert_int_equal(io->ops->datasync(io, fd), 0);
	write_text(fd, "b", 1);
	assert_int_equal(io->ops->datasync(io, fd), 0);
	assert_int_equal(io->ops->syncdir(io, "."), 0);
	simdisk_reboot(disk, SIMDISK_POWER, 0);
	assert_true(holds("f", "a") || holds("f", "ab"));
}

static void lock_excludes_until_close(void **state)
{
	int one = durable_file(), two = open_new("f");

	(void)state;
	assert_int_equal(io->ops->lock(io, one, false), 0);
	assert_int_equal(io->ops->lock(io, two, false), -EWOULDBLOCK);
	assert_int_equal(io->ops->close(io, one), 0);
	assert_int_equal(io->ops->lock(io, two, false), 0);
	simdisk_reboot(disk, SIMDISK_KILL, 0);
	assert_int_equal(io->ops->lock(io, open_new("f"), false), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(synced_bytes_and_names_survive),
		cmocka_unit_test(unsynced_bytes_survive_or_not),
		cmocka_unit_test(a_second_name_is_the_same_file),
		cmocka_unit_test(unsynced_name_may_vanish_with_synced_bytes),
		cmocka_unit_test(rename_is_atomic),
		cmocka_unit_test(unlink_is_undone_until_its_directory_is_synced),
		cmocka_unit_test(directory_sync_does_not_reach_into_other_directories),
		cmocka_unit_test(kill_keeps_the_cache_unsynced),
		cmocka_unit_test(crash_fails_all_calls_from_the_kth),
		cmocka_unit_test(crash_in_open_leaks_no_descriptor),
		cmocka_unit_test(shared_map_shows_later_writes),
		cmocka_unit_test(holes_and_sizes),
		cmocka_unit_test(faults_hit_once),
		cmocka_unit_test(failed_sync_is_never_made_good),
		cmocka_unit_test(full_disk),
		cmocka_unit_test(lies_are_told),
		cmocka_unit_test(lock_excludes_until_close),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
