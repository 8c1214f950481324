/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment/file_cache.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "store/io/crew.h"
#include "store/segment/segment.h"

#define SYNC_MANY 64u                 /* files: then one call for all takes less time */
#define WRITE_BEHIND_BYTES (1u << 20) /* of a file */

/* At most half of what the process may open: there are others who need some. */
static unsigned default_open_max(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur / 2 >= FILES_OPEN_DEFAULT)
		return FILES_OPEN_DEFAULT;
	return limit.rlim_cur / 2 ? (unsigned)(limit.rlim_cur / 2) : 1;
}

void files_init(struct files *f, struct io *io, bool read_only, unsigned open_max, unsigned mapped_max)
{
	memset(f, 0, sizeof *f);
	f->io = io;
	f->read_only = read_only;
	f->open_max = open_max ? open_max : default_open_max();
	f->mapped_max = mapped_max ? mapped_max : FILES_MAPPED_DEFAULT;
	f->clean.prev = f->clean.next = &f->clean;
	f->dirty.prev = f->dirty.next = &f->dirty;
	f->maps.prev = f->maps.next = &f->maps;
	f->vector_maps.prev = f->vector_maps.next = &f->vector_maps;
	f->vectors_mapped_max =
		f->mapped_max < FILES_VECTORS_MAPPED_MAX ? f->mapped_max : FILES_VECTORS_MAPPED_MAX;
	pthread_mutex_init(&f->mutex, NULL);
}

void files_free(struct files *f)
{
	assert(!f->open && !f->mapped && !f->vectors_mapped && !f->codes_mapped);
	pthread_mutex_destroy(&f->mutex);
}

void files_attach(struct files *f, struct segment *seg)
{
	seg->files = f;
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++) {
		seg->fd[i] = -1;
		seg->use[i] = (struct file_use){.seg = seg, .column = i};
	}
	seg->map.seg = seg->vector_map.seg = seg;
}

/* ------------------------------------------------------------------ the rings; under the mutex */

static void use_unlink(struct file_use *u)
{
	u->prev->next = u->next;
	u->next->prev = u->prev;
	u->prev = u->next = NULL;
}

static void use_link(struct files *f, struct file_use *u)
{
	struct file_use *head = u->dirty ? &f->dirty : &f->clean;

	u->prev = head->prev;
	u->next = head;
	head->prev->next = u;
	head->prev = u;
}

static void use_begin(struct file_use *u)
{
	if (!u->users++)
		use_unlink(u);
}

static void use_end(struct files *f, struct file_use *u)
{
	assert(u->users);
	if (!--u->users)
		use_link(f, u);
}

static void map_unlink(struct files *f, struct map_use *m)
{
	m->prev->next = m->next;
	m->next->prev = m->prev;
	m->prev = m->next = NULL;
	f->mapped--;
}

/* ------------------------------------------------------------------ descriptors */

bool files_evict(struct files *f)
{
	struct file_use *u;
	int fd = -1;

	pthread_mutex_lock(&f->mutex);
	u = f->clean.next;
	if (u != &f->clean) {
		use_unlink(u);
		fd = u->seg->fd[u->column];
		u->seg->fd[u->column] = -1;
		f->open--;
	}
	pthread_mutex_unlock(&f->mutex);
	if (fd >= 0)
		f->io->ops->close(f->io, fd);
	return fd >= 0;
}

/* Opens a column that was found closed; another thread may be as fast. */
static int file_add(struct segment *seg, enum segment_column column)
{
	struct files *f = seg->files;
	int fd = segment_file_open(seg, column), spare = -1;
	bool full;

	while ((fd == -EMFILE || fd == -ENFILE) && files_evict(f))
		fd = segment_file_open(seg, column);
	if (fd < 0)
		return fd;
	pthread_mutex_lock(&f->mutex);
	if (seg->fd[column] >= 0) {
		spare = fd;
		use_begin(&seg->use[column]);
	} else {
		seg->fd[column] = fd;
		seg->use[column].users = 1;
		f->open++;
	}
	fd = seg->fd[column];
	full = f->open > f->open_max;
	pthread_mutex_unlock(&f->mutex);
	if (spare >= 0)
		f->io->ops->close(f->io, spare);
	if (full)
		files_evict(f);
	return fd;
}

