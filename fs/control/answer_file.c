/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/answer_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "fs/control/control.h"
#include "fs/inode/open_files.h"

struct answer_file {
	struct open_file open_file;
	struct answer_text text;
};

int answer_file_attr(struct mount *s, const struct node *node, answer_make_fn make, struct stat *st,
		     double *timeout_s)
{
	struct answer_text text = {.size = 0};
	int rc = s->stateless ? make(s, NULL, node, &text) : 0;

	free(text.bytes);
	*timeout_s = 0;
	return rc ? rc : control_file_attr(s, node, vs_time_now(), text.size, st);
}

int answer_file_open(fuse_req_t req, const struct node *node, answer_make_fn make, struct fuse_file_info *fi)
{
	struct answer_file *file;
	int rc;

	if ((fi->flags & O_ACCMODE) != O_RDONLY)
		return -EACCES;
	file = calloc(1, sizeof *file);
	rc = file ? make(ops_serve(req), req, node, &file->text) : -ENOMEM;
	if (rc) {
		free(file);
		return rc;
	}
	fi->fh = (uintptr_t)file;
	fi->direct_io = 1;
	return 0;
}

ssize_t answer_file_read(struct mount *s, const struct node *node, answer_make_fn make, void *buf,
			 size_t size, off_t off, const struct fuse_file_info *fi)
{
	const struct answer_file *file = (const struct answer_file *)(uintptr_t)fi->fh;
	struct answer_text made = {.size = 0};
	ssize_t got;
	int rc;

	if (file)
		return ops_copy_part(file->text.bytes, file->text.size, buf, size, off);
	rc = make(s, NULL, node, &made);
	got = rc ? rc : ops_copy_part(made.bytes, made.size, buf, size, off);
	free(made.bytes);
	return got;
}

void answer_file_release(struct mount *s, const struct node *node, const struct fuse_file_info *fi)
{
	struct answer_file *file = (struct answer_file *)(uintptr_t)fi->fh;

	(void)s;
	(void)node;
	free(file->text.bytes);
	free(file);
}
