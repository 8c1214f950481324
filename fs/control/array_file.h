/* SPDX-License-Identifier: Apache-2.0 */
/* array_file - a collection's ids and vectors as one file each, in the formats of array_format.h, each of one
 * version of the collection. */
#ifndef VECFS_FS_CONTROL_ARRAY_FILE_H
#define VECFS_FS_CONTROL_ARRAY_FILE_H

#include "fs/request/ops.h"

/* The attributes of a NODE_ARRAY, or of the NODE_MOMENT that stands for it, at one version. */
int array_attr(struct mount *s, const struct node *node, const struct vs_snapshot_info *info,
	       struct stat *st);

#endif
