/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into the daemon: while the file that FAILSYNC_WHILE names exists, fdatasync(2) and fsync(2) fail
 * with EIO, and leave a line each in FAILSYNC_LOG.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

static bool fails(void)
{
	const char *cause = getenv("FAILSYNC_WHILE"), *log = getenv("FAILSYNC_LOG");
	int fd;

	if (!cause || !log || access(cause, F_OK) != 0)
		return false;
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd >= 0 && write(fd, "failed\n", 7) == 7)
		close(fd);
	errno = EIO;
	return true;
}

static int call(const char *name, int fd)
{
	int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);

	return fails() ? -1 : next(fd);
}

int fdatasync(int fd)
{
	return call("fdatasync", fd);
}

int fsync(int fd)
{
	return call("fsync", fd);
}
