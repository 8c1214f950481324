/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/vector_text.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/cli/ids.h"
#include "fs/cli/number.h"

#define READ_BYTES ((size_t)1 << 20)
#define BOM "\xef\xbb\xbf"
#define BOM_BYTES 3
#define DIM_MAX (VS_ROW_BYTES_MAX / sizeof(float))
#define ID_BYTES_MAX 4096 /* before encoding; a longer one is no legal name whatever it holds */

struct vectext {
	struct stream *in;
	enum vectext_form form;
	bool escape, crlf, at_end;
	bool has_rows; /* told by the first line */
	uint64_t rows, rows_read;
	uint32_t dim;
	uint64_t line; /* number of the one last taken */
	/* Bytes [begin, end) of buf are read and not taken yet. */
	char *buf;
	size_t capacity, begin, end;
};

__attribute__((format(printf, 4, 5))) static int refuse(const struct vectext *t, char *why, size_t why_size,
							const char *format, ...)
{
	int n = snprintf(why, why_size, "line %llu: ", (unsigned long long)t->line);
	va_list args;

	va_start(args, format);
	if (n >= 0 && (size_t)n < why_size)
		vsnprintf(why + n, why_size - (size_t)n, format, args);
	va_end(args);
	return -EINVAL;
}

/* ------------------------------------------------------------------ lines */

/* Makes room for more bytes behind those that are there, and reads them. */
static int read_more(struct vectext *t, char *why, size_t why_size)
{
	ssize_t n;

	if (t->begin > 0) {
		memmove(t->buf, t->buf + t->begin, t->end - t->begin);
		t->end -= t->begin;
		t->begin = 0;
	}
	if (t->end >= VECTEXT_LINE_MAX) {
		t->line++;
		return refuse(t, why, why_size, "it is longer than %zu MiB", VECTEXT_LINE_MAX >> 20);
	}
	if (t->capacity - t->end < READ_BYTES) {
		char *grown = realloc(t->buf, 2 * t->capacity + READ_BYTES);

		if (!grown)
			return -ENOMEM;
		t->buf = grown;
		t->capacity = 2 * t->capacity + READ_BYTES;
	}
	n = stream_read_some(t->in, t->buf + t->end, READ_BYTES, why, why_size);
	if (n < 0)
		return (int)n;
	t->end += (size_t)n;
	t->at_end = n == 0;
	return 0;
}

/* Finds the end of the next line, of which *len bytes are its own and *whole are to be skipped. 1, or 0 at
 * the end. */
static int peek_line(struct vectext *t, size_t *len, size_t *whole, char *why, size_t why_size)
{
	size_t searched = 0;
	const char *newline;

	while (!(newline = memchr(t->buf + t->begin + searched, '\n', t->end - t->begin - searched)) &&
	       !t->at_end) {
		int rc;

		searched = t->end - t->begin;
		rc = read_more(t, why, why_size);
		if (rc != 0)
			return rc;
	}
	*len = newline ? (size_t)(newline - (t->buf + t->begin)) : t->end - t->begin;
	*whole = *len + (newline != NULL);
	return *whole > 0;
}

/* Line ends are like the first: of a mixture nobody can tell which bytes belong to ids. The last may have
 * none. */
static int check_line_end(struct vectext *t, const char *line, size_t *len, bool ended, char *why,
			  size_t why_size)
{
	bool crlf = *len > 0 && line[*len - 1] == '\r';

	if (t->line == 1)
		t->crlf = crlf;
	if (crlf != t->crlf && (crlf || ended))
		return refuse(t, why, why_size, "it ends in %s, the lines before it in %s",
			      crlf ? "CR LF" : "LF alone", crlf ? "LF alone" : "CR LF");
	*len -= crlf;
	return 0;
}

/* Takes the next line, without what ends it; it stays where it is until the next call. 1, or 0 at the end. */
static int take_line(struct vectext *t, const char **line, size_t *len, char *why, size_t why_size)
{
	size_t whole;
	int rc = peek_line(t, len, &whole, why, why_size);

	if (rc <= 0)
		return rc;
	*line = t->buf + t->begin;
	t->begin += whole;
	t->line++;
	rc = check_line_end(t, *line, len, whole > *len, why, why_size);
	return rc != 0 ? rc : 1;
}

/* ------------------------------------------------------------------ numbers */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && is_blank(*p))
		p++;
	return p;
}

/* What stands between two numbers: blanks, in a tsv also one comma. NULL: something else. */
static const char *skip_separator(const struct vectext *t, const char *p, const char *end)
{
	const char *next = skip_blanks(p, end);

	if (t->form == VECTEXT_TSV && next < end && *next == ',') {
		next = skip_blanks(next + 1, end);
		return next < end ? next : NULL;
	}
	return next > p || next == end ? next : NULL;
}

