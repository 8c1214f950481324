/*
 * faultfs - a folder served again at another place, where calls fail as they are told to: what a network file
 * system does that lacks something, has gone away, or has fenced this machine.
 *
 *   faultfs -f [-o hard_remove] FOLDER MOUNTPOINT
 *
 * FAULTFS_RULES names a file that may change at any time. A line "CALL ERROR [PART]" makes such calls fail,
 * if PART is in the path: CALL is one of those below, or "all"; ERROR is EIO, ENOSPC, EOPNOTSUPP, ENOSYS,
 * EINVAL or ENOTCONN. "lose ERROR" takes writes and drops them; syncs then answer 0, and the first close of a
 * descriptor of that opened file the error, as ceph-fuse does whose servers are full. SIGUSR1 drops what the
 * kernel has cached of the files, mapped pages too. FAULTFS_LOG names a file that gets a line "CALL PATH" for
 * each creation, write, allocation and sync.
 *
 * Two of them over one folder are two machines: locks of the one are seen by the other. One that is killed is
 * a machine that has lost its file system, and its locks.
 */
#define FUSE_USE_VERSION 314
#include <fuse.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FILES_MAX 4096

static char folder[PATH_MAX];
static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int lost[FILES_MAX]; /* by descriptor: the error of what has been dropped, not yet told */

/* ------------------------------------------------------------------ what fails */

static int error_of(const char *name)
{
	static const struct {
		const char *name;
		int error;
	} errors[] = {
		{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EOPNOTSUPP", EOPNOTSUPP},
		{"ENOSYS", ENOSYS}, {"EINVAL", EINVAL}, {"ENOTCONN", ENOTCONN},
	};

	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
		if (strcmp(errors[i].name, name) == 0)
			return errors[i].error;
	abort();
}

/* 0, or -errno: what the rules say of a call on a path. */
static int fault(const char *call, const char *path)
{
	const char *rules_path = getenv("FAULTFS_RULES");
	FILE *rules = rules_path ? fopen(rules_path, "re") : NULL;
	char line[256], name[32], error[32], part[64];
	int rc = 0;

	while (rules && !rc && fgets(line, sizeof line, rules)) {
		int words = sscanf(line, "%31s %31s %63s", name, error, part);

		if (words >= 2 && (strcmp(name, call) == 0 || strcmp(name, "all") == 0) &&
		    (words == 2 || strstr(path, part)))
			rc = -error_of(error);
	}
	if (rules)
		fclose(rules);
	return rc;
}

static void note(const char *call, const char *path)
{
	const char *log = getenv("FAULTFS_LOG");
	int fd = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		return;
	pthread_mutex_lock(&log_mutex);
	dprintf(fd, "%s %s\n", call, path);
	pthread_mutex_unlock(&log_mutex);
	close(fd);
}

struct full_path {
	char text[2 * PATH_MAX];
};

static const char *full(const char *path, struct full_path *out)
{
	snprintf(out->text, sizeof out->text, "%s%s", folder, path);
	return out->text;
}

static int result(long rc)
{
	return rc < 0 ? -errno : (int)rc;
}

/* The body of a call on a path: what the rules say, else the same in the folder. */
#define ON_PATH(name, expression)                                                                            \
	do {                                                                                                 \
		struct full_path at;                                                                         \
		const char *there = full(path, &at);                                                         \
		int rc = fault(name, path);                                                                  \
                                                                                                             \
		(void)there;                                                                                 \
		return rc ? rc : result(expression);                                                         \
	} while (0)

/* ------------------------------------------------------------------ names and attributes */

static int ff_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	ON_PATH("getattr", fi ? fstat((int)fi->fh, st) : lstat(there, st));
}

static int ff_mkdir(const char *path, mode_t mode)
{
	note("create", path);
	ON_PATH("mkdir", mkdir(there, mode));
}

static int ff_unlink(const char *path)
{
	ON_PATH("unlink", unlink(there));
}

static int ff_rmdir(const char *path)
{
	ON_PATH("rmdir", rmdir(there));
}

static int ff_rename(const char *path, const char *to, unsigned flags)
{
	struct full_path buf_to;

	note("create", to);
	ON_PATH("rename", renameat2(AT_FDCWD, there, AT_FDCWD, full(to, &buf_to), flags));
}

static int ff_link(const char *path, const char *to)
{
	struct full_path buf_to;

	ON_PATH("link", link(there, full(to, &buf_to)));
}

static int ff_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	(void)fi;
	ON_PATH("chmod", chmod(there, mode));
}

static int ff_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *fi)
{
	(void)fi;
	ON_PATH("chown", lchown(there, uid, gid));
}

static int ff_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *fi)
{
	(void)fi;
	ON_PATH("utimens", utimensat(AT_FDCWD, there, times, AT_SYMLINK_NOFOLLOW));
}

static int ff_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	note("truncate", path);
	ON_PATH("truncate", fi ? ftruncate((int)fi->fh, size) : truncate(there, size));
}

static int ff_statfs(const char *path, struct statvfs *st)
{
	ON_PATH("statfs", statvfs(there, st));
}

static int ff_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off, struct fuse_file_info *fi,
		      enum fuse_readdir_flags flags)
{
	struct full_path there;
	int rc = fault("readdir", path);
	DIR *dir = rc ? NULL : opendir(full(path, &there));
	struct dirent *e;

