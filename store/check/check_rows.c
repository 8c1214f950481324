/* SPDX-License-Identifier: Apache-2.0 */
/* check_rows - each row of a collection: its metadata and id, its vector, and whether the index finds it. */
#include "store/check/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/collection/index_file.h"
#include "store/base/checksum.h"

#define READ_BYTES (1u << 20)

struct pass {
	struct check_collection *cc;
	char *buf;
	uint32_t buf_rows;
	bool image;                                 /* the index on disk is loaded */
	uint64_t rows, name_bytes, line_bytes, bad; /* of the collection */
	uint64_t lost;                              /* rows without metadata, */
	uint64_t nameless;                          /* or without a name heap */
	uint64_t unfindable;                        /* intact rows that the index on disk does not lead to */
	uint64_t entry_max;
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
static int give_up(struct pass *p, struct segment *seg, uint32_t slot)
{
	static const struct row dead;
	struct check *k = p->cc->k;

	p->bad++;
	if (!k->mend)
		return 0;
	return io_write_full(k->io, seg->fd[SEGMENT_ROWS], &dead, sizeof dead, (uint64_t)slot * sizeof dead);
}

static int bad_vector(struct pass *p, struct segment *seg, uint32_t slot, const char *problem)
{
	const struct row *r = &seg->rows[slot];
	char name[VS_NAME_MAX + 1];

	check_printable(name, segment_name(seg, r), r->name_len);
	check_found(p->cc->k, "%s/%s: %s", p->cc->title, name, problem);
	if (p->cc->k->mend)
		check_say(p->cc->k, "%s/%s: given up", p->cc->title, name);
	return give_up(p, seg, slot);
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

/* Whether the index on disk leads from this id to the row. */
static bool index_confirms(const struct pass *p, const char *id, size_t len, uint32_t row)
{
	const struct collection *c = p->cc->c;
	struct row_key key = {c, row};

	return p->image && id_index_find(&c->index, collection_hash(c, id, len), is_of_row, &key);
}

/* A row whose metadata or id is damaged. The id it seems to have is its own if the index says so. */
static int bad_row(struct pass *p, struct segment *seg, uint32_t slot)
{
	struct check_collection *cc = p->cc;
	const struct row *r = &seg->rows[slot];
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
	return give_up(p, seg, slot);
}

/* ------------------------------------------------------------------ first pass: each row for itself */

static void look_up(struct pass *p, const struct segment *seg, uint32_t slot)
{
	const struct collection *c = p->cc->c;
	const struct row *r = &seg->rows[slot];
	uint64_t entry = row_entry(r);

	if (entry_map_get(&c->entries, entry) != (seg->n << c->shift | slot) ||
	    entry_of(c, segment_name(seg, r), r->name_len) != entry)
		p->unfindable++;
}

/* data is NULL if it cannot be had. */
static int check_row(struct pass *p, struct segment *seg, uint32_t slot, const char *data)
{
	const struct check_segment *cs = &p->cc->segments[seg->n];
	const struct row *r;

	if (slot >= cs->rows) {
		p->lost++;
		return 0;
	}
	r = &seg->rows[slot];
	if (row_deleted(seg, r) && !p->image) /* a close with deleted rows left writes no index file */
		return 0;
	if (!row_intact(p, seg, r)) {
		if (seg->names.end) /* else all of them have been named with the file */
			return bad_row(p, seg, slot);
		p->nameless++;
		return give_up(p, seg, slot);
	}
	if (!data)
		return bad_vector(p, seg, slot,
				  slot < cs->vectors ? "vector cannot be read" : "vector missing");
	if (sum_data(data, seg->row_bytes) != r->data_sum)
		return bad_vector(p, seg, slot, "vector damaged (checksum)");
	p->rows++;
	p->name_bytes += r->name_len;
	p->line_bytes += idlist_line_bytes(segment_name(seg, r), r->name_len);
	p->entry_max = row_entry(r) > p->entry_max ? row_entry(r) : p->entry_max;
	if (p->image)
		look_up(p, seg, slot);
	return 0;
}

/* Reads count vectors; if that fails, one by one: *readable is false for a single one that cannot be read. */
static int read_vectors(struct pass *p, const struct segment *seg, uint32_t slot, uint32_t count,
			bool *readable)
{
	int rc = io_read_full(p->cc->k->io, seg->fd[SEGMENT_VECTORS], p->buf, count * seg->row_bytes,
			      segment_offset(seg, slot));

	*readable = !rc;
	return rc == -EIO ? 0 : rc;
}

static int check_segment_rows(struct pass *p, struct segment *seg)
{
	const struct check_segment *cs = &p->cc->segments[seg->n];
	uint32_t step = p->buf_rows, n;
	int rc = 0;

	for (uint32_t slot = 0; slot < cs->count && !rc; slot += n) {
		bool there = slot < cs->vectors && slot < cs->rows, readable = false;
		uint32_t end = there && cs->vectors < cs->count ? cs->vectors : cs->count;

		n = end - slot < step ? end - slot : step;
		if (there)
			rc = read_vectors(p, seg, slot, n, &readable);
		if (there && !readable && step > 1) {
			step = 1;
			n = 0;
			continue;
		}
		for (uint32_t i = 0; i < n && !rc; i++)
			rc = check_row(p, seg, slot + i, readable ? p->buf + i * seg->row_bytes : NULL);
	}
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
static void name_all_lost(struct pass *p, const struct segment *seg)
{
	const struct check_segment *cs = &p->cc->segments[seg->n];
	uint32_t base = seg->n << p->cc->c->shift;
	struct lost_key key = {p->cc->c, base + cs->rows, base + cs->count};

	for (uint32_t at = 0; p->image && cs->rows < cs->count && at < seg->names.end;) {
		const char *id = seg->name_bytes + (size_t)at * NAME_GRANULE;
		size_t room = (size_t)(seg->names.end - at) * NAME_GRANULE;
		size_t len = strnlen(id, room < VS_NAME_MAX ? room : VS_NAME_MAX);

		/* An id that fills its granules has no zero behind it: what looks like one may be several. */
		while (len && !name_lost(p, &key, id, len))
			len = (len - 1) / NAME_GRANULE * NAME_GRANULE;
		at += len ? names_granules(len) : 1;
	}
}

/* ------------------------------------------------------------------ second pass: the rows, each against all
 */

static int index_row(struct pass *p, struct segment *seg, uint32_t slot)
{
	struct collection *c = p->cc->c;
	const struct row *r = &seg->rows[slot];
	const char *id = segment_name(seg, r);
	uint64_t hash;
	int rc;

	if (row_deleted(seg, r) || !row_intact(p, seg, r))
		return 0;
	if (entry_map_get(&c->entries, row_entry(r)) != ROW_NONE)
		return bad_vector(p, seg, slot, "is there twice (same entry number)");
	if (entry_of(c, id, r->name_len))
		return bad_vector(p, seg, slot, "is there twice");
	hash = collection_hash(c, id, r->name_len);
	rc = entry_map_reserve(&c->entries, row_entry(r));
	if (!rc)
		rc = id_index_reserve(&c->index, hash, collection_hash_of, c);
	if (rc == -EOVERFLOW)
		return bad_vector(p, seg, slot, "cannot be indexed");
	if (rc)
		return rc;
	entry_map_set(&c->entries, row_entry(r), seg->n << c->shift | slot);
	id_index_insert(&c->index, hash, row_entry(r));
	return 0;
}

/* Without an index on disk that can be trusted, one in memory tells which ids are there twice. */
static int index_rows(struct pass *p)
{
	struct collection *c = p->cc->c;
	int rc = 0;

	id_index_free(&c->index);
	entry_map_free(&c->entries);
	for (uint32_t i = 0; i < c->segment_count; i++)
		for (uint32_t slot = 0; slot < p->cc->segments[i].rows && !rc; slot++)
			rc = index_row(p, c->segments[i], slot);
	return rc;
}

/* ------------------------------------------------------------------ all of it */

static void load_image(struct pass *p)
{
	struct collection *c = p->cc->c;
	int rc;

	if (!c->index_stamp || p->cc->k->mend)
		return;
	/* It is judged by the catalog, not by what has become of the rows. */
	for (uint32_t i = 0; i < c->segment_count; i++)
		c->segments[i]->count = p->cc->segments[i].count;
	rc = index_file_load(p->cc->k->io, c);
	for (uint32_t i = 0; i < c->segment_count; i++)
		c->segments[i]->count = p->cc->segments[i].rows;
	p->image = !rc;
	if (rc && rc != -EPROTO)
		check_found(p->cc->k, "%s: collections/%u/index: %s; it can be rebuilt", p->cc->title, c->id,
			    rc == -ENOENT ? "missing" : "damaged");
}

static void compare_counts(struct pass *p)
{
	const struct collection *c = p->cc->c;
	bool whole = !p->bad && !p->lost;

	if (p->unfindable || (whole && (c->count != p->rows || c->name_bytes != p->name_bytes ||
					c->line_bytes != p->line_bytes)))
		check_found(p->cc->k, "%s: collections/%u/index: wrong, does not find %llu of %llu vectors",
			    p->cc->title, c->id, (unsigned long long)p->unfindable,
			    (unsigned long long)p->rows);
}

int check_rows(struct check_collection *cc)
{
	struct collection *c = cc->c;
	struct pass p = {.cc = cc};
	int rc = 0;

	load_image(&p);
	if (c->segment_count) {
		p.buf_rows = c->row_bytes < READ_BYTES ? (uint32_t)(READ_BYTES / c->row_bytes) : 1;
		p.buf = malloc(p.buf_rows * c->row_bytes);
		if (!p.buf)
			return -ENOMEM;
	}
	for (uint32_t i = 0; i < c->segment_count && !rc; i++) {
		rc = check_segment_rows(&p, c->segments[i]);
		name_all_lost(&p, c->segments[i]);
	}
	if (!rc && cc->k->mend && p.lost + p.nameless)
		check_say(cc->k, "%s: %llu vectors given up without knowing their ids", cc->title,
			  (unsigned long long)(p.lost + p.nameless));
	if (!rc && p.image)
		compare_counts(&p);
	if (!rc && (!p.image || p.unfindable))
		rc = index_rows(&p);
	if (!rc && p.rows && p.entry_max >= c->next_entry)
		check_found(cc->k, "%s: the catalog's next entry number is in use", cc->title);
	free(p.buf);
	return rc;
}
