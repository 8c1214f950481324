/* SPDX-License-Identifier: Apache-2.0 */
/*
 * builder - the thread that keeps views up: trains, verifies and encodes, changes models, and removes files
 * that are nobody's any more. It is the only writer of their files, and holds no lock over I/O or computing.
 */
#ifndef VECFS_STORE_VIEW_BUILDER_H
#define VECFS_STORE_VIEW_BUILDER_H

struct vs_store;

/* Starts it, unless it runs. Once before others know the store, then under views.define. */
int builder_start(struct vs_store *s);
/* Has it look at once, for somebody waits. */
void builder_hurry(struct vs_store *s);
/* Ends it at the next block, for the close, and leaves files that are what they seem: what was written is
 * synced, and what a crash may have left, and was not looked at, is removed. */
void builder_stop(struct vs_store *s);

#endif
