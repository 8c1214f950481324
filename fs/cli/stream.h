/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream - the bytes of a file from front to back: of a plain one, of standard input, of one that zstd(1)
 * compressed, or of a member of an .npz archive, inflated if it is deflated.
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

/*
 * The name without its suffix .zst, which says that zstd(1) compressed the file; false: it has none, and
 * plain is the name. As much of its end as there is room for: suffixes are at the end.
 */
bool stream_plain_name(const char *name, char *plain, size_t plain_size);
/* Opens the file at path ("-": standard input), of which the plain bytes are wanted if it is compressed.
 * -errno. */
int stream_open(const char *path, bool is_compressed, struct stream **out);
/*
 * Opens a member of the archive at path (zip.h; NULL: its only array). Only a whole archive tells its
 * members: a compressed one is first unpacked into a file without a name, in $TMPDIR or /tmp. -EINVAL: why
 * says what is wrong; -errno.
 */
int stream_open_member(const char *path, bool is_compressed, const char *member, struct stream **out,
		       char *why, size_t why_size);
void stream_close(struct stream *s);

/* How many bytes there are in all, where that is known before they are read: an archive may lie. */
bool stream_size(const struct stream *s, uint64_t *size);
/*
 * Makes the size of a regular file known, for which a compressed one is read once. Before anything else is
 * read. -ESPIPE: it is none; -EINVAL: why says how it is damaged.
 */
int stream_measure(struct stream *s, char *why, size_t why_size);
/* Counts the lines of a regular file, the last one also if it is not ended, and starts again. -ESPIPE: it is
 * none; -EINVAL: why says how it is damaged. */
int stream_count_lines(struct stream *s, uint64_t *lines, char *why, size_t why_size);
/*
 * Reads size bytes, fewer only at the end. -EINVAL: why says how the file is damaged; -EINTR: a signal came;
 * -errno.
 */
ssize_t stream_read(struct stream *s, void *buf, size_t size, char *why, size_t why_size);
/* The same, but of a pipe only what is in it; 0 only at the end. */
ssize_t stream_read_some(struct stream *s, void *buf, size_t size, char *why, size_t why_size);
/* Of the file or archive, for fstat(2); the stream's own. */
int stream_fd(const struct stream *s);

#endif
