/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inode - the vectors that are in use: with an open file, or in the middle of losing their name.
 *
 * Unlinked files that are open. A file that is open when it is unlinked or replaced stays readable through
 * its descriptors. The engine forgets a vector with its name, so whoever takes a name away preserves the
 * vector first: inode_preserve_begin() copies it if it has an open file or was looked up just now
 * (lookup_cache.h), and makes those who open it meanwhile do the same; inode_preserve_end() ends that, and
 * puts the copy into the orphan cache for an open that raced with the unlink (orphan_cache.h).
 */
#ifndef VECFS_FS_INODE_INODE_H
#define VECFS_FS_INODE_INODE_H

#include <pthread.h>
#include <stdatomic.h>

#include "fs/inode/draft.h"
#include "fs/request/mount.h"

struct file;

/* A vector as it was when it lost its name. */
struct orphan_data {
	struct vs_attr attr;
	unsigned char bytes[];
};

struct inode {
	struct inode *next;       /* in its bucket */
	atomic_uint_fast64_t ino; /* it changes when the vector moves to another collection */
	unsigned refs;            /* under the bucket's lock */
	atomic_uint staged; /* files with bytes that are not yet published: attributes must not be cached */

	pthread_mutex_t lock; /* of all below and of what files have staged; held when the engine is called */
	struct file *files;
	unsigned saving;          /* operations under way that may take its name away */
	struct orphan_data *copy; /* means something once the engine does not know the vector any more */
	bool replace_next;        /* truncated by path: the next writer replaces it. Holds a reference */
	struct draft draft;       /* pieces of runs that are not published yet */
	bool mapped;              /* through a writable file, and one is left: no runs, no draft */
	bool cached;              /* a reader has opened it since it is in use: the kernel may have pages */
};

struct inode_table *inode_table_new(void);
void inode_table_free(struct inode_table *t);

/* The vector's struct with a reference; made if there is none yet (NULL without memory). */
struct inode *inode_get(struct inode_table *t, uint64_t ino);
/* The same, but NULL if nobody uses the vector. */
struct inode *inode_find(struct inode_table *t, uint64_t ino);
void inode_put(struct inode_table *t, struct inode *o);

/* Where the vector of an inode number is: elsewhere once it has moved to another collection. */
uint64_t inode_locate(struct inode_table *t, uint64_t ino);
/*
 * Around the engine's moving of a vector to another collection: nobody gets a struct for its new number
 * before the old one has that number. to is 0 if it did not move. The kernel, and open files, go on using
 * the old number.
 */
void inode_move_begin(struct inode_table *t);
void inode_move_end(struct inode_table *t, uint64_t from, uint64_t to);

/* -ENOMEM must refuse the operation: open files would lose their vector. */
int inode_preserve_begin(struct mount *s, uint64_t ino, struct inode **out);
/* The operation is over, whether the name is gone or has been kept after all. */
void inode_preserve_end(struct mount *s, struct inode *o);
/* The same for all vectors of a collection that are in use, and those that are opened meanwhile. */
struct inode_set {
	struct inode_set *next; /* in a list of those under way */
	uint32_t collection;
	struct inode **each;
	size_t count;
};
int inode_preserve_all_begin(struct mount *s, uint32_t collection, struct inode_set *all);
void inode_preserve_all_end(struct mount *s, struct inode_set *all);
/* With lock held, for a new file: a copy is made if the vector is about to lose its name. */
int inode_join(struct mount *s, struct inode *o);

/* One more, or one less, file of this vector has something staged. */
void inode_staged(struct inode_table *t, struct inode *o, int change);
/* Whether any file of this vector has something staged. Takes no lock of the engine. */
bool inode_is_staged(struct inode_table *t, uint64_t ino);
/* Calls each(), without any lock, for every vector that has something staged; false if there was none. */
bool inode_each_staged(struct mount *s, void (*each)(struct mount *s, struct inode *o));

#endif
