/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/receive_batch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SUM_BYTES ((size_t)1 << 20)
/* There is a note after so many bytes, or so long, whichever comes first. */
#define PENDING_BYTES ((size_t)8 << 20)
#define PENDING_MS 100
#define LOCK_TRIES 20
#define LOCK_PAUSE_US 50000

static const char *const names[RECEIVE_FILES] = {"received", NULL, "attributes", "ids0", "delete0"};

static int write_at(int fd, const void *data, size_t size, uint64_t off)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pwrite(fd, (const char *)data + done, size - done, (off_t)(off + done));

		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}

static int open_file(struct receive_batch *b, int which)
{
	char path[PATH_MAX];
	const char *name = which == RECEIVE_VECTORS ? b->vectors_name : names[which];
	int flags =
		which == RECEIVE_VECTORS ? O_WRONLY : O_RDWR; /* to read an upload would make a copy of it */

	if (b->fd[which] >= 0)
		return 0;
	if (snprintf(path, sizeof path, "%s/.vecfs/%s", b->path, name) >= (int)sizeof path)
		return -ENAMETOOLONG;
	b->fd[which] = open(path, flags | O_CREAT | O_CLOEXEC, 0666);
	return b->fd[which] < 0 ? -errno : 0;
}

static int start(struct receive_batch *b, const char *control, uint64_t stream,
		 const struct vs_schema *schema)
{
	static char vectors_name[32];

	memset(b, 0, sizeof *b);
	for (int i = 0; i < RECEIVE_FILES; i++)
		b->fd[i] = -1;
	snprintf(vectors_name, sizeof vectors_name, "vectors.%s", vs_dtype_name(schema->dtype));
	b->vectors_name = vectors_name;
	b->row_bytes = vs_row_bytes(schema);
	snprintf(b->name, sizeof b->name, RECEIVE_BATCH_PREFIX "%016" PRIx64, stream);
	return snprintf(b->path, sizeof b->path, "%s/tx/%s", control, b->name) < (int)sizeof b->path
		       ? 0
		       : -ENAMETOOLONG;
}

static int try_lock(int fd)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK ? -EBUSY : -errno;
}

/* The notes are there as long as the batch, and who has their lock has the batch. One who was killed may have
 * it for a moment longer. */
static int lock(struct receive_batch *b)
{
	int rc = open_file(b, RECEIVE_NOTES);

	if (rc == 0)
		rc = try_lock(b->fd[RECEIVE_NOTES]);
	for (int tries = 0; rc == -EBUSY && tries < LOCK_TRIES; tries++) {
		usleep(LOCK_PAUSE_US);
		rc = try_lock(b->fd[RECEIVE_NOTES]);
	}
	return rc;
}

int receive_batch_make(struct receive_batch *b, const char *control, uint64_t stream,
		       const struct vs_schema *schema)
{
	int rc = start(b, control, stream, schema);

	if (rc == 0 && mkdir(b->path, 0777) == 0)
		return lock(b);
	if (rc == 0 && errno != EEXIST)
		rc = -errno;
	if (rc == 0)
		rc = lock(b);
	if (rc == 0 && rmdir(b->path) != 0)
		rc = -errno;
	receive_batch_close(b);
	if (rc == 0 && mkdir(b->path, 0777) != 0)
		rc = -errno;
	return rc == 0 ? lock(b) : rc;
}

/* ------------------------------------------------------------------ notes */

/* Goes on with a sum through a part of a file. -ENODATA: it is not there. */
static int sum_file(struct receive_batch *b, int which, uint64_t from, uint64_t to, uint64_t *sum)
{
	char *buf = malloc(SUM_BYTES);
	XXH3_state_t *state = XXH3_createState();
	int rc = buf && state ? open_file(b, which) : -ENOMEM;

	if (rc == 0)
		XXH3_64bits_reset_withSeed(state, *sum);
	while (rc == 0 && from < to) {
		size_t size = to - from < SUM_BYTES ? (size_t)(to - from) : SUM_BYTES;
		ssize_t n = pread(b->fd[which], buf, size, (off_t)from);

		if (n > 0)
			XXH3_64bits_update(state, buf, (size_t)n);
		else
			rc = n < 0 ? -errno : -ENODATA;
		from += n > 0 ? (uint64_t)n : 0;
	}
	if (rc == 0)
		*sum = XXH3_64bits_digest(state);
	free(buf);
	XXH3_freeState(state);
	return rc;
}

