/* SPDX-License-Identifier: Apache-2.0 */
/* lines - a control file that is written as lines of text: each is judged by the write(2) that completes it,
 * a last one that is not ended at close(2). One thread at a time for one struct lines. */
#ifndef VECFS_FS_CONTROL_LINES_H
#define VECFS_FS_CONTROL_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define LINES_BYTES_MAX 4096 /* of one file */
#define LINE_BYTES_MAX 256

struct lines {
	off_t end; /* where the writes so far have ended: the next goes on there, or starts again at 0 */
	char line[LINE_BYTES_MAX + 1]; /* the start of one that is not complete */
	size_t size;
};

/* Takes a line, which is NUL-terminated and not empty, and may be changed. -EINVAL: why says what is wrong.
 */
typedef int (*lines_fn)(void *arg, char *line, char *why, size_t why_size);

/* Takes what is written at off, up to the first line that is wrong: -EINVAL and why. -EFBIG: too much. */
int lines_write(struct lines *l, const char *buf, size_t size, off_t off, lines_fn fn, void *arg, char *why,
		size_t why_size);
/* Takes a last line that was not ended. */
int lines_flush(struct lines *l, lines_fn fn, void *arg, char *why, size_t why_size);
/* The write at off is refused: the next one may be in its place. */
void lines_refuse(struct lines *l, off_t off);

#endif
