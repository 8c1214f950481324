/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refused - a vector that a batch does not have because it was refused: found by its name, empty and never
 * listed, so that it can be removed or written anew, which ends the refusal.
 */
#ifndef VECFS_FS_TREE_REFUSED_H
#define VECFS_FS_TREE_REFUSED_H

#include "fs/request/ops.h"

extern const struct node_ops refused_ops;

/* The entry of such a name, or -ENOENT. Costs nothing where nothing has been refused. */
int refused_lookup(struct mount *s, uint32_t batch, const char *name, struct fuse_entry_param *e);
/* Ends the refusal, or -ENOENT. */
int refused_unlink(struct mount *s, uint32_t batch, const char *name);

#endif