/* Whether the files hold what the note behind b->at says. */
static int check_note(struct receive_batch *b, const struct receive_note *note)
{
	const struct receive_note *at = &b->at;
	uint64_t sum = at->sum;
	int rc = 0;

	if (note->removals < at->removals || note->rows < at->rows || note->ids_bytes < at->ids_bytes ||
	    note->removed_bytes < at->removed_bytes || note->rows > UINT32_MAX)
		return -ENODATA;
	if (note->removed_bytes > at->removed_bytes)
		rc = sum_file(b, RECEIVE_REMOVED, at->removed_bytes, note->removed_bytes, &sum);
	if (rc == 0 && note->rows > at->rows)
		rc = sum_file(b, RECEIVE_IDS, at->ids_bytes, note->ids_bytes, &sum);
	if (rc == 0 && note->rows > at->rows)
		rc = sum_file(b, RECEIVE_ATTRS, at->rows * sizeof(struct vs_file_attr),
			      note->rows * sizeof(struct vs_file_attr), &sum);
	return rc ? rc : sum == note->sum ? 0 : -ENODATA;
}

static int read_note(const struct receive_batch *b, uint64_t n, struct receive_note *out)
{
	ssize_t got = pread(b->fd[RECEIVE_NOTES], out, sizeof *out, (off_t)(n * sizeof *out));

	return got < 0 ? -errno : (size_t)got == sizeof *out ? 0 : -ENODATA;
}

/* Goes through the notes up to the last one that can be believed, as far as ids and attributes tell. */
static int believe_notes(struct receive_batch *b)
{
	struct receive_note note;
	int rc = 0;

	while (rc == 0) {
		rc = read_note(b, b->notes, &note);
		if (rc == 0)
			rc = check_note(b, &note);
		if (rc == 0) {
			b->at = note;
			b->notes++;
		}
	}
	return rc == -ENODATA ? 0 : rc;
}

/* Cuts the vectors after the last note, or an earlier one, if they have not come so far. */
static int cut_vectors(struct receive_batch *b)
{
	int rc = b->at.rows > 0 ? open_file(b, RECEIVE_VECTORS) : 0;

	while (rc == 0 && b->at.rows > 0) {
		if (ftruncate(b->fd[RECEIVE_VECTORS], (off_t)(b->at.rows * b->row_bytes)) == 0)
			return 0;
		if (errno != ENODATA)
			return -errno;
		b->notes--;
		if (b->notes == 0)
			b->at = (struct receive_note){0};
		else
			rc = read_note(b, b->notes - 1, &b->at);
	}
	return rc;
}

static int cut(struct receive_batch *b, int which, uint64_t size)
{
	if (b->fd[which] < 0)
		return 0;
	return ftruncate(b->fd[which], (off_t)size) == 0 ? 0 : -errno;
}

int receive_batch_resume(struct receive_batch *b, const char *control, uint64_t stream,
			 const struct vs_schema *schema)
{
	struct stat st;
	int rc = start(b, control, stream, schema);

	if (rc == 0 && stat(b->path, &st) != 0)
		rc = -errno;
	if (rc == 0)
		rc = lock(b);
	if (rc == 0)
		rc = believe_notes(b);
	if (rc == 0)
		rc = cut_vectors(b);
	if (rc == 0)
		rc = cut(b, RECEIVE_NOTES, b->notes * sizeof b->at);
	if (rc == 0)
		rc = cut(b, RECEIVE_REMOVED, b->at.removed_bytes);
	if (rc == 0)
		rc = cut(b, RECEIVE_IDS, b->at.ids_bytes);
	if (rc == 0)
		rc = cut(b, RECEIVE_ATTRS, b->at.rows * sizeof(struct vs_file_attr));
	b->noted = b->at;
	if (rc)
		receive_batch_close(b);
	return rc;
}

