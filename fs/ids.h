/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ids - a list of ids as text, one a line: line n names row n.
 *
 * The whole text is kept in memory, with 8 to 16 bytes more for each id while duplicates are looked for.
 */
#ifndef VECFS_FS_IDS_H
#define VECFS_FS_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ids {
	char *text; /* each id is a legal file name and ends in a newline */
	size_t size_bytes;
	uint64_t count;
};

/*
 * Reads the file at path. With escape, what cannot be part of a file name is percent-encoded: '/', NUL,
 * control characters, '%' itself, and the dots of ".", ".." and ".vecfs". -EINVAL: why says which line is not
 * legal or the same as an earlier one; -errno: why says what cannot be read. ids_free() what was loaded.
 */
int ids_load(const char *path, bool escape, struct ids *out, char *why, size_t why_size);
void ids_free(struct ids *ids);

#endif
