/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment - the files of up to 2^shift rows of a collection: vectors (a valid .npy file), rows, names
 * (format.h).
 *
 * Rows and names are read through shared mappings (a page that cannot be read is zeros, which no checksum
 * fits: io.h), vectors with pread (an error of the disk is then an error code and not a signal), but for
 * searches, which scan a mapping of them at the speed of memory: within io_guard, so that an error of the
 * disk is no more than a reason to read these rows with pread. Everything is written with pwrite, by the
 * applier (apply.h). Space is allocated before a row is acknowledged, so that writing it later cannot fail
 * for want of space.
 *
 * A segment is counted: its collection holds a reference, and so does whoever uses it without the store's
 * lock, or for longer. Descriptors and mappings are caches (file_cache.h): they come when they are needed,
 * and may go between two uses.
 *
 * A number of a collection without rows is a placeholder: a segment without files.
 */
#ifndef VECFS_STORE_SEGMENT_SEGMENT_H
#define VECFS_STORE_SEGMENT_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/segment/codes.h"
#include "store/segment/file_cache.h"
#include "store/base/format.h"
#include "store/io/io.h"
#include "store/segment/name_heap.h"
#include "store/store.h"

/* Segments whose file of vectors is one and the same, under several names. Under the store's lock. */
struct share {
	unsigned users;     /* segments; the last one frees it */
	unsigned strangers; /* names of the file that are no segment's, and stay */
	unsigned kept;      /* users whose names have gone, but open snapshots read there */
};

struct segment {
	uint32_t collection;
	uint32_t n;          /* its number in the collection */
	struct files *files; /* NULL: the descriptors are the caller's own business (check), or there are no
				files */
	unsigned refs;       /* under the mutex of files */
	/* Its files are still this batch's, as segment_attach_paths says; 0: they are where they belong. */
	_Atomic uint32_t batch;
	uint32_t batch_n;
	bool uploaded;
	uint32_t origin;       /* that batch, also once they are where they belong; 0: they always were */
	uint32_t count;        /* rows in use, by what is acknowledged */
	uint32_t deleted;      /* rows among them that wait for the vacuum, */
	uint64_t *deleted_map; /* a bit each (rows_max bits); NULL while deleted is 0 */
	uint32_t rows_max;
	size_t row_bytes;
	int fd[SEGMENT_COLUMNS]; /* of the cache: segment_file() */
	struct file_use use[SEGMENT_COLUMNS];
	/* Where a column that is_mapped is, or NULL: segment_rows(). That of the rows comes last: who sees it
	 * sees all. */
	const void *mapped[SEGMENT_COLUMNS];
	struct map_use map;
	const char *vectors; /* the file of vectors, mapped, or NULL: segment_vectors() */
	struct map_use vector_map;
	struct codes *codes;         /* derived columns, under the store's lock (codes.h) */
	uint32_t allocated;          /* rows that have space in vectors and rows */
	uint32_t names_allocated;    /* granules */
	pthread_mutex_t space_mutex; /* of who allocates or gives back space: taken before the store's lock */
	struct name_heap names;
	struct share *share;        /* NULL: its file of vectors is its own */
	bool copy_reserved;         /* there is space for rows of its own: N.rows.copy, or its own already */
	_Atomic bool copy_made;     /* N.rows.copy may be there */
	uint32_t clonings;          /* so often its rows have become another's, too */
	_Atomic unsigned snapshots; /* open ones that have rows of it */
	bool share_kept;            /* it is such a user of its share */
	uint32_t source;   /* where the files are if they are not at their place: this collection's, of the
			      same number; of a clone that is not linked */
	bool cloned;       /* at opening: the log has made a clone of it, or it of another; such a file is
			      there until the clone has been linked */
	bool logged;       /* at opening: the log may have changed how many rows it has */
	bool fetched;      /* at opening: its files have been asked for (prefetch.h) */
	bool uncut;        /* shared files are as long as they were */
	bool digest_valid; /* the digests of the last clean catalog still hold */
	uint64_t digests[SEGMENT_COLUMNS];
	uint32_t high;   /* the most rows it has had since space was given back */
	uint32_t trims;  /* RECORD_TRIM that the applier has not passed: until then rows beyond count may be
			    written. Who attaches counts as one as well: its number is not another's until then
			  */
	uint32_t adopts; /* RECORD_ATTACH of its number that a recovery has yet to pass: records before them
			    are of others */
	bool going;      /* all its rows are gone, and soon its files: nothing is added to it */
	bool closed;     /* rows of it will go with an attach: nothing is added to it until then */
	_Atomic bool unlinked; /* the files have no names any more */
	/* The applier's. */
	uint32_t applied;            /* rows in the files */
	uint32_t header_rows;        /* what the .npy header says; UINT32_MAX: not known */
	bool alone[SEGMENT_COLUMNS]; /* the file is known to have one name */
};

