/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/crash/round.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define OPS_MAX 200
#define NESTED_MAX 3
#define OPS_AFTERWARDS 12
/* A recovery makes fewer changes than this, mostly; a crash that is not reached is no loss but of time. */
#define RECOVERY_CHANGES 24

bool round_fail(struct round *r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(r->failure, sizeof r->failure, format, args);
	va_end(args);
	return false;
}

void round_init(struct round *r)
{
	*r = (struct round){.disk = simdisk_new(), .seen.rows_only = true};
	history_init(&r->history);
}

void round_abandon(struct round *r)
{
	if (r->store)
		vs_close(r->store);
	r->store = NULL;
}

void round_free(struct round *r)
{
	round_abandon(r);
	model_clear(&r->got);
	model_clear(&r->seen);
	history_free(&r->history);
	simdisk_free(r->disk);
}

void round_plan_init(struct round_plan *plan, uint64_t seed, uint64_t crash)
{
	struct rng rng = rng_of(seed, 2);

	*plan = (struct round_plan){.seed = seed, .crash = crash, .salt = crash};
	/* Most bugs need few operations, and few are fast. */
	plan->ops = 4 + (unsigned)rng_below(&rng, rng_percent(&rng, 80) ? 40 : OPS_MAX);
}

/* ------------------------------------------------------------------ parts */

void round_start(struct round *r, uint64_t seed)
{
	round_abandon(r);
	simdisk_reset(r->disk);
	simdisk_io(r->disk)->syncs_singly = seed % 4 == 3;
	history_clear(&r->history);
	model_clear(&r->got);
	op_style_init(&r->style, seed);
	r->rng = rng_of(seed, 3);
	r->crashes = 0;
	r->failure[0] = 0;
}

static void report(void *arg, enum vs_severity severity, const char *line)
{
	const struct round *r = arg;

	if (r->verbose)
		fprintf(stderr, "       engine %d: %s\n", (int)severity, line);
}

bool round_open(struct round *r)
{
	static const unsigned commit_ms[] = {0, 1, 1000};
	struct vs_options options = {
		.io = simdisk_io(r->disk), .log_bytes = 1u << 20, .report = report, .report_arg = r};
	char why[256] = "";
	int rc;

	options.commit_ms = commit_ms[r->rng.state % 3];
	rc = vs_open("sim", &options, &r->store, why, sizeof why);
	if (!rc)
		return true;
	if (simdisk_handles(r->disk))
		return round_fail(r, "a failed open left %u descriptors", simdisk_handles(r->disk));
	return simdisk_crashed(r->disk) ? false : round_fail(r, "open: %s: %s", strerror(-rc), why);
}

bool round_close(struct round *r)
{
	int rc = vs_close(r->store);
	bool crashed = simdisk_crashed(r->disk);

	r->store = NULL;
	if (simdisk_handles(r->disk))
		return round_fail(r, "close left %u descriptors open", simdisk_handles(r->disk));
	if (!rc)
		history_durable(&r->history);
	return rc && !crashed ? round_fail(r, "close: %s", strerror(-rc)) : true;
}

static bool reopen(struct round *r)
{
	return round_close(r) && !simdisk_crashed(r->disk) && round_open(r);
}

int round_perform(struct round *r, struct op *op, int *want)
{
	int rc;

	r->complaint[0] = 0;
	rc = op_perform(op, &r->history.now, r->store, r->complaint, sizeof r->complaint);
	*want = history_add(&r->history, op, rc);
	if (r->verbose) {
		char text[128];

		op_describe(op, text, sizeof text);
		fprintf(stderr, "%6zu %s = %d\n", r->history.count, text, rc);
	}
	if (!rc && (op->kind == OP_SYNC || op->kind == OP_BATCH || op->kind == OP_VIEW ||
		    op->kind == OP_CLONE || op->kind == OP_ROLLBACK))
		history_durable(&r->history);
	return rc;
}

bool round_fail_answer(struct round *r, const struct op *op, int rc, int want)
{
	char text[128];

	op_describe(op, text, sizeof text);
	return round_fail(r, "operation %zu, %s: answers %d, want %d %s", r->history.count, text, rc, want,
			  r->complaint);
}

/* False when the workload is over: after a crash, or with a failure. */
static bool step(struct round *r)
{
	struct op op;
	int rc, want;

	op_choose(&op, &r->style, &r->history.now, &r->rng);
	if (op.kind == OP_REOPEN)
		return reopen(r);
	rc = round_perform(r, &op, &want);
	if (rc == want)
		return true;
	/* At the crash any error will do: the operation was in flight. */
	if (!simdisk_crashed(r->disk) || rc == -EBADMSG || !rc)
		round_fail_answer(r, &op, rc, want);
	return false;
}

bool round_work(struct round *r, unsigned count)
{
	while (count-- && step(r))
		;
	return !r->failure[0];
}

/* Batches left by a crash are no part of the model, but would be in the way of the next. */
static bool drop_batches(struct round *r)
{
	for (size_t i = 0; i < r->got.count; i++) {
		struct vs_collection_info batch;
		uint32_t parent = r->got.collections[i].id;

		while (!vs_collection_next(r->store, parent, 0, &batch)) {
			int rc = vs_collection_remove(r->store, batch.id);

			if (rc)
				return round_fail(r, "batch %s: remove: %s", batch.name, strerror(-rc));
		}
	}
	return true;
}

