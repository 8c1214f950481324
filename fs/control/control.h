/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control - the control directories: what is in them, and the attributes of it. Those follow the permissions
 * of the collection, or of the mount's root.
 */
#ifndef VECFS_FS_CONTROL_CONTROL_H
#define VECFS_FS_CONTROL_CONTROL_H

#include "fs/mount/fuse_ops.h"

int control_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s);
/* The attributes of a file of this size and age in a control directory. */
/* Owner and mode of the mount's root directory. */
struct vs_perm dir_root_perm(struct mount *s);
/* Removes a collection that is empty, or a batch with everything in it; open files of its vectors keep those.
 */
int dir_remove(struct mount *s, uint32_t id);
int control_file_attr(struct mount *s, const struct node *node, vs_time mtime, uint64_t size,
		      struct stat *st);
/* The number of the directory that a control node is in (but for those in segments/). */
uint64_t control_parent_ino(const struct node *node);
/* The NODE_TEXT or NODE_UPLOAD that a name in a batch's control directory means, whether it exists or not. */
bool control_find(struct mount *s, const char *name, uint32_t batch, struct node *out);

#endif
