/* SPDX-License-Identifier: Apache-2.0 */
#include "store/log/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/base/checksum.h"

#define STEP_BYTES (8u << 20)          /* prepared at a time */
#define WINDOW_BYTES (1u << 20)        /* read at a time */
#define PREPARED_BYTES_MIN (64u << 10) /* on a disk that is all but full */

static const char *const paths[2] = {"log.0", "log.1"};

size_t log_frame_bytes(size_t payload_bytes)
{
	return (sizeof(struct frame) + payload_bytes + FRAME_ALIGN - 1) / FRAME_ALIGN * FRAME_ALIGN;
}

/* Writes zeros, so that later frames overwrite blocks in place. */
static int prepare(struct log *log, int file, uint64_t bytes)
{
	static const char zeros[256 << 10];
	uint64_t off = log->prepared[file];
	int rc = io_allocate(log->io, log->fd[file], 0, off, bytes - off);

	for (; rc >= 0 && off < bytes; off += sizeof zeros) {
		size_t n = bytes - off < sizeof zeros ? bytes - off : sizeof zeros;

		rc = io_write_full(log->io, log->fd[file], zeros, n, off);
	}
	if (rc >= 0) {
		rc = log->io->ops->datasync(log->io, log->fd[file]);
		log->sync_failed |= rc < 0;
	}
	if (rc >= 0)
		log->prepared[file] = bytes;
	return rc < 0 ? rc : 0;
}

int log_create(struct log *log, struct io *io, const struct log_position *at, uint64_t file_bytes)
{
	uint64_t bytes = STEP_BYTES < file_bytes ? STEP_BYTES : file_bytes;
	int rc = 0;

	*log = (struct log){.io = io, .fd = {-1, -1}, .next = *at, .file_bytes = file_bytes};
	for (int i = 0; i < 2 && !rc; i++) {
		log->fd[i] = io->ops->open(io, paths[i], O_RDWR | O_CREAT | O_TRUNC, 0600);
		if (log->fd[i] < 0)
			rc = log->fd[i];
	}
	for (int i = 0; i < 2 && !rc; i++) {
		rc = prepare(log, i, bytes);
		while (rc == -ENOSPC && !log->sync_failed && bytes > PREPARED_BYTES_MIN) {
			bytes /= 4;
			for (int k = 0; k <= i; k++) {
				io->ops->truncate(io, log->fd[k], k < i ? bytes : 0);
				log->prepared[k] = k < i ? bytes : 0;
			}
			rc = prepare(log, i, bytes);
		}
	}
	if (!rc) {
		rc = io->ops->syncdir(io, ".");
		log->sync_failed |= rc < 0;
	}
	if (rc) {
		log_close(log);
		log_remove(io);
		return rc;
	}
	/* Two frames must fit before the epoch has to end, so that none ever waits for room. */
	log->group_bytes = bytes / 4 < LOG_GROUP_BYTES ? (size_t)bytes / 4 : LOG_GROUP_BYTES;
	return 0;
}

void log_close(struct log *log)
{
	for (int i = 0; i < 2; i++) {
		if (log->fd[i] >= 0)
			log->io->ops->close(log->io, log->fd[i]);
		log->fd[i] = -1;
	}
}

void log_remove(struct io *io)
{
	io->ops->unlink(io, paths[0]);
	io->ops->unlink(io, paths[1]);
}

void log_empty(struct io *io)
{
	for (int i = 0; i < 2; i++) {
		int fd = io->ops->open(io, paths[i], O_RDWR | O_CREAT | O_TRUNC, 0600);

		if (fd >= 0)
			io->ops->close(io, fd);
	}
}

bool log_exists(struct io *io)
{
	int fd = -ENOENT;

	for (int i = 0; i < 2 && fd == -ENOENT; i++)
		fd = io->ops->open(io, paths[i], O_RDONLY, 0);
	if (fd >= 0)
		io->ops->close(io, fd);
	return fd != -ENOENT;
}

