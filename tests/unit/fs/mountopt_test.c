/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/mount.h>

#include "fs/mount/options.h"

static char why[256];

static void test_our_options(void **state)
{
	struct mount_options o = {0};

	(void)state;
	assert_int_equal(mountopt_parse("ro,sync,commit=250,allow_other,io_uring=off", &o, why, sizeof why),
			 0);
	assert_true(o.read_only && o.sync_on_close && o.allow_other && !o.standby);
	assert_int_equal(mountopt_parse("standby", &o, why, sizeof why), 0);
	assert_true(o.standby);
	assert_int_equal(o.commit_ms, 250);
	assert_int_equal(o.io_uring, SERVE_IO_URING_OFF);
	assert_int_equal(mountopt_parse("rw,io_uring=on", &o, why, sizeof why), 0);
	assert_false(o.read_only);
	assert_int_equal(o.io_uring, SERVE_IO_URING_ON);
}

static void test_what_fstab_has_for_others_is_ignored(void **state)
{
	struct mount_options o = {.commit_ms = 5};

	(void)state;
	assert_int_equal(
		mountopt_parse("rw,nofail,_netdev,user,noauto,x-systemd.automount,dev,suid,,relatime", &o,
			       why, sizeof why),
		0);
	assert_int_equal(o.commit_ms, 5);
}

static void test_what_the_kernel_obeys_is_kept_for_it(void **state)
{
	static const struct {
		const char *list;
		unsigned long set, cleared;
	} cases[] = {
		{"defaults", 0, 0},
		{"noexec,nosuid,nodev,noatime", MS_NOEXEC | MS_NOSUID | MS_NODEV | MS_NOATIME, 0},
		{"user", MS_NOEXEC | MS_NOSUID | MS_NODEV, 0},
		{"user=me,exec", MS_NOSUID | MS_NODEV, MS_NOEXEC},
		{"exec,users", MS_NOEXEC | MS_NOSUID | MS_NODEV, 0},
		{"owner", MS_NOSUID | MS_NODEV, 0},
		{"noexec,exec,dev", 0, MS_NOEXEC | MS_NODEV},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mount_options o = {0};

		assert_int_equal(mountopt_parse(cases[i].list, &o, why, sizeof why), 0);
		assert_int_equal(o.flags_set, cases[i].set);
		assert_int_equal(o.flags_cleared, cases[i].cleared);
	}
}

static void test_refusals(void **state)
{
	static const char *const lists[][2] = {
		{"ro,snyc", "snyc: unknown mount option"},
		{"commit=", "commit=: want milliseconds, 1 to 60000"},
		{"commit=-5", "commit=-5: want milliseconds, 1 to 60000"},
		{"commit=5s", "commit=5s: want milliseconds, 1 to 60000"},
		{"commit=0", "commit=0: want milliseconds, 1 to 60000"},
		{"io_uring=yes", "io_uring=yes: want auto, on or off"},
		{"io_uring", "io_uring: unknown mount option"},
		{"uid=1000", "uid=1000: unknown mount option"},
		{"commit=4294967301", "commit=4294967301: want milliseconds, 1 to 60000"},
		{"commit= 5", "commit= 5: want milliseconds, 1 to 60000"},
	};
	struct mount_options o = {0};

	(void)state;
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		assert_int_equal(mountopt_parse(lists[i][0], &o, why, sizeof why), -EINVAL);
		assert_string_equal(why, lists[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_our_options),
		cmocka_unit_test(test_what_fstab_has_for_others_is_ignored),
		cmocka_unit_test(test_what_the_kernel_obeys_is_kept_for_it),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