/* log2 of the rows in a full segment of vectors of this size. */
unsigned segment_shift(size_t row_bytes);
#define SEGMENT_PATH_MAX 64
void segment_path(char path[SEGMENT_PATH_MAX], uint32_t collection, uint32_t n, enum segment_column column);

/* The files that a committing batch hands over: those of its segment n, or of part n of its upload. */
void segment_attach_paths(char paths[SEGMENT_COLUMNS][SEGMENT_PATH_MAX], uint32_t batch, uint32_t n,
			  bool uploaded);

/* A number without files, that holds so many rows and granules by what a catalog or log says. NULL: no
 * memory. */
struct segment *segment_placeholder(uint32_t n, uint32_t count, uint32_t name_heap_end);
static inline bool segment_has_files(const struct segment *seg)
{
	return seg->files;
}
/* Creates the files of an empty segment (orphans of that name are emptied). One reference is the
 * caller's. */
int segment_create(struct files *files, uint32_t collection, uint32_t n, const struct vs_schema *schema,
		   struct segment **out);
/* The same, but what there is of the files keeps its contents: for a recovery, whose log may have the rest.
 */
int segment_create_missing(struct files *files, uint32_t collection, uint32_t n,
			   const struct vs_schema *schema, struct segment **out);
/* Opens existing files. -EUCLEAN if one is shorter than count rows and name_heap_end granules need. */
int segment_open(struct files *files, uint32_t collection, uint32_t n, const struct vs_schema *schema,
		 uint32_t count, uint32_t name_heap_end, struct segment **out);
/*
 * The same for the files of a batch, which are to become a segment of a collection: its number there is not
 * known yet. Its mapping stays until segment_map_release.
 */
int segment_open_batch(struct files *files, uint32_t collection, uint32_t batch, uint32_t batch_n,
		       bool uploaded, const struct vs_schema *schema, uint32_t count, uint32_t name_heap_end,
		       struct segment **out);
/* The same for segment n of a collection, whose files may have moved there already, or some of them: of a
 * store that is only read, which cannot move them. */
int segment_open_moving(struct files *files, uint32_t collection, uint32_t n, uint32_t batch,
			uint32_t batch_n, bool uploaded, const struct vs_schema *schema,
			struct segment **out);
/* The same for a segment of a clone, whose files may still be those of collection source only; moving (or
 * NULL) tells where these are. */
int segment_open_linking(struct files *files, uint32_t collection, uint32_t n, uint32_t source,
			 const struct record_attach *moving, const struct vs_schema *schema,
			 struct segment **out);
/* A segment without files, all of whose rows are in the overlay: of a store that is only read. -ENOMEM. */
int segment_unbacked(uint32_t n, const struct vs_schema *schema, struct segment **out);
/* -EUCLEAN if a file is shorter than what is in use. */
int segment_verify_size(struct segment *seg);
void segment_get(struct segment *seg);
/* Gives a reference back; the last one closes the files. seg may be NULL. */
void segment_put(struct io *io, struct segment *seg);
/* A segment whose files are opened when they are needed: of a snapshot, or clone. -ENOMEM. */
int segment_later(struct files *files, uint32_t collection, uint32_t n, const struct vs_schema *schema,
		  uint32_t count, uint32_t name_heap_end, struct segment **out);
