/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/mount/session.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "fs/mount/connection.h"
#include "fs/inode/open_files.h"
#include "fs/request/message.h"
#include "fs/control/filter_table.h"
#include "fs/control/recall_table.h"
#include "fs/control/array_pairing.h"
#include "fs/control/near.h"
#include "fs/mount/mountpoint.h"
#include "fs/mount/park.h"
#include "fs/request/invalidate.h"
#include "fs/inode/inode.h"
#include "fs/tree/file.h"
#include "fs/mount/fuse_ops.h"
#include "fs/mount/schedule.h"
#include "fs/control/result.h"
#include "fs/control/search_session.h"
#include "fs/control/view_table.h"

#ifdef FUSE_URING_REPLIES_FROM_ANY_THREAD
#define LIBFUSE_MENDED "+replies" /* by scripts/setup */
#else
#define LIBFUSE_MENDED ""
#endif
#define SYNC_WAIT_US 1000
#define PLACE_WAIT_MS 2000     /* for another mount at the same place to come to its end */
#define THREADS_MAX 16         /* on the classic transport; io_uring has one a CPU */
#define CHANGES_MAX 16         /* that wait for the disk beside each other, on io_uring */
#define SEARCHES_LESS_URGENT 5 /* in steps of nice(2) */

/* ------------------------------------------------------------------ the transport */

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
static bool kernel_has_io_uring(void)
{
	FILE *f = fopen("/sys/module/fuse/parameters/enable_uring", "re");
	int c = f ? getc(f) : EOF;

	if (f)
		fclose(f);
	return c == 'Y';
}
#endif

/* NULL, or the reason why io_uring cannot be had. */
static const char *io_uring_obstacle(void)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	return kernel_has_io_uring() ? NULL : "/sys/module/fuse/parameters/enable_uring is not Y";
#else
	return "this libfuse is older than 3.18";
#endif
}

/* ------------------------------------------------------------------ the session */

/* fsname must not have the comma that separates options. */
static int add_fsname(struct fuse_args *args, const char *store_dir)
{
	char option[PATH_MAX * 2];
	size_t used = (size_t)snprintf(option, sizeof option, "fsname=");

	for (const char *p = store_dir; *p && used + 3 < sizeof option; p++) {
		if (*p == ',' || *p == '\\')
			option[used++] = '\\';
		option[used++] = *p;
	}
	option[used] = '\0';
	return fuse_opt_add_arg(args, "-o") || fuse_opt_add_arg(args, option);
}

/*
 * Those of mount(2) as libfuse spells them. Its own default is nosuid,nodev; an ordinary user may not ask
 * against that, and fusermount3 would only grumble.
 */
static int add_flags(const struct mount_options *options, struct fuse_args *args)
{
	static const struct {
		unsigned long flag;
		const char *set, *clear;
	} words[] = {
		{MS_NOSUID, "-onosuid", "-osuid"},     {MS_NODEV, "-onodev", "-odev"},
		{MS_NOEXEC, "-onoexec", NULL},         {MS_NOATIME, "-onoatime", NULL},
		{MS_NODIRATIME, "-onodiratime", NULL}, {MS_NOSYMFOLLOW, "-onosymfollow", NULL},
	};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (options->flags_set & words[i].flag && fuse_opt_add_arg(args, words[i].set))
			return -1;
		if (options->flags_cleared & words[i].flag && words[i].clear && geteuid() == 0 &&
		    fuse_opt_add_arg(args, words[i].clear))
			return -1;
	}
	return 0;
}

/* A ring has so many requests of its CPU, parked ones included. More than libfuse's 8 only where they are
 * parked: one that is not used takes no memory. */
static int add_depth(struct fuse_args *args)
{
	return *LIBFUSE_MENDED ? fuse_opt_add_arg(args, "-oio_uring_q_depth=32") : 0;
}

static int add_arguments(const struct mount *s, bool io_uring, struct fuse_args *args)
{
	const struct mount_options *options = &s->options;

	/*
	 * Without allow_other only the mounting user gets in at all, and root passes every check: to make
	 * them would only cost a GETATTR of the directory after each change in it.
	 */
	bool checked = options->allow_other || geteuid() != 0;

	return fuse_opt_add_arg(args, "vecfs") || add_fsname(args, s->store_dir) ||
	       fuse_opt_add_arg(args, "-osubtype=vecfs") ||
	       (checked && fuse_opt_add_arg(args, "-odefault_permissions")) ||
	       (options->read_only && fuse_opt_add_arg(args, "-oro")) ||
	       (options->allow_other && fuse_opt_add_arg(args, "-oallow_other")) ||
	       (options->debug && fuse_opt_add_arg(args, "-odebug")) || add_flags(options, args) ||
	       (io_uring && (fuse_opt_add_arg(args, "-oio_uring") || add_depth(args)));
}

