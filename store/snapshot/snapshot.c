/* SPDX-License-Identifier: Apache-2.0 */
#include "store/snapshot/snapshot.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/clone/clone.h"
#include "store/engine.h"
#include "store/base/checksum.h"
#include "store/base/row_time.h"

/* What is read at a time, and how many rows are looked up under one hold of the store's lock. */
#define READ_BYTES (1u << 20)
#define RUN_ROWS 1024u
#define IDS_ROWS 4096u
/* So much of copies is kept in memory; then they are written to the spill file. */
#define IMAGES_BYTES (1u << 20)
#define SPILL_BUFFERS 64

/*
 * A copy of a row that has changed since the snapshot was opened, with the index that `kept` has for the row.
 * Those below `spilled` are in the spill file, an unlinked file of fixed-size items; the others are in
 * memory, since who makes them holds the store's lock.
 */
struct before_image {
	struct row row;
	char name[256];
	/* The vector's bytes follow. */
};

struct vs_snapshot {
	struct vs_store *s;
	struct collection *c;     /* NULL once the collection is gone: everything is kept then */
	struct vs_snapshot *next; /* of the collection's */
	unsigned users;
	struct vs_snapshot_info info;
	unsigned shift;
	uint32_t segment_count;
	uint32_t *counts;          /* rows of each segment then, */
	struct segment **segments; /* with a reference to each that had some, */
	uint64_t **deleted;        /* and a bit for each of them that waited for the vacuum; NULL: none did */
	uint32_t *living;          /* how many did not */
	struct entry_map kept;
	uint64_t kept_count;
	int broken; /* a copy could not be kept: the snapshot is lost, its readers get this */
	pthread_mutex_t images_mutex;
	struct before_image **images; /* [spilled, kept_count), */
	size_t images_capacity;
	uint64_t spilled;
	pthread_mutex_t spill_mutex; /* one thread at a time writes them */
	int spill_fd;                /* -1 until something is written */
	pthread_mutex_t ids_mutex;
	struct ids_file { /* by enum idlist_separator */
		int fd;   /* once somebody has asked for it; -1 before */
		uint64_t bytes;
	} ids[2];
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

static size_t kept_bytes(const struct vs_snapshot *m)
{
	return sizeof(struct before_image) + m->info.row_bytes;
}

static bool was_deleted(const struct vs_snapshot *m, uint32_t n, uint32_t slot)
{
	return m->deleted[n] && m->deleted[n][slot / 64] >> (slot % 64) & 1;
}

/* Makes place for one more copy in memory. */
static int images_reserve(struct vs_snapshot *m)
{
	size_t capacity = m->images_capacity ? 2 * m->images_capacity : 16;
	struct before_image **images;

	if (m->kept_count - m->spilled < m->images_capacity)
		return 0;
	images = realloc(m->images, capacity * sizeof *images);
	if (!images)
		return -ENOMEM;
	m->images = images;
	m->images_capacity = capacity;
	return 0;
}

static int images_add(struct vs_snapshot *m, struct before_image *copy)
{
	int rc;

	pthread_mutex_lock(&m->images_mutex);
	rc = images_reserve(m);
	if (!rc)
		m->images[m->kept_count - m->spilled] = copy;
	pthread_mutex_unlock(&m->images_mutex);
	return rc;
}

static int keep(struct vs_snapshot *m, struct txn *txn, uint32_t row)
{
	struct before_image *copy = calloc(1, kept_bytes(m));
	const struct row *r;
	const char *name;
	int rc;

	if (!copy)
		return -ENOMEM;
	r = collection_row(m->c, row, &name);
	if (r) {
		copy->row = *r;
		memcpy(copy->name, name, r->name_len);
	}
	rc = !r && collection_row_is_unread(m->c, row) ? -EIO : ahead_row(txn->ahead, m->c, row, copy + 1);
	if (!rc)
		rc = entry_map_reserve(&m->kept, row);
	if (!rc)
		rc = images_add(m, copy);
	if (rc)
		free(copy);
	else
		entry_map_set(&m->kept, row, (uint32_t)m->kept_count++);
	return rc;
}

static bool wants(const struct vs_snapshot *m, const struct collection *c, uint32_t row)
{
	uint32_t n = row >> c->shift, slot = collection_slot(c, row);

	return !m->broken && n < m->segment_count && slot < m->counts[n] &&
	       m->segments[n] == c->segments[n] && !was_deleted(m, n, slot) &&
	       entry_map_get(&m->kept, row) == ROW_NONE;
}

bool snapshot_wants(const struct collection *c, uint32_t row)
{
	const struct vs_snapshot *m = c->snapshots;

	while (m && !wants(m, c, row))
		m = m->next;
	return m;
}

void snapshot_preserve(struct txn *txn, struct collection *c, uint32_t row)
{
	for (struct vs_snapshot *m = c->snapshots; m; m = m->next)
		if (wants(m, c, row))
			m->broken = keep(m, txn, row);
}

void snapshot_preserve_segment(struct txn *txn, struct collection *c, struct segment *seg)
{
	for (uint32_t slot = 0; c->snapshots && c->overlay.count && slot < seg->count; slot++)
		if (overlay_find(&c->overlay, seg->n << c->shift | slot))
			snapshot_preserve(txn, c, seg->n << c->shift | slot);
}

struct vs_snapshot *snapshot_full(const struct collection *c)
{
	for (struct vs_snapshot *m = c->snapshots; m; m = m->next)
		if (!m->broken && (m->kept_count - m->spilled) * kept_bytes(m) >= IMAGES_BYTES) {
			m->users++;
			return m;
		}
	return NULL;
}

/* Writes n copies, the first of which has the index `spilled`. */
static int spill(struct vs_snapshot *m, struct before_image *const *images, size_t n)
{
	struct iovec iov[SPILL_BUFFERS];
	int rc = 0;

	if (m->spill_fd < 0)
		m->spill_fd = spill_open(m->s);
	if (m->spill_fd < 0)
		return m->spill_fd;
	for (size_t done = 0, count; done < n && !rc; done += count) {
		for (count = 0; count < SPILL_BUFFERS && done + count < n; count++)
			iov[count] = (struct iovec){images[done + count], kept_bytes(m)};
		rc = io_writev_full(m->s->io, m->spill_fd, iov, (int)count,
				    (m->spilled + done) * kept_bytes(m));
	}
	return rc;
}

/* Frees what was written. */
static void images_drop(struct vs_snapshot *m, size_t n, uint64_t held)
{
	if (!n)
		return;
	for (size_t i = 0; i < n; i++)
		free(m->images[i]);
	memmove(m->images, m->images + n, (held - n) * sizeof(struct before_image *));
	m->spilled += n;
}

void snapshot_spill(struct vs_snapshot *m)
{
	struct before_image **images;
	uint64_t held;
	int rc;

	pthread_mutex_lock(&m->spill_mutex);
	pthread_rwlock_rdlock(&m->s->lock); /* so that none are added */
	held = m->kept_count - m->spilled;
	images = held ? malloc(held * sizeof(struct before_image *)) : NULL;
	if (images)
		memcpy(images, m->images, held * sizeof(struct before_image *));
	pthread_rwlock_unlock(&m->s->lock);
	rc = images ? spill(m, images, held) : held ? -ENOMEM : 0;
	free(images);
	pthread_rwlock_wrlock(&m->s->lock);
	pthread_mutex_lock(&m->images_mutex);
	if (rc)
		m->broken = rc;
	else
		images_drop(m, held, m->kept_count - m->spilled);
	pthread_mutex_unlock(&m->images_mutex);
	pthread_rwlock_unlock(&m->s->lock);
	pthread_mutex_unlock(&m->spill_mutex);
	vs_snapshot_close(m);
}

void snapshot_detach(struct collection *c)
{
	for (struct vs_snapshot *m = c->snapshots; m; m = m->next)
		m->c = NULL;
	c->snapshots = NULL;
}

/* ------------------------------------------------------------------ opening */

static void snapshot_free(struct vs_snapshot *m)
{
	for (uint32_t i = 0; i < m->segment_count; i++) {
		segment_put(m->s->io, m->segments[i]);
		free(m->deleted[i]);
	}
	free(m->segments);
	free(m->deleted);
	free(m->living);
	free(m->counts);
	free(m);
}

static struct vs_snapshot *snapshot_alloc(struct vs_store *s, const struct collection *c)
{
	struct vs_snapshot *m = calloc(1, sizeof *m);
	size_t n = c->segment_count + 1;

