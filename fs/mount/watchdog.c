/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/mount/watchdog.h"

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

#include "fs/mount/connection.h"

#define DYING_MS_MAX 1000

/*
 * Whether the main thread of the daemon has ended: the others may still be waiting for the kernel. Its
 * /proc/PID/stat was opened by itself, since its number may be another's in the /proc that is seen here.
 */
static bool is_dead(int stat_fd)
{
	char text[128] = "";
	const char *state;

	if (stat_fd < 0 || pread(stat_fd, text, sizeof text - 1, 0) <= 0)
		return true;
	state = strrchr(text, ')');
	return !state || state[1] != ' ' || state[2] == 'Z' || state[2] == 'X';
}

/* The signal comes a moment before the thread has ended, and could come from anybody. */
static bool is_dying(int stat_fd)
{
	static const struct timespec moment = {.tv_nsec = 1000000};

	for (int i = 0; i < DYING_MS_MAX; i++) {
		if (is_dead(stat_fd))
			return true;
		nanosleep(&moment, NULL);
	}
	return false;
}

/*
 * Takes the connection that a message brings in place of *connection; -1: it brings none, the mount is not to
 * be guarded any more. False: the other end has been closed.
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
 * The end of the socket is the end of the daemon, but not as long as any of its threads lives; so there is a
 * signal for the end of its main thread, too.
 */
__attribute__((noreturn)) static void stand_guard(int fd, int signal_fd, int stat_fd)
{
	struct pollfd polled[] = {{.fd = fd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
	struct signalfd_siginfo info;
	int connection = -1;

	for (;;) {
		if (poll(polled, 2, -1) < 0 && errno != EINTR)
			break;
		if (polled[0].revents && !receive(fd, &connection))
			break;
		if (!polled[0].revents && polled[1].revents && read(signal_fd, &info, sizeof info) > 0 &&
		    is_dying(stat_fd))
			break;
	}
	connection_abort(connection);
	_exit(0);
}

/* It holds nothing that anybody could wait for, and does not end before the daemon, whoever signals all of
 * both. */
static void detach(int fd, int stat_fd, int *signal_fd)
{
	unsigned low = (unsigned)(stat_fd >= 0 && stat_fd < fd ? stat_fd : fd);
	unsigned high = (unsigned)(stat_fd > fd ? stat_fd : fd);
	sigset_t death;
	int null_fd;

	if (low > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, low - 1, 0);
	if (low + 1 < high)
		close_range(low + 1, high - 1, 0);
	close_range(high + 1, ~0u, 0);
	null_fd = open("/dev/null", O_RDWR);
	for (int i = STDIN_FILENO; null_fd >= 0 && i <= STDERR_FILENO; i++)
		dup2(null_fd, i);
	if (null_fd > STDERR_FILENO)
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

int watchdog_start(void)
{
	int ends[2], rc, stat_fd;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return -errno;
	stat_fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	pid = fork();
	if (pid < 0) {
		rc = -errno;
		close(ends[0]);
		close(ends[1]);
		return rc;
	}
	if (pid == 0) {
		int signal_fd;

		detach(ends[0], stat_fd, &signal_fd);
		stand_guard(ends[0], signal_fd, stat_fd);
	}
	if (stat_fd >= 0)
		close(stat_fd);
	close(ends[0]);
	return ends[1];
}

/* Hands over a descriptor; -1: none. */
static void tell(int guard, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS,
				.cmsg_len = CMSG_LEN(sizeof fd)}};
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

void watchdog_watch(int guard, int connection)
{
	if (guard >= 0)
		tell(guard, connection);
}

void watchdog_end(int guard)
{
	if (guard < 0)
		return;
	tell(guard, -1);
	close(guard);
}
