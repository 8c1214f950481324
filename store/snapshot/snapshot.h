/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot - what the rest of the engine owes to open snapshots (store.h says what they are). */
#ifndef VECFS_STORE_SNAPSHOT_SNAPSHOT_H
#define VECFS_STORE_SNAPSHOT_SNAPSHOT_H

#include <stdint.h>

struct collection;
struct segment;
struct vs_store;

/* Called before the contents of a row change or the row goes away: snapshots keep a copy. Under the lock,
 * alone. */
void snapshot_preserve(struct vs_store *s, struct collection *c, uint32_t row);
/* Called before a segment loses all its rows at once. Its files do not change any more but for what the
 * applier has yet to write, and that is kept. Under the lock, alone. */
void snapshot_preserve_segment(struct vs_store *s, struct collection *c, struct segment *seg);
/* The collection's memory goes away; its snapshots live on with what they have. Under the lock, alone. */
void snapshot_detach(struct collection *c);

#endif
