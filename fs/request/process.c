/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/request/process.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/*
 * The kernel may hold a process's exec_update_lock while it waits for our answer: it closes what is
 * O_CLOEXEC, and flushes it, in the middle of an exec. Whoever reads its /proc/PID/stat then waits for that
 * lock, and the process for us, for ever. So a process is known by the inode of its pidfd, which no other
 * ever has (Linux 6.9), and whose ioctl tells a thread's process (6.13); these take no such lock. /proc is
 * read where the kernel is older.
 */
#define PIDFS_MAGIC 0x50494446
#define OF_THREAD O_EXCL /* PIDFD_THREAD of pidfd_open(2) */

/* The first version of struct pidfd_info, pidfd_open(2). */
struct thread_info {
	uint64_t mask, cgroup;
	uint32_t pid, tgid, ppid, ids[8];
	int32_t exit_code;
};
#define GET_THREAD_INFO _IOWR(0xff, 11, struct thread_info)

#define PID_BITS 22      /* the kernel's PID_MAX_LIMIT */
#define STARTED_FIELD 22 /* of /proc/PID/stat, in clock ticks since the system started */

/* ------------------------------------------------------------------ by /proc */

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

/* ------------------------------------------------------------------ by pidfd */

static int open_pidfd(pid_t pid, unsigned flags)
{
	return (int)syscall(SYS_pidfd_open, pid, flags);
}

/* Whether pidfds have inodes of their own here, and tell what process a thread is of. */
static bool pidfds_tell(void)
{
	struct thread_info info = {0};
	struct statfs fs;
	int fd = open_pidfd(getpid(), OF_THREAD);
	bool tell = fd >= 0 && sizeof(ino_t) == sizeof(process_t) && fstatfs(fd, &fs) == 0 &&
		    fs.f_type == PIDFS_MAGIC && ioctl(fd, GET_THREAD_INFO, &info) == 0 &&
		    info.tgid == (uint32_t)getpid();

	if (fd >= 0)
		close(fd);
	return tell;
}

/* Takes over a descriptor. 0: it is gone. */
static process_t identity_of(int fd)
{
	struct stat st;
	process_t process = fd >= 0 && fstat(fd, &st) == 0 ? st.st_ino : PROCESS_UNKNOWN;

	if (fd >= 0)
		close(fd);
	return process;
}

static process_t process_by_pidfd(pid_t thread)
{
	struct thread_info info = {0};
	int fd = open_pidfd(thread, OF_THREAD);

	if (fd < 0)
		return PROCESS_UNKNOWN;
	if (ioctl(fd, GET_THREAD_INFO, &info) == 0 && info.tgid == (uint32_t)thread)
		return identity_of(fd);
	close(fd);
	return info.tgid ? identity_of(open_pidfd((pid_t)info.tgid, 0)) : PROCESS_UNKNOWN;
}

/* ------------------------------------------------------------------ */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool has_pidfds;

static void look_around(void)
{
	has_pidfds = pidfds_tell();
	look_at_proc();
}

process_t process_of(pid_t thread)
{
	uint64_t started;
	pid_t pid;

	pthread_once(&once, look_around);
	if (thread > 0 && has_pidfds)
		return process_by_pidfd(thread);
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

/* ------------------------------------------------------------------ signals */

/* Unlike stat, status takes no lock that a process holds while it waits for us. */
bool process_is_signalled(pid_t thread)
{
	static const char *const keys[] = {"SigPnd:", "ShdPnd:", "SigBlk:", "SigIgn:"};
	unsigned long long sets[4] = {0};
	char path[64], line[256];
	FILE *file;

	pthread_once(&once, look_around);
	snprintf(path, sizeof path, "/proc/%d/status", (int)thread);
	file = thread > 0 && proc_is_ours ? fopen(path, "re") : NULL;
	while (file && fgets(line, sizeof line, file))
		for (int i = 0; i < 4; i++)
			if (!strncmp(line, keys[i], strlen(keys[i])))
				sets[i] = strtoull(line + strlen(keys[i]), NULL, 16);
	if (file)
		fclose(file);
	return (sets[0] | sets[1]) & ~sets[2] & ~sets[3];
}
