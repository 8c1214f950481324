/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log - the write-ahead log's files and frames (format.h). Knows nothing of what the records mean.
 *
 * Two files are written in turns, an epoch each: while one fills, the checkpoint makes the other's work
 * durable. They are overwritten in place, never truncated while in use: a frame in blocks that were written
 * before costs one flush of the disk, an appended one also a commit of the file system's journal (0.13
 * against 0.19 ms on ext4). Frames of earlier epochs are no danger: epoch, seq and prev of a frame must fit
 * the one before it.
 *
 * One thread at a time (the commit's leader).
 */
#ifndef VECFS_STORE_LOG_LOG_H
#define VECFS_STORE_LOG_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/base/format.h"
#include "store/io/io.h"

#define LOG_GROUP_BYTES (4u << 20) /* the largest frame */
#define LOG_FILE_BYTES (64u << 20) /* what a log file may grow to */

struct log_position {
	uint64_t epoch; /* of the next frame */
	uint64_t seq;
	uint64_t prev;
	uint64_t salt;
};

struct log {
	struct io *io;
	int fd[2];
	uint64_t prepared[2]; /* bytes that have blocks */
	uint64_t tail;        /* in the current file, fd[next.epoch % 2] */
	struct log_position next;
	size_t group_bytes;       /* the largest frame, given the space there is */
	_Atomic bool sync_failed; /* a datasync failed: whatever it was for, nothing more may be written */
	uint64_t file_bytes;      /* what a file may grow to */
};

/* Creates both files, which may grow to file_bytes each. -ENOSPC if there is no room for even a small log. */
int log_create(struct log *log, struct io *io, const struct log_position *at, uint64_t file_bytes);
/* Closes the files. */
void log_close(struct log *log);
/* Removes the files, as far as they are there. */
void log_remove(struct io *io);
/* Empties the files, at the end of a recovery: they stay for as long as the store is not closed. */
void log_empty(struct io *io);
/*
 * Whether one of the files is there: then the store was not closed, whatever its catalog says. They are made
 * before a catalog says that it is open, which a crash may have torn, or damage made unreadable, and removed
 * after one says that it is closed, from whose position on they have nothing.
 */
bool log_exists(struct io *io);
/*
 * Whether the epoch should end with the next frame, since the file could not take one more after it. May
 * prepare more of the file.
 */
bool log_nearly_full(struct log *log);
/*
 * Writes one frame and makes it durable. buf begins with room for the struct frame, then payload_bytes; it
 * may be written to up to the next multiple of FRAME_ALIGN.
 */
int log_write(struct log *log, void *buf, size_t payload_bytes);
/* Goes on in the other file, with the next epoch. */
void log_switch(struct log *log);

/* Gets each frame's payload. Non-zero ends the scan and is returned. */
typedef int (*log_frame_fn)(void *arg, const struct frame *frame, const void *payload);
/*
 * Reads the frames from a position on, through both files, until the log ends; *at moves to the end. A torn
 * last frame ends it normally. -EUCLEAN: a bad frame is followed by good ones, so something was damaged; why
 * tells where.
 *
 * first: says that this is the first scan. It syncs the files and reads them from the disk, for what the page
 * cache has may not be there (after a SIGKILL; after a failed sync it never will), and nothing may reach the
 * segments ahead of a durable log; and it looks for damage where the log ends.
 */
int log_scan(struct io *io, struct log_position *at, bool first, log_frame_fn fn, void *arg, char *why,
	     size_t why_size);

/*
 * For a repair: ends the log in the file of at->epoch, off bytes into it. Each whole frame that is lost by
 * that, of this epoch and not before at->seq, is shown to fn first.
 */
int log_cut(struct io *io, const struct log_position *at, uint64_t off, log_frame_fn fn, void *arg);
/* What a frame takes in the file. */
size_t log_frame_bytes(size_t payload_bytes);

#endif
