/* SPDX-License-Identifier: Apache-2.0 */
#include "moment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"
#include "sum.h"

/* What one call reads under one hold of the store's lock. */
#define READ_BYTES (1u << 20)
#define IDS_ROWS 4096u

/*
 * A copy of a row that has changed since: in the spill file, an unlinked file of fixed-size items, at an index kept
 * in `kept` (row -> index, the map that the entries use too).
 */
struct kept_row {
	struct row row;
	char name[256];
	/* The vector's bytes follow. */
};

struct vs_moment {
	struct vs_store *s;
	struct collection *c; /* NULL once the collection is gone: everything is kept then */
	struct vs_moment *next; /* of the collection's */
	unsigned users;
	struct vs_moment_info info;
	unsigned shift;
	uint32_t segment_count;
	uint32_t *counts;     /* rows of each segment then */
	struct entries kept;
	uint64_t kept_count;
	int spill_fd;         /* -1 until something is kept */
	int broken;           /* a copy could not be kept: the moment is lost, its readers get this */
	pthread_mutex_t ids_mutex;
	int ids_fd;           /* the text of ids, once somebody has asked for it; -1 before */
	uint64_t ids_bytes;
};

/* ------------------------------------------------------------------ keeping */

/* A file that goes when it is closed. A crash may leave its name; recovery removes it. */
static int spill_open(struct vs_store *s)
{
	char path[32];
	int fd;

	if (s->read_only && s->io->ops->scratch)
		return s->io->ops->scratch(s->io);
	snprintf(path, sizeof path, "spill.%u", s->spill_number++);
	fd = s->io->ops->open(s->io, path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd >= 0)
		s->io->ops->unlink(s->io, path);
	return fd;
}

static size_t kept_bytes(const struct vs_moment *m)
{
	return sizeof(struct kept_row) + m->info.row_bytes;
}

static int keep(struct vs_moment *m, uint32_t row)
{
	struct kept_row *copy;
	const struct row *r;
	const char *name;
	int rc;

	if (m->spill_fd < 0)
		m->spill_fd = spill_open(m->s);
	if (m->spill_fd < 0)
		return m->spill_fd;
	copy = calloc(1, kept_bytes(m));
	if (!copy)
		return -ENOMEM;
	r = collection_row(m->c, row, &name);
	if (r) {
		copy->row = *r;
		memcpy(copy->name, name, r->name_len);
	}
	rc = collection_bytes(m->s->io, m->c, row, copy + 1);
	if (!rc)
		rc = entries_reserve(&m->kept, row);
	if (!rc)
		rc = io_write_full(m->s->io, m->spill_fd, copy, kept_bytes(m), m->kept_count * kept_bytes(m));
	if (!rc)
		entries_set(&m->kept, row, (uint32_t)m->kept_count++);
	free(copy);
	return rc;
}

void moment_preserve(struct vs_store *s, struct collection *c, uint32_t row)
{
	uint32_t n = row >> c->shift, slot = collection_slot(c, row);

	(void)s;
	for (struct vs_moment *m = c->moments; m; m = m->next) {
		if (m->broken || n >= m->segment_count || slot >= m->counts[n] ||
		    entries_get(&m->kept, row) != ROW_NONE)
			continue;
		m->broken = keep(m, row);
	}
}

void moment_orphan(struct collection *c)
{
	for (struct vs_moment *m = c->moments; m; m = m->next)
		m->c = NULL;
	c->moments = NULL;
}

/* ------------------------------------------------------------------ opening */

static struct vs_moment *moment_new(struct vs_store *s, struct collection *c)
{
	struct vs_moment *m = calloc(1, sizeof *m);

	if (!m)
		return NULL;
	m->counts = calloc(c->segment_count + 1, sizeof *m->counts);
	if (!m->counts) {
		free(m);
		return NULL;
	}
	m->s = s;
	m->c = c;
	m->shift = c->shift;
	m->segment_count = c->segment_count;
	for (uint32_t i = 0; i < c->segment_count; i++) {
		m->counts[i] = c->segments[i]->count;
		m->info.rows += m->counts[i];
	}
	m->info.collection = c->id;
	m->info.version = c->version;
	m->info.schema = c->schema;
	m->info.row_bytes = c->row_bytes;
	m->info.ids_bytes = c->name_bytes + m->info.rows;
	entries_init(&m->kept);
	m->spill_fd = m->ids_fd = -1;
	pthread_mutex_init(&m->ids_mutex, NULL);
	m->next = c->moments;
	c->moments = m;
	return m;
}

