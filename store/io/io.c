/* SPDX-License-Identifier: Apache-2.0 */
#include "store/io/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "store/io/guard.h"

#define WIDTH_OF_SERVERS 16u
#define OPEN_TRIES 100

struct real {
	struct io io;
	int root; /* descriptor of the store's directory */
};

static int root_of(struct io *io)
{
	return ((struct real *)io)->root;
}

/*
 * What a network file system says when it has gone away, or has shut this machine out. It is no more than an
 * error of the disk here: for who uses our mount such an error would mean that we are gone.
 */
static bool is_gone(int error)
{
	return error == ENOTCONN || error == ESHUTDOWN || error == ECONNABORTED || error == ESTALE ||
	       error == ETIMEDOUT || error == EHOSTDOWN || error == EHOSTUNREACH;
}

static int last_error(void)
{
	return is_gone(errno) ? -EIO : -errno;
}

static int result(long rc)
{
	return rc < 0 ? last_error() : (int)rc;
}

/*
 * Of what makes a file longer: where it may not be (ulimit -f, or the file system's own limit), there is no
 * space, and all is done that is done without space.
 */
static int space_error(void)
{
	return errno == EFBIG ? -ENOSPC : last_error();
}

/* What is allocated beyond a file's size is not measured by its limit until it is written: too late for an
 * error code. */
static bool may_reach(uint64_t end)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) != 0 || end <= limit.rlim_cur;
}

/* Segments that others may read are nobody's to write (0444), their owner's neither: but for us, if that is
 * who we are. */
static int open_protected(int root, const char *path, int flags)
{
	struct stat st;
	int fd = -1;

	errno = EACCES;
	/* One that may be written now is another thread's, which is at the same and will soon be done. */
	for (int i = 0; fd < 0 && errno == EACCES && i < OPEN_TRIES; i++) {
		if (fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode) ||
		    (!(st.st_mode & S_IWUSR) && fchmodat(root, path, st.st_mode | S_IWUSR, 0))) {
			errno = EACCES;
			return -1;
		}
		fd = openat(root, path, flags);
	}
	if (fd >= 0 && !(st.st_mode & S_IWUSR))
		fchmod(fd, st.st_mode & 07777);
	return fd;
}

static int real_open(struct io *io, const char *path, int flags, mode_t mode)
{
	int fd;

	if (io->read_only && (flags & (O_ACCMODE | O_CREAT)) != O_RDONLY)
		return -EROFS;
	flags |= O_CLOEXEC | O_NOFOLLOW;
	fd = openat(root_of(io), path, flags, mode);
	if (fd < 0 && errno == EACCES && (flags & O_ACCMODE) != O_RDONLY)
		fd = open_protected(root_of(io), path, flags & ~(O_CREAT | O_EXCL));
	return result(fd);
}

static int real_close(struct io *io, int fd)
{
	(void)io;
	return result(close(fd));
}

static ssize_t real_pread(struct io *io, int fd, void *buf, size_t size, uint64_t off)
{
	ssize_t n = pread(fd, buf, size, (off_t)off);

	(void)io;
	return n < 0 ? last_error() : n;
}

static ssize_t real_pwritev(struct io *io, int fd, const struct iovec *iov, int count, uint64_t off)
{
	ssize_t n = pwritev(fd, iov, count, (off_t)off);

	(void)io;
	return n < 0 ? space_error() : n;
}

static int real_fallocate(struct io *io, int fd, int mode, uint64_t off, uint64_t len)
{
	(void)io;
	if (!(mode & FALLOC_FL_PUNCH_HOLE) && !may_reach(off + len))
		return -ENOSPC;
	return fallocate(fd, mode, (off_t)off, (off_t)len) != 0 ? space_error() : 0;
}

static int real_truncate(struct io *io, int fd, uint64_t size)
{
	(void)io;
	return result(ftruncate(fd, (off_t)size));
}

static int real_write_behind(struct io *io, int fd, uint64_t off, uint64_t len)
{
	(void)io;
	return result(sync_file_range(fd, (off_t)off, (off_t)len, SYNC_FILE_RANGE_WRITE));
}

static int real_read_ahead(struct io *io, int fd, uint64_t off, uint64_t len)
{
	(void)io;
	return result(readahead(fd, (off_t)off, len));
}

