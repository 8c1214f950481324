/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name_lock - whoever changes what a name means holds its lock. The kernel locks directories, but a new
 * vector appears with a FLUSH, which locks none; and between finding out which vector will lose its name and
 * the change itself the answer must not change (inode.h).
 */
#ifndef VECFS_FS_INODE_NAME_LOCK_H
#define VECFS_FS_INODE_NAME_LOCK_H

#include <stdint.h>

struct name_lock {
	unsigned first, last; /* the locks held, which may be one and the same */
};

struct name_lock name_lock_take(uint32_t collection, const char *name);
struct name_lock name_lock_take_two(uint32_t collection, const char *name, uint32_t other_collection,
				    const char *other_name);
void name_lock_release(struct name_lock held);

#endif
