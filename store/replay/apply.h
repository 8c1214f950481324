/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply - carries durable log records to the segment files, in order.
 *
 * Only the applier, and recovery before it exists, writes the contents of the files of segments in use.
 * Others only allocate space behind them (segment_reserve), and create files that nobody uses yet.
 */
#ifndef VECFS_STORE_REPLAY_APPLY_H
#define VECFS_STORE_REPLAY_APPLY_H

#include <stddef.h>
#include <stdint.h>

#include "store/base/format.h"

struct group;
struct vs_store;

/* Writes what a run of records says about rows to the files, without looking at the overlay. */
int apply_records(struct vs_store *s, const void *records, size_t size);
/* The same for a list of groups. */
int apply_groups(struct vs_store *s, const struct group *g);
/* Moves the files that a batch handed over to where they now belong; done already if they are not there any
 * more. */
int apply_adoption(struct vs_store *s, const struct record_attach *r);

#endif
