/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vacuum - fills the rows that a large batch, or a snapshot that has gone, has left deleted, and so gives
 * their space back: rows from the end of the segment move there, a row in a transaction of its own.
 *
 * Whoever commits a batch does it at once (rows_vacuum). What is left, since files are no longer shared or
 * after a crash, a thread does, a few rows at a time. Without it, or if it fails, the close does.
 */
#ifndef VECFS_STORE_ROW_VACUUM_H
#define VECFS_STORE_ROW_VACUUM_H

#include <stdint.h>

struct vs_store;

/* All of a collection's, but those of shared segments. Without any lock. */
int rows_vacuum(struct vs_store *s, uint32_t collection);
/* The thread, which engine_wake_vacuum wakes. */
void vacuum_start(struct vs_store *s);
void vacuum_stop(struct vs_store *s);

#endif
