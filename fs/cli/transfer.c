/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/transfer.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/cli/compressor.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/recode.h"

#define CHUNK_BYTES ((size_t)1 << 20) /* the largest FUSE request */
#define PAGE_BYTES 4096
#define GROWTH_MAX 2 /* f16 to f32 */
#define LINES_BYTES ((size_t)1 << 16)
#define NUMBER_BYTES_MAX 21 /* with its newline */

struct transfer {
	struct array_reader *source;
	int fd, ids_fd;
	struct compressor *compressor; /* NULL: fd gets the plain bytes */
	struct array_shape from, to;
	size_t prefix_bytes;
	struct progress *progress;
	/* Page-aligned, lest a direct_io write is split: rows as read, as converted, with prefixes. */
	unsigned char *read, *converted, *prefixed;
	size_t chunk_bytes; /* of rows as read */
	/* Rows that have no ids of their own are numbered. */
	uint64_t number, row_stream_bytes; /* the next one, and bytes of rows so far */
	char *lines;
};

int transfer_write(int fd, const void *data, size_t size)
{
	const unsigned char *at = data;

	while (size > 0) {
		ssize_t n = write(fd, at, size < CHUNK_BYTES ? size : CHUNK_BYTES);

		if (n < 0)
			return -errno;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

int transfer_write_path(const char *path, const void *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), rc;

	if (fd < 0)
		return -errno;
	rc = transfer_write(fd, data, size);
	if (close(fd) != 0 && rc == 0)
		rc = -errno;
	return rc;
}

static int write_file(struct transfer *t, const void *data, size_t size)
{
	return t->compressor ? compressor_write(t->compressor, data, size)
			     : transfer_write(t->fd, data, size);
}

static bool prepare(struct transfer *t)
{
	size_t from_bytes = array_row_bytes(&t->from), to_bytes = array_row_bytes(&t->to);

	/* Rows that get a prefix must be read whole; those that have one are, where there is room for row and
	 * prefix. */
	t->chunk_bytes = CHUNK_BYTES;
	if (from_bytes + ARRAY_PREFIX_BYTES > CHUNK_BYTES)
		t->chunk_bytes = 2 * from_bytes;
	if (t->prefix_bytes > 0)
		t->chunk_bytes = t->chunk_bytes / from_bytes * from_bytes;
	t->lines = malloc(LINES_BYTES);
	return t->lines &&
	       posix_memalign((void **)&t->read, PAGE_BYTES, t->chunk_bytes + ARRAY_HEADER_BYTES_MAX) == 0 &&
	       posix_memalign((void **)&t->converted, PAGE_BYTES, GROWTH_MAX * t->chunk_bytes) == 0 &&
	       posix_memalign((void **)&t->prefixed, PAGE_BYTES,
			      t->chunk_bytes / from_bytes * (to_bytes + ARRAY_PREFIX_BYTES) + 1) == 0;
}

static const unsigned char *convert(struct transfer *t, size_t *size)
{
	/* Of 8 numbers: a bit is no whole number of bytes. */
	size_t from_bytes = array_row_bytes(&(struct array_shape){.dtype = t->from.dtype, .dim = 8});
	size_t to_bytes = array_row_bytes(&(struct array_shape){.dtype = t->to.dtype, .dim = 8});

	if (t->from.dtype == t->to.dtype || t->to.dtype == VS_BIT)
		return t->read;
	assert(*size * 8 % from_bytes == 0);
	recode(t->from.dtype, t->read, t->to.dtype, t->converted, *size * 8 / from_bytes);
	*size = *size * to_bytes / from_bytes;
	return t->converted;
}

static const unsigned char *add_prefixes(struct transfer *t, const unsigned char *rows, size_t *size)
{
	size_t row_bytes = array_row_bytes(&t->to), count = *size / row_bytes;
	unsigned char *to = t->prefixed;
	uint32_t dim = htole32(t->to.dim);

	assert(*size % row_bytes == 0 && sizeof dim == t->prefix_bytes);
	for (size_t i = 0; i < count; i++) {
		memcpy(to, &dim, sizeof dim);
		memcpy(to + sizeof dim, rows + i * row_bytes, row_bytes);
		to += sizeof dim + row_bytes;
	}
	*size = (size_t)(to - t->prefixed);
	return t->prefixed;
}

/* Of the rows that end within the next size bytes of rows. */
static int write_numbers(struct transfer *t, size_t size)
{
	size_t row_bytes = array_row_bytes(&t->from), used = 0;
	uint64_t rows = (t->row_stream_bytes + size) / row_bytes - t->row_stream_bytes / row_bytes;
	int rc = 0;

	t->row_stream_bytes += size;
	for (; rows > 0 && rc == 0; rows--) {
		used += (size_t)snprintf(t->lines + used, NUMBER_BYTES_MAX + 1, "%llu\n",
					 (unsigned long long)t->number++);
		if (rows > 1 && used + NUMBER_BYTES_MAX < LINES_BYTES)
			continue;
		rc = transfer_write(t->ids_fd, t->lines, used);
		used = 0;
	}
	return rc;
}

static int write_ids(struct transfer *t, size_t size)
{
	const char *ids;
	size_t ids_bytes;

	if (t->ids_fd < 0)
		return 0;
	if (!array_reader_has_ids(t->source))
		return write_numbers(t, size);
	ids = array_reader_ids(t->source, &ids_bytes);
	return transfer_write(t->ids_fd, ids, ids_bytes);
}

static int copy_rows(struct transfer *t, char *why, size_t why_size)
{
	ssize_t n;
	int rc = 0;

	while (rc == 0 && (n = array_reader_read(t->source, t->read, t->chunk_bytes, why, why_size)) != 0) {
		size_t size = n > 0 ? (size_t)n : 0, rows_bytes;
		const unsigned char *data;

		if (n < 0 || interrupt_came())
			return n < 0 ? (int)n : -EINTR;
		rc = write_ids(t, size);
		if (rc != 0)
			break;
		data = convert(t, &size);
		rows_bytes = size;
		if (t->prefix_bytes > 0)
			data = add_prefixes(t, data, &size);
		rc = write_file(t, data, size);
		progress_add(t->progress, rows_bytes);
	}
	return rc;
}

/* The header, and all rows. */
static int copy(struct transfer *t, const struct transfer_target *target, char *why, size_t why_size)
{
	size_t header_bytes = array_header_build(target->format, &target->shape, t->read);
	uint64_t row_bytes = t->prefix_bytes + array_row_bytes(&t->to);
	int rc;

	if (target->compressed) {
		assert(t->to.rows != ARRAY_ROWS_UNTOLD);
		t->compressor = compressor_new(t->fd, header_bytes + t->to.rows * row_bytes);
		if (!t->compressor)
			return -ENOMEM;
	}
	rc = write_file(t, t->read, header_bytes);
	if (rc == 0)
		rc = copy_rows(t, why, why_size);
	if (rc == 0 && t->compressor)
		rc = compressor_finish(t->compressor);
	compressor_free(t->compressor);
	return rc;
}

int transfer_run(struct array_reader *source, const struct transfer_target *target, struct progress *progress,
		 char *why, size_t why_size)
{
	struct transfer t = {
		.source = source,
		.fd = target->fd,
		.ids_fd = target->ids_fd,
		.from = *array_reader_shape(source),
		.to = target->shape,
		.prefix_bytes = array_row_prefix(target->format),
		.progress = progress,
		.number = target->first_number,
	};
	int rc = -ENOMEM;

	assert(t.from.rows == t.to.rows);
	*why = 0;
	if (prepare(&t))
		rc = copy(&t, target, why, why_size);
	free(t.read);
	free(t.converted);
	free(t.prefixed);
	free(t.lines);
	if (!interrupt_came())
		return rc;
	*why = 0;
	return -EINTR;
}
