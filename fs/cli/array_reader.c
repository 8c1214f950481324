/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/array_reader.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/cli/stream.h"
#include "store/base/idlist.h"

#define IDS_BYTES ((size_t)1 << 20) /* of ids handed out along with rows, about */
#define SUFFIX_BYTES 64             /* of a name's end: more than any suffix */

struct array_reader {
	struct stream *in;
	struct vectext *text; /* NULL: an array */
	enum array_format format;
	struct array_shape shape;
	size_t row_bytes, prefix_bytes;
	uint64_t left_bytes; /* of rows, without prefixes; UINT64_MAX: until the file ends */
	uint64_t row;        /* the number of the next row, where rows have prefixes */
	unsigned char *head; /* the start of the file: the header, and bytes of rows read along with it */
	size_t head_bytes, head_used;
	char *ids; /* of a text: those of the rows handed out last */
	size_t ids_bytes;
};

/* From what was read along with the header, then from the file. Fewer bytes than size only at its end. */
static ssize_t read_some(struct array_reader *s, unsigned char *buf, size_t size, char *why, size_t why_size)
{
	size_t done = s->head_bytes - s->head_used;
	ssize_t n;

	done = done < size ? done : size;
	memcpy(buf, s->head + s->head_used, done);
	s->head_used += done;
	n = stream_read(s->in, buf + done, size - done, why, why_size);
	return n < 0 ? n : (ssize_t)done + n;
}

