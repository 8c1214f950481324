/* SPDX-License-Identifier: Apache-2.0 */
/*
 * row_reader - vectors of some rows of a source, each verified by its checksum: of a snapshot in a mount
 * straight from the segments' files, which never change, where the store can be seen; else as the source has
 * them.
 *
 * One thread at a time for one reader.
 */
#ifndef VECFS_FS_CLI_ROW_READER_H
#define VECFS_FS_CLI_ROW_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/cli/row_source.h"
#include "store/snapshot/borrowed.h"

struct row_reader {
	const struct row_source *source;
	uint32_t segment_rows;
	bool is_direct; /* files are still worth trying */
	int fd;         /* of a segment's file, or -1 */
	uint32_t segment;
};

void row_reader_start(struct row_reader *r, const struct row_source *source);
/* Reads them to buf, one after the other: neighbours at once. -errno. */
int row_reader_read(struct row_reader *r, const struct vs_row_want *wants, uint32_t count, void *buf);
void row_reader_end(struct row_reader *r);

#endif
