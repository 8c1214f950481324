/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sync that fails while others have asked for one: each of them is told, whoever led it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/store.h"
#include "tests/unit/scratch.h"
#include "tests/unit/slow_io.h"

#define ASKERS 6u
#define SYNC_MS 200    /* until a sync has failed */
#define APART_US 20000 /* one asker comes after the other, all of them within SYNC_MS */
#define PATIENCE_MS 20000

static const struct vs_perm perm = {.mode = 0644};

struct fixture {
	struct scratch sc;
	struct slow_io slow;
	struct vs_store *s;
	uint32_t docs;
	_Atomic unsigned next, told, failed;
};

static void is_told(void *arg, int result)
{
	struct fixture *f = arg;

	f->failed += result != 0;
	f->told++;
}

/* A change of its own, and a sync of it. */
static void *ask(void *arg)
{
	struct fixture *f = arg;
	struct vs_attr attr = {.mtime = 1, .perm = perm};
	const float v[2] = {1, 2};
	char id[16];

	snprintf(id, sizeof id, "v%u", f->next++);
	if (!vs_entry_reserve(f->s, f->docs, &attr.entry))
		vs_put(f->s, f->docs, id, &attr, v, sizeof v, NULL);
	vs_sync_async(f->s, is_told, f);
	return NULL;
}

static int new_store(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct vs_options options = {.commit_ms = 60000};
	char why[256];

	scratch_new(&f->sc);
	slow_io_init(&f->slow, f->sc.io);
	options.io = &f->slow.io;
	if (vs_open(f->sc.dir, &options, &f->s, why, sizeof why))
		fail_msg("the store does not open: %s", why);
	assert_int_equal(vs_collection_create(f->s, 0, "docs", &perm, &f->docs), 0);
	ask(f); /* there are a log and a segment */
	assert_int_equal(f->failed, 0);
	f->told = 0;
	*state = f;
	return 0;
}

static int free_store(void **state)
{
	struct fixture *f = *state;

	f->slow.sync_error = 0;
	f->slow.delay_ms = 0;
	vs_close(f->s);
	scratch_free(&f->sc);
	free(f);
	return 0;
}

static void all_are_told_that_a_sync_has_failed(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[ASKERS];

	f->slow.delay_ms = SYNC_MS;
	f->slow.sync_error = -EIO;
	for (unsigned i = 0; i < ASKERS; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, ask, f), 0);
		usleep(APART_US);
	}
	for (unsigned i = 0; i < ASKERS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned ms = 0; f->told < ASKERS && ms < PATIENCE_MS; ms += 10)
		usleep(10000);
	assert_int_equal(f->told, ASKERS);
	assert_int_equal(f->failed, ASKERS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_are_told_that_a_sync_has_failed, new_store, free_store),
		cmocka_unit_test_setup_teardown(all_are_told_that_a_sync_has_failed, new_store, free_store),
		cmocka_unit_test_setup_teardown(all_are_told_that_a_sync_has_failed, new_store, free_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
