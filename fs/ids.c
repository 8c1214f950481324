/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ids.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "store/store.h"

#define READ_BYTES ((size_t)1 << 20)
#define ESCAPE_FACTOR 3 /* "%2F" */

/* The whole file, of a size that nobody promises, ended by a newline. */
static int read_all(const char *path, char **text, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	size_t capacity = 0;
	ssize_t n = 1;

	*text = NULL;
	*size = 0;
	if (fd < 0)
		return -errno;
	while (rc == 0 && n != 0) {
		if (capacity - *size < READ_BYTES + 1) {
			char *grown = realloc(*text, capacity = 2 * capacity + READ_BYTES + 1);

			if (!grown) {
				rc = -ENOMEM;
				break;
			}
			*text = grown;
		}
		n = read(fd, *text + *size, READ_BYTES);
		if (n < 0 && errno != EINTR)
			rc = -errno;
		*size += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	if (rc == 0 && *size > 0 && (*text)[*size - 1] != '\n')
		(*text)[(*size)++] = '\n';
	return rc;
}

static size_t line_len(const char *line, const char *end)
{
	const char *newline = memchr(line, '\n', (size_t)(end - line));

	return (size_t)(newline - line); /* the text ends in one */
}

/* Encodes one id; returns the length of the result. */
static size_t encode(const char *id, size_t len, char *out)
{
	static const char digits[] = "0123456789ABCDEF";
	bool reserved = (len == 1 && id[0] == '.') || (len == 2 && memcmp(id, "..", 2) == 0) ||
	                (len == 6 && memcmp(id, ".vecfs", 6) == 0);
	char *to = out;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)id[i];

		if (c == '/' || c == '%' || c < ' ' || c == 0x7f || (reserved && c == '.')) {
			*to++ = '%';
			*to++ = digits[c >> 4];
			*to++ = digits[c & 15];
		} else {
			*to++ = (char)c;
		}
	}
	return (size_t)(to - out);
}

static int encode_all(struct ids *ids)
{
	const char *end = ids->text + ids->size_bytes;
	char *encoded = malloc(ids->size_bytes * ESCAPE_FACTOR + 1), *to = encoded;

	if (!encoded)
		return -ENOMEM;
	for (const char *line = ids->text; line < end;) {
		size_t len = line_len(line, end);

		to += encode(line, len, to);
		*to++ = '\n';
		line += len + 1;
	}
	free(ids->text);
	ids->text = encoded;
	ids->size_bytes = (size_t)(to - encoded);
	return 0;
}

static const char *what_is_wrong(const char *id, size_t len)
{
	switch (vs_name_check(id, len)) {
	case 0:
		return NULL;
	case -ENAMETOOLONG:
		return "the id is longer than 255 bytes";
	case -EPERM:
		return "the id .vecfs is reserved (--escape would encode it)";
	}
	if (len == 0)
		return "the id is empty";
	if (memchr(id, '/', len))
		return "the id has a '/' in it (--escape would encode it)";
	if (memchr(id, 0, len))
		return "the id has a NUL byte in it (--escape would encode it)";
	return "the id is \".\" or \"..\" (--escape would encode it)";
}

static int check_names(struct ids *ids, char *why, size_t why_size)
{
	const char *end = ids->text + ids->size_bytes;

	for (const char *line = ids->text; line < end; ids->count++) {
		size_t len = line_len(line, end);
		const char *wrong = what_is_wrong(line, len);

		if (wrong) {
			snprintf(why, why_size, "line %llu: %s", (unsigned long long)ids->count + 1, wrong);
			return -EINVAL;
		}
		line += len + 1;
	}
	return 0;
}

static uint64_t line_number(const struct ids *ids, size_t off)
{
	uint64_t n = 1;

	for (size_t i = 0; i < off; i++)
		n += ids->text[i] == '\n';
	return n;
}

static int refuse_duplicate(const struct ids *ids, size_t off, size_t other, char *why, size_t why_size)
{
	snprintf(why, why_size, "line %llu: the id is that of line %llu",
	         (unsigned long long)line_number(ids, off), (unsigned long long)line_number(ids, other));
	return -EINVAL;
}

/* A hash table, by open addressing, of the offsets of lines (plus one: zero is a free place). */
static int check_duplicates(const struct ids *ids, char *why, size_t why_size)
{
	const char *end = ids->text + ids->size_bytes;
	uint64_t places = 16, *table;
	int rc = 0;

	while (places < ids->count * 3 / 2)
		places *= 2;
	table = calloc(places, sizeof *table);
	if (!table)
		return -ENOMEM;
	for (const char *line = ids->text; rc == 0 && line < end;) {
		size_t len = line_len(line, end), off = (size_t)(line - ids->text);
		uint64_t place = XXH3_64bits(line, len) & (places - 1);

		for (; rc == 0 && table[place] != 0; place = (place + 1) & (places - 1)) {
			size_t other = table[place] - 1;

			/* With its newline: a longer id that starts alike is another one. */
			if (memcmp(ids->text + other, line, len + 1) == 0)
				rc = refuse_duplicate(ids, off, other, why, why_size);
		}
		table[place] = off + 1;
		line += len + 1;
	}
	free(table);
	return rc;
}

int ids_load(const char *path, bool escape, struct ids *out, char *why, size_t why_size)
{
	int rc;

	*out = (struct ids){0};
	*why = 0;
	rc = read_all(path, &out->text, &out->size_bytes);
	if (rc == 0 && escape)
		rc = encode_all(out);
	if (rc == 0)
		rc = check_names(out, why, why_size);
	if (rc == 0)
		rc = check_duplicates(out, why, why_size);
	if (rc != 0 && !*why)
		snprintf(why, why_size, "%s", strerror(-rc));
	if (rc != 0)
		ids_free(out);
	return rc;
}

void ids_free(struct ids *ids)
{
	free(ids->text);
	*ids = (struct ids){0};
}
