/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer - writes the rows of an array reader to a file descriptor in another format or dtype, in memory
 * that does not depend on their number.
 */
#ifndef VECFS_FS_CLI_TRANSFER_H
#define VECFS_FS_CLI_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>

#include "store/array/array_format.h"
#include "fs/cli/progress.h"
#include "fs/cli/array_reader.h"

/* What is written, and where to. */
struct transfer_target {
	int fd;
	enum array_format format; /* where the rows of source are untold: one without a header */
	struct array_shape shape; /* as many rows as source has */
	int ids_fd; /* gets a line for each row: the id that source brings, else a number; -1: nothing wants
		       them */
	uint64_t first_number;
	bool compressed; /* as zstd(1) does; only where the rows are told */
};

/*
 * Writes the target's file: the header, then all rows of source, converted if their dtype is another one
 * (recode.h; bit takes the bytes as they are). -EINTR: a signal came (interrupt.h). -errno: *why is empty if
 * writing failed, else it says what is wrong with the source.
 */
int transfer_run(struct array_reader *source, const struct transfer_target *target, struct progress *progress,
		 char *why, size_t why_size);
/* Writes all of data. -errno. */
int transfer_write(int fd, const void *data, size_t size);
/* Writes all of data to the file at path, which is made or emptied first, such as a control file. -errno. */
int transfer_write_path(const char *path, const void *data, size_t size);

#endif
