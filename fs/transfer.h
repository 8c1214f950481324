/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer - writes the rows of a source to a file descriptor in another format or dtype, in memory that does
 * not depend on their number.
 */
#ifndef VECFS_FS_TRANSFER_H
#define VECFS_FS_TRANSFER_H

#include <stddef.h>

#include "fs/array.h"
#include "fs/progress.h"
#include "fs/source.h"

/*
 * Writes a file of this format and shape to fd: the header, then all rows of source, converted if their dtype
 * is another one (recode.h; bit takes the bytes as they are). The numbers of rows must agree. -EINTR: a
 * signal came (interrupt.h). -errno: *why is empty if writing failed, else it says what is wrong with the
 * source.
 */
int transfer_run(struct source *source, int fd, enum array_format format, const struct array_shape *shape,
                 struct progress *progress, char *why, size_t why_size);
/* Writes all of data. -errno. */
int transfer_write(int fd, const void *data, size_t size);

#endif
