/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/source.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AHEAD_BYTES ((off_t)8 << 20) /* asked of the disk while earlier bytes are written elsewhere */

struct source {
	int fd;
	bool is_file;
	enum array_format format;
	struct array_shape shape;
	size_t row_bytes, prefix_bytes;
	uint64_t left_bytes; /* of rows, without prefixes */
	uint64_t row;        /* the number of the next row, where rows have prefixes */
	off_t off;           /* in the file */
	off_t ahead;         /* how far the disk has been asked */
	unsigned char *head; /* the start of the file: the header, and bytes of rows read along with it */
	size_t head_bytes, head_used;
};

/* Nothing is asked for twice: also where all is cached, every asking looks at every page. */
static void read_ahead(struct source *s)
{
	off_t from = s->ahead > s->off ? s->ahead : s->off, until = s->off + AHEAD_BYTES;

	if (!s->is_file || from >= until) /* a length of 0 would ask for all the rest */
		return;
	posix_fadvise(s->fd, from, until - from, POSIX_FADV_WILLNEED);
	s->ahead = until;
}

/* From what was read along with the header, then from the file. Fewer bytes than size only at its end. */
static ssize_t read_some(struct source *s, unsigned char *buf, size_t size)
{
	size_t done = s->head_bytes - s->head_used;

	done = done < size ? done : size;
	memcpy(buf, s->head + s->head_used, done);
	s->head_used += done;
	while (done < size) {
		ssize_t n = read(s->fd, buf + done, size - done);

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
		s->off += n;
	}
	read_ahead(s);
	return (ssize_t)done;
}

/* Reads more and more of the start of the file, until its header can be parsed. */
static int read_header(struct source *s, size_t *header_bytes, char *why, size_t why_size)
{
	int rc = -EAGAIN;

	for (size_t want = NPY_HEADER_BYTES; rc == -EAGAIN; want *= 4) {
		ssize_t n;

		assert(want <= NPY_HEADER_BYTES_MAX * 4); /* a parser refuses what is longer */
		s->head = realloc(s->head, want);
		if (!s->head)
			return -ENOMEM;
		n = read(s->fd, s->head + s->head_bytes, want - s->head_bytes);
		if (n < 0)
			return -errno;
		s->head_bytes += (size_t)n;
		rc = array_header_parse(s->format, s->head, s->head_bytes, &s->shape, header_bytes, why,
		                        why_size);
		if (rc == -EAGAIN && n == 0) {
			snprintf(why, why_size, "found %zu bytes, which end within the %s header",
			         s->head_bytes, array_format_name(s->format));
			return -EINVAL;
		}
	}
	s->head_used = *header_bytes;
	s->off = (off_t)s->head_bytes;
	return rc;
}

/* A regular file must be as long as its header says, or have a whole number of rows if it says nothing. */
static int check_size(struct source *s, uint64_t size, size_t header_bytes, char *why, size_t why_size)
{
	uint64_t step = s->row_bytes + s->prefix_bytes, body, want;

	if (size < header_bytes) /* it was longer a moment ago */
		return -EIO;
	body = size - header_bytes;
	if (s->shape.rows == ARRAY_ROWS_UNTOLD) {
		s->shape.rows = body / step;
		if (body % step == 0)
			return 0;
		snprintf(why, why_size, "found %llu bytes, want a multiple of %llu (rows of dim %u)",
		         (unsigned long long)body, (unsigned long long)step, s->shape.dim);
		return -EINVAL;
	}
	if (__builtin_mul_overflow(s->shape.rows, step, &want) ||
	    __builtin_add_overflow(want, header_bytes, &want) || want != size) {
		snprintf(why, why_size,
		         "the header says %llu rows of dim %u, which is %llu bytes; found %llu",
		         (unsigned long long)s->shape.rows, s->shape.dim, (unsigned long long)want,
		         (unsigned long long)size);
		return -EINVAL;
	}
	return 0;
}

static int check_dim(struct source *s, uint32_t dim, char *why, size_t why_size)
{
	if (s->format == ARRAY_RAW) {
		s->shape.dim = dim;
		if (dim == 0 || array_row_bytes(&s->shape) > VS_ROW_BYTES_MAX) {
			snprintf(why, why_size, "a raw file does not tell its dim: give it with --dim");
			return -EINVAL;
		}
	} else if (dim != 0 && dim != s->shape.dim) {
		snprintf(why, why_size, "--dim says %u, the file's header %u", dim, s->shape.dim);
		return -EINVAL;
	}
	s->row_bytes = array_row_bytes(&s->shape);
	s->prefix_bytes = array_row_prefix(s->format);
	return 0;
}

