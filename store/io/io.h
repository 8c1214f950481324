/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io - every system call of the engine goes through this table.
 *
 * The engine never calls the kernel for files itself, so that a test can fail, tear, reorder or crash at
 * any call (tests/crash/). All paths are relative to the store's directory and use '/' between parts.
 * Every function returns >= 0 on success and -errno on failure; none sets errno for the caller.
 * All of them may be called from any thread.
 */
#ifndef VECFS_STORE_IO_IO_H
#define VECFS_STORE_IO_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>

struct io;

/* Called once for each name in a directory but "." and "..". Non-zero ends the listing and is returned. */
typedef int (*io_name_fn)(void *arg, const char *name);

/* Which file a name stands for. */
struct io_identity {
	uint64_t device, inode;
	uint64_t names;     /* how many it has */
	uint64_t allocated; /* bytes on the disk */
};

struct io_ops {
	/* open(2): O_RDONLY or O_RDWR, with O_CREAT, O_EXCL, O_TRUNC; returns a descriptor of this table's
	 * own. */
	int (*open)(struct io *io, const char *path, int flags, mode_t mode);
	int (*close)(struct io *io, int fd);
	/* May return fewer bytes than asked (0 at the end of the file). */
	ssize_t (*pread)(struct io *io, int fd, void *buf, size_t size, uint64_t off);
	/* May write fewer bytes than asked. */
	ssize_t (*pwritev)(struct io *io, int fd, const struct iovec *iov, int count, uint64_t off);
	/* fallocate(2) with its flags (0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE). */
	int (*fallocate)(struct io *io, int fd, int mode, uint64_t off, uint64_t len);
	int (*truncate)(struct io *io, int fd, uint64_t size);
	/* Starts writing a range back early, to the end if len is 0; promises nothing (sync_file_range). */
	int (*write_behind)(struct io *io, int fd, uint64_t off, uint64_t len);
	/* Starts reading a range that will soon be looked at; promises nothing (readahead). */
	int (*read_ahead)(struct io *io, int fd, uint64_t off, uint64_t len);
	/* fdatasync(2): what was written is on the disk, and the size, when this returns 0; for who has
	 * written it by this fd, that is: to others it may not be told that some was lost. */
	int (*datasync)(struct io *io, int fd);
	/* fsync(2), where machines share the file system: whoever looks a file up on another one need not
	 * wait until this one has told its size and times. Elsewhere nothing. May be NULL. */
	int (*publish)(struct io *io, int fd);
	/* Forgets what is in memory of a file that has been synced, so that it is read from the disk: what a
	 * failed sync has lost looks clean there. Promises nothing (posix_fadvise, POSIX_FADV_DONTNEED). */
	int (*forget)(struct io *io, int fd);
	/* fsync(2) of a directory: its names are on the disk when this returns 0. */
	int (*syncdir)(struct io *io, const char *path);
	/* syncfs(2): all files and names are on the disk when this returns 0. One call for many files, but
	 * not where io->syncs_singly. */
	int (*syncall)(struct io *io);
	int (*size)(struct io *io, int fd, uint64_t *size);
	int (*rename)(struct io *io, const char *from, const char *to);
	/* link(2): another name for a file. -EEXIST; -EPERM, -EOPNOTSUPP: the file system has no such. */
	int (*link)(struct io *io, const char *from, const char *to);
	int (*identify)(struct io *io, const char *path, struct io_identity *out);
	int (*unlink)(struct io *io, const char *path);
	int (*mkdir)(struct io *io, const char *path, mode_t mode);
	int (*rmdir)(struct io *io, const char *path);
	int (*list)(struct io *io, const char *path, io_name_fn fn, void *arg);
	/*
	 * Maps [0, size) of a file; size may lie beyond its end (those pages are not touched until the file
	 * has grown over them). shared: read-only and coherent with pwritev. Otherwise private and writable.
	 * A page that cannot be read is zeros, and counted in io->lost (guard.h).
	 */
	int (*map)(struct io *io, int fd, size_t size, bool shared, void **addr);
	int (*unmap)(struct io *io, void *addr, size_t size);
	/* Takes the file's lock for as long as fd is open, exclusive or shared; -EWOULDBLOCK: another process
	 * has it. */
	int (*lock)(struct io *io, int fd, bool shared);
	int (*statvfs)(struct io *io, struct statvfs *st);
	/* A file without a name that is written to and read, in memory: for a store that is only read. May be
	 * NULL. */
	int (*scratch)(struct io *io);
};

struct io {
	const struct io_ops *ops;
	bool read_only;    /* files are opened for reading only, and nothing else is changed either */
	bool syncs_singly; /* syncall does nothing here: each file and directory is to be synced by itself */
	unsigned width;    /* calls that are worth making at once, because each waits for a server; 0: one */
	bool unguarded;    /* a page of a mapping that cannot be read is SIGBUS, as it is without guard.h */
	_Atomic unsigned lost; /* pages of mappings that could not be read */
	/* A sync has failed: of what was written since the one before, some may read as if it never had been.
	 */
	_Atomic bool dropped;
};

/* The real thing: a table over the directory dir (created 0700 if missing and create). Freed with
 * io_free_real. */
int io_new_real(const char *dir, bool create, struct io **out);
void io_free_real(struct io *io);
/* The real file descriptor behind a descriptor of the real table (they are the same). -EOPNOTSUPP for others.
 */
int io_real_fd(struct io *io, int fd);

/* Whole-buffer loops over the table: they repeat after short counts and EINTR. 0 or -errno; io_read_full
 * answers -ENODATA when the file ends first. */
int io_read_full(struct io *io, int fd, void *buf, size_t size, uint64_t off);
int io_write_full(struct io *io, int fd, const void *buf, size_t size, uint64_t off);
/* The same for an array of buffers; iov is used up (modified). */
int io_writev_full(struct io *io, int fd, struct iovec *iov, int count, uint64_t off);

/* The names in a directory, all read before the first is used: so that one may remove them on the way. */
struct io_names {
	char **names;
	size_t count;
};
/* -ENOENT, -ENOMEM and others; what it got so far is in *out then too. Freed with io_names_free. */
int io_names_read(struct io *io, const char *path, struct io_names *out);
void io_names_free(struct io_names *names);

/* fallocate, repeated after EINTR; a file system that cannot do it is no error: space is then found when
 * writing. */
int io_allocate(struct io *io, int fd, int mode, uint64_t off, uint64_t len);

#endif
