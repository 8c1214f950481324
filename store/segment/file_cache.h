/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file_cache - how many descriptors and mappings of segments there are at a time, however many segments there
 * are.
 *
 * A descriptor is opened when it is needed (segment_file), stays open while somebody uses it, and then until
 * room is needed, the longest unused first. What was written and not yet synced stays open: a descriptor that
 * is opened later need not be told that writing back has failed. Only the applier writes and syncs (apply.h),
 * so it keeps their number small.
 *
 * A mapping is made when it is needed (segment_rows), and is used under the store's lock, or kept. Mappings
 * are given up, oldest first, while the lock is held alone. Vectors are mapped for who scans them
 * (segment_vectors): like a descriptor, a mapping stays while somebody uses it, and then until room is
 * needed.
 *
 * The mutex is the innermost lock, and is never held over a call of the system.
 */
#ifndef VECFS_STORE_SEGMENT_FILE_CACHE_H
#define VECFS_STORE_SEGMENT_FILE_CACHE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "store/io/io.h"
#include "store/segment/column.h"

struct codes;
struct segment;

/* Of a descriptor: its place in the list of those that nobody uses. */
struct file_use {
	struct segment *seg;
	enum segment_column column;
	unsigned users;
	bool dirty;          /* written since the last datasync */
	size_t behind_bytes; /* written since the disk was last asked to begin: the writer's alone */
	struct file_use *prev, *next;
};

/* Of a segment's mappings: rows and names, or vectors. */
struct map_use {
	struct segment *seg;
	unsigned keepers; /* it must stay while there are any; that of vectors is in no ring then */
	struct map_use *prev, *next;
};

struct files {
	struct io *io;
	bool read_only; /* nothing is opened for writing; a recovery needs to, also of a store that is then
			   only read */
	pthread_mutex_t mutex;
	struct file_use clean, dirty; /* heads of rings: oldest next */
	unsigned open, open_max;
	_Atomic unsigned dirty_count;
	struct map_use maps; /* the same */
	_Atomic unsigned mapped;
	unsigned mapped_max;
	struct map_use vector_maps;                  /* the same of vectors, of those that nobody uses */
	unsigned vectors_mapped, vectors_mapped_max; /* used ones included */
	struct codes *codes_first, *codes_last; /* mapped ones that nobody uses, oldest first (codes.h) */
	unsigned codes_mapped;                  /* at most vectors_mapped_max, too */
};

#define FILES_OPEN_DEFAULT 512u
/* A process may have 65,530 mappings (vm.max_map_count); a segment has two. */
#define FILES_MAPPED_DEFAULT 16384u
/* Of vectors, at 256 MiB and half a MiB of page tables each. */
#define FILES_VECTORS_MAPPED_MAX 256u

/* open_max and mapped_max: how many there may be, 0 for the defaults. */
void files_init(struct files *f, struct io *io, bool read_only, unsigned open_max, unsigned mapped_max);
void files_free(struct files *f);
/* Puts a new segment under this cache. */
void files_attach(struct files *f, struct segment *seg);
/* Gives the cache the descriptor of a column just created. */
void files_put(struct segment *seg, enum segment_column column, int fd);
/* Closes one descriptor that nobody uses. false: there is none. */
bool files_evict(struct files *f);
/* Whether so much waits to be synced that whoever makes more should wait for the applier. */
static inline bool files_dirty_full(const struct files *f)
{
	return atomic_load_explicit(&f->dirty_count, memory_order_relaxed) >
	       f->open_max / 2 + f->open_max / 4;
}
/* The applier's: syncs what was written, if so much waits for that that others may soon find no room. */
int files_relieve(struct files *f);
/* The same before an end of everything with one files_sync_all(), which needs no descriptors: nothing is
 * synced yet. */
void files_relieve_unsynced(struct files *f);
/* The applier's: syncs what was written; names as well, unless io->syncs_singly. */
int files_sync_all(struct files *f);
/* The applier's: syncs what was written if that is so much that one call for everything takes less. */
int files_sync_many(struct files *f);
/* Whether there are more mappings than there should be. */
static inline bool files_mapped_full(const struct files *f)
{
	return atomic_load_explicit(&f->mapped, memory_order_relaxed) > f->mapped_max;
}
#define UNMAP_AT_ONCE 64u
struct files_unmapped {
	unsigned count;
	struct segment *segments[UNMAP_AT_ONCE]; /* counted */
	const void *maps[UNMAP_AT_ONCE][SEGMENT_COLUMNS];
};
/* Takes the oldest mappings from their segments, under the store's lock, alone; then they are unmapped
 * without it. */
void files_forget_oldest(struct files *f, struct files_unmapped *list);
void files_unmap(struct files *f, const struct files_unmapped *list);

#endif