/* Reads dim numbers that make up [p, end). */
static int read_numbers(const struct vectext *t, const char *p, const char *end, float *row, char *why,
			size_t why_size)
{
	uint32_t n = 0;

	for (p = skip_blanks(p, end); p < end; n++) {
		float ignored;
		const char *field = p, *next = number_parse(p, end, n < t->dim ? &row[n] : &ignored);

		p = next ? skip_separator(t, next, end) : NULL;
		if (!p)
			return refuse(t, why, why_size,
				      "number %u: found '%.*s', want a number that f32 can hold", n + 1,
				      (int)(end - field < 40 ? end - field : 40), field);
	}
	if (n != t->dim)
		return refuse(t, why, why_size, "found %u numbers, want %u", n, t->dim);
	return 0;
}

/* ------------------------------------------------------------------ ids */

static int take_id(const struct vectext *t, const char *id, size_t len, char *out, size_t *out_len, char *why,
		   size_t why_size)
{
	char encoded[IDS_ESCAPE_FACTOR * ID_BYTES_MAX];
	int bad;

	if (t->escape && len <= ID_BYTES_MAX) {
		len = ids_escape(id, len, encoded);
		id = encoded;
	}
	bad = vs_name_check(id, len);
	if (len == 0)
		return refuse(t, why, why_size, "the id is empty");
	if (bad == -ENAMETOOLONG)
		return refuse(t, why, why_size, "the id is longer than %d bytes", VS_NAME_MAX);
	if (bad != 0)
		return refuse(t, why, why_size, "the id '%.*s' is no file name (--escape would encode it)",
			      (int)len, id);
	memcpy(out, id, len);
	*out_len = len;
	return 0;
}

/* Where the last count fields of [line, end) begin; NULL if there are fewer, or no id before them. */
static const char *last_fields(const char *line, const char *end, uint32_t count)
{
	const char *p = end;

	while (p > line && is_blank(p[-1]))
		p--;
	for (uint32_t n = 0; n < count; n++) {
		const char *field;

		while (p > line && is_blank(p[-1]))
			p--;
		field = p;
		while (p > line && !is_blank(p[-1]))
			p--;
		if (p == field || p == line)
			return NULL;
	}
	return p;
}

static uint32_t count_fields(const char *p, const char *end)
{
	uint32_t n = 0;

	for (p = skip_blanks(p, end); p < end; p = skip_blanks(p, end), n++)
		while (p < end && !is_blank(*p))
			p++;
	return n;
}

/* Whether the id has spaces and ends in a number: then a number is too many, or DIM is another. */
static bool ends_in_number(const char *id, size_t len)
{
	const char *end = id + len, *field = end;
	float ignored;

	while (field > id && !is_blank(field[-1]))
		field--;
	return field > id && ((*field >= '0' && *field <= '9') || *field == '-' || *field == '.') &&
	       number_parse(field, end, &ignored) == end;
}

static int read_line(const struct vectext *t, const char *line, size_t len, float *row, char *id,
		     size_t *id_len, char *why, size_t why_size)
{
	const char *end = line + len, *id_end, *numbers;
	int rc;

	if (len == 0)
		return refuse(t, why, why_size, "it is empty");
	if (t->form == VECTEXT_TSV) {
		id_end = memchr(line, '\t', len);
		numbers = id_end ? id_end + 1 : NULL;
		if (!id_end)
			return refuse(t, why, why_size,
				      "found no tab, want one between the id and its numbers");
	} else {
		numbers = last_fields(line, end, t->dim);
		for (id_end = numbers; id_end && id_end > line && is_blank(id_end[-1]); id_end--)
			; /* columns that were aligned */
		if (!numbers || ends_in_number(line, (size_t)(id_end - line))) {
			uint32_t fields = count_fields(line, end);

			return refuse(t, why, why_size, "found %u numbers, want %u",
				      fields > 0 ? fields - 1 : 0, t->dim);
		}
	}
	rc = read_numbers(t, numbers, end, row, why, why_size);
	return rc != 0 ? rc : take_id(t, line, (size_t)(id_end - line), id, id_len, why, why_size);
}

/* ------------------------------------------------------------------ the first lines */

/* Takes a whole number that fills a field of a first line; false if it is none. */
static bool take_count(const char **p, const char *end, uint64_t *out)
{
	const char *start = *p;

	for (*out = 0; *p < end && **p >= '0' && **p <= '9'; ++*p)
		if (__builtin_mul_overflow(*out, 10u, out) ||
		    __builtin_add_overflow(*out, (unsigned)(**p - '0'), out))
			return false;
	return *p > start && (*p == end || is_blank(**p));
}

static bool parse_head(const char *line, size_t len, uint64_t *rows, uint64_t *dim)
{
	const char *p = line, *end = line + len;

	if (!take_count(&p, end, rows))
		return false;
	p = skip_blanks(p, end);
	return take_count(&p, end, dim) && skip_blanks(p, end) == end;
}

/* Takes "ROWS DIM" if it stands there. With vectors of one number it could be one of them: then only when
 * asked for. */
