/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reclaim - what the records of a group no longer need once they are in the files: rows of the overlay, space
 * of segments that have shrunk, files and memory of collections that were dropped. In this order.
 */
#ifndef VECFS_STORE_REPLAY_RECLAIM_H
#define VECFS_STORE_REPLAY_RECLAIM_H

struct group;
struct vs_store;

/* Forgets the rows of a group: they are in the files now. */
void reclaim_rows(struct vs_store *s, const struct group *g);
/* Gives back what its segments no longer need. Only the applier takes segments with files out of a
 * collection, or frees one, but for those that never had a row. */
void reclaim_segments(struct vs_store *s, const struct group *g);
/* Removes what has been dropped. Nothing that is in the log ahead of here needs it. */
void reclaim_collections(struct vs_store *s, const struct group *g);

#endif
