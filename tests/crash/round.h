/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round - one crash point: a seeded workload on a simulated disk, a crash, recoveries that may crash too, and
 * the verdict: the state is one that the promises of store.h allow, and the store goes on working.
 */
#ifndef VECFS_TESTS_CRASH_ROUND_H
#define VECFS_TESTS_CRASH_ROUND_H

#include "tests/crash/history.h"
#include "tests/crash/simdisk.h"

struct round_plan {
	uint64_t seed;  /* of the workload */
	uint64_t crash; /* at this change of the disk; 0: the power goes after the last */
	uint64_t salt;  /* of what the crash leaves; another one is another point */
	unsigned ops;
	bool unsynced; /* nothing is made durable before the close */
	enum simdisk_lie lie;
	const char *lie_pattern;
};

struct round {
	struct simdisk *disk;
	struct vs_store *store; /* while it is open */
	struct history history;
	struct model got;  /* the state found */
	struct model seen; /* what a look without writing found, if looked */
	bool looked;
	struct op_style style;
	struct rng rng;   /* of the workload */
	uint64_t changes; /* the disk's, at the end of the workload or at the crash */
	unsigned crashes;
	bool verbose;
	char complaint[256]; /* of the last operation */
	char failure[1024];
};

void round_init(struct round *r);
void round_free(struct round *r);
/* Whether all went well; else failure tells what did not. */
bool round_run(struct round *r, const struct round_plan *plan);
/* The plan that crashes the workload of seed at this change. */
void round_plan_init(struct round_plan *plan, uint64_t seed, uint64_t crash);

/* The parts of it, for tests with plans of their own. Each is true if nothing went wrong. */
void round_start(struct round *r, uint64_t seed);
/* False without a failure means that the disk crashed. */
bool round_open(struct round *r);
/* Performs count operations, or fewer when the disk crashes. */
bool round_work(struct round *r, unsigned count);
/* Closes the store; on a disk that did not crash it must say that all is well. */
bool round_close(struct round *r);
/* Closes the store if it is open, whatever comes of it: after a failure, too, its threads would go on to look
 * at the disk. */
void round_abandon(struct round *r);
/* Reads the open store and accepts it if a crash may leave it like that; the history goes on from there. */
bool round_verify(struct round *r);
bool round_check(struct round *r);
/* Performs one operation and adds it to the history; returns the store's answer. */
int round_perform(struct round *r, struct op *op, int *want);
bool round_fail_answer(struct round *r, const struct op *op, int rc, int want);
bool round_fail(struct round *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
