/* SPDX-License-Identifier: Apache-2.0 */
/*
 * row - changes of a collection's rows, each within one txn (commit.h), which keeps log record, overlay,
 * index and snapshots in step. What can fail comes first: a function that returns an error has changed
 * nothing. -EAGAIN is such an error: something of a disk is needed that was not made ready (ahead.h), and it
 * is noted in txn->ahead.
 *
 * All but rows_fetch and rows_free_schema are called with the store's lock held alone (txn_begin took it).
 */
#ifndef VECFS_STORE_ROW_ROW_H
#define VECFS_STORE_ROW_ROW_H

#include "store/log/commit.h"
#include "store/engine.h"

/* The new contents of a row. */
struct row_change {
	uint64_t entry;
	vs_time mtime, ctime;
	uint32_t perm;
	const char *name;
	size_t name_len;
	const void *data; /* NULL: the row keeps its vector */
	uint32_t data_sum;
	void *kept; /* rows_reserve_change: the vector, of a row that is to be written elsewhere */
};

/* Makes sure that the changes below cannot fail for want of memory or space: a new row with this id, if
 * fresh, or a longer id for an existing row of segment seg. */
int rows_reserve_new(struct txn *txn, struct collection *c, const char *name, size_t len, uint64_t entry);
int rows_reserve_name(struct txn *txn, struct collection *c, struct segment *seg, const char *name,
		      size_t len);
/* Space for so many new rows with the longest ids, in as many segments as it takes. */
int rows_reserve_many(struct txn *txn, struct collection *c, uint64_t rows);
/* Makes sure that snapshots can get a copy of a row that is to change. */
int rows_reserve_image(struct txn *txn, struct collection *c, uint32_t row);
/* Makes ready what a change has noted (ahead_fetch), and writes images that snapshots hold in memory. Without
 * any lock. */
int rows_fetch(struct vs_store *s, struct ahead *ahead);
/* Adds a row (after rows_reserve_new). */
void rows_add(struct txn *txn, struct collection *c, const struct row_change *change);
/*
 * Makes sure that rows_change cannot fail: a row of a shared segment is written to another, and marked as
 * deleted where it was. What that needs is in change->kept, which the caller frees, also on failure. The txn
 * has room for a vector.
 */
int rows_reserve_change(struct txn *txn, struct collection *c, uint32_t row, struct row_change *change);
/* Changes an existing row, in place if it can be (after rows_reserve_change); its entry and id may change too
 * (for an id, after rows_reserve_name). The index follows. */
void rows_change(struct txn *txn, struct collection *c, uint32_t row, const struct row_change *change);
/* A put under way: what rows_put_prepare found out, for rows_put. */
struct row_put {
	struct row_change change;
	uint64_t replaced;       /* the entry that has the id now, or 0 */
	bool fixed;              /* it has fixed the schema, */
	struct vs_schema schema; /* which was this */
};
/* The first vector of a collection fixes its dim. -EINVAL: not the collection's size of vectors. */
int rows_fix_schema(struct txn *txn, struct collection *c, size_t size);
/*
 * The last vector has gone, and the next may be of another size: drops what vectors alone have fixed of the
 * schema. A checkpoint comes first, so that no log has rows of both sizes. Without the lock. 0 also if there
 * is nothing to do; -EBUSY: others put and remove vectors all the time; -EIO: files of old could not be
 * removed.
 */
int rows_free_schema(struct vs_store *s, uint32_t collection);
/* Takes that back, with the segment made for it, which has no rows; the caller sees to the log. */
void rows_unfix_schema(struct txn *txn, struct collection *c, const struct vs_schema *schema);
/* Everything of a put (see vs_put) that can fail. A refused first vector leaves no trace: neither dim nor its
 * record. name and data must live until rows_put. */
int rows_put_prepare(struct txn *txn, struct collection *c, const char *name, const struct vs_attr *attr,
		     const void *data, size_t size, struct row_put *put);
void rows_put(struct txn *txn, struct collection *c, const struct row_put *put);
/* Instead of rows_put: leaves no trace. The txn has room for the record of the collection. */
void rows_put_cancel(struct txn *txn, struct collection *c, const struct row_put *put);
/* Counts a change of what is listed: version, mtime. */
void rows_listed(struct collection *c);
/* Removes a row: the last one of its segment moves into its place, or, if that is shared, it is marked. -EIO
 * if that one cannot be read. */
int rows_remove(struct txn *txn, struct collection *c, uint32_t row);
/* Makes sure that rows of a segment can be marked as deleted; -EAGAIN: as above. */
int rows_reserve_mark(struct txn *txn, struct segment *seg);
/* Marks a row as deleted, as a RECORD_DELETE_ROWS that the caller logs will say: out of the index, its id
 * free. After rows_reserve_mark this cannot fail. */
void row_mark_deleted(struct txn *txn, struct collection *c, uint32_t row);
/*
 * Takes all rows of a segment at once: its files go when the applier has passed. What leads to its rows, in
 * index, entry map and overlay, is the caller's to remove, then or later (collection_sweep).
 */
void rows_leave_segment(struct txn *txn, struct collection *c, struct segment *seg);
/* Takes all segments whose rows the txn has marked to the last one, with a record for each: then a collection
 * without vectors is empty at once, and not when the vacuum comes, which a crash may prevent. */
void rows_leave_deleted(struct txn *txn, struct collection *c);
/* Who has counted itself in seg->trims, so that the number of a segment without rows does not become
 * another's, has it go on with the applier. */
void rows_release_segment(struct txn *txn, const struct collection *c, const struct segment *seg);
/* Fills one deleted row of a segment that has some, after trimming those at its end. -EAGAIN: the trimming is
 * done all the same. */
int rows_fill_deleted(struct txn *txn, struct collection *c, struct segment *seg);
/* Finds or adds a class of permissions; -ENOSPC when the table is full. */
int rows_perm(struct txn *txn, const struct vs_perm *perm, uint32_t *index);
/* A collection has come: the directory of them has changed. */
void rows_root_listed(struct txn *txn);
/* What there is to say of a collection. Under the lock. */
void collection_info(const struct vs_store *s, const struct collection *c, struct vs_collection_info *out);
/* Takes a collection out of the table; its memory and files go when the applier has passed its end. */
void collection_drop(struct txn *txn, struct collection *c);
/* Moves *index to the class that differs from its own in the parts of which (VS_SET_*). */
int rows_perm_change(struct txn *txn, unsigned which, const struct vs_perm *perm, uint32_t *index);
/* Logs what a collection is now (all but its rows). */
void rows_log_collection(struct txn *txn, const struct collection *c);

#endif
