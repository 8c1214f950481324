/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ahead - what a change needs of a disk, made ready before it takes the store's lock.
 *
 * A change runs under the lock, alone, and nobody is to wait there for a disk. So whatever it needs of one
 *(the bytes of a row that are in its file only, space in a segment's files, the files of a new segment) it
 *asks for here, before it has changed anything. What is not at hand is noted, and the change ends with
 *-EAGAIN and without a record. Whoever runs it makes ready what was noted (rows_fetch), without the lock, and
 *runs the change again:
 *
 *	struct ahead ahead = {0};
 *	int rc;
 *
 *	do {
 *		rc = change_once(s, &ahead, ...);
 *	} while (rc == -EAGAIN && !(rc = rows_fetch(s, &ahead)));
 *	ahead_free(s, &ahead);
 *
 * Bytes that were read count only while their row is at the same place with the same metadata: each change of
 * a row moves its ctime, and within a segment rows move down only, so that none comes back to where it was.
 *
 * One collection at a time has files made: who makes a segment, or takes numbers for some, excludes others
 * (making_begin), from before it looks which number is free until the segment is the collection's, or its
 * files are gone again.
 */
#ifndef VECFS_STORE_LOG_AHEAD_H
#define VECFS_STORE_LOG_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/base/format.h"
#include "store/store.h"

struct collection;
struct segment;
struct vs_snapshot;

/* The vector of a row, as it was when the row's metadata were these. */
struct ahead_row {
	struct segment *seg; /* counted */
	uint32_t slot;
	struct row meta;
	char *data; /* NULL until it is read */
	int error;  /* of reading it */
};

/* Somebody makes files for a collection, or with MAKING_ATTACH attaches to it; in a list of the store. Who
 * does both begins with the latter. */
#define MAKING_ATTACH (1u << 31)
struct making {
	uint32_t collection;
	struct making *next;
};

struct ahead {
	struct ahead_row *rows;
	size_t count, capacity, read; /* those from `read` on have yet to be read */
	struct vs_snapshot *spill;    /* counted: its copies in memory are to be written to its file */
	struct segment *space;        /* counted: so much is to be allocated in its files */
	uint32_t space_rows, space_granules;
	struct segment *copy; /* counted: space for rows of its own is to be reserved (segment_make_copy) */
	uint32_t waits;       /* for the attach to this collection that is under way; 0: for none */
	bool wants_segment;   /* number `n` of collection `making.collection`, for vectors of this kind */
	uint32_t n;
	struct vs_schema schema;
	struct segment *made; /* its files are there; it is nobody's yet */
	bool is_making;
	struct making making;
};

/*
 * Under the lock. Each returns 0 if what is asked for is at hand, or else notes it: -EAGAIN; -ENOMEM.
 */
/* A row's vector, copied to buf (NULL: it is only to be at hand), not verified. Also an error of the disk. */
int ahead_row(struct ahead *a, const struct collection *c, uint32_t row, void *buf);
/* Space in a segment's files for rows below rows and names below granules. */
int ahead_space(struct ahead *a, struct segment *seg, uint32_t rows, uint32_t granules);
/* That a shared segment can get a rows column of its own. */
int ahead_copy(struct ahead *a, struct segment *seg);
/* Segment n, made, in *out: its reference is the caller's. */
int ahead_segment(struct ahead *a, const struct collection *c, uint32_t n, struct segment **out);
/* That no attach to the collection is under way, for a change of its ids. */
int ahead_attach(struct ahead *a, const struct collection *c);
/* Takes back a segment that ahead_segment gave; its files will go. */
void ahead_return(struct ahead *a, struct segment *seg);

/* Makes ready what was noted. Without any lock. -ENOSPC and other errors of the disk; -ENOMEM; -ENOENT: the
 * collection is gone. */
int ahead_fetch(struct vs_store *s, struct ahead *a);
/* Frees all of it, and removes what was made and not used. Without any lock. */
void ahead_free(struct vs_store *s, struct ahead *a);

/* Excludes all others who make files for a collection; waits for them. Without the store's lock; never by a
 * leader or the applier. */
void making_begin(struct vs_store *s, struct making *m, uint32_t collection);
void making_end(struct vs_store *s, struct making *m);
/* Reserves the space of a rows column of its own for a segment that is shared, of which the caller has a
 * reference; may wait for the applier. Without any lock. -ENOSPC. */
int ahead_make_copy(struct vs_store *s, struct segment *seg);
/* Makes a collection's directory, if it has none. Without the store's lock. -ENOENT: it is gone. */
int ahead_directory(struct vs_store *s, uint32_t collection);

#endif
