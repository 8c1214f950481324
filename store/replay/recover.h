/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover - from what is on the disk to a store in memory.
 *
 * A store that is opened only to be read is left as it is: its log then goes into the overlays of the
 * collections, and stays there.
 *
 * After a clean close: the catalog, then each collection's index file. Otherwise first the log is replayed,
 * in two passes: one brings the tables up to date, the other writes the rows (which say where they go, so
 * that doing it twice does no harm); then the index is rebuilt from the rows. Nothing is served before all of
 * that is durable.
 */
#ifndef VECFS_STORE_REPLAY_RECOVER_H
#define VECFS_STORE_REPLAY_RECOVER_H

#include <stddef.h>

struct vs_store;

/*
 * Fills the empty store s. A collection that cannot be opened is marked damaged, reported and otherwise left
 * alone. -EUCLEAN with a sentence in why: no valid catalog, or damage in the middle of the log; -ENOENT:
 * there is no store.
 */
int recover(struct vs_store *s, char *why, size_t why_size);

#endif
