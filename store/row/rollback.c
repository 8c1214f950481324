/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rollback - a collection becomes again what one of its snapshots is.
 *
 * It is a large batch whose rows are the snapshot's. Their vectors and ids are further names of its files;
 * only a rows column is made for each segment, so that rows get entry numbers of their own: whoever has a
 * vector open keeps what it was. Their index is built beside the collection's. Then one frame says that all
 * segments of the collection have no rows any more and that the new ones are attached, and in memory the one
 * index takes the place of the other: so the change itself takes a time by segments.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/clone/clone.h"
#include "store/row/row.h"
#include "store/snapshot/snapshot.h"

struct rollback {
	struct vs_store *s;
	uint32_t id, collection;
	struct collection *snap;   /* stays as long as its `clones` counts this */
	uint32_t number;           /* whose directory has the new files; no collection's */
	uint64_t entry;            /* the first of a range for all rows */
	struct segment **pieces;   /* by the snapshot's segments; NULL: that has no rows */
	struct collection *shadow; /* the collection as it will be */
	bool is_done;
};

/* ------------------------------------------------------------------ beginning */

static int begin_once(struct rollback *r)
{
	struct vs_store *s = r->s;
	struct collection *snap = collection_get(&s->table, r->id), *c;
	int rc;

	if (!snap || !snap->frozen)
		return snap ? -EINVAL : -ENOENT;
	c = collection_get(&s->table, snap->parent);
	if (snap->damaged || c->damaged)
		return -EIO;
	if (s->next_collection > VS_COLLECTION_MAX)
		return -ENOSPC;
	rc = collection_take_entries(c, snap->count, &r->entry);
	if (rc)
		return rc;
	r->snap = snap;
	r->number = s->next_collection++;
	snap->clones++;
	s->directory_changed = c->directory_changed = true;
	return 0;
}

/* From here on the snapshot stays, and the directory of `number` is a recovery's to remove. */
static int begin(struct rollback *r)
{
	struct txn txn;
	int rc = clone_load(r->s, r->collection);

	if (!rc)
		rc = clone_load(r->s, r->id);
	if (!rc)
		rc = ahead_directory(r->s, r->collection);
	if (!rc)
		rc = txn_begin(r->s, &txn, TXN_SMALL_BYTES);
	if (rc)
		return rc;
	rc = begin_once(r);
	txn_end(&txn);
	return rc;
}

static int make_pieces(struct rollback *r)
{
	const struct collection *snap = r->snap;
	uint64_t entry = r->entry;
	int rc = collection_make_directory(r->s->io, r->number, true);

	r->pieces = calloc(snap->segment_count + 1, sizeof(struct segment *));
	if (!r->pieces)
		return -ENOMEM;
	for (uint32_t i = 0; i < snap->segment_count && !rc; i++)
		if (snap->segments[i]->count)
			rc = clone_lend(r->s, snap, i, r->number, &entry, &r->pieces[i]);
	if (!rc && entry != r->entry + snap->count)
		rc = -EIO;
	return rc ? rc : clone_lend_end(r->s, r->number);
}

/* ------------------------------------------------------------------ the collection as it will be */

/* Its segments are those of the collection, and its index may be what that had. */
static void shadow_free(struct rollback *r)
{
	struct collection *shadow = r->shadow;

	for (uint32_t i = 0; shadow && i < shadow->segment_count; i++)
		segment_put(r->s->io, shadow->segments[i]);
	if (!shadow)
		return;
	shadow->segment_count = 0;
	collection_free(r->s->io, shadow);
	r->shadow = NULL;
}

/* Gives it the pieces under numbers that are free in the collection, and placeholders between them. */
static int shadow_fill(struct rollback *r, const struct collection *c)
{
	struct collection *shadow = r->shadow;
	uint32_t next = 0;
	int rc = 0;

	for (uint32_t i = 0; i < r->snap->segment_count && !rc; i++) {
		struct segment *piece = r->pieces[i];

		if (!piece)
			continue;
		next = collection_free_number(c, next);
		rc = collection_reserve_segments(shadow, next + 1 - shadow->segment_count);
		while (!rc && shadow->segment_count < next) {
			struct segment *seg = segment_placeholder(shadow->segment_count, 0, 0);

			rc = seg ? 0 : -ENOMEM;
			if (seg)
				shadow->segments[shadow->segment_count++] = seg;
		}
		if (rc)
			break;
		for (uint32_t slot = 0; piece->deleted; slot++) /* of a try before */
			if (segment_is_deleted(piece, slot))
				segment_clear_deleted(piece, slot);
		piece->n = next++;
		segment_get(piece);
		shadow->segments[shadow->segment_count++] = piece;
	}
	return rc;
}

