/* SPDX-License-Identifier: Apache-2.0 */
/* check_segment - the files of a segment as wholes: there, of the right size, with the right digests. */
#include "store/check/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/array/npy.h"
#include "store/base/checksum.h"

#define READ_BYTES (1u << 20)
#define SAMPLES 16u

/* The digest of the first bytes of a file. Read and not mapped: a bad sector is then an error code. */
static int digest(struct io *io, int fd, uint64_t bytes, uint64_t *out)
{
	char *buf = malloc(READ_BYTES);
	XXH3_state_t *sum = XXH3_createState();
	int rc = buf && sum ? 0 : -ENOMEM;

	if (sum)
		XXH3_64bits_reset(sum);
	for (uint64_t off = 0; off < bytes && !rc; off += READ_BYTES) {
		size_t n = bytes - off < READ_BYTES ? (size_t)(bytes - off) : READ_BYTES;

		rc = io_read_full(io, fd, buf, n, off);
		if (!rc)
			XXH3_64bits_update(sum, buf, n);
	}
	if (!rc)
		*out = XXH3_64bits_digest(sum);
	XXH3_freeState(sum);
	free(buf);
	return rc;
}

/* ------------------------------------------------------------------ the columns */

struct column {
	struct check_collection *cc;
	struct segment *seg;
	struct check_segment *cs;
	enum segment_column which;
	char path[SEGMENT_PATH_MAX];
};

static void column_found(struct column *col, const char *problem)
{
	col->cs->suspect[col->which] = true;
	check_found(col->cc->k, "%s: %s: %s", col->cc->title, col->path, problem);
}

/* Cuts or extends a column; a unit that is there in part only becomes zeros too. */
static int column_resize(struct column *col, uint64_t whole, uint64_t want)
{
	struct io *io = col->cc->k->io;
	int rc = io->ops->truncate(io, col->seg->fd[col->which], whole);

	if (rc >= 0)
		rc = io->ops->truncate(io, col->seg->fd[col->which], want);
	return rc < 0 ? rc : 0;
}

/* What was shared by a snapshot keeps the size it had: the space behind its rows is not in use. */
static bool may_be_longer(const struct column *col)
{
	struct io_identity id;
	int rc = col->cc->k->io->ops->identify(col->cc->k->io, col->path, &id);

	return col->cc->c->frozen || (rc >= 0 && id.names > 1);
}

/*
 * Opens a column and compares its size with what is in use; *have is the bytes there are of that, in whole
 * units.
 */
static int column_open(struct column *col, uint64_t want, uint64_t unit, uint64_t *have)
{
	struct io *io = col->cc->k->io;
	char problem[96];
	uint64_t size;
	int fd, rc;

	*have = 0;
	segment_path(col->path, col->cc->c->id, col->seg->n, col->which);
	fd = io->ops->open(io, col->path, col->cc->k->mend ? O_RDWR | O_CREAT : O_RDONLY, 0600);
	if (fd == -ENOENT) {
		snprintf(problem, sizeof problem, "missing; it held %s of %u vectors",
			 column_defs[col->which].contents, col->cs->count);
		column_found(col, problem);
		return 0;
	}
	if (fd < 0)
		return fd;
	col->seg->fd[col->which] = fd;
	rc = io->ops->size(io, fd, &size);
	if (rc < 0)
		return rc;
	*have = size < want ? size - size % unit : want;
	if (size > want && may_be_longer(col))
		return 0;
	if (size != want) {
		snprintf(problem, sizeof problem, "%s: has %llu bytes, want %llu",
			 size < want ? "cut off" : "extended", (unsigned long long)size,
			 (unsigned long long)want);
		column_found(col, problem);
		if (col->cc->k->mend)
			return column_resize(col, *have, want);
	}
	return 0;
}

/*
 * Reads all there is of a column, and compares it with its digest if it has the right size. No digest is
 * known of what an earlier mount found damaged.
 */
static int column_digest(struct column *col, uint64_t *have, uint64_t want)
{
	bool whole = !col->cs->suspect[col->which] && want;
	uint64_t got = want;
	int rc = digest(col->cc->k->io, col->seg->fd[col->which], *have, &got);

	if (rc == -EIO) {
		column_found(col, "cannot be read");
		*have = 0; /* a mapping of it would be a trap */
		return 0;
	}
	if (!rc && whole && got != want)
		column_found(col, "damaged (checksum)");
	return rc;
}

static int check_vectors(struct column *col)
{
	struct npy_shape shape = {
		.dtype = col->cc->c->schema.dtype, .dim = col->cc->c->schema.dim, .rows = col->cs->count};
	unsigned char want[NPY_HEADER_BYTES], got[NPY_HEADER_BYTES];
	uint64_t have;
	int rc = column_open(col, segment_offset(col->seg, col->cs->count), 1, &have);

	if (rc || col->seg->fd[col->which] < 0)
		return rc;
	if (have >= sizeof want) {
		col->cs->vectors = (uint32_t)((have - sizeof want) / col->seg->row_bytes);
		rc = io_read_full(col->cc->k->io, col->seg->fd[col->which], got, sizeof got, 0);
		npy_header_build(&shape, want, sizeof want);
		if (rc == -EIO || (!rc && memcmp(got, want, sizeof want)))
			column_found(col, "header damaged");
	}
	return rc == -EIO ? 0 : rc;
}

