/* SPDX-License-Identifier: Apache-2.0 */
/*
 * row_source - the rows of a collection or snapshot as they are at one moment: in a mount through its array
 * files ids0, rows and vectors.*; of a store that is not mounted through the engine.
 *
 * Any threads may read at once.
 */
#ifndef VECFS_FS_CLI_ROW_SOURCE_H
#define VECFS_FS_CLI_ROW_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "store/store.h"

struct row_source;

struct row_source_info {
	char snapshot[VS_NAME_MAX + 1]; /* its name; empty: it is a collection */
	struct vs_schema schema;        /* dim 0: not fixed, there are no rows */
	size_t row_bytes;
	uint64_t rows;
	uint64_t ids_bytes;       /* of all ids, each ended by a NUL */
	struct vs_file_attr attr; /* of the collection, or of what it was */
	struct timespec ctime;
	/* Of the array ids0 in a mount: tells the version of the collection. 0: not mounted. */
	uint64_t ino;
};

/*
 * Opens the directory of a collection or snapshot in a mount, or STORE/NAME of a store that is not mounted (a
 * snapshot is STORE/NAME/.vecfs/snap/S). has_vectors: whether they will be read. -EINVAL, -EIO, -ENOENT, …:
 * why says what is wrong with it.
 */
int row_source_open(const char *path, bool has_vectors, struct row_source **out, char *why, size_t why_size);
void row_source_close(struct row_source *s);
const struct row_source_info *row_source_info(const struct row_source *s);

/* Its views (of a snapshot those of its collection that fit it), a line each: the name, then their parameters
 * as key=value, with spaces between. -ENAMETOOLONG: too many. -errno. */
int row_source_views(const struct row_source *s, char *out, size_t size);

/* Reads [off, off + size) of the ids, or of the vectors laid end to end, all of which must be there. -errno.
 */
int row_source_ids(const struct row_source *s, void *buf, size_t size, uint64_t off);
int row_source_vectors(const struct row_source *s, void *buf, size_t size, uint64_t off);
/* Rows [first, first + count). -errno. */
int row_source_meta(const struct row_source *s, uint64_t first, uint64_t count, struct vs_row_meta *out);

/* The file with the vectors of a segment (place of struct vs_row_meta). */
struct row_file {
	bool is_shared; /* by other snapshots: so it never changes. Else it is not known. */
	uint64_t device, inode;
};
/* Opens it; the caller closes it. Where the store's files cannot be seen: -errno. */
int row_source_open_segment(const struct row_source *s, uint32_t n);
/* Writes a line to a control file of it. Where it is not mounted: -ENOTSUP. */
int row_source_write(const struct row_source *s, const char *file, const char *line, size_t size);
/* Tells it of segment n: not shared, too, where the store's files cannot be seen. */
void row_source_file(const struct row_source *s, uint32_t n, struct row_file *out);

/* ---- from front to back */

#define ROW_CURSOR_ROWS 8192u

/* Where somebody is who goes through ids, and metadata unless ids alone are wanted. */
struct row_cursor {
	const struct row_source *source;
	bool has_meta;
	uint64_t row;
	uint64_t ids_at; /* bytes that have been read */
	char *ids;
	size_t ids_held, ids_used;
	struct vs_row_meta *meta;
};
int row_cursor_start(struct row_cursor *c, const struct row_source *source, bool has_meta);
/* The next row: 1; 0 at the end. *meta (may be NULL) and *id until the next call. -errno. */
int row_cursor_next(struct row_cursor *c, const char **id, size_t *len, const struct vs_row_meta **meta);
void row_cursor_end(struct row_cursor *c);

#endif