int segment_file(struct segment *seg, enum segment_column column)
{
	struct files *f = seg->files;
	int fd;

	pthread_mutex_lock(&f->mutex);
	fd = seg->fd[column];
	if (fd >= 0)
		use_begin(&seg->use[column]);
	pthread_mutex_unlock(&f->mutex);
	return fd >= 0 ? fd : file_add(seg, column);
}

void segment_file_done(struct segment *seg, enum segment_column column)
{
	struct files *f = seg->files;

	pthread_mutex_lock(&f->mutex);
	use_end(f, &seg->use[column]);
	pthread_mutex_unlock(&f->mutex);
}

void segment_file_written(struct segment *seg, enum segment_column column)
{
	struct files *f = seg->files;
	struct file_use *u = &seg->use[column];

	pthread_mutex_lock(&f->mutex);
	f->dirty_count += !u->dirty;
	u->dirty = true;
	use_end(f, u);
	pthread_mutex_unlock(&f->mutex);
}

void files_put(struct segment *seg, enum segment_column column, int fd)
{
	struct files *f = seg->files;
	bool full;

	pthread_mutex_lock(&f->mutex);
	seg->fd[column] = fd;
	use_link(f, &seg->use[column]);
	full = ++f->open > f->open_max;
	pthread_mutex_unlock(&f->mutex);
	if (full)
		files_evict(f);
}

int segment_read(struct segment *seg, enum segment_column column, void *buf, size_t size, uint64_t off)
{
	int fd = segment_file(seg, column), rc;

	if (fd < 0)
		return fd;
	rc = io_read_full(seg->files->io, fd, buf, size, off);
	segment_file_done(seg, column);
	return rc;
}

/*
 * The disk begins early with what a checkpoint will wait for. Left to the checkpoint, which then has as much
 * to write as a whole log file holds, rows that lie scattered keep the disk for so long that the other log
 * file is full first, and all changes wait together.
 */
static void write_behind(struct io *io, struct file_use *u, int fd, size_t bytes)
{
	u->behind_bytes += bytes;
	if (u->behind_bytes < WRITE_BEHIND_BYTES)
		return;
	io->ops->write_behind(io, fd, 0, 0); /* if it fails, the checkpoint's sync will tell */
	u->behind_bytes = 0;
}

int segment_writev(struct segment *seg, enum segment_column column, struct iovec *iov, int count,
		   uint64_t off)
{
	int fd = segment_file(seg, column), rc;
	size_t bytes = 0;

	if (fd < 0)
		return fd;
	for (int i = 0; i < count; i++)
		bytes += iov[i].iov_len;
	rc = io_writev_full(seg->files->io, fd, iov, count, off);
	if (!rc)
		write_behind(seg->files->io, &seg->use[column], fd, bytes);
	segment_file_written(seg, column);
	return rc;
}

/* Syncs a file that was written, whose descriptor the caller has begun to use, and ends that use. */
static int use_sync(struct files *f, struct file_use *u, int fd)
{
	int rc = f->io->ops->datasync(f->io, fd);

	pthread_mutex_lock(&f->mutex);
	if (rc >= 0) {
		u->dirty = false;
		f->dirty_count--;
	}
	use_end(f, u);
	pthread_mutex_unlock(&f->mutex);
	return rc < 0 ? rc : 0;
}

/* Begins a use of a column's descriptor, which is open as long as there is something to sync. false: there is
 * nothing. */
static bool use_begin_dirty(struct segment *seg, enum segment_column column)
{
	struct file_use *u = &seg->use[column];
	bool dirty;

	pthread_mutex_lock(&seg->files->mutex);
	dirty = u->dirty;
	if (dirty)
		use_begin(u);
	pthread_mutex_unlock(&seg->files->mutex);
	return dirty;
}

int segment_sync(struct segment *seg)
{
	int rc = 0;

	for (enum segment_column i = 0; i < SEGMENT_COLUMNS && !rc; i++)
		if (use_begin_dirty(seg, i))
			rc = use_sync(seg->files, &seg->use[i], seg->fd[i]);
	return rc;
}

int segment_sync_written(struct segment *seg)
{
	struct io *io = seg->files->io;
	int rc = 0;

	for (enum segment_column i = 0; i < SEGMENT_COLUMNS && rc >= 0; i++) {
		if (!use_begin_dirty(seg, i))
			continue;
		rc = io->ops->datasync(io, seg->fd[i]);
		segment_file_done(seg, i);
	}
	return rc < 0 ? rc : 0;
}

