/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_rows - each row of a collection: its metadata and id, its vector, and whether the index finds it.
 *
 * Segments are looked at in several threads (check_threads.c). What they look at of other segments is behind
 * the index, which is only trusted, and looked at, where nothing is mended.
 */
#include "store/check/check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/collection/index_file.h"
#include "store/base/checksum.h"

#define READ_BYTES (1u << 20)
#define LOOK_UPS 32u /* at once: what they touch is fetched meanwhile */

struct look_up {
	const struct row *row;
	uint32_t slot;
	uint64_t hash;
};

/* Of the collection, or a part of it. */
struct sums {
	uint64_t rows, name_bytes, line_bytes, bad;
	uint64_t lost;       /* rows without metadata, */
	uint64_t nameless;   /* or without a name heap */
	uint64_t unfindable; /* intact rows that the index on disk does not lead to */
	uint64_t entry_max;
};

/* Over a segment, by one thread. */
struct pass {
	struct check_collection *cc;
	struct segment *seg;
	int fd; /* of its vectors, or a negative number */
	char *buf;
	uint32_t buf_rows;
	bool image; /* the index on disk is loaded */
	struct look_up look_ups[LOOK_UPS];
	unsigned waiting; /* how many of these there are */
	struct sums sums;
};

/* Over all of them. */
struct whole {
	pthread_mutex_t mutex; /* of the sums */
	struct sums sums;
	bool image;
};

/* ------------------------------------------------------------------ what is bad */

/* Whether a row in use is what was written, as far as its metadata and id go. */
static bool row_intact(const struct pass *p, const struct segment *seg, const struct row *r)
{
	if (!r->name_len || !segment_row_valid(seg, r))
		return false;
	return row_entry(r) >= VS_ENTRY_FIRST && r->perm < p->cc->k->s->perm_count &&
	       !vs_name_check(segment_name(seg, r), r->name_len);
}

static bool row_deleted(const struct segment *seg, const struct row *r)
{
	return !r->name_len && segment_row_valid(seg, r);
}

/* The entry with an id; all that there is is mapped. */
static uint64_t entry_of(const struct collection *c, const char *id, size_t len)
{
	uint64_t entry;

	return collection_entry(c, id, len, &entry) ? 0 : entry;
}

/* What cannot be kept makes room: the mount that follows fills deleted rows. */
static int give_up(struct pass *p, uint32_t slot)
{
	static const struct row dead;
	struct check *k = p->cc->k;
	int fd, rc;

	p->sums.bad++;
	if (!k->mend)
		return 0;
	fd = check_column_fd(p->cc, p->seg->n, SEGMENT_ROWS, O_RDWR);
	if (fd < 0)
		return fd;
	rc = io_write_full(k->io, fd, &dead, sizeof dead, (uint64_t)slot * sizeof dead);
	k->io->ops->close(k->io, fd);
	return rc;
}

static int bad_vector(struct pass *p, uint32_t slot, const char *problem)
{
	const struct segment *seg = p->seg;
	const struct row *r = &segment_rows(seg)[slot];
	char name[VS_NAME_MAX + 1];

	check_printable(name, segment_name(seg, r), r->name_len);
	check_found(p->cc->k, "%s/%s: %s", p->cc->title, name, problem);
	if (p->cc->k->mend)
		check_say(p->cc->k, "%s/%s: given up", p->cc->title, name);
	return give_up(p, slot);
}

struct row_key {
	const struct collection *c;
	uint32_t row;
};

static bool is_of_row(void *arg, uint64_t entry)
{
	const struct row_key *key = arg;

	return entry_map_get(&key->c->entries, entry) == key->row;
}

/* Whether the index on disk leads from this id to the row. It keeps a part of the hash only: an id that is
 * damaged may have come to be that of another row, with the same part. */
static bool index_confirms(const struct pass *p, const char *id, size_t len, uint32_t row)
{
	const struct collection *c = p->cc->c;
	struct row_key key = {c, row};

	return p->image && !entry_of(c, id, len) &&
	       id_index_find(&c->index, collection_hash(c, id, len), is_of_row, &key);
}

