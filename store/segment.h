/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment - the files of up to 2^shift rows of a collection: vectors (a valid .npy file), rows, names (format.h).
 *
 * Rows and names are read through shared mappings, vectors with pread (an error of the disk is then an error code
 * and not a signal). Everything is written with pwrite, by the applier (apply.h). Space is allocated before a row is
 * acknowledged, so that writing it later cannot fail for want of space.
 */
#ifndef VECFS_STORE_SEGMENT_H
#define VECFS_STORE_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format.h"
#include "io.h"
#include "names.h"
#include "store.h"

enum segment_column { SEGMENT_VECTORS, SEGMENT_ROWS, SEGMENT_NAMES, SEGMENT_COLUMNS };

struct segment {
	uint32_t n;         /* its number in the collection */
	uint32_t count;     /* rows in use, by what is acknowledged */
	uint32_t dead;      /* rows among them that wait for the vacuum, */
	uint64_t *dead_map; /* a bit each (rows_max bits); NULL while dead is 0 */
	uint32_t rows_max;
	size_t row_bytes;
	int fd[SEGMENT_COLUMNS];
	const struct row *rows;   /* mappings */
	const char *name_bytes;
	uint32_t allocated;       /* rows that have space in vectors and rows */
	uint32_t names_allocated; /* granules */
	struct names names;
	bool digest_valid;    /* the digests of the last clean catalog still hold */
	uint64_t rows_digest, names_digest;
	struct segment *retired_next; /* taken out of its collection; freed when the store is closed */
	/* The applier's. */
	bool dirty[SEGMENT_COLUMNS]; /* written since the last datasync */
	uint32_t header_rows;        /* what the .npy header says; UINT32_MAX: not known */
};

/* log2 of the rows in a full segment of vectors of this size. */
unsigned segment_shift(size_t row_bytes);
#define SEGMENT_PATH_MAX 64
void segment_path(char path[SEGMENT_PATH_MAX], uint32_t collection, uint32_t n, enum segment_column column);

/* The files that a committing batch hands over: those of its segment n, or of piece n of its upload. */
void segment_adopt_paths(char paths[SEGMENT_COLUMNS][SEGMENT_PATH_MAX], uint32_t batch, uint32_t n, bool uploaded);

/* Creates the files of an empty segment (any left-overs of that name are emptied). */
int segment_create(struct io *io, uint32_t collection, uint32_t n, const struct vs_schema *schema,
                   struct segment **out);
/* The same, but what there is of the files keeps its contents: for a recovery, whose log may have the rest. */
int segment_create_missing(struct io *io, uint32_t collection, uint32_t n, const struct vs_schema *schema,
                           struct segment **out);
/* Opens existing files. -EUCLEAN if one is shorter than count rows and names_end granules need. */
int segment_open(struct io *io, uint32_t collection, uint32_t n, const struct vs_schema *schema, uint32_t count,
                 uint32_t names_end, struct segment **out);
/*
 * The same for files of any names, which are to become segment n of a collection: used for a batch's, before they are
 * moved there.
 */
int segment_open_at(struct io *io, char paths[SEGMENT_COLUMNS][SEGMENT_PATH_MAX], const struct vs_schema *schema,
                    uint32_t count, uint32_t names_end, struct segment **out);
/* A segment without files, all of whose rows are in the overlay: of a store that is only read. -ENOMEM. */
int segment_unbacked(const struct vs_schema *schema, struct segment **out);
/* -EUCLEAN if a file is shorter than what is in use. */
int segment_verify_size(struct io *io, const struct segment *seg);
/* Closes the files; seg may be NULL. */
void segment_close(struct io *io, struct segment *seg);
/* Removes a segment's files; missing ones do not matter. The first error, but it goes on. */
int segment_unlink(struct io *io, uint32_t collection, uint32_t n);

/* Allocates space for rows below rows and names below granules; -ENOSPC. */
int segment_reserve(struct io *io, struct segment *seg, uint32_t rows, uint32_t granules);
static inline uint64_t segment_offset(const struct segment *seg, uint32_t slot)
{
	return SEGMENT_HEADER_BYTES + (uint64_t)slot * seg->row_bytes;
}
static inline const char *segment_name(const struct segment *seg, const struct row *row)
{
	return seg->name_bytes + (size_t)row->name_at * NAME_GRANULE;
}
static inline uint64_t row_entry(const struct row *row)
{
	return (uint64_t)row->entry_high << 32 | row->entry_low;
}
static inline void row_set_entry(struct row *row, uint64_t entry)
{
	row->entry_low = (uint32_t)entry;
	row->entry_high = (uint8_t)(entry >> 32);
}

static inline bool segment_is_dead(const struct segment *seg, uint32_t slot)
{
	return seg->dead && seg->dead_map[slot / 64] >> (slot % 64) & 1;
}
/* Allocates the dead_map, so that segment_set_dead cannot fail. -ENOMEM. */
int segment_reserve_dead(struct segment *seg);
/* -ENOMEM; must not be dead yet. */
int segment_set_dead(struct segment *seg, uint32_t slot);
void segment_clear_dead(struct segment *seg, uint32_t slot);

/* Whether a row of the file is what was written: its place in the names heap is possible and its sum fits. */
bool segment_row_valid(const struct segment *seg, const struct row *row);

/* The applier's: brings the .npy header up to count rows. */
int segment_write_header(struct io *io, struct segment *seg, const struct vs_schema *schema, uint32_t count);
/* datasync of what is dirty. */
int segment_sync(struct io *io, struct segment *seg);
/* Cuts the files to what is in use and computes the digests: the last step before a clean catalog. */
int segment_settle(struct io *io, struct segment *seg, const struct vs_schema *schema);
/* Gives the space of rows past count back to the file system if it is much. The files keep their size. */
void segment_punch(struct io *io, struct segment *seg);

#endif
