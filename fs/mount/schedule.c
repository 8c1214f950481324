/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/mount/schedule.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "store/base/clock.h"

#define THREADS_MAX 1024
#define NS_PER_MS INT64_C(1000000)

#define REST_MS 100       /* between two looks while nothing comes in ... */
#define REST_MS_MAX 800   /* ... for long */
#define WATCH_MS 2        /* while the threads are at SCHED_IDLE */
#define ACTIVE_PERCENT 2  /* of one CPU: requests are coming in */
#define QUIET_MS 300      /* no request for so long: at rest again */
#define STUCK_LOOKS 3     /* so often a thread wanted to run, and had not: starved */
#define WINDOW_LOOKS 20   /* over so many looks ... */
#define WAITED_PERCENT 60 /* ... a thread that has waited for so much of the time, and ... */
#define WAITED_TIMES 8    /* ... so many times as long as it ran, is starved, too */
#define STUCK_LOOKS_GRACE 25
#define GRACE_MS 500  /* after it was not SCHED_IDLE that was to blame */
#define BLAME_TIMES 4 /* without it the threads run for so many times as long */
#define BACKOFF_MS 10000
#define BACKOFF_MS_MAX 300000

/* libfuse's names of the threads that answer requests: one a CPU on io_uring; on the classic transport as
 * many as have been needed at a time, and none of them ends before the mount does. */
static const char *const thread_names[] = {"fuse-ring-", "fuse_worker"};

/* One of them. */
struct answerer {
	pid_t tid;
	int schedstat_fd, stat_fd;          /* of /proc/self/task/TID */
	uint64_t ran_ns, waited_ns;         /* at the last look */
	uint64_t window_ran, window_waited; /* at the start of the window */
	unsigned stuck;
};

struct schedule {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool quit; /* with the lock */
	int policy;
	unsigned count;
	struct answerer threads[THREADS_MAX]; /* in the order in which they came */
};

/* ------------------------------------------------------------------ what is allowed, and safe */

static int set_policy(pid_t tid, int policy)
{
	static const struct sched_param none;

	return sched_setscheduler(tid, policy, &none);
}

static void *try_policies(void *arg)
{
	bool *may_return = arg;

	*may_return = set_policy(0, SCHED_IDLE) == 0 && set_policy(0, SCHED_OTHER) == 0;
	return NULL;
}

/* Leaving SCHED_IDLE is a privilege; a thread that is thrown away finds out. */
static bool may_return(void)
{
	bool may = false;
	pthread_t thread;

	if (pthread_create(&thread, NULL, try_policies, &may) == 0)
		pthread_join(thread, NULL);
	return may;
}

static bool read_line(const char *path, const char *start, char *line, size_t line_size)
{
	FILE *file = fopen(path, "re");
	bool found = false;

	while (file && !found && fgets(line, (int)line_size, file))
		found = strstr(line, start) != NULL;
	if (file)
		fclose(file);
	return found;
}

/* Autogroups are there, and have an effect: the cgroup that shares out CPU time (of either version) is the
 * root. */
static bool is_in_autogroup(void)
{
	char line[512];

	if (!read_line("/proc/sys/kernel/sched_autogroup_enabled", "1", line, sizeof line) ||
	    access("/proc/self/autogroup", R_OK) != 0)
		return false;
	if (read_line("/proc/self/cgroup", ":cpu", line, sizeof line) && !strstr(line, ":cpuset") &&
	    !strstr(line, ":/\n"))
		return false;
	return read_line("/proc/self/cgroup", "0::/\n", line, sizeof line) ||
	       !read_line("/proc/self/cgroup", "0::", line, sizeof line);
}

/* ------------------------------------------------------------------ the threads */

static int open_task(pid_t tid, const char *name)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/self/task/%d/%s", (int)tid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static bool answers_requests(pid_t tid)
{
	char name[32] = "";
	int fd = open_task(tid, "comm");
	bool found = false;

	if (fd < 0)
		return false;
	if (read(fd, name, sizeof name - 1) > 0)
		for (size_t i = 0; i < sizeof thread_names / sizeof *thread_names; i++)
			found |= strncmp(name, thread_names[i], strlen(thread_names[i])) == 0;
	close(fd);
	return found;
}

/* Calls do_thread for each thread of this process. */
static void each_thread(void (*do_thread)(struct schedule *s, pid_t tid), struct schedule *s)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			do_thread(s, (pid_t)atoi(entry->d_name));
	if (dir)
		closedir(dir);
}

