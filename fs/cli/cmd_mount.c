/* SPDX-License-Identifier: Apache-2.0 */
/* vecfs mount - serves a store until it is unmounted or told to end. */
#include <errno.h>
#include <execinfo.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/mount/background.h"
#include "fs/cli/command.h"
#include "fs/mount/watchdog.h"
#include "fs/cli/interrupt.h"
#include "fs/request/message.h"
#include "fs/mount/options.h"
#include "fs/mount/mountpoint.h"
#include "fs/mount/sd_notify.h"
#include "fs/cli/standby.h"
#include "fs/mount/session.h"
#include "store/store.h"

#define SEGMENT_FILES_MAX 16384u
#define WHY_BYTES 512

static const char help[] =
	"usage: vecfs mount [-f] [-o OPTION[,OPTION...]] STORE MOUNTPOINT\n\n"
	"Serves the store in directory STORE as a file system at MOUNTPOINT. STORE is created if it is\n"
	"missing or empty. Returns when the mount serves, and leaves a process in the background.\n\n"
	"  -f, --foreground   stay in the foreground, with messages on standard error\n"
	"  -o OPTIONS         ro               refuse every change\n"
	"                     sync             every close of a vector makes it durable\n"
	"                     commit=MS        longest time a write may stay volatile (default 5)\n"
	"                     allow_other      let other users in\n"
	"                     standby          while another process has STORE, wait for it; then serve\n"
	"                     io_uring=auto|on|off\n"
	"                                      the transport (default auto)\n"
	"                     noexec, nosuid, nodev, noatime, nodiratime, nosymfollow\n"
	"                                      for the kernel; user implies the first three\n"
	"                     and what fstab(5) has for mount(8): nofail, _netdev, noauto, x-*\n"
	"  -d, --debug        print every request; implies -f\n"
	"  -h, --help         show this text\n\n"
	"In /etc/fstab:  STORE MOUNTPOINT fuse.vecfs defaults,nofail 0 0\n";

static int run(int argc, char **argv);
const struct command command_mount = {"mount", "serve a store as a file system", help, run};

struct job {
	char store[PATH_MAX]; /* both absolute: the background process lives in / */
	char mountpoint[PATH_MAX];
	struct mount_options options;
	int guard;
	bool detached; /* in the background, and whoever started it has been told */
};

static void detach(struct job *job)
{
	if (job->options.foreground || job->detached)
		return;
	background_ready();
	message_init(false);
	job->detached = true;
}

