/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment/segment.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/array/npy.h"
#include "store/base/checksum.h"

/* Space is allocated in steps of a quarter of what there is, within these bounds; below, in steps of all
 * there is. */
#define STEP_BYTES_FIRST (4u << 10)
#define STEP_BYTES_MIN (64u << 10)
#define STEP_BYTES_MAX (64u << 20)
/* So much must have gone, and such a share of what is left, for its space to be given back. */
#define PUNCH_BYTES_MIN (1u << 20)
#define PUNCH_SHARE 16u
#define COPY_BYTES (1u << 20)

unsigned segment_shift(size_t row_bytes)
{
	unsigned shift = SEGMENT_ROWS_BITS_MAX;

	assert(row_bytes && row_bytes <= VS_ROW_BYTES_MAX);
	while (row_bytes << shift > SEGMENT_BYTES_MAX)
		shift--;
	return shift;
}

void segment_path(char path[SEGMENT_PATH_MAX], uint32_t collection, uint32_t n, enum segment_column column)
{
	snprintf(path, SEGMENT_PATH_MAX, "collections/%u/%u.%s", collection, n, column_defs[column].suffix);
}

void segment_attach_paths(char paths[SEGMENT_COLUMNS][SEGMENT_PATH_MAX], uint32_t batch, uint32_t n,
			  bool uploaded)
{
	for (int i = 0; i < SEGMENT_COLUMNS; i++)
		snprintf(paths[i], SEGMENT_PATH_MAX, "collections/%u/%s%u.%s", batch,
			 uploaded ? "upload." : "", n, column_defs[i].suffix_attach);
}

struct segment *segment_placeholder(uint32_t n, uint32_t count, uint32_t name_heap_end)
{
	struct segment *seg = calloc(1, sizeof *seg);

	if (!seg)
		return NULL;
	seg->n = n;
	seg->refs = 1;
	seg->count = count;
	for (int i = 0; i < SEGMENT_COLUMNS; i++)
		seg->fd[i] = -1;
	seg->header_rows = UINT32_MAX;
	name_heap_init(&seg->names, name_heap_end);
	pthread_mutex_init(&seg->space_mutex, NULL);
	return seg;
}

int segment_unbacked(uint32_t n, const struct vs_schema *schema, struct segment **out)
{
	*out = segment_placeholder(n, 0, 0);
	if (!*out)
		return -ENOMEM;
	(*out)->row_bytes = vs_row_bytes(schema);
	(*out)->rows_max = 1u << segment_shift((*out)->row_bytes);
	return 0;
}

static struct segment *segment_new(struct files *files, uint32_t collection, uint32_t n,
				   const struct vs_schema *schema)
{
	struct segment *seg = segment_placeholder(n, 0, 0);

	if (!seg)
		return NULL;
	seg->collection = collection;
	seg->row_bytes = vs_row_bytes(schema);
	seg->rows_max = 1u << segment_shift(seg->row_bytes);
	files_attach(files, seg);
	return seg;
}

void segment_unmap(struct io *io, const struct segment *seg, const void *const maps[SEGMENT_COLUMNS])
{
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++)
		if (maps[i])
			io->ops->unmap(io, (void *)(uintptr_t)maps[i], segment_column_bytes_max(seg, i));
}

int segment_unlink(struct io *io, uint32_t collection, uint32_t n)
{
	char path[SEGMENT_PATH_MAX];
	int first = 0;

	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++) {
		int rc;

		segment_path(path, collection, n, i);
		rc = io->ops->unlink(io, path);
		if (rc < 0 && rc != -ENOENT && !first)
			first = rc;
	}
	return first;
}

int segment_later(struct files *files, uint32_t collection, uint32_t n, const struct vs_schema *schema,
		  uint32_t count, uint32_t name_heap_end, struct segment **out)
{
	struct segment *seg = segment_new(files, collection, n, schema);

	*out = seg;
	if (!seg)
		return -ENOMEM;
	seg->count = seg->high = seg->applied = seg->header_rows = count;
	name_heap_init(&seg->names, name_heap_end);
	return 0;
}

