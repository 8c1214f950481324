/* SPDX-License-Identifier: Apache-2.0 */
/*
 * temporary - files in a batch's control directory that are to be renamed to what they will be, as rsync
 * writes them: ".vectors.npy.Xb3h2K", later "vectors.npy". Each has a number, which is that of its file in
 * the engine; the names are kept in memory, so that after a crash nothing is left of them but bytes that go
 * with the batch.
 */
#ifndef VECFS_FS_CONTROL_TEMPORARY_H
#define VECFS_FS_CONTROL_TEMPORARY_H

#include <stdbool.h>
#include <stdint.h>

#define TEMPORARY_COUNT 15u /* of one batch; the last number of the engine's is not for names */

/* The number of the batch's file with this name, or -ENOENT. */
int temporary_find(uint32_t batch, const char *name);
/* Gives the name a number; -ENOSPC if there is none left, -ENOMEM. */
int temporary_add(uint32_t batch, const char *name);
/* Copies the name of a number to name (of VS_NAME_MAX + 1 bytes); false if it has none. */
bool temporary_name(uint32_t batch, unsigned number, char *name);
void temporary_remove(uint32_t batch, const char *name);
void temporary_rename(uint32_t batch, const char *name, const char *new_name);
/* The batch is gone. */
void temporary_forget(uint32_t batch);

#endif
