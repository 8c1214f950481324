/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/mount/connection.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define READ_AHEAD_KIB "1024"

/* Into a control file; where that fails there is nothing one could do. */
static void put(int fd, const char *text)
{
	ssize_t n = write(fd, text, strlen(text));

	(void)n;
}

/* The directory of all connections where it is not mounted: a mount of our own that has no path. */
static int mount_control(void)
{
	int context = (int)syscall(SYS_fsopen, "fusectl", FSOPEN_CLOEXEC), mounted = -1;

	if (context < 0)
		return -1;
	if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		mounted = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
	close(context);
	return mounted;
}

int connection_open(unsigned minor)
{
	char path[64];
	int control, connection;

	snprintf(path, sizeof path, "/sys/fs/fuse/connections/%u/abort", minor);
	connection = open(path, O_WRONLY | O_CLOEXEC);
	if (connection >= 0)
		return connection;
	control = mount_control();
	if (control < 0)
		return -1;
	snprintf(path, sizeof path, "%u/abort", minor);
	connection = openat(control, path, O_WRONLY | O_CLOEXEC);
	close(control);
	return connection;
}

void connection_abort(int connection)
{
	if (connection >= 0)
		put(connection, "1");
}

void connection_read_ahead(unsigned minor)
{
	char path[64];
	int fd;

	snprintf(path, sizeof path, "/sys/class/bdi/0:%u/read_ahead_kb", minor);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	put(fd, READ_AHEAD_KIB);
	close(fd);
}
