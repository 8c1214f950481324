/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int read_text(const char *path, char *text, size_t text_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	size_t size = 0;
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	while (rc == 0 && n != 0 && size < text_size - 1) {
		n = read(fd, text + size, text_size - 1 - size);
		if (n < 0 && errno != EINTR)
			rc = -errno;
		size += n > 0 ? (size_t)n : 0;
	}
	text[size] = 0;
	close(fd);
	return rc;
}

void keyfile_parse(char *text, struct keyfile *out)
{
	char *line;

	out->count = 0;
	while ((line = strsep(&text, "\n")) && out->count < KEYFILE_LINES_MAX) {
		char *equals = strchr(line, '=');

		if (!equals)
			continue;
		*equals = 0;
		out->lines[out->count++] = (struct keyfile_line){line, equals + 1};
	}
}

int keyfile_load(const char *dir, const char *name, struct keyfile *out)
{
	char path[PATH_MAX];
	int rc;

	out->count = 0;
	if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
		return -ENAMETOOLONG;
	rc = read_text(path, out->text, sizeof out->text);
	if (rc == 0)
		keyfile_parse(out->text, out);
	return rc;
}

const char *keyfile_get(const struct keyfile *k, const char *key)
{
	for (size_t i = 0; i < k->count; i++)
		if (strcmp(k->lines[i].key, key) == 0)
			return k->lines[i].value;
	return NULL;
}
