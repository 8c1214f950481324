/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/crash/simdisk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/crash/simtree.h"

#define HANDLES_MAX 1024
#define PATH_BYTES 256
#define DEFAULT_CAPACITY ((uint64_t)1 << 40)

struct handle {
	struct simnode *node; /* NULL: free */
	bool writable;
	char path[PATH_BYTES];
};

struct simdisk {
	struct io io;
	pthread_mutex_t mutex;
	struct simtree tree;
	struct handle handles[HANDLES_MAX];
	uint64_t now;      /* the number of the latest change since the reset */
	uint64_t crash_at; /* in terms of now; 0: none */
	uint64_t capacity; /* 0: none */
	uint64_t seed;
	bool crashed;
	enum simdisk_fault fault;
	uint64_t fault_countdown;
	const char *failed;
	unsigned retried_syncs;
	bool shared_may_change;
	enum simdisk_lie lie;
	const char *lie_pattern;
	FILE *trace;
};

/* What a call may suffer. */
enum {
	CAN_FAIL = 1 << SIMDISK_EIO,
	CAN_FILL = 1 << SIMDISK_ENOSPC,
	CAN_BE_INTERRUPTED = 1 << SIMDISK_EINTR,
	CAN_BE_SHORT = 1 << SIMDISK_SHORT,
};

struct call {
	struct simdisk *d;
	const char *name;
	bool last; /* the machine dies in it */
	bool short_count;
	char text[PATH_BYTES * 2];
};

/* ------------------------------------------------------------------ every call begins and ends here */

static int fault_error(enum simdisk_fault fault)
{
	return fault == SIMDISK_ENOSPC ? -ENOSPC : fault == SIMDISK_EINTR ? -EINTR : -EIO;
}

/*
 * Enters a call; on failure the caller must do nothing but leave it. With last set it does a part of its
 * work, which the crash may keep, and the answer is -EIO all the same.
 */
static int enter(struct call *c, struct io *io, const char *name, bool change, unsigned can)
{
	struct simdisk *d = (struct simdisk *)io;

	c->d = d;
	c->name = name;
	c->last = c->short_count = false;
	c->text[0] = 0;
	pthread_mutex_lock(&d->mutex);
	if (d->crashed)
		return -EIO;
	if (change && ++d->now == d->crash_at) {
		d->crashed = c->last = true;
		return 0;
	}
	if (d->fault_countdown && (can & (1u << d->fault)) && !--d->fault_countdown) {
		d->failed = name;
		if (d->fault != SIMDISK_SHORT)
			return fault_error(d->fault);
		c->short_count = true;
	}
	return 0;
}

/* Says what the call is about, for the trace. */
__attribute__((format(printf, 2, 3))) static void about(struct call *c, const char *format, ...)
{
	va_list args;

	if (!c->d->trace)
		return;
	va_start(args, format);
	vsnprintf(c->text, sizeof c->text, format, args);
	va_end(args);
}

static int leave(struct call *c, int rc)
{
	if (c->last)
		rc = -EIO;
	if (c->d->trace)
		fprintf(c->d->trace, "%6llu %s %s%s%s%s\n", (unsigned long long)c->d->now, c->name, c->text,
			c->last ? " CRASH" : "", rc < 0 ? " = -" : "", rc < 0 ? strerrorname_np(-rc) : "");
	pthread_mutex_unlock(&c->d->mutex);
	return rc;
}

static struct handle *handle_of(struct simdisk *d, int fd)
{
	assert(fd >= 0 && fd < HANDLES_MAX && d->handles[fd].node);
	return &d->handles[fd];
}

static bool lies(const struct simdisk *d, enum simdisk_lie lie, const char *path)
{
	return d->lie == lie && !fnmatch(d->lie_pattern, path, 0);
}

static bool fits(const struct simdisk *d, const struct simfile *f, uint64_t off, uint64_t len)
{
	if (!d->capacity)
		return true;
	return (simtree_allocated(&d->tree) + simfile_needs(f, off, len)) * SIMFILE_PAGE <= d->capacity;
}

/* ------------------------------------------------------------------ descriptors */

static int new_handle(struct simdisk *d, struct simnode *node, const char *path, bool writable)
{
	for (int fd = 0; fd < HANDLES_MAX; fd++) {
		struct handle *h = &d->handles[fd];

		if (h->node)
			continue;
		h->node = node;
		h->writable = writable;
		snprintf(h->path, sizeof h->path, "%s", path);
		node->handles++;
		return fd;
	}
	return -EMFILE;
}

