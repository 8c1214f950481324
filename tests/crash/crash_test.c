/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crash_test - crashes seeded workloads at every change they make to the disk, or at a sample of these, and
 * verifies what is left. Runs in several processes, so that an engine that aborts or hangs is a failure like
 * another; each prints the command that repeats it.
 *
 * The engine writes from threads of its own: the same seed makes the same operations and the same faults, but
 * a crash may fall on another call. --repeat tries again.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/crash/round.h"

#define JOBS_MAX 256
#define POINTS_PER_SEED 64   /* more seeds find more than more points of one seed */
#define HANG_SECONDS 30      /* nothing has come of it, and no thread of it wants a CPU: a hang ... */
#define HANG_SECONDS_MAX 600 /* ... or for so long, whatever it wants */
#define LOOK_US 50000
#define SECONDS 20
#define SECONDS_SANITIZED 5  /* it is to find wrong accesses, of which each seed has all */
#define FAILURES_MAX 10      /* then a job gives up */
#define WORKLOADS_A_DISK 200 /* whose files keep the memory that each has ever had: 9 GB after 5,000 */

/* What has failed once is tried first, as long as the workloads of these seeds are what they were. */
static const struct {
	uint64_t seed, crash;
} once_failed[] = {
	{9000247, 83},   /* a linked file whose first name was gone with its directory */
	{9000792, 69},   /* a batch had deleted the last vector, and the vacuum did not come: */
	{21000117, 134}, /* the schema stayed fixed */
	{31000019, 314}, /* a catalog that was read from the page cache was gone, the other one torn */
};

struct options {
	uint64_t first_seed, seeds; /* seeds 0: until the time is over */
	double seconds;
	unsigned jobs, repeat;
	bool one_point;
	uint64_t crash;
	bool verbose;
};

