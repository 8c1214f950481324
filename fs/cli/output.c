/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LINKS_MAX 40 /* as many symbolic links as the kernel follows */
#define NAME_TRIES 100
#define XATTR_LIST_BYTES 65536
#define XATTR_VALUE_BYTES 65536

/* ------------------------------------------------------------------ what a path means */

/* The number of one of our own descriptors if that is what the path names (/dev/stdout leads to one), else
 * -1. */
static int own_descriptor(const char *path)
{
	char copy[PATH_MAX], folder[PATH_MAX], own[PATH_MAX], *end;
	const char *name;
	long n;

	snprintf(copy, sizeof copy, "%s", path);
	if (!realpath(dirname(copy), folder) || !realpath("/proc/self/fd", own) || strcmp(folder, own) != 0)
		return -1;
	name = strrchr(path, '/') + 1; /* dirname found a folder that is not the current one */
	n = strtol(name, &end, 10);
	return end > name && *end == 0 && n >= 0 && n <= INT_MAX ? (int)n : -1;
}

/* Replaces a path that is a symbolic link by where it leads, one step. -EINVAL: it is none. */
static int follow(char path[PATH_MAX])
{
	char target[PATH_MAX], folder[PATH_MAX], joined[2 * PATH_MAX];
	ssize_t n = readlink(path, target, sizeof target - 1);

	if (n < 0)
		return -errno;
	target[n] = 0;
	snprintf(folder, sizeof folder, "%s", path);
	if (target[0] == '/')
		snprintf(joined, sizeof joined, "%s", target);
	else
		snprintf(joined, sizeof joined, "%s/%s", dirname(folder), target);
	return snprintf(path, PATH_MAX, "%s", joined) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Follows links to the file itself, or to one of our descriptors (*descriptor, else -1). */
static int resolve(char path[PATH_MAX], int *descriptor)
{
	int rc = 0;

	for (int links = 0; rc == 0 && links < LINKS_MAX; links++) {
		*descriptor = own_descriptor(path);
		if (*descriptor >= 0)
			return 0;
		rc = follow(path);
		if (rc == -EINVAL)
			return 0;
		if (rc == -ENOENT) /* a new file; but like cp(1) none behind a link that leads nowhere */
			return links == 0 ? 0 : -ENOENT;
	}
	return rc != 0 ? rc : -ELOOP;
}

/* ------------------------------------------------------------------ until it is complete */

/* "FOLDER/.NAME.RANDOM", with as much of the name as there is room for. */
static int make_name(const char *path, char out[PATH_MAX])
{
	char copy[PATH_MAX];
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	uint64_t random;

	if (getrandom(&random, sizeof random, 0) != sizeof random)
		return -EIO;
	strcpy(copy, path);
	return snprintf(out, PATH_MAX, "%s/.%.200s.%016llx", dirname(copy), name,
			(unsigned long long)random) < PATH_MAX
		       ? 0
		       : -ENAMETOOLONG;
}

static int open_named(struct output *out)
{
	int rc = -EEXIST;

	out->fd = -1;
	for (int i = 0; i < NAME_TRIES && rc == -EEXIST; i++) {
		rc = make_name(out->path, out->temporary);
		if (rc != 0)
			break;
		out->fd = open(out->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		rc = out->fd < 0 ? -errno : 0;
	}
	if (rc != 0)
		out->temporary[0] = 0;
	return rc;
}

static int open_temporary(struct output *out)
{
	char copy[PATH_MAX];

	out->temporary[0] = 0;
	strcpy(copy, out->path);
	/* What has no name is given one through /proc. */
	if (access("/proc/self/fd", X_OK) == 0) {
		out->fd = open(dirname(copy), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
		if (out->fd >= 0)
			return 0;
		/* EISDIR is what kernels and file systems say that do not know O_TMPFILE; others say what
		 * they like. */
		if (errno == ENOENT || errno == EACCES || errno == EROFS || errno == ENOSPC ||
		    errno == EDQUOT)
			return -errno;
	}
	return open_named(out);
}

/* Extended attributes that cannot be kept are lost: a file system's own, a label that only root may set. */
static void keep_xattrs(int fd, const char *path)
{
	char *names = malloc(XATTR_LIST_BYTES), *value = malloc(XATTR_VALUE_BYTES);
	ssize_t size = names && value ? listxattr(path, names, XATTR_LIST_BYTES) : 0;

	for (ssize_t at = 0; at < size; at += (ssize_t)strlen(names + at) + 1) {
		ssize_t n = getxattr(path, names + at, value, XATTR_VALUE_BYTES);

		if (n >= 0)
			(void)!fsetxattr(fd, names + at, value, (size_t)n, 0);
	}
	free(names);
	free(value);
}

/* The new file is like the one it will replace; who may not write that one may not replace it. */
static int keep_attributes(const struct output *out, const struct stat *st)
{
	if (faccessat(AT_FDCWD, out->path, W_OK, AT_EACCESS) != 0)
		return -errno;
	if (fchown(out->fd, st->st_uid, st->st_gid) != 0) {
		struct stat own;

		if (fstat(out->fd, &own) != 0 || own.st_uid != st->st_uid || own.st_gid != st->st_gid)
			return -EPERM;
	}
	/* The mode comes last but for the ACL that is part of it: a change of owner clears some of its bits.
	 */
	if (fchmod(out->fd, st->st_mode & 07777) != 0)
		return -errno;
	keep_xattrs(out->fd, out->path);
	return 0;
}

/* ------------------------------------------------------------------ public */

static int open_in_place(struct output *out, int descriptor)
{
	out->in_place = true;
	out->fd = descriptor >= 0 ? fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
				  : open(out->path, O_WRONLY | O_CLOEXEC);
	return out->fd < 0 ? -errno : 0;
}

int output_open(const char *path, struct output *out)
{
	int descriptor = -1, rc;
	struct stat st;

	*out = (struct output){.fd = -1};
	if (strcmp(path, "-") == 0)
		return open_in_place(out, STDOUT_FILENO);
	if (snprintf(out->path, sizeof out->path, "%s", path) >= (int)sizeof out->path)
		return -ENAMETOOLONG;
	rc = resolve(out->path, &descriptor);
	if (rc != 0)
		return rc;
	out->replaces = descriptor < 0 && stat(out->path, &st) == 0;
	if (descriptor >= 0 || (out->replaces && !S_ISREG(st.st_mode)))
		return open_in_place(out, descriptor);
	rc = open_temporary(out);
	if (rc == 0 && out->replaces)
		rc = keep_attributes(out, &st);
	if (rc != 0)
		output_drop(out);
	return rc;
}

/* Gives the file the name path, or if there is a file of that name already a temporary one. */
static int give_name(struct output *out)
{
	char link[32];
	int rc = -EEXIST;

	snprintf(link, sizeof link, "/proc/self/fd/%d", out->fd);
	if (!out->replaces) {
		if (linkat(AT_FDCWD, link, AT_FDCWD, out->path, AT_SYMLINK_FOLLOW) == 0)
			return 0;
		rc = -errno;
	}
	for (int i = 0; i < NAME_TRIES && rc == -EEXIST; i++) {
		rc = make_name(out->path, out->temporary);
		if (rc == 0 && linkat(AT_FDCWD, link, AT_FDCWD, out->temporary, AT_SYMLINK_FOLLOW) != 0)
			rc = -errno;
	}
	if (rc != 0)
		out->temporary[0] = 0;
	return rc;
}

/* A folder that may not be read cannot be synced, nor on some file systems can any: the file itself is. */
static int sync_folder(const char *path)
{
	char copy[PATH_MAX];
	int fd, rc;

	strcpy(copy, path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == EACCES ? 0 : -errno;
	rc = fsync(fd) != 0 && errno != EINVAL ? -errno : 0;
	close(fd);
	return rc;
}

int output_finish(struct output *out)
{
	int rc = 0;

	if (!out->in_place && fsync(out->fd) != 0)
		rc = -errno;
	if (rc == 0 && !out->in_place && !out->temporary[0])
		rc = give_name(out);
	if (close(out->fd) != 0 && rc == 0)
		rc = -errno;
	out->fd = -1;
	if (rc == 0 && out->temporary[0] && rename(out->temporary, out->path) != 0)
		rc = -errno;
	if (rc != 0)
		output_drop(out);
	out->temporary[0] = 0;
	return rc != 0 || out->in_place ? rc : sync_folder(out->path);
}

void output_drop(struct output *out)
{
	if (out->fd >= 0)
		close(out->fd);
	out->fd = -1;
	if (out->temporary[0])
		unlink(out->temporary);
	out->temporary[0] = 0;
}