__attribute__((format(printf, 2, 0))) static void log_fuse(enum fuse_log_level level, const char *format,
							   va_list args)
{
	char line[512];
	size_t len;

	vsnprintf(line, sizeof line, format, args);
	len = strlen(line);
	if (len && line[len - 1] == '\n')
		line[len - 1] = '\0';
	if (level >= FUSE_LOG_DEBUG)
		fprintf(stderr, "%s\n", line); /* every request: not for the log */
	else
		message(level <= FUSE_LOG_ERR ? VS_ERROR : VS_INFO, "%s", line);
}

static int new_session(struct mount *s, bool io_uring)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	int rc = add_arguments(s, io_uring, &args) ? -ENOMEM : 0;

	if (!rc) {
		fuse_set_log_func(log_fuse);
		s->session = fuse_session_new(&args, &ops_table, sizeof ops_table, s);
		rc = s->session ? 0 : -EINVAL;
	}
	fuse_opt_free_args(&args);
	return rc;
}

/* The root directory of the mount belongs to whom the store belongs to, if it was never given away. */
static int find_root(struct mount *s)
{
	struct stat st;

	if (stat(s->store_dir, &st))
		return -errno;
	s->started = vs_time_now();
	s->root_perm = (struct vs_perm){0755, st.st_uid, st.st_gid};
	return 0;
}

static int prepare(struct mount *s, const char *mountpoint)
{
	s->store_dir = realpath(s->options.store_dir, NULL);
	s->mountpoint = realpath(mountpoint, NULL);
	if (!s->store_dir || !s->mountpoint)
		return -errno;
	s->inodes = inode_table_new();
	s->pairings = pairing_table_new();
	s->results = result_table_new();
	s->near = near_table_new();
	s->sessions = session_table_new();
	s->views = view_table_new();
	s->recalls = recall_table_new();
	s->filters = filter_table_new();
	s->searches = park_new(park_cpus(), SEARCHES_LESS_URGENT);
	s->changes = park_new(CHANGES_MAX, 0);
	if (!s->inodes || !s->pairings || !s->results || !s->near || !s->sessions || !s->views ||
	    !s->recalls || !s->filters || !s->searches || !s->changes)
		return -ENOMEM;
	return find_root(s);
}

/*
 * Of two that mount at one place the second is told, though both have found it free: who mounts holds the
 * lock of the directory that is to be covered. Where there is no such lock, or a stranger keeps it, one goes
 * on without.
 */
static int lock_place(const char *mountpoint)
{
	static const struct timespec moment = {.tv_nsec = 1000000};
	int fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (int ms = 0; fd >= 0 && ms < PLACE_WAIT_MS; ms++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
			break;
		nanosleep(&moment, NULL);
	}
	return fd;
}

static int mount_session(struct mount *s, char *why, size_t why_size)
{
	int place_fd = lock_place(s->mountpoint), rc = 0;
	struct mountpoint *other = malloc(sizeof *other);

	if (!other) {
		rc = -ENOMEM;
		snprintf(why, why_size, "%s", strerror(ENOMEM));
	} else if (mountpoint_at(s->mountpoint, other) == 0) {
		rc = -EBUSY;
		snprintf(why, why_size, "%s is mounted here already", other->store);
	} else if (fuse_session_mount(s->session, s->mountpoint)) {
		rc = -EIO;
		snprintf(why, why_size, "cannot mount (see the line before)");
	}
	s->mounted = rc == 0;
	if (place_fd >= 0)
		close(place_fd);
	free(other);
	return rc;
}

static void find_connection(struct mount *s)
{
	struct mountpoint m;

	if (mountpoint_at(s->mountpoint, &m) != 0)
		return;
	s->connection = connection_open(m.minor);
	connection_read_ahead(m.minor);
}

/* Whether fusermount3 lets ordinary users have allow_other. */
static bool others_may_be_allowed(void)
{
	FILE *f = fopen("/etc/fuse.conf", "re");
	char line[256];
	bool allowed = false;

	while (f && !allowed && fgets(line, sizeof line, f)) {
		line[strcspn(line, " \t\r\n")] = 0;
		allowed = strcmp(line, "user_allow_other") == 0;
	}
	if (f)
		fclose(f);
	return allowed;
}

int session_check(const struct mount_options *options, char *why, size_t why_size)
{
	const char *obstacle = options->io_uring == SERVE_IO_URING_ON ? io_uring_obstacle() : NULL;

	if (obstacle) {
		snprintf(why, why_size, "io_uring=on: %s", obstacle);
		return -EOPNOTSUPP;
	}
	if (options->allow_other && geteuid() != 0 && !others_may_be_allowed()) {
		snprintf(why, why_size,
			 "allow_other: /etc/fuse.conf has no line user_allow_other, which users need for it");
		return -EPERM;
	}
	return 0;
}