bool log_nearly_full(struct log *log)
{
	int file = (int)(log->next.epoch % 2);
	uint64_t need = log->tail + 2 * log->group_bytes;

	if (need <= log->prepared[file])
		return false;
	if (log->prepared[file] + STEP_BYTES > log->file_bytes)
		return true;
	/* Without space for more the epochs are shorter, and nothing else. */
	return prepare(log, file, log->prepared[file] + STEP_BYTES) != 0 || need > log->prepared[file];
}

static uint64_t frame_sum(const struct frame *f, const void *payload, uint64_t salt)
{
	uint64_t head = XXH3_64bits_withSeed(f, offsetof(struct frame, sum), salt);

	return XXH3_64bits_withSeed(payload, f->payload_bytes, head);
}

int log_write(struct log *log, void *buf, size_t payload_bytes)
{
	struct frame *f = buf;
	char *payload = (char *)buf + sizeof *f;
	size_t bytes = log_frame_bytes(payload_bytes);
	int file = (int)(log->next.epoch % 2), rc;

	assert(bytes <= log->group_bytes && log->tail + bytes <= log->prepared[file]);
	f->magic = FRAME_MAGIC;
	f->epoch = log->next.epoch;
	f->seq = log->next.seq;
	f->prev = log->next.prev;
	f->payload_bytes = (uint32_t)payload_bytes;
	f->reserved = 0;
	f->sum = frame_sum(f, payload, log->next.salt);
	memset(payload + payload_bytes, 0, bytes - sizeof *f - payload_bytes);
	rc = io_write_full(log->io, log->fd[file], buf, bytes, log->tail);
	if (!rc)
		rc = log->io->ops->datasync(log->io, log->fd[file]);
	if (rc < 0)
		return rc;
	log->tail += bytes;
	log->next.seq++;
	log->next.prev = f->sum;
	return 0;
}

void log_switch(struct log *log)
{
	log->next.epoch++;
	log->tail = 0;
}

/* ------------------------------------------------------------------ reading */

struct scan {
	struct io *io;
	int fd;
	uint64_t size; /* of the file */
	uint64_t off;
	bool first;
	unsigned char *buf; /* a frame's payload */
	size_t capacity;
	/* A piece of the file: frames may be small, and are looked for at every multiple of FRAME_ALIGN. */
	unsigned char *window;
	uint64_t window_off, window_bytes;
};

/* Reads a range that lies within the file. */
static int scan_bytes(struct scan *sc, void *out, size_t size, uint64_t off)
{
	if (size > WINDOW_BYTES)
		return io_read_full(sc->io, sc->fd, out, size, off);
	if (off < sc->window_off || off + size > sc->window_off + sc->window_bytes) {
		uint64_t left = sc->size - off, bytes = left < WINDOW_BYTES ? left : WINDOW_BYTES;
		int rc = io_read_full(sc->io, sc->fd, sc->window, bytes, off);

		sc->window_bytes = rc ? 0 : bytes;
		sc->window_off = off;
		if (rc)
			return rc;
	}
	memcpy(out, sc->window + (off - sc->window_off), size);
	return 0;
}

/* Begins with a file that has been opened. -ENOMEM. */
static int scan_begin(struct scan *sc)
{
	sc->window_bytes = 0;
	if (!sc->window)
		sc->window = malloc(WINDOW_BYTES);
	return sc->window ? sc->io->ops->size(sc->io, sc->fd, &sc->size) : -ENOMEM;
}

/* Reads the frame at off whatever it is: 1 if it is whole by its sum and of this epoch, 0 if not, or an
 * error. */
static int scan_read(struct scan *sc, uint64_t off, const struct log_position *at, struct frame *f)
{
	int rc;

	if (off + sizeof *f > sc->size)
		return 0;
	rc = scan_bytes(sc, f, sizeof *f, off);
	if (rc)
		return rc;
	if (f->magic != FRAME_MAGIC || f->epoch != at->epoch || f->payload_bytes > sc->size - off - sizeof *f)
		return 0;
	if (f->payload_bytes >= sc->capacity) {
		free(sc->buf);
		sc->capacity = 0;
		sc->buf = malloc(f->payload_bytes + 1ul);
		if (!sc->buf)
			return -ENOMEM;
		sc->capacity = f->payload_bytes + 1ul;
	}
	if (f->payload_bytes) {
		rc = scan_bytes(sc, sc->buf, f->payload_bytes, off + sizeof *f);
		if (rc)
			return rc;
	}
	return f->sum == frame_sum(f, sc->buf, at->salt);
}

