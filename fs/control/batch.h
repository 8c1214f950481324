/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch - an open batch, tx/B: its control directory, where lists of ids and vectors.* are written, and its
 * commit. The vectors put into it as files are those of any collection.
 *
 * In the control directory are the lists ids and delete or their NUL-separated twins (batch_list.c), one
 * array (batch_upload.c), and the temporary files that rsync makes of those before it renames them
 * (temporary.h).
 */
#ifndef VECFS_FS_CONTROL_BATCH_H
#define VECFS_FS_CONTROL_BATCH_H

#include "fs/request/ops.h"

/* Whether there is what this NODE_TEXT or NODE_UPLOAD names, be it well or refused. */
bool batch_has(struct mount *s, uint32_t batch, const struct node *node);
/* The schema that its vectors must have; *is_free: nobody has said yet, but for a dim that is not 0. */
int batch_schema(struct mount *s, uint32_t batch, struct vs_schema *out, bool *is_free);
int batch_create(fuse_req_t req, const struct node *dir, const struct create_args *create,
		 struct fuse_entry_param *e, struct fuse_file_info *fi);
int batch_unlink(fuse_req_t req, const struct node *dir, const char *name);
/* A temporary file of the control directory becomes what it was made for, or gets another temporary name. */
int batch_rename(struct mount *s, uint32_t batch, const char *name, const char *new_name, bool exclusive);
/* The temporary file of this name, if there is one. */
bool batch_find_temporary(uint32_t batch, const char *name, struct node *out);
/* Applies tx/B to its collection; durable when it returns 0. -EINPROGRESS: result will tell. */
int batch_commit(struct mount *s, const struct vs_collection_info *batch);
/* Removes a batch with everything in it, or a collection that is empty; open files of its vectors keep those.
 */
int batch_remove(struct mount *s, uint32_t id);
/* Says of a file being opened that its bytes go straight to the engine, which remembers nothing of a writer;
 * and what its close(2) does then, under -o sync only. */
void batch_open_bytes(struct mount *s, struct fuse_file_info *fi);
int batch_flush_bytes(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi,
		      bool *changed);
/* The batch is gone: what is remembered of it, too. */
void batch_forget(uint32_t batch);
/* Logs "docs/.vecfs/tx/B/.vecfs/NAME: refused: " and the reason, which the commit will give, too (refusal.h).
 */
__attribute__((format(printf, 3, 4))) void batch_refuse(struct mount *s, const struct node *node,
							const char *format, ...);
/* The same without the log. */
void batch_remember(struct mount *s, const struct node *node, const char *reason);
/* It is being written: should that never come to its end, the commit says so. */
void batch_begin(struct mount *s, const struct node *node);
/* It is well now, or gone. */
void batch_forgive(struct mount *s, const struct node *node);

#endif
