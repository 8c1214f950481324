/* SPDX-License-Identifier: Apache-2.0 */
/* keyfile - a small control file of key=value lines, such as schema and stats. */
#ifndef VECFS_FS_CLI_KEYFILE_H
#define VECFS_FS_CLI_KEYFILE_H

#include <stddef.h>

#define KEYFILE_LINES_MAX 64

struct keyfile {
	char text[8192];
	struct keyfile_line {
		const char *key, *value;
	} lines[KEYFILE_LINES_MAX];
	size_t count;
};

/* Reads dir/name. What is no key=value line is left out, and what does not fit. -errno. */
int keyfile_load(const char *dir, const char *name, struct keyfile *out);
/* The same of a text, which it cuts into pieces, and which must live as long. */
void keyfile_parse(char *text, struct keyfile *out);
/* The value of a key, or NULL. It lives as long as k, which must not be copied. */
const char *keyfile_get(const struct keyfile *k, const char *key);

#endif
