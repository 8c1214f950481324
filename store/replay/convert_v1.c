/* SPDX-License-Identifier: Apache-2.0 */
#include "store/replay/convert_v1.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/catalog/catalog_v1.h"
#include "store/engine.h"
#include "store/base/row_time.h"
#include "store/base/checksum.h"

#define ROWS_AT_ONCE 4096u

/* ------------------------------------------------------------------ version 1 */

struct row_v1 {
	uint32_t data_sum;
	uint32_t row_sum;
	int64_t mtime_ns;
	uint32_t entry_low;
	uint8_t entry_high;
	uint8_t name_len;
	uint16_t perm;
	uint32_t name_at;
} __attribute__((packed, aligned(4)));
static_assert(sizeof(struct row_v1) == 28, "row_v1");

/* A record of a row: its last four bytes were of no use. */
struct record_row_v1 {
	struct record head;
	struct row_v1 row;
	uint32_t reserved;
};
static_assert(sizeof(struct record_row) <= 2 * sizeof(struct record_row_v1), "none grows to twice its size");

static uint32_t sum_row_v1(const struct row_v1 *row, const char *name)
{
	unsigned char buf[sizeof *row - 4 + 256];
	size_t n = sizeof *row - offsetof(struct row_v1, mtime_ns);

	memcpy(buf, &row->data_sum, 4);
	memcpy(buf + 4, (const char *)row + offsetof(struct row_v1, mtime_ns), n);
	memcpy(buf + 4 + n, name, row->name_len);
	return (uint32_t)XXH3_64bits(buf, 4 + n + row->name_len);
}

/* All but its sum, which goes with the id. ctime was mtime. */
static struct row convert_row(const struct row_v1 *old)
{
	vs_time mtime = convert_time((uint64_t)old->mtime_ns);
	struct row row = {
		.data_sum = old->data_sum,
		.entry_low = old->entry_low,
		.entry_high = old->entry_high,
		.name_len = old->name_len,
		.perm = old->perm,
		.name_at =
			(old->name_at < ROW_NAME_AT_MAX ? old->name_at : ROW_NAME_AT_MAX) & ROW_NAME_AT_MAX,
	};

	row_set_times(&row, mtime, mtime);
	return row;
}

/* ------------------------------------------------------------------ records, in memory */

/* Copies a record to out, which has room for it and what it grows by; returns the bytes of it. */
static uint32_t put_record(const struct record *r, char *out)
{
	const uint32_t more = sizeof(struct catalog_collection) - sizeof(struct catalog_collection_v1);
	struct record_row_v1 row;
	struct record_row new_row;
	struct record_collection new;
	struct catalog_collection_v1 old;

	if (r->type == RECORD_COLLECTION && r->bytes >= sizeof *r + sizeof old) {
		memcpy(&old, r + 1, sizeof old);
		new = (struct record_collection){.head = *r, .body = convert_collection(&old)};
		new.head.bytes += more;
		memcpy(out, &new, sizeof new);
		memcpy(out + sizeof new, (const char *)(r + 1) + sizeof old,
		       r->bytes - sizeof *r - sizeof old);
		return new.head.bytes;
	}
	if (r->type == RECORD_ROW && r->bytes >= sizeof row) {
		memcpy(&row, r, sizeof row);
		new_row = (struct record_row){.head = row.head, .row = convert_row(&row.row)};
		new_row.head.bytes += (uint32_t)(sizeof new_row - sizeof row);
		memcpy(out, &new_row, sizeof new_row);
		memcpy(out + sizeof new_row, (const char *)r + sizeof row, r->bytes - sizeof row);
		return new_row.head.bytes;
	}
	memcpy(out, r, r->bytes);
	return r->bytes;
}

int convert_records(const void *payload, size_t bytes, void **out, size_t *out_bytes)
{
	const char *p = payload, *end = p + bytes;
	char *buf = malloc(2 * bytes + 1), *q = buf; /* none grows to twice its size */

	if (!buf)
		return -ENOMEM;
	while (p < end) {
		const struct record *r = (const struct record *)(const void *)p;

		if ((size_t)(end - p) < sizeof *r || r->bytes < sizeof *r || r->bytes % 8 ||
		    r->bytes > (size_t)(end - p) || r->type >= RECORD_ATTRIBUTE) {
			free(buf);
			return -EUCLEAN;
		}
		q += put_record(r, q);
		p += r->bytes;
	}
	*out = buf;
	*out_bytes = (size_t)(q - buf);
	return 0;
}