/* Removes a segment's files; missing ones do not matter. The first error, but it goes on. */
int segment_unlink(struct io *io, uint32_t collection, uint32_t n);

/*
 * The descriptor of a column, which stays open until segment_file_done; opened if it is not. Any thread.
 */
int segment_file(struct segment *seg, enum segment_column column);
void segment_file_done(struct segment *seg, enum segment_column column);
/* The same of what has been written. */
void segment_file_written(struct segment *seg, enum segment_column column);
/* Opens a column as segment_file does, by the names its files have now, for the cache. */
int segment_file_open(struct segment *seg, enum segment_column column);
/* Nobody needs to sync what was written. */
void segment_write_off(struct segment *seg);
/* Reads or writes all of a range of a column. A write marks it as to be synced: the applier's. */
int segment_read(struct segment *seg, enum segment_column column, void *buf, size_t size, uint64_t off);
int segment_writev(struct segment *seg, enum segment_column column, struct iovec *iov, int count,
		   uint64_t off);
/* Maps rows and names. */
int segment_map(struct segment *seg);
/*
 * The rows, and with them the names: NULL if they cannot be mapped. Valid while the store's lock is held, or
 * the mapping is kept.
 */
static inline const struct row *segment_rows(const struct segment *seg)
{
	const struct row *rows = __atomic_load_n(&seg->mapped[SEGMENT_ROWS], __ATOMIC_ACQUIRE);

	if (!rows && seg->files && !segment_map((struct segment *)(uintptr_t)seg))
		rows = __atomic_load_n(&seg->mapped[SEGMENT_ROWS], __ATOMIC_ACQUIRE);
	return rows;
}
/* Keeps the mapping, without the lock too, until it is released. Begun under the lock, or by the only one who
 * knows it. */
void segment_map_keep(struct segment *seg);
void segment_map_release(struct segment *seg);
void segment_unmap(struct io *io, const struct segment *seg, const void *const maps[SEGMENT_COLUMNS]);

/*
 * The file of vectors, header included, mapped until segment_vectors_done; NULL if it cannot be. Any thread,
 * with a reference to the segment. Where the file cannot be read, or ends, touching it is SIGBUS: look at it
 * within io_guard.
 */
const char *segment_vectors(struct segment *seg);
void segment_vectors_done(struct segment *seg);

/* other gets the same share as seg, whose file of vectors its own is a name of. -ENOMEM. Under the store's
 * lock, alone. */
int segment_share(struct segment *seg, struct segment *other);
/* The names of its files have gone. While open snapshots have rows of it, which they read there, the others
 * must not change these files either: the share is kept, until this is called once more. */
void segment_share_leave(struct segment *seg);
/* The same of a segment whose name of the file stays: those of the others are still shared. */
void segment_share_abandon(struct segment *seg);
/* Whether its files are another's, too: then it takes no rows, and rows go by being marked. */
static inline bool segment_is_shared(const struct segment *seg)
{
	return seg->share && seg->share->users + seg->share->strangers > 1;
}
/* The applier's: whether a column's file has other names, and so must not be changed: 0, 1 or -errno. */
int segment_is_linked(struct segment *seg, enum segment_column column);
/* Makes the file for a copy of the rows column, with space for so many, under space_mutex: who does it sets
 * copy_reserved and copy_made then. -ENOSPC. */
int segment_make_copy(const struct segment *seg, uint32_t rows);
/* Removes it, if it was not needed. */
int segment_drop_copy(struct segment *seg);
/* The applier's: puts a durable copy of the rows column in its place, which those who have it open do not see
 * before segment_reopen_rows. */
int segment_copy_rows(struct segment *seg);
/* Forgets the descriptor and the mapping of the rows column. Under the store's lock, alone. -EBUSY: somebody
 * uses them without it. */
int segment_reopen_rows(struct segment *seg);

/* What has space in a segment's files. */
struct segment_space {
	uint32_t rows, granules;
};
/* Allocates space for rows below rows and names below granules, where *space has less, and says in it what
 * there is now; also when it fails. -ENOSPC. Under space_mutex. */
