/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "store/io/crew.h"

enum { WIDTH = 8, COUNT = 1000 };

static struct io io_of_width(unsigned width)
{
	return (struct io){.width = width};
}

static int count_call(void *arg, size_t i)
{
	atomic_uint *calls = arg;

	calls[i]++;
	return 0;
}

static void each_call_is_made_once(void **state)
{
	static atomic_uint calls[COUNT];

	(void)state;
	for (unsigned width = 0; width < 40; width += 13) {
		struct io io = io_of_width(width);

		assert_int_equal(crew_run(&io, COUNT, count_call, calls), 0);
	}
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(calls[i], 4);
	assert_int_equal(crew_run(&(struct io){.width = WIDTH}, 0, count_call, calls), 0);
}

/* All of them are under way at the same moment, or time is up. */
struct meeting {
	pthread_mutex_t mutex;
	pthread_cond_t came;
	unsigned there;
};

static int meet(void *arg, size_t i)
{
	struct meeting *m = arg;
	struct timespec end;
	int rc = 0;

	(void)i;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 30;
	pthread_mutex_lock(&m->mutex);
	m->there++;
	pthread_cond_broadcast(&m->came);
	while (m->there < WIDTH && !rc)
		rc = pthread_cond_timedwait(&m->came, &m->mutex, &end);
	pthread_mutex_unlock(&m->mutex);
	return -rc;
}

static void calls_are_made_at_once(void **state)
{
	struct meeting m = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
	struct io io = io_of_width(WIDTH);

	(void)state;
	assert_int_equal(crew_run(&io, WIDTH, meet, &m), 0);
}

static int fail_at_ten(void *arg, size_t i)
{
	atomic_uint *calls = arg;

	++*calls;
	return i == 10 ? -EIO : 0;
}

static void an_error_is_told_and_ends_it(void **state)
{
	atomic_uint calls = 0;

	(void)state;
	assert_int_equal(crew_run(&(struct io){.width = 0}, COUNT, fail_at_ten, &calls), -EIO);
	assert_int_equal(calls, 11);
	assert_int_equal(crew_run(&(struct io){.width = WIDTH}, COUNT, fail_at_ten, &calls), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_call_is_made_once),
		cmocka_unit_test(calls_are_made_at_once),
		cmocka_unit_test(an_error_is_told_and_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