__attribute__((format(printf, 1, 2))) static void tell_manager(const char *format, ...)
{
	char text[2 * PATH_MAX + WHY_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	sd_notify_tell(text);
}

static void on_ready(void *arg)
{
	struct job *job = arg;

	tell_manager("READY=1\nSTATUS=serving %s at %s", job->store, job->mountpoint);
	detach(job);
}

/* It does what it was started for: whoever waits for that need not wait any longer. */
static void on_standby(void *arg, const char *why)
{
	struct job *job = arg;

	message(VS_INFO, "standing by for %s at %s: %s", job->store, job->mountpoint, why);
	tell_manager("READY=1\nSTATUS=standing by for %s: %s", job->store, why);
	detach(job);
}

static int session_store(struct vs_store *store, struct job *job)
{
	struct mount *serve;
	char why[WHY_BYTES] = "";
	int rc = session_start(store, job->mountpoint, &job->options, &serve, why, sizeof why);

	if (rc != 0) {
		message(VS_ERROR, "%s: %s", job->mountpoint, *why ? why : strerror(-rc));
		return rc;
	}
	watchdog_watch(job->guard, serve->connection);
	rc = session_loop(serve, on_ready, job);
	sd_notify_tell("STOPPING=1");
	if (rc != 0)
		message(VS_ERROR, "%s: %s", job->mountpoint, strerror(-rc));
	/* Before mount(8) or fusermount3 is run to end it. A read-only store has nothing to make durable;
	 * that of a poisoned one fails, and was reported. */
	if (!job->options.read_only && vs_checkpoint(store) != 0)
		rc = -EIO;
	session_end(serve);
	watchdog_end(job->guard);
	return rc;
}

/*
 * Raises the limit of descriptors as far as it goes, and says how many of them the store may keep for its
 * segments: the rest are for requests, uploads and the connection.
 */
static unsigned segment_files(void)
{
	struct rlimit limit;
	void *frame;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 0;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	getrlimit(RLIMIT_NOFILE, &limit);
	/* What ends a thread is in a library that is loaded when it is first used, which may be when there
	 * are none left. */
	backtrace(&frame, 1);
	if (limit.rlim_cur >= 2 * SEGMENT_FILES_MAX)
		return SEGMENT_FILES_MAX;
	return limit.rlim_cur / 2 ? (unsigned)(limit.rlim_cur / 2) : 1;
}

/* 0; also if a signal has ended the wait of a standby, in which case *out is NULL. */
static int open_store(struct job *job, struct vs_store **out)
{
	struct standby standby = {.store = job->store, .begun = on_standby, .arg = job};
	struct vs_options options = {
		.files_max = segment_files(),
		.read_only = job->options.read_only,
		.commit_ms = job->options.commit_ms,
		.report = message_report,
		.wait = job->options.standby ? standby_wait : NULL,
		.wait_arg = &standby,
	};
	char why[WHY_BYTES] = "";
	int rc = vs_open(job->store, &options, out, why, sizeof why);

	if (standby_end(&standby) && (rc == 0 || rc == -EBUSY)) {
		rc = rc == 0 ? vs_close(*out) : 0;
		*out = NULL;
		return rc;
	}
	if (rc != 0)
		message(VS_ERROR, "%s: %s", job->store, *why ? why : strerror(-rc));
	return rc;
}

static int run_job(struct job *job)
{
	struct vs_store *store;
	int rc, closed;

	interrupt_ignore_others();
	job->guard = watchdog_start(); /* before there is anything to copy */
	rc = open_store(job, &store);
	if (rc != 0 || !store)
		return rc == 0 ? COMMAND_OK : COMMAND_FAILED;
	rc = session_store(store, job);
	closed = vs_close(store);
	if (closed != 0)
		message(VS_ERROR, "%s: not closed cleanly: %s", job->store, strerror(-closed));
	return rc == 0 && closed == 0 ? COMMAND_OK : COMMAND_FAILED;
}

/* A daemon that was killed leaves a mount behind that answers nothing. */
static int clear_stale(const char *path)
{
	int rc;

	if (!mountpoint_is_stale(path))
		return 0;
	rc = mountpoint_unmount(path, true);
	if (rc != 0 || mountpoint_is_stale(path)) {
		message(VS_ERROR,
			"%s: a dead mount is in the way: run `fusermount3 -uz %s`, or as root "
			"`umount -l %s`",
			path, path, path);
		return rc != 0 ? rc : -EBUSY;
	}
	message(VS_WARNING, "%s: cleared a mount whose daemon had died", path);
	return 0;
}

static int prepare_mountpoint(const char *path, struct job *job)
{
	struct mountpoint other;
	struct stat st;
	int rc = mountpoint_resolve(path, job->mountpoint);

	if (rc == 0 && (rc = clear_stale(job->mountpoint)) != 0)
		return rc;
	if (rc == 0 && stat(job->mountpoint, &st) != 0)
		rc = -errno;
	if (rc == 0 && !S_ISDIR(st.st_mode))
		rc = -ENOTDIR;
	if (rc == -ENOENT)
		message(VS_ERROR, "%s: no such directory to mount at: make it first", path);
	else if (rc != 0)
		message(VS_ERROR, "%s: %s", path, strerror(-rc));
	else if (mountpoint_at(job->mountpoint, &other) == 0) {
		message(VS_ERROR, "%s: %s is mounted here already", job->mountpoint, other.store);
		rc = -EBUSY;
	}
	return rc;
}

/* The store need not exist yet; what leads to it must. */
static int prepare_store(const char *path, struct job *job)
{
	struct stat st;
	int rc = mountpoint_resolve(path, job->store);

	if (rc == 0 && stat(job->store, &st) == 0 && !S_ISDIR(st.st_mode))
		rc = -ENOTDIR;
	if (rc != 0) {
		message(VS_ERROR, "%s: %s", path, strerror(-rc));
		return rc;
	}
	/* The daemon would wait for itself. */
	if (mountpoint_contains(job->store, job->mountpoint) ||
	    mountpoint_contains(job->mountpoint, job->store)) {
		message(VS_ERROR, "%s: store and mountpoint must not lie one in the other", job->mountpoint);
		return -EINVAL;
	}
	return 0;
}

static int mount_store(const char *store, const char *mountpoint, const struct mount_options *options)
{
	static struct job job; /* outlives this call: the ready callback comes from another thread */
	char why[WHY_BYTES];
	int rc;

	if (options->standby && options->read_only) {
		message(VS_ERROR, "mount: standby,ro: a standby is to write");
		return COMMAND_FAILED;
	}
	if (session_check(options, why, sizeof why) != 0) {
		message(VS_ERROR, "mount: %s", why);
		return COMMAND_FAILED;
	}
	job.options = *options;
	if (prepare_mountpoint(mountpoint, &job) != 0 || prepare_store(store, &job) != 0)
		return COMMAND_FAILED;
	job.options.store_dir = job.store;
	rc = job.options.foreground ? 0 : background_start();
	if (rc != 0) {
		message(VS_ERROR, "mount: cannot go to the background: %s", strerror(-rc));
		return COMMAND_FAILED;
	}
	if (chdir("/") != 0)
		message(VS_WARNING, "/: %s", strerror(errno));
	return run_job(&job);
}

static int add_options(const char *list, struct mount_options *options)
{
	char why[WHY_BYTES];

	return mountopt_parse(list, options, why, sizeof why) == 0
		       ? COMMAND_OK
		       : command_misused(&command_mount, "%s", why);
}

/* What both option loops have in common; CONTINUE: go on. */
#define CONTINUE (-1)
static int take_option(int answer, char **argv, struct mount_options *options)
{
	int rc;

	switch (answer) {
	case 'o':
		rc = add_options(optarg, options);
		return rc == COMMAND_OK ? CONTINUE : rc;
	case 'h':
		return command_help(&command_mount);
	default:
		return command_bad_option(&command_mount, answer, argv);
	}
}

static int run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"foreground", no_argument, NULL, 'f'},
		{"debug", no_argument, NULL, 'd'},
		{"options", required_argument, NULL, 'o'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct mount_options options = {.commit_ms = MOUNTOPT_COMMIT_MS};
	int answer, rc = CONTINUE;

	while (rc == CONTINUE && (answer = getopt_long(argc, argv, ":fdo:h", longs, NULL)) != -1) {
		if (answer == 'd')
			options.debug = options.foreground = true;
		else if (answer == 'f')
			options.foreground = true;
		else
			rc = take_option(answer, argv, &options);
	}
	if (rc != CONTINUE)
		return rc;
	if (argc - optind != 2)
		return command_misused(&command_mount, "want STORE and MOUNTPOINT");
	return mount_store(argv[optind], argv[optind + 1], &options);
}

int command_mount_helper(int argc, char **argv)
{
	struct mount_options options = {.commit_ms = MOUNTOPT_COMMIT_MS};
	bool fake = false;
	int answer, rc = CONTINUE;

	while (rc == CONTINUE && (answer = getopt(argc, argv, ":sfnvN:t:o:h")) != -1) {
		switch (answer) {
		case 's': /* tolerate unknown options: we do not, lest a mistyped one is lost */
		case 'n': /* no mtab: there is none any more */
		case 'v':
		case 'N': /* the namespace: mount(8) has entered it */
		case 't':
			break;
		case 'f':
			fake = true;
			break;
		default:
			rc = take_option(answer, argv, &options);
		}
	}
	if (rc != CONTINUE)
		return rc;
	if (argc - optind != 2)
		return command_misused(&command_mount, "want STORE and MOUNTPOINT");
	return fake ? COMMAND_OK : mount_store(argv[optind], argv[optind + 1], &options);
}