/* What a job has done, visible to its parent also when it dies. */
struct progress {
	uint64_t passed, failed, crashes, seeds;
	uint64_t seed, crash;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void print_failure(const struct progress *p, const char *what)
{
	printf("FAILED: %s\n  repeat: %s --first-seed %" PRIu64 " --seeds 1 --crash %" PRIu64
	       " --repeat 100 --verbose\n",
	       what, program_invocation_name, p->seed, p->crash);
	fflush(stdout);
}

static bool try_point(struct round *r, struct progress *p, uint64_t seed, uint64_t crash)
{
	struct round_plan plan;
	bool well;

	p->seed = seed;
	p->crash = crash;
	round_plan_init(&plan, seed, crash);
	well = round_run(r, &plan);
	p->crashes += r->crashes;
	if (well) {
		p->passed++;
	} else {
		p->failed++;
		print_failure(p, r->failure);
	}
	return well;
}

static void run_seed(struct round *r, struct progress *p, uint64_t seed, double end)
{
	uint64_t changes, points;
	struct rng rng = rng_of(seed, 4);

	if (!try_point(r, p, seed, 0))
		return;
	changes = r->changes;
	points = changes < POINTS_PER_SEED ? changes : POINTS_PER_SEED;
	for (uint64_t i = 0; i < points && now() < end; i++) {
		/* One point from each of as many equal stretches: all of them where they are few. */
		uint64_t from = i * changes / points, to = (i + 1) * changes / points;

		if (!try_point(r, p, seed, 1 + from + rng_below(&rng, to - from)))
			return;
	}
}

static void begin_rounds(struct round *r, const struct options *o)
{
	round_init(r);
	r->verbose = o->verbose;
	if (o->verbose)
		simdisk_trace(r->disk, stderr);
}

static void run_job(const struct options *o, unsigned job, struct progress *p)
{
	struct round r;
	double end = o->seconds > 0 ? now() + o->seconds : 1e300;

	begin_rounds(&r, o);
	for (size_t i = job; !o->seeds && i < sizeof once_failed / sizeof *once_failed; i += o->jobs)
		try_point(&r, p, once_failed[i].seed, once_failed[i].crash);
	for (uint64_t i = job; !o->seeds || i < o->seeds; i += o->jobs) {
		if (now() >= end || p->failed >= FAILURES_MAX)
			break;
		if (p->seeds && p->seeds % WORKLOADS_A_DISK == 0) {
			round_free(&r);
			begin_rounds(&r, o);
		}
		for (unsigned n = 0; o->one_point && n < o->repeat; n++)
			if (!try_point(&r, p, o->first_seed + i, o->crash))
				break;
		if (!o->one_point)
			run_seed(&r, p, o->first_seed + i, end);
		p->seeds++;
	}
	round_free(&r);
}

static void job_ended(int status, struct progress *p)
{
	char what[128];

	if (!status)
		return;
	p->failed++;
	snprintf(what, sizeof what, "%s", WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "ended early");
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		snprintf(what, sizeof what, "hangs for %d s", HANG_SECONDS);
	print_failure(p, what);
}

/* Whether it waits for a CPU that others have, or has been stopped: who is slow does not hang. */
static bool is_kept_waiting(pid_t pid)
{
	char path[64], text[512];
	bool kept = false;
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (dir && !kept && (entry = readdir(dir))) {
		FILE *f;
		const char *state = NULL;

		snprintf(path, sizeof path, "/proc/%d/task/%.16s/stat", (int)pid, entry->d_name);
		f = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (f && fgets(text, sizeof text, f))
			state = strrchr(text, ')');
		kept = state && strchr("RTt", state[2]);
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return kept;
}

/* A job, as its parent sees it. */
struct job {
	pid_t pid; /* 0: ended */
	uint64_t points;
	double since; /* it has done so many points */
};

/* False: it has ended. Who hangs is killed, and ends later. */
static bool look_after(struct job *j, struct progress *p)
{
	uint64_t points = p->passed + p->failed;
	double seconds;
	int status;

	if (waitpid(j->pid, &status, WNOHANG) == j->pid) {
		job_ended(status, p);
		j->pid = 0;
		return false;
	}
	if (points != j->points) {
		j->points = points;
		j->since = now();
	}
	seconds = now() - j->since;
	if (seconds > HANG_SECONDS_MAX || (seconds > HANG_SECONDS && !is_kept_waiting(j->pid)))
		kill(j->pid, SIGALRM);
	return true;
}

static void await_all(struct job *jobs, unsigned count, struct progress *all)
{
	unsigned running;

	do {
		running = 0;
		for (unsigned i = 0; i < count; i++)
			running += jobs[i].pid && look_after(&jobs[i], &all[i]);
		if (running)
			usleep(LOOK_US);
	} while (running);
}

static int run_jobs(const struct options *o)
{
	struct progress *all =
		mmap(NULL, JOBS_MAX * sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct progress sum = {0};
	struct job jobs[JOBS_MAX];
	double start = now();

	if (all == MAP_FAILED)
		return 2;
	for (unsigned i = 0; i < o->jobs; i++) {
		jobs[i] = (struct job){.pid = fork(), .since = start};
		if (jobs[i].pid < 0)
			return 2;
		if (!jobs[i].pid) {
			run_job(o, i, &all[i]);
			exit(0);
		}
	}
	await_all(jobs, o->jobs, all);
	for (unsigned i = 0; i < o->jobs; i++) {
		sum.passed += all[i].passed;
		sum.failed += all[i].failed;
		sum.crashes += all[i].crashes;
		sum.seeds += all[i].seeds;
	}
	printf("%" PRIu64 " workloads, %" PRIu64 " crashes with those in recoveries, %.0f crash points/s\n",
	       sum.seeds, sum.crashes, (double)(sum.passed + sum.failed) / (now() - start));
	printf("%" PRIu64 " passed, %" PRIu64 " failed\n", sum.passed, sum.failed);
	munmap(all, JOBS_MAX * sizeof *all);
	return sum.failed != 0;
}

static int usage(int status)
{
	fputs("usage: crash_test [--seeds N] [--seconds S] [--jobs J] [--first-seed X] [--crash K]\n"
	      "                  [--repeat N] [--verbose]\n"
	      "  --seeds N       as many workloads (default: until the time is over)\n"
	      "  --seconds S     as long (default 20, instrumented 5; with --seeds until they are done)\n"
	      "  --jobs J        processes at once (default: one for each CPU)\n"
	      "  --first-seed X  the first workload's seed; the others count up from it (default 1)\n"
	      "  --crash K       only this crash point of each workload\n"
	      "  --repeat N      try the crash point up to N times\n"
	      "  --verbose       print each operation and each call of the disk\n",
	      status ? stderr : stdout);
	return status;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"seeds", required_argument, NULL, 'n'},
		{"seconds", required_argument, NULL, 's'},
		{"jobs", required_argument, NULL, 'j'},
		{"first-seed", required_argument, NULL, 'f'},
		{"crash", required_argument, NULL, 'c'},
		{"repeat", required_argument, NULL, 'r'},
		{"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct options o = {.first_seed = 1, .seconds = -1, .repeat = 1};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'n')
			o.seeds = strtoull(optarg, NULL, 10);
		else if (c == 's')
			o.seconds = strtod(optarg, NULL);
		else if (c == 'j')
			o.jobs = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'f')
			o.first_seed = strtoull(optarg, NULL, 10);
		else if (c == 'r')
			o.repeat = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'v')
			o.verbose = true;
		else if (c == 'c')
			o.one_point = true, o.crash = strtoull(optarg, NULL, 10);
		else
			return usage(c == 'h' ? 0 : 2);
	}
	if (optind != argc)
		return usage(2);
	if (o.seconds < 0)
		o.seconds = o.seeds ? 0 : getenv("VECFS_SANITIZED") ? SECONDS_SANITIZED : SECONDS;
	if (!o.jobs)
		o.jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	if (o.jobs > JOBS_MAX)
		o.jobs = JOBS_MAX;
	/* A single workload has nothing to share out. */
	if (o.seeds && o.jobs > o.seeds)
		o.jobs = (unsigned)o.seeds;
	return run_jobs(&o);
}
