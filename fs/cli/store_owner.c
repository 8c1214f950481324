/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/store_owner.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOCK_NAME "lock"
#define HOST_COMPARED 64 /* bytes of a machine's name that are in the file */
#define POLL_MS 10
#define EXIT_MS 1000 /* from giving up the lock to the end of the process */

/* What is in the file: a number, and in the next line the name of a machine. *here is false if it is of
 * another machine than this. */
static pid_t read_pid(int fd, char host[STORE_OWNER_HOST_MAX], bool *here)
{
	char text[2 * STORE_OWNER_HOST_MAX] = "", own[STORE_OWNER_HOST_MAX] = "";
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	int pid = 0;

	*host = 0;
	*here = true;
	if (n < 0)
		return -errno;
	sscanf(text, "%d %64s", &pid, host);
	if (*host && gethostname(own, sizeof own - 1) == 0)
		*here = strncmp(host, own, HOST_COMPARED) == 0;
	return pid;
}

static int open_lock(const char *store)
{
	char path[PATH_MAX];
	int fd;

	if (snprintf(path, sizeof path, "%s/%s", store, LOCK_NAME) >= (int)sizeof path)
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * 1: it is held; 0: it is not; -errno. A shared lock, and for a moment, is enough to tell; a mount that wants
 * the store just then tries again.
 */
static int is_held(int lock_fd)
{
	if (flock(lock_fd, LOCK_SH | LOCK_NB) != 0)
		return errno == EWOULDBLOCK ? 1 : -errno;
	flock(lock_fd, LOCK_UN);
	return 0;
}

pid_t store_owner_find(const char *store, char host[STORE_OWNER_HOST_MAX])
{
	int fd = open_lock(store);
	bool here;
	pid_t pid;

	*host = 0;
	if (fd < 0)
		return fd;
	pid = is_held(fd);
	if (pid > 0)
		pid = read_pid(fd, host, &here);
	close(fd);
	return pid;
}

struct store_owner_watch store_owner_watch(const char *store)
{
	struct store_owner_watch w = {.lock_fd = open_lock(store), .pid_fd = -1};
	char host[STORE_OWNER_HOST_MAX];
	bool here;

	if (w.lock_fd < 0 || is_held(w.lock_fd) <= 0)
		return w;
	w.pid = read_pid(w.lock_fd, host, &here);
	if (w.pid > 0 && here) /* of another machine, the number is somebody else's here */
		w.pid_fd = (int)syscall(SYS_pidfd_open, w.pid, 0);
	return w;
}

static bool has_ended(int pid_fd, int timeout_ms)
{
	struct pollfd watched = {.fd = pid_fd, .events = POLLIN};

	return poll(&watched, 1, timeout_ms) > 0;
}

int store_owner_wait(struct store_owner_watch *w, int timeout_ms)
{
	int rc = 0;

	/* poll(2) takes no time over a descriptor of -1: it just waits. */
	while (w->lock_fd >= 0 && is_held(w->lock_fd) > 0) {
		if (has_ended(w->pid_fd, POLL_MS))
			break; /* and somebody else has the store already */
		timeout_ms -= POLL_MS;
		if (timeout_ms <= 0) {
			rc = -ETIMEDOUT;
			break;
		}
	}
	/* The lock goes a moment before its process; the number may be a stranger's, for whom nobody waits.
	 */
	if (rc == 0 && w->pid_fd >= 0)
		has_ended(w->pid_fd, EXIT_MS);
	store_owner_unwatch(w);
	return rc;
}

void store_owner_unwatch(struct store_owner_watch *w)
{
	if (w->lock_fd >= 0)
		close(w->lock_fd);
	if (w->pid_fd >= 0)
		close(w->pid_fd);
	w->lock_fd = w->pid_fd = -1;
}
