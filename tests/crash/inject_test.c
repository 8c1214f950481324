/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lets each call of the engine fail once, with each fault it can suffer: the caller hears of it, what it had
 * before stays readable, and the next open finds everything that was durable.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/crash/round.h"
#include "tests/crash/wreck.h"

#define SEEDS 4 /* workloads; one where the program is instrumented: it is ten times as slow there */
#define OPS 40

static const char *const fault_names[SIMDISK_FAULT_COUNT] = {"EIO", "ENOSPC", "EINTR", "short count"};

/* EINTR and short counts are the engine's own business. */
static bool may_be_told(enum simdisk_fault fault)
{
	return fault == SIMDISK_EIO || fault == SIMDISK_ENOSPC;
}

static bool failed_in_sync(const struct round *r)
{
	const char *call = simdisk_failed(r->disk);

	return call && (!strcmp(call, "datasync") || !strcmp(call, "syncdir") || !strcmp(call, "syncall"));
}

/* What an operation may answer instead of its result once a fault has struck. */
static bool documented(const struct round *r, enum simdisk_fault fault, int rc)
{
	if (!simdisk_failed(r->disk) || !may_be_told(fault))
		return false;
	if (rc == -ENOSPC)
		return fault == SIMDISK_ENOSPC;
	return rc == -EIO || rc == -EROFS;
}

/* Reads everything; the fault may strike in that, but not twice. *visible: so many operations show. */
static bool readable(struct round *r, size_t *visible)
{
	struct vs_counters counters;
	char why[256] = "";
	int rc = model_load(&r->got, r->store, why, sizeof why);
	ssize_t prefix;

	if (rc && simdisk_failed(r->disk))
		rc = model_load(&r->got, r->store, why, sizeof why);
	/* A snapshot whose files were not linked when nothing could be written any more waits for the next
	 * mount. */
	vs_counters(r->store, &counters);
	r->got.no_snapshots = rc && counters.poisoned;
	if (r->got.no_snapshots)
		rc = model_load(&r->got, r->store, why, sizeof why);
	if (rc)
		return round_fail(r, "not readable: %s", why);
	prefix = history_match(&r->history, &r->got, why, sizeof why);
	if (prefix < 0)
		return round_fail(r, "readable, but: %s", why);
	*visible = (size_t)prefix;
	return true;
}

/* A store one of whose syncs failed takes nothing more, and says so at once and always. */
static bool poisoned(struct round *r)
{
	struct vs_counters counters;
	struct vs_perm perm = {.mode = 0700};
	uint32_t id;
	int synced = vs_sync(r->store), created = vs_collection_create(r->store, 0, "late", &perm, &id);

	vs_counters(r->store, &counters);
	if (synced != -EROFS && synced != -EIO)
		return round_fail(r, "vs_sync after a failed sync answers %d", synced);
	if (created != -EROFS || !counters.poisoned)
		return round_fail(r, "after a failed sync a change answers %d", created);
	return true;
}

/* Works until the fault is told of; true if nothing undocumented happened. */
static bool work(struct round *r, enum simdisk_fault fault)
{
	for (unsigned i = 0; i < OPS; i++) {
		size_t visible;
		struct op op;
		int rc, want;

		op_choose(&op, &r->style, &r->history.now, &r->rng);
		rc = round_perform(r, &op, &want);
		if (rc == want)
			continue;
		if (!documented(r, fault, rc))
			return round_fail_answer(r, &op, rc, want);
		if (rc != -ENOSPC)
			break;
		/* A full disk changes nothing and ends nothing: there is space again, and work goes on. */
		history_cut(&r->history, r->history.count - 1);
		if (!readable(r, &visible))
			return false;
	}
	return true;
}

static bool close_faulty(struct round *r, enum simdisk_fault fault)
{
	int rc = vs_close(r->store);

	r->store = NULL;
	if (rc && !documented(r, fault, rc))
		return round_fail(r, "close answers %d", rc);
	if (!rc)
		history_durable(&r->history);
	if (simdisk_handles(r->disk))
		return round_fail(r, "close left %u descriptors open", simdisk_handles(r->disk));
	return true;
}

/*
 * The next process finds the page cache as the last one left it, with the lost pages of a failed sync in it:
 * what it calls durable must survive the power loss that follows.
 */
static bool survives(struct round *r)
{
	r->got.no_snapshots = false;
	simdisk_fail(r->disk, SIMDISK_EIO, 0, 0);
	simdisk_reboot(r->disk, SIMDISK_KILL, 0);
	if (!round_open(r) || !round_verify(r))
		return false;
	if (vs_sync(r->store))
		return round_fail(r, "vs_sync after reopening fails");
	history_durable(&r->history);
	simdisk_crash_at(r->disk, 1, 1);
	round_abandon(r);
	simdisk_reboot(r->disk, SIMDISK_POWER, r->rng.state);
	return round_open(r) && round_verify(r) && round_work(r, 5) && round_close(r) && round_check(r);
}

