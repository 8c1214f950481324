/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply - carries durable log records to the segment files, in order, and does checkpoints.
 *
 * Only this thread, and recovery before it exists, writes the contents of the files of segments in use.
 * Others only allocate space behind them (segment_reserve), and create files that nobody uses yet.
 */
#ifndef VECFS_STORE_REPLAY_APPLY_H
#define VECFS_STORE_REPLAY_APPLY_H

#include <stddef.h>
#include <stdint.h>

#include "store/base/format.h"

struct vs_store;

/* Writes what a run of records says about rows to the files, without looking at the overlay. */
int apply_records(struct vs_store *s, const void *records, size_t size);
/* Moves the files that a batch handed over to where they now belong; done already if they are not there any
 * more. */
int apply_adoption(struct vs_store *s, const struct record_attach *r);
/* Syncs all that apply_records wrote, segments' headers and new directory entries included. */
int apply_sync(struct vs_store *s);
/*
 * Has the applier bring the .npy header of a segment up to the rows that are in its file. Waits, without any
 * lock. -ENOENT: there is no such segment, or it has no rows.
 */
int apply_header(struct vs_store *s, uint32_t collection, uint32_t n);
/* The applier's thread. */
void *apply_thread(void *store);

#endif
