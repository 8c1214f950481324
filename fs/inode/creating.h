/* SPDX-License-Identifier: Apache-2.0 */
/*
 * creating - the names that are being created: a new vector is nobody else's to see until it is complete, but
 * its name is taken for an exclusive create.
 */
#ifndef VECFS_FS_INODE_CREATING_H
#define VECFS_FS_INODE_CREATING_H

#include <stdbool.h>
#include <stdint.h>

struct creating {
	struct creating *next;
	uint32_t collection;
	const char *name; /* of the owner's memory */
	bool refused; /* at a close, after which the name is given back as soon as the kernel tells of it */
};

/* False, and nothing is added, if exclusive and the name is being created already. Waits a moment for one
 * that is refused. */
bool creating_add(struct creating *p, bool exclusive);
/* Its vector was closed incomplete. */
void creating_refuse(struct creating *p);
void creating_remove(struct creating *p);

#endif
