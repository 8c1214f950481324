/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint - makes durable outside the log what it has, so that it may go.
 */
#ifndef VECFS_STORE_REPLAY_CHECKPOINT_H
#define VECFS_STORE_REPLAY_CHECKPOINT_H

struct group;
struct vs_store;

/* Syncs all that apply_records wrote, segments' headers and new directory entries included. */
int checkpoint_sync(struct vs_store *s);
/* The group was the last of its epoch: makes all of it durable outside the log, which is then free. */
int checkpoint_write(struct vs_store *s, struct group *g);

#endif