	if (!m)
		return NULL;
	m->s = s;
	m->counts = calloc(n, sizeof *m->counts);
	m->segments = calloc(n, sizeof *m->segments);
	m->deleted = calloc(n, sizeof *m->deleted);
	m->living = calloc(n, sizeof *m->living);
	if (m->counts && m->segments && m->deleted && m->living)
		return m;
	snapshot_free(m);
	return NULL;
}

/* Its rows as they are. What waits for the vacuum is none of them. -ENOMEM. */
static int add_segment(struct vs_snapshot *m, struct segment *seg)
{
	uint32_t i = m->segment_count++;
	size_t bytes = (seg->rows_max + 63) / 64 * sizeof(uint64_t);

	m->counts[i] = seg->count;
	m->living[i] = seg->count - seg->deleted;
	m->info.rows += m->living[i];
	if (seg->count)
		segment_get(m->segments[i] = seg);
	if (!seg->deleted)
		return 0;
	m->deleted[i] = malloc(bytes);
	if (m->deleted[i])
		memcpy(m->deleted[i], seg->deleted_map, bytes);
	return m->deleted[i] ? 0 : -ENOMEM;
}

/*
 * Who changes a collection or walks its list of snapshots to keep a row holds the store's lock alone; who
 * opens or closes one shares it, and a mutex makes one wait for the other. So an opening stops no reader, and
 * waits for none.
 */
static struct vs_snapshot *snapshot_new(struct vs_store *s, struct collection *c)
{
	struct vs_snapshot *m = snapshot_alloc(s, c);
	bool fixed;

