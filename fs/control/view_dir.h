/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view_dir - views/: compressed views of a collection as directories.
 *
 *   views/             mkdir makes a view, whose name is its codec; rmdir drops it, with its contents in it
 *   views/V/           the collection's ids, each with its code
 *   views/V/.vecfs/    never listed in V: texts (view_text.c), recall (view_recall.c), arrays (view_data.c)
 *   .../decoded/       the ids, each with the vector that its code stands for
 */
#ifndef VECFS_FS_CONTROL_VIEW_DIR_H
#define VECFS_FS_CONTROL_VIEW_DIR_H

#include "fs/request/ops.h"
#include "fs/control/view_table.h"
#include "store/view/view.h"

/* The view of a node of its directories and texts; -ESTALE: it is gone. */
int view_get(struct mount *s, const struct node *node, struct vs_view_info *out);
/* Bytes of a code. */
size_t view_code_bytes(const struct vs_view_info *info);
/* Says that mv does not name a view anew; -EPERM. */
int view_refuse_rename(struct mount *s, const struct node *views, const char *name);

/* Fills e for a vector's code, or what it stands for; name is an id. */
int view_data_lookup_vector(fuse_req_t req, const struct node *dir, const struct vs_view_info *info,
			    enum view_data_kind kind, const char *name, struct fuse_entry_param *e);
/* The same for one of the arrays. */
int view_data_lookup_array(fuse_req_t req, const struct node *dir, const struct vs_view_info *info,
			   enum view_data_kind kind, struct fuse_entry_param *e);
/* What stat(2) shows as the number of a file of codes, entry being a vector's or 0: it follows from its name,
 * so that a listing can tell it, too. */
uint64_t view_data_ino(uint32_t collection, const char *view, enum view_data_kind kind, uint64_t entry);
/* Whether the codec has such an array. */
bool view_data_has(const struct vs_view_info *info, enum view_data_kind kind);

#endif