int segment_file_open(struct segment *seg, enum segment_column column)
{
	struct io *io = seg->files->io;
	int flags = seg->files->read_only ? O_RDONLY : O_RDWR, fd = -ENOENT;
	char paths[SEGMENT_COLUMNS][SEGMENT_PATH_MAX];
	uint32_t batch = seg->batch;

	if (batch && !seg->source) {
		segment_attach_paths(paths, batch, seg->batch_n, seg->uploaded);
		fd = io->ops->open(io, paths[column], flags, 0);
	}
	if (fd != -ENOENT)
		return fd;
	/* It is not there, or not there any more: it is moved once, and never back. */
	segment_path(paths[column], seg->collection, seg->n, column);
	fd = io->ops->open(io, paths[column], flags, 0);
	if (fd != -ENOENT || !seg->source)
		return fd;
	if (batch) {
		segment_attach_paths(paths, batch, seg->batch_n, seg->uploaded);
		fd = io->ops->open(io, paths[column], flags, 0);
	}
	if (fd != -ENOENT)
		return fd;
	segment_path(paths[column], seg->source, seg->n, column);
	return io->ops->open(io, paths[column], flags, 0);
}

/* Makes the files be there, and empties them if flags says so. */
static int create_files(struct segment *seg, int flags)
{
	struct io *io = seg->files->io;
	char path[SEGMENT_PATH_MAX];

	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++) {
		int fd;

		segment_path(path, seg->collection, seg->n, i);
		/* An orphan that could not be removed may be a snapshot's, too. */
		if (flags & O_TRUNC && segment_is_linked(seg, i))
			io->ops->unlink(io, path);
		fd = io->ops->open(io, path, O_RDWR | O_CREAT | flags, 0600);
		while ((fd == -EMFILE || fd == -ENFILE) && files_evict(seg->files))
			fd = io->ops->open(io, path, O_RDWR | O_CREAT | flags, 0600);
		if (fd < 0)
			return fd;
		files_put(seg, i, fd);
	}
	return 0;
}

/* While there is room for it a segment is mapped from the start: an error is then an error of the opening. */
static int map_early(struct segment *seg)
{
	return seg->mapped[SEGMENT_ROWS] || files_mapped_full(seg->files) ? 0 : segment_map(seg);
}

static int create(struct files *files, uint32_t collection, uint32_t n, const struct vs_schema *schema,
		  int flags, struct segment **out)
{
	struct segment *seg = segment_new(files, collection, n, schema);
	int rc;

	*out = NULL;
	if (!seg)
		return -ENOMEM;
	rc = create_files(seg, flags);
	if (!rc)
		rc = segment_write_header(seg, schema, 0);
	if (!rc)
		rc = map_early(seg);
	if (rc)
		segment_put(files->io, seg);
	else
		*out = seg;
	return rc;
}

int segment_create(struct files *files, uint32_t collection, uint32_t n, const struct vs_schema *schema,
		   struct segment **out)
{
	int rc = create(files, collection, n, schema, O_TRUNC, out);

	if (rc)
		segment_unlink(files->io, collection, n);
	return rc;
}

int segment_create_missing(struct files *files, uint32_t collection, uint32_t n,
			   const struct vs_schema *schema, struct segment **out)
{
	return create(files, collection, n, schema, 0, out);
}

int segment_verify_size(struct segment *seg)
{
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++) {
		uint64_t size;
		int fd = segment_file(seg, i), rc = fd;

		if (fd >= 0) {
			rc = seg->files->io->ops->size(seg->files->io, fd, &size);
			segment_file_done(seg, i);
		}
		if (rc < 0)
			return rc;
		/* The header of a segment that never had a row may not have reached the disk; it will be
		 * rewritten. */
		if (seg->count && size < segment_column_bytes_used(seg, i))
			return -EUCLEAN;
	}
	return 0;
}

