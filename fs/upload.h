/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upload - a batch's vectors.*: a file of many rows that is written from front to back, and goes straight
 * into the engine. Whether it is what its header says is told by the close(2) of the process that opened it.
 */
#ifndef VECFS_FS_UPLOAD_H
#define VECFS_FS_UPLOAD_H

#include "fs/ops.h"

/* Drops the batch's upload. */
int upload_drop(struct serve *s, const struct node *node);

#endif