/* ------------------------------------------------------------------ step 1: the log into the files, as they
 * are */

/* The segment that was written to last. */
struct writer {
	struct vs_store *s;
	const struct segment *seg;
	int fd[SEGMENT_COLUMNS];
};

static int writer_end(struct writer *w, int rc)
{
	struct io *io = w->s->io;

	for (int i = 0; w->seg && i < SEGMENT_COLUMNS; i++) {
		if (w->fd[i] >= 0 && rc >= 0)
			rc = io->ops->datasync(io, w->fd[i]);
		if (w->fd[i] >= 0)
			io->ops->close(io, w->fd[i]);
	}
	w->seg = NULL;
	return rc < 0 ? rc : 0;
}

/* Opens the segment of a record; its files may not exist yet. */
static int writer_begin(struct writer *w, const struct collection *c, const struct segment *seg)
{
	struct io *io = w->s->io;
	int rc = 0;

	if (w->seg == seg)
		return 0;
	rc = writer_end(w, 0);
	w->seg = seg;
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++) {
		char path[SEGMENT_PATH_MAX];

		segment_path(path, c->id, seg->n, i);
		w->fd[i] = rc < 0 ? -1 : io->ops->open(io, path, O_RDWR | O_CREAT, 0600);
		rc = w->fd[i] < 0 ? w->fd[i] : 0;
	}
	return rc;
}

static int write_row(struct writer *w, const struct collection *c, const struct record_row_v1 *r)
{
	const char *name = (const char *)(r + 1);
	size_t name_bytes = names_granules(r->row.name_len) * NAME_GRANULE;
	uint64_t slot = collection_slot(c, r->head.row);
	struct io *io = w->s->io;
	int rc = io_write_full(io, w->fd[SEGMENT_ROWS], &r->row, sizeof r->row, slot * sizeof r->row);

	if (!rc)
		rc = io_write_full(io, w->fd[SEGMENT_NAMES], name, name_bytes,
				   (uint64_t)r->row.name_at * NAME_GRANULE);
	if (!rc && r->head.flags & RECORD_HAS_DATA)
		rc = io_write_full(io, w->fd[SEGMENT_VECTORS], name + name_bytes, c->row_bytes,
				   SEGMENT_HEADER_BYTES + slot * c->row_bytes);
	return rc;
}

static int write_dead(struct writer *w, const struct collection *c, const struct record *r)
{
	static const struct row_v1 dead;
	const uint64_t *bits = (const uint64_t *)(r + 1);
	const uint32_t *list = (const uint32_t *)(r + 1);
	size_t bytes = r->bytes - sizeof *r;
	uint32_t rows_max = 1u << c->shift;
	int rc = 0;

	for (uint64_t i = 0; i < (r->flags & RECORD_LIST ? bytes / 4 : bytes * 8) && !rc; i++) {
		uint64_t slot = r->flags & RECORD_LIST ? list[i] : i;
		bool dies = r->flags & RECORD_LIST ? i < r->value : bits[i / 64] >> (i % 64) & 1;

		if (dies && slot < rows_max)
			rc = io_write_full(w->s->io, w->fd[SEGMENT_ROWS], &dead, sizeof dead,
					   slot * sizeof dead);
	}
	return rc;
}

/* The tables have all of the log: what is not in them is gone by a later record. */
static int write_record(struct writer *w, const struct record *r)
{
	const struct collection *c = collection_get(&w->s->table, r->collection);
	int rc;

	if ((r->type != RECORD_ROW && r->type != RECORD_DELETE_ROWS) || !c || !c->row_bytes ||
	    r->row >> c->shift >= c->segment_count)
		return 0;
	rc = writer_begin(w, c, c->segments[r->row >> c->shift]);
	if (rc)
		return rc;
	return r->type == RECORD_ROW ? write_row(w, c, (const struct record_row_v1 *)(const void *)r)
				     : write_dead(w, c, r);
}

static int write_frame(void *arg, const struct frame *frame, const void *payload)
{
	const char *p = payload, *end = p + frame->payload_bytes;
	int rc = 0;

	while (p < end && !rc) {
		const struct record *r = (const struct record *)(const void *)p;

		rc = write_record(arg, r);
		p += r->bytes;
	}
	return rc;
}

