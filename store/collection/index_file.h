/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index_file - a collection's index on disk, written by a clean close so that the next opening need not scan
 * the rows. It is mapped, not read, and trusted only as a whole: stamp and sum are in the catalog.
 */
#ifndef VECFS_STORE_COLLECTION_INDEX_FILE_H
#define VECFS_STORE_COLLECTION_INDEX_FILE_H

#include <stdbool.h>
#include <stdint.h>

struct collection;
struct io;

/* Maps the index file that the catalog names. -ENOENT, -EUCLEAN: it is not there or not whole; -EPROTO: it is
 * of a kind that is not read any more. Scan the rows instead. */
int index_file_load(struct io *io, struct collection *c);
/* Writes a new one, and makes it durable if sync says so; c->index_stamp, which is this one that no other
 * clean close has had, and index_sum tell which. Nobody may use the store. */
int index_file_write(struct io *io, struct collection *c, uint64_t stamp, bool sync);
/* Unmaps the index file, and so drops the index, of a collection without rows. */
void image_drop(struct io *io, struct collection *c);
/* An empty collection has none. */
int index_file_remove(struct io *io, struct collection *c);

#endif
