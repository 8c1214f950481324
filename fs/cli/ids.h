/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ids - lists of ids as files, for import and export (store/base/idlist.h says what such lists look like),
 * and the percent-encoding that makes a legal file name of any id, there and back.
 *
 * Of an imported list the whole text is kept in memory, with 8 bytes for each id, and 8 to 16 more while
 * duplicates are looked for.
 */
#ifndef VECFS_FS_CLI_IDS_H
#define VECFS_FS_CLI_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/base/idlist.h"
#include "store/store.h"

#define IDS_ESCAPE_FACTOR 3 /* "%2F" */

/*
 * Reads the list at path ("-": standard input). With escape, what cannot be part of a file name is
 * percent-encoded (ids_escape). -EINVAL, -EILSEQ: why says which line is not legal or the same as an earlier
 * one; -errno: why says what cannot be read. idlist_free() what was loaded.
 */
int ids_load(const char *path, enum idlist_separator separator, bool escape, struct idlist *out, char *why,
	     size_t why_size);

/*
 * Percent-encodes '/', NUL, control characters, '%' itself, and the dots of ".", ".." and ".vecfs"; out has
 * room for IDS_ESCAPE_FACTOR * len bytes. Returns how many it wrote.
 */
size_t ids_escape(const char *id, size_t len, char *out);
/*
 * The way back: out has room for len bytes. Returns how many it wrote, or 0 if ids_escape never made this id,
 * so that whatever comes back is encoded as it was.
 */
size_t ids_unescape(const char *id, size_t len, char *out);

#endif