static int shadow_make(struct rollback *r)
{
	struct vs_store *s = r->s;
	const struct collection *c;
	uint64_t bad;
	int rc = 0;

	shadow_free(r);
	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, r->collection);
	r->shadow = collection_new(c->id, 0, c->name, c->hash_seed);
	if (r->shadow)
		collection_set_schema(r->shadow, &r->snap->schema);
	rc = r->shadow ? shadow_fill(r, c) : -ENOMEM;
	pthread_rwlock_unlock(&s->lock);
	if (!rc)
		rc = clone_index(s, r->shadow, &bad);
	return !rc && bad ? -EIO : rc;
}

/* ------------------------------------------------------------------ the change */

/* Whether the numbers are still free: the applier may have taken some from the end. */
static bool numbers_fit(const struct rollback *r, const struct collection *c)
{
	uint32_t count = c->segment_count;

	for (uint32_t i = 0; i < r->snap->segment_count; i++) {
		uint32_t n = r->pieces[i] ? r->pieces[i]->n : 0;

		if (!r->pieces[i])
			continue;
		if (n > count || (n < c->segment_count && collection_free_number(c, n) != n))
			return false;
		count += n == count;
	}
	return (uint64_t)count << r->shadow->shift <= ROW_NONE;
}

/* Readers keep what they had. Of a segment that goes as a whole that is only what waits for the applier. */
static int reserve_images(struct txn *txn, struct collection *c)
{
	bool again = false;

	for (size_t i = 0; c->snapshots && i < c->overlay.capacity; i++)
		if (c->overlay.items[i].meta)
			again |= rows_reserve_image(txn, c, c->overlay.items[i].row) != 0;
	return again ? -EAGAIN : 0;
}

/* While a collection has vectors of another kind than the snapshot it stays: no log has rows of both. */
static bool kinds_fit(const struct collection *c, const struct collection *snap)
{
	const struct vs_schema *a = &c->schema, *b = &snap->schema;

	return !c->schema_fixed || !snap->schema_fixed ||
	       (a->dim == b->dim && a->dtype == b->dtype && a->metric == b->metric);
}

static int reserve(const struct rollback *r, struct txn *txn, struct collection *c)
{
	uint32_t count = r->snap->segment_count;
	int rc;

	assert(!c->attaching && !c->lazy);
	if (c->damaged)
		return -EIO;
	if (!kinds_fit(c, r->snap))
		return -EBUSY;
	rc = catalog_reserve(r->s, count + 1);
	if (!rc)
		rc = collection_reserve_segments(c, count + 1);
	return rc ? rc : reserve_images(txn, c);
}

static void leave_all(struct txn *txn, struct collection *c)
{
	for (size_t i = 0; c->snapshots && i < c->overlay.capacity; i++)
		if (c->overlay.items[i].meta)
			snapshot_preserve(txn, c, c->overlay.items[i].row);
	overlay_free(&c->overlay);
	for (uint32_t i = 0; i < c->segment_count; i++)
		if (c->segments[i]->count)
			rows_leave_segment(txn, c, c->segments[i]);
}

static void attach_all(const struct rollback *r, struct txn *txn, struct collection *c)
{
	for (uint32_t i = 0; i < r->snap->segment_count; i++) {
		struct segment *seg = r->pieces[i];
		struct record_attach *record;

		if (!seg)
			continue;
		segment_get(seg);
		collection_place_segment(&r->s->table, c, seg);
		record = txn_append(txn, RECORD_ATTACH, c->id, sizeof *record);
		record->head.row = r->number;
		record->head.value = i;
		record->segment = seg->n;
		record->count = seg->count;
		record->name_heap_end = seg->names.end;
		record->next_entry = c->next_entry;
	}
}

/* The shadow gets what the collection had of an index, to be freed without the lock. */
static void exchange_index(struct collection *c, struct collection *shadow)
{
	struct id_index index = c->index;
	struct entry_map entries = c->entries;

	shadow->image = c->image;
	shadow->image_bytes = c->image_bytes;
	c->index = shadow->index;
	c->entries = shadow->entries;
	c->count = shadow->count;
	c->name_bytes = shadow->name_bytes;
	c->line_bytes = shadow->line_bytes;
	c->deleted = shadow->deleted;
	c->image = NULL;
	c->index_stamp = 0;
	c->room = 0;
	shadow->index = index;
	shadow->entries = entries;
}

