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
/* Bytes of a unit of a logged column, of vectors of this size. */
static inline size_t column_unit_bytes(enum segment_column column, size_t row_bytes)
{
	return column_defs[column].unit_bytes ? column_defs[column].unit_bytes : row_bytes;
}

#endif