/* Whether it runs, or would if it were let. */
static bool wants_to_run(const struct answerer *t)
{
	char text[128] = "";
	const char *state;

	if (pread(t->stat_fd, text, sizeof text - 1, 0) <= 0)
		return false;
	state = strrchr(text, ')');
	return state && strncmp(state, ") R", 3) == 0;
}

/* Takes the thread's times anew, and returns for how long it has run since the last look. */
static uint64_t look(struct answerer *t)
{
	uint64_t ran_ns, before_ns = t->ran_ns;
	char text[128] = "";

	if (pread(t->schedstat_fd, text, sizeof text - 1, 0) <= 0 ||
	    sscanf(text, "%" SCNu64 " %" SCNu64, &ran_ns, &t->waited_ns) != 2)
		return 0;
	t->ran_ns = ran_ns;
	t->stuck = ran_ns == before_ns && wants_to_run(t) ? t->stuck + 1 : 0;
	return ran_ns - before_ns;
}

/* It has the policy of the thread that started it, which may have been another since. */
static void add_if_new(struct schedule *s, pid_t tid)
{
	struct answerer t = {.tid = tid};

	for (unsigned i = 0; i < s->count; i++)
		if (s->threads[i].tid == tid)
			return;
	if (s->count == THREADS_MAX || !answers_requests(tid))
		return;
	t.schedstat_fd = open_task(tid, "schedstat");
	t.stat_fd = open_task(tid, "stat");
	set_policy(tid, s->policy);
	look(&t);
	s->threads[s->count++] = t;
}

static void make_idle(struct schedule *s, pid_t tid)
{
	(void)s;
	set_policy(tid, SCHED_IDLE);
}

/* When the mount ends, the threads may be quicker; the number of one that has ended is not used. */
static bool is_there(const struct answerer *t)
{
	char byte;

	return t->stat_fd < 0 || pread(t->stat_fd, &byte, 1, 0) == 1;
}

static void set_policies(struct schedule *s, int policy)
{
	s->policy = policy;
	for (unsigned i = 0; i < s->count; i++) {
		struct answerer *t = &s->threads[i];

		if (is_there(t))
			set_policy(t->tid, policy);
		t->window_ran = t->ran_ns;
		t->window_waited = t->waited_ns;
		t->stuck = 0;
	}
	each_thread(add_if_new, s);
}

/* How long all of them have run. */
static uint64_t look_at_all(struct schedule *s)
{
	uint64_t ran_ns = 0;

	for (unsigned i = 0; i < s->count; i++)
		ran_ns += look(&s->threads[i]);
	return ran_ns;
}

/* Whether a thread has not run for so many looks though it wanted to. */
static bool is_stuck(const struct schedule *s, unsigned looks)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->threads[i].stuck >= looks)
			return true;
	return false;
}

static bool is_long(uint64_t waited_ns, uint64_t ran_ns, int64_t window_ns)
{
	return waited_ns * 100 > (uint64_t)window_ns * WAITED_PERCENT && waited_ns > ran_ns * WAITED_TIMES;
}

/* At the end of a window: whether a thread has waited through most of it, and run for next to nothing. On the
 * classic transport they take turns, so that it is all of them together that wait. */
static bool has_waited(struct schedule *s, int64_t window_ns)
{
	uint64_t all_waited_ns = 0, all_ran_ns = 0;
	bool waited = false;

	for (unsigned i = 0; i < s->count; i++) {
		struct answerer *t = &s->threads[i];
		uint64_t ran_ns = t->ran_ns - t->window_ran, waited_ns = t->waited_ns - t->window_waited;

		waited |= is_long(waited_ns, ran_ns, window_ns);
		all_waited_ns += waited_ns;
		all_ran_ns += ran_ns;
		t->window_ran = t->ran_ns;
		t->window_waited = t->waited_ns;
	}
	return waited || is_long(all_waited_ns, all_ran_ns, window_ns);
}

/* ------------------------------------------------------------------ the watch */