int vs_moment_open(struct vs_store *s, uint32_t collection, struct vs_moment **out)
{
	struct collection *c;
	int rc;

	*out = NULL;
	for (;;) {
		pthread_rwlock_wrlock(&s->lock);
		c = collection_get(&s->table, collection);
		rc = !c ? -ENOENT : c->damaged ? -EIO : 0;
		if (rc || !c->dead)
			break;
		/* Rows are dense but for the short time after a large batch; that is over soon, with our help. */
		pthread_rwlock_unlock(&s->lock);
		rc = rows_vacuum(s, collection);
		if (rc)
			return rc;
	}
	if (!rc && c->moments && c->moments->info.version == c->version && !c->moments->broken)
		*out = c->moments;
	else if (!rc)
		*out = moment_new(s, c);
	if (*out)
		(*out)->users++;
	pthread_rwlock_unlock(&s->lock);
	return rc ? rc : *out ? 0 : -ENOMEM;
}

void vs_moment_close(struct vs_moment *m)
{
	struct vs_store *s = m->s;
	struct vs_moment **p;
	bool last;

	pthread_rwlock_wrlock(&s->lock);
	last = !--m->users;
	if (last && m->c) {
		for (p = &m->c->moments; *p != m; p = &(*p)->next)
			;
		*p = m->next;
	}
	pthread_rwlock_unlock(&s->lock);
	if (!last)
		return;
	if (m->spill_fd >= 0)
		s->io->ops->close(s->io, m->spill_fd);
	if (m->ids_fd >= 0)
		s->io->ops->close(s->io, m->ids_fd);
	entries_free(&m->kept);
	pthread_mutex_destroy(&m->ids_mutex);
	free(m->counts);
	free(m);
}

void vs_moment_info(const struct vs_moment *m, struct vs_moment_info *out)
{
	*out = m->info;
}

/* ------------------------------------------------------------------ reading */

/* Finds row n of the moment: its number in the collection, and how many more its segment has from there. */
static uint32_t moment_row(const struct vs_moment *m, uint64_t n, uint32_t *more)
{
	uint32_t i = 0;

	while (n >= m->counts[i])
		n -= m->counts[i++];
	*more = m->counts[i] - (uint32_t)n;
	return i << m->shift | (uint32_t)n;
}

static int read_kept(const struct vs_moment *m, uint32_t index, struct kept_row *head, void *data)
{
	uint64_t off = (uint64_t)index * kept_bytes(m);
	int rc = head ? io_read_full(m->s->io, m->spill_fd, head, sizeof *head, off) : 0;

	if (!rc && data)
		rc = io_read_full(m->s->io, m->spill_fd, data, m->info.row_bytes, off + sizeof *head);
	return rc;
}

static int read_one(const struct vs_moment *m, uint32_t row, void *buf)
{
	uint32_t index = entries_get(&m->kept, row);
	struct kept_row head;
	const struct row *r;
	const char *name;
	int rc;

	if (index != ROW_NONE) {
		rc = read_kept(m, index, &head, buf);
		r = &head.row;
	} else if (m->c) {
		rc = collection_bytes(m->s->io, m->c, row, buf);
		r = collection_row(m->c, row, &name);
	} else {
		return -ESTALE;
	}
	if (!rc && (!r || r->data_sum != sum_data(buf, m->info.row_bytes)))
		rc = -EBADMSG;
	return rc;
}

/* Reads up to max whole rows from row on with one call, if they are all in the segment's file. Returns how many. */
static int read_run(const struct vs_moment *m, uint32_t row, uint32_t max, void *buf)
{
	const struct collection *c = m->c;
	const struct segment *seg;
	uint32_t slot;
	int rc;

	if (!c || m->kept_count || c->overlay.count || max < 2)
		return 0;
	seg = collection_segment(c, row);
	slot = collection_slot(c, row);
	rc = io_read_full(m->s->io, seg->fd[SEGMENT_VECTORS], buf, max * m->info.row_bytes,
	                  segment_offset(seg, slot));
	for (uint32_t i = 0; i < max && !rc; i++)
		if (seg->rows[slot + i].data_sum != sum_data((char *)buf + i * m->info.row_bytes, m->info.row_bytes))
			rc = -EBADMSG;
	return rc ? rc : (int)max;
}