/*
 * Opens, verifies and maps a column that is digested: count units there should be; *have is how many there
 * are.
 */
static int check_column(struct column *col, uint64_t count, uint32_t *have)
{
	size_t unit = column_unit_bytes(col->which, col->seg->row_bytes);
	struct io *io = col->cc->k->io;
	void *map = NULL;
	uint64_t bytes;
	int rc = column_open(col, count * unit, unit, &bytes);

	*have = 0;
	if (rc || col->seg->fd[col->which] < 0)
		return rc;
	rc = column_digest(col, &bytes, col->seg->digests[col->which]);
	*have = (uint32_t)(bytes / unit);
	if (!rc)
		rc = io->ops->map(io, col->seg->fd[col->which],
				  segment_column_bytes_max(col->seg, col->which), true, &map);
	if (rc >= 0)
		col->seg->mapped[col->which] = map;
	return rc < 0 ? rc : 0;
}

static int open_columns(struct column *col)
{
	struct segment *seg = col->seg;
	uint32_t have[SEGMENT_COLUMNS];
	int rc = check_vectors(col);

	for (enum segment_column i = 0; i < SEGMENT_COLUMNS && !rc; i++) {
		if (!column_defs[i].is_digested)
			continue;
		col->which = i;
		rc = check_column(col, column_defs[i].is_heap ? col->cs->name_heap_end : col->cs->count,
				  &have[i]);
	}
	if (rc)
		return rc;
	/* What is beyond these is never looked at: there is nothing behind the mapping. */
	seg->count = col->cs->rows = have[SEGMENT_ROWS];
	name_heap_init(&seg->names, have[SEGMENT_NAMES]);
	return 0;
}

int check_segment_open(struct check_collection *cc, uint32_t i)
{
	struct segment *seg = cc->c->segments[i];
	struct check_segment *cs = &cc->segments[i];
	struct column col = {.cc = cc, .seg = seg, .cs = cs};
	struct io *io = cc->k->io;
	int rc;

	seg->row_bytes = cc->c->row_bytes;
	seg->rows_max = 1u << cc->c->shift;
	cs->count = seg->count;
	cs->name_heap_end = seg->names.end;
	if (!cs->count)
		return 0; /* a number without files */
	rc = open_columns(&col);
	for (enum segment_column k = 0; k < SEGMENT_COLUMNS; k++) {
		if (seg->fd[k] >= 0)
			io->ops->close(io, seg->fd[k]);
		seg->fd[k] = -1;
	}
	return rc;
}

int check_column_fd(const struct check_collection *cc, uint32_t i, enum segment_column column, int flags)
{
	char path[SEGMENT_PATH_MAX];

	segment_path(path, cc->c->id, i, column);
	return cc->k->io->ops->open(cc->k->io, path, flags, 0);
}

/* ------------------------------------------------------------------ files that may be it */

/*
 * Compares some vectors of a file with the rows' sums: enough of them fit, for there may be damage besides.
 */
static int samples_match(struct check_collection *cc, uint32_t i, int fd, bool *out)
{
	const struct segment *seg = cc->c->segments[i];
	uint32_t rows = cc->segments[i].rows, step = rows / SAMPLES + 1, tried = 0, matched = 0;
	char *buf = malloc(seg->row_bytes);
	int rc = buf ? 0 : -ENOMEM;

	for (uint32_t slot = 0; slot < rows && !rc; slot += step) {
		if (!segment_rows(seg)[slot].name_len || !segment_row_valid(seg, &segment_rows(seg)[slot]))
			continue;
		tried++;
		rc = io_read_full(cc->k->io, fd, buf, seg->row_bytes, segment_offset(seg, slot));
		matched += !rc && sum_data(buf, seg->row_bytes) == segment_rows(seg)[slot].data_sum;
		if (rc == -EIO || rc == -ENODATA)
			rc = 0;
	}
	free(buf);
	*out = tried && matched * 2 >= tried;
	return rc;
}

static int digest_matches(struct check_collection *cc, uint32_t i, enum segment_column column, int fd,
			  bool *out)
{
	const struct check_segment *cs = &cc->segments[i];
	const struct segment *seg = cc->c->segments[i];
	uint64_t units = column_defs[column].is_heap ? cs->name_heap_end : cs->count;
	uint64_t want = segment_column_bytes(seg, column, units), size, got;
	int rc = cc->k->io->ops->size(cc->k->io, fd, &size);

	*out = false;
	if (rc >= 0 && size == want) {
		rc = digest(cc->k->io, fd, size, &got);
		*out = !rc && got == seg->digests[column];
	}
	return rc == -EIO ? 0 : rc;
}

int check_column_matches(struct check_collection *cc, uint32_t i, enum segment_column column,
			 const char *path, bool *out)
{
	struct io *io = cc->k->io;
	int fd = io->ops->open(io, path, O_RDONLY, 0), rc;

	*out = false;
	if (fd < 0)
		return 0;
	if (column == SEGMENT_VECTORS)
		rc = samples_match(cc, i, fd, out);
	else
		rc = digest_matches(cc, i, column, fd, out);
	io->ops->close(io, fd);
	return rc < 0 ? rc : 0;
}
