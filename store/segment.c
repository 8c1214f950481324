/* SPDX-License-Identifier: Apache-2.0 */
#include "segment.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "npy.h"
#include "sum.h"

/* Space is allocated in steps of a quarter of what there is, within these bounds. */
#define STEP_BYTES_MIN (64u << 10)
#define STEP_BYTES_MAX (64u << 20)
#define PUNCH_BYTES_MIN (1u << 20)

static const char *const suffixes[SEGMENT_COLUMNS] = {"npy", "rows", "names"};

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
	snprintf(path, SEGMENT_PATH_MAX, "collections/%u/%u.%s", collection, n, suffixes[column]);
}

void segment_adopt_paths(char paths[SEGMENT_COLUMNS][SEGMENT_PATH_MAX], uint32_t batch, uint32_t n, bool uploaded)
{
	static const char *const adopted[SEGMENT_COLUMNS] = {"npy", "adopt", "names"};

	for (int i = 0; i < SEGMENT_COLUMNS; i++)
		snprintf(paths[i], SEGMENT_PATH_MAX, "collections/%u/%s%u.%s", batch, uploaded ? "upload." : "", n,
		         adopted[i]);
}

static size_t rows_map_bytes(const struct segment *seg)
{
	return (size_t)seg->rows_max * sizeof(struct row);
}

static size_t names_map_bytes(const struct segment *seg)
{
	return (size_t)seg->rows_max * 256;
}

static uint64_t column_bytes(const struct segment *seg, enum segment_column column)
{
	switch (column) {
	case SEGMENT_VECTORS:
		return segment_offset(seg, seg->count);
	case SEGMENT_ROWS:
		return (uint64_t)seg->count * sizeof(struct row);
	default:
		return (uint64_t)seg->names.end * NAME_GRANULE;
	}
}

static int map_columns(struct io *io, struct segment *seg)
{
	void *p;
	int rc = io->ops->map(io, seg->fd[SEGMENT_ROWS], rows_map_bytes(seg), true, &p);

	if (rc < 0)
		return rc;
	seg->rows = p;
	rc = io->ops->map(io, seg->fd[SEGMENT_NAMES], names_map_bytes(seg), true, &p);
	if (rc < 0)
		return rc;
	seg->name_bytes = p;
	return 0;
}

static int open_files(struct io *io, char paths[SEGMENT_COLUMNS][SEGMENT_PATH_MAX], struct segment *seg, int flags)
{
	for (int i = 0; i < SEGMENT_COLUMNS; i++) {
		seg->fd[i] = io->ops->open(io, paths[i], (io->read_only ? O_RDONLY : O_RDWR) | flags, 0600);
		if (seg->fd[i] < 0)
			return seg->fd[i];
	}
	return map_columns(io, seg);
}

static void own_paths(char paths[SEGMENT_COLUMNS][SEGMENT_PATH_MAX], uint32_t collection, uint32_t n)
{
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++)
		segment_path(paths[i], collection, n, i);
}

static struct segment *segment_new(uint32_t n, const struct vs_schema *schema)
{
	struct segment *seg = calloc(1, sizeof *seg);

	if (!seg)
		return NULL;
	seg->n = n;
	seg->row_bytes = vs_row_bytes(schema);
	seg->rows_max = 1u << segment_shift(seg->row_bytes);
	for (int i = 0; i < SEGMENT_COLUMNS; i++)
		seg->fd[i] = -1;
	seg->header_rows = UINT32_MAX;
	names_init(&seg->names, 0);
	return seg;
}

int segment_unbacked(const struct vs_schema *schema, struct segment **out)
{
	*out = segment_new(0, schema);
	return *out ? 0 : -ENOMEM;
}

void segment_close(struct io *io, struct segment *seg)
{
	if (!seg)
		return;
	if (seg->rows)
		io->ops->unmap(io, (void *)(uintptr_t)seg->rows, rows_map_bytes(seg));
	if (seg->name_bytes)
		io->ops->unmap(io, (void *)(uintptr_t)seg->name_bytes, names_map_bytes(seg));
	for (int i = 0; i < SEGMENT_COLUMNS; i++)
		if (seg->fd[i] >= 0)
			io->ops->close(io, seg->fd[i]);
	names_free(&seg->names);
	free(seg->dead_map);
	free(seg);
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

static int create(struct io *io, uint32_t collection, uint32_t n, const struct vs_schema *schema, int flags,
                  struct segment **out)
{
	struct segment *seg = segment_new(n, schema);
	char paths[SEGMENT_COLUMNS][SEGMENT_PATH_MAX];
	int rc;

	*out = NULL;
	if (!seg)
		return -ENOMEM;
	own_paths(paths, collection, n);
	rc = open_files(io, paths, seg, O_CREAT | flags);
	if (!rc)
		rc = segment_write_header(io, seg, schema, 0);
	if (rc)
		segment_close(io, seg);
	else
		*out = seg;
	return rc;
}

int segment_create(struct io *io, uint32_t collection, uint32_t n, const struct vs_schema *schema,
                   struct segment **out)
{
	int rc = create(io, collection, n, schema, O_TRUNC, out);

	if (rc)
		segment_unlink(io, collection, n);
	return rc;
}

int segment_create_missing(struct io *io, uint32_t collection, uint32_t n, const struct vs_schema *schema,
                           struct segment **out)
{
	return create(io, collection, n, schema, 0, out);
}

int segment_verify_size(struct io *io, const struct segment *seg)
{
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++) {
		uint64_t size;
		int rc = io->ops->size(io, seg->fd[i], &size);

		if (rc < 0)
			return rc;
		/* The header of a segment that never had a row may not have reached the disk; it will be rewritten. */
		if (seg->count && size < column_bytes(seg, i))
			return -EUCLEAN;
	}
	return 0;
}

