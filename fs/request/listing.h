/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listing - the reply to a READDIR or READDIRPLUS being filled. Offsets are cookies, each the place after an
 * entry: 1 is after ".", 2 after "..", and then what the directory makes of its entries: numbers, never
 * positions.
 */
#ifndef VECFS_FS_REQUEST_LISTING_H
#define VECFS_FS_REQUEST_LISTING_H

#include "fs/request/ops.h"

#define LISTING_DOTS 2 /* the offset after "." and ".." */

struct listing {
	fuse_req_t req;
	char *buf;
	size_t size, used;
	bool plus;
};

/* Adds "." and ".." as far as off asks for them. False when the reply is full, as for the others. */
bool listing_dots(struct listing *l, uint64_t ino, uint64_t parent_ino, off_t off);
/* An entry whose attributes the kernel may keep; without plus only its number and type are looked at. */
bool listing_add(struct listing *l, const char *name, const struct fuse_entry_param *e, off_t cookie);
/* An entry that tells only its number and type. */
bool listing_add_bare(struct listing *l, const char *name, uint64_t ino, mode_t type, off_t cookie);

#endif
