/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ino_alias - where vectors are that have moved to another collection, and so have another number. The kernel
 * goes on using the old one, for open files and for names that it has cached. A cache: a newer entry takes
 * the place of an older one, but rather not of one that leads to an open file.
 */
#ifndef VECFS_FS_INODE_INO_ALIAS_H
#define VECFS_FS_INODE_INO_ALIAS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

/* The kernel's cached names of moved vectors are invalidated long before so many moves. */
#define FORWARD_SETS 1024
#define FORWARD_WAYS 16

struct inode_table;

struct ino_aliases {
	pthread_mutex_t lock;
	atomic_bool any; /* mostly there is none */
	struct ino_alias_set {
		unsigned added;
		struct {
			uint64_t from, to; /* 0: none */
		} ways[FORWARD_WAYS];
	} sets[FORWARD_SETS];
};

void ino_alias_init(struct ino_aliases *f);
void ino_alias_destroy(struct ino_aliases *f);
/* The number itself if nothing is known of it. */
uint64_t ino_alias_locate(struct ino_aliases *f, uint64_t ino);
void ino_alias_add(struct ino_aliases *f, struct inode_table *inodes, uint64_t from, uint64_t to);

#endif