void segment_write_off(struct segment *seg)
{
	struct files *f = seg->files;

	pthread_mutex_lock(&f->mutex);
	for (int i = 0; i < SEGMENT_COLUMNS; i++) {
		struct file_use *u = &seg->use[i];

		if (!u->dirty)
			continue;
		use_begin(u);
		u->dirty = false;
		f->dirty_count--;
		use_end(f, u);
	}
	pthread_mutex_unlock(&f->mutex);
}

/* Takes the uses of all written files that nobody uses, as a list, with a reference to each segment. */
static struct file_use *take_dirty(struct files *f)
{
	struct file_use *list = NULL, *u;

	pthread_mutex_lock(&f->mutex);
	while ((u = f->dirty.next) != &f->dirty) {
		use_begin(u);
		u->seg->refs++;
		u->next = list;
		list = u;
	}
	pthread_mutex_unlock(&f->mutex);
	return list;
}

/* Ends such uses, of files that are synced now if synced says so. */
static void end_dirty(struct files *f, struct file_use *list, bool synced)
{
	while (list) {
		struct file_use *u = list;
		struct segment *seg = u->seg;

		pthread_mutex_lock(&f->mutex);
		list = u->next;
		if (synced) {
			u->dirty = false;
			f->dirty_count--;
		}
		use_end(f, u);
		pthread_mutex_unlock(&f->mutex);
		segment_put(f->io, seg);
	}
}

/* A list of uses that a crew goes through. */
struct sync_call {
	struct files *f;
	const struct file_use *next;
};

static int sync_next(void *arg, size_t i)
{
	struct sync_call *call = arg;
	const struct file_use *u;

	(void)i;
	pthread_mutex_lock(&call->f->mutex);
	u = call->next;
	call->next = u->next;
	pthread_mutex_unlock(&call->f->mutex);
	return call->f->io->ops->datasync(call->f->io, u->seg->fd[u->column]);
}

static int sync_singly(struct files *f, const struct file_use *list)
{
	struct sync_call call = {f, list};
	size_t count = 0;

	for (const struct file_use *u = list; u; u = u->next)
		count++;
	return crew_run(f->io, count, sync_next, &call);
}

int files_sync_all(struct files *f)
{
	struct file_use *list = take_dirty(f);
	int rc = f->io->syncs_singly ? sync_singly(f, list) : f->io->ops->syncall(f->io);

	end_dirty(f, list, rc >= 0);
	return rc < 0 ? rc : 0;
}

int files_sync_many(struct files *f)
{
	return f->dirty_count >= SYNC_MANY || f->io->syncs_singly ? files_sync_all(f) : 0;
}

/* Closes what nobody uses while there is too much of it. */
static void evict_excess(struct files *f)
{
	bool more = true;

	while (more) {
		pthread_mutex_lock(&f->mutex);
		more = f->open > f->open_max;
		pthread_mutex_unlock(&f->mutex);
		more = more && files_evict(f);
	}
}

int files_relieve(struct files *f)
{
	int rc = f->dirty_count > f->open_max / 2 ? files_sync_all(f) : 0;

	evict_excess(f);
	return rc;
}

void files_relieve_unsynced(struct files *f)
{
	assert(!f->io->syncs_singly);
	if (f->dirty_count > f->open_max / 2)
		end_dirty(f, take_dirty(f), true);
	evict_excess(f);
}

/* ------------------------------------------------------------------ mappings */

/* Maps what is to be mapped of a segment. */
static int map_columns(struct segment *seg, const void *maps[SEGMENT_COLUMNS])
{
	struct io *io = seg->files->io;
	int rc = 0;

	for (enum segment_column i = 0; i < SEGMENT_COLUMNS && rc >= 0; i++) {
		void *p;
		int fd;

		if (!column_defs[i].is_mapped)
			continue;
		fd = segment_file(seg, i);
		rc = fd < 0 ? fd : io->ops->map(io, fd, segment_column_bytes_max(seg, i), true, &p);
		if (rc >= 0)
			maps[i] = p;
		if (fd >= 0)
			segment_file_done(seg, i);
	}
	return rc < 0 ? rc : 0;
}

