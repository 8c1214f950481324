/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot - what the rest of the engine owes to open snapshots (store.h says what they are). */
#ifndef VECFS_STORE_SNAPSHOT_SNAPSHOT_H
#define VECFS_STORE_SNAPSHOT_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct collection;
struct counters;
struct row;
struct segment;
struct txn;
struct vs_snapshot;
struct vs_store;

/*
 * Called before the contents of a row change or the row goes away: snapshots keep a copy, in memory. Under
 * the lock, alone. The bytes must be at hand in txn->ahead. Of a segment that loses all its rows at once only
 * those in the overlay need be kept: nobody writes to its files any more, but for what the applier has yet to
 * write.
 */
void snapshot_preserve(struct txn *txn, struct collection *c, uint32_t row);
/* Whether any snapshot would keep a copy of this row. Under the lock. */
bool snapshot_wants(const struct collection *c, uint32_t row);
/* The last one of a collection that was opened, among those that are open; 0: none. A later one is higher.
 * Under the lock, alone. */
uint64_t snapshot_newest(const struct collection *c);
/* A snapshot that has so many copies in memory that they are to be written to its file before there are more,
 * or NULL. Under the lock, alone; the caller gives it to snapshot_spill. */
struct vs_snapshot *snapshot_full(const struct collection *c);
/* Writes them, without any lock. A snapshot whose copies cannot be written is broken. */
void snapshot_spill(struct vs_snapshot *m);
/* The collection's memory goes away; its snapshots live on with what they have. Under the lock, alone. */
void snapshot_detach(struct collection *c);

/* ---- for who looks at many rows (search.c): any thread, without the lock */

/* Reads a row's vector into buf. -EBADMSG, reported: it is damaged; any other error: it cannot be read now.
 */
int snapshot_vector(struct vs_snapshot *m, uint64_t row, void *buf);

/* Rows of a snapshot in one segment, whose vectors are mapped as they lie in its file. */
struct snapshot_run {
	uint64_t first; /* of the snapshot */
	uint32_t count;
	const char *vectors; /* of the first row; NULL: they cannot be mapped */
	struct segment *seg;
};
/* At most max rows from first on, max and first being in range. */
void snapshot_run_begin(const struct vs_snapshot *m, uint64_t first, uint64_t max, struct snapshot_run *out);
void snapshot_run_end(const struct snapshot_run *run);
/*
 * Sets the bits of those rows of a run (bit i: row first + i) whose vectors are not in the file: they have
 * changed since the snapshot, or wait for the applier. What is read through the mapping is the snapshot's for
 * rows whose bits are clear when this is called before the reading and again after it. It is not verified.
 */
int snapshot_mark_moved(const struct vs_snapshot *m, const struct snapshot_run *run, uint64_t *mask);
/* The same of n single rows of the snapshot, 64 at the most: bit i is rows[i]. */
int snapshot_mark_moved_rows(const struct vs_snapshot *m, const uint32_t *rows, uint32_t n, uint64_t *mask);
/*
 * Sets the bits of those rows of a run whose metadata are intact and whose id passes, and, if it has looked
 * at a row, clears the others: at all, or with only_kept at those alone that have changed since the snapshot.
 * The functions run under the store's lock, and are asked of what is damaged, too. may_pass looks at those of
 * 64 rows that are wanted, as they lie in a file, before their checksums: it tells whose ids pass, in a heap
 * of so many granules.
 */
struct snapshot_filter {
	bool (*passes)(void *arg, const char *name, size_t len);
	uint64_t (*may_pass)(void *arg, const struct row *rows, uint64_t wanted, const char *names,
			     uint32_t granules);
	void *arg;
};
int snapshot_select(const struct vs_snapshot *m, const struct snapshot_run *run, bool only_kept,
		    const struct snapshot_filter *filter, uint64_t *mask);
/* The row that has this id now, if it is one of the snapshot's; what it was then must be asked for if it has
 * changed since. -ENOENT: there is none; -ESTALE, -EIO: that cannot be told. */
int snapshot_find(const struct vs_snapshot *m, const char *name, size_t len, uint64_t *row);
/* As vs_snapshot_rows, with a row's place (segment and slot) and all of its metadata: NULL if they are
 * damaged. fn runs under the store's lock. */
typedef void (*snapshot_row_fn)(void *arg, uint64_t n, uint32_t place, const struct row *row,
				const char *name);
int snapshot_rows(const struct vs_snapshot *m, uint64_t first, uint64_t count, const uint64_t *wanted,
		  snapshot_row_fn fn, void *arg);
/* The segment of a row, its place there, and how many follow it without deleted ones among them, itself
 * included. The snapshot has a reference to it. */
struct segment *snapshot_segment(const struct vs_snapshot *m, uint64_t row, uint32_t *slot, uint32_t *count);
struct vs_store *snapshot_store(const struct vs_snapshot *m);
/* Of its store. */
struct counters *snapshot_counters(const struct vs_snapshot *m);

#endif
