/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch - an open batch, tx/B: its control directory, where ids, delete and vectors.* are written, and its
 * commit. The vectors put into it as files are those of any collection. An empty text is none.
 */
#ifndef VECFS_FS_BATCH_H
#define VECFS_FS_BATCH_H

#include "fs/ops.h"

/* Whether the batch has what this NODE_TEXT or NODE_UPLOAD names; an upload answers to each of its names. */
bool batch_has(struct serve *s, uint32_t batch, const struct node *node);
int batch_create(fuse_req_t req, const struct node *dir, const struct ops_birth *birth,
		 struct fuse_entry_param *e, struct fuse_file_info *fi);
int batch_unlink(fuse_req_t req, const struct node *dir, const char *name);
/* Applies tx/B to its collection; durable when it returns 0. */
int batch_commit(struct serve *s, const struct vs_collection_info *batch);
/* Logs "docs/.vecfs/tx/B/.vecfs/NAME: refused: " and the reason. */
__attribute__((format(printf, 3, 4))) void batch_refuse(struct serve *s, const struct node *node,
							const char *format, ...);

#endif
