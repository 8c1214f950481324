/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/holder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOCK_NAME "lock"
#define PID_DIGITS 20

static pid_t read_pid(int fd)
{
	char text[PID_DIGITS + 1];
	ssize_t n = pread(fd, text, PID_DIGITS, 0);

	if (n < 0)
		return -errno;
	text[n] = 0;
	return (pid_t)strtol(text, NULL, 10);
}

pid_t holder_find(const char *store)
{
	char path[PATH_MAX];
	pid_t pid;
	int fd;

	if (snprintf(path, sizeof path, "%s/%s", store, LOCK_NAME) >= (int)sizeof path)
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* A shared lock, and for a moment: enough to tell whether the exclusive one is taken. */
	if (flock(fd, LOCK_SH | LOCK_NB) == 0)
		pid = 0;
	else if (errno == EWOULDBLOCK)
		pid = read_pid(fd);
	else
		pid = -errno;
	close(fd);
	return pid;
}

int holder_watch(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

int holder_wait(int watch_fd)
{
	struct pollfd watched = {.fd = watch_fd, .events = POLLIN};
	int rc = 0;

	while (rc == 0 && poll(&watched, 1, -1) < 0)
		if (errno != EINTR)
			rc = -errno;
	close(watch_fd);
	return rc;
}
