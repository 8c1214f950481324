/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/connection.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs/mountpoint.h"

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

int connection_open(const char *mountpoint)
{
	struct mountpoint m;
	char path[64];
	int control, connection;

	if (mountpoint_at(mountpoint, &m) != 0)
		return -1;
	snprintf(path, sizeof path, "/sys/fs/fuse/connections/%u/abort", m.minor);
	connection = open(path, O_WRONLY | O_CLOEXEC);
	if (connection >= 0)
		return connection;
	control = mount_control();
	if (control < 0)
		return -1;
	snprintf(path, sizeof path, "%u/abort", m.minor);
	connection = openat(control, path, O_WRONLY | O_CLOEXEC);
	close(control);
	return connection;
}

void connection_abort(int connection)
{
	/* It fails only for a connection that has ended. */
	if (connection >= 0 && write(connection, "1", 1) != 1)
		return;
}