int segment_map(struct segment *seg)
{
	const void *maps[SEGMENT_COLUMNS] = {NULL};
	int rc = map_columns(seg, maps);
	struct files *f = seg->files;
	bool used = false;

	pthread_mutex_lock(&f->mutex);
	if (!rc && !seg->mapped[SEGMENT_ROWS]) {
		for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++)
			if (i != SEGMENT_ROWS)
				seg->mapped[i] = maps[i];
		__atomic_store_n(&seg->mapped[SEGMENT_ROWS], maps[SEGMENT_ROWS], __ATOMIC_RELEASE);
		seg->map.prev = f->maps.prev;
		seg->map.next = &f->maps;
		f->maps.prev->next = &seg->map;
		f->maps.prev = &seg->map;
		f->mapped++;
		used = true;
	}
	pthread_mutex_unlock(&f->mutex);
	if (!used)
		segment_unmap(f->io, seg, maps);
	return rc;
}

/* Takes the mappings from a segment, which nobody looks at meanwhile. */
static void take_maps(struct segment *seg, const void *maps[SEGMENT_COLUMNS])
{
	memcpy(maps, seg->mapped, sizeof seg->mapped);
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++)
		__atomic_store_n(&seg->mapped[i], NULL, __ATOMIC_RELEASE);
}

/* Takes the mapping of the oldest segment into the list, unless it is kept. Under the mutex. */
static void forget_oldest(struct files *f, struct files_unmapped *list)
{
	struct map_use *m = f->maps.next;
	struct segment *seg = m->seg;

	map_unlink(f, m);
	if (m->keepers) {
		m->prev = f->maps.prev;
		m->next = &f->maps;
		f->maps.prev->next = m;
		f->maps.prev = m;
		f->mapped++;
		return;
	}
	take_maps(seg, list->maps[list->count]);
	seg->refs++;
	list->segments[list->count++] = seg;
}

void files_forget_oldest(struct files *f, struct files_unmapped *list)
{
	list->count = 0;
	pthread_mutex_lock(&f->mutex);
	for (unsigned seen = 0;
	     list->count < UNMAP_AT_ONCE && seen < 2 * UNMAP_AT_ONCE && files_mapped_full(f); seen++)
		forget_oldest(f, list);
	pthread_mutex_unlock(&f->mutex);
}

void files_unmap(struct files *f, const struct files_unmapped *list)
{
	for (unsigned i = 0; i < list->count; i++) {
		segment_unmap(f->io, list->segments[i], list->maps[i]);
		segment_put(f->io, list->segments[i]);
	}
}

int segment_reopen_rows(struct segment *seg)
{
	struct files *f = seg->files;
	struct file_use *u = &seg->use[SEGMENT_ROWS];
	const void *unwanted[SEGMENT_COLUMNS] = {NULL};
	int fd = -1;
	bool busy;

	pthread_mutex_lock(&f->mutex);
	busy = u->users || seg->map.keepers;
	if (!busy && seg->fd[SEGMENT_ROWS] >= 0) {
		use_unlink(u);
		f->dirty_count -= u->dirty;
		f->open--;
		u->dirty = false;
		fd = seg->fd[SEGMENT_ROWS];
		seg->fd[SEGMENT_ROWS] = -1;
	}
	if (!busy && seg->map.next) {
		map_unlink(f, &seg->map);
		take_maps(seg, unwanted);
	}
	pthread_mutex_unlock(&f->mutex);
	segment_unmap(f->io, seg, unwanted);
	if (fd >= 0)
		f->io->ops->close(f->io, fd);
	return busy ? -EBUSY : 0;
}

void segment_map_keep(struct segment *seg)
{
	pthread_mutex_lock(&seg->files->mutex);
	seg->map.keepers++;
	pthread_mutex_unlock(&seg->files->mutex);
}

void segment_map_release(struct segment *seg)
{
	pthread_mutex_lock(&seg->files->mutex);
	assert(seg->map.keepers);
	seg->map.keepers--;
	pthread_mutex_unlock(&seg->files->mutex);
}

/* ------------------------------------------------------------------ mappings of vectors */

static void vector_map_unlink(struct map_use *m)
{
	m->prev->next = m->next;
	m->next->prev = m->prev;
	m->prev = m->next = NULL;
}

/* Begins a use of the mapping, if there is one. Under the mutex. */
static const char *vectors_use(struct segment *seg)
{
	if (seg->vectors && !seg->vector_map.keepers++)
		vector_map_unlink(&seg->vector_map);
	return seg->vectors;
}

