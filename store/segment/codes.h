/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codes - the derived columns of one segment that one model of a view has made, and which rows of them are up
 * to date (store/view/ has all the rest).
 *
 * Two bits a row. `stale`: the row has changed, or come, since its code was written; set by whoever changes
 * it, under the store's lock, alone. `busy`: its code is being written. A third, `valid`, is the codec's: the
 * row can be found. The builder is the only one that takes rows from stale to busy and clears busy, holding
 * the lock shared for the first:
 *
 *   builder   busy := 1, stale := 0, [reads the vector, writes the code], busy := 0
 *   reader    stale? busy?, [reads the code], stale? busy?
 *
 * The reader looks at stale first. If it finds neither bit set, before and after, nobody wrote what it has
 * read in between: whoever did would have been busy at one of the two looks, or has left it stale, or has
 * written what a later snapshot is to see, and then the reader's own has kept the row as it was.
 */
#ifndef VECFS_STORE_SEGMENT_CODES_H
#define VECFS_STORE_SEGMENT_CODES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/segment/column.h"

struct files;
struct segment;

#define CODES_BLOCK_ROWS 64u
#define CODES_PATH_MAX 128
#define CODES_COLUMNS (COLUMN_TAGS - COLUMN_BLOCKS) /* that are read through mappings */

struct codes {
	struct codes *next; /* of the segment's; changed under the store's lock, alone */
	struct files *files;
	unsigned refs;                     /* under the mutex of files: the segment's, and each user's */
	uint64_t owner;                    /* the model whose codes they are */
	char stem[CODES_PATH_MAX];         /* of the files' names: without the last suffix */
	size_t block_bytes[CODES_COLUMNS]; /* of 64 rows in each column; 0: it has no such */
	uint32_t blocks_max;
	_Atomic uint64_t *stale, *busy, *valid; /* a word a block */
	_Atomic uint32_t blocks;                /* that the files have space for */
	_Atomic bool wanted;                    /* rows have become stale since the builder looked */
	/* Mappings, while somebody uses them and then until room is needed; under the mutex of files. */
	void *map[CODES_COLUMNS];
	unsigned users;
	bool mapped;
	struct codes *map_prev, *map_next;
	/* The builder's. */
	bool verified;     /* what was in the files when they were found has been looked at */
	bool dirty;        /* the files may have what the disk has not */
	_Atomic bool gone; /* they are not wanted any more: nothing is mapped anew */
	uint32_t damaged;  /* rows that could not be encoded when it looked last */
	uint32_t shown;    /* rows that the headers tell; UINT32_MAX: not known */
};

/* All rows stale. One reference is the caller's. NULL: no memory. */
struct codes *codes_new(struct files *files, uint32_t rows_max, uint64_t owner, const char *stem,
			const size_t block_bytes[CODES_COLUMNS]);
void codes_get(struct codes *k);
void codes_put(struct codes *k);
/* Makes them the segment's, who takes a reference, or takes them away. Under the store's lock, alone. */
void codes_attach(struct segment *seg, struct codes *k);
void codes_detach(struct segment *seg, struct codes *k);
/* The segment's of this owner, with a reference; NULL: it has none. Under the store's lock. */
struct codes *codes_find(struct segment *seg, uint64_t owner);
/* The same to look at under the store's lock, without a reference. */
const struct codes *codes_look_up(const struct segment *seg, uint64_t owner);
/* Frees a list whose segment goes. */
void codes_free_all(struct codes *first);

/* A file of theirs. */
void codes_path(const struct codes *k, enum segment_column column, char path[CODES_PATH_MAX]);
/* Opens it with these flags of open(2), for the caller to close. */
int codes_open(const struct codes *k, enum segment_column column, int flags);
/* Begins a use of the mappings of all columns that they have; false: they cannot be had. */
bool codes_map(struct codes *k);
void codes_map_done(struct codes *k);

/* Marks a row in each list of codes: under the store's lock, alone. */
void codes_mark(struct codes *first, uint32_t slot);
/* The rows of a block whose codes are not to be read. */
static inline uint64_t codes_unread(const struct codes *k, uint32_t block)
{
	uint64_t stale = atomic_load_explicit(&k->stale[block], memory_order_acquire);

	return stale | atomic_load_explicit(&k->busy[block], memory_order_acquire);
}

#endif