/*
 * A client in user space that has dropped what it took, because the servers are full or have shut it out, may
 * keep that for whoever closes the file: ceph-fuse's fsync returns 0 then. Each close of a descriptor asks,
 * be it a second one of the same opened file.
 */
static int result_of_close(int fd)
{
	int second = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return second < 0 ? last_error() : result(close(second));
}

static int real_datasync(struct io *io, int fd)
{
	int rc = result(fdatasync(fd));

	return rc == 0 && io->syncs_singly ? result_of_close(fd) : rc;
}

static int real_publish(struct io *io, int fd)
{
	return io->width > 1 ? result(fsync(fd)) : 0;
}

static int real_forget(struct io *io, int fd)
{
	(void)io;
	return -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static int real_syncdir(struct io *io, const char *path)
{
	int fd = openat(root_of(io), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return last_error();
	rc = result(fsync(fd));
	close(fd);
	return rc;
}

/* The root was opened before anything was written: this descriptor is told of every write-back that has
 * failed. */
static int real_syncall(struct io *io)
{
	return result(syncfs(root_of(io)));
}

static int real_size(struct io *io, int fd, uint64_t *size)
{
	struct stat st;

	(void)io;
	if (fstat(fd, &st))
		return last_error();
	*size = (uint64_t)st.st_size;
	return 0;
}

static int real_rename(struct io *io, const char *from, const char *to)
{
	if (io->read_only)
		return -EROFS;
	return result(renameat(root_of(io), from, root_of(io), to));
}

static int real_link(struct io *io, const char *from, const char *to)
{
	if (io->read_only)
		return -EROFS;
	return result(linkat(root_of(io), from, root_of(io), to, 0));
}

static int real_identify(struct io *io, const char *path, struct io_identity *out)
{
	struct stat st;

	if (fstatat(root_of(io), path, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	*out = (struct io_identity){.device = st.st_dev,
				    .inode = st.st_ino,
				    .names = st.st_nlink,
				    .allocated = (uint64_t)st.st_blocks * 512};
	return 0;
}

static int real_unlink(struct io *io, const char *path)
{
	return io->read_only ? -EROFS : result(unlinkat(root_of(io), path, 0));
}

static int real_mkdir(struct io *io, const char *path, mode_t mode)
{
	return io->read_only ? -EROFS : result(mkdirat(root_of(io), path, mode));
}

static int real_rmdir(struct io *io, const char *path)
{
	return io->read_only ? -EROFS : result(unlinkat(root_of(io), path, AT_REMOVEDIR));
}

static int real_list(struct io *io, const char *path, io_name_fn fn, void *arg)
{
	int fd = openat(root_of(io), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	int rc = 0;

	if (!dir) {
		rc = last_error();
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (!rc && (errno = 0, e = readdir(dir)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			rc = fn(arg, e->d_name);
	if (!rc && errno)
		rc = last_error();
	closedir(dir);
	return rc;
}

static int real_map(struct io *io, int fd, size_t size, bool shared, void **addr)
{
	int rc;

	*addr = mmap(NULL, size, shared ? PROT_READ : PROT_READ | PROT_WRITE,
		     shared ? MAP_SHARED : MAP_PRIVATE, fd, 0);
	if (*addr == MAP_FAILED)
		return last_error();
	rc = io->unguarded ? 0 : io_guard_add(*addr, size, !shared, &io->lost);
	if (rc)
		munmap(*addr, size);
	return rc;
}

static int real_unmap(struct io *io, void *addr, size_t size)
{
	if (!io->unguarded)
		io_guard_remove(addr, size);
	return result(munmap(addr, size));
}

static int real_lock(struct io *io, int fd, bool shared)
{
	(void)io;
	return result(flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB));
}

static int real_statvfs(struct io *io, struct statvfs *st)
{
	return result(fstatvfs(root_of(io), st));
}

static int real_scratch(struct io *io)
{
	(void)io;
	return result(memfd_create("vecfs-scratch", MFD_CLOEXEC));
}

static const struct io_ops real_ops = {
	.open = real_open,
	.close = real_close,
	.pread = real_pread,
	.pwritev = real_pwritev,
	.fallocate = real_fallocate,
	.truncate = real_truncate,
	.write_behind = real_write_behind,
	.read_ahead = real_read_ahead,
	.datasync = real_datasync,
	.publish = real_publish,
	.forget = real_forget,
	.syncdir = real_syncdir,
	.syncall = real_syncall,
	.size = real_size,
	.rename = real_rename,
	.link = real_link,
	.identify = real_identify,
	.unlink = real_unlink,
	.mkdir = real_mkdir,
	.rmdir = real_rmdir,
	.list = real_list,
	.map = real_map,
	.unmap = real_unmap,
	.lock = real_lock,
	.statvfs = real_statvfs,
	.scratch = real_scratch,
};

/* What file system a store lies on decides how it is best asked. */
static void learn_kind(struct io *io, int fd)
{
	struct statfs st;

	if (fstatfs(fd, &st))
		return;
	/* To a server in user space the kernel has no such call: syncfs would return 0, and nobody have heard
	 * of it. */
	io->syncs_singly = st.f_type == FUSE_SUPER_MAGIC;
	if (st.f_type == FUSE_SUPER_MAGIC || st.f_type == NFS_SUPER_MAGIC || st.f_type == CEPH_SUPER_MAGIC ||
	    st.f_type == SMB2_SUPER_MAGIC)
		io->width = WIDTH_OF_SERVERS;
}

/* The name of a directory that was just made. A parent that may not be read cannot be synced. */
static int sync_name(int dir)
{
	int parent = openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (parent < 0)
		return 0;
	rc = result(fsync(parent));
	close(parent);
	return rc;
}

int io_new_real(const char *dir, bool create, struct io **out)
{
	struct real *real;
	bool made = create && !mkdir(dir, 0700);
	int root, rc;

	*out = NULL;
	if (create && !made && errno != EEXIST)
		return last_error();
	root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return last_error();
	rc = made ? sync_name(root) : 0;
	real = rc < 0 ? NULL : calloc(1, sizeof *real);
	if (!real) {
		close(root);
		return rc < 0 ? rc : -ENOMEM;
	}
	real->io.ops = &real_ops;
	learn_kind(&real->io, root);
	real->root = root;
	*out = &real->io;
	return 0;
}

void io_free_real(struct io *io)
{
	if (!io)
		return;
	close(root_of(io));
	free(io);
}

int io_real_fd(struct io *io, int fd)
{
	return io->ops == &real_ops ? fd : -EOPNOTSUPP;
}

int io_read_full(struct io *io, int fd, void *buf, size_t size, uint64_t off)
{
	while (size) {
		ssize_t n = io->ops->pread(io, fd, buf, size, off);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return n ? (int)n : -ENODATA;
		buf = (char *)buf + n;
		off += (size_t)n;
		size -= (size_t)n;
	}
	return 0;
}

int io_writev_full(struct io *io, int fd, struct iovec *iov, int count, uint64_t off)
{
	while (count) {
		ssize_t n = io->ops->pwritev(io, fd, iov, count, off);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return n ? (int)n : -EIO;
		off += (size_t)n;
		while (count && (size_t)n >= iov->iov_len) {
			n -= (ssize_t)iov->iov_len;
			iov++;
			count--;
		}
		if (count) {
			iov->iov_base = (char *)iov->iov_base + n;
			iov->iov_len -= (size_t)n;
		}
	}
	return 0;
}

int io_write_full(struct io *io, int fd, const void *buf, size_t size, uint64_t off)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = size};

	return size ? io_writev_full(io, fd, &iov, 1, off) : 0;
}

static int names_add(void *arg, const char *name)
{
	struct io_names *list = arg;
	char **p = realloc(list->names, (list->count + 1) * sizeof(char *));

	if (!p)
		return -ENOMEM;
	list->names = p;
	p[list->count] = strdup(name);
	if (!p[list->count])
		return -ENOMEM;
	list->count++;
	return 0;
}

int io_names_read(struct io *io, const char *path, struct io_names *out)
{
	*out = (struct io_names){0};
	return io->ops->list(io, path, names_add, out);
}

void io_names_free(struct io_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->names[i]);
	free(names->names);
}

int io_allocate(struct io *io, int fd, int mode, uint64_t off, uint64_t len)
{
	int rc;

	do
		rc = io->ops->fallocate(io, fd, mode, off, len);
	while (rc == -EINTR);
	return rc == -EOPNOTSUPP ? 0 : rc;
}
