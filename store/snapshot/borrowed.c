/* SPDX-License-Identifier: Apache-2.0 */
#include "store/snapshot/borrowed.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/snapshot/snapshot_state.h"

#define META_ROWS 256u       /* looked at at once */
#define NAMES_ROWS 256u      /* between two places of ids that are remembered */
#define IDS_BYTES (1u << 20) /* read at once */
#define ID_BYTES_MAX (VS_NAME_MAX + 1u)

struct borrowed {
	struct vs_lender lender;
	/* Where the id of each NAMES_ROWSth row begins, and where the last one ends; NULL until somebody asks
	 * for an id. Under the snapshot's ids_mutex. */
	uint64_t *ids_at;
};

const struct vs_lender *snapshot_lender(const struct vs_snapshot *m)
{
	return m->borrowed ? &m->borrowed->lender : NULL;
}

/* ------------------------------------------------------------------ beginning and end */

/* A store that has nothing but the means to read its files. */
static int new_store(const char *dir, struct vs_store **out)
{
	struct vs_store *s = calloc(1, sizeof *s);
	int rc = s ? io_new_real(dir, false, &s->io) : -ENOMEM;

	if (rc) {
		free(s);
		return rc;
	}
	s->own_io = s->read_only = s->io->read_only = true;
	files_init(&s->files, s->io, true, 0, 0);
	*out = s;
	return 0;
}

int vs_snapshot_borrow(const struct vs_lender *lender, struct vs_snapshot **out)
{
	struct vs_snapshot *m = calloc(1, sizeof *m);
	struct borrowed *b = calloc(1, sizeof *b);
	int rc = m && b ? new_store(lender->dir, &m->s) : -ENOMEM;

	*out = NULL;
	if (rc) {
		free(m);
		free(b);
		return rc;
	}
	b->lender = *lender;
	b->lender.dir = NULL; /* the caller's */
	m->info = lender->info;
	m->users = 1;
	m->borrowed = b;
	pthread_mutex_init(&m->ids_mutex, NULL);
	*out = m;
	return 0;
}

void borrowed_close(struct vs_snapshot *m)
{
	const struct vs_lender *lender = &m->borrowed->lender;
	const struct counters *c = &m->s->counters;

	lender->end(lender->arg, &(struct vs_counters){.queries = c->queries,
						       .rows_scanned = c->rows_scanned,
						       .rows_verified = c->rows_verified,
						       .search_ns = c->search_ns});
	files_free(&m->s->files);
	io_free_real(m->s->io);
	free(m->s);
	free(m->borrowed->ids_at);
	free(m->borrowed);
	pthread_mutex_destroy(&m->ids_mutex);
	free(m);
}

/* ------------------------------------------------------------------ metadata and vectors */

static int read_meta(const struct vs_snapshot *m, uint64_t first, uint64_t count, struct vs_row_meta *out)
{
	const struct vs_lender *lender = &m->borrowed->lender;

	return lender->meta(lender->arg, first, count, out);
}

int borrowed_rows(const struct vs_snapshot *m, uint64_t first, uint64_t count, const uint64_t *wanted,
		  snapshot_row_fn fn, void *arg)
{
	struct vs_row_meta metas[META_ROWS];
	int rc = 0;

	for (uint64_t at = 0, n; at < count && !rc; at += n) {
		n = count - at < META_ROWS ? count - at : META_ROWS;
		while (n && !snapshot_is_wanted(wanted, at + n - 1))
			n--;
		for (; n && !snapshot_is_wanted(wanted, at); n--)
			at++;
		if (!n) {
			n = count - at < META_ROWS ? count - at : META_ROWS;
			continue;
		}
		rc = read_meta(m, first + at, n, metas);
		for (uint64_t i = 0; i < n && !rc; i++) {
			const struct vs_row_meta *meta = &metas[i];
			struct row row = {.data_sum = meta->data_sum,
					  .entry_low = (uint32_t)meta->entry,
					  .entry_high = (uint8_t)(meta->entry >> 32)};

			if (snapshot_is_wanted(wanted, at + i))
				fn(arg, first + at + i, meta->place, meta->entry ? &row : NULL, NULL);
		}
	}
	return rc;
}

int borrowed_vectors(const struct vs_snapshot *m, uint64_t first, const uint32_t *picks, uint32_t n,
		     void *buf)
{
	const struct vs_lender *lender = &m->borrowed->lender;
	struct vs_row_meta metas[META_ROWS];
	struct vs_row_want wants[META_ROWS];
	char *out = buf;
	int rc = 0;

	while (n && !rc) {
		uint32_t near = 1;

		while (near < n && picks[near] - picks[0] < META_ROWS)
			near++;
		rc = read_meta(m, first + picks[0], picks[near - 1] - picks[0] + 1, metas);
		for (uint32_t i = 0; i < near && !rc; i++) {
			const struct vs_row_meta *meta = &metas[picks[i] - picks[0]];

			wants[i] = (struct vs_row_want){first + picks[i], meta->place, meta->data_sum};
		}
		if (!rc)
			rc = lender->vectors(lender->arg, wants, near, out);
		out += near * m->info.row_bytes;
		picks += near;
		n -= near;
	}
	return rc;
}

