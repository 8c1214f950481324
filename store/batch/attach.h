/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach - a large batch becomes its parent's: the state of that, for attach.c, which makes the change, and
 * attach_slices.c, which makes ready before it and tidies up after it what takes long, in slices.
 */
#ifndef VECFS_STORE_BATCH_ATTACH_H
#define VECFS_STORE_BATCH_ATTACH_H

#include "store/batch/batch_commit.h"

/* Where the id of a row that goes is, in a segment whose free places are known. */
struct name_place {
	uint32_t segment, at;
	uint8_t len;
};

/* An attach under way. */
struct attach {
	struct batch_commit *j;
	struct attaching attaching; /* what the collection knows of it */
	struct attaching_part *parts;
	uint64_t *hashes;                          /* of the ids of a slice */
	uint32_t *numbers;                         /* which segments of the parent they are to be, */
	uint64_t filled;                           /* and how many entries have got their rows there */
	uint64_t indexed;                          /* rows of all parts, in order */
	uint64_t name_bytes, line_bytes;           /* of their ids */
	uint64_t gone_name_bytes, gone_line_bytes; /* of those of the rows that go */
	struct name_place *names; /* of some of these, until they are free, from the end on */
	size_t name_count, name_capacity;
	bool lays_out;     /* the parent has had no id */
	uint64_t kept_for; /* snapshots up to this one have copies of the rows that go */
	unsigned keeps;    /* how often copies were made */
};

/* Begins; from here on the ids of the parent stay as they are. On failure too attach_finish is to be called.
 */
int attach_slices_begin(struct attach *a);
/* Finds the rows of the ids to delete, indexes all new rows, finds those that they replace, and keeps what
 * goes for snapshots. */
int attach_index(struct attach *a);
/* Makes ready what others may have undone by the time the change is made: before-images for snapshots,
 * numbers for the parts, rows columns for shared segments. By who makes files for the parent. */
int attach_make_ready(struct attach *a);
/* Whether that is still so. Under the lock. */
bool attach_is_ready(const struct attach *a, const struct collection *parent);
/* Whether a segment loses all its rows. Under the lock, before the change. */
bool attach_takes_all(const struct attach *a, const struct segment *seg);
/* Ends it: after the change what leads to the rows that have gone is removed, else what has been made ready.
 */
void attach_finish(struct attach *a);

#endif
