/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/request/process.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PID_BITS 22      /* the kernel's PID_MAX_LIMIT */
#define STARTED_FIELD 22 /* of /proc/PID/stat, in clock ticks since the system started */

static pthread_once_t proc_once = PTHREAD_ONCE_INIT;
static bool proc_is_ours;

/* A process in a pid namespace of its own may see the /proc of another, where equal numbers are others. */
static void look_at_proc(void)
{
	char link[32], own[32];
	ssize_t n = readlink("/proc/self", link, sizeof link - 1);

	link[n > 0 ? n : 0] = '\0';
	snprintf(own, sizeof own, "%d", (int)getpid());
	proc_is_ours = strcmp(link, own) == 0;
}

/* A file of a thread in /proc, as text; false: there is none. */
static bool read_proc(pid_t thread, const char *name, char *text, size_t text_size)
{
	char path[64];
	ssize_t got;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/%s", (int)thread, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	got = read(fd, text, text_size - 1);
	close(fd);
	text[got > 0 ? got : 0] = '\0';
	return got > 0;
}

static pid_t find_pid(pid_t thread)
{
	char text[1024];
	const char *field = read_proc(thread, "status", text, sizeof text) ? strstr(text, "\nTgid:") : NULL;

	return field ? (pid_t)atoi(field + strlen("\nTgid:")) : 0;
}

/* 0: it is gone. */
static uint64_t find_start(pid_t pid)
{
	char text[1024];
	/* The second field is a name in parentheses, with anything in it. */
	const char *field = read_proc(pid, "stat", text, sizeof text) ? strrchr(text, ')') : NULL;

	for (int n = 2; field && n < STARTED_FIELD; n++)
		field = strchr(field + 1, ' ');
	return field ? strtoull(field, NULL, 10) : 0;
}

process_t process_of(pid_t thread)
{
	uint64_t started;
	pid_t pid;

	pthread_once(&proc_once, look_at_proc);
	pid = thread > 0 && proc_is_ours ? find_pid(thread) : 0;
	started = pid > 0 ? find_start(pid) : 0;
	return started ? started << PID_BITS | (process_t)pid : PROCESS_UNKNOWN;
}

bool process_same(pid_t thread, pid_t other_thread)
{
	process_t process;

	if (thread == other_thread)
		return true;
	process = process_of(thread);
	return process != PROCESS_UNKNOWN && process == process_of(other_thread);
}
