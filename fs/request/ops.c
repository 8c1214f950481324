/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/request/ops.h"

#include <errno.h>
#include <string.h>

const struct node_ops *ops_of(const struct mount *s, enum node_kind kind)
{
	static const struct node_ops none;

	return s->node_ops[kind] ? s->node_ops[kind] : &none;
}

int ops_entry(struct mount *s, const struct node *node, double entry_timeout_s, struct fuse_entry_param *e)
{
	int rc;

	e->ino = node_ino(node);
	e->entry_timeout = entry_timeout_s;
	rc = ops_of(s, node->kind)->attr(s, node, &e->attr, &e->attr_timeout);
	return rc == -ESTALE ? -ENOENT : rc;
}

unsigned ops_setattr_which(const struct stat *st, int set, struct vs_attr *attr)
{
	unsigned which = 0;

	memset(attr, 0, sizeof *attr);
	attr->perm = (struct vs_perm){st->st_mode & 07777, st->st_uid, st->st_gid};
	attr->mtime = vs_time_of(&st->st_mtim);
	if (set & FUSE_SET_ATTR_MTIME_NOW)
		attr->mtime = vs_time_now();
	if (set & FUSE_SET_ATTR_MODE)
		which |= VS_SET_MODE;
	if (set & FUSE_SET_ATTR_UID)
		which |= VS_SET_UID;
	if (set & FUSE_SET_ATTR_GID)
		which |= VS_SET_GID;
	if (set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW))
		which |= VS_SET_MTIME;
	return which;
}

ssize_t ops_copy_part(const char *bytes, size_t bytes_size, void *buf, size_t size, off_t off)
{
	size_t n = (size_t)off < bytes_size ? bytes_size - (size_t)off : 0;

	if (n > size)
		n = size;
	memcpy(buf, bytes + (n ? off : 0), n);
	return (ssize_t)n;
}
