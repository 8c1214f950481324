/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upload - the many rows of a batch, written as they come into files that are segments in all but name: a
 * large batch's bytes go to the disk once. Writing back starts early, so that the sync at the commit finds
 * little left.
 */
#include "store/batch/upload.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/array/npy.h"
#include "store/base/checksum.h"

#define WRITE_BEHIND_BYTES (8u << 20)
#define SUMS_BUFFERED 1024u

struct vs_upload {
	struct vs_store *s;
	uint32_t batch;
	struct vs_schema schema;
	size_t row_bytes;
	uint32_t piece_rows;
	uint64_t bytes;       /* of rows, so far */
	int fd;               /* of the part being written, -1 between parts */
	uint64_t piece_bytes; /* in it */
	uint64_t started;     /* of those, on their way to the disk */
	char *part;           /* the row that is not complete yet */
	int sums_fd;
	uint32_t *sums;
	uint32_t sums_held;
	uint64_t sums_written;
	bool complete; /* the number of rows is behind the sums (vs_upload_complete) */
	int error;     /* the first one; it stays */
	bool trusted;  /* what was uploaded before was written since the store was opened */
};

static void piece_path(char path[SEGMENT_PATH_MAX], uint32_t batch, uint32_t n)
{
	snprintf(path, SEGMENT_PATH_MAX, "collections/%u/upload.%u.npy", batch, n);
}

int batch_get_open(struct vs_store *s, uint32_t id, struct collection **out)
{
	struct collection *c = collection_get(&s->table, id);

	*out = c;
	if (!c || !c->parent)
		return -ENOENT;
	return c->damaged ? -EIO : c->committing ? -EBUSY : 0;
}

static void remove_pieces(struct vs_store *s, uint32_t batch)
{
	char path[SEGMENT_PATH_MAX];
	int rc = 0;

	for (uint32_t n = 0; rc >= 0; n++) {
		piece_path(path, batch, n);
		rc = s->io->ops->unlink(s->io, path);
	}
	collection_path(path, batch, "upload.sums");
	s->io->ops->unlink(s->io, path);
}

/* ------------------------------------------------------------------ writing */

static void upload_free(struct vs_upload *u)
{
	if (u->fd >= 0)
		u->s->io->ops->close(u->s->io, u->fd);
	if (u->sums_fd >= 0)
		u->s->io->ops->close(u->s->io, u->sums_fd);
	free(u->part);
	free(u->sums);
	free(u);
}

static struct vs_upload *upload_new(struct vs_store *s, uint32_t batch, const struct vs_schema *schema)
{
	struct vs_upload *u = calloc(1, sizeof *u);

	if (!u)
		return NULL;
	u->s = s;
	u->batch = batch;
	u->schema = *schema;
	u->row_bytes = vs_row_bytes(schema);
	u->piece_rows = 1u << segment_shift(u->row_bytes);
	u->fd = u->sums_fd = -1;
	u->part = malloc(u->row_bytes);
	u->sums = malloc(SUMS_BUFFERED * sizeof *u->sums);
	if (!u->part || !u->sums) {
		upload_free(u);
		return NULL;
	}
	return u;
}

/* Makes an upload the batch's: nobody else writes one then. */
static int upload_claim(struct vs_store *s, uint32_t batch, const struct vs_schema *schema,
			struct vs_upload **out)
{
	struct vs_upload *u;
	struct collection *c, *up;
	int rc;

	*out = NULL;
	if (s->read_only)
		return -EROFS;
	if (!schema->dim || vs_row_bytes(schema) > VS_ROW_BYTES_MAX)
		return -EINVAL;
	u = upload_new(s, batch, schema);
	if (!u)
		return -ENOMEM;
	pthread_rwlock_wrlock(&s->lock);
	rc = batch_get_open(s, batch, &c);
	up = rc ? NULL : collection_get(&s->table, c->parent);
	if (!rc && c->upload)
		rc = -EBUSY;
	if (!rc && ((up->schema.dtype != schema->dtype && !collection_is_free(up)) ||
		    (up->schema.dim && up->schema.dim != schema->dim)))
		rc = -EINVAL;
	if (!rc) {
		c->upload = u;
		u->trusted = c->upload_trusted;
	}
	pthread_rwlock_unlock(&s->lock);
	if (rc)
		upload_free(u);
	else
		*out = u;
	return rc;
}

