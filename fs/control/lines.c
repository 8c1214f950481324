/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/lines.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The line that has come together, complete or at the end of all; an empty one says nothing. */
static int take(struct lines *l, lines_fn fn, void *arg, char *why, size_t why_size)
{
	size_t len = l->size;

	l->size = 0;
	if (len && l->line[len - 1] == '\r') /* as DOS ends lines */
		len--;
	l->line[len] = '\0';
	if (strlen(l->line) < len) {
		snprintf(why, why_size, "got a NUL character, want lines of text");
		return -EINVAL;
	}
	return len ? fn(arg, l->line, why, why_size) : 0;
}

int lines_write(struct lines *l, const char *buf, size_t size, off_t off, lines_fn fn, void *arg, char *why,
		size_t why_size)
{
	int rc = 0;

	if (off > LINES_BYTES_MAX || size > LINES_BYTES_MAX)
		return -EFBIG;
	if (off != l->end) /* another text: from its start, or behind what was there (>>) */
		l->size = 0;
	for (size_t i = 0; i < size && !rc; i++) {
		bool is_ended = buf[i] == '\n';

		if (!is_ended)
			l->line[l->size++] = buf[i];
		if (is_ended || l->size == LINE_BYTES_MAX) /* too long: refused for what it starts with */
			rc = take(l, fn, arg, why, why_size);
	}
	l->end = off + (off_t)size;
	return rc;
}

int lines_flush(struct lines *l, lines_fn fn, void *arg, char *why, size_t why_size)
{
	return l->size ? take(l, fn, arg, why, why_size) : 0;
}

void lines_refuse(struct lines *l, off_t off)
{
	l->size = 0;
	l->end = off;
}
