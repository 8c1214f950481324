/* SPDX-License-Identifier: Apache-2.0 */
/* vecfs umount - makes everything durable, unmounts, and waits for the daemon to end. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs/command.h"
#include "fs/holder.h"
#include "fs/message.h"
#include "fs/mountpoint.h"

static const char help[] =
	"usage: vecfs umount MOUNTPOINT\n\n"
	"Makes everything durable, unmounts MOUNTPOINT and returns when its daemon has ended. A mount that\n"
	"is in use stays, and nothing is lost.\n\n"
	"  -h, --help         show this text\n";

static int run(int argc, char **argv);
const struct command command_umount = {"umount", "make everything durable and unmount", help, run};

/* A failure is told, but unmounting goes on: what cannot be written must not keep the mount up for ever. */
static int make_durable(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	/* syncfs for pages that mmap has left dirty, then fsync for the daemon's own. */
	if (fd < 0 || syncfs(fd) != 0 || fsync(fd) != 0)
		rc = -errno;
	if (fd >= 0)
		close(fd);
	if (rc != 0 && rc != -EACCES)
		message(VS_ERROR, "%s: not all is durable: %s", path, strerror(-rc));
	return rc == -EACCES ? 0 : rc; /* root without allow_other: the daemon does it anyway */
}

static int unmount_stale(const char *path)
{
	int rc = mountpoint_unmount(path, true);

	if (rc != 0)
		message(VS_ERROR, "%s: its daemon has died, and unmounting it is refused: %s", path,
		        strerror(-rc));
	return rc;
}

static int unmount_live(const struct mountpoint *m)
{
	pid_t pid = holder_find(m->store);
	int watch_fd = pid > 0 ? holder_watch(pid) : -1;
	int durable = make_durable(m->path);
	int rc = mountpoint_unmount(m->path, false);

	if (rc == 0) {
		if (watch_fd >= 0)
			rc = holder_wait(watch_fd);
		return rc != 0 ? rc : durable;
	}
	if (rc == -EBUSY)
		message(VS_ERROR,
		        "%s: busy: a process has a file open or its directory there (see `fuser -vm %s`)",
		        m->path, m->path);
	else
		message(VS_ERROR, "%s: %s", m->path, strerror(-rc));
	if (watch_fd >= 0)
		close(watch_fd);
	return rc;
}

static int umount_path(const char *argument)
{
	static struct mountpoint m; /* too big for a stack frame */
	char path[PATH_MAX];
	int rc = mountpoint_resolve(argument, path);

	if (rc != 0) {
		message(VS_ERROR, "%s: %s", argument, strerror(-rc));
		return rc;
	}
	rc = mountpoint_at(path, &m);
	if (rc != 0) {
		message(VS_ERROR, "%s: no vecfs is mounted here", argument);
		return rc;
	}
	return mountpoint_is_stale(path) ? unmount_stale(path) : unmount_live(&m);
}

static int run(int argc, char **argv)
{
	static const struct option longs[] = {{"help", no_argument, NULL, 'h'}, {0}};
	int answer;

	while ((answer = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
		if (answer == 'h')
			return command_help(&command_umount);
		return command_bad_option(&command_umount, answer, argv);
	}
	if (argc - optind != 1)
		return command_misused(&command_umount, "want one MOUNTPOINT");
	return umount_path(argv[optind]) == 0 ? COMMAND_OK : COMMAND_FAILED;
}