/* ------------------------------------------------------------------ adding */

/* Writes what there is of the end of a file, and goes on with the sum through it. */
static int flush_file(struct receive_batch *b, int which, struct receive_tail *tail, uint64_t end)
{
	int rc;

	if (tail->size == 0)
		return 0;
	rc = open_file(b, which);
	if (rc == 0)
		rc = write_at(b->fd[which], tail->data, tail->size, end - tail->size);
	b->at.sum = XXH3_64bits_withSeed(tail->data, tail->size, b->at.sum);
	tail->size = 0;
	return rc;
}

/* What belongs to the vectors that have been written, and then the note that says so. */
static int flush(struct receive_batch *b)
{
	int rc = flush_file(b, RECEIVE_REMOVED, &b->removed, b->at.removed_bytes);

	if (rc == 0)
		rc = flush_file(b, RECEIVE_IDS, &b->ids, b->at.ids_bytes);
	if (rc == 0)
		rc = flush_file(b, RECEIVE_ATTRS, &b->attrs, b->at.rows * sizeof(struct vs_file_attr));
	if (rc == 0)
		rc = write_at(b->fd[RECEIVE_NOTES], &b->at, sizeof b->at, b->notes * sizeof b->at);
	if (rc)
		return rc;
	b->noted = b->at;
	b->notes++;
	b->pending = 0;
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static int tail_add(struct receive_tail *tail, const void *data, size_t size)
{
	if (tail->size + size > tail->room) {
		size_t room = 2 * tail->room + size;
		char *grown = realloc(tail->data, room);

		if (!grown)
			return -ENOMEM;
		tail->data = grown;
		tail->room = room;
	}
	memcpy(tail->data + tail->size, data, size);
	tail->size += size;
	return 0;
}

static int add_rows(struct receive_batch *b, const struct vecstream_rows *r)
{
	const size_t attrs = r->rows * sizeof *r->attrs, vectors = r->rows * b->row_bytes;
	int rc = open_file(b, RECEIVE_VECTORS);

	if (rc == 0)
		rc = write_at(b->fd[RECEIVE_VECTORS], r->vectors, vectors, b->at.rows * b->row_bytes);
	if (rc == 0)
		rc = tail_add(&b->attrs, r->attrs, attrs);
	if (rc == 0)
		rc = tail_add(&b->ids, r->ids, r->ids_bytes);
	if (rc)
		return rc;
	b->at.rows += r->rows;
	b->at.ids_bytes += r->ids_bytes;
	b->pending += vectors + attrs + r->ids_bytes;
	return 0;
}

static int add_removals(struct receive_batch *b, const struct vecstream_rows *r)
{
	int rc = tail_add(&b->removed, r->ids, r->ids_bytes);

	if (rc)
		return rc;
	b->at.removals += r->rows;
	b->at.removed_bytes += r->ids_bytes;
	b->pending += r->ids_bytes;
	return 0;
}

int receive_batch_add(struct receive_batch *b, const struct vecstream_rows *rows)
{
	int rc = rows->type == VECSTREAM_ROWS ? add_rows(b, rows) : add_removals(b, rows);

	if (rc == 0 && (b->pending >= PENDING_BYTES || now_ms() - b->noted_ms >= PENDING_MS)) {
		rc = flush(b);
		b->noted_ms = now_ms();
	}
	return rc;
}

static void tail_free(struct receive_tail *tail)
{
	free(tail->data);
	*tail = (struct receive_tail){0};
}

int receive_batch_close(struct receive_batch *b)
{
	int rc = b->pending > 0 ? flush(b) : 0;

	b->at = b->noted;
	for (int i = RECEIVE_FILES - 1; i >= 0; i--) { /* the lock goes last */
		if (b->fd[i] >= 0 && close(b->fd[i]) != 0 && rc == 0)
			rc = -errno;
		b->fd[i] = -1;
	}
	tail_free(&b->attrs);
	tail_free(&b->ids);
	tail_free(&b->removed);
	return rc;
}
