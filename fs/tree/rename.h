/* SPDX-License-Identifier: Apache-2.0 */
/* rename - what rename(2) means between two directories: moving, or committing. */
#ifndef VECFS_FS_TREE_RENAME_H
#define VECFS_FS_TREE_RENAME_H

#include "fs/request/ops.h"

int rename_node(struct mount *s, const struct node *from, const char *name, const struct node *to,
		const char *new_name, unsigned flags);

#endif
