/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collection - a collection in memory, and the table of all of them.
 *
 * Everything here is guarded by the store's lock (engine.h): readers share it, whoever changes anything holds
 * it alone.
 */
#ifndef VECFS_STORE_COLLECTION_COLLECTION_H
#define VECFS_STORE_COLLECTION_COLLECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "store/collection/attribute.h"
#include "store/collection/entry_map.h"
#include "store/base/idlist.h"
#include "store/collection/id_index.h"
#include "store/collection/overlay.h"
#include "store/collection/row_set.h"
#include "store/segment/segment.h"
#include "store/store.h"

struct vs_snapshot;
struct vs_upload;

/*
 * Rows that a large batch is about to attach, and those that go then. The former are put into index and entry
 * map in slices, each under the lock, but hidden there. Then, all at once, they are shown, and the latter
 * have gone; what leads to these in index, entry map and overlay is removed in slices afterwards. Meanwhile
 * the ids of the collection stay as they are: changes of them wait (ahead_attach).
 */
struct attaching_part {
	uint64_t first_entry;
	const struct segment *seg; /* whose mapping is kept */
};
struct attaching {
	const struct attaching_part *parts; /* by rising entry */
	uint32_t count;
	struct row_set replaced; /* the rows that go; it follows a row that changes its place */
	bool switched;           /* they have gone */
	bool no_snapshots;       /* nobody opens a snapshot until then */
};

struct collection {
	uint32_t id, parent;
	char name[VS_NAME_MAX + 1];
	struct vs_schema schema;
	bool schema_fixed; /* it has, or once had, a vector */
	bool schema_given; /* somebody has set the dtype, */
	bool dim_given;    /* or a dim */
	size_t row_bytes;
	unsigned shift; /* row number = segment << shift | slot */
	uint32_t perm;  /* index into the table of permissions */
	vs_time mtime, ctime;
	struct attributes attributes;
	uint64_t count, name_bytes;
	uint64_t line_bytes; /* of the ids as lines: idlist.h */
	uint64_t version;
	uint64_t changed; /* the version that the last change has made; since then rows have only moved */
	uint64_t next_entry;
	bool damaged;
	bool frozen;       /* a snapshot of parent: nothing changes in it */
	bool shares;       /* it has or had files that are another's too (ATTRIBUTE_SHARES) */
	bool left_shares;  /* it is no user of them any more: it is gone */
	bool lazy;         /* its index is not built: count and sums over ids are as the catalog has them */
	uint32_t unlinked; /* its files are still this collection's: the applier has yet to link them */
	uint32_t clones;   /* collections made of this one whose files are still to be linked */
	uint64_t shares_seen; /* the store's share_changes when room was last right */
	struct segment **segments;
	uint32_t segment_count;
	uint32_t room;     /* no segment before this one has room */
	uint64_t deleted;  /* rows that wait for the vacuum */
	uint32_t children; /* open batches and snapshots, by rising id: */
	struct collection *first_child, *last_child, *prev_sibling, *next_sibling;
	bool fresh; /* made since the store was opened: then it has a directory only if this says so */
	_Atomic bool has_directory;
	_Atomic bool directory_changed; /* since the last checkpoint: files came or went */
	struct id_index index;
	struct entry_map entries;
	struct overlay overlay;
	uint64_t hash_seed;
	/* The index file that was mapped at opening, or NULL, and which one it is. */
	void *image;
	size_t image_bytes;
	uint64_t index_stamp, index_sum; /* 0 when the image no longer tells the truth */
	struct attaching *attaching;     /* NULL: nobody is */
	struct vs_snapshot *snapshots;
	struct vs_upload *upload; /* batches only: one being written */
	bool committing;          /* batches only: refuses changes */
	bool upload_trusted;      /* batches only: the upload was written since the store was opened */
	bool expects;             /* batches only: the parent must have this version at the commit */
	uint64_t expected_version;
	struct collection *dropped_next; /* removed from the table, waiting for the applier */
};

