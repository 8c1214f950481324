/* SPDX-License-Identifier: Apache-2.0 */
#include "store/base/idlist.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "store/store.h"

#define BOM "\xef\xbb\xbf"
#define BOM_BYTES 3
#define ESCAPE_BYTES 3

static bool has_bom(const char *text, size_t size)
{
	return size >= BOM_BYTES && memcmp(text, BOM, BOM_BYTES) == 0;
}

/* ------------------------------------------------------------------ the escapes of a line */

/* What stands for the byte or mark at id, of *bytes bytes; 0 if it stands for itself. */
static char escape_of(const char *id, size_t left, bool first, size_t *bytes)
{
	*bytes = 1;
	if (*id == '\n')
		return 'n';
	if (*id == '\r')
		return 'r';
	if (!first || !has_bom(id, left))
		return 0;
	*bytes = BOM_BYTES;
	return 'b';
}

size_t idlist_line(const char *id, size_t len, char *out)
{
	size_t n = 0, bytes;

	for (size_t i = 0; i < len; i += bytes) {
		char escape = escape_of(id + i, len - i, i == 0, &bytes);

		if (escape) {
			out[n++] = '/';
			out[n++] = '\\';
			out[n++] = escape;
		} else {
			out[n++] = id[i];
		}
	}
	out[n++] = '\n';
	return n;
}

size_t idlist_line_bytes(const char *id, size_t len)
{
	size_t n = len + 1; /* a mark is as long as its escape */

	for (size_t i = 0; i < len; i++)
		n += id[i] == '\n' || id[i] == '\r' ? ESCAPE_BYTES - 1 : 0;
	return n;
}

/* The bytes that the escape at line stands for; NULL if there is none. */
static const char *unescape(const char *line, size_t left, bool first)
{
	if (left < ESCAPE_BYTES || line[0] != '/' || line[1] != '\\')
		return NULL;
	switch (line[2]) {
	case 'n':
		return "\n";
	case 'r':
		return "\r";
	case 'b':
		return first ? BOM : NULL;
	default:
		return NULL;
	}
}

/* The id that a line writes. It is never longer: out may be the line itself, or lie before it. */
static size_t decode(const char *line, size_t len, char *out)
{
	size_t n = 0;

	if (!memchr(line, '/', len)) {
		memmove(out, line, len);
		return len;
	}
	for (size_t i = 0; i < len;) {
		const char *bytes = unescape(line + i, len - i, i == 0);

		if (!bytes) {
			out[n++] = line[i++];
			continue;
		}
		for (; *bytes; bytes++)
			out[n++] = *bytes;
		i += ESCAPE_BYTES;
	}
	return n;
}

/* ------------------------------------------------------------------ one id */

/* What all pieces of a list have in common. */
struct rules {
	enum idlist_separator separator;
	idlist_encoder encode;
	bool crlf; /* as the first line ends */
	bool utf16;
	char *why;
	size_t why_size;
};

static char separator_byte(enum idlist_separator separator)
{
	return separator == IDLIST_NULS ? '\0' : '\n';
}

static const char *noun(enum idlist_separator separator)
{
	return separator == IDLIST_NULS ? "id" : "line";
}

__attribute__((format(printf, 4, 5))) static int refuse(const struct rules *r, uint64_t n, int rc,
							const char *format, ...)
{
	int len = snprintf(r->why, r->why_size, "%s %llu: ", noun(r->separator), (unsigned long long)n + 1);
	va_list args;

	va_start(args, format);
	if (len >= 0 && (size_t)len < r->why_size)
		vsnprintf(r->why + len, r->why_size - (size_t)len, format, args);
	va_end(args);
	return rc;
}

/* Takes the CR of a CR LF from the end of line n; a last line that is not ended may be without. */
static int take_line_end(struct rules *r, uint64_t n, const char *line, size_t *len, bool ended)
{
	bool crlf = *len && line[*len - 1] == '\r';

	if (r->separator == IDLIST_NULS)
		return 0;
	if (n == 0)
		r->crlf = crlf;
	if (crlf != r->crlf && (crlf || ended))
		return refuse(r, n, -EINVAL, "it ends in %s, the lines before it in %s",
			      crlf ? "CR LF" : "LF alone", crlf ? "LF alone" : "CR LF");
	*len -= crlf;
	return 0;
}