int session_start(struct vs_store *store, const char *mountpoint, const struct mount_options *options,
		  struct mount **out, char *why, size_t why_size)
{
	const char *obstacle = options->io_uring == SERVE_IO_URING_OFF ? "io_uring=off" : io_uring_obstacle();
	struct mount *s;
	int rc;

	*out = NULL;
	s = calloc(1, sizeof *s);
	if (!s) {
		snprintf(why, why_size, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	s->store = store;
	s->connection = -1;
	s->options = *options;
	s->node_ops = ops_node_tables;
	rc = prepare(s, mountpoint);
	if (!rc)
		result_remove_abandoned(s);
	if (!rc)
		rc = new_session(s, !obstacle);
	if (rc)
		snprintf(why, why_size, "%s", strerror(-rc));
	if (!rc)
		rc = mount_session(s, why, why_size);
	if (rc) {
		session_end(s);
		return rc;
	}
	find_connection(s);
	*out = s;
	return 0;
}

/* A session of its own in the background; in the foreground a service manager has put it into a cgroup. */
static bool has_group_of_its_own(const struct mount *s)
{
	return !s->options.foreground || getenv("INVOCATION_ID");
}

/* For the thread that has seen the first request answered: tells of the transport, and calls ready. */
static void answering(struct mount *s)
{
	bool io_uring = atomic_load(&s->transport) == SERVE_TRANSPORT_IO_URING;

	if (s->options.io_uring == SERVE_IO_URING_ON && !io_uring) {
		message(VS_ERROR, "io_uring=on: the kernel or libfuse did not start it");
		atomic_store(&s->failed, true);
		fuse_session_exit(s->session);
		return;
	}
	message(VS_INFO, "serving %s at %s (libfuse %s" LIBFUSE_MENDED ", %s)", s->store_dir, s->mountpoint,
		fuse_pkgversion(), io_uring ? "io_uring" : "/dev/fuse");
	s->ready(s->ready_arg);
	if (has_group_of_its_own(s))
		s->schedule = schedule_start(!s->options.foreground || getsid(0) == getpid());
}

/*
 * Whether somebody has unmounted it. A thread that was just taking a request then (the release of what was
 * closed before) reads ECONNABORTED, as if the connection had been aborted, rather than ENODEV.
 */
static bool is_gone(const struct mount *s)
{
	struct mountpoint m;

	return mountpoint_at(s->mountpoint, &m) == -ENOENT;
}

static const struct notify_duties duties = {
	.answering = answering,
	.housekeep = pairing_sweep,
	.settle = file_settle_paused,
};

int session_loop(struct mount *s, void (*ready)(void *arg), void *arg)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int rc;

	s->ready = ready;
	s->ready_arg = arg;
	rc = config ? 0 : -ENOMEM;
	if (!rc && fuse_set_signal_handlers(s->session))
		rc = -EINVAL;
	if (!rc && !(s->notify = notify_start(s, &duties))) {
		fuse_remove_signal_handlers(s->session);
		rc = -ENOMEM;
	}
	if (rc) { /* no thread has been started that session_end() would wait for */
		if (config)
			fuse_loop_cfg_destroy(config);
		return rc;
	}
	fuse_loop_cfg_set_clone_fd(config, 1);
	fuse_loop_cfg_set_max_threads(config, THREADS_MAX);
	rc = fuse_session_loop_mt(s->session, config);
	fuse_remove_signal_handlers(s->session);
	fuse_loop_cfg_destroy(config);
	notify_quit(s->notify);
	if (atomic_load(&s->failed))
		return -EOPNOTSUPP;
	if (rc == -ECONNABORTED && is_gone(s))
		rc = 0;
	return rc < 0 ? rc : 0; /* above 0: the signal */
}

void session_end(struct mount *s)
{
	if (!s)
		return;
	/* In this order: libfuse leaves an aborted mount where it is. */
	if (s->mounted)
		fuse_session_unmount(s->session);
	if (s->connection >= 0) {
		connection_abort(s->connection);
		close(s->connection);
	}
	while (atomic_load(&s->syncs)) /* the engine is at it */
		usleep(SYNC_WAIT_US);
	park_free(s->searches);
	park_free(s->changes);
	open_files_release_all(s);
	if (s->notify)
		notify_end(s->notify);
	schedule_stop(s->schedule); /* it was the invalidation thread that has started it */
	if (s->session)
		fuse_session_destroy(s->session);
	inode_table_free(s->inodes);
	pairing_table_free(s->pairings);
	result_table_free(s->results);
	near_table_free(s->near);
	session_table_free(s->sessions);
	view_table_free(s->views);
	recall_table_free(s->recalls);
	filter_table_free(s->filters);
	free(s->store_dir);
	free(s->mountpoint);
	free(s);
}
