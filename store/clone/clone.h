/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clone - collections that are made of another one's files, by hard links: durable snapshots, which never
 * change, and clones, which may.
 *
 * The rule that makes it safe: a file that has several names is never changed. A snapshot is one record
 * (RECORD_CLONE), acknowledged like any other, and from it on the segments that it has are shared in memory
 * too: they take no new rows, and a row of them that changes is written elsewhere and marked as deleted here.
 * The marks are rows of zeros in a rows column of the collection's own, of which the applier makes a copy
 * when it has to write the first.
 *
 * When the applier comes to the record it syncs the files, and only then links them, so that a link that is
 * there is right, whatever a crash has left; it syncs the links before it goes on, so that what changes later
 * changes files of one name. A segment is no longer shared when the other names have gone from the disk.
 *
 * A recovery keeps the links that are there and makes those that are missing when it comes to the record.
 * Before it writes anything it removes names that nobody has any more, for these would make a file look
 * shared.
 */
#ifndef VECFS_STORE_CLONE_CLONE_H
#define VECFS_STORE_CLONE_CLONE_H

#include <stdbool.h>
#include <stdint.h>

#include "store/base/format.h"

struct collection;
struct segment;
struct vs_store;

/* Makes c of the segments that from has, schema, sums and entry numbers included. Nothing is logged. -ENOMEM:
 * c has some of them. Under the lock, alone. */
int clone_segments(struct vs_store *s, struct collection *from, struct collection *c);
/* The same from what the log or a catalog says, at opening: from knows its counts only. */
int clone_placeholders(struct vs_store *s, struct collection *from, struct collection *c);
/* Remembers that c is a snapshot, or that it shares files, as attributes. -ENOMEM. */
int clone_set_frozen(struct vs_store *s, struct collection *c, const struct attribute_frozen *sums);
int clone_set_shares(struct vs_store *s, struct collection *c);

/* Waits until a snapshot or clone has its files, and builds its index, unless that is done. Without any lock.
 * -ENOENT; -EIO: it is damaged, which has been reported. */
int clone_load(struct vs_store *s, uint32_t collection);

/* ---- going back to a snapshot */

/*
 * Makes files of segment n of a snapshot which a RECORD_ATTACH takes from the directory of a number that no
 * collection has: vectors and ids are further names of the snapshot's, rows a new column, in which those that
 * are not deleted get entry numbers from *entry on. *out is what the snapshot's parent is to get, mapped, and
 * shares with the snapshot; it is the caller's to put also after a failure, or NULL. -EIO: a row is damaged.
 */
int clone_lend(struct vs_store *s, const struct collection *snap, uint32_t n, uint32_t number,
	       uint64_t *entry, struct segment **out);
/* Makes all of their names durable. */
int clone_lend_end(struct vs_store *s, uint32_t number);
/* Puts the rows of a collection that nobody else knows into its index; *bad counts damaged ones. */
int clone_index(struct vs_store *s, struct collection *c, uint64_t *bad);

/* ---- the applier's, and recovery's */

/* Carries a RECORD_CLONE out: all that was written before must be in the files. */
int clone_link(struct vs_store *s, uint32_t collection, uint32_t source);
/* Whether all links of a clone are there: 0, 1 or -errno; if so they are made durable. For a recovery that
 * writes. */
int clone_is_linked(struct vs_store *s, const struct collection *c);
/* Gives a segment rows of its own. */
int clone_unshare_rows(struct vs_store *s, struct segment *seg);
/* The names of a collection's files have gone. Under the lock, alone. */
void clone_leave(struct vs_store *s, struct collection *c);
/* Finds, at opening, which segments have one file. */
int clone_find_shares(struct vs_store *s);

#endif
