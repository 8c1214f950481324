/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lookup_cache - which vectors were looked up last. The kernel opens by number what it has looked up by name;
 * if that has lost its name in between, the kernel looks it up again, but only once. So what was looked up
 * recently is treated as if it were open already.
 */
#ifndef VECFS_FS_INODE_LOOKUP_CACHE_H
#define VECFS_FS_INODE_LOOKUP_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECENT_MAX 256

void lookup_cache_put(uint64_t ino);
bool lookup_cache_has(uint64_t ino);
/* Those of a collection: how many. */
size_t lookup_cache_of(uint32_t collection, uint64_t inos[RECENT_MAX]);

#endif
