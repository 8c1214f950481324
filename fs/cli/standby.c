/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/standby.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "fs/cli/interrupt.h"

#define ASK_MS 100 /* between two tries for the store: a request to whoever keeps its locks */

static int open_mark(const char *store, int flags)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof path, "%s/standby", store) >= (int)sizeof path)
		return -1;
	return open(path, flags | O_CLOEXEC, 0600);
}

/* Without the mark it waits as well. */
static void mark(struct standby *sb)
{
	if (sb->fd <= 0)
		sb->fd = open_mark(sb->store, O_RDWR | O_CREAT);
	if (sb->fd > 0 && !sb->locked)
		sb->locked = flock(sb->fd, LOCK_SH | LOCK_NB) == 0;
}

bool standby_wait(void *standby, const char *why)
{
	static const struct timespec pause = {.tv_nsec = ASK_MS * 1000000L};
	struct standby *sb = standby;

	if (!sb->waiting) {
		interrupt_catch();
		sb->waiting = true;
		sb->begun(sb->arg, why);
	}
	mark(sb);
	if (!interrupt_came())
		nanosleep(&pause, NULL); /* which a signal ends */
	return !interrupt_came();
}

bool standby_end(struct standby *sb)
{
	if (sb->fd > 0)
		close(sb->fd);
	sb->fd = 0;
	sb->locked = false;
	if (!sb->waiting)
		return false;
	interrupt_release();
	return interrupt_came();
}

bool standby_is_there(const char *store)
{
	int fd = open_mark(store, O_RDWR);
	bool there;

	if (fd < 0)
		return false;
	there = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
	close(fd);
	return there;
}