/* The first pass over the log has seen that each record is sound. */
static int write_log(struct vs_store *s, const struct log_position *start, char *why, size_t why_size)
{
	struct log_position at = *start;
	struct writer w = {.s = s};
	int rc = 0;

	for (uint32_t i = 0; i < s->table.count && (rc >= 0 || rc == -EEXIST); i++) {
		char path[SEGMENT_PATH_MAX];

		collection_path(path, s->table.all[i]->id, NULL);
		rc = s->io->ops->mkdir(s->io, path, 0700);
	}
	if (rc < 0 && rc != -EEXIST)
		return rc;
	rc = log_scan(s->io, &at, false, write_frame, &w, why, why_size);
	return writer_end(&w, rc);
}

/* ------------------------------------------------------------------ step 2: new rows columns beside the old
 * ones */

struct names_map {
	void *bytes;
	uint64_t size;
};

static int map_names(struct io *io, const char *path, struct names_map *map)
{
	int fd = io->ops->open(io, path, O_RDONLY, 0), rc;

	*map = (struct names_map){0};
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	rc = io->ops->size(io, fd, &map->size);
	if (rc >= 0 && map->size)
		rc = io->ops->map(io, fd, map->size, true, &map->bytes);
	io->ops->close(io, fd);
	if (rc < 0)
		*map = (struct names_map){0};
	return rc < 0 ? rc : 0;
}

/* A damaged row must not become a sound one: its sum is made not to fit. */
static struct row convert_sound_row(const struct row_v1 *old, const struct names_map *names)
{
	static const struct row_v1 dead_v1;
	static const struct row dead;
	uint64_t at = (uint64_t)old->name_at * NAME_GRANULE;
	bool named = at < names->size && names->size - at >= old->name_len;
	const char *name = named ? (const char *)names->bytes + at : "";
	struct row row = convert_row(old);

	if (!memcmp(old, &dead_v1, sizeof dead_v1))
		return dead;
	if (!named) { /* which is beyond any heap's end */
		row.name_at = ROW_NAME_AT_MAX;
		row.name_len = UINT8_MAX;
		return row;
	}
	row.row_sum = sum_row(&row, name);
	if (old->row_sum != sum_row_v1(old, name))
		row.row_sum = ~row.row_sum;
	return row;
}

static int convert_rows(struct io *io, int from, int to, uint64_t count, const struct names_map *names)
{
	struct row_v1 *old = malloc(ROWS_AT_ONCE * sizeof *old);
	struct row *new = malloc(ROWS_AT_ONCE * sizeof *new);
	int rc = old && new ? 0 : -ENOMEM;

	for (uint64_t first = 0; first < count && !rc; first += ROWS_AT_ONCE) {
		size_t n = count - first < ROWS_AT_ONCE ? (size_t)(count - first) : ROWS_AT_ONCE;

		rc = io_read_full(io, from, old, n * sizeof *old, first * sizeof *old);
		for (size_t i = 0; i < n && !rc; i++)
			new[i] = convert_sound_row(&old[i], names);
		if (!rc)
			rc = io_write_full(io, to, new, n * sizeof *new, first * sizeof *new);
	}
	free(old);
	free(new);
	return rc;
}

static void new_path(char path[SEGMENT_PATH_MAX], uint32_t collection, uint32_t n)
{
	char rows[SEGMENT_PATH_MAX];

	segment_path(rows, collection, n, SEGMENT_ROWS);
	snprintf(path, SEGMENT_PATH_MAX, "%.*s.new", SEGMENT_PATH_MAX - 5, rows);
}

/* A column that is missing stays so, and one that is too short stays too short. */
static int convert_segment(struct vs_store *s, uint32_t collection, const struct segment *seg)
{
	char rows[SEGMENT_PATH_MAX], names[SEGMENT_PATH_MAX], new[SEGMENT_PATH_MAX];
	struct io *io = s->io;
	struct names_map map;
	uint64_t size = 0, count;
	int from, to, rc;

	segment_path(rows, collection, seg->n, SEGMENT_ROWS);
	segment_path(names, collection, seg->n, SEGMENT_NAMES);
	new_path(new, collection, seg->n);
	from = io->ops->open(io, rows, O_RDONLY, 0);
	if (from < 0)
		return from == -ENOENT ? 0 : from;
	rc = io->ops->size(io, from, &size);
	count = size / sizeof(struct row_v1) < seg->count ? size / sizeof(struct row_v1) : seg->count;
	if (rc >= 0)
		rc = map_names(io, names, &map);
	if (rc < 0) {
		io->ops->close(io, from);
		return rc;
	}
	to = io->ops->open(io, new, O_RDWR | O_CREAT | O_TRUNC, 0600);
	rc = to < 0 ? to : convert_rows(io, from, to, count, &map);
	if (!rc)
		rc = io->ops->datasync(io, to);
	if (to >= 0)
		io->ops->close(io, to);
	if (map.bytes)
		io->ops->unmap(io, map.bytes, map.size);
	io->ops->close(io, from);
	return rc < 0 ? rc : 0;
}

