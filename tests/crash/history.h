/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history - the operations of a run in the order they were acknowledged, to tell which states a crash may
 * leave: the state after some prefix of it that has at least all that was durable. The last operation may be
 * the one in flight at the crash, which was never acknowledged but may have happened.
 */
#ifndef VECFS_TESTS_CRASH_HISTORY_H
#define VECFS_TESTS_CRASH_HISTORY_H

#include "tests/crash/model.h"
#include "tests/crash/op.h"

struct history {
	struct op *ops;
	uint64_t *hashes; /* of the state before each operation, and after the last */
	size_t count, room;
	size_t durable; /* so many operations are durable */
	bool in_flight; /* the last operation was not acknowledged */
	struct model now;
};

void history_init(struct history *h);
void history_free(struct history *h);
void history_clear(struct history *h);

/* Adds op, which was performed with the answer rc; returns what the answer should have been. */
int history_add(struct history *h, const struct op *op, int rc);
/* All that was acknowledged is durable from now on. */
void history_durable(struct history *h);
/* The length of the prefix whose state is got, of those a crash may leave; -1 and a sentence if none is. */
ssize_t history_match(struct history *h, struct model *got, char *why, size_t why_size);
/* Forgets all but the first count operations. */
void history_cut(struct history *h, size_t count);

#endif
