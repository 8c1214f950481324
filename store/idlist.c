/* SPDX-License-Identifier: Apache-2.0 */
#include "store/idlist.h"

#include <assert.h>
#include <errno.h>
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

/* ------------------------------------------------------------------ parsing */

struct parser {
	const char *at, *end;
	enum idlist_separator separator;
	bool crlf;
	idlist_encoder encode;
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

/* Takes the next piece of the list, without what ends it; false at the end. */
static bool take(struct parser *p, const char **piece, size_t *len)
{
	const char *stop;

	if (p->at == p->end)
		return false;
	stop = memchr(p->at, separator_byte(p->separator), (size_t)(p->end - p->at));
	*piece = p->at;
	*len = (size_t)((stop ? stop : p->end) - p->at);
	p->at = stop ? stop + 1 : p->end;
	return true;
}

/* Counts the pieces and finds out how lines end: as the first does. */
static int survey(struct parser *p, uint64_t *count)
{
	const char *start = p->at, *piece;
	size_t len;

	for (*count = 0; take(p, &piece, &len); ++*count) {
		bool crlf = len && piece[len - 1] == '\r', ended = piece + len < p->at;

		if (p->separator == IDLIST_NULS || (*count && (crlf == p->crlf || (!crlf && !ended))))
			continue;
		if (*count) {
			snprintf(p->why, p->why_size, "line %llu: it ends in %s, the lines before it in %s",
			         (unsigned long long)*count + 1, crlf ? "CR LF" : "LF alone", crlf ? "LF alone" : "CR LF");
			return -EINVAL;
		}
		p->crlf = crlf;
	}
	p->at = start;
	if (*count <= IDLIST_IDS_MAX)
		return 0;
	snprintf(p->why, p->why_size, "more than 4,294,967,294 ids");
	return -EINVAL;
}

static int check_id(const struct parser *p, uint64_t n, const char *id, size_t len, bool utf16)
{
	int bad = vs_name_check(id, len), rc = bad == -ENAMETOOLONG || !len ? -EINVAL : -EILSEQ;
	const char *what = "is \".\" or \"..\"";

	if (!bad)
		return 0;
	if (!len)
		what = "is empty";
	else if (bad == -ENAMETOOLONG)
		what = "is longer than 255 bytes";
	else if (bad == -EPERM)
		what = ".vecfs is reserved";
	else if (memchr(id, 0, len))
		what = utf16 ? "is UTF-16, want UTF-8" : "has a NUL byte in it";
	else if (memchr(id, '/', len))
		what = "has a '/' in it";
	snprintf(p->why, p->why_size, "%s %llu: the id %s", noun(p->separator), (unsigned long long)n + 1, what);
	return rc;
}

/* Writes each id to `to`, which is the text itself unless there is an encoder. */
static int fill(struct parser *p, struct idlist *list, char *to, bool utf16)
{
	char *start = to;
	const char *piece;
	size_t len;
	int rc = 0;

	for (uint64_t n = 0; !rc && take(p, &piece, &len); n++) {
		if (p->crlf && len && piece[len - 1] == '\r') /* the last line may be without */
			len--;
		list->id[n] = to;
		if (p->encode)
			len = p->encode(piece, len, to);
		else if (p->separator == IDLIST_LINES)
			len = decode(piece, len, to);
		else
			memmove(to, piece, len);
		rc = check_id(p, n, to, len, utf16);
		to += len;
		*to++ = '\0';
	}
	list->size_bytes = (size_t)(to - start);
	return rc;
}

/* text has room for one byte more than it had. */
static int parse(struct parser *p, char *text, struct idlist *out)
{
	bool utf16 = p->end - p->at >= 2 && (!memcmp(p->at, "\xff\xfe", 2) || !memcmp(p->at, "\xfe\xff", 2));
	size_t size = (size_t)(p->end - p->at);
	uint64_t count;
	int rc = survey(p, &count);

	out->text = text;
	if (rc)
		return rc;
	out->count = count;
	out->id = malloc((count + 1) * sizeof *out->id);
	if (!out->id)
		return -ENOMEM;
	if (p->encode) {
		char *encoded = malloc(size * IDLIST_ENCODE_MAX + count + 1);

		if (!encoded)
			return -ENOMEM;
		out->text = encoded;
		rc = fill(p, out, encoded, utf16);
		free(text);
		return rc;
	}
	return fill(p, out, text, utf16);
}

int idlist_parse(char *text, size_t size, enum idlist_separator separator, idlist_encoder encode, struct idlist *out,
                 char *why, size_t why_size)
{
	struct parser p = {.separator = separator, .encode = encode, .why = why, .why_size = why_size};
	char *grown = realloc(text, size + 1); /* for the end of the last id */
	int rc;

	*out = (struct idlist){0};
	if (!grown) {
		free(text);
		snprintf(why, why_size, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	p.at = grown;
	p.end = grown + size;
	if (separator == IDLIST_LINES && has_bom(grown, size))
		p.at += BOM_BYTES;
	rc = parse(&p, grown, out);
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

/* ------------------------------------------------------------------ twice */

/* A hash table, by open addressing, of the numbers of ids (plus one: zero is a free place). */
int idlist_check_unique(const struct idlist *list, enum idlist_separator separator, char *why, size_t why_size)
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
