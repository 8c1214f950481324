/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream - the bytes of a file from front to back: of a plain one, of standard input, or of a member of an
 * .npz archive, inflated if it is deflated.
 *
 * One thread at a time for one stream. The file is untrusted, also while it is read.
 */
#ifndef VECFS_FS_CLI_STREAM_H
#define VECFS_FS_CLI_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct stream;

/* Opens the file at path ("-": standard input). -errno. */
int stream_open(const char *path, struct stream **out);
/* Opens a member of the archive at path (zip.h; NULL: its only array). -EINVAL: why says what is wrong;
 * -errno. */
int stream_open_member(const char *path, const char *member, struct stream **out, char *why, size_t why_size);
void stream_close(struct stream *s);

/* How many bytes there are in all, where that is known before they are read: an archive may lie. */
bool stream_size(const struct stream *s, uint64_t *size);
/* Counts the lines of a regular file, the last one also if it is not ended, and starts again. -ESPIPE: it is
 * none. */
int stream_count_lines(struct stream *s, uint64_t *lines);
/*
 * Reads size bytes, fewer only at the end. -EINVAL: why says how the archive is damaged; -EINTR: a signal
 * came; -errno.
 */
ssize_t stream_read(struct stream *s, void *buf, size_t size, char *why, size_t why_size);
/* The same, but of a pipe only what is in it; 0 only at the end. */
ssize_t stream_read_some(struct stream *s, void *buf, size_t size, char *why, size_t why_size);
/* Of the file or archive, for fstat(2); the stream's own. */
int stream_fd(const struct stream *s);

#endif
