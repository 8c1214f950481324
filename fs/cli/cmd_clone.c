/* SPDX-License-Identifier: Apache-2.0 */
/* vecfs clone - a durable snapshot becomes a collection, by the snapshot's control file clone, or its own
 * collection becomes what it was, by rollback. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/command.h"
#include "fs/cli/transfer.h"
#include "fs/mount/mountpoint.h"
#include "fs/request/message.h"

static const char help[] =
	"usage: vecfs clone SNAP NEW\n\n"
	"Makes the collection NEW, a directory of the mount that SNAP lies in, of a durable snapshot,\n"
	"COLLECTION/.vecfs/snap/NAME: with its vectors, their attributes, and its owner and mode. It is\n"
	"durable when the command returns. Both share what has not changed, so that it takes space by\n"
	"segments and not by vectors; only the ids are gone through.\n"
	"NEW may be the collection that SNAP was taken of, as it is now: then that becomes what it was\n"
	"then, by one batch. It keeps its owner, mode, views and snapshots, and loses what came later;\n"
	"take another snapshot first to keep that. No other collection is overwritten.\n\n"
	"  -h, --help         show this text\n";

static int run(int argc, char **argv);
const struct command command_clone = {"clone", "make a collection of a durable snapshot", help, run};

static int fail(const char *what, const char *why)
{
	message(VS_ERROR, "%s: %s", what, why);
	return COMMAND_FAILED;
}

/* Whether path is the collection that a snapshot is of, by whatever mount of the same file system. */
static bool is_collection_of(const char *snap, const char *path)
{
	char collection[PATH_MAX];
	struct stat a, b;

	return snprintf(collection, sizeof collection, "%s/../../..", snap) < (int)sizeof collection &&
	       stat(collection, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* NEW's place must be the root of the file system that SNAP lies in, or NEW the collection that SNAP is of.
 * *name: its name there; *is_back: it is that collection. */
static int find_name(const char *snap, char *resolved, const char **name, bool *is_back, const char *argument)
{
	static struct mountpoint of_snap, of_new;
	char *slash;
	int rc;

	if (mountpoint_around(snap, &of_snap) != 0)
		return fail(snap, "want a snapshot in a mount of vecfs, COLLECTION/.vecfs/snap/NAME");
	rc = mountpoint_resolve(argument, resolved);
	if (rc)
		return fail(argument, strerror(-rc));
	*is_back = is_collection_of(snap, resolved);
	slash = strrchr(resolved, '/');
	*name = slash + 1;
	if (*is_back) {
		if (mountpoint_at(resolved, &of_new) == 0) /* a bind mount may be called otherwise */
			*name = strrchr(of_new.root, '/') + 1;
		return 0;
	}
	*slash = '\0';
	if (mountpoint_at(resolved, &of_new) != 0 || of_new.minor != of_snap.minor ||
	    !mountpoint_is_root(&of_new, resolved))
		return fail(argument, "want a directory just below the mountpoint of the snapshot");
	return 0;
}

static int clone_snapshot(const char *snap, const char *argument)
{
	char file[PATH_MAX], path[PATH_MAX], resolved[PATH_MAX], line[NAME_MAX + 2];
	const char *name;
	bool is_back;
	int fd, n, rc = mountpoint_resolve(snap, path);

	if (rc)
		return fail(snap, strerror(-rc));
	rc = find_name(path, resolved, &name, &is_back, argument);
	if (rc)
		return rc;
	n = snprintf(line, sizeof line, "%s\n", name);
	if (n >= (int)sizeof line || snprintf(file, sizeof file, "%s/.vecfs/%s", snap,
					      is_back ? "rollback" : "clone") >= (int)sizeof file)
		return fail(argument, strerror(ENAMETOOLONG));
	fd = open(file, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(snap, errno == ENOENT ? "no durable snapshot" : strerror(errno));
	rc = transfer_write(fd, line, (size_t)n);
	close(fd);
	if (rc == -EEXIST)
		return fail(argument, "is there already, and stays as it is: move or remove it first");
	if (rc == -EBUSY)
		return fail(argument, "has vectors of another dim, dtype or metric than the snapshot");
	return rc ? fail(argument, strerror(-rc)) : COMMAND_OK;
}

static int run(int argc, char **argv)
{
	static const struct option longs[] = {{"help", no_argument, NULL, 'h'}, {0}};
	int answer;

	while ((answer = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
		if (answer == 'h')
			return command_help(&command_clone);
		return command_bad_option(&command_clone, answer, argv);
	}
	if (argc - optind != 2)
		return command_misused(&command_clone, "want SNAP and NEW");
	return clone_snapshot(argv[optind], argv[optind + 1]);
}
