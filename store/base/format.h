/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format - the store on disk. All numbers are little-endian.
 *
 *   lock                      the daemon's pid while it holds the file's lock, else blanks
 *   catalog.0 catalog.1       the two slots of the catalog; the valid one with the higher seq counts
 *   log.0 log.1               the write-ahead log, written in turns; absent after a clean close
 *   collections/C/N.npy       segment N of collection C: a page of .npy header, then rows of row_bytes
 *   collections/C/N.rows      its metadata column: struct row, same slots
 *   collections/C/N.names     its name heap: ids, each at a multiple of NAME_GRANULE bytes, zero padded
 *   collections/C/index       the id index and entry map, written by a clean close; the catalog has its
 *                             stamp, so that an old one is never taken for a new one
 *   collections/C/N.V.E.*     derived columns of segment N: codes of the view V by its model of epoch E,
 *                             view.V.E.npy (view/code_file.h, model.h)
 *   collections/C/N.rows.copy the space of a rows column that will not be shared any more
 *   collections/C/N.adopt     the rows column of a segment that a committing batch is about to hand over
 *   collections/C/upload.N.*  parts of an open batch's upload: .npy as above; while it commits also .names
 *                             and .adopt
 *   collections/C/upload.sums a uint32_t for each row of the upload, its data_sum; a uint64_t, the rows
 *   collections/C/upload.ids  the batch's lists of ids; also .delete, .ids0, .delete0 and other texts
 *
 * Invariants. Slots 0..count-1 of a segment are in use and no others, except rows marked as deleted (entry 0)
 * by a large batch until they are filled by the vacuum right after it. All columns of a slot change through
 * the log, physically: a record holds what a slot is to contain, so replaying it twice does no harm. A
 * file is written only when the log record is durable (log before data), and only while it has one name: a
 * file that a snapshot shares (RECORD_CLONE) never changes. A checkpoint makes the files
 * durable and then writes a catalog which says where replay has to start.
 *
 * Versions. The first sizeof(struct catalog) bytes of a slot, and how its sum is made, are the same in all of
 * them, so that every program can say which version it has before it. Version 1 had rows of 28 bytes without
 * ctime, times in nanoseconds since 1970, and neither attributes nor a root; a store of it becomes one of
 * version 2 when it is opened for writing (convert_v1.h). What is to be added later gets a tag (struct
 * attribute) and no new version: a program that does not know a tag, or a type of record, refuses the store
 * with a sentence.
 *
 * Times are vs_time: nanoseconds since 1901-12-13 20:45:52 UTC, which is ext4's range in 64 bits.
 *
 * Cost for each vector beyond its bytes: 32 (row) + the id rounded up to 8, and after a clean close a little
 * more than 9 for the index file.
 */
#ifndef VECFS_STORE_BASE_FORMAT_H
#define VECFS_STORE_BASE_FORMAT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define FORMAT_VERSION 2u
#define FORMAT_VERSION_OLDEST 1u /* what convert_v1.h still understands */
#define SEGMENT_HEADER_BYTES 4096u
#define SEGMENT_BYTES_MAX (256u << 20)
#define SEGMENT_ROWS_BITS_MAX 20u
#define NAME_GRANULE 8u

/*
 * One vector's metadata. Entry 0 marks a deleted row.
 *
 * ctime has 39 bits, which row_time.h codes together with mtime so that next to nothing is lost: exactly
 * where mtime is a whole second, or at most 274 s older than ctime; else in steps of 8.4 ms. The widths of
 * the last two are those of bit fields as gcc and clang lay them out, from the lowest bit on.
 */
struct row {
	uint32_t data_sum; /* XXH3 of the vector's bytes, low half */
	uint32_t row_sum;  /* XXH3 of all other fields and the id, low half */
	uint64_t mtime;    /* with ctime: row_time.h */
	uint32_t entry_low;
	uint8_t entry_high;
	uint8_t name_len;
	uint16_t perm;         /* index into the catalog's table of permissions */
	uint64_t name_at : 25; /* place in the name heap, in granules */
	uint64_t ctime : 39;
} __attribute__((packed, aligned(4)));
#define ROW_NAME_AT_MAX ((1u << 25) - 1)
static_assert(sizeof(struct row) == 32, "row");
static_assert(offsetof(struct row, mtime) == 8 && offsetof(struct row, perm) == 22, "row");
static_assert((uint64_t)(1u << SEGMENT_ROWS_BITS_MAX) * 256 / NAME_GRANULE - 1 <= ROW_NAME_AT_MAX, "name_at");

/* ---- log. A log file is a sequence of frames, each at a multiple of FRAME_ALIGN, one epoch a file. */
#define FRAME_MAGIC 0x314d415246434556ull /* "VECFRAM1" */
#define FRAME_ALIGN 4096u                 /* a torn frame can then never harm its predecessor */