/* A row whose metadata or id is damaged. The id it seems to have is its own if the index says so. */
static int bad_row(struct pass *p, uint32_t slot)
{
	struct check_collection *cc = p->cc;
	const struct segment *seg = p->seg;
	const struct row *r = &segment_rows(seg)[slot];
	uint64_t end = r->name_at + (uint64_t)names_granules(r->name_len);
	const char *id = segment_name(seg, r);
	char name[VS_NAME_MAX + 1] = "";

	if (end <= seg->names.end && !vs_name_check(id, r->name_len))
		check_printable(name, id, r->name_len);
	if (*name && index_confirms(p, id, r->name_len, seg->n << cc->c->shift | slot))
		check_found(cc->k, "%s/%s: metadata damaged (checksum)", cc->title, name);
	else
		check_found(cc->k, "%s: segment %u, row %u: metadata or id damaged (checksum)%s%s", cc->title,
			    seg->n, slot, *name ? "; the id may have been " : "", name);
	if (cc->k->mend)
		check_say(cc->k, "%s: segment %u, row %u: given up, its id %s%s", cc->title, seg->n, slot,
			  *name ? "may have been " : "is not known", name);
	return give_up(p, slot);
}

/* ------------------------------------------------------------------ whether the index finds a row */

struct look_up_key {
	const struct collection *c;
	const struct row *row;
	const char *id;
};

/* Another entry than the row's own is compared with its id. */
static bool is_of_id(void *arg, uint64_t entry)
{
	const struct look_up_key *key = arg;
	uint32_t row;
	const struct row *r;
	const char *name;

	if (entry == row_entry(key->row))
		return true;
	row = entry_map_get(&key->c->entries, entry);
	r = row == ROW_NONE ? NULL : collection_row(key->c, row, &name);
	return r && row_entry(r) == entry && r->name_len == key->row->name_len &&
	       !memcmp(name, key->id, r->name_len);
}

static bool is_found(const struct pass *p, const struct look_up *l)
{
	const struct collection *c = p->cc->c;
	struct look_up_key key = {c, l->row, segment_name(p->seg, l->row)};
	uint64_t entry = row_entry(l->row);

	return entry_map_get(&c->entries, entry) == (p->seg->n << c->shift | l->slot) &&
	       id_index_find(&c->index, l->hash, is_of_id, &key) == entry;
}

static void look_up_waiting(struct pass *p)
{
	for (unsigned step = 0; step < INDEX_FETCH_STEPS; step++)
		for (unsigned i = 0; i < p->waiting; i++)
			id_index_fetch(&p->cc->c->index, p->look_ups[i].hash, step);
	for (unsigned i = 0; i < p->waiting; i++)
		p->sums.unfindable += !is_found(p, &p->look_ups[i]);
	p->waiting = 0;
}

static void look_up(struct pass *p, uint32_t slot)
{
	const struct row *r = &segment_rows(p->seg)[slot];
	uint64_t hash = collection_hash(p->cc->c, segment_name(p->seg, r), r->name_len);

	p->look_ups[p->waiting++] = (struct look_up){r, slot, hash};
	if (p->waiting == LOOK_UPS)
		look_up_waiting(p);
}

/* ------------------------------------------------------------------ first pass: each row for itself */

/* data is NULL if it cannot be had. */
static int check_row(struct pass *p, uint32_t slot, const char *data)
{
	const struct segment *seg = p->seg;
	const struct check_segment *cs = &p->cc->segments[seg->n];
	const struct row *r;

	if (slot >= cs->rows) {
		p->sums.lost++;
		return 0;
	}
	r = &segment_rows(seg)[slot];
	if (row_deleted(seg, r) && (!p->image || segment_is_deleted(seg, slot)))
		return 0;
	if (!row_intact(p, seg, r)) {
		if (seg->names.end) /* else all of them have been named with the file */
			return bad_row(p, slot);
		p->sums.nameless++;
		return give_up(p, slot);
	}
	if (!data)
		return bad_vector(p, slot, slot < cs->vectors ? "vector cannot be read" : "vector missing");
	if (sum_data(data, seg->row_bytes) != r->data_sum)
		return bad_vector(p, slot, "vector damaged (checksum)");
	p->sums.rows++;
	p->sums.name_bytes += r->name_len;
	p->sums.line_bytes += idlist_line_bytes(segment_name(seg, r), r->name_len);
	p->sums.entry_max = row_entry(r) > p->sums.entry_max ? row_entry(r) : p->sums.entry_max;
	if (p->image)
		look_up(p, slot);
	return 0;
}

/* Reads count vectors; if that fails, one by one: *readable is false for a single one that cannot be read. */
static int read_vectors(struct pass *p, uint32_t slot, uint32_t count, bool *readable)
{
	const struct segment *seg = p->seg;
	int rc = io_read_full(p->cc->k->io, p->fd, p->buf, count * seg->row_bytes, segment_offset(seg, slot));

	*readable = !rc;
	return rc == -EIO ? 0 : rc;
}

