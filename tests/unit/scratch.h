/* SPDX-License-Identifier: Apache-2.0 */
/* scratch - a directory of a test's own, and numbers that look random and are the same in each run. */
#ifndef VECFS_TESTS_UNIT_SCRATCH_H
#define VECFS_TESTS_UNIT_SCRATCH_H

#include <stdint.h>

#include "store/io/io.h"

struct scratch {
	char dir[64];
	struct io *io; /* the real table over dir */
};

void scratch_new(struct scratch *sc);
/* Removes the directory and all in it. */
void scratch_free(struct scratch *sc);

struct numbers {
	uint64_t state; /* not 0 */
};

static inline uint64_t numbers_next(struct numbers *n)
{
	n->state ^= n->state << 13;
	n->state ^= n->state >> 7;
	n->state ^= n->state << 17;
	return n->state * 0x2545f4914f6cdd1dull;
}
/* Below limit, which is not 0. */
static inline uint64_t numbers_below(struct numbers *n, uint64_t limit)
{
	return (numbers_next(n) >> 16) % limit;
}

#endif
