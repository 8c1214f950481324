/* SPDX-License-Identifier: Apache-2.0 */
#include "store/row/row.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/snapshot/snapshot.h"
#include "store/base/row_time.h"
#include "store/base/checksum.h"

void rows_log_collection(struct txn *txn, const struct collection *c)
{
	size_t len = strlen(c->name);
	struct record_collection *r = txn_append(txn, RECORD_COLLECTION, c->id, sizeof *r + len);

	r->body = catalog_describe(c);
	memcpy(r + 1, c->name, len);
}

/* ------------------------------------------------------------------ making room */

/* Gives a collection the segment n, a free number or the next one. */
static int segment_add(struct txn *txn, struct collection *c, uint32_t n)
{
	struct segment *seg;
	int rc = catalog_reserve(txn->s, 1);

	if (!rc && (uint64_t)(n + 1) << c->shift > ROW_NONE)
		rc = -ENOSPC;
	if (!rc)
		rc = collection_reserve_segments(c, 1);
	if (!rc)
		rc = ahead_segment(txn->ahead, c, n, &seg);
	if (rc)
		return rc;
	c->directory_changed = txn->s->directory_changed = true;
	collection_place_segment(&txn->s->table, c, seg);
	return 0;
}

static bool has_room(const struct segment *seg)
{
	return !segment_has_files(seg) ||
	       (!seg->going && !seg->closed && !segment_is_shared(seg) && seg->count < seg->rows_max);
}

/* Where to look for room, once files are not shared any more. */
static void renew_room(const struct vs_store *s, struct collection *c)
{
	if (c->shares && c->shares_seen != s->share_changes) {
		c->shares_seen = s->share_changes;
		c->room = 0;
	}
}

/* The first segment from number `from` on that has room for a row; added if there is none. */
static int segment_with_room(struct txn *txn, struct collection *c, uint32_t from, struct segment **out)
{
	int rc = 0;

	while (from < c->segment_count && !has_room(c->segments[from]))
		from++;
	if (from == c->segment_count || !segment_has_files(c->segments[from]))
		rc = segment_add(txn, c, from);
	*out = rc ? NULL : c->segments[from];
	return rc;
}

int rows_reserve_name(struct txn *txn, struct collection *c, struct segment *seg, const char *name,
		      size_t len)
{
	int rc = collection_scan_names(c, seg);

	if (!rc)
		rc = ahead_space(txn->ahead, seg, 0, name_heap_end_after(&seg->names, len));
	if (!rc)
		rc = collection_index_reserve(c, collection_hash(c, name, len));
	return rc;
}

/* Where the next new row goes, after rows_reserve_new. */
static uint32_t next_row(const struct collection *c)
{
	return c->room << c->shift | c->segments[c->room]->count;
}

int rows_reserve_new(struct txn *txn, struct collection *c, const char *name, size_t len, uint64_t entry)
{
	struct segment *seg;
	int rc;

	renew_room(txn->s, c);
	rc = segment_with_room(txn, c, c->room, &seg);
	if (!rc) {
		c->room = seg->n;
		rc = ahead_space(txn->ahead, seg, seg->count + 1, name_heap_end_after(&seg->names, len));
	}
	if (!rc)
		rc = rows_reserve_name(txn, c, seg, name, len);
	if (!rc)
		rc = entry_map_reserve(&c->entries, entry);
	if (!rc)
		rc = overlay_reserve(&c->overlay, 4);
	return rc;
}

int rows_reserve_many(struct txn *txn, struct collection *c, uint64_t rows)
{
	uint32_t from;
	int rc = 0;

	renew_room(txn->s, c);
	from = c->room;
	while (rows && !rc) {
		struct segment *seg;
		uint32_t n;

		rc = segment_with_room(txn, c, from, &seg);
		if (rc)
			break;
		n = seg->rows_max - seg->count < rows ? seg->rows_max - seg->count : (uint32_t)rows;
		rc = ahead_space(txn->ahead, seg, seg->count + n, seg->names.end + n * NAMES_CLASSES);
		rows -= n;
		from = seg->n + 1;
	}
	return rc;
}

int rows_reserve_image(struct txn *txn, struct collection *c, uint32_t row)
{
	int rc;

	if (!snapshot_wants(c, row))
		return 0;
	/* A change that has begun goes to its end: its own images may be more than a snapshot holds in
	 * memory. */
	if (!txn->ahead->spill && !txn_has_begun(txn))
		txn->ahead->spill = snapshot_full(c);
	rc = ahead_row(txn->ahead, c, row, NULL);
	/* Other errors cost the snapshot, and not the change. */
	return rc == -EAGAIN || txn->ahead->spill ? -EAGAIN : 0;
}