static int check_segment_rows(struct pass *p)
{
	const struct check_segment *cs = &p->cc->segments[p->seg->n];
	uint32_t step = p->buf_rows, n;
	int rc = 0;

	for (uint32_t slot = 0; slot < cs->count && !rc; slot += n) {
		bool there = slot < cs->vectors && slot < cs->rows, readable = false;
		uint32_t end = there && cs->vectors < cs->count ? cs->vectors : cs->count;

		n = end - slot < step ? end - slot : step;
		if (there)
			rc = read_vectors(p, slot, n, &readable);
		if (there && !readable && step > 1) {
			step = 1;
			n = 0;
			continue;
		}
		for (uint32_t i = 0; i < n && !rc; i++)
			rc = check_row(p, slot + i, readable ? p->buf + i * p->seg->row_bytes : NULL);
	}
	look_up_waiting(p);
	return rc;
}

/* ------------------------------------------------------------------ rows without metadata */

struct lost_key {
	const struct collection *c;
	uint32_t first, end; /* of the rows */
};

static bool is_of_lost(void *arg, uint64_t entry)
{
	const struct lost_key *key = arg;
	uint32_t row = entry_map_get(&key->c->entries, entry);

	return row >= key->first && row < key->end;
}

/* Whether there is or was this id: if it is one without a row now, it is named. */
static bool name_lost(struct pass *p, struct lost_key *key, const char *id, size_t len)
{
	const struct collection *c = key->c;
	char name[VS_NAME_MAX + 1];

	if (vs_name_check(id, len))
		return false;
	if (entry_of(c, id, len))
		return true;
	if (!id_index_find(&c->index, collection_hash(c, id, len), is_of_lost, key))
		return false;
	check_say(p->cc->k, "%s/%s: metadata missing", p->cc->title, check_printable(name, id, len));
	return true;
}

/* Where the rows are gone but not the ids, the index tells which of those were theirs. */
static void name_all_lost(struct pass *p)
{
	const struct segment *seg = p->seg;
	const struct check_segment *cs = &p->cc->segments[seg->n];
	uint32_t base = seg->n << p->cc->c->shift;
	struct lost_key key = {p->cc->c, base + cs->rows, base + cs->count};

	for (uint32_t at = 0; p->image && cs->rows < cs->count && at < seg->names.end;) {
		const char *id = segment_names(seg) + (size_t)at * NAME_GRANULE;
		size_t room = (size_t)(seg->names.end - at) * NAME_GRANULE;
		size_t len = strnlen(id, room < VS_NAME_MAX ? room : VS_NAME_MAX);

		/* An id that fills its granules has no zero behind it: what looks like one may be several. */
		while (len && !name_lost(p, &key, id, len))
			len = (len - 1) / NAME_GRANULE * NAME_GRANULE;
		at += len ? names_granules(len) : 1;
	}
}

/* ------------------------------------------------------------------ a segment */

static void sums_add(struct sums *to, const struct sums *from)
{
	to->rows += from->rows;
	to->name_bytes += from->name_bytes;
	to->line_bytes += from->line_bytes;
	to->bad += from->bad;
	to->lost += from->lost;
	to->nameless += from->nameless;
	to->unfindable += from->unfindable;
	to->entry_max = from->entry_max > to->entry_max ? from->entry_max : to->entry_max;
}

static int pass_begin(struct pass *p)
{
	const struct collection *c = p->cc->c;

	p->buf_rows = c->row_bytes < READ_BYTES ? (uint32_t)(READ_BYTES / c->row_bytes) : 1;
	p->buf = malloc(p->buf_rows * c->row_bytes);
	if (!p->buf)
		return -ENOMEM;
	if (p->cc->segments[p->seg->n].vectors)
		p->fd = check_column_fd(p->cc, p->seg->n, SEGMENT_VECTORS, O_RDONLY);
	return p->cc->segments[p->seg->n].vectors && p->fd < 0 ? p->fd : 0;
}