/* Reads the rows [first, first + count) into buf; under the lock. */
static int read_rows(const struct vs_moment *m, uint64_t first, uint64_t count, char *buf)
{
	while (count) {
		uint32_t more, row = moment_row(m, first, &more);
		int n;

		if (more > count)
			more = (uint32_t)count;
		n = m->broken ? m->broken : read_run(m, row, more, buf);
		if (!n) {
			n = read_one(m, row, buf);
			if (!n)
				n = 1;
		}
		if (n < 0)
			return n;
		buf += (size_t)n * m->info.row_bytes;
		first += (unsigned)n;
		count -= (unsigned)n;
	}
	return 0;
}

static int read_failed(struct vs_moment *m, int rc)
{
	if (rc == -EBADMSG) {
		struct vs_collection_info info = {0};

		m->s->counters.checksum_errors++;
		vs_collection_get(m->s, m->info.collection, &info);
		engine_report(m->s, VS_ERROR, "%s/.vecfs/vectors: checksum mismatch", info.name);
		rc = -EIO;
	}
	return rc;
}

ssize_t vs_moment_vectors(struct vs_moment *m, void *buf, size_t size, uint64_t off)
{
	size_t row_bytes = m->info.row_bytes, done = 0;
	uint64_t end = m->info.rows * row_bytes;
	char *whole = NULL;
	int rc = 0;

	if (off >= end)
		return 0;
	if (size > end - off)
		size = end - off;
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
		pthread_rwlock_rdlock(&m->s->lock);
		rc = read_rows(m, row, part ? 1 : n / row_bytes, part ? whole : (char *)buf + done);
		pthread_rwlock_unlock(&m->s->lock);
		if (part && !rc)
			memcpy((char *)buf + done, whole + skip, n);
		done += n;
	}
	free(whole);
	return rc ? read_failed(m, rc) : (ssize_t)done;
}

/* ------------------------------------------------------------------ ids */

/* Appends the ids of rows [first, first + count) to text; returns its length. Under the lock. */
static int ids_text(const struct vs_moment *m, uint64_t first, uint64_t count, char *text, size_t *length)
{
	size_t n = 0;

	for (; count; first++, count--) {
		uint32_t more, row = moment_row(m, first, &more), index = entries_get(&m->kept, row);
		struct kept_row head;
		const char *name = head.name;
		const struct row *r = &head.row;
		int rc = m->broken;

		if (!rc && index != ROW_NONE)
			rc = read_kept(m, index, &head, NULL);
		else if (!rc && m->c)
			r = collection_row(m->c, row, &name);
		else if (!rc)
			rc = -ESTALE;
		if (rc)
			return rc;
		/* A damaged id is an empty line, so that the other lines keep their numbers. */
		if (r) {
			memcpy(text + n, name, r->name_len);
			n += r->name_len;
		}
		text[n++] = '\n';
	}
	*length = n;
	return 0;
}

static int ids_build(struct vs_moment *m)
{
	char *text = malloc(IDS_ROWS * 256);
	int fd = text ? spill_open(m->s) : -ENOMEM, rc = fd < 0 ? fd : 0;

	m->ids_bytes = 0;
	for (uint64_t first = 0; first < m->info.rows && !rc; first += IDS_ROWS) {
		uint64_t count = m->info.rows - first < IDS_ROWS ? m->info.rows - first : IDS_ROWS;
		size_t length;

		pthread_rwlock_rdlock(&m->s->lock);
		rc = ids_text(m, first, count, text, &length);
		pthread_rwlock_unlock(&m->s->lock);
		if (!rc)
			rc = io_write_full(m->s->io, fd, text, length, m->ids_bytes);
		if (!rc)
			m->ids_bytes += length;
	}
	free(text);
	if (rc && fd >= 0)
		m->s->io->ops->close(m->s->io, fd);
	if (!rc)
		m->ids_fd = fd;
	return rc;
}

ssize_t vs_moment_ids(struct vs_moment *m, void *buf, size_t size, uint64_t off)
{
	int rc = 0;

	pthread_mutex_lock(&m->ids_mutex);
	if (m->ids_fd < 0)
		rc = ids_build(m);
	pthread_mutex_unlock(&m->ids_mutex);
	if (rc)
		return rc;
	if (off >= m->ids_bytes)
		return 0;
	if (size > m->ids_bytes - off)
		size = m->ids_bytes - off;
	rc = io_read_full(m->s->io, m->ids_fd, buf, size, off);
	return rc ? rc : (ssize_t)size;
}
