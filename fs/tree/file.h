/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file - an open vector file: opening, creating, reading, writing, closing. What it has written and not yet
 * published is the matter of staging.h.
 */
#ifndef VECFS_FS_TREE_FILE_H
#define VECFS_FS_TREE_FILE_H

#include "fs/inode/open_files.h"
#include "fs/inode/inode.h"
#include "fs/request/ops.h"
#include "fs/inode/creating.h"

enum file_state {
	HANDLE_EXISTS,  /* written bytes modify the vector; a run from offset 0 on may be staged */
	HANDLE_NEW,     /* the vector is to appear when it is complete */
	HANDLE_REPLACE, /* the vector is to be replaced when the new one is complete */
	HANDLE_REFUSED, /* too much was written: nothing but truncation mends that */
};

struct file {
	struct open_file open_file;
	struct inode *inode;
	struct file *next; /* of the same vector */
	bool writable;
	bool readable;     /* as well: it may be mapped and written so */
	bool appends;      /* O_APPEND */
	bool unprivileged; /* opened by somebody whose writes take set-user-ID away */
	bool is_aliased;   /* the kernel knew the vector by an earlier number than it has */
	bool untouched;    /* not used since it was opened: a truncation by its opener is open(2)'s own */
	pid_t opener;      /* its thread; 0 where that cannot be told */

	/* Under inode->lock: */
	bool has_owner;
	uint64_t owner; /* the kernel's mark of the process that used it first: its lock_owner */
	enum file_state state;
	bool is_new;      /* created by this file, and not yet published: its name is in creating */
	bool awaits_map;  /* was truncated, and closed with nothing written, as who has mapped it does */
	bool told;        /* the refusal of the bytes staged now has been logged */
	bool unsynced;    /* something was published, and no close has made it durable yet */
	bool counted;     /* in inode->staged */
	size_t row_bytes; /* 0: dim not fixed yet */
	unsigned char *staged;
	size_t capacity;
	size_t size;        /* so many bytes are staged: of the file, or of a run */
	size_t filled;      /* so many, from the start, were written; others may be holes */
	int64_t written_ms; /* when the last of them was, on CLOCK_MONOTONIC */
	unsigned which;     /* VS_SET_*: was set while the file is staged, so it is published with it */
	struct vs_attr attr;
	struct creating creating;
	char name[]; /* if is_new */
};

int file_create(fuse_req_t req, const struct node *dir, const struct create_args *create,
		struct fuse_entry_param *e, struct fuse_file_info *fi);
int file_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi);
ssize_t file_read(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
		  const struct fuse_file_info *fi);
int file_write(fuse_req_t req, const struct node *node, const void *buf, size_t size, off_t off,
	       const struct fuse_file_info *fi);
int file_flush(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi, bool *changed);
int file_fsync(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi);
void file_release(struct mount *s, const struct node *node, const struct fuse_file_info *fi);
int file_allocate(struct mount *s, const struct node *node, uint64_t end, bool keep_size,
		  const struct fuse_file_info *fi);
/* Publishes what writers have left staged that pause; false if nothing is staged at all. For one thread. */
bool file_settle_paused(struct mount *s);

static inline struct file *file_of(const struct fuse_file_info *fi)
{
	return (struct file *)(uintptr_t)fi->fh;
}

#endif
