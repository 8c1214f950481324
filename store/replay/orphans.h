/* SPDX-License-Identifier: Apache-2.0 */
/*
 * orphans - files that a crash has left and nothing refers to.
 */
#ifndef VECFS_STORE_REPLAY_ORPHANS_H
#define VECFS_STORE_REPLAY_ORPHANS_H

struct vs_store;

/* Removes the spill files of snapshots that were open in a crash. */
void orphans_collect_spills(struct vs_store *s);
/* Removes names of shared files that nobody has any more, before anything is written: a file that has but one
 * name by what the log says must have but one. */
int orphans_unlink_shared(struct vs_store *s);
/* Removes what a crash left: files of changes that did not survive, or that did not need them any more. */
void orphans_collect(struct vs_store *s);
/* Makes their removal durable where a new file of that name must not find an old one after a crash. */
int orphans_sync(struct vs_store *s);

#endif