/* A schema that no vector has fixed is the snapshot's again. */
static void restore_schema(const struct rollback *r, struct txn *txn, struct collection *c)
{
	if (c->schema_fixed)
		return;
	collection_set_schema(c, &r->snap->schema);
	c->schema_fixed = r->snap->schema_fixed;
	c->schema_given = r->snap->schema_given;
	c->dim_given = r->snap->dim_given;
	rows_log_collection(txn, c);
}

/* -ESTALE: it has to be indexed under other numbers. */
static int change(struct rollback *r, struct txn *txn)
{
	struct collection *c = collection_get(&r->s->table, r->collection);
	int rc = reserve(r, txn, c);

	if (!rc && !numbers_fit(r, c))
		rc = -ESTALE;
	if (rc)
		return rc;
	leave_all(txn, c);
	restore_schema(r, txn, c);
	attach_all(r, txn, c);
	exchange_index(c, r->shadow);
	rows_listed(c);
	r->is_done = true;
	return 0;
}

static size_t change_bytes(const struct rollback *r)
{
	const struct collection *c;
	size_t bytes = 4 * TXN_SMALL_BYTES + r->snap->segment_count * sizeof(struct record_attach);

	pthread_rwlock_rdlock(&r->s->lock);
	c = collection_get(&r->s->table, r->collection);
	/* Nobody else makes segments meanwhile. */
	bytes += c->segment_count * sizeof(struct record);
	pthread_rwlock_unlock(&r->s->lock);
	return bytes;
}

static int change_all(struct rollback *r)
{
	struct ahead ahead = {0};
	int rc = shadow_make(r);

	while (!rc && !r->is_done) {
		struct txn txn;

		rc = txn_begin(r->s, &txn, change_bytes(r));
		if (rc)
			break;
		txn.ahead = &ahead;
		rc = change(r, &txn);
		txn_end(&txn);
		if (rc == -EAGAIN)
			rc = rows_fetch(r->s, &ahead);
		else if (rc == -ESTALE)
			rc = shadow_make(r);
	}
	ahead_free(r->s, &ahead);
	return rc;
}

/* ------------------------------------------------------------------ the end */

/* Removes what is left of the files' directory: all of it, or what the applier has not moved. */
static bool remove_directory(struct rollback *r)
{
	int rc = r->is_done ? commit_wait_applied(r->s) : 0;

	if (!rc)
		rc = collection_unlink_id(r->s->io, r->number);
	r->s->directory_changed = true;
	r->s->has_orphans |= rc != 0;
	return !rc;
}

static void end(struct rollback *r)
{
	bool gone = remove_directory(r);

	shadow_free(r);
	pthread_rwlock_wrlock(&r->s->lock);
	for (uint32_t i = 0; r->pieces && i < r->snap->segment_count; i++) {
		if (!r->pieces[i] || r->is_done)
			continue;
		if (gone)
			segment_share_leave(r->pieces[i]);
		else
			segment_share_abandon(r->pieces[i]);
	}
	r->s->share_changes++;
	pthread_rwlock_unlock(&r->s->lock);
	for (uint32_t i = 0; r->pieces && i < r->snap->segment_count; i++) {
		if (r->pieces[i])
			segment_map_release(r->pieces[i]);
		segment_put(r->s->io, r->pieces[i]);
	}
	free(r->pieces);
	pthread_rwlock_wrlock(&r->s->lock);
	r->snap->clones--;
	pthread_rwlock_unlock(&r->s->lock);
}

static int roll_back(struct rollback *r)
{
	struct making attach, files;
	int rc = begin(r);

	if (rc)
		return rc;
	rc = make_pieces(r);
	if (!rc) {
		making_begin(r->s, &attach, r->collection | MAKING_ATTACH);
		making_begin(r->s, &files, r->collection);
		rc = change_all(r);
		making_end(r->s, &files);
		making_end(r->s, &attach);
	}
	if (!rc)
		rc = commit_wait(r->s);
	end(r);
	r->s->counters.batches += !rc;
	return rc;
}

int vs_snap_rollback(struct vs_store *s, uint32_t snap)
{
	struct rollback r = {.s = s, .id = snap};
	struct vs_collection_info info;
	struct making making;
	int rc = vs_collection_get(s, snap, &info);

	if (rc || !info.frozen)
		return rc ? rc : -EINVAL;
	if (s->read_only)
		return -EROFS;
	r.collection = info.parent;
	/* Whoever drops the snapshot waits for this. */
	making_begin(s, &making, snap);
	rc = rows_free_schema(s, r.collection);
	if (!rc)
		rc = roll_back(&r);
	making_end(s, &making);
	return rc;
}