/* False: it is time to end. */
static bool rest(struct schedule *s, unsigned ms)
{
	int64_t until_ns = clock_ns() + ms * NS_PER_MS;
	struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
	bool go_on;

	pthread_mutex_lock(&s->lock);
	while (!s->quit && pthread_cond_clockwait(&s->cond, &s->lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
		continue;
	go_on = !s->quit;
	pthread_mutex_unlock(&s->lock);
	return go_on;
}

/* Until requests come in. */
static bool await_requests(struct schedule *s)
{
	unsigned ms = REST_MS;
	int64_t from_ns = clock_ns();

	look_at_all(s);
	while (rest(s, ms)) {
		int64_t at_ns = clock_ns();
		uint64_t ran_ns = look_at_all(s);

		each_thread(add_if_new, s);
		if (ran_ns * 100 > (uint64_t)(at_ns - from_ns) * ACTIVE_PERCENT)
			return true;
		ms = ran_ns > 0 ? REST_MS : ms * 2 > REST_MS_MAX ? REST_MS_MAX : ms * 2;
		from_ns = at_ns;
	}
	return false;
}

/* Part of the time that all of the threads have run, over so many looks; negative: it is time to end. */
static double measure(struct schedule *s, unsigned looks)
{
	int64_t from_ns = clock_ns();
	uint64_t ran_ns = 0;

	look_at_all(s);
	for (unsigned i = 0; i < looks; i++) {
		if (!rest(s, WATCH_MS))
			return -1;
		ran_ns += look_at_all(s);
	}
	return (double)ran_ns / (double)(clock_ns() - from_ns);
}

enum verdict { QUIET, STARVED, END };

/*
 * At SCHED_IDLE for as long as requests come in and are answered. *part is what measure() would tell of the
 * last windows. For the first grace_ms only a thread that gets nothing at all counts as starved.
 */
static enum verdict watch(struct schedule *s, int64_t grace_ms, double *part)
{
	int64_t start_ns = clock_ns(), active_ns = start_ns, at_ns = start_ns;
	int64_t window_ns = start_ns,
		last_window_ns = start_ns; /* the present one's start, and that of the one before */
	uint64_t ran_ns = 0, last_ran_ns = 0, ran;
	bool starved = false;

	set_policies(s, SCHED_IDLE);
	for (unsigned looks = 1; !starved && rest(s, WATCH_MS); looks++) {
		bool in_grace = (at_ns = clock_ns()) - start_ns < grace_ms * NS_PER_MS;

		ran = look_at_all(s);
		ran_ns += ran;
		if (ran > 0)
			active_ns = at_ns;
		starved = is_stuck(s, in_grace ? STUCK_LOOKS_GRACE : STUCK_LOOKS);
		*part = (double)(last_ran_ns + ran_ns) / (double)(at_ns - last_window_ns + 1);
		if (looks % WINDOW_LOOKS == 0) {
			starved |= has_waited(s, at_ns - window_ns) && !in_grace;
			last_window_ns = window_ns;
			last_ran_ns = ran_ns;
			window_ns = at_ns;
			ran_ns = 0;
			each_thread(add_if_new, s);
		}
		if (!starved && at_ns - active_ns > QUIET_MS * NS_PER_MS)
			break;
	}
	set_policies(s, SCHED_OTHER);
	return starved ? STARVED : at_ns - active_ns > QUIET_MS * NS_PER_MS ? QUIET : END;
}

/*
 * Threads also wait where there is simply too much to do. It is SCHED_IDLE that is to blame if they run for
 * more of the time without.
 */
static void *run(void *arg)
{
	struct schedule *s = arg;
	unsigned backoff_ms = BACKOFF_MS;
	int64_t grace_ms = 0;
	double part = 0, part_without;

	while (await_requests(s)) {
		enum verdict verdict;

		for (grace_ms = 0; (verdict = watch(s, grace_ms, &part)) == STARVED; grace_ms = GRACE_MS) {
			part_without = measure(s, WINDOW_LOOKS);
			if (part_without < 0 || part_without > BLAME_TIMES * part)
				break;
		}
		if (verdict == QUIET)
			backoff_ms = BACKOFF_MS;
		if (verdict == STARVED && !rest(s, backoff_ms))
			break;
		if (verdict == STARVED && backoff_ms < BACKOFF_MS_MAX)
			backoff_ms *= 2;
	}
	return NULL;
}

static void free_schedule(struct schedule *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		if (s->threads[i].schedstat_fd >= 0)
			close(s->threads[i].schedstat_fd);
		if (s->threads[i].stat_fd >= 0)
			close(s->threads[i].stat_fd);
	}
	pthread_cond_destroy(&s->cond);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

struct schedule *schedule_start(bool own_session)
{
	struct schedule *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->cond, NULL);
	each_thread(add_if_new, s);
	if (s->count > 0 && may_return()) {
		if (pthread_create(&s->thread, NULL, run, s) == 0) {
			pthread_setname_np(s->thread, "vecfs-schedule");
			return s;
		}
	} else if (s->count > 0 && own_session && is_in_autogroup()) {
		each_thread(make_idle, s);
	}
	free_schedule(s);
	return NULL;
}

void schedule_stop(struct schedule *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->quit = true;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	free_schedule(s);
}
