/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply - carries durable log records to the segment files, in order, and does checkpoints.
 *
 * Only this thread (and recovery, before it exists) writes to the files of segments in use.
 */
#ifndef VECFS_STORE_APPLY_H
#define VECFS_STORE_APPLY_H

#include <stddef.h>

struct vs_store;

/* Writes what a run of records says about rows to the files, without looking at the overlay. */
int apply_records(struct vs_store *s, const void *records, size_t size);
/* Syncs all that apply_records wrote, segments' headers and new directory entries included. */
int apply_sync(struct vs_store *s);
/* The applier's thread. */
void *apply_thread(void *store);

#endif
