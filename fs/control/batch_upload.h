/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch_upload - a batch's vectors.*: a file of many rows.
 *
 * Who only writes it, from front to back, writes straight into the engine: the bytes go to the disk once. All
 * else (a write at another offset, a hole, a size that is set, reading, a mapping) needs a file, so the bytes
 * written so far become one: an array file of the batch, which the commit reads from front to back into the
 * engine. Holes are zeros.
 *
 * Whether it is what its header says is judged at the close(2) of the process that opened it, if it was
 * opened for writing only. Who opened it for reading, too, works on it, maybe for the first of several times
 * (open_memmap of NumPy closes it after the header): what it then lacks is judged at the commit.
 */
#ifndef VECFS_FS_CONTROL_BATCH_UPLOAD_H
#define VECFS_FS_CONTROL_BATCH_UPLOAD_H

#include "fs/request/ops.h"

/* Whether the batch has an array, whole or not; a finished upload goes by any name that it could have. */
bool upload_exists(struct mount *s, const struct node *node);
/* Whether it is listed by this name, of those that a finished upload could have. */
bool upload_is_listed(struct mount *s, const struct node *node);
/* Drops whatever array the batch has. */
int upload_drop(struct mount *s, uint32_t batch);
/* A temporary file becomes the batch's array; refused, and left, if it is not what its header says. */
int upload_take(struct mount *s, const struct node *from, const struct node *to);
/* Before the commit: an array file, if there is one, is read into the engine. -EINVAL and others: why says
 * what it lacks. */
int upload_settle(struct mount *s, uint32_t batch, char *why, size_t why_size);

#endif