int rows_fetch(struct vs_store *s, struct ahead *ahead)
{
	if (ahead->spill)
		snapshot_spill(ahead->spill);
	ahead->spill = NULL;
	return ahead_fetch(s, ahead);
}

int rows_reserve_mark(struct txn *txn, struct segment *seg)
{
	int rc = segment_reserve_deleted(seg);

	return rc || !segment_is_shared(seg) ? rc : ahead_copy(txn->ahead, seg);
}

int rows_reserve_change(struct txn *txn, struct collection *c, uint32_t row, struct row_change *change)
{
	struct segment *seg = collection_segment(c, row);
	int rc = overlay_reserve(&c->overlay, 2);

	change->kept = NULL;
	if (rc || !segment_is_shared(seg))
		return rc;
	rc = rows_reserve_mark(txn, seg);
	if (!rc && !change->data) {
		/* As it is, not verified: if it is damaged it stays so. */
		change->kept = malloc(c->row_bytes);
		rc = change->kept ? ahead_row(txn->ahead, c, row, change->kept) : -ENOMEM;
	}
	if (!rc)
		rc = rows_reserve_new(txn, c, change->name, change->name_len, change->entry);
	if (!rc && c->attaching)
		rc = row_set_reserve(&c->attaching->replaced, next_row(c));
	return rc;
}

/* ------------------------------------------------------------------ records */

/* Logs a row and puts it into the overlay. row_sum is computed here. data may be NULL: the bytes stay. */
static struct record_row *log_row(struct txn *txn, struct collection *c, uint32_t row, const struct row *meta,
				  const char *name, const void *data)
{
	size_t name_bytes = names_granules(meta->name_len) * NAME_GRANULE;
	struct record_row *r =
		txn_append(txn, RECORD_ROW, c->id, sizeof *r + name_bytes + (data ? c->row_bytes : 0));

	r->head.row = row;
	r->row = *meta;
	memcpy(r + 1, name, meta->name_len);
	r->row.row_sum = sum_row(&r->row, name);
	if (data) {
		codes_mark(collection_segment(c, row)->codes, collection_slot(c, row));
		r->head.flags = RECORD_HAS_DATA;
		memcpy((char *)(r + 1) + name_bytes, data, c->row_bytes);
	}
	collection_segment(c, row)->digest_valid = false;
	overlay_set(&c->overlay, row, r);
	return r;
}

static void touched(struct collection *c)
{
	c->changed = ++c->version;
	c->index_stamp = 0;
}

void rows_listed(struct collection *c)
{
	touched(c);
	collection_listed(c);
}

static struct row row_of(const struct row_change *change, uint32_t name_at)
{
	struct row meta = {
		.data_sum = change->data_sum,
		.name_len = (uint8_t)change->name_len,
		.perm = (uint16_t)change->perm,
		.name_at = name_at & ROW_NAME_AT_MAX,
	};

	row_set_times(&meta, change->mtime, change->ctime);
	row_set_entry(&meta, change->entry);
	return meta;
}

static struct record_row *add_row(struct txn *txn, struct collection *c, const struct row_change *change)
{
	struct record_row *record;
	struct segment *seg = c->segments[c->room];
	uint32_t row = next_row(c);
	struct row meta = row_of(change, name_heap_alloc(&seg->names, change->name_len));

	assert(seg->count < seg->rows_max && change->data && !segment_is_shared(seg));
	record = log_row(txn, c, row, &meta, change->name, change->data);
	if (++seg->count > seg->high)
		seg->high = seg->count;
	entry_map_set(&c->entries, change->entry, row);
	id_index_insert(&c->index, collection_hash(c, change->name, change->name_len), change->entry);
	c->count++;
	collection_count_name(c, change->name, change->name_len);
	rows_listed(c);
	return record;
}

void rows_add(struct txn *txn, struct collection *c, const struct row_change *change)
{
	add_row(txn, c, change);
}

/* The record that a segment has so many rows. */
static void append_trim(struct txn *txn, const struct collection *c, const struct segment *seg,
			uint16_t flags)
{
	struct record *r = txn_append(txn, RECORD_TRIM, c->id, sizeof *r);

	r->row = seg->n << c->shift;
	r->value = seg->count;
	r->flags = flags;
}

