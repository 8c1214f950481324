/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answer_file - a text that takes a search, and is therefore made when its file is opened: near/ID, and the
 * recall of a view. It stays as it is while the file is open.
 *
 * Its size is not known before: it is told as 0, and reads are direct. Only a stateless mount, which opens
 * nothing, must tell it: there the text is made for each request, and that of a stat(2) must be that of all
 * reads.
 */
#ifndef VECFS_FS_CONTROL_ANSWER_FILE_H
#define VECFS_FS_CONTROL_ANSWER_FILE_H

#include <stddef.h>

#include "fs/request/ops.h"

struct answer_text {
	char *bytes; /* freed by who has asked for it */
	size_t size;
};

/* Makes the text of a node. req is who waits for it and may give it up; NULL on a stateless mount. */
typedef int (*answer_make_fn)(struct mount *s, fuse_req_t req, const struct node *node,
			      struct answer_text *out);

int answer_file_attr(struct mount *s, const struct node *node, answer_make_fn make, struct stat *st,
		     double *timeout_s);
/* -EACCES to who wants to write. */
int answer_file_open(fuse_req_t req, const struct node *node, answer_make_fn make, struct fuse_file_info *fi);
ssize_t answer_file_read(struct mount *s, const struct node *node, answer_make_fn make, void *buf,
			 size_t size, off_t off, const struct fuse_file_info *fi);
void answer_file_release(struct mount *s, const struct node *node, const struct fuse_file_info *fi);

#endif
