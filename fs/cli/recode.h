/* SPDX-License-Identifier: Apache-2.0 */
/* recode - numbers of one dtype written as another. Pure functions on little-endian arrays. */
#ifndef VECFS_FS_CLI_RECODE_H
#define VECFS_FS_CLI_RECODE_H

#include <stdbool.h>
#include <stddef.h>

#include "store/store.h"

/* Whether recode() knows the way: any dtype as itself, and among f32, f16 and bf16. */
bool recode_is_possible(enum vs_dtype from, enum vs_dtype to);
/* Writes the n numbers at in, of dtype from, to out as dtype to, another one. They must not overlap. */
void recode(enum vs_dtype from, const void *in, enum vs_dtype to, void *out, size_t n);

#endif
