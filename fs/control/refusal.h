/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refusal - what of an open batch was refused: as long as any of it stands, its commit is refused, too.
 *
 * Whoever wrote the refused file may not have listened to close(2), and what is left, often nothing, must not
 * pass for what the batch was meant to be. A refusal ends when its file is written anew, and well, or
 * removed; or with the batch.
 *
 * A file is named by its key: the id of a vector, or REFUSAL_VECTORS, REFUSAL_IDS, ... for what is in the
 * batch's control directory. Refusals are kept in memory and, as far as the disk lets, in a file of the
 * batch, so that they outlive the daemon. Functions may be called from any thread, with any lock but the
 * engine's.
 */
#ifndef VECFS_FS_CONTROL_REFUSAL_H
#define VECFS_FS_CONTROL_REFUSAL_H

#include <stdbool.h>
#include <stddef.h>

#include "fs/request/mount.h"

#define REFUSAL_WHY_BYTES 768

/* Keys that are no ids. All arrays are one: a batch has at most one upload. */
#define REFUSAL_VECTORS ".vecfs/vectors"
#define REFUSAL_CONTROL ".vecfs/" /* and the file's name */

/* why is a sentence that names the file. Of several about one file the first stays. */
void refusal_add(struct mount *s, uint32_t batch, const char *key, const char *why);
/* The same for what may still become well: it gives way to any other reason. */
void refusal_begin(struct mount *s, uint32_t batch, const char *key, const char *why);
/* The file is well now, or gone. */
void refusal_remove(struct mount *s, uint32_t batch, const char *key);
bool refusal_has(struct mount *s, uint32_t batch, const char *key);
/* Copies the sentence of the first refusal that stands; false if there is none. */
bool refusal_first(struct mount *s, uint32_t batch, char why[REFUSAL_WHY_BYTES]);
/* Learns what an earlier daemon has left of a batch. */
void refusal_load(struct mount *s, uint32_t batch);
/* Whether this vector, which the batch does not have, was refused, and under which number. */
bool refusal_vector(struct mount *s, uint32_t batch, const char *id, uint64_t *number);
/* Its id, also if the refusal is over, but not yet forgotten. */
bool refusal_vector_name(uint32_t batch, uint64_t number, char id[VS_NAME_MAX + 1]);
/* The batch is gone. */
void refusal_forget(uint32_t batch);

#endif