/* The end of an opening: verifies, or gives seg back. */
static int open_finish(struct segment *seg, uint32_t count, uint32_t name_heap_end, struct segment **out)
{
	int rc;

	seg->count = seg->high = seg->applied = count;
	name_heap_init(&seg->names, name_heap_end);
	rc = segment_verify_size(seg);
	if (!rc)
		rc = map_early(seg);
	if (rc)
		segment_put(seg->files->io, seg);
	*out = rc ? NULL : seg;
	return rc;
}

int segment_open(struct files *files, uint32_t collection, uint32_t n, const struct vs_schema *schema,
		 uint32_t count, uint32_t name_heap_end, struct segment **out)
{
	struct segment *seg = segment_new(files, collection, n, schema);

	*out = NULL;
	return seg ? open_finish(seg, count, name_heap_end, out) : -ENOMEM;
}

int segment_open_moving(struct files *files, uint32_t collection, uint32_t n, uint32_t batch,
			uint32_t batch_n, bool uploaded, const struct vs_schema *schema, struct segment **out)
{
	struct segment *seg = segment_new(files, collection, n, schema);

	*out = NULL;
	if (!seg)
		return -ENOMEM;
	seg->batch = batch;
	seg->batch_n = batch_n;
	seg->uploaded = uploaded;
	return open_finish(seg, 0, 0, out);
}

int segment_open_linking(struct files *files, uint32_t collection, uint32_t n, uint32_t source,
			 const struct record_attach *moving, const struct vs_schema *schema,
			 struct segment **out)
{
	struct segment *seg = segment_new(files, collection, n, schema);

	*out = NULL;
	if (!seg)
		return -ENOMEM;
	seg->source = source;
	if (moving) {
		seg->batch = moving->head.row;
		seg->batch_n = (uint32_t)moving->head.value;
		seg->uploaded = moving->head.flags & RECORD_UPLOADED;
	}
	return open_finish(seg, 0, 0, out);
}

int segment_open_batch(struct files *files, uint32_t collection, uint32_t batch, uint32_t batch_n,
		       bool uploaded, const struct vs_schema *schema, uint32_t count, uint32_t name_heap_end,
		       struct segment **out)
{
	struct segment *seg = segment_new(files, collection, 0, schema);
	int rc;

	*out = NULL;
	if (!seg)
		return -ENOMEM;
	seg->batch = seg->origin = batch;
	seg->batch_n = batch_n;
	seg->uploaded = uploaded;
	segment_map_keep(seg);
	rc = segment_rows(seg) ? 0 : segment_map(seg);
	if (!rc)
		return open_finish(seg, count, name_heap_end, out);
	segment_put(files->io, seg);
	return rc;
}

int segment_reserve_deleted(struct segment *seg)
{
	if (!seg->deleted_map)
		seg->deleted_map = calloc((seg->rows_max + 63) / 64, sizeof *seg->deleted_map);
	return seg->deleted_map ? 0 : -ENOMEM;
}

int segment_set_deleted(struct segment *seg, uint32_t slot)
{
	assert(!segment_is_deleted(seg, slot));
	if (segment_reserve_deleted(seg))
		return -ENOMEM;
	seg->deleted_map[slot / 64] |= 1ull << (slot % 64);
	seg->deleted++;
	return 0;
}

void segment_clear_deleted(struct segment *seg, uint32_t slot)
{
	assert(segment_is_deleted(seg, slot));
	seg->deleted_map[slot / 64] &= ~(1ull << (slot % 64));
	if (--seg->deleted)
		return;
	free(seg->deleted_map);
	seg->deleted_map = NULL;
}

void segment_set_deleted_map(struct segment *seg, const uint64_t *map, uint32_t count)
{
	for (uint32_t i = 0; i < (seg->rows_max + 63) / 64; i++) {
		assert(!seg->deleted || !(seg->deleted_map[i] & map[i]));
		seg->deleted_map[i] |= map[i];
	}
	seg->deleted += count;
}