struct frame {
	uint64_t magic;
	uint64_t epoch; /* of the log file: a frame of an earlier use of the file has a smaller one */
	uint64_t seq;   /* counts frames, without gaps, over all epochs */
	uint64_t prev;  /* sum of the frame before: the chain */
	uint64_t time;
	uint32_t payload_bytes;
	uint32_t reserved;
	uint64_t sum; /* XXH3, seeded with the catalog's log_salt, of the header up to here and the payload */
};
static_assert(sizeof(struct frame) == 56 && offsetof(struct frame, sum) == 48, "frame");

enum record_type {
	RECORD_ROW = 1,         /* slot `row` := row, id and, with RECORD_HAS_DATA, the vector's bytes */
	RECORD_TRIM = 2,        /* segment `row >> shift` has `value` rows from now on */
	RECORD_COLLECTION = 3,  /* a collection is created or changed: struct record_collection */
	RECORD_DROP = 4,        /* a collection is gone */
	RECORD_PERM = 5,        /* entry `row` of the table of permissions: struct record_perm */
	RECORD_ATTACH = 6,      /* segment `value` of batch `row` becomes a segment: struct record_attach */
	RECORD_DELETE_ROWS = 7, /* `value` rows of the segment of `row` are deleted: a bitmap over its slots,
				   or a list of them */
	RECORD_ATTRIBUTE = 8,   /* attribute `row` := the `value` bytes that follow; without any it is gone */
	RECORD_ROOT = 9,        /* what the root directory is now: struct record_root */
	RECORD_CLONE = 10,      /* a collection is made of the files of collection `row`, as they are at this
				   point: struct record_clone */
	RECORD_TYPES,
};
#define RECORD_HAS_DATA 1u /* flag of RECORD_ROW */
#define RECORD_RENAMED 8u  /* flag of RECORD_ROW: with another id, so that the directory has changed */
#define RECORD_LIST 4u     /* flag of RECORD_DELETE_ROWS: uint32_t slots, which is shorter than the bitmap */
#define RECORD_MOVED 16u   /* flag of RECORD_ROW: its entry had another row, so the directory is as it was */
#define RECORD_SAME_ID 32u /* flag of RECORD_ROW: its id is at its place in the heap already */
#define RECORD_REMOVED 8u  /* flag of RECORD_DELETE_ROWS: ids have gone, so that the directory has changed */
#define RECORD_FROZEN 1u   /* flag of RECORD_CLONE: a snapshot, which never changes */
#define RECORD_UPLOADED                                                                                      \
	2u /* flag of RECORD_ATTACH: part `value` of the batch's upload, not one of its segments */

struct record {
	uint16_t type;
	uint16_t flags;
	uint32_t bytes; /* with this header, a multiple of 8 */
	uint32_t collection;
	uint32_t row;
	uint64_t value;
};
static_assert(sizeof(struct record) == 24, "record");

/* RECORD_ROW: the id follows, zero padded to a granule, then the data padded to 8. */
struct record_row {
	struct record head;
	struct row row;
};
static_assert(sizeof(struct record_row) == 56, "record_row");

/* A row of the table of permissions. Rows refer to it by index; one that none refers to may get another
 * meaning. */
struct perm_class {
	uint32_t mode, uid, gid;
};

#define SCHEMA_FIXED 1u     /* it has, or once had, a vector */
#define SCHEMA_GIVEN 2u     /* somebody has set the dtype, */
#define SCHEMA_DIM_GIVEN 4u /* or a dim: then that stays when the last vector goes */

struct catalog_collection {
	uint32_t id;
	uint32_t parent;
	uint32_t dim;
	uint8_t dtype, metric, schema_flags, name_len;
	uint32_t perm;
	uint32_t segments;
	uint64_t mtime, ctime; /* vs_time */
	uint64_t next_entry;
	uint64_t index_stamp; /* of the image that fits; 0: none */
	uint64_t index_sum;   /* XXH3 of that image */
	uint32_t attributes_bytes;
	uint32_t reserved;
	/* The name follows, zero padded to a multiple of 8; then its attributes. */
};
static_assert(sizeof(struct catalog_collection) == 72, "catalog_collection");

/* What a collection has beyond that: a tag, and a value that is zero padded to a multiple of 8. Each tag
 * once, rising. */
struct attribute {
	uint32_t tag;   /* enum vs_attribute */
	uint32_t bytes; /* of the value, at most VS_ATTRIBUTE_BYTES_MAX and not 0 */
};
static_assert(sizeof(struct attribute) == 8, "attribute");

