/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run - adjacent pieces of one file of a segment, gathered into one write.
 */
#ifndef VECFS_STORE_REPLAY_RUN_H
#define VECFS_STORE_REPLAY_RUN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "store/segment/segment.h"

#define RUN_BUFFERS 256

struct vs_store;

struct run {
	struct segment *seg;
	enum segment_column column;
	uint64_t off, bytes;
	struct iovec iov[RUN_BUFFERS];
	int count;
};

/* Adds a piece behind the others; writes these first if it is not adjacent. data stays the caller's until the
 * flush. */
int run_add(struct vs_store *s, struct run *run, struct segment *seg, uint64_t off, const void *data,
	    size_t size);
/* Writes what has been gathered. Waits for descriptors and memory that others may give back. */
int run_flush(struct vs_store *s, struct run *run);

#endif
