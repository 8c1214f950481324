/* SPDX-License-Identifier: Apache-2.0 */
/* dir - the directories that are users' own: the root, collections, tx and its batches. */
#ifndef VECFS_FS_TREE_DIR_H
#define VECFS_FS_TREE_DIR_H

#include "fs/request/ops.h"

extern const struct node_ops dir_root_ops, dir_collection_ops, dir_tx_ops, dir_commit_ops, dir_snap_ops,
	snap_clone_ops, snap_rollback_ops;

/* A durable snapshot gets another name: -EEXIST if that is taken. */
int snap_rename(struct mount *s, uint32_t collection, const char *name, const char *new_name);

#endif
