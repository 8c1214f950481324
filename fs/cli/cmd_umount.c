/* SPDX-License-Identifier: Apache-2.0 */
/* vecfs umount - makes everything durable, unmounts, and waits for the daemon to end. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fs/cli/command.h"
#include "fs/cli/store_owner.h"
#include "fs/request/message.h"
#include "fs/mount/mountpoint.h"
#include "fs/cli/occupant.h"

#define COPIES_MS 1000 /* the kernel takes a file system down when the last of its mounts is gone */
#define END_MS 60000   /* of the daemon: it has files to close, and everything is durable */
#define WHO_BYTES (PATH_MAX + 256)

static const char help[] =
	"usage: vecfs umount MOUNTPOINT\n\n"
	"Makes everything durable, unmounts MOUNTPOINT and returns when its daemon has ended. A mount that\n"
	"is in use stays, and nothing is lost. Where the store is mounted a second time (a bind mount,\n"
	"a container) the daemon serves on: that is said, and the exit status is 1.\n\n"
	"  -h, --help         show this text\n";

static int run(int argc, char **argv);
const struct command command_umount = {"umount", "make everything durable and unmount", help, run};

/*
 * A failure is told, but unmounting goes on: what cannot be written must not keep the mount up for ever.
 * -EACCES (root without allow_other) is none: the daemon does it anyway, when it ends.
 */
static int make_durable(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;

	/* syncfs for pages that mmap has left dirty, then fsync for the daemon's own. */
	if (fd < 0 || syncfs(fd) != 0 || fsync(fd) != 0)
		rc = -errno;
	if (fd >= 0)
		close(fd);
	if (rc != 0 && rc != -EACCES)
		message(VS_ERROR, "%s: not all is durable: %s", path, strerror(-rc));
	return rc;
}

static int unmount_stale(const char *path)
{
	int rc = mountpoint_unmount(path, true);

	if (rc != 0)
		message(VS_ERROR, "%s: its daemon has died, and unmounting it is refused: %s", path,
			strerror(-rc));
	return rc;
}

/* The kernel's write-back device of a FUSE file system is there as long as it is, in whichever mount
 * namespace. */
static bool lives_on(const struct mountpoint *m)
{
	static const struct timespec moment = {.tv_nsec = 10000000};
	char path[64];

	snprintf(path, sizeof path, "/sys/class/bdi/0:%u", m->minor);
	for (int ms = 0; access(path, F_OK) == 0; ms += 10) {
		if (ms >= COPIES_MS)
			return true;
		nanosleep(&moment, NULL);
	}
	return false;
}

/* It is unmounted here; nobody but the daemon's end is waited for, and not for ever. */
static int await_end(const struct mountpoint *m, struct store_owner_watch *watch, const char *durable)
{
	char who[WHO_BYTES];

	if (lives_on(m)) {
		store_owner_unwatch(watch);
		occupant_of_file_system(m, who, sizeof who);
		message(VS_ERROR, "%s: unmounted%s, but its daemon serves on: %s", m->path, durable, who);
		return -EBUSY;
	}
	if (store_owner_wait(watch, END_MS) == 0)
		return 0;
	message(VS_ERROR, "%s: unmounted%s, but the daemon of %s (process %d) has not ended yet", m->path,
		durable, m->store, (int)watch->pid);
	return -EBUSY;
}

static int unmount_live(const struct mountpoint *m)
{
	struct store_owner_watch watch = store_owner_watch(m->store);
	int synced = make_durable(m->path);
	const char *durable = synced == 0 ? ", and everything is durable" : "";
	int rc = mountpoint_unmount(m->path, false);
	char who[WHO_BYTES];

	if (rc == 0) {
		rc = await_end(m, &watch, durable);
		return rc != 0 || synced == -EACCES ? rc : synced;
	}
	store_owner_unwatch(&watch);
	if (rc == -EBUSY) {
		occupant_of_mount(m, who, sizeof who);
		message(VS_ERROR, "%s: busy: %s%s", m->path, who, durable);
	} else {
		message(VS_ERROR, "%s: %s", m->path, strerror(-rc));
	}
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
