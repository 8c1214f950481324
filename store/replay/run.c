/* SPDX-License-Identifier: Apache-2.0 */
#include "store/replay/run.h"

#include <errno.h>
#include <unistd.h>

#include "store/clone/clone.h"
#include "store/engine.h"

#define SHORTAGE_MS 10
#define SHORTAGE_TRIES 1000

/* Whether an opening failed for want of what others may soon give back. */
static bool is_shortage(int rc)
{
	return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM;
}

/* Whether the rows of a segment, which is to get its own, are read by a snapshot whose names have gone. */
static bool rows_are_read(struct vs_store *s, const struct segment *seg)
{
	bool read;

	if (!seg->copy_made)
		return false;
	pthread_rwlock_rdlock(&s->lock);
	read = seg->share && seg->share->kept;
	pthread_rwlock_unlock(&s->lock);
	return read;
}

/*
 * A file with several names stays as it is: 1 if there is nothing to write. A recovery comes again to what
 * was written before the file got its other names, and skips it; rows of zeros that come afterwards go to a
 * copy.
 */
static int run_prepare(struct vs_store *s, struct run *run)
{
	int rc = segment_is_linked(run->seg, run->column);

	if (run->column == SEGMENT_ROWS && rc >= 0 && (rc || rows_are_read(s, run->seg)))
		return clone_unshare_rows(s, run->seg);
	return rc <= 0 ? rc : s->replaying ? 1 : -EIO;
}

static int run_write(struct vs_store *s, struct run *run)
{
	int rc = run_prepare(s, run);

	if (rc)
		return rc < 0 ? rc : 0;
	return segment_writev(run->seg, run->column, run->iov, run->count, run->off);
}

int run_flush(struct vs_store *s, struct run *run)
{
	int rc = 0;

	if (!run->count)
		return 0;
	rc = run_write(s, run);
	for (int i = 0; is_shortage(rc) && i < SHORTAGE_TRIES; i++) {
		/* The records are safe in the log: it is better to wait for others to close what they have
		 * open. */
		usleep(SHORTAGE_MS * 1000);
		rc = run_write(s, run);
	}
	run->count = 0;
	segment_put(s->io, run->seg);
	return rc ? rc : files_relieve(&s->files);
}

int run_add(struct vs_store *s, struct run *run, struct segment *seg, uint64_t off, const void *data,
	    size_t size)
{
	if (run->count && (run->seg != seg || run->off + run->bytes != off || run->count == RUN_BUFFERS)) {
		int rc = run_flush(s, run);

		if (rc)
			return rc;
	}
	if (!run->count) {
		segment_get(seg);
		run->seg = seg;
		run->off = off;
		run->bytes = 0;
	}
	run->iov[run->count++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = size};
	run->bytes += size;
	return 0;
}
