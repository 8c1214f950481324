/* SPDX-License-Identifier: Apache-2.0 */
/*
 * staging - what a handle has written and nobody else sees yet.
 *
 * A new vector, and the replacement of one that was truncated, is collected in the handle and published,
 * whole, by the first flush or fsync that finds it complete. A modification that starts at offset 0 is
 * collected as long as it goes on without a gap, so that a writer who writes the whole row in pieces
 * publishes it in one; other modifications are published at once.
 *
 * FLUSH comes for each close(2) of each process that has inherited the descriptor ("(head a; head b)
 * >docs/x": three or more), so an incomplete vector is refused only when the process that opened it closes
 * it, and what is staged is dropped not before the last descriptor is gone: a later write may still complete
 * it.
 */
#ifndef VECFS_FS_STAGING_H
#define VECFS_FS_STAGING_H

#include "fs/handle.h"

/* All of them with h->opened->lock held. */

/* from_cache: a mapping's page, which any handle of the file may bring. */
int staging_write(struct serve *s, struct handle *h, const void *data, size_t size, size_t off,
		  bool from_cache);
/* The file is empty; what is written from now on is a new vector, or the replacement of one. */
void staging_start_over(struct serve *s, struct handle *h);
int staging_truncate(struct serve *s, struct handle *h, uint64_t size);
/*
 * Publishes what is complete. What is not is -EINVAL and logged if judge, else -EAGAIN; and so is what would
 * fix the dim of the collection. For a handle that was born with a name, with the lock of that held, too.
 */
int staging_publish(struct serve *s, struct handle *h, bool judge);
/* At the end of the handle. */
void staging_drop(struct serve *s, struct handle *h);
/* Copies what is staged over buf, which holds got bytes of the published vector. */
ssize_t staging_read(const struct handle *h, void *buf, ssize_t got, size_t size, size_t off);
/* Whether the file is nothing but what is staged: the published vector need not be read. */
bool staging_hides(const struct handle *h);
/* Attributes were set: they must outlive the publication. */
void staging_set(struct handle *h, unsigned which, const struct vs_attr *attr);

#endif