/* Reads more and more of the start of the file, until its header can be parsed. */
static int read_header(struct array_reader *s, size_t *header_bytes, char *why, size_t why_size)
{
	int rc = -EAGAIN;

	for (size_t want = NPY_HEADER_BYTES; rc == -EAGAIN; want *= 4) {
		ssize_t n;

		assert(want <= NPY_HEADER_BYTES_MAX * 4); /* a parser refuses what is longer */
		s->head = realloc(s->head, want);
		if (!s->head)
			return -ENOMEM;
		n = stream_read_some(s->in, s->head + s->head_bytes, want - s->head_bytes, why, why_size);
		if (n < 0)
			return (int)n;
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
	return rc;
}

/* A regular file must be as long as its header says, or have a whole number of rows if it says nothing. */
static int check_size(struct array_reader *s, uint64_t size, size_t header_bytes, char *why, size_t why_size)
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

static int check_dim(struct array_reader *s, uint32_t dim, char *why, size_t why_size)
{
	if (s->format == ARRAY_RAW && !s->text) {
		s->shape.dim = dim;
		if (dim == 0 || array_row_bytes(&s->shape) > VS_ROW_BYTES_MAX) {
			snprintf(why, why_size, "a raw file does not tell its dim: give it with --dim");
			return -EINVAL;
		}
	} else if (dim != 0 && s->shape.dim != 0 && dim != s->shape.dim) {
		snprintf(why, why_size, "--dim says %u, the file has %u", dim, s->shape.dim);
		return -EINVAL;
	}
	s->row_bytes = array_row_bytes(&s->shape);
	s->prefix_bytes = array_row_prefix(s->format);
	return 0;
}

static int start_array(struct array_reader *s, const struct array_reader_options *o, char *why,
		       size_t why_size)
{
	bool tells_rows = s->format != ARRAY_RAW && array_row_prefix(s->format) == 0;
	size_t header_bytes = 0;
	uint64_t size;
	int rc = tells_rows ? 0 : stream_measure(s->in, why, why_size);

	if (rc == 0 || rc == -ESPIPE)
		rc = read_header(s, &header_bytes, why, why_size);
	if (rc == 0)
		rc = check_dim(s, o->dim, why, why_size);
	if (rc == 0 && stream_size(s->in, &size))
		rc = check_size(s, size, header_bytes, why, why_size);
	return rc;
}

/* A text in a file is counted first: the number of its rows is wanted before them. */
static int start_text(struct array_reader *s, const struct array_reader_options *o, char *why,
		      size_t why_size)
{
	struct vectext_options options = {o->text, o->dim != 0 ? o->dim : o->dim_guess, o->escape};
	uint64_t lines, rows;
	bool told;
	int rc = stream_count_lines(s->in, &lines, why, why_size), counted = rc;

	if (rc != 0 && rc != -ESPIPE)
		return rc;
	s->ids = malloc(IDS_BYTES + IDLIST_LINE_MAX);
	if (!s->ids)
		return -ENOMEM;
	rc = vectext_open(s->in, &options, &s->text, why, why_size);
	if (rc != 0)
		return rc;
	told = vectext_rows(s->text, &rows);
	s->shape =
		(struct array_shape){.dtype = VS_F32, .dim = vectext_dim(s->text), .rows = ARRAY_ROWS_UNTOLD};
	if (told || counted == 0)
		s->shape.rows = told ? rows : lines;
	if (s->shape.dim == 0) /* nothing is behind a byte order mark, say */
		s->shape.rows = 0;
	if (told && counted == 0 && rows != lines - 1) {
		snprintf(why, why_size, "the first line says %llu rows, found %llu", (unsigned long long)rows,
			 (unsigned long long)lines - 1);
		return -EINVAL;
	}
	return check_dim(s, o->dim, why, why_size);
}

static int start(struct array_reader *s, const char *path, const struct array_reader_options *o, char *why,
		 size_t why_size)
{
	int rc = o->archived ? stream_open_member(path, o->compressed, o->member, &s->in, why, why_size)
			     : stream_open(path, o->compressed, &s->in);

	if (rc == 0)
		rc = o->text != VECTEXT_NONE ? start_text(s, o, why, why_size)
					     : start_array(s, o, why, why_size);
	if (rc != 0)
		return rc;
	s->left_bytes = UINT64_MAX;
	if (s->shape.rows != ARRAY_ROWS_UNTOLD &&
	    __builtin_mul_overflow(s->shape.rows, s->row_bytes, &s->left_bytes))
		rc = -EFBIG;
	return rc;
}

int array_reader_format_of_name(const char *file_name, struct array_reader_options *out)
{
	static const struct {
		const char *suffix;
		enum vectext_form form;
	} texts[] = {
		{"txt", VECTEXT_ANY},     {"vec", VECTEXT_ANY}, {"word2vec", VECTEXT_WORD2VEC},
		{"glove", VECTEXT_GLOVE}, {"tsv", VECTEXT_TSV},
	};
	char plain[SUFFIX_BYTES];
	const char *dot;

	out->compressed = stream_plain_name(file_name, plain, sizeof plain);
	dot = strrchr(plain, '.');
	out->archived = dot && strcmp(dot, ".npz") == 0;
	out->text = VECTEXT_NONE;
	out->format = ARRAY_NPY;
	out->dtype = VS_F32;
	if (out->archived)
		return 0;
	for (size_t i = 0; dot && i < sizeof texts / sizeof *texts; i++)
		if (strcmp(dot + 1, texts[i].suffix) == 0) {
			out->text = texts[i].form;
			out->format = ARRAY_RAW; /* what it is once it has been read */
			return 0;
		}
	return array_format_of_name(plain, &out->format, &out->dtype);
}

int array_reader_open(const char *path, const struct array_reader_options *options, struct array_reader **out,
		      char *why, size_t why_size)
{
	struct array_reader *s = calloc(1, sizeof *s);
	int rc;

	*out = NULL;
	*why = 0;
	if (!s)
		return -ENOMEM;
	s->format = options->format;
	s->shape.dtype = options->dtype;
	rc = start(s, path, options, why, why_size);
	if (rc == 0) {
		*out = s;
		return 0;
	}
	if (!*why)
		snprintf(why, why_size, "%s", strerror(-rc));
	array_reader_close(s);
	return rc;
}

const struct array_shape *array_reader_shape(const struct array_reader *s)
{
	return &s->shape;
}

/* Takes the prefixes out of what was read, in place. */
static int pack(struct array_reader *s, unsigned char *buf, size_t rows, char *why, size_t why_size)
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

static int check_end(struct array_reader *s, char *why, size_t why_size)
{
	unsigned char byte;
	ssize_t n = read_some(s, &byte, 1, why, why_size);

	if (n <= 0)
		return (int)n;
	snprintf(why, why_size, "found more bytes than the header says: %llu rows of dim %u",
		 (unsigned long long)s->shape.rows, s->shape.dim);
	return -EINVAL;
}

/* What a file has at its end of the size bytes (with prefixes) that were wanted. */
static ssize_t check_short(const struct array_reader *s, size_t size, char *why, size_t why_size)
{
	if (s->shape.rows == ARRAY_ROWS_UNTOLD && size % (s->row_bytes + s->prefix_bytes) == 0)
		return (ssize_t)size;
	if (s->shape.rows == ARRAY_ROWS_UNTOLD)
		snprintf(why, why_size, "the file ends within a row of dim %u", s->shape.dim);
	else
		snprintf(why, why_size, "the file ends before its %llu rows of dim %u do",
			 (unsigned long long)s->shape.rows, s->shape.dim);
	return -EINVAL;
}

static ssize_t read_array(struct array_reader *s, void *buf, size_t capacity, char *why, size_t why_size)
{
	size_t step = s->row_bytes + s->prefix_bytes, size = capacity, want;
	bool whole_rows = s->prefix_bytes > 0 || s->shape.rows == ARRAY_ROWS_UNTOLD;
	ssize_t n;
	int rc;

	if (s->left_bytes == 0)
		return check_end(s, why, why_size);
	if (whole_rows)
		size = capacity / step * s->row_bytes;
	assert(size > 0);
	if (size > s->left_bytes)
		size = (size_t)s->left_bytes;
	want = whole_rows ? size / s->row_bytes * step : size;
	n = read_some(s, buf, want, why, why_size);
	if (n >= 0 && (size_t)n < want)
		n = check_short(s, (size_t)n, why, why_size);
	if (n <= 0)
		return n;
	if ((size_t)n < want)
		size = (size_t)n / step * s->row_bytes;
	rc = s->prefix_bytes > 0 ? pack(s, buf, size / s->row_bytes, why, why_size) : 0;
	if (rc != 0)
		return rc;
	if (s->left_bytes != UINT64_MAX)
		s->left_bytes -= size;
	return (ssize_t)size;
}

int array_reader_fd(const struct array_reader *s)
{
	return stream_fd(s->in);
}

static ssize_t read_text(struct array_reader *s, void *buf, size_t capacity, char *why, size_t why_size)
{
	size_t used = 0;
	int rc = 1;

	s->ids_bytes = 0;
	while (capacity - used >= s->row_bytes && s->ids_bytes < IDS_BYTES) {
		char id[VS_NAME_MAX];
		size_t len;

		rc = vectext_read(s->text, (float *)((char *)buf + used), id, &len, why, why_size);
		if (rc <= 0)
			break;
		s->ids_bytes += idlist_line(id, len, s->ids + s->ids_bytes);
		used += s->row_bytes;
	}
	if (rc < 0)
		return rc;
	if (s->left_bytes != UINT64_MAX && used > s->left_bytes) {
		snprintf(why, why_size, "it became longer");
		return -EINVAL;
	}
	if (s->left_bytes != UINT64_MAX)
		s->left_bytes -= used;
	if (rc == 0 && s->left_bytes != UINT64_MAX && s->left_bytes > 0) {
		snprintf(why, why_size, "it became shorter");
		return -EINVAL;
	}
	return (ssize_t)used;
}

ssize_t array_reader_read(struct array_reader *s, void *buf, size_t capacity, char *why, size_t why_size)
{
	ssize_t n = s->text ? read_text(s, buf, capacity, why, why_size)
			    : read_array(s, buf, capacity, why, why_size);

	if (n < 0 && !*why)
		snprintf(why, why_size, "%s", strerror((int)-n));
	return n;
}

bool array_reader_has_ids(const struct array_reader *s)
{
	return s->text != NULL;
}

const char *array_reader_ids(const struct array_reader *s, size_t *size)
{
	*size = s->ids_bytes;
	return s->ids;
}

void array_reader_close(struct array_reader *s)
{
	if (s->text)
		vectext_close(s->text);
	if (s->in)
		stream_close(s->in);
	free(s->head);
	free(s->ids);
	free(s);
}
