/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open_files - all open files, whatever they are of: when the mount is taken away from those who have them
 * open, no RELEASE comes for them.
 */
#ifndef VECFS_FS_INODE_OPEN_FILES_H
#define VECFS_FS_INODE_OPEN_FILES_H

#include <stdint.h>

struct mount;

/* The first member of whatever a fuse_file_info's fh points to. */
struct open_file {
	struct open_file *prev, *next;
	uint64_t ino;
};

void open_files_add(struct open_file *h, uint64_t ino);
void open_files_remove(struct open_file *h);
/* Releases what is left; no request is under way any more. */
void open_files_release_all(struct mount *s);

#endif
