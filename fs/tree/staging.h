/* SPDX-License-Identifier: Apache-2.0 */
/*
 * staging - what an open file has written and others do not see yet. fs/README.md, "Open vectors", has the
 * table of states that this is.
 *
 * A new vector, and the replacement of one that was truncated, is collected in the file and published,
 * whole, by the first flush or fsync that finds it complete. A modification of a vector is published by the
 * write itself, but for a run: writes that follow each other from offset 0 on, which may be going to be the
 * whole vector. A run is published as one when it is whole, and as what it is by whatever cannot be a part of
 * it: another write, a page fault, a sync, a close, a pause of the writer.
 *
 * FLUSH comes for each close(2) of each process that has inherited the descriptor ("(head a; head b)
 * >docs/x": three or more), so an incomplete vector is refused only when the process that opened it closes
 * it, and what is staged is dropped not before the last descriptor is gone: a later write may still complete
 * it.
 */
#ifndef VECFS_FS_TREE_STAGING_H
#define VECFS_FS_TREE_STAGING_H

#include "fs/tree/file.h"

/* A writer that pauses for so long is not in the middle of writing a whole vector. */
#define STAGING_PAUSE_MS 150

/* All of them with h->inode->lock held. */

int staging_write(struct mount *s, struct file *h, const void *data, size_t size, size_t off);
/* The kernel writes back a page of a mapping; it may bring it by any writable file of the inode. */
int staging_write_page(struct mount *s, struct file *h, const void *data, size_t size, size_t off);
/*
 * Somebody reads through a mapping of the file. All mappings of an inode share their pages, and those show
 * what is published: so this publishes what is staged, where it is not yet whole with zeros.
 */
int staging_fault(struct mount *s, struct file *h);
/* The file is empty; what is written from now on is a new vector, or the replacement of one. */
void staging_start_over(struct mount *s, struct file *h);
int staging_truncate(struct mount *s, struct file *h, uint64_t size);
/* The file has at least so many bytes. */
int staging_extend(struct mount *s, struct file *h, uint64_t size);
/*
 * Publishes the staged vector if it is complete. Otherwise -EAGAIN, or with judge -EINVAL and a line in the
 * log; so it is with a vector that would fix the dim of the collection, which only judge allows. For a file
 * that is_new the lock of its name is held.
 */
int staging_publish(struct mount *s, struct file *h, bool judge);
/*
 * The same with judge, at a close by whoever has opened the file. But who has truncated a vector and written
 * nothing may have mapped it, to write it so (numpy.memmap, "w+"): a file system hears nothing of that before
 * a page is used. So this is 0; the first page that is used makes the vector zeros, and without any it stays
 * as it was.
 */
int staging_close(struct mount *s, struct file *h);
/* Whether something is staged that its writer will hardly go on with: it has paused. */
bool staging_is_paused(const struct file *h, int64_t now_ms);
int64_t staging_now_ms(void);
/* At the end of the file; the lock of its name is held as for staging_publish. */
void staging_drop(struct mount *s, struct file *h);
/* Copies what is staged over buf, which holds got bytes of the published vector. */
ssize_t staging_read(const struct file *h, void *buf, ssize_t got, size_t size, size_t off);
/* Whether the file is nothing but what is staged: the published vector need not be read. */
bool staging_hides(const struct file *h);
/* Attributes were set: they must outlive the publication. */
void staging_set(struct file *h, unsigned which, const struct vs_attr *attr);

#endif
