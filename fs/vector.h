/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vector - vector files: names, attributes, handles, reading. What a handle has written but not yet published
 * is in staging.h.
 */
#ifndef VECFS_FS_VECTOR_H
#define VECFS_FS_VECTOR_H

#include "fs/opened.h"
#include "fs/ops.h"
#include "fs/pending.h"

enum vector_state {
	VECTOR_EXISTS,  /* written bytes modify the vector */
	VECTOR_NEW,     /* the vector is to appear when it is complete */
	VECTOR_REPLACE, /* the vector is to be replaced when the new one is complete */
	VECTOR_REFUSED, /* too much was written: nothing but truncation mends that */
};

struct vector_handle {
	struct opened *opened;
	struct vector_handle *next; /* of the same vector */
	bool writable;
	bool untouched; /* since it was opened: a truncation by its opener is open(2)'s own */
	pid_t opener;   /* its thread */

	/* Under opened->lock: */
	enum vector_state state;
	bool born;    /* by this handle, and not yet published: its name is pending */
	bool told;    /* of the bytes staged now, that they are refused */
	bool unsynced; /* something was published, and no close has made it durable yet */
	bool counted; /* in opened->staged */
	uint32_t collection; /* of a NEW one */
	size_t row_bytes; /* 0: dim not fixed yet */
	unsigned char *staged;
	size_t capacity, size; /* the first size bytes of the file, or of the modification at its start, are staged */
	unsigned which;        /* VS_SET_*: was set while staged, so it is published with it */
	struct vs_attr attr;
	struct pending pending;
	char name[]; /* of a born one */
};

static inline struct vector_handle *vector_handle(const struct fuse_file_info *fi)
{
	return (struct vector_handle *)(uintptr_t)fi->fh;
}

int vector_lookup(struct serve *s, uint32_t collection, const char *name, struct fuse_entry_param *e);
/* Fills e from attributes that the engine gave; takes no lock of the engine. */
void vector_entry(struct serve *s, uint32_t collection, const struct vs_attr *attr, struct fuse_entry_param *e);
int vector_create(fuse_req_t req, const struct node *dir, const struct ops_birth *birth, struct fuse_entry_param *e,
                  struct fuse_file_info *fi);
int vector_unlink(fuse_req_t req, const struct node *dir, const char *name);
int vector_rename(struct serve *s, uint32_t from, const char *name, uint32_t to, const char *new_name,
                  bool exclusive);
/* Logs "docs/apple: refused: " and the reason. */
__attribute__((format(printf, 4, 5))) void vector_refuse(struct serve *s, uint32_t collection, const char *name,
                                                         const char *format, ...);

#endif
