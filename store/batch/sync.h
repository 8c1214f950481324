/* SPDX-License-Identifier: Apache-2.0 */
/* sync - the files of open batches made durable (store.h has it for one of them). */
#ifndef VECFS_STORE_BATCH_SYNC_H
#define VECFS_STORE_BATCH_SYNC_H

struct vs_store;

/* Of all batches: for a close. Nobody makes or drops one meanwhile. */
int batches_sync(struct vs_store *s);

#endif