static int check_segment(struct check_collection *cc, uint32_t i, void *arg)
{
	struct whole *w = arg;
	struct pass p = {.cc = cc, .seg = cc->c->segments[i], .fd = -1, .image = w->image};
	int rc;

	if (!cc->segments[i].count)
		return 0; /* a number without files */
	rc = pass_begin(&p);
	if (!rc)
		rc = check_segment_rows(&p);
	if (p.fd >= 0)
		cc->k->io->ops->close(cc->k->io, p.fd);
	free(p.buf);
	if (!rc)
		name_all_lost(&p);
	pthread_mutex_lock(&w->mutex);
	sums_add(&w->sums, &p.sums);
	pthread_mutex_unlock(&w->mutex);
	return rc;
}

/* ------------------------------------------------------------------ second pass: each against all */

static int index_row(struct pass *p, uint32_t slot)
{
	const struct segment *seg = p->seg;
	struct collection *c = p->cc->c;
	const struct row *r = &segment_rows(seg)[slot];
	const char *id = segment_name(seg, r);
	uint64_t hash;
	int rc;

	if (row_deleted(seg, r) || !row_intact(p, seg, r))
		return 0;
	if (entry_map_get(&c->entries, row_entry(r)) != ROW_NONE)
		return bad_vector(p, slot, "is there twice (same entry number)");
	if (entry_of(c, id, r->name_len))
		return bad_vector(p, slot, "is there twice");
	hash = collection_hash(c, id, r->name_len);
	rc = entry_map_reserve(&c->entries, row_entry(r));
	if (!rc)
		rc = id_index_reserve(&c->index, hash, collection_hash_of, c);
	if (rc == -EOVERFLOW)
		return bad_vector(p, slot, "cannot be indexed");
	if (rc)
		return rc;
	entry_map_set(&c->entries, row_entry(r), seg->n << c->shift | slot);
	id_index_insert(&c->index, hash, row_entry(r));
	return 0;
}

/* Without an index on disk that can be trusted, one in memory tells which ids are there twice. */
static int index_rows(struct check_collection *cc)
{
	struct pass p = {.cc = cc};
	struct collection *c = cc->c;
	int rc = 0;

	id_index_free(&c->index);
	entry_map_free(&c->entries);
	for (uint32_t i = 0; i < c->segment_count; i++) {
		p.seg = c->segments[i];
		for (uint32_t slot = 0; slot < cc->segments[i].rows && !rc; slot++)
			rc = index_row(&p, slot);
	}
	return rc;
}

/* ------------------------------------------------------------------ all of it */

/* Whether there is an index on disk that tells the truth, as far as a file by itself can. */
static bool load_image(struct check_collection *cc)
{
	struct collection *c = cc->c;
	int rc;

	if (!c->index_stamp || cc->k->mend)
		return false;
	/* It is judged by the catalog, not by what has become of the rows. */
	for (uint32_t i = 0; i < c->segment_count; i++)
		c->segments[i]->count = cc->segments[i].count;
	rc = index_file_load(cc->k->io, c);
	for (uint32_t i = 0; i < c->segment_count; i++)
		c->segments[i]->count = cc->segments[i].rows;
	if (rc && rc != -EPROTO)
		check_found(cc->k, "%s: collections/%u/index: %s; it can be rebuilt", cc->title, c->id,
			    rc == -ENOENT ? "missing" : "damaged");
	return !rc;
}

static void compare_counts(struct check_collection *cc, const struct sums *sums)
{
	const struct collection *c = cc->c;
	bool whole = !sums->bad && !sums->lost;

	if (sums->unfindable || (whole && (c->count != sums->rows || c->name_bytes != sums->name_bytes ||
					   c->line_bytes != sums->line_bytes)))
		check_found(cc->k, "%s: collections/%u/index: wrong, does not find %llu of %llu vectors",
			    cc->title, c->id, (unsigned long long)sums->unfindable,
			    (unsigned long long)sums->rows);
}

int check_rows(struct check_collection *cc)
{
	struct collection *c = cc->c;
	struct whole w = {.mutex = PTHREAD_MUTEX_INITIALIZER, .image = load_image(cc)};
	int rc = check_each_segment(cc, check_segment, &w);

	if (!rc && cc->k->mend && w.sums.lost + w.sums.nameless)
		check_say(cc->k, "%s: %llu vectors given up without knowing their ids", cc->title,
			  (unsigned long long)(w.sums.lost + w.sums.nameless));
	if (!rc && w.image)
		compare_counts(cc, &w.sums);
	if (!rc && (!w.image || w.sums.unfindable))
		rc = index_rows(cc);
	if (!rc && w.sums.rows && w.sums.entry_max >= c->next_entry)
		check_found(cc->k, "%s: the catalog's next entry number is in use", cc->title);
	return rc;
}