	for (uint32_t i = 0; m && i < c->segment_count; i++)
		if (add_segment(m, c->segments[i])) {
			snapshot_free(m);
			m = NULL;
		}
	if (!m)
		return NULL;
	m->c = c;
	m->shift = c->shift;
	m->info.collection = c->id;
	m->info.version = c->version;
	m->info.schema = collection_schema(c, &fixed);
	m->info.row_bytes = vs_row_bytes(&m->info.schema);
	m->info.ids_bytes = c->line_bytes;
	m->info.ids0_bytes = c->name_bytes + m->info.rows;
	entry_map_init(&m->kept);
	m->spill_fd = m->ids[IDLIST_LINES].fd = m->ids[IDLIST_NULS].fd = -1;
	pthread_mutex_init(&m->ids_mutex, NULL);
	pthread_mutex_init(&m->images_mutex, NULL);
	pthread_mutex_init(&m->spill_mutex, NULL);
	m->next = c->snapshots;
	c->snapshots = m;
	return m;
}

static int open_snapshot(struct vs_store *s, uint32_t collection, struct vs_snapshot **out)
{
	struct collection *c;
	int rc;

	*out = NULL;
	engine_read_lock(s);
	c = collection_get(&s->table, collection);
	rc = !c ? -ENOENT : c->damaged ? -EIO : c->lazy ? -EINPROGRESS : 0;
	pthread_mutex_lock(&s->snapshots_mutex);
	if (!rc && c->snapshots && c->snapshots->info.version == c->version && !c->snapshots->broken)
		*out = c->snapshots;
	else if (!rc)
		*out = snapshot_new(s, c);
	if (*out)
		(*out)->users++;
	pthread_mutex_unlock(&s->snapshots_mutex);
	pthread_rwlock_unlock(&s->lock);
	return rc ? rc : *out ? 0 : -ENOMEM;
}

int vs_snapshot_open(struct vs_store *s, uint32_t collection, struct vs_snapshot **out)
{
	int rc = open_snapshot(s, collection, out);

	if (rc == -EINPROGRESS && !(rc = clone_load(s, collection)))
		rc = open_snapshot(s, collection, out);
	return rc;
}

void vs_snapshot_close(struct vs_snapshot *m)
{
	struct vs_store *s = m->s;
	struct vs_snapshot **p;
	bool last;

	pthread_rwlock_rdlock(&s->lock);
	pthread_mutex_lock(&s->snapshots_mutex);
	last = !--m->users;
	if (last && m->c) {
		for (p = &m->c->snapshots; *p != m; p = &(*p)->next)
			;
		*p = m->next;
	}
	pthread_mutex_unlock(&s->snapshots_mutex);
	pthread_rwlock_unlock(&s->lock);
	if (!last)
		return;
	if (m->spill_fd >= 0)
		s->io->ops->close(s->io, m->spill_fd);
	for (int i = 0; i < 2; i++)
		if (m->ids[i].fd >= 0)
			s->io->ops->close(s->io, m->ids[i].fd);
	images_drop(m, m->kept_count - m->spilled, m->kept_count - m->spilled);
	free(m->images);
	entry_map_free(&m->kept);
	pthread_mutex_destroy(&m->ids_mutex);
	pthread_mutex_destroy(&m->images_mutex);
	pthread_mutex_destroy(&m->spill_mutex);
	snapshot_free(m);
}

void vs_snapshot_info(const struct vs_snapshot *m, struct vs_snapshot_info *out)
{
	*out = m->info;
}

/* ------------------------------------------------------------------ reading */

/* The slot of the nth row that is not deleted. */
static uint32_t find_living(const uint64_t *deleted, uint64_t n)
{
	uint32_t word = 0;
	uint64_t living;

	for (; n >= (unsigned)__builtin_popcountll(~deleted[word]); word++)
		n -= (unsigned)__builtin_popcountll(~deleted[word]);
	for (living = ~deleted[word]; n; n--)
		living &= living - 1;
	return word * 64 + (uint32_t)__builtin_ctzll(living);
}

/* Finds row n of the snapshot: its number in the collection, and how many more follow it in its segment,
 * without deleted ones among them. */
static uint32_t snapshot_row(const struct vs_snapshot *m, uint64_t n, uint32_t *more)
{
	uint32_t i = 0, slot, end;

	while (n >= m->living[i])
		n -= m->living[i++];
	slot = m->deleted[i] ? find_living(m->deleted[i], n) : (uint32_t)n;
	end = m->deleted[i] ? slot + 1 : m->counts[i];
	while (end < m->counts[i] && !was_deleted(m, i, end))
		end++;
	*more = end - slot;
	return i << m->shift | slot;
}

/* Copies one that is still in memory; false: it is in the spill file, for good. */
static bool copy_kept(const struct vs_snapshot *m, uint32_t index, struct before_image *head, void *data)
{
	pthread_mutex_t *mutex = (pthread_mutex_t *)(uintptr_t)&m->images_mutex;
	const struct before_image *image;

	pthread_mutex_lock(mutex);
	image = index >= m->spilled ? m->images[index - m->spilled] : NULL;
	if (image && head)
		*head = *image;
	if (image && data)
		memcpy(data, image + 1, m->info.row_bytes);
	pthread_mutex_unlock(mutex);
	return image;
}

/* Without the lock. */
static int read_kept(const struct vs_snapshot *m, uint32_t index, struct before_image *head, void *data)
{
	uint64_t off = (uint64_t)index * kept_bytes(m);
	int rc;

	if (copy_kept(m, index, head, data))
		return 0;
	rc = head ? io_read_full(m->s->io, m->spill_fd, head, sizeof *head, off) : 0;
	if (!rc && data)
		rc = io_read_full(m->s->io, m->spill_fd, data, m->info.row_bytes, off + sizeof *head);
	return rc;
}

/*
 * A row that was not kept, wherever it is now: NULL if it is damaged, -EIO if it was not read. Of a segment
 * that has lost all its rows at once nothing was kept, for its files stay as they were as long as somebody
 * has a reference.
 */
static int row_there(const struct vs_snapshot *m, uint32_t row, const struct row **out, const char **name)
{
	struct segment *seg = m->segments[row >> m->shift];
	const struct row *rows;

	if (!seg->going && !m->c)
		return -ESTALE;
	if (!seg->going) {
		*out = collection_row(m->c, row, name);
		return !*out && collection_row_is_unread(m->c, row) ? -EIO : 0;
	}
	rows = segment_rows(seg);
	*out = rows ? rows + (row & ((1u << m->shift) - 1)) : NULL;
	if (*out && !segment_row_valid(seg, *out))
		*out = NULL;
	if (*out)
		*name = segment_name(seg, *out);
	return !*out && m->s->io->lost ? -EIO : 0;
}

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

/* The record that waits for the applier with this row's latest vector or metadata, or NULL. Under the lock.
 */
static const struct overlay_item *pending_item(const struct vs_snapshot *m, uint32_t row)
{
	const struct segment *seg = m->segments[row >> m->shift];

	/* What was to be written into a segment that has gone was kept; its number may be another's by now.
	 */
	return m->c && !seg->going ? overlay_find(&m->c->overlay, row) : NULL;
}

static uint32_t kept_index(const struct vs_snapshot *m, uint32_t row)
{
	return m->kept_count ? entry_map_get(&m->kept, row) : ROW_NONE;
}

/* Copies what waits for the applier to buf. Under the lock. */
static int find_vector(const struct vs_snapshot *m, uint32_t row, void *buf, struct place *out)
{
	struct segment *seg = m->segments[row >> m->shift];
	const struct overlay_item *item;
	const struct row *rows;

	*out = (struct place){.kept = kept_index(m, row)};
	if (m->broken || out->kept != ROW_NONE)
		return m->broken;
	if (!m->c && !seg->going)
		return -ESTALE;
	item = pending_item(m, row);
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
		int rc = read_kept(m, place->kept, &head, buf);

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

static int read_failed(struct vs_snapshot *m, int rc)
{
	if (rc == -EBADMSG) {
		char name[VS_NAME_MAX + 1] = "";
		const struct collection *c;

		m->s->counters.checksum_errors++;
		pthread_rwlock_rdlock(&m->s->lock);
		c = collection_get(&m->s->table, m->info.collection);
		if (c)
			snprintf(name, sizeof name, "%s", c->name);
		pthread_rwlock_unlock(&m->s->lock);
		engine_report(m->s, VS_ERROR, "%s/.vecfs/vectors: checksum mismatch", name);
		rc = -EIO;
	}
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
	return rc ? read_failed(m, rc) : (ssize_t)done;
}

/* ------------------------------------------------------------------ ids */

/*
 * Where a row's metadata and its id are: in the collection, or, once it has changed, in *head. *r is NULL if
 * they are damaged. Under the lock, which is given up meanwhile if the spill file has to be read.
 */
static int find_meta(const struct vs_snapshot *m, uint32_t row, struct before_image *head,
		     const struct row **r, const char **name)
{
	uint32_t index = kept_index(m, row);
	int rc;

	*r = &head->row;
	*name = head->name;
	if (m->broken)
		return m->broken;
	if (index == ROW_NONE)
		return row_there(m, row, r, name);
	if (copy_kept(m, index, head, NULL))
		return 0;
	pthread_rwlock_unlock(&m->s->lock);
	rc = read_kept(m, index, head, NULL);
	engine_read_lock(m->s);
	return rc;
}

static int each_row(const struct vs_snapshot *m, uint64_t first, uint64_t count, const uint64_t *wanted,
		    snapshot_row_fn fn, void *arg)
{
	uint32_t row = 0, more = 0;
	struct before_image head;

	for (uint64_t i = 0; i < count; i++, more--, row++) {
		const struct row *r;
		const char *name;
		int rc;

		if (!more)
			row = snapshot_row(m, first + i, &more);
		if (wanted && !(wanted[i / 64] >> i % 64 & 1))
			continue;
		rc = find_meta(m, row, &head, &r, &name);
		if (rc)
			return rc;
		fn(arg, first + i, row, r, name);
	}
	return 0;
}

int snapshot_rows(const struct vs_snapshot *m, uint64_t first, uint64_t count, const uint64_t *wanted,
		  snapshot_row_fn fn, void *arg)
{
	unsigned lost;

	if (first > m->info.rows || count > m->info.rows - first)
		return -EINVAL;
	lost = engine_read_lock(m->s);
	return engine_read_unlock(m->s, lost, each_row(m, first, count, wanted, fn, arg));
}

struct rows_call {
	vs_snapshot_row_fn fn;
	void *arg;
};

static void tell_row(void *arg, uint64_t n, uint32_t place, const struct row *r, const char *name)
{
	struct rows_call *call = arg;

	(void)place;
	call->fn(call->arg, n, r ? row_entry(r) : 0, r ? name : NULL, r ? r->name_len : 0);
}

int vs_snapshot_rows(struct vs_snapshot *m, uint64_t first, uint64_t count, const uint64_t *wanted,
		     vs_snapshot_row_fn fn, void *arg)
{
	struct rows_call call = {fn, arg};

	return snapshot_rows(m, first, count, wanted, tell_row, &call);
}

/* ------------------------------------------------------------------ metadata */

struct describe_call {
	const struct vs_store *s;
	uint64_t first;
	struct vs_row_meta *out;
};

static void describe_row(void *arg, uint64_t n, uint32_t place, const struct row *r, const char *name)
{
	const struct describe_call *call = arg;
	struct vs_row_meta *out = &call->out[n - call->first];
	const struct perm_class *class;
	struct timespec mtime, ctime;

	(void)name;
	*out = (struct vs_row_meta){.place = place};
	if (!r || !row_entry(r))
		return;
	class = engine_perm_get(call->s, r->perm);
	vs_time_split(row_mtime(r), &mtime);
	vs_time_split(row_ctime(r), &ctime);
	*out = (struct vs_row_meta){
		.entry = row_entry(r),
		.ctime_s = ctime.tv_sec,
		.ctime_ns = (uint32_t)ctime.tv_nsec,
		.data_sum = r->data_sum,
		.place = place,
		.attr = {mtime.tv_sec, (uint32_t)mtime.tv_nsec, class->mode, class->uid, class->gid},
	};
}

ssize_t vs_snapshot_meta(struct vs_snapshot *m, uint64_t first, uint64_t count, struct vs_row_meta *out)
{
	struct describe_call call = {m->s, first, out};
	uint64_t done = 0;
	int rc = 0;

	if (first >= m->info.rows)
		return 0;
	if (count > m->info.rows - first)
		count = m->info.rows - first;
	while (done < count && !rc) {
		uint64_t n = count - done < IDS_ROWS ? count - done : IDS_ROWS;

		rc = snapshot_rows(m, first + done, n, NULL, describe_row, &call);
		done += n;
	}
	return rc ? rc : (ssize_t)count;
}

/* ------------------------------------------------------------------ searching */

void snapshot_run_begin(const struct vs_snapshot *m, uint64_t first, uint64_t max, struct snapshot_run *out)
{
	uint32_t more, row = snapshot_row(m, first, &more), slot = row & ((1u << m->shift) - 1);
	struct segment *seg = m->segments[row >> m->shift];
	const char *vectors = segment_vectors(seg);

	*out = (struct snapshot_run){.first = first, .count = more < max ? more : (uint32_t)max};
	if (!vectors)
		return;
	out->seg = seg;
	out->vectors = vectors + segment_offset(seg, slot);
}

void snapshot_run_end(const struct snapshot_run *run)
{
	if (run->seg)
		segment_vectors_done(run->seg);
}

int snapshot_mark_moved(const struct vs_snapshot *m, const struct snapshot_run *run, uint64_t *mask)
{
	uint32_t more, row = snapshot_row(m, run->first, &more);
	int rc;

	engine_read_lock(m->s);
	rc = m->broken;
	if (!rc && (m->kept_count || (m->c && m->c->overlay.count)))
		for (uint32_t i = 0; i < run->count; i++) {
			bool moved = kept_index(m, row + i) != ROW_NONE;
			const struct overlay_item *item = moved ? NULL : pending_item(m, row + i);

			if (moved || (item && item->data))
				mask[i / 64] |= UINT64_C(1) << i % 64;
		}
	pthread_rwlock_unlock(&m->s->lock);
	return rc;
}

/* Whether a row as it lies in the file might be what is looked for, before its checksum is. Its id must not
 * be looked for outside of the names. */
static bool may_pass(const struct segment *seg, const struct row *r, snapshot_pass_fn passes, void *arg)
{
	return r->name_len && r->name_at + (uint64_t)names_granules(r->name_len) <= seg->names.end &&
	       passes(arg, segment_name(seg, r), r->name_len);
}

static int select_row(const struct vs_snapshot *m, uint32_t row, snapshot_pass_fn passes, void *arg,
		      bool *chosen)
{
	struct before_image head;
	const struct row *r;
	const char *name;
	int rc = find_meta(m, row, &head, &r, &name);

	*chosen = !rc && r && row_entry(r) && passes(arg, name, r->name_len);
	return rc;
}

int snapshot_select(const struct vs_snapshot *m, const struct snapshot_run *run, bool only_kept,
		    snapshot_pass_fn passes, void *arg, uint64_t *mask)
{
	uint32_t more, row = snapshot_row(m, run->first, &more), slot = row & ((1u << m->shift) - 1);
	const struct segment *seg = m->segments[row >> m->shift];
	unsigned lost = engine_read_lock(m->s);
	int rc = m->broken;

	for (uint32_t i = 0; i < run->count && !rc && !(only_kept && !m->kept_count); i++) {
		bool is_kept = kept_index(m, row + i) != ROW_NONE, chosen;
		/* Each time, for select_row may give up the lock. */
		const struct row *rows = m->s->io->lost ? NULL : segment_rows(seg);

		if (only_kept && !is_kept)
			continue;
		if (rows && !is_kept && !pending_item(m, row + i) &&
		    !may_pass(seg, &rows[slot + i], passes, arg))
			continue;
		rc = select_row(m, row + i, passes, arg, &chosen);
		mask[i / 64] &= ~(UINT64_C(1) << i % 64);
		mask[i / 64] |= (uint64_t)chosen << i % 64;
	}
	return engine_read_unlock(m->s, lost, rc);
}

/* Which row of the snapshot it is: snapshot_row, backwards. */
static uint64_t number_of(const struct vs_snapshot *m, uint32_t n, uint32_t slot)
{
	const uint64_t *deleted = m->deleted[n];
	uint64_t number = slot;

	for (uint32_t i = 0; deleted && i < slot / 64; i++)
		number -= (unsigned)__builtin_popcountll(deleted[i]);
	if (deleted && slot % 64)
		number -= (unsigned)__builtin_popcountll(deleted[slot / 64] << (64 - slot % 64));
	for (uint32_t i = 0; i < n; i++)
		number += m->living[i];
	return number;
}

int snapshot_find(const struct vs_snapshot *m, const char *name, size_t len, uint64_t *out)
{
	uint32_t row = ROW_NONE, n, slot;
	uint64_t entry = 0;
	unsigned lost = engine_read_lock(m->s);
	int rc = m->c ? collection_entry(m->c, name, len, &entry) : -ESTALE;

	if (!rc && entry)
		row = entry_map_get(&m->c->entries, entry);
	n = row >> m->shift;
	slot = row & ((1u << m->shift) - 1);
	if (!rc && (row == ROW_NONE || n >= m->segment_count || slot >= m->counts[n] ||
		    m->segments[n] != m->c->segments[n] || was_deleted(m, n, slot)))
		rc = -ENOENT;
	rc = engine_read_unlock(m->s, lost, rc);
	*out = rc ? 0 : number_of(m, n, slot);
	return rc;
}

struct segment *snapshot_segment(const struct vs_snapshot *m, uint64_t n, uint32_t *slot, uint32_t *count)
{
	uint32_t row = snapshot_row(m, n, count);

	*slot = row & ((1u << m->shift) - 1);
	return m->segments[row >> m->shift];
}

struct vs_store *snapshot_store(const struct vs_snapshot *m)
{
	return m->s;
}

int vs_snapshot_find(struct vs_snapshot *m, const char *name, uint64_t *row)
{
	return snapshot_find(m, name, strlen(name), row);
}

struct counters *snapshot_counters(const struct vs_snapshot *m)
{
	return &m->s->counters;
}

/* ------------------------------------------------------------------ ids as text */

struct ids_text {
	enum idlist_separator separator;
	char *text;
	size_t length;
};

/* A damaged id is an empty one, so that the others keep their numbers. */
static void add_id(void *arg, uint64_t row, uint64_t entry, const char *id, size_t len)
{
	struct ids_text *ids = arg;
	char *out = ids->text + ids->length;

	(void)row;
	(void)entry;
	if (ids->separator == IDLIST_LINES) {
		ids->length += idlist_line(len ? id : "", len, out);
		return;
	}
	memcpy(out, len ? id : "", len);
	out[len] = '\0';
	ids->length += len + 1;
}

static int ids_build(struct vs_snapshot *m, enum idlist_separator separator)
{
	struct ids_file *file = &m->ids[separator];
	char *text = malloc(IDS_ROWS * IDLIST_LINE_MAX);
	int fd = text ? spill_open(m->s) : -ENOMEM, rc = fd < 0 ? fd : 0;

	file->bytes = 0;
	for (uint64_t first = 0; first < m->info.rows && !rc; first += IDS_ROWS) {
		uint64_t count = m->info.rows - first < IDS_ROWS ? m->info.rows - first : IDS_ROWS;
		struct ids_text ids = {.separator = separator, .text = text};

		rc = vs_snapshot_rows(m, first, count, NULL, add_id, &ids);
		if (!rc)
			rc = io_write_full(m->s->io, fd, text, ids.length, file->bytes);
		if (!rc)
			file->bytes += ids.length;
	}
	free(text);
	if (rc && fd >= 0)
		m->s->io->ops->close(m->s->io, fd);
	if (!rc)
		file->fd = fd;
	return rc;
}

static ssize_t ids_read(struct vs_snapshot *m, enum idlist_separator separator, void *buf, size_t size,
			uint64_t off)
{
	struct ids_file *file = &m->ids[separator];
	int rc = 0;

	pthread_mutex_lock(&m->ids_mutex);
	if (file->fd < 0)
		rc = ids_build(m, separator);
	pthread_mutex_unlock(&m->ids_mutex);
	if (rc)
		return rc;
	if (off >= file->bytes)
		return 0;
	if (size > file->bytes - off)
		size = file->bytes - off;
	rc = io_read_full(m->s->io, file->fd, buf, size, off);
	return rc ? rc : (ssize_t)size;
}

ssize_t vs_snapshot_ids(struct vs_snapshot *m, void *buf, size_t size, uint64_t off)
{
	return ids_read(m, IDLIST_LINES, buf, size, off);
}

ssize_t vs_snapshot_ids0(struct vs_snapshot *m, void *buf, size_t size, uint64_t off)
{
	return ids_read(m, IDLIST_NULS, buf, size, off);
}
