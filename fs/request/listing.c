/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/request/listing.h"

bool listing_add(struct listing *l, const char *name, const struct fuse_entry_param *e, off_t cookie)
{
	size_t room = l->size - l->used, need;

	if (l->plus)
		need = fuse_add_direntry_plus(l->req, l->buf + l->used, room, name, e, cookie);
	else
		need = fuse_add_direntry(l->req, l->buf + l->used, room, name, &e->attr, cookie);
	if (need > room)
		return false;
	l->used += need;
	return true;
}

bool listing_add_bare(struct listing *l, const char *name, uint64_t ino, mode_t type, off_t cookie)
{
	/* e.ino 0: the kernel does not take it for a lookup. */
	struct fuse_entry_param e = {.attr = {.st_ino = ino, .st_mode = type}};

	return listing_add(l, name, &e, cookie);
}

bool listing_dots(struct listing *l, uint64_t ino, uint64_t parent_ino, off_t off)
{
	return (off >= 1 || listing_add_bare(l, ".", ino, S_IFDIR, 1)) &&
	       (off >= LISTING_DOTS || listing_add_bare(l, "..", parent_ino, S_IFDIR, LISTING_DOTS));
}
