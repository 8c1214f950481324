/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded, it makes a program believe in syncs that do nothing: powerloss.bats must find that out. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>

int fsync(int fd)
{
	(void)fd;
	return 0;
}

int fdatasync(int fd)
{
	(void)fd;
	return 0;
}

int sync_file_range(int fd, off64_t offset, off64_t bytes, unsigned flags)
{
	(void)fd, (void)offset, (void)bytes, (void)flags;
	return 0;
}