int segment_open_at(struct io *io, char paths[SEGMENT_COLUMNS][SEGMENT_PATH_MAX], const struct vs_schema *schema,
                    uint32_t count, uint32_t names_end, struct segment **out)
{
	struct segment *seg = segment_new(0, schema);
	int rc = seg ? open_files(io, paths, seg, 0) : -ENOMEM;

	*out = NULL;
	if (!rc) {
		seg->count = count;
		names_init(&seg->names, names_end);
		rc = segment_verify_size(io, seg);
	}
	if (rc) {
		segment_close(io, seg);
		return rc;
	}
	*out = seg;
	return 0;
}

int segment_open(struct io *io, uint32_t collection, uint32_t n, const struct vs_schema *schema, uint32_t count,
                 uint32_t names_end, struct segment **out)
{
	char paths[SEGMENT_COLUMNS][SEGMENT_PATH_MAX];
	int rc;

	own_paths(paths, collection, n);
	rc = segment_open_at(io, paths, schema, count, names_end, out);
	if (!rc)
		(*out)->n = n;
	return rc;
}

int segment_reserve_dead(struct segment *seg)
{
	if (!seg->dead_map)
		seg->dead_map = calloc((seg->rows_max + 63) / 64, sizeof *seg->dead_map);
	return seg->dead_map ? 0 : -ENOMEM;
}

int segment_set_dead(struct segment *seg, uint32_t slot)
{
	assert(!segment_is_dead(seg, slot));
	if (segment_reserve_dead(seg))
		return -ENOMEM;
	seg->dead_map[slot / 64] |= 1ull << (slot % 64);
	seg->dead++;
	return 0;
}

void segment_clear_dead(struct segment *seg, uint32_t slot)
{
	assert(segment_is_dead(seg, slot));
	seg->dead_map[slot / 64] &= ~(1ull << (slot % 64));
	if (--seg->dead)
		return;
	free(seg->dead_map);
	seg->dead_map = NULL;
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
static int allocate(struct io *io, int fd, uint64_t base, uint64_t unit, uint32_t have, uint32_t want, uint32_t max,
                    uint32_t *got)
{
	uint64_t step = have * unit / 4, more;
	int rc;

	step = step < STEP_BYTES_MIN ? STEP_BYTES_MIN : step > STEP_BYTES_MAX ? STEP_BYTES_MAX : step;
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

int segment_reserve(struct io *io, struct segment *seg, uint32_t rows, uint32_t granules)
{
	int rc = 0;

	assert(rows <= seg->rows_max);
	if (rows > seg->allocated) {
		uint32_t got;

		rc = allocate(io, seg->fd[SEGMENT_VECTORS], SEGMENT_HEADER_BYTES, seg->row_bytes, seg->allocated, rows,
		              seg->rows_max, &got);
		if (!rc)
			rc = allocate(io, seg->fd[SEGMENT_ROWS], 0, sizeof(struct row), seg->allocated, got, got, &got);
		if (!rc)
			seg->allocated = got;
	}
	if (!rc && granules > seg->names_allocated)
		rc = allocate(io, seg->fd[SEGMENT_NAMES], 0, NAME_GRANULE, seg->names_allocated, granules,
		              seg->rows_max * NAMES_CLASSES, &seg->names_allocated);
	return rc;
}

int segment_write_header(struct io *io, struct segment *seg, const struct vs_schema *schema, uint32_t count)
{
	struct npy_shape shape = {.dtype = schema->dtype, .dim = schema->dim, .rows = count};
	unsigned char page[NPY_HEADER_BYTES];
	int rc;

	static_assert(NPY_HEADER_BYTES == SEGMENT_HEADER_BYTES, "a segment begins with one of our .npy headers");
	if (seg->header_rows == count)
		return 0;
	npy_header_build(&shape, page, sizeof page);
	rc = io_write_full(io, seg->fd[SEGMENT_VECTORS], page, sizeof page, 0);
	if (rc)
		return rc;
	seg->header_rows = count;
	seg->dirty[SEGMENT_VECTORS] = true;
	return 0;
}

int segment_sync(struct io *io, struct segment *seg)
{
	for (int i = 0; i < SEGMENT_COLUMNS; i++) {
		int rc;

		if (!seg->dirty[i])
			continue;
		rc = io->ops->datasync(io, seg->fd[i]);
		if (rc < 0)
			return rc;
		seg->dirty[i] = false;
	}
	return 0;
}

int segment_settle(struct io *io, struct segment *seg, const struct vs_schema *schema)
{
	int rc;

	if (seg->digest_valid)
		return 0;
	rc = segment_write_header(io, seg, schema, seg->count);
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS && !rc; i++) {
		rc = io->ops->truncate(io, seg->fd[i], column_bytes(seg, i));
		seg->dirty[i] = true;
	}
	if (!rc)
		rc = segment_sync(io, seg);
	if (rc)
		return rc;
	seg->allocated = seg->names_allocated = 0;
	seg->rows_digest = XXH3_64bits(seg->rows, column_bytes(seg, SEGMENT_ROWS));
	seg->names_digest = XXH3_64bits(seg->name_bytes, column_bytes(seg, SEGMENT_NAMES));
	seg->digest_valid = true;
	return 0;
}

void segment_punch(struct io *io, struct segment *seg)
{
	uint64_t used = segment_offset(seg, seg->count), end = segment_offset(seg, seg->allocated);

	if (end < used + PUNCH_BYTES_MIN || end - used < used / 2)
		return;
	/* Failure costs space and nothing else. */
	if (!io->ops->fallocate(io, seg->fd[SEGMENT_VECTORS], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, used,
	                        end - used))
		seg->allocated = seg->count;
}