void segment_clear_all_deleted(struct segment *seg)
{
	free(seg->deleted_map);
	seg->deleted_map = NULL;
	seg->deleted = 0;
}

uint32_t segment_first_deleted(const struct segment *seg)
{
	uint32_t i = 0;

	assert(seg->deleted);
	while (!seg->deleted_map[i])
		i++;
	return i * 64 + (uint32_t)__builtin_ctzll(seg->deleted_map[i]);
}

bool segment_row_valid(const struct segment *seg, const struct row *row)
{
	static const struct row dead;

	if (!row->name_len)
		return !memcmp(row, &dead, sizeof dead);
	if (row->name_at + (uint64_t)names_granules(row->name_len) > seg->names.end)
		return false;
	return row_entry(row) && row->row_sum == sum_row(row, segment_name(seg, row));
}

/* Allocates [have, want) units of unit bytes at base, more than asked if there is room for it. */
static int allocate(struct io *io, int fd, uint64_t base, uint64_t unit, uint32_t have, uint32_t want,
		    uint32_t max, uint32_t *got)
{
	uint64_t step = have * unit / 4, more, least = have * unit;
	int rc;

	least = least < STEP_BYTES_FIRST ? STEP_BYTES_FIRST : least > STEP_BYTES_MIN ? STEP_BYTES_MIN : least;
	step = step < least ? least : step > STEP_BYTES_MAX ? STEP_BYTES_MAX : step;
	more = have + (step + unit - 1) / unit;
	more = more < want ? want : more > max ? max : more;
	rc = io_allocate(io, fd, FALLOC_FL_KEEP_SIZE, base + have * unit, (more - have) * unit);
	if (rc == -ENOSPC && more > want) {
		more = want;
		rc = io_allocate(io, fd, FALLOC_FL_KEEP_SIZE, base + have * unit, (more - have) * unit);
	}
	if (rc < 0)
		return rc;
	*got = (uint32_t)more;
	return 0;
}

/* The same for a column of a segment. */
static int reserve(struct segment *seg, enum segment_column column, uint32_t have, uint32_t want,
		   uint32_t max, uint32_t *got)
{
	int fd = segment_file(seg, column), rc;

	if (fd < 0)
		return fd;
	rc = allocate(seg->files->io, fd, column_defs[column].header_bytes,
		      column_unit_bytes(column, seg->row_bytes), have, want, max, got);
	segment_file_done(seg, column);
	return rc;
}

/* The same for all columns that have a unit a slot: they get space for as many rows as the first. */
static int reserve_slots(struct segment *seg, uint32_t have, uint32_t want, uint32_t *got)
{
	uint32_t max = seg->rows_max;
	int rc = 0;

	for (enum segment_column i = 0; i < SEGMENT_COLUMNS && !rc; i++) {
		if (column_defs[i].is_heap)
			continue;
		rc = reserve(seg, i, have, want, max, got);
		want = max = *got;
	}
	return rc;
}

int segment_allocate(struct segment *seg, uint32_t rows, uint32_t granules, struct segment_space *space)
{
	uint32_t got = space->rows;
	int rc = 0;

	assert(rows <= seg->rows_max);
	if (rows > space->rows)
		rc = reserve_slots(seg, space->rows, rows, &got);
	if (!rc)
		space->rows = got;
	if (!rc && granules > space->granules)
		rc = reserve(seg, SEGMENT_NAMES, space->granules, granules, seg->rows_max * NAMES_CLASSES,
			     &space->granules);
	return rc;
}

static void build_header(const struct vs_schema *schema, uint32_t count, unsigned char page[NPY_HEADER_BYTES])
{
	struct npy_shape shape = {.dtype = schema->dtype, .dim = schema->dim, .rows = count};

	npy_header_build(&shape, page, NPY_HEADER_BYTES);
}

void segment_learn_header(struct segment *seg, const struct vs_schema *schema)
{
	unsigned char page[NPY_HEADER_BYTES], want[NPY_HEADER_BYTES];

	build_header(schema, seg->count, want);
	if (!segment_read(seg, SEGMENT_VECTORS, page, sizeof page, 0) && !memcmp(page, want, sizeof page))
		seg->header_rows = seg->count;
}

