/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/slow_io.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct slow_io *slow_of(struct io *io)
{
	return (struct slow_io *)io;
}

static void delay(struct slow_io *s)
{
	s->delayed++;
	usleep(s->delay_ms * 1000);
}

static bool path_is_slow(struct slow_io *s, const char *path)
{
	unsigned id;

	return sscanf(path, "collections/%u", &id) == 1 && id < SLOW_COLLECTIONS && s->collection[id];
}

static void call_before(struct slow_io *s, enum slow_call call, const char *path)
{
	if (s->before)
		s->before(s, call, path);
}

static void delay_path(struct slow_io *s, const char *path)
{
	if (s->delay_ms && path_is_slow(s, path))
		delay(s);
}

static bool file_is_slow(struct slow_io *s, int fd)
{
	return fd >= 0 && fd < SLOW_FILES && s->file[fd];
}

static void delay_file(struct slow_io *s, int fd)
{
	if (s->delay_ms && file_is_slow(s, fd))
		delay(s);
}

static int slow_open(struct io *io, const char *path, int flags, mode_t mode)
{
	struct slow_io *s = slow_of(io);
	int fd;

	call_before(s, SLOW_OPEN, path);
	delay_path(s, path);
	fd = s->real->ops->open(s->real, path, flags, mode);
	if (fd >= 0 && fd < SLOW_FILES)
		s->file[fd] = path_is_slow(s, path);
	return fd;
}

static int slow_close(struct io *io, int fd)
{
	struct slow_io *s = slow_of(io);

	delay_file(s, fd);
	if (fd >= 0 && fd < SLOW_FILES)
		s->file[fd] = false;
	return s->real->ops->close(s->real, fd);
}

static ssize_t slow_pread(struct io *io, int fd, void *buf, size_t size, uint64_t off)
{
	struct slow_io *s = slow_of(io);

	delay_file(s, fd);
	return s->broken && file_is_slow(s, fd) ? -EIO : s->real->ops->pread(s->real, fd, buf, size, off);
}

static ssize_t slow_pwritev(struct io *io, int fd, const struct iovec *iov, int count, uint64_t off)
{
	delay_file(slow_of(io), fd);
	return slow_of(io)->real->ops->pwritev(slow_of(io)->real, fd, iov, count, off);
}

static int slow_fallocate(struct io *io, int fd, int mode, uint64_t off, uint64_t len)
{
	delay_file(slow_of(io), fd);
	return slow_of(io)->real->ops->fallocate(slow_of(io)->real, fd, mode, off, len);
}

static int slow_truncate(struct io *io, int fd, uint64_t size)
{
	delay_file(slow_of(io), fd);
	return slow_of(io)->real->ops->truncate(slow_of(io)->real, fd, size);
}

static int slow_write_behind(struct io *io, int fd, uint64_t off, uint64_t len)
{
	delay_file(slow_of(io), fd);
	return slow_of(io)->real->ops->write_behind(slow_of(io)->real, fd, off, len);
}

static int slow_read_ahead(struct io *io, int fd, uint64_t off, uint64_t len)
{
	return slow_of(io)->real->ops->read_ahead(slow_of(io)->real, fd, off, len);
}

static int slow_datasync(struct io *io, int fd)
{
	if (slow_of(io)->sync_error) {
		delay(slow_of(io));
		return slow_of(io)->sync_error;
	}
	delay_file(slow_of(io), fd);
	return slow_of(io)->real->ops->datasync(slow_of(io)->real, fd);
}

static int slow_forget(struct io *io, int fd)
{
	return slow_of(io)->real->ops->forget(slow_of(io)->real, fd);
}

static int slow_syncdir(struct io *io, const char *path)
{
	delay_path(slow_of(io), path);
	return slow_of(io)->real->ops->syncdir(slow_of(io)->real, path);
}

static int slow_syncall(struct io *io)
{
	return slow_of(io)->real->ops->syncall(slow_of(io)->real);
}

static int slow_size(struct io *io, int fd, uint64_t *size)
{
	delay_file(slow_of(io), fd);
	return slow_of(io)->real->ops->size(slow_of(io)->real, fd, size);
}

static int slow_rename(struct io *io, const char *from, const char *to)
{
	call_before(slow_of(io), SLOW_RENAME, from);
	delay_path(slow_of(io), from);
	return slow_of(io)->real->ops->rename(slow_of(io)->real, from, to);
}

static int slow_link(struct io *io, const char *from, const char *to)
{
	call_before(slow_of(io), SLOW_LINK, from);
	delay_path(slow_of(io), from);
	return slow_of(io)->real->ops->link(slow_of(io)->real, from, to);
}

static int slow_identify(struct io *io, const char *path, struct io_identity *out)
{
	delay_path(slow_of(io), path);
	return slow_of(io)->real->ops->identify(slow_of(io)->real, path, out);
}

static int slow_unlink(struct io *io, const char *path)
{
	struct slow_io *s = slow_of(io);

	if (path_is_slow(s, path))
		s->unlinks++;
	delay_path(s, path);
	return slow_of(io)->real->ops->unlink(slow_of(io)->real, path);
}

static int slow_mkdir(struct io *io, const char *path, mode_t mode)
{
	delay_path(slow_of(io), path);
	return slow_of(io)->real->ops->mkdir(slow_of(io)->real, path, mode);
}

static int slow_rmdir(struct io *io, const char *path)
{
	delay_path(slow_of(io), path);
	return slow_of(io)->real->ops->rmdir(slow_of(io)->real, path);
}

static int slow_list(struct io *io, const char *path, io_name_fn fn, void *arg)
{
	delay_path(slow_of(io), path);
	return slow_of(io)->real->ops->list(slow_of(io)->real, path, fn, arg);
}

static int slow_map(struct io *io, int fd, size_t size, bool shared, void **addr)
{
	struct slow_io *s = slow_of(io);

	delay_file(s, fd);
	return s->broken && file_is_slow(s, fd) ? -EIO : s->real->ops->map(s->real, fd, size, shared, addr);
}

static int slow_unmap(struct io *io, void *addr, size_t size)
{
	return slow_of(io)->real->ops->unmap(slow_of(io)->real, addr, size);
}

static int slow_lock(struct io *io, int fd, bool shared)
{
	return slow_of(io)->real->ops->lock(slow_of(io)->real, fd, shared);
}

static int slow_statvfs(struct io *io, struct statvfs *st)
{
	return slow_of(io)->real->ops->statvfs(slow_of(io)->real, st);
}

static const struct io_ops ops = {
	.open = slow_open,
	.close = slow_close,
	.pread = slow_pread,
	.pwritev = slow_pwritev,
	.fallocate = slow_fallocate,
	.truncate = slow_truncate,
	.write_behind = slow_write_behind,
	.read_ahead = slow_read_ahead,
	.datasync = slow_datasync,
	.forget = slow_forget,
	.syncdir = slow_syncdir,
	.syncall = slow_syncall,
	.size = slow_size,
	.rename = slow_rename,
	.link = slow_link,
	.identify = slow_identify,
	.unlink = slow_unlink,
	.mkdir = slow_mkdir,
	.rmdir = slow_rmdir,
	.list = slow_list,
	.map = slow_map,
	.unmap = slow_unmap,
	.lock = slow_lock,
	.statvfs = slow_statvfs,
};

void slow_io_init(struct slow_io *slow, struct io *real)
{
	memset(slow, 0, sizeof *slow);
	slow->io.ops = &ops;
	slow->real = real;
}