struct record_collection {
	struct record head;
	struct catalog_collection
		body; /* and its name; segments, next_entry, index_* and attributes do not count */
};

/* The value of the attribute ATTRIBUTE_FROZEN, which makes a collection a snapshot of its parent. */
struct attribute_frozen {
	uint64_t count, name_bytes, line_bytes; /* vectors, and of their ids: until its index is built */
};

struct record_clone {
	struct record head;
	struct attribute_frozen sums;
	struct catalog_collection body; /* and its name, as in record_collection */
};
static_assert(sizeof(struct record_clone) == 120, "record_clone");

struct record_perm {
	struct record head;
	struct perm_class perm;
	uint32_t reserved;
};

struct record_attach {
	struct record head; /* collection: the parent; row: the batch; value: segment in the batch */
	uint32_t segment;   /* its number in the parent */
	uint32_t count;
	uint32_t name_heap_end;
	uint32_t reserved;
	uint64_t next_entry; /* of the parent, afterwards */
};

/* The mount's root directory. */
struct catalog_root {
	uint64_t mtime, ctime; /* vs_time */
	uint32_t perm; /* PERM_NONE: never set, so it is the owner of the store's directory who has it */
	uint32_t reserved;
};
#define PERM_NONE UINT32_MAX
static_assert(sizeof(struct catalog_root) == 24, "catalog_root");

struct record_root {
	struct record head;
	struct catalog_root root;
};

/* ---- catalog: struct catalog, struct catalog_root, perm_class[perms] (padded to 8), then each collection
 * with its name, attributes and segments. */
#define CATALOG_MAGIC 0x3154414353464356ull /* "VCFSCAT1" */
#define CATALOG_CLEAN 1u                    /* the store is closed, if it has no log (log.h) */
#define CATALOG_CONVERTED 2u /* from version 1: N.rows.new, where it is still there, is to become N.rows */
#define CATALOG_ALIGN 4096u

#define CATALOG_DIGESTS 2u
struct catalog_segment {
	uint32_t count;
	uint32_t name_heap_end; /* granules in use of the name heap, holes included */
	/* XXH3 of each column that has a digest, in the order of their table (column.h): of the rows column
	 * and of the name heap. Only in a clean catalog, else 0. */
	uint64_t digests[CATALOG_DIGESTS];
};
static_assert(sizeof(struct catalog_segment) == 24, "catalog_segment");

struct catalog {
	uint64_t magic;
	uint32_t version;
	uint32_t flags;
	uint8_t uuid[16];
	uint64_t seq;
	uint64_t bytes;     /* of everything; the rest of the slot's file is zero */
	uint64_t log_epoch; /* replay starts at the first frame of this epoch, */
	uint64_t log_seq;   /* which has this seq */
	uint64_t log_prev;  /* and follows the frame with this sum */
	uint64_t log_salt;
	uint64_t hash_seed; /* of the id indexes: ids are untrusted input */
	uint32_t perms;
	uint32_t collections;
	uint32_t next_collection;
	uint32_t reserved;
	uint64_t sum; /* XXH3 of this struct, this field taken as 0: the seed of that of all the rest */
};
static_assert(sizeof(struct catalog) == 112, "catalog");

/*
 * ---- index file: struct index_image; the entries' numbers, page after page in the order of the directory:
 * their low 32 bits (uint32_t[entries]), their tags (uint8_t[entries]) and, if one needs them, their high
 * bits (uint8_t[entries]); the pages' depths and counts (uint8_t[pages] each; id_index.h), from which the
 * directory follows; 16 zeros, and as many as make it a multiple of 4; the places of the chunks
 * (uint32_t[chunks]: 0, or which of the present chunks, counted from 1), and the present chunks
 * (entry_map.h). If rows are marked as deleted (INDEX_MARKED) there follows of how many in each segment
 * (uint32_t[segments]), and for each with some a bitmap, a bit for each slot of a full segment (uint64_t[]).
 *
 * "VECINDX2" had pages as they are in memory. Such a file is not read any more: the index is made anew.
 */
#define INDEX_MAGIC 0x3358444e49434556ull /* "VECINDX3" */
#define INDEX_MAGIC_OLD 0x3258444e49434556ull
#define INDEX_WIDE 1u   /* flag: there are high bits */
#define INDEX_MARKED 2u /* flag: there are marks */

struct index_image {
	uint64_t magic;
	uint64_t stamp;
	uint64_t count, name_bytes, line_bytes; /* of the collection */
	uint64_t chunk_base;
	uint64_t chunks, chunks_present;
	uint64_t entries;
	uint32_t depth, pages;
	uint32_t flags, segments; /* up to the last with marks */
};
static_assert(sizeof(struct index_image) == 88, "index_image");

#endif
