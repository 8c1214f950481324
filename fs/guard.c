/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "fs/connection.h"

#define DYING_MS_MAX 1000

/* Whether the main thread of a process has ended: the others may still be waiting for the kernel. */
static bool is_dead(pid_t pid)
{
	char path[64], text[128] = "";
	const char *state;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	if (read(fd, text, sizeof text - 1) <= 0)
		text[0] = '\0';
	close(fd);
	state = strrchr(text, ')');
	return !state || state[1] != ' ' || state[2] == 'Z' || state[2] == 'X';
}

/* The signal comes a moment before the thread has ended, and could come from anybody. */
static bool is_dying(pid_t pid)
{
	static const struct timespec moment = {.tv_nsec = 1000000};

	for (int i = 0; i < DYING_MS_MAX; i++) {
		if (is_dead(pid))
			return true;
		nanosleep(&moment, NULL);
	}
	return false;
}

/*
 * Takes the connection that a message brings in place of *connection; -1: it brings none, the mount is not to be guarded
 * any more. False: the other end has been closed.
 */
static bool receive(int fd, int *connection)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec data = {.iov_base = &byte, .iov_len = sizeof byte};
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};

	if (recvmsg(fd, &message, MSG_CMSG_CLOEXEC) <= 0)
		return false;
	if (*connection >= 0)
		close(*connection);
	*connection = -1;
	if (CMSG_FIRSTHDR(&message))
		memcpy(connection, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof *connection);
	return true;
}

/*
 * The end of the socket is the end of the daemon, but not as long as any of its threads lives; so there is a signal for
 * the end of its main thread, too.
 */
__attribute__((noreturn)) static void stand_guard(int fd, int signal_fd, pid_t daemon)
{
	struct pollfd polled[] = {{.fd = fd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
	struct signalfd_siginfo info;
	int connection = -1;

	for (;;) {
		if (poll(polled, 2, -1) < 0 && errno != EINTR)
			break;
		if (polled[0].revents && !receive(fd, &connection))
			break;
		if (!polled[0].revents && polled[1].revents && read(signal_fd, &info, sizeof info) > 0 && is_dying(daemon))
			break;
	}
	connection_abort(connection);
	_exit(0);
}

/* It holds nothing that anybody could wait for, and does not end before the daemon, whoever signals all of both. */
static void detach(int *fd, int *signal_fd)
{
	sigset_t death;
	int null_fd;

	*fd = dup2(*fd, STDERR_FILENO + 1);
	close_range(STDERR_FILENO + 2, ~0u, 0);
	null_fd = open("/dev/null", O_RDWR);
	for (int i = STDIN_FILENO; null_fd >= 0 && i <= STDERR_FILENO; i++)
		dup2(null_fd, i);
	if (null_fd > *fd)
		close(null_fd);
	setsid();
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	sigemptyset(&death);
	sigaddset(&death, SIGUSR1);
	sigprocmask(SIG_BLOCK, &death, NULL);
	*signal_fd = signalfd(-1, &death, SFD_CLOEXEC);
	prctl(PR_SET_PDEATHSIG, SIGUSR1);
	prctl(PR_SET_NAME, "vecfs-guard");
}

int guard_start(void)
{
	pid_t daemon = getpid(), pid;
	int ends[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		rc = -errno;
		close(ends[0]);
		close(ends[1]);
		return rc;
	}
	if (pid == 0) {
		int signal_fd;

		detach(&ends[0], &signal_fd);
		stand_guard(ends[0], signal_fd, daemon);
	}
	close(ends[0]);
	return ends[1];
}

/* Hands over a descriptor; -1: none. */
static void tell(int guard, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)}};
	char byte = 0;
	struct iovec data = {.iov_base = &byte, .iov_len = sizeof byte};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};

	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof control.space;
		memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	}
	while (sendmsg(guard, &message, MSG_NOSIGNAL) < 0 && errno == EINTR)
		continue;
}

void guard_watch(int guard, int connection)
{
	if (guard >= 0)
		tell(guard, connection);
}

void guard_end(int guard)
{
	if (guard < 0)
		return;
	tell(guard, -1);
	close(guard);
}
