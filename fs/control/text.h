/* SPDX-License-Identifier: Apache-2.0 */
/* text - control files that are text, made when they are opened: what those have in common that can be
 * written by lines, too. */
#ifndef VECFS_FS_CONTROL_TEXT_H
#define VECFS_FS_CONTROL_TEXT_H

#include <pthread.h>

#include "fs/control/lines.h"
#include "fs/inode/open_files.h"
#include "fs/request/ops.h"

#define TEXT_WHY_BYTES 512

/* An open one. */
struct text {
	struct open_file open_file;
	pthread_mutex_t lock;
	char *bytes;
	size_t size;
	uint64_t forgotten; /* of the log: bytes before these, read long ago */
	struct lines lines; /* of one that is being written */
	bool changed;       /* since the last close(2) */
};

struct text *text_of(const struct fuse_file_info *fi);
int text_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s);
int text_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi);
ssize_t text_read(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
		  const struct fuse_file_info *fi);
void text_release(struct mount *s, const struct node *node, const struct fuse_file_info *fi);
/* Truncation is a part of opening one for writing, and says nothing: what no line names stays as it was. */
int text_setattr(fuse_req_t req, const struct node *node, const struct stat *st, int set,
		 struct fuse_file_info *fi);

#endif
