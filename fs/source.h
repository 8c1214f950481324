/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source - a file of many vectors that is read from front to back: its header checked against its size, its
 * rows handed out packed, without what the format puts between them.
 *
 * One thread at a time for one source. The file is untrusted, also while it is read.
 */
#ifndef VECFS_FS_SOURCE_H
#define VECFS_FS_SOURCE_H

#include <stddef.h>
#include <sys/types.h>

#include "fs/array.h"

struct source;

/*
 * Opens the file at path ("-": standard input, for formats that tell the number of rows). dim is that of a
 * raw file, and of no other; 0: not known. dtype is that of a raw file. *out is closed with source_close().
 * -EINVAL: why says what was expected and found.
 */
int source_open(const char *path, enum array_format format, enum vs_dtype dtype, uint32_t dim,
                struct source **out, char *why, size_t why_size);
/* What it holds; rows are known, and dim is not 0. */
const struct array_shape *source_shape(const struct source *s);
/*
 * The next bytes of rows laid end to end, as many as capacity has room for; 0 after the last. In formats with
 * a prefix before each row capacity must have room for a row with it, and whole rows are handed out. -EINVAL,
 * -EIO: why says what is wrong; -EINTR: a signal arrived.
 */
ssize_t source_read(struct source *s, void *buf, size_t capacity, char *why, size_t why_size);
/* Of the file, for fstat(2); the source's own. */
int source_fd(const struct source *s);
void source_close(struct source *s);

#endif
