/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_vectors - reads the vectors of a snapshot. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/base/checksum.h"
#include "store/snapshot/snapshot_state.h"

/* What is read at a time, and how many rows are looked up under one hold of the store's lock. */
#define READ_BYTES (1u << 20)
#define RUN_ROWS 1024u

/*
 * Reading vectors takes no lock while it waits for the disk. The file is read first, then, under the lock, it
 * is looked up where each row is: a row that was kept is read from the spill file, what waits for the applier
 * is copied from its record. A row that is neither was not changed since the snapshot (it would have been
 * kept before the applier wrote into the file), so that what was read is right, unless the applier wrote it
 * just then for the first time: then its checksum does not fit, and it is read once more.
 */

/* Where a row's vector is, as it was looked up. */
struct place {
	uint32_t kept; /* in the spill file, or ROW_NONE */
	uint32_t sum;  /* of the vector, unless it is kept */
	bool copied;   /* from a record that waits for the applier */
};

/* Copies what waits for the applier to buf. Under the lock. */
static int find_vector(const struct vs_snapshot *m, uint32_t row, void *buf, struct place *out)
{
	struct segment *seg = m->segments[row >> m->shift];
	const struct overlay_item *item;
	const struct row *rows;

	*out = (struct place){.kept = snapshot_image_of(m, row)};
	if (m->broken || out->kept != ROW_NONE)
		return m->broken;
	if (!m->c && !seg->going)
		return -ESTALE;
	item = snapshot_pending(m, row);
	if (item) {
		out->sum = item->meta->row.data_sum;
		out->copied = item->data != NULL;
		return out->copied ? collection_bytes(m->c, row, buf) : 0;
	}
	rows = segment_rows(seg);
	if (rows)
		out->sum = rows[row & ((1u << m->shift) - 1)].data_sum;
	return rows ? 0 : -ENOMEM;
}

/* Reads rows as they are in the segment's file; beyond its end, where the applier has yet to write, are
 * zeros. */
static int read_file(const struct vs_snapshot *m, uint32_t row, uint32_t count, char *buf)
{
	struct segment *seg = m->segments[row >> m->shift];
	uint64_t off = segment_offset(seg, row & ((1u << m->shift) - 1));
	size_t size = count * m->info.row_bytes, done = 0;
	struct io *io = m->s->io;
	int fd = segment_has_files(seg) ? segment_file(seg, SEGMENT_VECTORS) : -1;
	ssize_t n = 1;

	if (fd < 0 && segment_has_files(seg))
		return fd;
	while (fd >= 0 && done < size && n > 0) {
		n = io->ops->pread(io, fd, buf + done, size - done, off + done);
		if (n == -EINTR)
			n = 1;
		else if (n > 0)
			done += (size_t)n;
	}
	if (fd >= 0)
		segment_file_done(seg, SEGMENT_VECTORS);
	memset(buf + done, 0, size - done);
	return n < 0 ? (int)n : 0;
}

/* Makes sure of a vector in buf that was looked up: -EBADMSG if it is not what was written. */
static int settle(const struct vs_snapshot *m, const struct place *place, void *buf)
{
	struct before_image head;
	uint32_t sum = place->sum;

	if (place->kept != ROW_NONE) {
		int rc = snapshot_image_read(m, place->kept, &head, buf);

		if (rc)
			return rc;
		sum = head.row.data_sum;
	}
	return sum == sum_data(buf, m->info.row_bytes) ? 0 : -EBADMSG;
}

static int read_run(const struct vs_snapshot *m, uint32_t row, uint32_t count, char *buf, bool again)
{
	size_t bytes = m->info.row_bytes;
	struct place places[RUN_ROWS];
	int rc = read_file(m, row, count, buf);

	assert(count <= RUN_ROWS);
	if (rc)
		return rc;
	engine_read_lock(m->s);
	for (uint32_t i = 0; i < count && !rc; i++)
		rc = find_vector(m, row + i, buf + i * bytes, &places[i]);
	pthread_rwlock_unlock(&m->s->lock);
	for (uint32_t i = 0; i < count && !rc; i++) {
		rc = settle(m, &places[i], buf + i * bytes);
		if (rc == -EBADMSG && !again)
			rc = read_run(m, row + i, 1, buf + i * bytes, true);
	}
	return rc;
}

/* Reads the rows [first, first + count) into buf. */
static int read_rows(const struct vs_snapshot *m, uint64_t first, uint64_t count, char *buf)
{
	int rc = 0;

	while (count && !rc) {
		uint32_t more, row = snapshot_row(m, first, &more);

		if (more > count)
			more = (uint32_t)count;
		if (more > RUN_ROWS)
			more = RUN_ROWS;
		rc = read_run(m, row, more, buf, false);
		buf += more * m->info.row_bytes;
		first += more;
		count -= more;
	}
	return rc;
}

static void report_damage(struct vs_snapshot *m)
{
	char name[VS_NAME_MAX + 1] = "";
	const struct collection *c;

	m->s->counters.checksum_errors++;
	pthread_rwlock_rdlock(&m->s->lock);
	c = collection_get(&m->s->table, m->info.collection);
	if (c)
		snprintf(name, sizeof name, "%s", c->name);
	pthread_rwlock_unlock(&m->s->lock);
	engine_report(m->s, VS_ERROR, "%s/.vecfs/vectors: checksum mismatch", name);
}

int snapshot_vector(struct vs_snapshot *m, uint64_t row, void *buf)
{
	int rc;

	if (m->borrowed)
		return borrowed_vectors(m, row, (const uint32_t[]){0}, 1, buf);
	rc = read_rows(m, row, 1, buf);
	if (rc == -EBADMSG)
		report_damage(m);
	return rc;
}

ssize_t vs_snapshot_vectors(struct vs_snapshot *m, void *buf, size_t size, uint64_t off)
{
	size_t row_bytes = m->info.row_bytes, done = 0;
	uint64_t end = m->info.rows * row_bytes;
	char *whole = NULL;
	int rc = 0;

	if (off >= end)
		return 0;
	if (size > end - off)
		size = end - off;
	if (m->borrowed)
		return borrowed_whole_rows(m, buf, size, off);
	while (done < size && !rc) {
		uint64_t at = off + done, row = at / row_bytes;
		size_t skip = at % row_bytes, left = size - done, n;
		bool part = skip || left < row_bytes;

		n = part ? row_bytes - skip : (left < READ_BYTES ? left : READ_BYTES) / row_bytes * row_bytes;
		if (!part && !n)
			n = row_bytes;
		if (n > left)
			n = left;
		if (part && !whole && !(whole = malloc(row_bytes)))
			return -ENOMEM;
		rc = read_rows(m, row, part ? 1 : n / row_bytes, part ? whole : (char *)buf + done);
		if (part && !rc)
			memcpy((char *)buf + done, whole + skip, n);
		done += n;
	}
	free(whole);
	if (rc == -EBADMSG) {
		report_damage(m);
		rc = -EIO;
	}
	return rc ? rc : (ssize_t)done;
}