struct collection_table {
	/* By rising id, with gaps: NULL where one has been taken, until there are too many of them. */
	struct collection **all;
	uint32_t *ids; /* of all, gaps included */
	uint32_t slots, capacity;
	uint32_t count; /* without gaps */
	struct id_index by_name;
	uint64_t hash_seed;
	uint64_t name_bytes;      /* sums over all of them, for the size of a catalog: names padded to 8, */
	uint64_t segments;        /* segments, */
	uint64_t attribute_bytes; /* and attributes */
};

void collection_table_init(struct collection_table *t, uint64_t hash_seed);
/* Frees the collections, too, of which no snapshot knows any more. */
void collection_table_free(struct collection_table *t, struct io *io);
struct collection *collection_get(const struct collection_table *t, uint32_t id);
struct collection *collection_find(const struct collection_table *t, uint32_t parent, const char *name);
/* The snapshot of that name: those of a collection have names of their own. */
struct collection *collection_find_frozen(const struct collection_table *t, uint32_t parent,
					  const char *name);
/* The one with the lowest id above after, of any parent; NULL at the end. */
struct collection *collection_next(const struct collection_table *t, uint32_t after);
/* The batch, or snapshot, of a parent with the lowest id above after; NULL at the end. */
struct collection *collection_next_child(const struct collection *parent, bool frozen, uint32_t after);
/* Adds a collection, whose id is above all others'. -ENOMEM. */
int collection_add(struct collection_table *t, struct collection *c);
/* Takes one out, which has no children. */
void collection_take(struct collection_table *t, struct collection *c);
/* Closes the gaps: all[0..count) are there. */
void collection_table_pack(struct collection_table *t);
/* Its directory has changed, or it itself has: moves mtime and ctime, or ctime alone. */
void collection_listed(struct collection *c);
void collection_changed(struct collection *c);
/* Sets an attribute; the table's sum follows. -ENOMEM. */
int collection_set_attribute(struct collection_table *t, struct collection *c, uint32_t tag,
			     const void *value, uint32_t bytes);
/* Takes over what the engine's own attributes say: whether it is a snapshot, and shares files. -EUCLEAN. */
int collection_read_attributes(struct collection *c);
/* Gives it another name. -ENOMEM. */
int collection_rename(struct collection_table *t, struct collection *c, const char *name);

struct collection *collection_new(uint32_t id, uint32_t parent, const char *name, uint64_t hash_seed);
/* Frees it and closes its files. No snapshot knows it any more (snapshot_detach). */
void collection_free(struct io *io, struct collection *c);
/* Makes the directory, which a collection gets with its first file. fresh: what is there under its name is
 * left over from a lost collection of the same number, and goes. */
int collection_make_directory(struct io *io, uint32_t id, bool fresh);
/* Removes a collection's directory and all in it, as far as it is there. The first error, but it goes on. */
int collection_unlink_id(struct io *io, uint32_t id);
/* Sets the schema; row_bytes and shift follow. */
void collection_set_schema(struct collection *c, const struct vs_schema *schema);
/* Whether neither a vector nor anybody has said what its vectors are: the first upload does. */
static inline bool collection_is_free(const struct collection *c)
{
	return !c->schema_fixed && !c->schema_given;
}
/* Whether it has no vector and nothing that will be one, so that its vectors may become others: what is fixed
 * of the schema is then so only until somebody wants it otherwise (rows_free_schema). */
bool collection_is_vacant(const struct collection *c);
/* The schema as it is to be seen: without what only vectors that are gone have fixed. *fixed: it stays. */
struct vs_schema collection_schema(const struct collection *c, bool *fixed);
void collection_path(char path[SEGMENT_PATH_MAX], uint32_t id, const char *file);
/* Makes room for more segments, so that adding them cannot fail. -ENOMEM. */
int collection_reserve_segments(struct collection *c, uint32_t more);
/* Appends to a collection's segments; the table's sum follows if it is in a table. */
void collection_add_segment(struct collection_table *t, struct collection *c, struct segment *seg);
/* The lowest number from `from` on that has neither files nor rows; the number of segments if all have. */
uint32_t collection_free_number(const struct collection *c, uint32_t from);
/* Puts a segment at its number, in place of a placeholder or at the end (after collection_reserve_segments).
 */
