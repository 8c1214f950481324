/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/scratch.h"
#include "store/io/guard.h"

#define PAGE ((size_t)4096)
#define PAGES 8

struct fixture {
	struct scratch sc;
	int fd;
	char *p;
};

static int new_file(void **state)
{
	static struct fixture f;
	char page[PAGE];

	memset(page, 'x', sizeof page);
	scratch_new(&f.sc);
	f.fd = f.sc.io->ops->open(f.sc.io, "file", O_RDWR | O_CREAT, 0600);
	for (uint64_t i = 0; i < PAGES; i++)
		assert_int_equal(io_write_full(f.sc.io, f.fd, page, sizeof page, i * PAGE), 0);
	*state = &f;
	return 0;
}

static int free_file(void **state)
{
	struct fixture *f = *state;

	f->sc.io->ops->close(f->sc.io, f->fd);
	scratch_free(&f->sc);
	return 0;
}

/* Within the test: cmocka has taken SIGBUS at its start. */
static void map(struct fixture *f, bool shared)
{
#ifdef __SANITIZE_THREAD__
	skip(); /* ThreadSanitizer ends the process at a SIGBUS, whoever handles it */
#endif
	assert_int_equal(f->sc.io->ops->map(f->sc.io, f->fd, PAGES * PAGE, shared, (void **)&f->p), 0);
	assert_int_equal(f->p[0], 'x');
	assert_int_equal(f->p[(PAGES - 1) * PAGE], 'x');
}

static void a_page_that_is_gone_is_zeros_and_counted(void **state)
{
	struct fixture *f = *state;

	map(f, true);
	assert_int_equal(f->sc.io->ops->truncate(f->sc.io, f->fd, 5 * PAGE), 0);
	assert_false(io_guard_has_lost(f->p));
	assert_int_equal(f->p[6 * PAGE + 17], 0);
	assert_int_equal(f->sc.io->lost, 1);
	assert_int_equal(f->p[6 * PAGE + 18], 0);
	assert_int_equal(f->sc.io->lost, 1);
	assert_int_equal(f->p[5 * PAGE], 0);
	assert_int_equal(f->sc.io->lost, 2);
	assert_true(io_guard_has_lost(f->p + 4 * PAGE));
	assert_int_equal(f->p[5 * PAGE - 1], 'x'); /* what can be read still is */
	f->sc.io->ops->unmap(f->sc.io, f->p, PAGES * PAGE);
	assert_int_equal(f->sc.io->lost, 2);
}

static void a_private_mapping_can_be_written_where_it_is_gone(void **state)
{
	struct fixture *f = *state;

	map(f, false);
	f->p[1] = 'y';
	assert_int_equal(f->sc.io->ops->truncate(f->sc.io, f->fd, PAGE), 0);
	f->p[3 * PAGE] = 'z';
	assert_int_equal(f->sc.io->lost, 1);
	assert_int_equal(f->p[3 * PAGE], 'z');
	assert_int_equal(f->p[3 * PAGE + 1], 0);
	assert_int_equal(f->p[1], 'y');
	f->sc.io->ops->unmap(f->sc.io, f->p, PAGES * PAGE);
}

static void read_all(void *arg)
{
	struct fixture *f = arg;

	for (size_t i = 0; i < PAGES; i++)
		*(volatile char *)(f->p + i * PAGE);
}

static void within_a_guard_nothing_is_lost(void **state)
{
	struct fixture *f = *state;

	map(f, true);
	assert_true(io_guard(f->p, PAGES * PAGE, read_all, f));
	assert_int_equal(f->sc.io->ops->truncate(f->sc.io, f->fd, 0), 0);
	assert_false(io_guard(f->p, PAGES * PAGE, read_all, f));
	assert_int_equal(f->sc.io->lost, 0);
	f->sc.io->ops->unmap(f->sc.io, f->p, PAGES * PAGE);
}

/* In a process of its own: whose end is what it is about. */
static void other_mappings_end_the_process(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid;

	map(f, true);
	pid = fork();
	if (pid == 0) {
		struct rlimit none = {0};
		char *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, f->fd, 0);

		setrlimit(RLIMIT_CORE, &none);
		if (ftruncate(f->fd, 0) == 0 && f->p[0] == 0 && f->sc.io->lost == 1) {
			signal(SIGBUS, SIG_DFL);
			/* Takes it again, from nobody. */
			f->sc.io->ops->map(f->sc.io, f->fd, PAGE, true, (void **)&f->p);
			*(volatile char *)p;
		}
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 1);
#ifndef __SANITIZE_ADDRESS__
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
#endif
	f->sc.io->ops->unmap(f->sc.io, f->p, PAGES * PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_page_that_is_gone_is_zeros_and_counted, new_file,
						free_file),
		cmocka_unit_test_setup_teardown(a_private_mapping_can_be_written_where_it_is_gone, new_file,
						free_file),
		cmocka_unit_test_setup_teardown(within_a_guard_nothing_is_lost, new_file, free_file),
		cmocka_unit_test_setup_teardown(other_mappings_end_the_process, new_file, free_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
