/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuse_ops - the dispatcher: each FUSE handler finds the node, calls what its kind of node does
 * (request/ops.h), replies. Handlers run on any thread.
 */
#ifndef VECFS_FS_MOUNT_FUSE_OPS_H
#define VECFS_FS_MOUNT_FUSE_OPS_H

#include "fs/request/ops.h"

extern const struct fuse_lowlevel_ops ops_table; /* the user data of its session is the struct mount */
/* What the kinds of nodes do, by enum node_kind, for struct mount. */
extern const struct node_ops *const ops_node_tables[NODE_KIND_COUNT];

#endif
