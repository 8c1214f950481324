/* SPDX-License-Identifier: Apache-2.0 */
/*
 * result - tx/B/.vecfs/result: what a commit of the batch did, for those who have the file open while it
 * happens.
 *
 * Empty until then; afterwards it reads "added=N", "replaced=N", "deleted=N", a line each, or after a refusal
 * "refused=REASON" until the next attempt. Who writes "replace=no" to it wants a commit to be refused that
 * would give an existing id another vector, for as long as the file stays open.
 *
 * All of that is kept with the open file, and goes with it. Functions may be called from any thread.
 */
#ifndef VECFS_FS_CONTROL_RESULT_H
#define VECFS_FS_CONTROL_RESULT_H

#include <stdbool.h>

#include "fs/request/mount.h"

struct result_table;

struct result_table *result_table_new(void);
void result_table_free(struct result_table *t);
/* Whether somebody wants this batch to add only. */
bool result_adds_only(struct mount *s, uint32_t batch);
/* Tells those who have it open how a commit of the batch went: rc is 0 with change, or -errno with why. */
void result_tell(struct mount *s, uint32_t batch, int rc, const struct vs_batch_change *change,
		 const char *why);

#endif