static bool open_faulty(struct round *r, enum simdisk_fault fault)
{
	struct vs_options options = {.io = simdisk_io(r->disk), .log_bytes = 1u << 20};
	char why[256] = "";
	int rc = vs_open("sim", &options, &r->store, why, sizeof why);

	if (rc && (r->store || !why[0]))
		return round_fail(r, "open fails with %d but no reason", rc);
	/* A damaged catalog and an unreadable one look the same from the outside. */
	if (rc && rc != -EUCLEAN && !documented(r, fault, rc))
		return round_fail(r, "open answers %d: %s", rc, why);
	if (rc && !may_be_told(fault))
		return round_fail(r, "open does not cope: %d: %s", rc, why);
	return true;
}

/* From the creation of a store to its close. *struck: whether the workload has a k-th call. */
static bool live(struct round *r, uint64_t seed, enum simdisk_fault fault, uint64_t k, bool *struck)
{
	size_t visible;
	bool well;

	round_start(r, seed);
	r->got.no_snapshots = false;
	r->style.weights[OP_REOPEN] = 0;
	simdisk_fail(r->disk, fault, k, k);
	well = open_faulty(r, fault);
	if (well && r->store) {
		well = work(r, fault) && readable(r, &visible) && (!failed_in_sync(r) || poisoned(r));
		well = close_faulty(r, fault) && well;
	}
	*struck = simdisk_failed(r->disk) != NULL;
	if (well && simdisk_retried_syncs(r->disk))
		well = round_fail(r, "a failed datasync was retried");
	return well;
}

static bool life(struct round *r, uint64_t seed, enum simdisk_fault fault, uint64_t k, bool *struck)
{
	return live(r, seed, fault, k, struck) && survives(r);
}

/* The recovery of a store whose process died. */
static bool rebirth(struct round *r, uint64_t seed, enum simdisk_fault fault, uint64_t k, bool *struck)
{
	size_t visible;
	bool well;

	round_start(r, seed);
	r->style.weights[OP_REOPEN] = 0;
	if (!round_open(r) || !round_work(r, OPS))
		return false;
	simdisk_crash_at(r->disk, 1, 1);
	round_abandon(r);
	simdisk_reboot(r->disk, seed % 2 ? SIMDISK_KILL : SIMDISK_POWER, seed);
	simdisk_fail(r->disk, fault, k, k);
	well = open_faulty(r, fault);
	if (well && r->store) {
		well = readable(r, &visible);
		if (well)
			history_cut(&r->history, visible);
		well = close_faulty(r, fault) && well;
	}
	*struck = simdisk_failed(r->disk) != NULL;
	return well && survives(r);
}

typedef bool (*scenario_fn)(struct round *r, uint64_t seed, enum simdisk_fault fault, uint64_t k,
			    bool *struck);

static bool is_instrumented(void)
{
	return getenv("VECFS_SANITIZED");
}

/* Every second call of a workload will do, the even ones or the odd; with VECFS_LONG=1 each. Where the
 * program is instrumented every seventh, of one workload. */
static unsigned calls_apart(void)
{
	const char *is_long = getenv("VECFS_LONG");

	return is_instrumented() ? 7 : is_long && *is_long == '1' ? 1 : 2;
}

static void each_call_fails_once(scenario_fn scenario, enum simdisk_fault fault)
{
	unsigned points = 0, apart = calls_apart();
	struct round r;

	round_init(&r);
	for (uint64_t seed = 1; seed <= (is_instrumented() ? 1 : SEEDS); seed++) {
		bool struck = true;

		for (uint64_t k = 1 + seed % apart; struck; k += apart, points++) {
			bool well = scenario(&r, seed, fault, k, &struck);

			if (!well)
				fail_msg("seed %llu: %s at call %llu (%s): %s", (unsigned long long)seed,
					 fault_names[fault], (unsigned long long)k,
					 simdisk_failed(r.disk) ? simdisk_failed(r.disk) : "none", r.failure);
		}
	}
	print_message("%u calls failed with %s\n", points, fault_names[fault]);
	round_free(&r);
}

static void life_survives_eio(void **state)
{
	(void)state;
	each_call_fails_once(life, SIMDISK_EIO);
}

static void life_survives_enospc(void **state)
{
	(void)state;
	each_call_fails_once(life, SIMDISK_ENOSPC);
}

static void life_survives_eintr(void **state)
{
	(void)state;
	each_call_fails_once(life, SIMDISK_EINTR);
}

static void life_survives_short_counts(void **state)
{
	(void)state;
	each_call_fails_once(life, SIMDISK_SHORT);
}

static void recovery_survives_eio(void **state)
{
	(void)state;
	each_call_fails_once(rebirth, SIMDISK_EIO);
}

static void recovery_survives_enospc(void **state)
{
	(void)state;
	each_call_fails_once(rebirth, SIMDISK_ENOSPC);
}

static void recovery_survives_eintr(void **state)
{
	(void)state;
	each_call_fails_once(rebirth, SIMDISK_EINTR);
}

