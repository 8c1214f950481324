/* SPDX-License-Identifier: Apache-2.0 */
/* vector - vector files: their names and attributes. Open ones are files (file.h). */
#ifndef VECFS_FS_TREE_VECTOR_H
#define VECFS_FS_TREE_VECTOR_H

#include "fs/request/ops.h"

#define VECTOR_LIMIT (S_IFREG | 07777) /* a vector has permissions of its own */

extern const struct node_ops vector_ops;

int vector_lookup(struct mount *s, uint32_t collection, const char *name, struct fuse_entry_param *e);
/* Fills e from attributes that the engine gave; takes no lock of the engine. */
void vector_entry(struct mount *s, uint32_t collection, const struct vs_attr *attr,
		  struct fuse_entry_param *e);
int vector_unlink(fuse_req_t req, const struct node *dir, const char *name);
int vector_rename(struct mount *s, uint32_t from, const char *name, uint32_t to, const char *new_name,
		  bool exclusive);
/* Logs "docs/apple: refused: " and the reason. */
__attribute__((format(printf, 4, 5))) void vector_refuse(struct mount *s, uint32_t collection,
							 const char *name, const char *format, ...);

#endif
