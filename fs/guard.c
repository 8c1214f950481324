/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fs/mountpoint.h"

#define DYING_MS_MAX 1000

/* By the kernel's control files, where they are mounted: they belong to whom the mount belongs to. */
static int abort_by_file(unsigned minor)
{
	char path[64];
	int fd, rc = 0;

	snprintf(path, sizeof path, "/sys/fs/fuse/connections/%u/abort", minor);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, "1", 1) != 1)
		rc = -errno;
	close(fd);
	return rc;
}

/*
 * By a forced unmount, in a namespace of our own: the dead mount stays where others see it, and answers ENOTCONN, lest
 * somebody writes into the directory below it.
 */
static void abort_by_force(const char *mountpoint, unsigned minor)
{
	static struct mountpoint m;

	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return;
	if (mountpoint_at(mountpoint, &m) == 0 && m.minor == minor)
		umount2(mountpoint, MNT_FORCE | UMOUNT_NOFOLLOW);
}

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
 * Is told the number of the connection that is to be aborted; 0: none. The end of the socket is the end of the daemon,
 * but not as long as any of its threads lives; so there is a signal for the end of its main thread, too.
 */
__attribute__((noreturn)) static void stand_guard(int fd, int signal_fd, pid_t daemon, const char *mountpoint)
{
	struct pollfd polled[] = {{.fd = fd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
	struct signalfd_siginfo info;
	unsigned minor = 0, told;

	for (;;) {
		if (poll(polled, 2, -1) < 0 && errno != EINTR)
			break;
		if (polled[0].revents && recv(fd, &told, sizeof told, 0) != (ssize_t)sizeof told)
			break;
		if (polled[0].revents)
			minor = told;
		else if (polled[1].revents && read(signal_fd, &info, sizeof info) > 0 && is_dying(daemon))
			break;
	}
	if (minor != 0 && abort_by_file(minor) != 0)
		abort_by_force(mountpoint, minor);
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

int guard_start(const char *mountpoint)
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
		stand_guard(ends[0], signal_fd, daemon, mountpoint);
	}
	close(ends[0]);
	return ends[1];
}

static void tell(int guard, unsigned minor)
{
	while (send(guard, &minor, sizeof minor, MSG_NOSIGNAL) < 0 && errno == EINTR)
		continue;
}

void guard_watch(int guard, const char *mountpoint)
{
	static struct mountpoint m; /* too big for a stack frame */

	if (guard >= 0 && mountpoint_at(mountpoint, &m) == 0)
		tell(guard, m.minor);
}

void guard_end(int guard)
{
	if (guard < 0)
		return;
	tell(guard, 0);
	close(guard);
}