bool round_verify(struct round *r)
{
	char why[900] = "";
	ssize_t prefix;
	int rc = model_load(&r->got, r->store, why, sizeof why);

	if (rc)
		return round_fail(r, "after reopening: %s", why);
	prefix = history_match(&r->history, &r->got, why, sizeof why);
	if (prefix < 0)
		return round_fail(r, "after reopening: %s", why);
	history_cut(&r->history, (size_t)prefix);
	return drop_batches(r);
}

struct findings {
	char lines[800]; /* as many as there is room for: some say only what is left over */
	const struct round *r;
};

static void keep_finding(void *arg, const char *line)
{
	struct findings *f = arg;
	size_t len = strlen(f->lines);

	if (f->r->verbose)
		fprintf(stderr, "       check: %s\n", line);
	snprintf(f->lines + len, sizeof f->lines - len, "%s%s", len ? "; " : "", line);
}

bool round_check(struct round *r)
{
	struct findings f = {.r = r};
	int rc = vs_check("sim", simdisk_io(r->disk), false, keep_finding, &f);

	if (rc != VS_CHECK_CLEAN)
		return round_fail(r, "check: %d: %s", rc, f.lines);
	if (simdisk_handles(r->disk))
		return round_fail(r, "check left %u descriptors open", simdisk_handles(r->disk));
	return true;
}

/* ------------------------------------------------------------------ the whole */

/* Opens the store for reading, which must find what a recovery will, and change nothing. */
static bool look(struct round *r)
{
	struct vs_options options = {
		.io = simdisk_io(r->disk), .read_only = true, .report = report, .report_arg = r};
	uint64_t changes = simdisk_changes(r->disk);
	char why[900] = "";
	struct vs_store *s;
	int rc = vs_open("sim", &options, &s, why, sizeof why);

	if (rc == -ENOENT)
		return true;
	if (rc)
		return round_fail(r, "open for reading: %s: %s", strerror(-rc), why);
	rc = model_load(&r->seen, s, why, sizeof why);
	vs_close(s);
	r->looked = true;
	if (rc)
		return round_fail(r, "read without writing: %s", why);
	if (simdisk_changes(r->disk) != changes || simdisk_handles(r->disk))
		return round_fail(r, "a store that was opened for reading was changed, or left open");
	return true;
}

static bool same_as_seen(struct round *r)
{
	char why[900] = "";
	int rc = model_load(&r->got, r->store, why, sizeof why);

	if (rc)
		return round_fail(r, "after a look: %s", why);
	return model_same(&r->seen, &r->got, why, sizeof why) ||
	       round_fail(r, "a look without writing saw another: %s", why);
}

/* Opens the store after a crash, with further crashes on the way; then it is open on a disk in order. */
static bool recover(struct round *r, struct rng *rng)
{
	for (int level = 0; level <= NESTED_MAX; level++) {
		bool nest = level < NESTED_MAX && rng_percent(rng, 40), opened;
		enum simdisk_end end = rng_percent(rng, 85) ? SIMDISK_POWER : SIMDISK_KILL;

		simdisk_reboot(r->disk, end, rng_next(rng));
		r->looked = false;
		if (rng_percent(rng, 30) && !look(r))
			return false;
		if (nest)
			simdisk_crash_at(r->disk, 1 + rng_below(rng, RECOVERY_CHANGES), rng_next(rng));
		opened = round_open(r);
		simdisk_crash_at(r->disk, 0, 0);
		if (!simdisk_crashed(r->disk))
			return opened && (!r->looked || same_as_seen(r));
		r->crashes++;
		/* A crash may fail the open, or come so late that it does not. */
		if (r->failure[0] || (opened && !round_close(r)))
			return false;
	}
	return round_fail(r, "the last recovery crashed without being told to");
}

/* Works on a store just opened (or not, if the disk crashed in that) until the crash, or the end. */
static bool work_and_crash(struct round *r, bool opened, unsigned ops)
{
	bool well = !r->failure[0];

	if (opened)
		well = round_work(r, ops);
	/* A workload that fails leaves the store open; a crash within a reopening leaves it closed. */
	if (!well)
		round_abandon(r);
	else if (r->store)
		well = round_close(r);
	r->crashes++;
	return well;
}

/* The recovered store must be a store like any other. */
static bool live_on(struct round *r, struct rng *rng)
{
	if (rng_percent(rng, 50)) {
		simdisk_crash_at(r->disk, 1 + rng_below(rng, 2 * RECOVERY_CHANGES), rng_next(rng));
		if (!work_and_crash(r, true, OPS_AFTERWARDS) || !recover(r, rng) || !round_verify(r))
			return false;
	}
	return round_work(r, OPS_AFTERWARDS) && round_close(r) && round_check(r) && round_open(r) &&
	       round_verify(r) && round_close(r);
}

bool round_run(struct round *r, const struct round_plan *plan)
{
	struct rng rng = rng_of(plan->seed, plan->salt);
	bool opened;

	round_start(r, plan->seed);
	if (plan->unsynced)
		r->style.weights[OP_SYNC] = r->style.weights[OP_BATCH] = r->style.weights[OP_VIEW] =
			r->style.weights[OP_CLONE] = r->style.weights[OP_ROLLBACK] =
				r->style.weights[OP_REOPEN] = 0;
	if (plan->lie != SIMDISK_HONEST)
		simdisk_lie(r->disk, plan->lie, plan->lie_pattern);
	simdisk_crash_at(r->disk, plan->crash, rng_next(&rng));
	opened = round_open(r);
	if (!work_and_crash(r, opened, plan->ops))
		return false;
	r->changes = simdisk_changes(r->disk);
	return recover(r, &rng) && round_verify(r) && live_on(r, &rng);
}
