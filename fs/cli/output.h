/* SPDX-License-Identifier: Apache-2.0 */
/*
 * output - a file that appears under its name only when it is complete and durable.
 *
 * Until then it has no name at all, where the file system can do that (O_TMPFILE): a process that dies leaves
 * nothing. Elsewhere it has a name that nobody can guess. Two processes that write the same file do not meet:
 * the last one to finish wins, with a whole file.
 *
 * An existing file is replaced by one of the same mode, owner and extended attributes (ACLs are some). What
 * is no regular file (standard output, a pipe, a device, /dev/fd/N) is written in place. A symbolic link is
 * followed.
 *
 * One thread at a time for one output.
 */
#ifndef VECFS_FS_CLI_OUTPUT_H
#define VECFS_FS_CLI_OUTPUT_H

#include <limits.h>
#include <stdbool.h>

struct output {
	int fd;
	bool in_place;
	bool replaces;            /* there was a file of that name when this one was begun */
	char path[PATH_MAX];      /* of the file, links resolved */
	char temporary[PATH_MAX]; /* its name until it is complete; empty while it has none */
};

/*
 * Starts writing what is to become path ("-": standard output), to out->fd. -EACCES, -EPERM: an existing file
 * that may not be written, or whose owner cannot be kept; -ELOOP: a symbolic link that leads nowhere. Else
 * -errno.
 */
int output_open(const char *path, struct output *out);
/* Makes it durable and gives it its name. On failure, as with output_drop(), nothing is left. */
int output_finish(struct output *out);
void output_drop(struct output *out);

#endif