static int sums_open(struct vs_upload *u, int flags)
{
	char path[SEGMENT_PATH_MAX];

	collection_path(path, u->batch, "upload.sums");
	u->sums_fd = u->s->io->ops->open(u->s->io, path, O_RDWR | flags, 0600);
	return u->sums_fd < 0 ? u->sums_fd : 0;
}

int vs_upload_begin(struct vs_store *s, uint32_t batch, const struct vs_schema *schema,
		    struct vs_upload **out)
{
	struct vs_upload *u;
	int rc = upload_claim(s, batch, schema, &u);

	*out = NULL;
	if (rc)
		return rc;
	rc = ahead_directory(s, batch);
	if (!rc) {
		remove_pieces(s, batch);
		rc = sums_open(u, O_CREAT | O_TRUNC);
	}
	if (rc) {
		vs_upload_end(u, false);
		return rc;
	}
	*out = u;
	return 0;
}

int vs_upload_drop(struct vs_store *s, uint32_t batch)
{
	struct collection *c;
	int rc;

	if (s->read_only)
		return -EROFS;
	pthread_rwlock_rdlock(&s->lock);
	rc = batch_get_open(s, batch, &c);
	if (!rc && c->upload)
		rc = -EBUSY;
	pthread_rwlock_unlock(&s->lock);
	if (!rc)
		remove_pieces(s, batch);
	return rc;
}

static int sums_flush(struct vs_upload *u)
{
	size_t size = u->sums_held * sizeof *u->sums;
	int rc = io_write_full(u->s->io, u->sums_fd, u->sums, size, u->sums_written);

	u->sums_written += size;
	u->sums_held = 0;
	return rc;
}

static int sum_add(struct vs_upload *u, const void *row)
{
	u->sums[u->sums_held++] = sum_data(row, u->row_bytes);
	return u->sums_held == SUMS_BUFFERED ? sums_flush(u) : 0;
}

/* Sums the rows that data completes, and keeps the start of the next one. */
static int sums_add(struct vs_upload *u, const char *data, size_t size)
{
	size_t have = u->bytes % u->row_bytes;
	int rc = 0;

	if (have) {
		size_t n = u->row_bytes - have < size ? u->row_bytes - have : size;

		memcpy(u->part + have, data, n);
		data += n;
		size -= n;
		if (have + n == u->row_bytes)
			rc = sum_add(u, u->part);
		else
			return 0;
	}
	for (; size >= u->row_bytes && !rc; data += u->row_bytes, size -= u->row_bytes)
		rc = sum_add(u, data);
	if (!rc && size)
		memcpy(u->part, data, size);
	return rc;
}

/* Written when a part is full or the upload ends: then the number of rows is known. */
static int write_header(struct vs_upload *u, int fd, uint64_t rows)
{
	struct npy_shape shape = {.dtype = u->schema.dtype, .dim = u->schema.dim, .rows = rows};
	unsigned char page[NPY_HEADER_BYTES];

	npy_header_build(&shape, page, sizeof page);
	return io_write_full(u->s->io, fd, page, sizeof page, 0);
}