int segment_write_header(struct segment *seg, const struct vs_schema *schema, uint32_t count)
{
	unsigned char page[NPY_HEADER_BYTES];
	struct iovec iov = {.iov_base = page, .iov_len = sizeof page};
	int rc;

	static_assert(NPY_HEADER_BYTES == SEGMENT_HEADER_BYTES,
		      "a segment begins with one of our .npy headers");
	if (seg->header_rows == count)
		return 0;
	rc = segment_is_linked(seg, SEGMENT_VECTORS);
	if (rc)
		return rc < 0 ? rc : 0; /* it has its last header */
	build_header(schema, count, page);
	rc = segment_writev(seg, SEGMENT_VECTORS, &iov, 1, 0);
	if (!rc)
		seg->header_rows = count;
	return rc;
}

/* ------------------------------------------------------------------ shared files */

int segment_share(struct segment *seg, struct segment *other)
{
	if (!seg->share) {
		seg->share = calloc(1, sizeof *seg->share);
		if (!seg->share)
			return -ENOMEM;
		seg->share->users = 1;
	}
	other->share = seg->share;
	other->share->users++;
	return 0;
}

void segment_share_leave(struct segment *seg)
{
	struct share *share = seg->share;
	bool keep = share && seg->snapshots;

	if (!share)
		return;
	share->kept += keep;
	share->kept -= seg->share_kept;
	seg->share_kept = keep;
	if (keep)
		return;
	if (!--share->users)
		free(share);
	seg->share = NULL;
}

void segment_share_abandon(struct segment *seg)
{
	if (seg->share)
		seg->share->strangers++;
	segment_share_leave(seg);
}

int segment_is_linked(struct segment *seg, enum segment_column column)
{
	char paths[SEGMENT_COLUMNS][SEGMENT_PATH_MAX];
	uint32_t batch = seg->batch;
	struct io_identity id;
	int rc;

	if (seg->alone[column] || !seg->files)
		return 0;
	if (batch)
		segment_attach_paths(paths, batch, seg->batch_n, seg->uploaded);
	else
		segment_path(paths[column], seg->collection, seg->n, column);
	rc = seg->files->io->ops->identify(seg->files->io, paths[column], &id);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	seg->alone[column] = id.names < 2;
	return !seg->alone[column];
}

static void copy_path(const struct segment *seg, char path[SEGMENT_PATH_MAX])
{
	snprintf(path, SEGMENT_PATH_MAX, "collections/%u/%u.rows.copy", seg->collection, seg->n);
}

int segment_make_copy(const struct segment *seg, uint32_t rows)
{
	struct io *io = seg->files->io;
	char path[SEGMENT_PATH_MAX];
	int fd, rc;

	copy_path(seg, path);
	fd = io->ops->open(io, path, O_RDWR | O_CREAT, 0600);
	if (fd < 0)
		return fd;
	rc = io_allocate(io, fd, FALLOC_FL_KEEP_SIZE, 0, (uint64_t)rows * sizeof(struct row));
	io->ops->close(io, fd);
	return rc < 0 ? rc : 0;
}

int segment_drop_copy(struct segment *seg)
{
	char path[SEGMENT_PATH_MAX];
	int rc = 0;

	copy_path(seg, path);
	if (seg->copy_made)
		rc = seg->files->io->ops->unlink(seg->files->io, path);
	seg->copy_made = false;
	return rc == -ENOENT ? 0 : rc;
}