static int take_head(struct vectext *t, size_t len, char *why, size_t why_size)
{
	const char *line = t->buf + t->begin;
	uint64_t rows, dim;
	bool found;

	if (len > 0 && line[len - 1] == '\r')
		len--;
	found = parse_head(line, len, &rows, &dim);
	if (t->form == VECTEXT_ANY && memchr(line, '\t', len))
		t->form = VECTEXT_TSV;
	else if (t->form == VECTEXT_ANY)
		t->form = found && t->dim != 1 ? VECTEXT_WORD2VEC : VECTEXT_GLOVE;
	if (t->form != VECTEXT_WORD2VEC)
		return 0;
	if (!found || dim == 0 || dim > DIM_MAX) {
		t->line++;
		return refuse(t, why, why_size,
			      "found '%.*s', want the numbers of rows and of dim (1 to %zu)",
			      (int)(len < 40 ? len : 40), line, (size_t)DIM_MAX);
	}
	t->has_rows = true;
	t->rows = rows;
	t->dim = (uint32_t)dim;
	return take_line(t, &line, &len, why, why_size) < 0 ? -EINVAL : 0;
}

/* The dim of a file that does not tell it is that of its first line, whose id has then no spaces. */
static int find_dim(struct vectext *t, size_t len, char *why, size_t why_size)
{
	const char *line = t->buf + t->begin, *end = line + len, *numbers = line;
	uint32_t fields = 0;

	if (t->dim != 0)
		return 0;
	if (len > 0 && end[-1] == '\r')
		end--;
	if (t->form == VECTEXT_TSV) {
		numbers = memchr(line, '\t', len);
		for (const char *p = numbers ? numbers : end; p < end; fields++) {
			p = skip_blanks(p, end);
			while (p < end && !is_blank(*p) && *p != ',')
				p++;
			p = skip_blanks(p, end);
			p += p < end && *p == ',';
		}
	} else {
		fields = count_fields(line, end);
		fields -= fields > 0;
	}
	t->dim = fields;
	if (fields > 0 && fields <= DIM_MAX)
		return 0;
	t->line++;
	return refuse(t, why, why_size, "found %u numbers behind the id, want 1 to %zu", fields,
		      (size_t)DIM_MAX);
}

static int start(struct vectext *t, char *why, size_t why_size)
{
	size_t len = 0, whole;
	int rc = 0;

	while (rc == 0 && t->end < BOM_BYTES && !t->at_end)
		rc = read_more(t, why, why_size);
	if (rc != 0)
		return rc;
	if (t->end >= BOM_BYTES && memcmp(t->buf, BOM, BOM_BYTES) == 0)
		t->begin = BOM_BYTES;
	t->line = t->end >= 2 && (memcmp(t->buf, "\xff\xfe", 2) == 0 || memcmp(t->buf, "\xfe\xff", 2) == 0);
	if (t->line)
		return refuse(t, why, why_size, "the text is UTF-16, want UTF-8");
	rc = peek_line(t, &len, &whole, why, why_size);
	if (rc > 0)
		rc = take_head(t, len, why, why_size);
	if (rc == 0)
		rc = peek_line(t, &len, &whole, why, why_size);
	return rc > 0 ? find_dim(t, len, why, why_size) : rc;
}

/* ------------------------------------------------------------------ public */

int vectext_open(struct stream *in, const struct vectext_options *options, struct vectext **out, char *why,
		 size_t why_size)
{
	struct vectext *t = calloc(1, sizeof *t);
	int rc;

	assert(options->form != VECTEXT_NONE);
	*out = NULL;
	if (!t)
		return -ENOMEM;
	t->in = in;
	t->form = options->form;
	t->dim = options->dim;
	t->escape = options->escape;
	rc = start(t, why, why_size);
	if (rc != 0) {
		vectext_close(t);
		return rc;
	}
	*out = t;
	return 0;
}

void vectext_close(struct vectext *t)
{
	free(t->buf);
	free(t);
}

uint32_t vectext_dim(const struct vectext *t)
{
	return t->dim;
}

bool vectext_rows(const struct vectext *t, uint64_t *rows)
{
	*rows = t->rows;
	return t->has_rows;
}

int vectext_read(struct vectext *t, float *row, char id[VS_NAME_MAX], size_t *id_len, char *why,
		 size_t why_size)
{
	const char *line;
	size_t len;
	int rc = take_line(t, &line, &len, why, why_size);

	if (rc == 0 && t->has_rows && t->rows_read < t->rows) {
		snprintf(why, why_size, "the first line says %llu rows, found %llu",
			 (unsigned long long)t->rows, (unsigned long long)t->rows_read);
		return -EINVAL;
	}
	if (rc <= 0)
		return rc;
	if (t->has_rows && t->rows_read == t->rows)
		return refuse(t, why, why_size, "it is one more than the %llu rows that the first line says",
			      (unsigned long long)t->rows);
	t->rows_read++;
	rc = read_line(t, line, len, row, id, id_len, why, why_size);
	return rc != 0 ? rc : 1;
}
