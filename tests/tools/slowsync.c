/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into the daemon: while the file that SLOWSYNC_WHILE names exists, fdatasync(2) and fsync(2) take
 * a second longer.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int call(const char *name, int fd)
{
	int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
	const char *cause = getenv("SLOWSYNC_WHILE");

	if (cause && access(cause, F_OK) == 0)
		sleep(1);
	return next(fd);
}

int fdatasync(int fd)
{
	return call("fdatasync", fd);
}

int fsync(int fd)
{
	return call("fsync", fd);
}
