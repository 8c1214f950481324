/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/ids.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES ((size_t)1 << 20)

/* The whole file, of a size that nobody promises. */
static int read_all(int fd, char **text, size_t *size)
{
	size_t capacity = 0;
	ssize_t n = 1;

	while (n != 0) {
		if (capacity - *size < READ_BYTES) {
			char *grown = realloc(*text, capacity = 2 * capacity + READ_BYTES);

			if (!grown)
				return -ENOMEM;
			*text = grown;
		}
		n = read(fd, *text + *size, READ_BYTES);
		if (n < 0 && errno != EINTR)
			return -errno;
		*size += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int read_file(const char *path, char **text, size_t *size)
{
	int fd = strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
					: open(path, O_RDONLY | O_CLOEXEC);
	int rc;

	*text = NULL;
	*size = 0;
	if (fd < 0)
		return -errno;
	rc = read_all(fd, text, size);
	close(fd);
	if (rc == 0)
		return 0;
	free(*text);
	return rc;
}

/* ------------------------------------------------------------------ percent-encoding */

size_t ids_escape(const char *id, size_t len, char *out)
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

/* The value of a digit as ids_escape writes it, or -1. */
static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

size_t ids_unescape(const char *id, size_t len, char *out)
{
	char again[IDS_ESCAPE_FACTOR * VS_NAME_MAX];
	size_t n = 0;

	assert(len <= VS_NAME_MAX);
	for (size_t i = 0; i < len; i++) {
		int high, low;

		if (id[i] != '%') {
			out[n++] = id[i];
			continue;
		}
		high = i + 2 < len ? digit(id[i + 1]) : -1;
		low = high >= 0 ? digit(id[i + 2]) : -1;
		if (low < 0)
			return 0;
		out[n++] = (char)(high << 4 | low);
		i += 2;
	}
	return ids_escape(out, n, again) == len && memcmp(again, id, len) == 0 ? n : 0;
}

/* ------------------------------------------------------------------ lists */

int ids_load(const char *path, enum idlist_separator separator, bool escape, struct idlist *out, char *why,
	     size_t why_size)
{
	size_t size;
	char *text;
	int rc = read_file(path, &text, &size);

	*out = (struct idlist){0};
	if (rc != 0) {
		snprintf(why, why_size, "%s", strerror(-rc));
		return rc;
	}
	rc = idlist_parse(text, size, separator, escape ? ids_escape : NULL, out, why, why_size);
	if (rc == -EILSEQ) {
		size_t len = strlen(why);

		snprintf(why + len, why_size - len, " (--escape would encode it)");
	}
	if (rc == 0)
		rc = idlist_check_unique(out, separator, why, why_size);
	if (rc != 0)
		idlist_free(out);
	return rc;
}
