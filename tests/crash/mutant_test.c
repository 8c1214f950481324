/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests the crash tests: an engine broken on purpose must be found out within a bounded number of crash
 * points. The disk breaks it: a sync that does nothing is the same as one that the engine forgot.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/crash/round.h"

#define POINTS_MAX 2000
#define POINTS_PER_SEED 20

/* An instrumented program takes fewer: it is to find wrong accesses. */
static uint64_t seeds(uint64_t count)
{
	return getenv("VECFS_SANITIZED") ? count / 4 : count;
}

/* The number of crash points it takes; POINTS_MAX if they are not enough. */
static unsigned points_to_find(enum simdisk_lie lie, const char *pattern, bool unsynced)
{
	struct round r;
	unsigned points = 0;

	round_init(&r);
	for (uint64_t seed = 1; points < POINTS_MAX; seed++) {
		struct rng rng = rng_of(seed, 5);
		uint64_t changes = 1;

		for (unsigned i = 0; i < POINTS_PER_SEED && points < POINTS_MAX; i++, points++) {
			struct round_plan plan;

			round_plan_init(&plan, seed, i ? 1 + rng_below(&rng, changes) : 0);
			plan.lie = lie;
			plan.lie_pattern = pattern;
			plan.unsynced = unsynced;
			if (!round_run(&r, &plan)) {
				print_message("found after %u points: %s\n", points + 1, r.failure);
				round_free(&r);
				return points;
			}
			if (!i)
				changes = r.changes;
		}
	}
	round_free(&r);
	return points;
}

/* A round that fails may leave its store open: its threads must not look at the next round's disk. */
static void a_round_that_failed_leaves_nothing_behind(void **state)
{
	struct round r;
	struct round_plan plan;
	unsigned failed = 0;

	(void)state;
	round_init(&r);
	for (uint64_t seed = 1; seed < seeds(400); seed++) {
		round_plan_init(&plan, seed, 1 + seed % 90);
		plan.lie = SIMDISK_NO_SYNCDIR;
		plan.lie_pattern = "*";
		failed += !round_run(&r, &plan);
		round_plan_init(&plan, seed, 1 + seed % 90);
		if (!round_run(&r, &plan))
			fail_msg("after %u that failed: seed %u: %s", failed, (unsigned)seed, r.failure);
	}
	assert_true(failed > 0);
	round_free(&r);
}

static void an_honest_disk_is_no_mutant(void **state)
{
	struct round r;
	struct round_plan plan;

	(void)state;
	round_init(&r);
	for (uint64_t seed = 1; seed < seeds(100); seed++) {
		round_plan_init(&plan, seed, seed);
		if (!round_run(&r, &plan))
			fail_msg("%s", r.failure);
	}
	round_free(&r);
}

static void forgotten_datasync_of_the_log_is_found(void **state)
{
	(void)state;
	assert_true(points_to_find(SIMDISK_NO_DATASYNC, "log.*", false) < POINTS_MAX);
}

static void forgotten_datasync_of_the_segments_is_found(void **state)
{
	(void)state;
	assert_true(points_to_find(SIMDISK_NO_DATASYNC, "collections/*", false) < POINTS_MAX);
}

static void applying_before_logging_is_found(void **state)
{
	(void)state;
	/* Without a promise of durability that the late log breaks too: the order alone must give it away. */
	assert_true(points_to_find(SIMDISK_LATE_DATASYNC, "log.*", true) < POINTS_MAX);
}

static void forgotten_sync_of_directories_is_found(void **state)
{
	(void)state;
	assert_true(points_to_find(SIMDISK_NO_SYNCDIR, "*", false) < POINTS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_honest_disk_is_no_mutant),
		cmocka_unit_test(a_round_that_failed_leaves_nothing_behind),
		cmocka_unit_test(forgotten_datasync_of_the_log_is_found),
		cmocka_unit_test(forgotten_datasync_of_the_segments_is_found),
		cmocka_unit_test(applying_before_logging_is_found),
		cmocka_unit_test(forgotten_sync_of_directories_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
