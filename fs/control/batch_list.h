/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch_list - a batch's lists of ids, `ids` and `delete`, as files.
 *
 * A list that is written from front to back is judged as it comes: an id that is wrong fails the write(2)
 * that completes its line, which a shell's builtins notice as well as cp. The last line, if it is not ended,
 * and lists that are written in any other order are judged at close(2). Only ids that stand in a list twice
 * are left to the commit.
 */
#ifndef VECFS_FS_CONTROL_BATCH_LIST_H
#define VECFS_FS_CONTROL_BATCH_LIST_H

#include "fs/request/ops.h"

/* Judges a file of the batch as if it were this NODE_TEXT: -EINVAL with a sentence in why. */
int batch_list_judge(struct mount *s, const struct node *node, enum vs_batch_text file, char *why,
		     size_t why_size);

#endif
