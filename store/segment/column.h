/* SPDX-License-Identifier: Apache-2.0 */
/*
 * column - the files of a segment, each described once; whatever concerns all of them iterates over the
 * table.
 *
 * Logged columns are the collection: their slots change through the log alone, and a catalog tells how many
 * units they have. Derived ones are what a view has made of the vectors (store/view/), in blocks of 64 rows:
 * no log record, no order of writing, no recovery. A derived column is right where its block's tag says so,
 * and is made anew where it does not.
 */
#ifndef VECFS_STORE_SEGMENT_COLUMN_H
#define VECFS_STORE_SEGMENT_COLUMN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "store/base/format.h"

enum segment_column {
	SEGMENT_VECTORS,
	SEGMENT_ROWS,
	SEGMENT_NAMES,
	SEGMENT_COLUMNS, /* how many are logged; each view has those that follow, or some of them */
	COLUMN_BLOCKS = SEGMENT_COLUMNS,
	COLUMN_CODE_ROWS,
	COLUMN_FACTORS,
	COLUMN_TAGS,
	COLUMN_KINDS
};

struct column_def {
	const char *suffix;        /* of N.suffix; of a derived one of N.VIEW.EPOCH.suffix */
	const char *suffix_attach; /* while a committing batch hands it over */
	const char *contents;      /* what is lost with it, as a check words it */
	size_t header_bytes;       /* before its first unit: a page of .npy header, or none */
	size_t unit_bytes;         /* of a row, granule or block; 0: as the schema, or the codec, says */
	size_t record_at;          /* where a struct record_row has its unit; 0: it follows the struct */
	unsigned units_a_slot_max; /* 1, but granules of the longest id */
	bool is_heap;              /* its units are granules of the name heap */
	bool is_mapped;            /* read through a mapping that the cache keeps; else by pread */
	bool is_digested;          /* a clean catalog has the digest of all of it */
	bool is_derived;
};
extern const struct column_def column_defs[COLUMN_KINDS];

/* The logged column whose file is called N.suffix; SEGMENT_COLUMNS if none is. */
enum segment_column column_of_suffix(const char *suffix);
/* Whether only a file that a batch is handing over is called N.suffix. */
bool column_is_handed_over(const char *suffix);
/* Whether a batch that hands its own segment over makes this column of it anew: under another name, until
 * then. */
static inline bool column_is_made_to_attach(enum segment_column column)
{
	return strcmp(column_defs[column].suffix, column_defs[column].suffix_attach);
}
/* Bytes of a unit of a logged column, of vectors of this size. */
static inline size_t column_unit_bytes(enum segment_column column, size_t row_bytes)
{
	return column_defs[column].unit_bytes ? column_defs[column].unit_bytes : row_bytes;
}
/* Bytes of a logged column with so many units. */
static inline uint64_t column_bytes(enum segment_column column, size_t row_bytes, uint64_t units)
{
	return column_defs[column].header_bytes + units * column_unit_bytes(column, row_bytes);
}

/* What a record says that a logged column is to contain; 0 bytes: that it stays as it is. */
struct column_piece {
	const void *bytes;
	size_t size;
};
struct column_piece column_piece(enum segment_column column, const struct record_row *r, size_t row_bytes);

#endif
