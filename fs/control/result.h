/* SPDX-License-Identifier: Apache-2.0 */
/*
 * result - tx/B/.vecfs/result: what a commit of the batch did, for those who have the file open while it
 * happens.
 *
 * Empty until then; afterwards it reads "added=N", "replaced=N", "deleted=N", a line each, or after a refusal
 * "refused=REASON" until the next attempt. Who writes "replace=no" to it wants a commit to be refused that
 * would give an existing id another vector, for as long as the file stays open. Who writes "wait=no" does not
 * wait in the rename that commits: it answers EINPROGRESS at once, and the file, empty until then, tells how
 * it went. So a commit, which may take long, stalls no other request (fs/README.md, Threads).
 *
 * All of that is kept with the open file, and goes with it. So does the batch, if "keep=no" was written to
 * the file: a process that dies closes it, and leaves nothing behind. If it is the mount that dies, the next
 * one removes the batch: who filled it can go on no more.
 *
 * Functions may be called from any thread.
 */
#ifndef VECFS_FS_CONTROL_RESULT_H
#define VECFS_FS_CONTROL_RESULT_H

#include <stdbool.h>

#include "fs/request/mount.h"

struct result_table;

struct result_table *result_table_new(void);
void result_table_free(struct result_table *t);
/* Before the mount serves: removes the batches that should have gone with a file of an earlier one. */
void result_remove_abandoned(struct mount *s);
/* Whether somebody wants this batch to add only. */
bool result_adds_only(struct mount *s, uint32_t batch);
/* Whether somebody wants the rename that commits it not to wait. */
bool result_waits_not(struct mount *s, uint32_t batch);
/* A commit begins: what the file told is forgotten. */
void result_forget(struct mount *s, uint32_t batch);
/* A commit that nobody waited for was refused: removes the batch, if it should have gone meanwhile. */
void result_remove_left(struct mount *s, uint32_t batch);
/* Tells those who have it open how a commit of the batch went: rc is 0 with change, or -errno with why. */
void result_tell(struct mount *s, uint32_t batch, int rc, const struct vs_batch_change *change,
		 const char *why);

#endif
