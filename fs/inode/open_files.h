/* SPDX-License-Identifier: Apache-2.0 */
/*
 * held - all open files, whatever they are of: when the mount is taken away from those who have them open, no
 * RELEASE comes for them.
 */
#ifndef VECFS_FS_INODE_OPEN_FILES_H
#define VECFS_FS_INODE_OPEN_FILES_H

#include <stdint.h>

struct serve;

/* The first member of whatever a fuse_file_info's fh points to. */
struct held {
	struct held *prev, *next;
	uint64_t ino;
};

void held_add(struct held *h, uint64_t ino);
void held_remove(struct held *h);
/* Releases what is left; no request is under way any more. */
void held_release_all(struct serve *s);

#endif
