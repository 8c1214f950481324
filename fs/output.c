/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/output.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_in_place(const char *path)
{
	return strcmp(path, "-") == 0 ? dup(STDOUT_FILENO) : open(path, O_WRONLY | O_CLOEXEC);
}

int output_open(const char *path, struct output *out)
{
	struct stat st;

	out->in_place = strcmp(path, "-") == 0 || (stat(path, &st) == 0 && !S_ISREG(st.st_mode));
	if (out->in_place) {
		out->fd = open_in_place(path);
		return out->fd < 0 ? -errno : 0;
	}
	if (snprintf(out->path, sizeof out->path, "%s", path) >= (int)sizeof out->path ||
	    snprintf(out->temporary, sizeof out->temporary, "%s.tmp", path) >= (int)sizeof out->temporary)
		return -ENAMETOOLONG;
	out->fd = open(out->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	return out->fd < 0 ? -errno : 0;
}

static int sync_folder(const char *path)
{
	char copy[PATH_MAX];
	int fd, rc;

	strcpy(copy, path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = fsync(fd) != 0 ? -errno : 0;
	close(fd);
	return rc;
}

int output_finish(struct output *out)
{
	int rc = 0;

	if (!out->in_place && fsync(out->fd) != 0)
		rc = -errno;
	if (close(out->fd) != 0 && rc == 0)
		rc = -errno;
	out->fd = -1;
	if (out->in_place)
		return rc;
	if (rc == 0 && rename(out->temporary, out->path) != 0)
		rc = -errno;
	if (rc != 0)
		unlink(out->temporary);
	return rc != 0 ? rc : sync_folder(out->path);
}

void output_drop(struct output *out)
{
	if (out->fd >= 0)
		close(out->fd);
	out->fd = -1;
	if (!out->in_place)
		unlink(out->temporary);
}