static void drop_handle(struct simdisk *d, int fd)
{
	struct handle *h = handle_of(d, fd);

	h->node->handles--;
	if (h->node->lock == fd)
		h->node->lock = -1;
	h->node = NULL;
}

/* What has several names is shared, and is never changed in place: an engine that does so has failed. */
static void assert_alone(const struct simdisk *d, const struct simnode *node, const char *path)
{
	if (node->names < 2 || d->shared_may_change)
		return;
	fprintf(stderr, "simdisk: %s has %u names and is changed\n", path, node->names);
	abort();
}

static int open_locked(struct simdisk *d, const char *path, int flags)
{
	struct simplace at;
	int rc = simtree_find(&d->tree, path, &at);

	if (rc)
		return rc;
	if (at.node && (flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if (!at.node && !(flags & O_CREAT))
		return -ENOENT;
	if (at.node && at.node->directory)
		return -EISDIR;
	if (!at.node) {
		at.node = simtree_create(&d->tree, d->now, &at, false);
	} else if (flags & O_TRUNC) {
		assert_alone(d, at.node, path);
		simfile_resize(&at.node->file, d->now, 0);
	}
	return new_handle(d, at.node, path, (flags & O_ACCMODE) == O_RDWR);
}

static int disk_open(struct io *io, const char *path, int flags, mode_t mode)
{
	struct call c;
	bool change = (flags & (O_CREAT | O_TRUNC)) != 0;
	int rc = enter(&c, io, "open", change, change ? CAN_FAIL | CAN_FILL : CAN_FAIL);

	(void)mode;
	about(&c, "%s 0%o", path, (unsigned)flags);
	if (!rc)
		rc = open_locked(c.d, path, flags);
	if (rc >= 0 && c.last)
		drop_handle(c.d, rc);
	return leave(&c, rc);
}

static int disk_close(struct io *io, int fd)
{
	struct simdisk *d = (struct simdisk *)io;

	/* It works after a crash too, so that a dying engine can be seen to close all it opened. */
	pthread_mutex_lock(&d->mutex);
	drop_handle(d, fd);
	pthread_mutex_unlock(&d->mutex);
	return 0;
}

static int disk_lock(struct io *io, int fd, bool shared)
{
	struct call c; /* one process at a time opens a simulated store, so shared is as good as exclusive */
	int rc = enter(&c, io, "lock", false, CAN_FAIL);
	struct handle *h = handle_of(c.d, fd);

	(void)shared;
	about(&c, "%s", h->path);
	if (!rc && h->node->lock >= 0 && h->node->lock != fd)
		rc = -EWOULDBLOCK;
	if (!rc)
		h->node->lock = fd;
	return leave(&c, rc);
}

/* ------------------------------------------------------------------ bytes */

static ssize_t disk_pread(struct io *io, int fd, void *buf, size_t size, uint64_t off)
{
	struct call c;
	int rc = enter(&c, io, "pread", false, CAN_FAIL | CAN_BE_INTERRUPTED | CAN_BE_SHORT);
	struct handle *h = handle_of(c.d, fd);
	size_t got = 0;

	about(&c, "%s %zu at %llu", h->path, size, (unsigned long long)off);
	if (!rc)
		got = simfile_read(&h->node->file, buf, c.short_count && size > 1 ? size / 2 : size, off);
	rc = leave(&c, rc);
	return rc ? rc : (ssize_t)got;
}

/* The last write of a machine is cut anywhere. */
static size_t part_of(struct simdisk *d, size_t size)
{
	struct rng r = rng_of(d->seed, d->now);

	return (size_t)rng_below(&r, size + 1);
}

static ssize_t disk_pwritev(struct io *io, int fd, const struct iovec *iov, int count, uint64_t off)
{
	struct call c;
	int rc = enter(&c, io, "pwritev", true, CAN_FAIL | CAN_FILL | CAN_BE_INTERRUPTED | CAN_BE_SHORT);
	struct handle *h = handle_of(c.d, fd);
	size_t size = 0;

	for (int i = 0; i < count; i++)
		size += iov[i].iov_len;
	about(&c, "%s %zu at %llu", h->path, size, (unsigned long long)off);
	if (!rc && !h->writable)
		rc = -EBADF;
	if (!rc && (off > SIMFILE_MAX || size > SIMFILE_MAX - off))
		rc = -EFBIG;
	if (!rc && !fits(c.d, &h->node->file, off, size))
		rc = -ENOSPC;
	if (c.last)
		size = part_of(c.d, size);
	else if (c.short_count && size > 1)
		size /= 2;
	if (!rc && size)
		assert_alone(c.d, h->node, h->path);
	if (!rc && size)
		simfile_write(&h->node->file, c.d->now, iov, size, off);
	rc = leave(&c, rc);
	return rc ? rc : (ssize_t)size;
}

static int disk_fallocate(struct io *io, int fd, int mode, uint64_t off, uint64_t len)
{
	struct call c;
	bool punch = (mode & FALLOC_FL_PUNCH_HOLE) != 0;
	int rc = enter(&c, io, punch ? "punch" : "fallocate", true,
		       CAN_FAIL | CAN_BE_INTERRUPTED | (punch ? 0 : CAN_FILL));
	struct handle *h = handle_of(c.d, fd);

	about(&c, "%s %llu at %llu mode %d", h->path, (unsigned long long)len, (unsigned long long)off, mode);
	if (!rc && !h->writable)
		rc = -EBADF;
	if (!rc && !len)
		rc = -EINVAL;
	if (!rc && (off > SIMFILE_MAX || len > SIMFILE_MAX - off))
		rc = -EFBIG;
	if (!rc && !punch && !fits(c.d, &h->node->file, off, len))
		rc = -ENOSPC;
	if (!rc)
		assert_alone(c.d, h->node, h->path);
	if (!rc && punch)
		simfile_punch(&h->node->file, c.d->now, off, len);
	else if (!rc)
		simfile_allocate(&h->node->file, c.d->now, off, len, mode & FALLOC_FL_KEEP_SIZE);
	return leave(&c, rc);
}

static int disk_truncate(struct io *io, int fd, uint64_t size)
{
	struct call c;
	int rc = enter(&c, io, "truncate", true, CAN_FAIL);
	struct handle *h = handle_of(c.d, fd);

	about(&c, "%s %llu", h->path, (unsigned long long)size);
	if (!rc && !h->writable)
		rc = -EBADF;
	if (!rc && size > SIMFILE_MAX)
		rc = -EFBIG;
	if (!rc)
		assert_alone(c.d, h->node, h->path);
	if (!rc)
		simfile_resize(&h->node->file, c.d->now, size);
	return leave(&c, rc);
}

static int disk_write_behind(struct io *io, int fd, uint64_t off, uint64_t len)
{
	struct call c;
	int rc = enter(&c, io, "write_behind", false, CAN_FAIL);

	about(&c, "%s %llu at %llu", handle_of(c.d, fd)->path, (unsigned long long)len,
	      (unsigned long long)off);
	return leave(&c, rc);
}

/* Nothing is slow here. */
static int disk_read_ahead(struct io *io, int fd, uint64_t off, uint64_t len)
{
	(void)io;
	(void)fd;
	(void)off;
	(void)len;
	return 0;
}

static int disk_size(struct io *io, int fd, uint64_t *size)
{
	struct call c;
	int rc = enter(&c, io, "size", false, CAN_FAIL);
	struct handle *h = handle_of(c.d, fd);

	about(&c, "%s", h->path);
	if (!rc)
		*size = h->node->file.size;
	return leave(&c, rc);
}

/* ------------------------------------------------------------------ syncing */

static void sync_file(struct simdisk *d, const struct handle *h)
{
	struct simfile *f = &h->node->file;
	bool late = lies(d, SIMDISK_LATE_DATASYNC, h->path);

	d->retried_syncs += h->node->sync_failed;
	if (!lies(d, SIMDISK_NO_DATASYNC, h->path))
		simfile_sync(f, late ? f->synced_at : d->now);
	f->synced_at = d->now;
}

static int disk_datasync(struct io *io, int fd)
{
	struct call c;
	int rc = enter(&c, io, "datasync", true, CAN_FAIL | CAN_FILL);
	struct handle *h = handle_of(c.d, fd);

	about(&c, "%s", h->path);
	if (rc && !c.d->crashed) {
		struct simfate fate;

		simfate_init(&fate, c.d->seed, c.d->now);
		simfile_lose(&h->node->file, &fate);
		h->node->sync_failed = true;
	}
	if (!rc && !c.last)
		sync_file(c.d, h);
	return leave(&c, rc);
}

static int disk_forget(struct io *io, int fd)
{
	struct call c;
	int rc = enter(&c, io, "forget", false, 0);
	struct handle *h = handle_of(c.d, fd);

	about(&c, "%s", h->path);
	if (!rc)
		simfile_forget(&h->node->file);
	return leave(&c, rc);
}

static int disk_syncdir(struct io *io, const char *path)
{
	struct call c;
	struct simplace at;
	int rc = enter(&c, io, "syncdir", true, CAN_FAIL);

	about(&c, "%s", path);
	if (!rc)
		rc = simtree_find(&c.d->tree, path, &at);
	if (!rc && !at.node)
		rc = -ENOENT;
	if (!rc && !at.node->directory)
		rc = -ENOTDIR;
	if (!rc && !c.last && !lies(c.d, SIMDISK_NO_SYNCDIR, path))
		simtree_syncdir(&c.d->tree, at.node);
	return leave(&c, rc);
}

static int disk_syncall(struct io *io)
{
	struct call c;
	int rc = enter(&c, io, "syncall", true, CAN_FAIL | CAN_FILL);

	assert(!io->syncs_singly);
	for (struct simnode *node = c.d->tree.nodes; node; node = node->next) {
		if (rc && !c.d->crashed && !node->directory) {
			struct simfate fate;

			simfate_init(&fate, c.d->seed, c.d->now);
			simfile_lose(&node->file, &fate);
			node->sync_failed = true;
		}
		if (rc || c.last)
			continue;
		if (node->directory)
			simtree_syncdir(&c.d->tree, node);
		else
			simfile_sync(&node->file, c.d->now);
	}
	return leave(&c, rc);
}

/* ------------------------------------------------------------------ names */

/* What rename(2) refuses. */
static int check_rename(const struct simplace *from, const struct simplace *to)
{
	if (!from->node || !from->dir)
		return -ENOENT;
	if (!to->dir)
		return -EBUSY;
	if (to->node && to->node->directory != from->node->directory)
		return to->node->directory ? -EISDIR : -ENOTDIR;
	if (to->node && to->node->directory && to->node->seen.count)
		return -ENOTEMPTY;
	return 0;
}

static int disk_rename(struct io *io, const char *from, const char *to)
{
	struct call c;
	struct simplace old, new;
	int rc = enter(&c, io, "rename", true, CAN_FAIL | CAN_FILL);

	about(&c, "%s %s", from, to);
	if (!rc)
		rc = simtree_find(&c.d->tree, from, &old);
	if (!rc)
		rc = simtree_find(&c.d->tree, to, &new);
	if (!rc)
		rc = check_rename(&old, &new);
	if (!rc && old.node != new.node)
		simtree_rename(&c.d->tree, c.d->now, &old, &new);
	return leave(&c, rc);
}

static int disk_link(struct io *io, const char *from, const char *to)
{
	struct call c;
	struct simplace old, new;
	int rc = enter(&c, io, "link", true, CAN_FAIL | CAN_FILL);

	about(&c, "%s %s", from, to);
	if (!rc)
		rc = simtree_find(&c.d->tree, from, &old);
	if (!rc)
		rc = simtree_find(&c.d->tree, to, &new);
	if (!rc && !old.node)
		rc = -ENOENT;
	if (!rc && old.node->directory)
		rc = -EPERM;
	if (!rc && new.node)
		rc = -EEXIST;
	if (!rc)
		simtree_link(&c.d->tree, c.d->now, &old, &new);
	return leave(&c, rc);
}

static int disk_identify(struct io *io, const char *path, struct io_identity *out)
{
	struct call c;
	struct simplace at;
	int rc = enter(&c, io, "identify", false, CAN_FAIL);

	about(&c, "%s", path);
	if (!rc)
		rc = simtree_find(&c.d->tree, path, &at);
	if (!rc && !at.node)
		rc = -ENOENT;
	if (!rc)
		*out = (struct io_identity){.inode = (uint64_t)(uintptr_t)at.node,
					    .names = at.node->names,
					    .allocated = at.node->file.allocated * SIMFILE_PAGE};
	return leave(&c, rc);
}

static int remove_name(struct io *io, const char *name, const char *path, bool directory)
{
	struct call c;
	struct simplace at;
	int rc = enter(&c, io, name, true, CAN_FAIL);

	about(&c, "%s", path);
	if (!rc)
		rc = simtree_find(&c.d->tree, path, &at);
	if (!rc && !at.node)
		rc = -ENOENT;
	if (!rc && !at.dir)
		rc = -EBUSY;
	if (!rc && at.node->directory != directory)
		rc = directory ? -ENOTDIR : -EISDIR;
	if (!rc && at.node->seen.count)
		rc = -ENOTEMPTY;
	if (!rc)
		simtree_unlink(&c.d->tree, c.d->now, &at);
	return leave(&c, rc);
}

static int disk_unlink(struct io *io, const char *path)
{
	return remove_name(io, "unlink", path, false);
}

static int disk_rmdir(struct io *io, const char *path)
{
	return remove_name(io, "rmdir", path, true);
}

static int disk_mkdir(struct io *io, const char *path, mode_t mode)
{
	struct call c;
	struct simplace at;
	int rc = enter(&c, io, "mkdir", true, CAN_FAIL | CAN_FILL);

	(void)mode;
	about(&c, "%s", path);
	if (!rc)
		rc = simtree_find(&c.d->tree, path, &at);
	if (!rc && at.node)
		rc = -EEXIST;
	if (!rc)
		simtree_create(&c.d->tree, c.d->now, &at, true);
	return leave(&c, rc);
}

static int disk_list(struct io *io, const char *path, io_name_fn fn, void *arg)
{
	struct call c;
	struct simplace at;
	struct simname *names = NULL;
	size_t count = 0;
	int rc = enter(&c, io, "list", false, CAN_FAIL);

	about(&c, "%s", path);
	if (!rc)
		rc = simtree_find(&c.d->tree, path, &at);
	if (!rc && !at.node)
		rc = -ENOENT;
	if (!rc && !at.node->directory)
		rc = -ENOTDIR;
	if (!rc && at.node->seen.count) {
		/* A copy: fn may change the directory. */
		count = at.node->seen.count;
		names = malloc(count * sizeof *names);
		assert(names);
		memcpy(names, at.node->seen.items, count * sizeof *names);
	}
	rc = leave(&c, rc);
	for (size_t i = 0; !rc && i < count; i++)
		rc = fn(arg, names[i].name);
	free(names);
	return rc;
}

/* ------------------------------------------------------------------ maps */

static int disk_map(struct io *io, int fd, size_t size, bool shared, void **addr)
{
	struct call c;
	int rc = enter(&c, io, "map", false, CAN_FAIL);
	struct handle *h = handle_of(c.d, fd);

	about(&c, "%s %zu %s", h->path, size, shared ? "shared" : "private");
	if (!rc && (!size || size > SIMFILE_MAX))
		rc = size ? -ENOMEM : -EINVAL;
	if (!rc) {
		*addr = shared ? (void *)h->node->file.cache : simfile_copy(&h->node->file, size);
		if (!*addr)
			rc = -ENOMEM;
	}
	return leave(&c, rc);
}

static int disk_unmap(struct io *io, void *addr, size_t size)
{
	struct simdisk *d = (struct simdisk *)io;
	bool shared = false;

	pthread_mutex_lock(&d->mutex);
	for (const struct simnode *node = d->tree.nodes; node && !shared; node = node->next)
		shared = addr == node->file.cache;
	pthread_mutex_unlock(&d->mutex);
	return shared || !munmap(addr, size) ? 0 : -errno;
}

static int disk_statvfs(struct io *io, struct statvfs *st)
{
	struct call c;
	int rc = enter(&c, io, "statvfs", false, CAN_FAIL);

	if (!rc) {
		uint64_t capacity = c.d->capacity ? c.d->capacity : DEFAULT_CAPACITY;

		*st = (struct statvfs){.f_bsize = SIMFILE_PAGE, .f_frsize = SIMFILE_PAGE};
		st->f_blocks = capacity / SIMFILE_PAGE;
		st->f_bfree = st->f_bavail = st->f_blocks - simtree_allocated(&c.d->tree);
		st->f_files = st->f_ffree = st->f_favail = 1 << 20;
		st->f_namemax = SIMTREE_NAME_MAX;
	}
	return leave(&c, rc);
}

static const struct io_ops disk_ops = {
	.open = disk_open,
	.close = disk_close,
	.pread = disk_pread,
	.pwritev = disk_pwritev,
	.fallocate = disk_fallocate,
	.truncate = disk_truncate,
	.write_behind = disk_write_behind,
	.read_ahead = disk_read_ahead,
	.datasync = disk_datasync,
	.forget = disk_forget,
	.syncdir = disk_syncdir,
	.syncall = disk_syncall,
	.size = disk_size,
	.rename = disk_rename,
	.link = disk_link,
	.identify = disk_identify,
	.unlink = disk_unlink,
	.mkdir = disk_mkdir,
	.rmdir = disk_rmdir,
	.list = disk_list,
	.map = disk_map,
	.unmap = disk_unmap,
	.lock = disk_lock,
	.statvfs = disk_statvfs,
};

/* ------------------------------------------------------------------ the tests' side */

struct simdisk *simdisk_new(void)
{
	struct simdisk *d = calloc(1, sizeof *d);

	assert(d);
	d->io.ops = &disk_ops;
	pthread_mutex_init(&d->mutex, NULL);
	simtree_init(&d->tree);
	return d;
}

void simdisk_free(struct simdisk *d)
{
	simtree_free(&d->tree);
	pthread_mutex_destroy(&d->mutex);
	free(d);
}

static void drop_handles(struct simdisk *d)
{
	for (int fd = 0; fd < HANDLES_MAX; fd++)
		d->handles[fd].node = NULL;
	for (struct simnode *node = d->tree.nodes; node; node = node->next) {
		node->handles = 0;
		node->lock = -1;
		node->sync_failed = false;
	}
}

void simdisk_reset(struct simdisk *d)
{
	drop_handles(d);
	simtree_clear(&d->tree);
	d->now = d->crash_at = d->capacity = d->fault_countdown = 0;
	d->crashed = false;
	d->failed = NULL;
	d->retried_syncs = 0;
	d->shared_may_change = false;
	d->lie = SIMDISK_HONEST;
}

struct io *simdisk_io(struct simdisk *d)
{
	return &d->io;
}

void simdisk_crash_at(struct simdisk *d, uint64_t k, uint64_t seed)
{
	pthread_mutex_lock(&d->mutex);
	d->crash_at = k ? d->now + k : 0;
	d->seed = seed;
	pthread_mutex_unlock(&d->mutex);
}

bool simdisk_crashed(struct simdisk *d)
{
	bool crashed;

	pthread_mutex_lock(&d->mutex);
	crashed = d->crashed;
	pthread_mutex_unlock(&d->mutex);
	return crashed;
}

uint64_t simdisk_changes(struct simdisk *d)
{
	uint64_t now;

	pthread_mutex_lock(&d->mutex);
	now = d->now;
	pthread_mutex_unlock(&d->mutex);
	return now;
}

void simdisk_reboot(struct simdisk *d, enum simdisk_end end, uint64_t seed)
{
	struct simfate fate;

	drop_handles(d);
	d->crashed = false;
	d->crash_at = 0;
	if (end == SIMDISK_KILL)
		return;
	simfate_init(&fate, seed, d->now);
	simtree_crash(&d->tree, &fate);
	if (d->trace)
		fprintf(d->trace, "       REBOOT data %d names %d keep %u%%\n", (int)fate.data,
			(int)fate.names, fate.keep_percent);
}

unsigned simdisk_handles(const struct simdisk *d)
{
	unsigned open = 0;

	for (int fd = 0; fd < HANDLES_MAX; fd++)
		open += d->handles[fd].node != NULL;
	return open;
}

void simdisk_fail(struct simdisk *d, enum simdisk_fault fault, uint64_t k, uint64_t seed)
{
	pthread_mutex_lock(&d->mutex);
	d->fault = fault;
	d->fault_countdown = k;
	d->seed = seed;
	d->failed = NULL;
	pthread_mutex_unlock(&d->mutex);
}

const char *simdisk_failed(struct simdisk *d)
{
	const char *failed;

	pthread_mutex_lock(&d->mutex);
	failed = d->failed;
	pthread_mutex_unlock(&d->mutex);
	return failed;
}

unsigned simdisk_retried_syncs(const struct simdisk *d)
{
	return d->retried_syncs;
}

void simdisk_share_freely(struct simdisk *d)
{
	d->shared_may_change = true;
}

void simdisk_capacity(struct simdisk *d, uint64_t bytes)
{
	pthread_mutex_lock(&d->mutex);
	d->capacity = bytes;
	pthread_mutex_unlock(&d->mutex);
}

void simdisk_lie(struct simdisk *d, enum simdisk_lie lie, const char *pattern)
{
	d->lie = lie;
	d->lie_pattern = pattern;
}

void simdisk_trace(struct simdisk *d, FILE *out)
{
	d->trace = out;
}