static void recovery_survives_short_counts(void **state)
{
	(void)state;
	each_call_fails_once(rebirth, SIMDISK_SHORT);
}

/* ------------------------------------------------------------------ and the power goes in the recovery */

#define CUT_SEEDS 3
#define CUTS 6
#define CUT_CHANGES 30 /* a recovery makes fewer, mostly */

/*
 * What a failed sync has lost the page cache still shows, for the next process to see. Had a recovery carried
 * that over, and been cut off by a power loss, neither the old state nor the new would be left.
 */
static bool survives_cut(struct round *r, uint64_t cut)
{
	r->got.no_snapshots = false;
	simdisk_fail(r->disk, SIMDISK_EIO, 0, 0);
	simdisk_reboot(r->disk, SIMDISK_KILL, 0);
	simdisk_crash_at(r->disk, cut, cut);
	if (round_open(r)) {
		simdisk_crash_at(r->disk, 1, 1);
		round_abandon(r);
	}
	if (r->failure[0])
		return false;
	simdisk_reboot(r->disk, SIMDISK_POWER, r->rng.state + cut);
	return round_open(r) && round_verify(r) && round_work(r, 5) && round_close(r) && round_check(r);
}

static void a_recovery_after_a_failed_sync_may_be_cut_off(void **state)
{
	unsigned points = 0;
	struct round r;

	(void)state;
	round_init(&r);
	for (uint64_t seed = 1; seed <= (is_instrumented() ? 1 : CUT_SEEDS); seed++) {
		bool struck = true;

		for (uint64_t k = 1; struck; k++)
			for (unsigned i = 0; i < CUTS; i++) {
				uint64_t cut = 1 + (k * CUTS + i) * 7 % CUT_CHANGES;
				bool well = live(&r, seed, SIMDISK_EIO, k, &struck);

				if (well && !failed_in_sync(&r))
					break;
				if (!well || !survives_cut(&r, cut))
					fail_msg("seed %llu: a sync failed at call %llu, cut off at %llu: %s",
						 (unsigned long long)seed, (unsigned long long)k,
						 (unsigned long long)cut, r.failure);
				points++;
			}
	}
	print_message("%u recoveries cut off\n", points);
	round_free(&r);
}

/* ------------------------------------------------------------------ killed, and later the power goes */

#define LAST_CHANGES 4   /* of a close: the last catalog is among them */
#define FIRST_CHANGES 24 /* of the next session */

/* Makes a store with a vector, and closes it until the process is killed at its change at; 0: until the end.
 * Returns how many changes the close made. */
static uint64_t close_killed(struct wreck *w, uint64_t at)
{
	static const struct vs_perm perm = {.mode = 0700};
	struct vs_store *s;
	uint64_t begin;
	uint32_t c;

	w->disk = simdisk_new();
	w->io = simdisk_io(w->disk);
	s = wreck_open(w);
	assert_int_equal(vs_collection_create(s, 0, "tiny", &perm, &c), 0);
	wreck_put(s, "tiny", "t-1");
	begin = simdisk_changes(w->disk);
	simdisk_crash_at(w->disk, at, 1);
	vs_close(s);
	simdisk_reboot(w->disk, SIMDISK_KILL, 1);
	return simdisk_changes(w->disk) - begin;
}

/* The last catalog may have been read from the page cache. Its slot is the only one while the other is
 * written. */
static void a_store_may_be_closed_in_the_page_cache_only(void **state)
{
	struct wreck w = {0};
	uint64_t changes = close_killed(&w, 0);

	(void)state;
	simdisk_free(w.disk);
	for (uint64_t at = changes - LAST_CHANGES; at <= changes; at++)
		for (uint64_t k = 1; k <= FIRST_CHANGES; k++) {
			static const struct vs_perm perm = {.mode = 0700};
			struct vs_options options = {.io = NULL};
			struct vs_store *s;
			char why[256];
			uint32_t c;

			close_killed(&w, at);
			options.io = w.io;
			simdisk_crash_at(w.disk, k, k);
			if (!vs_open(NULL, &options, &s, why, sizeof why)) {
				vs_collection_create(s, 0, "more", &perm, &c);
				vs_close(s);
			}
			simdisk_reboot(w.disk, SIMDISK_POWER, 100 * at + k);
			s = wreck_open(&w);
			assert_true(wreck_reads(s, "tiny", "t-1"));
			assert_int_equal(vs_close(s), 0);
			simdisk_free(w.disk);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(life_survives_eio),
		cmocka_unit_test(life_survives_enospc),
		cmocka_unit_test(life_survives_eintr),
		cmocka_unit_test(life_survives_short_counts),
		cmocka_unit_test(recovery_survives_eio),
		cmocka_unit_test(recovery_survives_enospc),
		cmocka_unit_test(recovery_survives_eintr),
		cmocka_unit_test(recovery_survives_short_counts),
		cmocka_unit_test(a_recovery_after_a_failed_sync_may_be_cut_off),
		cmocka_unit_test(a_store_may_be_closed_in_the_page_cache_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