ssize_t borrowed_whole_rows(const struct vs_snapshot *m, void *buf, size_t size, uint64_t off)
{
	size_t bytes = m->info.row_bytes;
	char *out = buf;
	int rc = 0;

	assert(off % bytes == 0 && size % bytes == 0);
	for (size_t done = 0; done < size && !rc; done += bytes)
		rc = borrowed_vectors(m, (off + done) / bytes, (const uint32_t[]){0}, 1, out + done);
	return rc ? rc : (ssize_t)size;
}

/* ------------------------------------------------------------------ ids */

int borrowed_each_id(const struct vs_snapshot *m,
		     bool (*fn)(void *arg, uint64_t row, const char *id, size_t len, uint64_t off), void *arg)
{
	const struct vs_lender *lender = &m->borrowed->lender;
	uint64_t size = m->info.ids0_bytes, off = 0, row = 0;
	char *text = malloc(IDS_BYTES);
	int rc = text ? 0 : -ENOMEM;

	while (off < size && !rc) {
		size_t n = size - off < IDS_BYTES ? (size_t)(size - off) : IDS_BYTES, used = 0;
		const char *end;

		rc = lender->ids(lender->arg, text, n, off);
		while (!rc && (end = memchr(text + used, 0, n - used)) != NULL) {
			if (!fn(arg, row++, text + used, (size_t)(end - text) - used, off + used))
				rc = -EINTR;
			used = (size_t)(end - text) + 1;
		}
		if (!rc && !used)
			rc = -EIO; /* that is no id */
		off += used;
	}
	free(text);
	return rc ? rc : row == m->info.rows ? 0 : -EIO;
}

static bool note_place(void *arg, uint64_t row, const char *id, size_t len, uint64_t off)
{
	uint64_t *ids_at = arg;

	(void)id;
	(void)len;
	if (row % NAMES_ROWS == 0)
		ids_at[row / NAMES_ROWS] = off;
	return true;
}

static int index_ids(struct vs_snapshot *m)
{
	uint64_t places = (m->info.rows + NAMES_ROWS - 1) / NAMES_ROWS, *ids_at;
	int rc = 0;

	pthread_mutex_lock(&m->ids_mutex);
	ids_at = m->borrowed->ids_at ? NULL : calloc(places + 1, sizeof *ids_at);
	if (!m->borrowed->ids_at) {
		rc = ids_at ? borrowed_each_id(m, note_place, ids_at) : -ENOMEM;
		if (!rc) {
			ids_at[places] = m->info.ids0_bytes;
			m->borrowed->ids_at = ids_at;
		} else {
			free(ids_at);
		}
	}
	pthread_mutex_unlock(&m->ids_mutex);
	return rc;
}

/* Finds a row's id in what is read to buf: that of its neighbours, too. */
static int find_id(const struct vs_snapshot *m, uint64_t row, char buf[NAMES_ROWS * ID_BYTES_MAX],
		   const char **id, size_t *len)
{
	const struct vs_lender *lender = &m->borrowed->lender;
	const uint64_t *at = m->borrowed->ids_at + row / NAMES_ROWS;
	uint64_t size = at[1] - at[0];
	const char *p = buf, *end = buf + size;
	int rc =
		size <= NAMES_ROWS * ID_BYTES_MAX ? lender->ids(lender->arg, buf, (size_t)size, at[0]) : -EIO;

	for (uint64_t skip = row % NAMES_ROWS; skip && !rc && p; skip--) {
		p = memchr(p, 0, (size_t)(end - p));
		p = p ? p + 1 : NULL;
	}
	end = !rc && p ? memchr(p, 0, (size_t)(end - p)) : NULL;
	*id = p;
	*len = end ? (size_t)(end - p) : 0;
	return rc ? rc : end ? 0 : -EIO;
}

int borrowed_names(struct vs_snapshot *m, uint64_t first, uint64_t count, const uint64_t *wanted,
		   vs_snapshot_row_fn fn, void *arg)
{
	char *buf = malloc(NAMES_ROWS * ID_BYTES_MAX);
	int rc = buf ? index_ids(m) : -ENOMEM;

	for (uint64_t i = 0; i < count && !rc; i++) {
		struct vs_row_meta meta;
		const char *id = NULL;
		size_t len = 0;

		if (!snapshot_is_wanted(wanted, i))
			continue;
		rc = read_meta(m, first + i, 1, &meta);
		if (!rc && meta.entry)
			rc = find_id(m, first + i, buf, &id, &len);
		if (!rc)
			fn(arg, first + i, meta.entry, id, len);
	}
	free(buf);
	return rc;
}
