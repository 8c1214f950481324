/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scratch - how functions of quant/ lay out the memory their caller lends them. The function that takes the
 * parts runs twice: on a base of NULL it counts the bytes, on the caller's memory it hands out pointers.
 */
#ifndef VECFS_QUANT_SCRATCH_H
#define VECFS_QUANT_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define SCRATCH_ALIGN 64 /* of what callers lend, and of each part */

struct scratch {
	char *base;
	size_t bytes; /* taken so far */
};

#define SCRATCH_MAPPED_BYTES ((size_t)64 << 10)

/* What stands before the memory that scratch_alloc returns. */
struct scratch_header {
	_Alignas(SCRATCH_ALIGN) size_t mapped_bytes; /* 0: it is of malloc's kind */
};

/* Memory for scratch, or for anything that wants its alignment; scratch_free frees it. NULL: there is none.
 * What is large is mapped for itself: each large block that malloc gets back makes it keep larger ones for
 * later, in each thread's arena, and what a training took for a second would stay with the process for ever.
 */
static inline void *scratch_alloc(size_t bytes)
{
	size_t all = (sizeof(struct scratch_header) + bytes + SCRATCH_ALIGN) / SCRATCH_ALIGN * SCRATCH_ALIGN;
	bool is_mapped = all >= SCRATCH_MAPPED_BYTES;
	struct scratch_header *h =
		is_mapped ? mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
			  : aligned_alloc(SCRATCH_ALIGN, all);

	if (!h || h == MAP_FAILED)
		return NULL;
	h->mapped_bytes = is_mapped ? all : 0;
	return h + 1;
}

/* Also of NULL. */
static inline void scratch_free(void *memory)
{
	struct scratch_header *h = memory ? (struct scratch_header *)memory - 1 : NULL;

	if (h && h->mapped_bytes)
		munmap(h, h->mapped_bytes);
	else
		free(h);
}

static inline void *scratch_take(struct scratch *s, size_t bytes)
{
	void *part = s->base ? s->base + s->bytes : NULL;

	s->bytes += (bytes + SCRATCH_ALIGN - 1) & ~(size_t)(SCRATCH_ALIGN - 1);
	return part;
}

#endif