void collection_place_segment(struct collection_table *t, struct collection *c, struct segment *seg);
/* Takes placeholders without rows from the end; the table's sum follows if it is in a table. */
void collection_trim_segments(struct collection_table *t, struct collection *c);

/* ---- rows */

/* A row has got, or has lost, this id: the sums over all ids follow. */
static inline void collection_count_name(struct collection *c, const char *name, size_t len)
{
	c->name_bytes += len;
	c->line_bytes += idlist_line_bytes(name, len);
}
static inline void collection_discount_name(struct collection *c, const char *name, size_t len)
{
	c->name_bytes -= len;
	c->line_bytes -= idlist_line_bytes(name, len);
}
static inline struct segment *collection_segment(const struct collection *c, uint32_t row)
{
	return c->segments[row >> c->shift];
}
static inline uint32_t collection_slot(const struct collection *c, uint32_t row)
{
	return row & ((1u << c->shift) - 1);
}
/*
 * A row's metadata and its id (not NUL-terminated), wherever they are now. What comes from a file is
 * verified: NULL if it is damaged. A deleted row has entry 0.
 */
const struct row *collection_row(const struct collection *c, uint32_t row, const char **name);
/*
 * Whether a row that seems damaged may be sound, and was only not read: it could not be mapped, pages of
 * mappings have been lost (io.h) and read as zeros, or the file system has dropped what it had taken. The
 * same of an index in which something is not found.
 */
bool collection_row_is_unread(const struct collection *c, uint32_t row);
bool collection_index_is_unread(const struct collection *c);
/* The row of an entry, or ROW_NONE; an index that leads to another entry's row does not count. */
uint32_t collection_row_of(const struct collection *c, uint64_t entry);
/* Reserves n entry numbers; -ENOSPC: there are no more. The store's lock may be shared. */
int collection_take_entries(struct collection *c, uint64_t n, uint64_t *first);
/* Copies a row's bytes if they wait for the applier; false: they are in the segment's file. */
bool collection_pending_bytes(const struct collection *c, uint32_t row, void *buf);
/* The bytes of a row as they are, not verified. It may wait for the disk. */
int collection_bytes(const struct collection *c, uint32_t row, void *buf);
uint64_t collection_hash(const struct collection *c, const char *name, size_t len);
/* The same for who knows the store's seed, which never changes, and has not the lock. */
uint64_t collection_hash_seeded(uint64_t seed, const char *name, size_t len);
/* The entry with this id, or 0. -EIO: that cannot be told, since not all was read. */
int collection_entry(const struct collection *c, const char *name, size_t len, uint64_t *entry);
/* id_index_hash_fn; arg is the collection. The hash is 0 for a damaged row: it cannot be found by its id any
 * more anyway. */
int collection_hash_of(void *arg, uint64_t entry, uint64_t *hash);
/* Makes sure that one insertion into the index cannot fail, as id_index_reserve. */
int collection_index_reserve(struct collection *c, uint64_t hash);
/* Of an attach that has happened: removes whatever leads to rows that have gone and whose ids have this hash;
 * of some others too, perhaps. */
void collection_sweep(struct collection *c, uint64_t hash);
/* What is indexed of a row. */
struct index_key {
	uint64_t hash;  /* of its id */
	uint64_t entry; /* 0: there is no row, only a mark */
	uint32_t name_len, line_bytes;
};
#define INDEX_KEY_BAD UINT64_MAX /* the entry of one that is damaged */
/* Reads that. -ENOMEM. Several threads may read keys of one collection that nobody changes. */
int collection_read_key(const struct collection *c, struct segment *seg, uint32_t slot,
			struct index_key *key);
/* Indexes the row that has this key. -EBADMSG: it is damaged, and left out. */
int collection_index_key(struct collection *c, struct segment *seg, uint32_t slot,
			 const struct index_key *key);
/* Puts a row that lies in a file, or in the overlay, into the index: for who builds it. A row of zeros is a
 * deleted one. -EBADMSG: it is damaged, and left out; -ENOMEM. */
int collection_index_row(struct collection *c, struct segment *seg, uint32_t slot);
/* Finds the free places of a segment's name heap, if they are not known yet. -ENOMEM. */
int collection_scan_names(struct collection *c, struct segment *seg);

#endif