/*
 * Called where the chain ends: is there a later frame of this epoch behind? Frames are written one at a time,
 * each after its predecessor was durable, so that would mean damage and not a crash.
 */
static int scan_behind(struct scan *sc, const struct log_position *at, char *why, size_t why_size)
{
	struct frame f;

	for (uint64_t off = sc->off; off < sc->size; off += FRAME_ALIGN) {
		int rc = scan_read(sc, off, at, &f);

		if (rc < 0)
			return rc;
		if (rc && f.seq > at->seq) {
			snprintf(why, why_size,
				 "%s is damaged at byte %llu: frame %llu is bad, but frame %llu follows",
				 paths[at->epoch % 2], (unsigned long long)sc->off,
				 (unsigned long long)at->seq, (unsigned long long)f.seq);
			return -EUCLEAN;
		}
	}
	return 0;
}

static int scan_file(struct scan *sc, struct log_position *at, log_frame_fn fn, void *arg, char *why,
		     size_t why_size)
{
	int rc = scan_begin(sc);
	struct frame f;

	if (rc >= 0 && sc->first)
		sc->io->ops->read_ahead(sc->io, sc->fd, 0, sc->size);

	for (sc->off = 0; rc >= 0; sc->off += log_frame_bytes(f.payload_bytes)) {
		rc = scan_read(sc, sc->off, at, &f);
		if (rc < 0)
			break;
		if (!rc || f.seq != at->seq || f.prev != at->prev)
			return sc->first ? scan_behind(sc, at, why, why_size) : 0;
		rc = fn(arg, &f, sc->buf);
		at->seq++;
		at->prev = f.sum;
	}
	return rc;
}

/* What is read after this is on the disk. */
static int scan_sync(const struct scan *sc)
{
	int rc;

	if (!sc->first || sc->io->read_only)
		return 0;
	rc = sc->io->ops->datasync(sc->io, sc->fd);
	if (rc >= 0)
		sc->io->ops->forget(sc->io, sc->fd);
	return rc < 0 ? rc : 0;
}

int log_scan(struct io *io, struct log_position *at, bool first, log_frame_fn fn, void *arg, char *why,
	     size_t why_size)
{
	struct scan sc = {.io = io, .first = first};
	int rc = 0;

	/* The second file goes on where the first ends; when it has nothing of the next epoch, the log ends
	 * there. */
	for (int i = 0; i < 2 && !rc; i++) {
		at->epoch += (uint64_t)i;
		sc.fd = io->ops->open(io, paths[at->epoch % 2], first && !io->read_only ? O_RDWR : O_RDONLY,
				      0);
		if (sc.fd == -ENOENT)
			continue;
		if (sc.fd < 0) {
			rc = sc.fd;
			break;
		}
		rc = scan_sync(&sc);
		if (!rc)
			rc = scan_file(&sc, at, fn, arg, why, why_size);
		io->ops->close(io, sc.fd);
	}
	free(sc.buf);
	free(sc.window);
	return rc;
}

int log_cut(struct io *io, const struct log_position *at, uint64_t off, log_frame_fn fn, void *arg)
{
	struct scan sc = {.io = io};
	struct frame f;
	int rc;

	sc.fd = io->ops->open(io, paths[at->epoch % 2], O_RDWR, 0);
	if (sc.fd < 0)
		return sc.fd == -ENOENT ? 0 : sc.fd;
	rc = scan_begin(&sc);
	for (sc.off = off; rc >= 0 && sc.off < sc.size; sc.off += FRAME_ALIGN) {
		rc = scan_read(&sc, sc.off, at, &f);
		if (rc > 0)
			rc = f.seq >= at->seq ? fn(arg, &f, sc.buf) : 0;
	}
	if (rc >= 0 && off < sc.size)
		rc = io->ops->truncate(io, sc.fd, off);
	if (rc >= 0)
		rc = io->ops->datasync(io, sc.fd);
	io->ops->close(io, sc.fd);
	free(sc.buf);
	free(sc.window);
	return rc < 0 ? rc : 0;
}
