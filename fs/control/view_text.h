/* SPDX-License-Identifier: Apache-2.0 */
/* view_text - what a view's info, state and params say, and what may be written to the last. */
#ifndef VECFS_FS_CONTROL_VIEW_TEXT_H
#define VECFS_FS_CONTROL_VIEW_TEXT_H

#include <stdio.h>

#include "fs/control/view_recall.h"
#include "fs/request/ops.h"
#include "store/view/view.h"

/* The text of a NODE_VIEW_TEXT. -ESTALE: the view is gone. */
int view_text_print(struct mount *s, const struct node *node, FILE *out);
/* One line for those who want many views at a glance: "opq96 state=ready code_bytes=96 ..."; recall may be
 * NULL, row_bytes are those of a vector. */
void view_text_print_line(const struct vs_view_info *info, const struct view_recall *recall, size_t row_bytes,
			  FILE *out);
/* What a collection's stats say of its views: a line each. */
void view_text_print_stats(struct mount *s, const struct vs_collection_info *collection, FILE *out);
/* What the mount's metrics say of the views of collections that everybody may read. */
void view_text_print_metrics(struct mount *s, FILE *out);
/* One word: training, encoding, ready, lagging, failed. */
const char *view_state_name(enum vs_view_state state);
/* What error_recent is of error_trained; 0 while nothing was written since the training. */
double view_drift(const struct vs_view_info *info);

#endif
