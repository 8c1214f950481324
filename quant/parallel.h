/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parallel - how the caller lends threads to a function of quant/, which starts none itself.
 *
 * Work is cut into parts, each of which computes the same whatever thread runs it and whatever ran before it:
 * the result does not depend on the number of workers. A part may use the scratch of its worker, which is no
 * other part's while it runs.
 */
#ifndef VECFS_QUANT_PARALLEL_H
#define VECFS_QUANT_PARALLEL_H

#include <stddef.h>

typedef void parallel_fn(void *arg, size_t part, unsigned worker);

struct parallel {
	unsigned workers; /* at least 1: fn is called with worker 0 .. workers - 1 */
	/* Calls fn(arg, part, worker) once for each part below parts, in any order, two calls with the same
	 * worker never at once, and returns when all have returned. */
	void (*run)(void *pool, size_t parts, parallel_fn *fn, void *arg);
	void *pool;
};

static inline unsigned parallel_workers(const struct parallel *p)
{
	return p ? p->workers : 1;
}

/* p may be NULL: all parts in order, in this thread. */
static inline void parallel_for(const struct parallel *p, size_t parts, parallel_fn *fn, void *arg)
{
	if (p && p->workers > 1 && parts > 1) {
		p->run(p->pool, parts, fn, arg);
		return;
	}
	for (size_t i = 0; i < parts; i++)
		fn(arg, i, 0);
}

#endif