	(void)off;
	(void)fi;
	(void)flags;
	if (!dir)
		return rc ? rc : -errno;
	while ((e = readdir(dir)))
		fill(buf, e->d_name, NULL, 0, 0);
	closedir(dir);
	return 0;
}

/* ------------------------------------------------------------------ open files */

static int opened(long fd, struct fuse_file_info *fi)
{
	if (fd < 0)
		return -errno;
	fi->fh = (uint64_t)fd;
	if (fd < FILES_MAX)
		lost[fd] = 0;
	return 0;
}

static int ff_open(const char *path, struct fuse_file_info *fi)
{
	struct full_path there;
	int rc = fault("open", path);

	return rc ? rc : opened(open(full(path, &there), fi->flags | O_CLOEXEC), fi);
}

static int ff_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	struct full_path there;
	int rc = fault("create", path);

	note("create", path);
	return rc ? rc : opened(open(full(path, &there), fi->flags | O_CREAT | O_CLOEXEC, mode), fi);
}

static int ff_read(const char *path, char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	ON_PATH("read", pread((int)fi->fh, buf, size, off));
}

/* A file is as long as its client says, whatever it has dropped. */
static int reach(int fd, off_t end)
{
	struct stat st;

	return fstat(fd, &st) || (st.st_size < end && ftruncate(fd, end));
}

static int ff_write(const char *path, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	int dropped = fault("lose", path);

	note("write", path);
	if (dropped && fi->fh < FILES_MAX) {
		lost[fi->fh] = dropped;
		return reach((int)fi->fh, off + (off_t)size) ? -errno : (int)size;
	}
	ON_PATH("write", pwrite((int)fi->fh, buf, size, off));
}

static int ff_fallocate(const char *path, int mode, off_t off, off_t size, struct fuse_file_info *fi)
{
	note("fallocate", path);
	/* Told apart, for there are those that only punch, and those that only allocate. */
	ON_PATH(mode & FALLOC_FL_PUNCH_HOLE ? "punch" : "fallocate", fallocate((int)fi->fh, mode, off, size));
}

static int ff_fsync(const char *path, int data_only, struct fuse_file_info *fi)
{
	note("fsync", path);
	ON_PATH("fsync", data_only ? fdatasync((int)fi->fh) : fsync((int)fi->fh));
}

static int ff_fsyncdir(const char *path, int data_only, struct fuse_file_info *fi)
{
	struct full_path there;
	int rc = fault("fsyncdir", path), fd;

	(void)data_only;
	(void)fi;
	note("fsyncdir", path);
	if (rc)
		return rc;
	fd = open(full(path, &there), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = result(fsync(fd));
	close(fd);
	return rc;
}

/* A descriptor is closed; the opened file may have others. */
static int ff_flush(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	return fi->fh < FILES_MAX ? atomic_exchange(&lost[fi->fh], 0) : 0;
}

static int ff_flock(const char *path, struct fuse_file_info *fi, int operation)
{
	ON_PATH("flock", flock((int)fi->fh, operation));
}

static int ff_release(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	close((int)fi->fh);
	return 0;
}

/* ------------------------------------------------------------------ dropping pages */

static void drop(struct fuse *fuse, const char *path)
{
	struct full_path there, below;
	DIR *dir = opendir(full(path, &there));
	struct dirent *e;

	fuse_invalidate_path(fuse, path); /* -ENOENT: the kernel does not know it */
	while (dir && (e = readdir(dir))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(below.text, sizeof below.text, "%s/%s", strcmp(path, "/") ? path : "", e->d_name);
		drop(fuse, below.text);
	}
	if (dir)
		closedir(dir);
}

static void *wait_for_signals(void *arg)
{
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	while (sigwait(&set, &number) == 0) {
		drop(arg, "/");
		note("dropped", "/");
	}
	return NULL;
}

static void *ff_init(struct fuse_conn_info *conn, struct fuse_config *config)
{
	pthread_t thread;

	(void)conn;
	/* Nothing is remembered: the other machine may have changed it. */
	config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
	config->use_ino = 1;
	if (pthread_create(&thread, NULL, wait_for_signals, fuse_get_context()->fuse) != 0)
		abort();
	pthread_detach(thread);
	return NULL;
}

static const struct fuse_operations operations = {
	.init = ff_init,
	.getattr = ff_getattr,
	.mkdir = ff_mkdir,
	.unlink = ff_unlink,
	.rmdir = ff_rmdir,
	.rename = ff_rename,
	.link = ff_link,
	.chmod = ff_chmod,
	.chown = ff_chown,
	.utimens = ff_utimens,
	.truncate = ff_truncate,
	.statfs = ff_statfs,
	.readdir = ff_readdir,
	.open = ff_open,
	.create = ff_create,
	.read = ff_read,
	.write = ff_write,
	.fallocate = ff_fallocate,
	.fsync = ff_fsync,
	.fsyncdir = ff_fsyncdir,
	.flush = ff_flush,
	.flock = ff_flock,
	.release = ff_release,
};

int main(int argc, char **argv)
{
	sigset_t set;

	if (argc < 4 || !realpath(argv[argc - 2], folder))
		return 2;
	argv[argc - 2] = argv[argc - 1];
	argv[argc - 1] = NULL;
	/* For the thread that waits for it; all others inherit the mask. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return fuse_main(argc - 1, argv, &operations, NULL);
}
