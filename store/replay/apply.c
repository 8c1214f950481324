/* SPDX-License-Identifier: Apache-2.0 */
#include "store/replay/apply.h"

#include <errno.h>
#include <stdlib.h>

#include "store/clone/clone.h"
#include "store/engine.h"
#include "store/replay/run.h"

struct apply {
	struct vs_store *s;
	struct run run[SEGMENT_COLUMNS];
};

/*
 * The segment a record is about, with a reference for the caller; NULL if its collection is gone (a later
 * record says so), it is damaged, or another segment will come under its number: in a recovery, that one's
 * files are there already.
 */
static struct segment *segment_of(struct apply *a, uint32_t collection, uint32_t row, uint32_t *slot)
{
	struct vs_store *s = a->s;
	struct collection *c;
	struct segment *seg = NULL;
	uint32_t n;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, collection);
	if (c && c->row_bytes) {
		n = row >> c->shift;
		*slot = collection_slot(c, row);
		seg = n < c->segment_count ? c->segments[n] : NULL;
	}
	if (seg && segment_has_files(seg) && !seg->adopts)
		segment_get(seg);
	else
		seg = NULL;
	pthread_rwlock_unlock(&s->lock);
	return seg;
}

static int apply_row(struct apply *a, const struct record_row *r)
{
	uint32_t slot;
	struct segment *seg = segment_of(a, r->head.collection, r->head.row, &slot);
	int rc = 0;

	if (!seg)
		return 0;
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS && !rc; i++) {
		struct column_piece piece = column_piece(i, r, seg->row_bytes);
		uint64_t unit = column_defs[i].is_heap ? r->row.name_at : slot;

		if (piece.size)
			rc = run_add(a->s, &a->run[i], seg, segment_column_bytes(seg, i, unit), piece.bytes,
				     piece.size);
	}
	if (slot >= seg->applied)
		seg->applied = slot + 1;
	segment_put(a->s->io, seg);
	return rc;
}

static void apply_trim(struct apply *a, const struct record *r)
{
	uint32_t slot;
	struct segment *seg = segment_of(a, r->collection, r->row, &slot);

	if (!seg)
		return;
	if (seg->applied > r->value)
		seg->applied = (uint32_t)r->value;
	segment_put(a->s->io, seg);
}

static int apply_deleted_row(struct apply *a, struct segment *seg, uint32_t slot)
{
	static const struct row dead;

	if (slot >= seg->rows_max)
		return 0;
	return run_add(a->s, &a->run[SEGMENT_ROWS], seg, (uint64_t)slot * sizeof dead, &dead, sizeof dead);
}

/* Writes zeros over the rows of a bitmap or list. */
static int apply_deleted(struct apply *a, const struct record *r)
{
	const uint64_t *bits = (const uint64_t *)(r + 1);
	const uint32_t *list = (const uint32_t *)(r + 1);
	size_t bytes = r->bytes - sizeof *r;
	uint32_t slot;
	struct segment *seg = segment_of(a, r->collection, r->row, &slot);
	int rc = 0;

	if (!seg)
		return 0;
	if (r->flags & RECORD_LIST) {
		for (uint64_t i = 0; i < r->value && i < bytes / 4 && !rc; i++)
			rc = apply_deleted_row(a, seg, list[i]);
	} else {
		for (uint32_t i = 0; i < bytes * 8 && !rc; i++)
			if (bits[i / 64] >> (i % 64) & 1)
				rc = apply_deleted_row(a, seg, i);
	}
	segment_put(a->s->io, seg);
	return rc;
}

int apply_adoption(struct vs_store *s, const struct record_attach *r)
{
	bool uploaded = r->head.flags & RECORD_UPLOADED;
	char from[SEGMENT_COLUMNS][SEGMENT_PATH_MAX], to[SEGMENT_PATH_MAX];
	int rc;

	segment_attach_paths(from, r->head.row, (uint32_t)r->head.value, uploaded);
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++) {
		segment_path(to, r->head.collection, r->segment, i);
		rc = s->io->ops->rename(s->io, from[i], to);
		if (rc < 0 && rc != -ENOENT)
			return rc;
	}
	/* Now, for the batch's directory goes next: were that to survive a crash and the move not, the files
	 * were lost. */
	collection_path(to, r->head.collection, NULL);
	rc = s->io->ops->syncdir(s->io, to);
	return rc == -ENOENT ? 0 : rc; /* a parent that a later record drops */
}

static int apply_attach(struct apply *a, const struct record_attach *r)
{
	struct vs_store *s = a->s;
	struct collection *c;
	struct segment *seg;
	bool moved; /* by a recovery, before it opened any file */
	int rc;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, r->head.collection);
	seg = c && r->segment < c->segment_count ? c->segments[r->segment] : NULL;
	moved = seg && seg->adopts;
	if (moved)
		seg->adopts--;
	if (seg && (seg->adopts || !segment_has_files(seg)))
		seg = NULL;
	if (seg)
		segment_get(seg);
	pthread_rwlock_unlock(&s->lock);
	rc = moved ? 0 : apply_adoption(s, r);
	if (seg && !rc) {
		seg->batch = 0;
		seg->applied = r->count;
	}
	segment_put(s->io, seg);
	return rc;
}

/* All that was logged before is in the files, and then they get their other names. */
static int apply_clone(struct apply *a, const struct record *r)
{
	int rc = 0;

	for (int i = 0; i < SEGMENT_COLUMNS && !rc; i++)
		rc = run_flush(a->s, &a->run[i]);
	return rc ? rc : clone_link(a->s, r->collection, r->row);
}

static int add_records(struct apply *a, const void *records, size_t size)
{
	const char *p = records, *end = p + size;
	int rc = 0;

	while (!rc && p < end) {
		const struct record *r = (const struct record *)(const void *)p;

		if (r->type == RECORD_ROW)
			rc = apply_row(a, (const struct record_row *)(const void *)r);
		else if (r->type == RECORD_DELETE_ROWS)
			rc = apply_deleted(a, r);
		else if (r->type == RECORD_ATTACH)
			rc = apply_attach(a, (const struct record_attach *)(const void *)r);
		else if (r->type == RECORD_TRIM)
			apply_trim(a, r);
		else if (r->type == RECORD_CLONE)
			rc = apply_clone(a, r);
		p += r->bytes;
	}
	return rc;
}

static struct apply *apply_begin(struct vs_store *s)
{
	struct apply *a = calloc(1, sizeof *a);

	if (!a)
		return NULL;
	a->s = s;
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++)
		a->run[i].column = i;
	return a;
}

/* Writes what has been gathered, unless rc says that gathering failed, and frees. */
static int apply_end(struct apply *a, int rc)
{
	for (int i = 0; i < SEGMENT_COLUMNS; i++) {
		if (!rc)
			rc = run_flush(a->s, &a->run[i]);
		else if (a->run[i].count)
			segment_put(a->s->io, a->run[i].seg);
	}
	free(a);
	return rc;
}

int apply_records(struct vs_store *s, const void *records, size_t size)
{
	struct apply *a = apply_begin(s);

	return a ? apply_end(a, add_records(a, records, size)) : -ENOMEM;
}

int apply_groups(struct vs_store *s, const struct group *g)
{
	struct apply *a = apply_begin(s);
	int rc = a ? 0 : -ENOMEM;

	for (; g && !rc; g = g->next)
		rc = add_records(a, g->buf + sizeof(struct frame), g->used);
	return a ? apply_end(a, rc) : rc;
}
