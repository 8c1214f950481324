/* SPDX-License-Identifier: Apache-2.0 */
/*
 * in_memory - the log of a store that is only read. Its rows go into the overlays of the collections, which
 * is where those of any log are until they are applied, and stay there; so the files are served as they are.
 */
#ifndef VECFS_STORE_REPLAY_IN_MEMORY_H
#define VECFS_STORE_REPLAY_IN_MEMORY_H

#include <stddef.h>

struct vs_store;

/* Opens all collections with their log in memory. Errors as of recover. */
int in_memory_replay(struct vs_store *s, char *why, size_t why_size);
/* Frees what that log needs, after everything that points into it. */
void in_memory_free(struct vs_store *s);

#endif