static int start(struct source *s, uint32_t dim, char *why, size_t why_size)
{
	size_t header_bytes = 0;
	struct stat st;
	int rc;

	if (fstat(s->fd, &st) != 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	s->is_file = S_ISREG(st.st_mode);
	if (s->is_file)
		posix_fadvise(s->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	rc = read_header(s, &header_bytes, why, why_size);
	if (rc == 0)
		rc = check_dim(s, dim, why, why_size);
	if (rc != 0)
		return rc;
	if (s->is_file)
		rc = check_size(s, (uint64_t)st.st_size, header_bytes, why, why_size);
	else if (s->shape.rows == ARRAY_ROWS_UNTOLD) {
		snprintf(why, why_size,
		         "a stream of %s does not tell how many rows follow: import it from a file",
		         array_format_name(s->format));
		rc = -EINVAL;
	}
	if (rc == 0 && __builtin_mul_overflow(s->shape.rows, s->row_bytes, &s->left_bytes))
		rc = -EFBIG;
	return rc;
}

int source_open(const char *path, enum array_format format, enum vs_dtype dtype, uint32_t dim,
                struct source **out, char *why, size_t why_size)
{
	struct source *s = calloc(1, sizeof *s);
	int rc;

	*out = NULL;
	*why = 0;
	if (!s)
		return -ENOMEM;
	s->format = format;
	s->shape.dtype = dtype;
	s->fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	rc = s->fd < 0 ? -errno : start(s, dim, why, why_size);
	if (rc == 0) {
		*out = s;
		return 0;
	}
	if (!*why)
		snprintf(why, why_size, "%s", strerror(-rc));
	source_close(s);
	return rc;
}

const struct array_shape *source_shape(const struct source *s)
{
	return &s->shape;
}

/* Takes the prefixes out of what was read, in place. */
static int pack(struct source *s, unsigned char *buf, size_t rows, char *why, size_t why_size)
{
	size_t step = s->prefix_bytes + s->row_bytes;

	for (size_t i = 0; i < rows; i++, s->row++) {
		uint32_t dim;

		memcpy(&dim, buf + i * step, sizeof dim);
		dim = le32toh(dim);
		if (dim != s->shape.dim) {
			snprintf(why, why_size, "row %llu: found dim %u, want %u like the first",
			         (unsigned long long)s->row, dim, s->shape.dim);
			return -EINVAL;
		}
		memmove(buf + i * s->row_bytes, buf + i * step + s->prefix_bytes, s->row_bytes);
	}
	return 0;
}

static int check_end(struct source *s, char *why, size_t why_size)
{
	unsigned char byte;
	ssize_t n = read_some(s, &byte, 1);

	if (n == 0)
		return 0;
	snprintf(why, why_size, "found more bytes than the header says: %llu rows of dim %u",
	         (unsigned long long)s->shape.rows, s->shape.dim);
	return n < 0 ? (int)n : -EINVAL;
}

ssize_t source_read(struct source *s, void *buf, size_t capacity, char *why, size_t why_size)
{
	size_t step = s->row_bytes + s->prefix_bytes, rows = 0, size = capacity, want;
	ssize_t n;
	int rc;

	if (s->left_bytes == 0)
		return check_end(s, why, why_size);
	if (s->prefix_bytes > 0)
		size = capacity / step * s->row_bytes;
	assert(size > 0);
	if (size > s->left_bytes)
		size = (size_t)s->left_bytes;
	if (s->prefix_bytes > 0)
		rows = size / s->row_bytes;
	want = size + rows * s->prefix_bytes;
	n = read_some(s, buf, want);
	if (n < 0) {
		snprintf(why, why_size, "%s", strerror((int)-n));
		return n;
	}
	if ((size_t)n < want) {
		snprintf(why, why_size, "the file ends before its %llu rows of dim %u do",
		         (unsigned long long)s->shape.rows, s->shape.dim);
		return -EINVAL;
	}
	rc = pack(s, buf, rows, why, why_size);
	if (rc != 0)
		return rc;
	s->left_bytes -= size;
	return (ssize_t)size;
}

int source_fd(const struct source *s)
{
	return s->fd;
}

void source_close(struct source *s)
{
	if (s->fd >= 0)
		close(s->fd);
	free(s->head);
	free(s);
}
