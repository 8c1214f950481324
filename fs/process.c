/* SPDX-License-Identifier: Apache-2.0 */
#include "process.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

pid_t process_of(pid_t thread)
{
	char path[64], text[1024];
	const char *field;
	ssize_t got;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/status", (int)thread);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return thread;
	got = read(fd, text, sizeof text - 1);
	close(fd);
	text[got > 0 ? got : 0] = '\0';
	field = strstr(text, "\nTgid:");
	return field ? (pid_t)atoi(field + strlen("\nTgid:")) : thread;
}

bool process_same(pid_t thread, pid_t other_thread)
{
	return thread == other_thread || process_of(thread) == process_of(other_thread);
}
