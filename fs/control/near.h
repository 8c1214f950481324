/* SPDX-License-Identifier: Apache-2.0 */
/*
 * near - near/ID and near@OPTIONS/ID: the nearest neighbours of a stored vector as text.
 *
 * Such a file has no number of its own that could be told from its name alone: collection, entry and options
 * do not fit. So the last NEAR_SLOTS names that were looked up are remembered, each under a number that is
 * never used again; an older one is ESTALE, upon which the kernel looks it up anew. What is open does not
 * depend on it.
 */
#ifndef VECFS_FS_CONTROL_NEAR_H
#define VECFS_FS_CONTROL_NEAR_H

#include "fs/request/ops.h"

struct near_table;

struct near_table *near_table_new(void);
void near_table_free(struct near_table *t);
/* The directory near@OPTIONS of a collection. -EINVAL: the log says what is wrong with the options. */
int near_at_lookup(fuse_req_t req, const struct node *control, const char *name, struct fuse_entry_param *e);

#define NEAR_PREFIX "near@"

#endif
