/* SPDX-License-Identifier: Apache-2.0 */
/*
 * id_index - finds an entry number by the hash of its id.
 *
 * Extendible hashing (Fagin, Nievergelt, Pippenger, Strong, TODS 1979): a directory of 2^depth page numbers,
 * indexed by the hash's top bits; a full page is split in two, so that growth never stops the world and never
 * needs more than a page of rehashing. A page holds 64 entries of 6 bytes, unordered; a byte of the hash
 * (tag) for each is compared 16 at a time. Ids themselves are not here: the caller confirms candidates.
 *
 * Pages are full to 69 % on the average, and to 55 % at times, since all of them are split at about the same
 * time. On the disk they are packed (index_file.h): in the directory's order, without what is free in them.
 * Packed pages are used where they are mapped; whoever inserts into one gets a page of its own first.
 *
 * Not thread-safe: readers share the store's lock, writers hold it alone.
 */
#ifndef VECFS_STORE_COLLECTION_ID_INDEX_H
#define VECFS_STORE_COLLECTION_ID_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INDEX_PAGE_SLOTS 64u
#define INDEX_SCAN_BYTES 16u /* that many tags are read at once: so much lies behind the last of a pack */

struct index_page {
	uint8_t depth; /* bits of the hash that all entries here share */
	uint8_t count;
	uint8_t reserved[6];
	uint8_t tag[INDEX_PAGE_SLOTS];
	uint8_t high[INDEX_PAGE_SLOTS];
	uint32_t low[INDEX_PAGE_SLOTS];
};

struct packed_page {
	uint32_t first; /* of its entries in the pack */
	uint8_t depth, count;
};

/* Entries in arrays, page after page: a private mapping that the index does not own. */
struct index_pack {
	uint32_t *low;
	uint8_t *tag;
	uint8_t *high; /* NULL: all of them are 0 */
};

struct id_index {
	unsigned depth;
	uint32_t *directory; /* of numbers of pages, or INDEX_PACKED | of packed ones. NULL while empty */
	struct index_page **chunks; /* the pages */
	uint32_t pages, chunk_count;
	struct index_pack pack;
	struct packed_page *packed;
	uint32_t packed_pages;
};
#define INDEX_PACKED (1u << 31)

/* The entries of a page, wherever it is. */
struct index_slots {
	uint8_t *tag;
	uint8_t *high; /* NULL: all 0 */
	uint32_t *low;
	uint8_t *count;
	uint8_t depth;
};

/* Tells whether an entry has the id looked for. */
typedef bool (*id_index_match_fn)(void *arg, uint64_t entry);
/* The hash of an existing entry's id. An error ends what asked for it, and nothing has changed. */
typedef int (*id_index_hash_fn)(void *arg, uint64_t entry, uint64_t *hash);

void id_index_init(struct id_index *ix);
void id_index_free(struct id_index *ix);
/* Entry numbers are below 2^40 and not 0. Returns the matching entry, or 0. */
uint64_t id_index_find(const struct id_index *ix, uint64_t hash, id_index_match_fn match, void *arg);
/*
 * Fetches what id_index_find will look at, for who has many hashes to find: first steps 0 of all of them,
 * then steps 1, then 2. Each needs what the one before has fetched.
 */
#define INDEX_FETCH_STEPS 3u
void id_index_fetch(const struct id_index *ix, uint64_t hash, unsigned step);
/* All steps, of so many hashes as the processor's caches have room for. */
#define INDEX_FETCH_HASHES 128u
void id_index_fetch_all(const struct id_index *ix, const uint64_t *hashes, uint32_t count);
/*
 * Gives an empty index the pages that it will have when hashes are in it of which so many (255: as many or
 * more) begin with each value of `bits` bits: then no page need be split, and no hash computed again.
 * -ENOMEM; -EOVERFLOW.
 */
int id_index_lay_out(struct id_index *ix, const uint8_t *counts, unsigned bits);
/* As many bits as id_index_lay_out needs for so many hashes. */
unsigned id_index_bits(uint64_t hashes);
/* Gives an empty index the pages that so many entries take, so that it need not grow by splitting them, each
 * of which looks 64 ids up. Without effect if -ENOMEM: it grows then. */
int id_index_prepare(struct id_index *ix, uint64_t count);
/* Makes sure that one insertion of this hash cannot fail. -ENOMEM; -EOVERFLOW: too many equal hashes;
 * or what hash_of said. */
int id_index_reserve(struct id_index *ix, uint64_t hash, id_index_hash_fn hash_of, void *arg);
/* The same of one insertion that a removal of this hash precedes. -ENOMEM. */
int id_index_reserve_replacement(struct id_index *ix, uint64_t hash);
/* After one of these. The entry must not be there yet. */
void id_index_insert(struct id_index *ix, uint64_t hash, uint64_t entry);
/* Without effect if it is not there, as can be with an index file that has a good checksum and wrong
 * contents. */
void id_index_remove(struct id_index *ix, uint64_t hash, uint64_t entry);
/* Removes all entries of the page of a hash of which is_gone says so; with alike only those that are as alike
 * as two entries of one hash. */
void id_index_sweep(struct id_index *ix, uint64_t hash, bool alike, id_index_match_fn is_gone, void *arg);

/* The page at *at of the directory, which is 0 at first; *at moves to the next one. False: there is none. */
bool id_index_next_page(const struct id_index *ix, uint64_t *at, struct index_slots *out);
/*
 * Makes an empty index of packed pages, which have these depths and counts, in the directory's order. The
 * pack stays as long as the index. -EUCLEAN: that is no index; -ENOMEM.
 */
int id_index_use_pack(struct id_index *ix, unsigned depth, const struct index_pack *pack,
		      const uint8_t *depths, const uint8_t *counts, uint32_t pages);
/* How many entries there are in pages with these counts. */
uint64_t id_index_count(const uint8_t *counts, uint32_t pages);

#endif