/* Calls fn for each segment, and syncs their directories. */
static int each_segment(struct vs_store *s,
			int (*fn)(struct vs_store *s, uint32_t collection, const struct segment *seg))
{
	int rc = 0;

	for (uint32_t i = 0; i < s->table.count && rc >= 0; i++) {
		const struct collection *c = s->table.all[i];
		char path[SEGMENT_PATH_MAX];

		for (uint32_t n = 0; n < c->segment_count && rc >= 0; n++)
			rc = fn(s, c->id, c->segments[n]);
		collection_path(path, c->id, NULL);
		if (rc >= 0)
			rc = s->io->ops->syncdir(s->io, path);
		if (rc == -ENOENT)
			rc = 0; /* that collection is damaged */
	}
	return rc < 0 ? rc : s->io->ops->syncdir(s->io, "collections");
}

/* How many of some rows have the id and the sum that version 1 would give them. */
static unsigned count_old_rows(struct io *io, int fd, const struct names_map *names, uint64_t rows)
{
	unsigned old = 0;

	for (uint64_t i = 0; i < rows; i++) {
		struct row_v1 row;
		uint64_t at;

		if (io_read_full(io, fd, &row, sizeof row, i * sizeof row))
			break;
		at = (uint64_t)row.name_at * NAME_GRANULE;
		old += row.name_len && at < names->size && names->size - at >= row.name_len &&
		       row.row_sum == sum_row_v1(&row, (const char *)names->bytes + at);
	}
	return old;
}

bool convert_is_old(struct io *io, uint32_t collection, uint32_t n)
{
	char rows[SEGMENT_PATH_MAX], names[SEGMENT_PATH_MAX];
	struct names_map map;
	uint64_t size = 0;
	bool old = false;
	int fd;

	segment_path(rows, collection, n, SEGMENT_ROWS);
	segment_path(names, collection, n, SEGMENT_NAMES);
	fd = io->ops->open(io, rows, O_RDONLY, 0);
	if (fd < 0)
		return false;
	io->ops->size(io, fd, &size);
	if (!map_names(io, names, &map)) {
		old = count_old_rows(io, fd, &map, size / sizeof(struct row_v1)) > 0;
		if (map.bytes)
			io->ops->unmap(io, map.bytes, map.size);
	}
	io->ops->close(io, fd);
	return old;
}

static int forget_segment(struct vs_store *s, uint32_t collection, const struct segment *seg)
{
	char new[SEGMENT_PATH_MAX];

	new_path(new, collection, seg->n);
	s->io->ops->unlink(s->io, new);
	return 0;
}

/* ------------------------------------------------------------------ steps 3 and 4 */

static int place_segment(struct vs_store *s, uint32_t collection, const struct segment *seg)
{
	char rows[SEGMENT_PATH_MAX], new[SEGMENT_PATH_MAX];
	int rc;

	segment_path(rows, collection, seg->n, SEGMENT_ROWS);
	new_path(new, collection, seg->n);
	rc = s->io->ops->rename(s->io, new, rows);
	return rc == -ENOENT ? 0 : rc;
}

int convert_finish(struct vs_store *s)
{
	int rc = each_segment(s, place_segment);

	if (rc >= 0)
		rc = catalog_update(s, 0);
	if (rc >= 0)
		log_empty(s->io);
	return rc < 0 ? rc : 0;
}

int convert_store(struct vs_store *s, const struct log_position *start, const struct log_position *end,
		  char *why, size_t why_size)
{
	int rc = write_log(s, start, why, why_size);

	if (rc >= 0)
		rc = each_segment(s, convert_segment);
	if (rc >= 0)
		rc = catalog_open_room(s);
	if (rc < 0) {
		each_segment(s, forget_segment);
		if (!*why)
			snprintf(why, why_size, "cannot be converted from format version 1: %s",
				 strerror(-rc));
		return rc;
	}
	/* An epoch that no frame has had. */
	s->position = (struct log_position){end->epoch + 2, end->seq, end->prev, end->salt + 1};
	rc = catalog_update(s, CATALOG_CONVERTED);
	if (!rc)
		rc = convert_finish(s);
	if (!rc)
		engine_report(s, VS_INFO, "converted from format version 1 to %u", FORMAT_VERSION);
	return rc;
}