int segment_allocate(struct segment *seg, uint32_t rows, uint32_t granules, struct segment_space *space);
/* Where a slot's vector is. */
static inline uint64_t segment_offset(const struct segment *seg, uint32_t slot)
{
	return column_bytes(SEGMENT_VECTORS, seg->row_bytes, slot);
}
/* Bytes of a column with so many units, of what is in use of one, and of one of the largest segment. */
static inline uint64_t segment_column_bytes(const struct segment *seg, enum segment_column column,
					    uint64_t units)
{
	return column_bytes(column, seg->row_bytes, units);
}
static inline uint64_t segment_column_bytes_used(const struct segment *seg, enum segment_column column)
{
	return segment_column_bytes(seg, column, column_defs[column].is_heap ? seg->names.end : seg->count);
}
static inline uint64_t segment_column_bytes_max(const struct segment *seg, enum segment_column column)
{
	return segment_column_bytes(seg, column,
				    (uint64_t)seg->rows_max * column_defs[column].units_a_slot_max);
}
/* The heap of ids, as long as segment_rows are there. */
static inline const char *segment_names(const struct segment *seg)
{
	return seg->mapped[SEGMENT_NAMES];
}
static inline const char *segment_name(const struct segment *seg, const struct row *row)
{
	return segment_names(seg) + (size_t)row->name_at * NAME_GRANULE;
}
static inline uint64_t row_entry(const struct row *row)
{
	return (uint64_t)row->entry_high << 32 | row->entry_low;
}
static inline void row_set_entry(struct row *row, uint64_t entry)
{
	row->entry_low = (uint32_t)entry;
	row->entry_high = (uint8_t)(entry >> 32);
}

static inline bool segment_is_deleted(const struct segment *seg, uint32_t slot)
{
	return seg->deleted && seg->deleted_map[slot / 64] >> (slot % 64) & 1;
}
/* Allocates the deleted_map, so that segment_set_deleted cannot fail. -ENOMEM. */
int segment_reserve_deleted(struct segment *seg);
/* -ENOMEM; the row must not be marked yet. */
int segment_set_deleted(struct segment *seg, uint32_t slot);
void segment_clear_deleted(struct segment *seg, uint32_t slot);
/* The same with many: count rows of a bitmap of whole words, after segment_reserve_deleted; and with all. */
void segment_set_deleted_map(struct segment *seg, const uint64_t *map, uint32_t count);
void segment_clear_all_deleted(struct segment *seg);
/* The first deleted row, of which there is one. */
uint32_t segment_first_deleted(const struct segment *seg);

/* Whether a row of the file is what was written: its place in the name heap is possible and its sum fits. */
bool segment_row_valid(const struct segment *seg, const struct row *row);

/* At an opening: whether the .npy header is right already. */
void segment_learn_header(struct segment *seg, const struct vs_schema *schema);
/* The applier's: brings the .npy header up to count rows. */
int segment_write_header(struct segment *seg, const struct vs_schema *schema, uint32_t count);
/* The applier's: datasync of what is dirty. */
int segment_sync(struct segment *seg);
/* Anybody's: the same, and it stays to be synced by the applier. */
int segment_sync_written(struct segment *seg);
/* Cuts the files to what is in use and computes the digests: the last step, but for a sync, before a clean
 * catalog. */
int segment_finalize(struct segment *seg, const struct vs_schema *schema);
/* Whether so many rows have gone that their space is worth giving back. */
bool segment_is_loose(const struct segment *seg);
/*
 * Gives the space of rows past count back to the file system; the files keep their size. First, under the
 * store's lock, alone, and only while trims is 0, it is said that there is none: whoever wants to write there
 * has to allocate, and waits for space_mutex, under which both of these are called.
 */
struct segment_hole {
	uint32_t first, end; /* rows */
};
struct segment_hole segment_give_up(struct segment *seg);
void segment_punch(struct segment *seg, struct segment_hole hole);

#endif