/* Maps what was found not mapped; another thread may be as fast. */
static const char *vectors_add(struct segment *seg)
{
	struct files *f = seg->files;
	int fd = segment_file(seg, SEGMENT_VECTORS), rc;
	const char *used;
	void *p;

	if (fd < 0)
		return NULL;
	rc = f->io->ops->map(f->io, fd, segment_column_bytes_max(seg, SEGMENT_VECTORS), true, &p);
	segment_file_done(seg, SEGMENT_VECTORS);
	if (rc < 0)
		return NULL;
	pthread_mutex_lock(&f->mutex);
	used = vectors_use(seg);
	if (!used) {
		used = seg->vectors = p;
		seg->vector_map.keepers = 1;
		f->vectors_mapped++;
		p = NULL;
	}
	pthread_mutex_unlock(&f->mutex);
	if (p)
		f->io->ops->unmap(f->io, p, segment_column_bytes_max(seg, SEGMENT_VECTORS));
	return used;
}

const char *segment_vectors(struct segment *seg)
{
	struct files *f = seg->files;
	const char *used;

	if (!f)
		return NULL;
	pthread_mutex_lock(&f->mutex);
	used = vectors_use(seg);
	pthread_mutex_unlock(&f->mutex);
	return used ? used : vectors_add(seg);
}

void segment_vectors_done(struct segment *seg)
{
	struct files *f = seg->files;
	struct map_use *m = &seg->vector_map, *oldest;
	void *unwanted = NULL;
	size_t bytes = 0;

	pthread_mutex_lock(&f->mutex);
	assert(m->keepers);
	if (!--m->keepers) {
		m->prev = f->vector_maps.prev;
		m->next = &f->vector_maps;
		m->prev->next = m->next->prev = m;
	}
	oldest = f->vector_maps.next;
	if (f->vectors_mapped > f->vectors_mapped_max && oldest != &f->vector_maps) {
		vector_map_unlink(oldest);
		unwanted = (void *)(uintptr_t)oldest->seg->vectors;
		bytes = segment_column_bytes_max(oldest->seg, SEGMENT_VECTORS);
		oldest->seg->vectors = NULL;
		f->vectors_mapped--;
	}
	pthread_mutex_unlock(&f->mutex);
	if (unwanted)
		f->io->ops->unmap(f->io, unwanted, bytes);
}

/* ------------------------------------------------------------------ references */

void segment_get(struct segment *seg)
{
	if (seg->files)
		pthread_mutex_lock(&seg->files->mutex);
	seg->refs++;
	if (seg->files)
		pthread_mutex_unlock(&seg->files->mutex);
}

/* Takes a segment that nobody refers to out of the rings. Under the mutex. */
static void forget(struct files *f, struct segment *seg)
{
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++) {
		if (seg->fd[i] < 0)
			continue;
		if (!seg->use[i].users)
			use_unlink(&seg->use[i]);
		f->dirty_count -= seg->use[i].dirty;
		f->open--;
	}
	if (seg->map.next)
		map_unlink(f, &seg->map);
	if (seg->vectors) {
		assert(!seg->vector_map.keepers);
		vector_map_unlink(&seg->vector_map);
		f->vectors_mapped--;
	}
}

void segment_put(struct io *io, struct segment *seg)
{
	struct files *f = seg ? seg->files : NULL;
	const void *maps[SEGMENT_COLUMNS];
	bool last;

	if (!seg)
		return;
	if (f)
		pthread_mutex_lock(&f->mutex);
	last = !--seg->refs;
	if (f && last)
		forget(f, seg);
	if (f)
		pthread_mutex_unlock(&f->mutex);
	if (!last)
		return;
	take_maps(seg, maps);
	codes_free_all(seg->codes);
	segment_unmap(io, seg, maps);
	if (seg->vectors)
		io->ops->unmap(io, (void *)(uintptr_t)seg->vectors,
			       segment_column_bytes_max(seg, SEGMENT_VECTORS));
	for (int i = 0; i < SEGMENT_COLUMNS; i++)
		if (seg->fd[i] >= 0)
			io->ops->close(io, seg->fd[i]);
	name_heap_free(&seg->names);
	pthread_mutex_destroy(&seg->space_mutex);
	free(seg->deleted_map);
	free(seg);
}
