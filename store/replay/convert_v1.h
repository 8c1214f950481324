/* SPDX-License-Identifier: Apache-2.0 */
/*
 * convert_v1 - a store of format version 1 becomes one of version 2, when it is opened for writing.
 *
 *   1. The catalog is read and brought to the new form in memory, and the log of a store that was not closed
 * is replayed as version 1 would have: into the tables, and into the files as they are. That changes nothing
 * that the log did not say, so a crash leaves a store of version 1 that is opened again.
 *   2. Beside each N.rows an N.rows.new is written, whose rows have the new form. All of it is synced.
 *   3. A catalog of version 2 is written, which says CATALOG_CONVERTED and that the log starts anew. Here the
 * store changes its version.
 *   4. Each N.rows.new takes the place of N.rows, and a catalog without CATALOG_CONVERTED is written. A crash
 * before that leaves a store that begins with step 4 when it is opened again.
 *
 * From there on it is a store that was not closed and has an empty log: its index is built from the rows.
 * Rows that were damaged stay so.
 */
#ifndef VECFS_STORE_REPLAY_CONVERT_V1_H
#define VECFS_STORE_REPLAY_CONVERT_V1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

struct io;
struct log_position;

/* The records of a frame of version 1 as ours: malloc'ed. -EUCLEAN: they contradict themselves. */
int convert_records(const void *payload, size_t bytes, void **out, size_t *out_bytes);
/*
 * Steps 1 (what is left of it) to 4, once the tables have all that the log says. The log begins at start and
 * ends at end. No file is open.
 */
int convert_store(struct vs_store *s, const struct log_position *start, const struct log_position *end,
		  char *why, size_t why_size);
/* Whether the rows column of a segment is of version 1, by its sums: for a repair that has no catalog to ask.
 */
bool convert_is_old(struct io *io, uint32_t collection, uint32_t n);
/* Step 4 alone. */
int convert_finish(struct vs_store *s);

#endif
