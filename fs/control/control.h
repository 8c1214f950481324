/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control - the control directories: what is in them, and the attributes of it. Those follow the permissions
 * of the collection, or of the mount's root.
 */
#ifndef VECFS_FS_CONTROL_CONTROL_H
#define VECFS_FS_CONTROL_CONTROL_H

#include "fs/request/ops.h"

/* What is in control directories; defined where each is made. */
extern const struct node_ops dir_control_ops, dir_segments_ops, segment_ops, text_ops, schema_ops,
	pairing_ops, batch_text_ops, batch_file_ops, batch_temporary_ops, batch_upload_ops, result_ops,
	dir_near_ops, near_file_ops, dir_search_ops, query_ops, searched_ops, dir_session_ops,
	session_file_ops, dir_views_ops, dir_view_ops, dir_view_control_ops, view_text_ops, view_recall_ops,
	view_data_ops;

int control_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s);
/* Owner and mode of the mount's root directory. */
struct vs_perm control_root_perm(struct mount *s);
/* The attributes of a file of this size and age in a control directory. */
int control_file_attr(struct mount *s, const struct node *node, vs_time mtime, uint64_t size,
		      struct stat *st);
/* The number of the directory that a control node is in (but for those in segments/). */
uint64_t control_parent_ino(const struct node *node);
/* The NODE_TEXT or NODE_UPLOAD that a name in a batch's control directory means, whether it exists or not. */
bool control_find(struct mount *s, const char *name, uint32_t batch, struct node *out);

#endif
