/* SPDX-License-Identifier: Apache-2.0 */
/*
 * output - a file that appears under its name only when it is complete and durable.
 *
 * One thread at a time for one output.
 */
#ifndef VECFS_FS_OUTPUT_H
#define VECFS_FS_OUTPUT_H

#include <limits.h>
#include <stdbool.h>

struct output {
	int fd;
	bool in_place; /* standard output, a pipe, a device: not to be replaced by a file */
	char path[PATH_MAX], temporary[PATH_MAX];
};

/* Starts writing what is to become path ("-": standard output), to out->fd. -errno. */
int output_open(const char *path, struct output *out);
/* Makes it durable and gives it its name. On failure, as with output_drop(), nothing is left. */
int output_finish(struct output *out);
void output_drop(struct output *out);

#endif