static void log_trim(struct txn *txn, struct collection *c, struct segment *seg, uint32_t count,
		     uint16_t flags)
{
	while (seg->count > count)
		overlay_drop(&c->overlay, seg->n << c->shift | --seg->count);
	seg->digest_valid = false;
	seg->trims++;
	append_trim(txn, c, seg, flags);
	if (seg->n < c->room && !seg->going)
		c->room = seg->n;
}

/* A segment goes; in the overlay there is nothing of it, or who calls sees to that. */
static void log_going(struct txn *txn, struct collection *c, struct segment *seg, uint16_t flags)
{
	c->deleted -= seg->deleted;
	segment_clear_all_deleted(seg);
	seg->going = true;
	seg->count = 0;
	log_trim(txn, c, seg, 0, flags);
}

void row_mark_deleted(struct txn *txn, struct collection *c, uint32_t row)
{
	struct segment *seg = collection_segment(c, row);
	const char *name;
	const struct row *found = collection_row(c, row, &name);
	struct row old = *found;
	int rc;

	snapshot_preserve(txn, c, row);
	collection_discount_name(c, name, old.name_len);
	id_index_remove(&c->index, collection_hash(c, name, old.name_len), row_entry(&old));
	if (entry_map_get(&c->entries, row_entry(&old)) == row) /* it may have another row already */
		entry_map_set(&c->entries, row_entry(&old), ROW_NONE);
	name_heap_release(&seg->names, old.name_at, old.name_len);
	overlay_drop(&c->overlay, row);
	rc = segment_set_deleted(seg, collection_slot(c, row));
	assert(!rc);
	(void)rc;
	c->deleted++;
	c->count--;
	seg->digest_valid = false;
}

void rows_leave_deleted(struct txn *txn, struct collection *c)
{
	for (uint32_t i = 0; i < c->segment_count && c->deleted; i++)
		if (c->segments[i]->deleted && c->segments[i]->deleted == c->segments[i]->count)
			log_going(txn, c, c->segments[i], 0);
}

/* Marks a row of a shared segment as deleted, and logs that: RECORD_REMOVED, or 0 if its entry goes on
 * elsewhere. */
static void mark_one(struct txn *txn, struct collection *c, uint32_t row, uint16_t flags)
{
	struct segment *seg = collection_segment(c, row);
	struct record *r = txn_append(txn, RECORD_DELETE_ROWS, c->id, sizeof *r + sizeof(uint64_t));

	r->row = seg->n << c->shift;
	r->value = 1;
	r->flags = RECORD_LIST | flags;
	*(uint32_t *)(r + 1) = collection_slot(c, row);
	row_mark_deleted(txn, c, row);
	if (seg->deleted == seg->count) /* all of it is marked, and so out of the overlay */
		log_going(txn, c, seg, flags & RECORD_REMOVED ? 0 : RECORD_MOVED);
}

/* Writes it into a segment that nobody shares, and marks the old row. */
static void change_elsewhere(struct txn *txn, struct collection *c, uint32_t row,
			     const struct row_change *change)
{
	const char *old_name;
	const struct row *old = collection_row(c, row, &old_name);
	bool renamed = old->name_len != change->name_len || memcmp(old_name, change->name, old->name_len);
	vs_time mtime = c->mtime, ctime = c->ctime;
	struct row_change moved = *change;
	struct record_row *record;

	if (!moved.data)
		moved.data = moved.kept;
	/* In this order: an entry without a row might lose its place in the map. */
	record = add_row(txn, c, &moved);
	if (c->attaching && row_set_has(&c->attaching->replaced, row)) {
		row_set_remove(&c->attaching->replaced, row);
		row_set_add(&c->attaching->replaced, record->head.row);
	}
	mark_one(txn, c, row, 0);
	record->head.flags |= RECORD_MOVED | (renamed ? RECORD_RENAMED : 0);
	if (renamed)
		return;
	c->mtime = mtime;
	c->ctime = ctime;
}

