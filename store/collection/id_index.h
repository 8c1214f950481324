/* SPDX-License-Identifier: Apache-2.0 */
/*
 * id_index - finds an entry number by the hash of its id.
 *
 * Extendible hashing (Fagin, Nievergelt, Pippenger, Strong, TODS 1979): a directory of 2^depth page numbers,
 * indexed by the hash's top bits; a full page is split in two, so that growth never stops the world and never
 * needs more than a page of rehashing. A page holds 64 entries of 6 bytes, unordered; a byte of the hash
 * (tag) for each is compared 16 at a time. Ids themselves are not here: the caller confirms candidates.
 *
 * Not thread-safe: readers share the store's lock, writers hold it alone.
 */
#ifndef VECFS_STORE_COLLECTION_ID_INDEX_H
#define VECFS_STORE_COLLECTION_ID_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INDEX_PAGE_SLOTS 64

struct index_page {
	uint8_t depth; /* bits of the hash that all entries here share */
	uint8_t count;
	uint8_t reserved[6];
	uint8_t tag[INDEX_PAGE_SLOTS];
	uint8_t high[INDEX_PAGE_SLOTS];
	uint32_t low[INDEX_PAGE_SLOTS];
};

struct id_index {
	unsigned depth;
	uint32_t *directory; /* NULL while empty */
	uint32_t pages;
	uint32_t image_pages;       /* pages 0.. live in the image, */
	struct index_page *image;   /* a private mapping that the index does not own; */
	struct index_page **chunks; /* the others in chunks of their own */
	uint32_t chunk_count;
};

/* Tells whether an entry has the id looked for. */
typedef bool (*id_index_match_fn)(void *arg, uint64_t entry);
/* The hash of an existing entry's id. An error ends what asked for it, and nothing has changed. */
typedef int (*id_index_hash_fn)(void *arg, uint64_t entry, uint64_t *hash);

void id_index_init(struct id_index *ix);
void id_index_free(struct id_index *ix);
/* Entry numbers are below 2^40 and not 0. Returns the matching entry, or 0. */
uint64_t id_index_find(const struct id_index *ix, uint64_t hash, id_index_match_fn match, void *arg);
/* Makes sure that one insertion of this hash cannot fail. -ENOMEM; -EOVERFLOW: too many equal hashes;
 * or what hash_of said. */
int id_index_reserve(struct id_index *ix, uint64_t hash, id_index_hash_fn hash_of, void *arg);
/* After id_index_reserve. The entry must not be there yet. */
void id_index_insert(struct id_index *ix, uint64_t hash, uint64_t entry);
/* Without effect if it is not there, as can be with an index file that has a good checksum and wrong
 * contents. */
void id_index_remove(struct id_index *ix, uint64_t hash, uint64_t entry);
struct index_page *index_page(const struct id_index *ix, uint32_t n);

#endif