static int check_id(const struct rules *r, uint64_t n, const char *id, size_t len)
{
	switch (vs_name_check(id, len)) {
	case 0:
		return 0;
	case -ENAMETOOLONG:
		return refuse(r, n, -EINVAL, "the id is longer than 255 bytes");
	case -EPERM:
		return refuse(r, n, -EILSEQ, "the id .vecfs is reserved");
	}
	if (!len)
		return refuse(r, n, -EINVAL, "the id is empty");
	if (memchr(id, 0, len))
		return refuse(r, n, -EILSEQ, "the id %s",
			      r->utf16 ? "is UTF-16, want UTF-8" : "has a NUL byte in it");
	if (memchr(id, '/', len))
		return refuse(r, n, -EILSEQ, "the id has a '/' in it");
	return refuse(r, n, -EILSEQ, "the id is \".\" or \"..\"");
}

/* Writes the id that piece n of the list stands for to out; *len becomes its length. */
static int read_id(struct rules *r, uint64_t n, const char *piece, bool ended, char *out, size_t *len)
{
	int rc;

	if (n == 0)
		r->utf16 = *len >= 2 && (!memcmp(piece, "\xff\xfe", 2) || !memcmp(piece, "\xfe\xff", 2));
	rc = take_line_end(r, n, piece, len, ended);
	if (rc)
		return rc;
	if (r->encode)
		*len = r->encode(piece, *len, out);
	else if (r->separator == IDLIST_LINES)
		*len = decode(piece, *len, out);
	else
		memmove(out, piece, *len);
	return check_id(r, n, out, *len);
}

/* ------------------------------------------------------------------ a whole list */

static uint64_t count_pieces(const char *at, const char *end, char separator)
{
	uint64_t count = 0;

	for (; at < end; count++) {
		const char *stop = memchr(at, separator, (size_t)(end - at));

		at = stop ? stop + 1 : end;
	}
	return count;
}

/* Writes each id of [at, end) to `to`, which is the text itself unless there is an encoder. */
static int fill(struct rules *r, struct idlist *list, const char *at, const char *end, char *to)
{
	char *start = to;
	int rc = 0;

	for (uint64_t n = 0; !rc && at < end; n++) {
		const char *stop = memchr(at, separator_byte(r->separator), (size_t)(end - at));
		size_t len = (size_t)((stop ? stop : end) - at);

		list->id[n] = to;
		rc = read_id(r, n, at, stop, to, &len);
		at = stop ? stop + 1 : end;
		to += len;
		*to++ = '\0';
	}
	list->size_bytes = (size_t)(to - start);
	return rc;
}

/* text has room for one byte more than its size. */
static int parse(struct rules *r, char *text, size_t size, struct idlist *out)
{
	const char *at = text, *end = text + size;
	char *encoded = NULL;
	int rc;

	if (r->separator == IDLIST_LINES && has_bom(text, size))
		at += BOM_BYTES;
	out->text = text;
	out->count = count_pieces(at, end, separator_byte(r->separator));
	if (out->count > IDLIST_IDS_MAX) {
		snprintf(r->why, r->why_size, "more than 4,294,967,294 ids");
		return -EINVAL;
	}
	out->id = malloc((out->count + 1) * sizeof *out->id);
	if (r->encode)
		encoded = malloc(size * IDLIST_ENCODE_MAX + out->count + 1);
	if (!out->id || (r->encode && !encoded)) {
		free(encoded);
		return -ENOMEM;
	}
	rc = fill(r, out, at, end, encoded ? encoded : text);
	if (encoded) {
		free(text);
		out->text = encoded;
	}
	return rc;
}

int idlist_parse(char *text, size_t size, enum idlist_separator separator, idlist_encoder encode,
		 struct idlist *out, char *why, size_t why_size)
{
	struct rules rules = {.separator = separator, .encode = encode, .why = why, .why_size = why_size};
	char *grown = realloc(text, size + 1); /* for the end of the last id */
	int rc;

