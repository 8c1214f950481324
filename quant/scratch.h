/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scratch - how functions of quant/ lay out the memory their caller lends them. The function that takes the
 * parts runs twice: on a base of NULL it counts the bytes, on the caller's memory it hands out pointers.
 */
#ifndef VECFS_QUANT_SCRATCH_H
#define VECFS_QUANT_SCRATCH_H

#include <stddef.h>
#include <stdlib.h>
#include <stdint.h>

#define SCRATCH_ALIGN 64 /* of what callers lend, and of each part */

struct scratch {
	char *base;
	size_t bytes; /* taken so far */
};

/* Memory for scratch, or for anything that wants its alignment; free() frees it. NULL: there is none. */
static inline void *scratch_alloc(size_t bytes)
{
	return aligned_alloc(SCRATCH_ALIGN, (bytes + SCRATCH_ALIGN) / SCRATCH_ALIGN * SCRATCH_ALIGN);
}

static inline void *scratch_take(struct scratch *s, size_t bytes)
{
	void *part = s->base ? s->base + s->bytes : NULL;

	s->bytes += (bytes + SCRATCH_ALIGN - 1) & ~(size_t)(SCRATCH_ALIGN - 1);
	return part;
}

#endif
