/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/mount/background.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int ready_fd = -1; /* the child's end of the pipe: a byte means that it serves */

__attribute__((noreturn)) static void wait_for_child(pid_t pid, int fd)
{
	int status = 0;
	ssize_t n;
	char byte;

	while ((n = read(fd, &byte, 1)) < 0 && errno == EINTR)
		continue;
	if (n == 1)
		_exit(EXIT_SUCCESS);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	/* It ended before it served: that is a failure, whatever it says. */
	_exit(WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : EXIT_FAILURE);
}

int background_start(void)
{
	int ends[2];
	pid_t pid;

	/* Whoever waits for the end of a pipe that we inherited would wait as long as the mount lives. */
	close_range(STDERR_FILENO + 1, ~0u, 0);
	if (pipe2(ends, O_CLOEXEC) != 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		int rc = -errno;

		close(ends[0]);
		close(ends[1]);
		return rc;
	}
	if (pid > 0) {
		close(ends[1]);
		wait_for_child(pid, ends[0]);
	}
	close(ends[0]);
	ready_fd = ends[1];
	/* If the parent is killed before we are ready, nobody is left to be told: no reason to end. */
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

void background_ready(void)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert(ready_fd >= 0);
	setsid();
	for (int fd = STDIN_FILENO; null_fd >= 0 && fd <= STDERR_FILENO; fd++)
		dup2(null_fd, fd);
	if (null_fd > STDERR_FILENO)
		close(null_fd);
	if (write(ready_fd, "", 1) != 1)
		assert(errno == EPIPE);
	close(ready_fd);
	ready_fd = -1;
}