/* Copies all of a file to another. */
static int copy_file(struct io *io, int from, int to)
{
	char *buf = malloc(COPY_BYTES);
	uint64_t size = 0;
	int rc = buf ? io->ops->size(io, from, &size) : -ENOMEM;

	for (uint64_t off = 0; off < size && rc >= 0; off += COPY_BYTES) {
		size_t n = size - off < COPY_BYTES ? (size_t)(size - off) : COPY_BYTES;

		rc = io_read_full(io, from, buf, n, off);
		if (!rc)
			rc = io_write_full(io, to, buf, n, off);
	}
	free(buf);
	if (rc >= 0)
		rc = io->ops->truncate(io, to, size);
	return rc < 0 ? rc : io->ops->datasync(io, to);
}

int segment_copy_rows(struct segment *seg)
{
	struct io *io = seg->files->io;
	char path[SEGMENT_PATH_MAX], to[SEGMENT_PATH_MAX];
	int from = segment_file(seg, SEGMENT_ROWS), fd, rc;

	if (from < 0)
		return from;
	copy_path(seg, path);
	fd = io->ops->open(io, path, O_RDWR | O_CREAT, 0600);
	rc = fd < 0 ? fd : copy_file(io, from, fd);
	if (fd >= 0)
		io->ops->close(io, fd);
	segment_file_done(seg, SEGMENT_ROWS);
	segment_path(to, seg->collection, seg->n, SEGMENT_ROWS);
	if (rc >= 0)
		rc = io->ops->rename(io, path, to);
	return rc < 0 ? rc : 0;
}

/* ------------------------------------------------------------------ the end */

/* Cuts a column to what is in use, unless others use it too. */
static int cut(struct segment *seg, enum segment_column column)
{
	int rc = segment_is_linked(seg, column), fd;

	seg->uncut |= rc > 0;
	if (rc)
		return rc < 0 ? rc : 0;
	fd = segment_file(seg, column);
	if (fd < 0)
		return fd;
	rc = seg->files->io->ops->truncate(seg->files->io, fd, segment_column_bytes_used(seg, column));
	segment_file_written(seg, column);
	return rc < 0 ? rc : 0;
}

int segment_finalize(struct segment *seg, const struct vs_schema *schema)
{
	int rc;

	/* What has no name of ours any more may have another's, and is left as it is. */
	if (seg->unlinked || (seg->digest_valid && !seg->uncut))
		return 0;
	seg->uncut = false;
	rc = segment_write_header(seg, schema, seg->count);
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS && !rc; i++)
		rc = cut(seg, i);
	if (!rc && seg->digest_valid)
		return 0;
	if (!rc && !segment_rows(seg))
		rc = -ENOMEM;
	if (rc)
		return rc;
	seg->allocated = seg->names_allocated = 0;
	seg->high = seg->count;
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++)
		if (column_defs[i].is_digested)
			seg->digests[i] = XXH3_64bits(seg->mapped[i], segment_column_bytes_used(seg, i));
	seg->digest_valid = true;
	return 0;
}

bool segment_is_loose(const struct segment *seg)
{
	uint64_t gone = (uint64_t)(seg->high - seg->count) * seg->row_bytes;

	return seg->high > seg->count && gone >= PUNCH_BYTES_MIN &&
	       gone >= (uint64_t)seg->count * seg->row_bytes / PUNCH_SHARE;
}

/* Failure costs space and nothing else. */
static void punch(struct segment *seg, enum segment_column column, uint64_t from, uint64_t to)
{
	int fd = segment_file(seg, column);

	if (fd < 0)
		return;
	seg->files->io->ops->fallocate(seg->files->io, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from,
				       to - from);
	segment_file_done(seg, column);
}

struct segment_hole segment_give_up(struct segment *seg)
{
	struct segment_hole hole = {seg->count, seg->allocated > seg->high ? seg->allocated : seg->high};

	seg->high = seg->count;
	if (seg->allocated > seg->count)
		seg->allocated = seg->count;
	return hole;
}

void segment_punch(struct segment *seg, struct segment_hole hole)
{
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++)
		if (!column_defs[i].is_heap && segment_is_linked(seg, i))
			return;
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++)
		if (!column_defs[i].is_heap)
			punch(seg, i, segment_column_bytes(seg, i, hole.first),
			      segment_column_bytes(seg, i, hole.end));
}
