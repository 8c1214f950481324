/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nudge - has a metadata server write its journal while a recovery waits for it.
 *
 * What another client has changed of a file, its size and times, CephFS's server asks it for when somebody
 * looks the file up, and answers once that is in its journal; which it writes every five seconds, or when a
 * client syncs a file of its own. Who opens a store just after its last owner has closed it, or been killed,
 * wants all files at once: so meanwhile one of ours is written and synced, again and again. Nothing depends
 * on it.
 */
#ifndef VECFS_STORE_REPLAY_NUDGE_H
#define VECFS_STORE_REPLAY_NUDGE_H

struct nudge;
struct vs_store;

/* Begins, beside the caller, with the lock file, which s has. NULL: there is no such server. */
struct nudge *nudge_begin(struct vs_store *s);
/* It is not needed any more; does not wait. */
void nudge_end(struct nudge *n);
/* Waits for its end, and frees. The lock is still held. */
void nudge_free(struct nudge *n);

#endif