void rows_change(struct txn *txn, struct collection *c, uint32_t row, const struct row_change *change)
{
	struct segment *seg = collection_segment(c, row);
	const char *old_name;
	const struct row *found = collection_row(c, row, &old_name);
	struct row old = *found, meta = row_of(change, old.name_at);
	bool renamed = old.name_len != change->name_len || memcmp(old_name, change->name, old.name_len);
	uint64_t old_hash = collection_hash(c, old_name, old.name_len);
	struct record_row *record;

	if (segment_is_shared(seg)) {
		change_elsewhere(txn, c, row, change);
		return;
	}
	snapshot_preserve(txn, c, row);
	if (renamed) {
		meta.name_at = name_heap_alloc(&seg->names, change->name_len) & ROW_NAME_AT_MAX;
		name_heap_release(&seg->names, old.name_at, old.name_len);
		collection_discount_name(c, old_name, old.name_len);
		collection_count_name(c, change->name, change->name_len);
	}
	record = log_row(txn, c, row, &meta, change->name, change->data);
	record->head.flags |= renamed ? RECORD_RENAMED : RECORD_SAME_ID;
	if (renamed || change->entry != row_entry(&old)) {
		id_index_remove(&c->index, old_hash, row_entry(&old));
		id_index_insert(&c->index, collection_hash(c, change->name, change->name_len), change->entry);
	}
	if (change->entry != row_entry(&old)) {
		/* In this order: a chunk whose last entry goes is freed, and the new one may be in the same.
		 */
		entry_map_set(&c->entries, change->entry, row);
		entry_map_set(&c->entries, row_entry(&old), ROW_NONE);
	}
	if (renamed)
		rows_listed(c);
	else
		touched(c);
}

/* ------------------------------------------------------------------ putting */

/* That of an entry, if it is later than another. */
static vs_time ctime_of(const struct collection *c, uint64_t entry, vs_time other)
{
	uint32_t row = collection_row_of(c, entry);
	const char *name;
	const struct row *r = row == ROW_NONE ? NULL : collection_row(c, row, &name);

	return r && row_ctime(r) > other ? row_ctime(r) : other;
}

int rows_put_prepare(struct txn *txn, struct collection *c, const char *name, const struct vs_attr *attr,
		     const void *data, size_t size, struct row_put *put)
{
	struct vs_schema schema = c->schema;
	bool fixed = c->schema_fixed;
	size_t start = txn->start;
	int rc = rows_fix_schema(txn, c, size);

	put->change = (struct row_change){
		.entry = attr->entry,
		.mtime = attr->mtime,
		.ctime = attr->ctime,
		.name = name,
		.name_len = strlen(name),
		.data = data,
		.data_sum = sum_data(data, size),
	};
	put->replaced = 0;
	put->schema = schema;
	put->fixed = !fixed;
	if (!rc)
		rc = collection_entry(c, name, put->change.name_len, &put->replaced);
	if (!rc && put->replaced)
		put->change.ctime = ctime_of(c, put->replaced, attr->ctime);
	put->change.ctime = vs_time_after(put->change.ctime, vs_time_now());
	if (!rc && put->replaced)
		rc = rows_reserve_image(txn, c, entry_map_get(&c->entries, put->replaced));
	if (!rc)
		rc = put->replaced ? entry_map_reserve(&c->entries, attr->entry)
				   : rows_reserve_new(txn, c, name, put->change.name_len, attr->entry);
	if (!rc && put->replaced)
		rc = id_index_reserve_replacement(&c->index, collection_hash(c, name, put->change.name_len));
	if (!rc && put->replaced)
		rc = rows_reserve_change(txn, c, entry_map_get(&c->entries, put->replaced), &put->change);
	if (!rc)
		rc = overlay_reserve(&c->overlay, 1);
	if (!rc)
		rc = rows_perm(txn, &attr->perm, &put->change.perm);
	if (rc && !fixed) {
		rows_unfix_schema(txn, c, &schema);
		txn->start = start;
	}
	return rc;
}

void rows_put_cancel(struct txn *txn, struct collection *c, const struct row_put *put)
{
	if (!put->fixed)
		return;
	rows_unfix_schema(txn, c, &put->schema);
	rows_log_collection(txn, c);
}

void rows_put(struct txn *txn, struct collection *c, const struct row_put *put)
{
	if (put->change.entry >= c->next_entry)
		c->next_entry = put->change.entry + 1;
	if (put->replaced)
		rows_change(txn, c, entry_map_get(&c->entries, put->replaced), &put->change);
	else
		rows_add(txn, c, &put->change);
}

/* ------------------------------------------------------------------ removing */

/* Shortens a segment by the deleted rows at its end, so that its last row is a live one. */
static void trim_deleted(struct txn *txn, struct collection *c, struct segment *seg)
{
	uint32_t count = seg->count;

	while (count && segment_is_deleted(seg, count - 1)) {
		segment_clear_deleted(seg, --count);
		c->deleted--;
	}
	if (count < seg->count)
		log_trim(txn, c, seg, count, 0);
}

