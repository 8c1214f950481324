/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot_state - what an open snapshot is made of, for the files of store/snapshot/.
 *
 * snapshot.c has its beginning, its end and its numbers of rows; before_image.c the copies of what has
 * changed since; snapshot_rows.c metadata and ids, snapshot_vectors.c vectors, snapshot_run.c rows as they
 * lie in a mapping; ids_file.c all ids as one text; borrowed.c what another process has open.
 */
#ifndef VECFS_STORE_SNAPSHOT_SNAPSHOT_STATE_H
#define VECFS_STORE_SNAPSHOT_SNAPSHOT_STATE_H

#include "store/engine.h"
#include "store/snapshot/borrowed.h"
#include "store/snapshot/snapshot.h"

#define SNAPSHOT_IDS_ROWS 4096u /* looked up under one hold of the store's lock */

/*
 * A copy of a row that has changed since the snapshot was opened, with the index that `kept` has for the row.
 * Those below `spilled` are in the spill file, an unlinked file of fixed-size items; the others are in
 * memory, since who makes them holds the store's lock.
 */
struct before_image {
	struct row row;
	char name[256];
	/* The vector's bytes follow. */
};

struct borrowed;

struct vs_snapshot {
	struct vs_store *s;
	struct borrowed *borrowed; /* of one that is, which has s, info and ids_mutex beside it; else NULL */
	struct collection *c;      /* NULL once the collection is gone: everything is kept then */
	struct vs_snapshot *next;  /* of the collection's */
	unsigned users;
	uint64_t opened; /* counts up in the store */
	struct vs_snapshot_info info;
	unsigned shift;
	uint32_t segment_count;
	uint32_t *counts;          /* rows of each segment then, */
	struct segment **segments; /* with a reference to each that had some, */
	uint64_t **deleted;        /* and a bit for each of them that waited for the vacuum; NULL: none did */
	uint32_t *living;          /* how many did not */
	struct entry_map kept;
	uint64_t kept_count;
	int broken; /* a copy could not be kept: the snapshot is lost, its readers get this */
	pthread_mutex_t images_mutex;
	struct before_image **images; /* [spilled, kept_count), */
	size_t images_capacity;
	uint64_t spilled;
	pthread_mutex_t spill_mutex; /* one thread at a time writes them */
	int spill_fd;                /* -1 until something is written */
	pthread_mutex_t ids_mutex;
	struct ids_file { /* by enum idlist_separator */
		int fd;   /* once somebody has asked for it; -1 before */
		uint64_t bytes;
	} ids[2];
};

static inline size_t snapshot_image_bytes(const struct vs_snapshot *m)
{
	return sizeof(struct before_image) + m->info.row_bytes;
}

/* Whether it was deleted when the snapshot was opened, of segment n. */
static inline bool snapshot_was_deleted(const struct vs_snapshot *m, uint32_t n, uint32_t slot)
{
	return m->deleted[n] && m->deleted[n][slot / 64] >> (slot % 64) & 1;
}

/* ---- snapshot.c */

/* A file that goes when it is closed. A crash may leave its name; recovery removes it. */
int snapshot_scratch(struct vs_store *s);
/* Finds row n of the snapshot: its number in the collection, and how many more follow it in its segment,
 * without deleted ones among them. */
uint32_t snapshot_row(const struct vs_snapshot *m, uint64_t n, uint32_t *more);

/* ---- before_image.c */

/* Frees n copies, the first ones of the held in memory, which have been written. */
void snapshot_images_drop(struct vs_snapshot *m, size_t n, uint64_t held);
/* The index of a row's copy, or ROW_NONE. Under the lock. */
static inline uint32_t snapshot_image_of(const struct vs_snapshot *m, uint32_t row)
{
	return m->kept_count ? entry_map_get(&m->kept, row) : ROW_NONE;
}
/* Copies one that is still in memory; false: it is in the spill file, for good. */
bool snapshot_image_copy(const struct vs_snapshot *m, uint32_t index, struct before_image *head, void *data);
/* The same from wherever it is. Without the lock. */
int snapshot_image_read(const struct vs_snapshot *m, uint32_t index, struct before_image *head, void *data);

/* ---- snapshot_rows.c */

/*
 * Where a row's metadata and its id are: in the collection, or, once it has changed, in *head. *r is NULL if
 * they are damaged. Under the lock, which is given up meanwhile if the spill file has to be read.
 */
int snapshot_find_meta(const struct vs_snapshot *m, uint32_t row, struct before_image *head,
		       const struct row **r, const char **name);
/* The record that waits for the applier with this row's latest vector or metadata, or NULL. Under the lock.
 */
const struct overlay_item *snapshot_pending(const struct vs_snapshot *m, uint32_t row);

/* Whether bit i of a mask of rows is set; without one all are wanted. */
static inline bool snapshot_is_wanted(const uint64_t *wanted, uint64_t i)
{
	return !wanted || wanted[i / 64] >> i % 64 & 1;
}

#endif