static int piece_open(struct vs_upload *u, uint32_t n)
{
	char path[SEGMENT_PATH_MAX];

	piece_path(path, u->batch, n);
	u->fd = u->s->io->ops->open(u->s->io, path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	u->piece_bytes = u->started = 0;
	return u->fd < 0 ? u->fd : 0;
}

/* A client in user space tells of what it drops to whoever has the file open, and to no commit that opens it
 * afterwards: so it is synced here there. */
static int piece_close(struct vs_upload *u)
{
	struct io *io = u->s->io;
	int rc = u->fd < 0 || u->complete ? 0 : write_header(u, u->fd, u->piece_bytes / u->row_bytes);

	if (u->fd >= 0 && !rc && io->syncs_singly)
		rc = io->ops->datasync(io, u->fd);
	if (u->fd >= 0)
		io->ops->close(io, u->fd);
	u->fd = -1;
	return rc;
}

static int append(struct vs_upload *u, const char *data, size_t size)
{
	uint64_t piece_max = (uint64_t)u->piece_rows * u->row_bytes;
	struct io *io = u->s->io;
	int rc = 0;

	while (size && !rc) {
		size_t n;

		if (u->fd < 0 && (rc = piece_open(u, (uint32_t)(u->bytes / piece_max))))
			break;
		n = size < piece_max - u->piece_bytes ? size : (size_t)(piece_max - u->piece_bytes);
		rc = io_write_full(io, u->fd, data, n, SEGMENT_HEADER_BYTES + u->piece_bytes);
		if (!rc)
			rc = sums_add(u, data, n);
		if (rc)
			break;
		data += n;
		size -= n;
		u->bytes += n;
		u->piece_bytes += n;
		if (u->piece_bytes - u->started >= WRITE_BEHIND_BYTES || u->piece_bytes == piece_max) {
			io->ops->write_behind(io, u->fd, SEGMENT_HEADER_BYTES + u->started,
					      u->piece_bytes - u->started);
			u->started = u->piece_bytes;
		}
		if (u->piece_bytes == piece_max)
			rc = piece_close(u);
	}
	return rc;
}

/* The number of rows behind the sums says that the upload has ended well: without it there is none. */
static int sums_close(struct vs_upload *u)
{
	uint64_t rows = u->bytes / u->row_bytes;
	int rc = sums_flush(u);

	return rc ? rc : io_write_full(u->s->io, u->sums_fd, &rows, sizeof rows, u->sums_written);
}

/* What is complete may be durable, and is not written again: a crash would leave who knows what of it. */
int vs_upload_complete(struct vs_upload *u)
{
	if (u->complete)
		return 0;
	if (!u->error && u->bytes % u->row_bytes)
		return -EINVAL;
	if (!u->error && u->fd >= 0)
		u->error = write_header(u, u->fd, u->piece_bytes / u->row_bytes);
	if (!u->error)
		u->error = sums_close(u);
	u->complete = !u->error;
	return u->error;
}

/* There is more to come. */
static int sums_reopen(struct vs_upload *u)
{
	int rc = u->s->io->ops->truncate(u->s->io, u->sums_fd, u->sums_written);

	u->complete = false;
	return rc < 0 ? rc : 0;
}

int vs_upload_append(struct vs_upload *u, const void *data, size_t size)
{
	if (!u->error && u->complete)
		u->error = sums_reopen(u);
	if (!u->error)
		u->error = append(u, data, size);
	engine_wake_builder(u->s); /* views encode what has come (view/early.h) */
	return u->error;
}

int vs_upload_end(struct vs_upload *u, bool keep)
{
	struct vs_store *s = u->s;
	struct collection *c;
	int rc = u->error;

	if (keep && !rc && u->bytes % u->row_bytes)
		rc = -EINVAL;
	if (keep && !rc)
		rc = piece_close(u);
	if (keep && !rc && !u->complete)
		rc = sums_close(u);
	if (!keep || rc)
		remove_pieces(s, u->batch);
	pthread_rwlock_wrlock(&s->lock);
	c = collection_get(&s->table, u->batch);
	assert(c && c->upload == u);
	c->upload = NULL;
	c->upload_trusted = true;
	pthread_rwlock_unlock(&s->lock);
	upload_free(u);
	return rc;
}

/* ------------------------------------------------------------------ going on */

/* Compares rows of the part that is open with their sums. */
static int verify_rows(struct vs_upload *u, uint64_t in_piece, const uint32_t *sums, uint32_t count,
		       char *buf)
{
	int rc = io_read_full(u->s->io, u->fd, buf, count * u->row_bytes,
			      SEGMENT_HEADER_BYTES + in_piece * u->row_bytes);

	for (uint32_t i = 0; i < count && !rc; i++)
		if (sum_data(buf + i * u->row_bytes, u->row_bytes) != sums[i])
			rc = -ENODATA;
	return rc;
}

/* Of the part n, which is open, so many rows. */
static int verify_piece(struct vs_upload *u, uint32_t n, uint32_t rows)
{
	uint32_t at_once =
		u->row_bytes < WRITE_BEHIND_BYTES ? WRITE_BEHIND_BYTES / (uint32_t)u->row_bytes : 1;
	uint32_t *sums;
	char *buf;
	int rc;

	if (at_once > SUMS_BUFFERED)
		at_once = SUMS_BUFFERED;
	buf = malloc(at_once * u->row_bytes);
	sums = malloc(at_once * sizeof *sums);
	rc = buf && sums ? 0 : -ENOMEM;
	for (uint32_t done = 0; done < rows && !rc; done += at_once) {
		uint32_t count = rows - done < at_once ? rows - done : at_once;

		rc = upload_sums(u->s, u->batch, (uint64_t)n * u->piece_rows + done, count, sums);
		if (!rc)
			rc = verify_rows(u, done, sums, count, buf);
	}
	free(buf);
	free(sums);
	return rc == -EIO ? -ENODATA : rc;
}

static int piece_reopen(struct vs_upload *u, uint32_t n)
{
	char path[SEGMENT_PATH_MAX];

	piece_path(path, u->batch, n);
	u->fd = u->s->io->ops->open(u->s->io, path, O_RDWR, 0600);
	return u->fd == -ENOENT ? -ENODATA : u->fd < 0 ? u->fd : 0;
}

/* Makes sure of the first rows of part n, the last of them if it is cut there: then it stays open. */
static int piece_resume(struct vs_upload *u, uint32_t n, uint32_t rows)
{
	struct io *io = u->s->io;
	uint64_t size = 0, want = SEGMENT_HEADER_BYTES + rows * (uint64_t)u->row_bytes;
	int rc = piece_reopen(u, n);

	if (!rc)
		rc = io->ops->size(io, u->fd, &size);
	if (rc >= 0 && size < want)
		rc = -ENODATA;
	if (rc >= 0 && !u->trusted)
		rc = verify_piece(u, n, rows);
	if (rc >= 0 && rows < u->piece_rows)
		rc = io->ops->truncate(io, u->fd, want);
	u->piece_bytes = u->started = rows * (uint64_t)u->row_bytes;
	if (rc >= 0 && rows < u->piece_rows)
		return 0;
	if (u->fd >= 0)
		io->ops->close(io, u->fd);
	u->fd = -1;
	return rc < 0 ? rc : 0;
}

static int resume(struct vs_upload *u, uint64_t rows)
{
	struct io *io = u->s->io;
	char path[SEGMENT_PATH_MAX];
	uint64_t size = 0;
	uint32_t n = 0;
	int rc = sums_open(u, O_CREAT);

	if (!rc)
		rc = io->ops->size(io, u->sums_fd, &size);
	if (rc >= 0 && size < rows * sizeof(uint32_t))
		rc = -ENODATA;
	for (uint64_t left = rows; left > 0 && rc >= 0; n++) {
		uint32_t count = left < u->piece_rows ? (uint32_t)left : u->piece_rows;

		rc = piece_resume(u, n, count);
		left -= count;
	}
	for (int gone = 0; rc >= 0 && gone >= 0; n++) {
		piece_path(path, u->batch, n);
		gone = io->ops->unlink(io, path);
	}
	if (rc >= 0)
		rc = io->ops->truncate(io, u->sums_fd, rows * sizeof(uint32_t));
	u->bytes = rows * u->row_bytes;
	u->sums_written = rows * sizeof(uint32_t);
	return rc < 0 ? rc : 0;
}

/* Gives the batch up as it is: what was uploaded stays. */
static void upload_abandon(struct vs_upload *u)
{
	struct collection *c;

	pthread_rwlock_wrlock(&u->s->lock);
	c = collection_get(&u->s->table, u->batch);
	assert(c && c->upload == u);
	c->upload = NULL;
	pthread_rwlock_unlock(&u->s->lock);
	upload_free(u);
}

int vs_upload_resume(struct vs_store *s, uint32_t batch, const struct vs_schema *schema, uint64_t rows,
		     struct vs_upload **out)
{
	struct vs_upload *u;
	int rc = upload_claim(s, batch, schema, &u);

	*out = NULL;
	if (rc)
		return rc;
	rc = resume(u, rows);
	if (rc)
		upload_abandon(u);
	else
		*out = u;
	return rc;
}

int vs_upload_trim(struct vs_upload *u)
{
	uint64_t part = u->bytes % u->row_bytes;
	struct io *io = u->s->io;
	int rc = u->error;

	if (rc || part == 0)
		return rc;
	assert(u->fd >= 0 && u->piece_bytes >= part);
	u->bytes -= part;
	u->piece_bytes -= part;
	if (u->started > u->piece_bytes)
		u->started = u->piece_bytes;
	rc = io->ops->truncate(io, u->fd, SEGMENT_HEADER_BYTES + u->piece_bytes);
	return u->error = rc < 0 ? rc : 0;
}

/* ------------------------------------------------------------------ reading */

static int piece_shape(struct vs_store *s, uint32_t batch, uint32_t n, struct npy_shape *out)
{
	unsigned char page[NPY_HEADER_BYTES];
	char path[SEGMENT_PATH_MAX], why[256];
	size_t header_bytes;
	int fd, rc;

	piece_path(path, batch, n);
	fd = s->io->ops->open(s->io, path, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	rc = io_read_full(s->io, fd, page, sizeof page, 0);
	s->io->ops->close(s->io, fd);
	if (!rc)
		rc = npy_header_parse(page, sizeof page, out, &header_bytes, why, sizeof why);
	return rc == -EAGAIN ? -EINVAL : rc;
}

/* Whether the sums of this many rows are there, with the number of rows behind them: 1, 0 or an error. */
static int sums_complete(struct vs_store *s, uint32_t batch, uint64_t rows)
{
	char path[SEGMENT_PATH_MAX];
	uint64_t size = 0, said = rows + 1;
	int fd, rc;

	collection_path(path, batch, "upload.sums");
	fd = s->io->ops->open(s->io, path, O_RDONLY, 0);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	rc = s->io->ops->size(s->io, fd, &size);
	if (!rc && size == rows * sizeof(uint32_t) + sizeof said)
		rc = io_read_full(s->io, fd, &said, sizeof said, rows * sizeof(uint32_t));
	s->io->ops->close(s->io, fd);
	return rc < 0 ? rc : said == rows;
}

/* Adds a part to what is known of the others: all but the last are full, and all of one shape. */
static int piece_add(struct upload_info *out, const struct npy_shape *shape)
{
	struct vs_schema schema = out->schema;

	/* bit has no dtype of its own in a .npy header: it is the parent's. */
	schema.dim = schema.dtype == VS_BIT && shape->dtype == VS_U8 ? shape->dim * 8 : shape->dim;
	if (schema.dtype != VS_BIT || shape->dtype != VS_U8)
		schema.dtype = shape->dtype;
	if (vs_row_bytes(&schema) > VS_ROW_BYTES_MAX ||
	    (out->pieces && (schema.dim != out->schema.dim || schema.dtype != out->schema.dtype)))
		return -EINVAL;
	out->schema = schema;
	out->piece_rows = 1u << segment_shift(vs_row_bytes(&schema));
	if (shape->rows > out->piece_rows || out->rows != (uint64_t)out->pieces * out->piece_rows)
		return -EINVAL;
	out->rows += shape->rows;
	out->pieces++;
	return 0;
}

/* The sums come before the parts and go after them: without any there is no upload at all. */
static int sums_exist(struct vs_store *s, uint32_t batch)
{
	char path[SEGMENT_PATH_MAX];
	int fd;

	collection_path(path, batch, "upload.sums");
	fd = s->io->ops->open(s->io, path, O_RDONLY, 0);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	s->io->ops->close(s->io, fd);
	return 1;
}

int upload_find(struct vs_store *s, uint32_t batch, struct upload_info *out)
{
	struct npy_shape shape;
	struct collection *c, *up;
	int rc;

	*out = (struct upload_info){0};
	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, batch);
	up = c ? collection_get(&s->table, c->parent) : NULL;
	if (up)
		out->schema = up->schema;
	pthread_rwlock_unlock(&s->lock);
	if (!up)
		return -ENOENT;
	rc = sums_exist(s, batch);
	if (rc <= 0)
		return rc;
	do {
		rc = piece_shape(s, batch, out->pieces, &shape);
		if (!rc)
			rc = piece_add(out, &shape);
	} while (!rc);
	if (rc != -ENOENT && rc != -EINVAL && rc != -ENODATA)
		return rc;
	rc = sums_complete(s, batch, out->rows);
	if (rc < 0)
		return rc;
	out->exists = rc && out->pieces; /* of no rows there is nothing */
	out->torn = !rc;
	if (!out->exists)
		out->rows = out->pieces = 0;
	return 0;
}

/* Rows of one part, as far as it has them. */
static ssize_t piece_read(struct vs_store *s, uint32_t batch, uint64_t piece_bytes, void *buf, size_t size,
			  uint64_t off)
{
	uint64_t in_piece = off % piece_bytes;
	char path[SEGMENT_PATH_MAX];
	int fd, rc;

	if (size > piece_bytes - in_piece)
		size = (size_t)(piece_bytes - in_piece);
	piece_path(path, batch, (uint32_t)(off / piece_bytes));
	fd = s->io->ops->open(s->io, path, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	rc = io_read_full(s->io, fd, buf, size, SEGMENT_HEADER_BYTES + in_piece);
	s->io->ops->close(s->io, fd);
	return rc ? rc : (ssize_t)size;
}

static ssize_t pieces_read(struct vs_store *s, uint32_t batch, uint64_t piece_bytes, uint64_t end, void *buf,
			   size_t size, uint64_t off)
{
	size_t done = 0;

	if (off >= end)
		return 0;
	if (size > end - off)
		size = (size_t)(end - off);
	while (done < size) {
		ssize_t n = piece_read(s, batch, piece_bytes, (char *)buf + done, size - done, off + done);

		if (n < 0)
			return n;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t vs_upload_read(struct vs_upload *u, void *buf, size_t size, uint64_t off)
{
	return pieces_read(u->s, u->batch, (uint64_t)u->piece_rows * u->row_bytes, u->bytes, buf, size, off);
}

ssize_t vs_batch_upload_read(struct vs_store *s, uint32_t batch, void *buf, size_t size, uint64_t off)
{
	struct upload_info info;
	size_t row_bytes;
	int rc = upload_find(s, batch, &info);

	if (rc || !info.exists)
		return rc ? rc : -ENOENT;
	row_bytes = vs_row_bytes(&info.schema);
	return info.rows ? pieces_read(s, batch, (uint64_t)info.piece_rows * row_bytes, info.rows * row_bytes,
				       buf, size, off)
			 : 0;
}

int upload_sums(struct vs_store *s, uint32_t batch, uint64_t first, uint64_t count, uint32_t *sums)
{
	char path[SEGMENT_PATH_MAX];
	int fd, rc;

	collection_path(path, batch, "upload.sums");
	fd = s->io->ops->open(s->io, path, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	rc = io_read_full(s->io, fd, sums, count * sizeof *sums, first * sizeof *sums);
	s->io->ops->close(s->io, fd);
	return rc;
}

int vs_batch_get(struct vs_store *s, uint32_t batch, struct vs_batch_info *out)
{
	struct upload_info upload;
	int rc = upload_find(s, batch, &upload);

	*out = (struct vs_batch_info){.has_upload = upload.exists,
				      .upload_torn = upload.torn,
				      .upload_rows = upload.rows,
				      .upload_schema = upload.schema};
	return rc;
}