	*out = (struct idlist){0};
	if (!grown)
		free(text);
	rc = grown ? parse(&rules, grown, size, out) : -ENOMEM;
	if (rc == -ENOMEM)
		snprintf(why, why_size, "%s", strerror(ENOMEM));
	if (rc)
		idlist_free(out);
	return rc;
}

void idlist_free(struct idlist *list)
{
	free(list->text);
	free(list->id);
	*list = (struct idlist){0};
}

/* ------------------------------------------------------------------ a list as it comes */

void idlist_scan_start(struct idlist_scan *scan, enum idlist_separator separator)
{
	*scan = (struct idlist_scan){.separator = separator};
}

static int scan_piece(struct idlist_scan *scan, const char *piece, size_t len, bool ended, char *why,
		      size_t why_size)
{
	struct rules rules = {.separator = scan->separator,
			      .crlf = scan->crlf,
			      .utf16 = scan->utf16,
			      .why = why,
			      .why_size = why_size};
	char id[IDLIST_PIECE_MAX];
	int rc;

	if (scan->count == 0 && scan->separator == IDLIST_LINES && has_bom(piece, len)) {
		piece += BOM_BYTES;
		len -= BOM_BYTES;
	}
	if (len > sizeof id)
		return refuse(&rules, scan->count, -EINVAL, "the id is longer than 255 bytes");
	rc = read_id(&rules, scan->count, piece, ended, id, &len);
	scan->crlf = rules.crlf;
	scan->utf16 = rules.utf16;
	scan->count += !rc;
	return rc;
}

int idlist_scan_add(struct idlist_scan *scan, const char *data, size_t size, char *why, size_t why_size)
{
	const char *end = data + size;
	int rc = 0;

	while (!rc && data < end) {
		const char *stop = memchr(data, separator_byte(scan->separator), (size_t)(end - data));
		size_t len = (size_t)((stop ? stop : end) - data), room = sizeof scan->part - scan->held;
		bool direct = stop && !scan->held;

		if (!direct) {
			memcpy(scan->part + scan->held, data, len < room ? len : room);
			scan->held += len < room ? len : room;
		}
		if (direct)
			rc = scan_piece(scan, data, len, true, why, why_size);
		else if (stop || scan->held == sizeof scan->part)
			rc = scan_piece(scan, scan->part, scan->held, true, why, why_size);
		if (stop)
			scan->held = 0;
		data += len + (stop ? 1 : 0);
	}
	return rc;
}

int idlist_scan_end(struct idlist_scan *scan, char *why, size_t why_size)
{
	bool is_mark = scan->count == 0 && scan->separator == IDLIST_LINES && scan->held == BOM_BYTES &&
		       has_bom(scan->part, scan->held);
	int rc = scan->held && !is_mark ? scan_piece(scan, scan->part, scan->held, false, why, why_size) : 0;

	scan->held = 0;
	return rc;
}

/* ------------------------------------------------------------------ twice */

/* A hash table, by open addressing, of the numbers of ids (plus one: zero is a free place). */
int idlist_check_unique(const struct idlist *list, enum idlist_separator separator, char *why,
			size_t why_size)
{
	uint64_t places = 16;
	uint32_t *table;
	int rc = 0;

	assert(list->count <= IDLIST_IDS_MAX);
	while (places < list->count * 2)
		places *= 2;
	table = calloc(places, sizeof *table);
	if (!table) {
		snprintf(why, why_size, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	for (uint64_t n = 0; n < list->count && !rc; n++) {
		const char *id = list->id[n];
		uint64_t place = XXH3_64bits(id, strlen(id)) & (places - 1);

		for (; !rc && table[place]; place = (place + 1) & (places - 1))
			if (!strcmp(list->id[table[place] - 1], id)) {
				snprintf(why, why_size, "%s %llu: the id is that of %s %u", noun(separator),
					 (unsigned long long)n + 1, noun(separator), table[place]);
				rc = -EINVAL;
			}
		table[place] = (uint32_t)n + 1;
	}
	free(table);
	return rc;
}
