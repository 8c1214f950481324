/* SPDX-License-Identifier: Apache-2.0 */
/*
 * applier - the thread that applies durable groups, and does checkpoints. It alone writes the contents of the
 * files of segments in use.
 */
#ifndef VECFS_STORE_REPLAY_APPLIER_H
#define VECFS_STORE_REPLAY_APPLIER_H

#include <stdint.h>

struct vs_store;

/*
 * Has the applier bring the .npy header of a segment up to the rows that are in its file. Waits, without any
 * lock. -ENOENT: there is no such segment, or it has no rows.
 */
int applier_header(struct vs_store *s, uint32_t collection, uint32_t n);
/* The thread; store is a struct vs_store. */
void *applier_thread(void *store);

#endif