/* A row that moves into a hole: all that can fail is done before anything changes. */
struct filler {
	uint32_t last; /* where it is; the hole itself: nothing moves */
	struct row meta;
	char name[256];
	void *data;
};

/* Looks at the last living row of the segment of the hole at row. data of the filler is row_bytes. */
static int filler_find(struct txn *txn, struct collection *c, uint32_t row, struct filler *f)
{
	struct segment *seg = collection_segment(c, row);
	uint32_t last = seg->count - 1;
	const struct row *found;
	const char *name;
	int rc;

	while (last != collection_slot(c, row) && segment_is_deleted(seg, last))
		last--;
	f->last = seg->n << c->shift | last;
	if (f->last == row)
		return 0;
	found = collection_row(c, f->last, &name);
	if (!found || entry_map_get(&c->entries, row_entry(found)) != f->last)
		return -EIO;
	/* As it is, not verified: if it is damaged it stays so, and is found so when it is read. */
	rc = ahead_row(txn->ahead, c, f->last, f->data);
	if (!rc)
		rc = overlay_reserve(&c->overlay, 2);
	if (rc)
		return rc;
	f->meta = *found;
	memcpy(f->name, name, found->name_len);
	return 0;
}

/* Moves it into the hole at row, which holds nothing any more, and shortens the segment. */
static void fill_hole(struct txn *txn, struct collection *c, uint32_t row, const struct filler *f)
{
	struct segment *seg = collection_segment(c, row);

	snapshot_preserve(txn, c, row);
	if (f->last != row) {
		snapshot_preserve(txn, c, f->last);
		log_row(txn, c, row, &f->meta, f->name, f->data);
		entry_map_set(&c->entries, row_entry(&f->meta), row);
	}
	trim_deleted(txn, c, seg);
	log_trim(txn, c, seg, collection_slot(c, f->last), 0);
	trim_deleted(txn, c, seg); /* a segment that has only holes has nothing */
}

int rows_remove(struct txn *txn, struct collection *c, uint32_t row)
{
	struct segment *seg = collection_segment(c, row);
	struct filler filler;
	const char *name;
	const struct row *found = collection_row(c, row, &name);
	char copy[VS_NAME_MAX + 1];
	struct row old;
	uint64_t hash;
	int rc, image;

	if (!found)
		return -EIO;
	if (segment_is_shared(seg)) {
		rc = rows_reserve_mark(txn, seg);
		if (!rc)
			rc = rows_reserve_image(txn, c, row);
		if (!rc)
			mark_one(txn, c, row, RECORD_REMOVED);
		if (!rc)
			rows_listed(c);
		return rc;
	}
	old = *found;
	memcpy(copy, name, old.name_len);
	hash = collection_hash(c, name, old.name_len);
	filler.data = malloc(c->row_bytes);
	image = rows_reserve_image(txn, c, row);
	rc = filler.data ? filler_find(txn, c, row, &filler) : -ENOMEM;
	if (!rc)
		rc = image; /* what both need was noted at once */
	if (!rc)
		fill_hole(txn, c, row, &filler);
	free(filler.data);
	if (rc)
		return rc;
	name_heap_release(&seg->names, old.name_at, old.name_len);
	entry_map_set(&c->entries, row_entry(&old), ROW_NONE);
	id_index_remove(&c->index, hash, row_entry(&old));
	c->count--;
	collection_discount_name(c, copy, old.name_len);
	rows_listed(c);
	return 0;
}

void rows_leave_segment(struct txn *txn, struct collection *c, struct segment *seg)
{
	log_going(txn, c, seg, 0);
}

void rows_release_segment(struct txn *txn, const struct collection *c, const struct segment *seg)
{
	append_trim(txn, c, seg, 0);
}

int rows_fill_deleted(struct txn *txn, struct collection *c, struct segment *seg)
{
	struct filler filler;
	uint32_t slot;
	int rc;

	trim_deleted(txn, c, seg);
	if (!seg->deleted)
		return 0;
	slot = segment_first_deleted(seg);
	filler.data = malloc(c->row_bytes);
	rc = filler.data ? filler_find(txn, c, seg->n << c->shift | slot, &filler) : -ENOMEM;
	if (!rc) {
		segment_clear_deleted(seg, slot);
		c->deleted--;
		fill_hole(txn, c, seg->n << c->shift | slot, &filler);
		trim_deleted(txn, c, seg);
	}
	free(filler.data);
	return rc;
}
