/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach_slices - what takes long of an attach, each slice under one hold of the lock: a few milliseconds.
 *
 *	before	the rows that go are noted; the new ones are put into index and entry map, hidden there;
 *		open snapshots get copies of the rows that go
 *	after	what leads to rows that have gone is removed from index, entry map and overlay
 *
 * Meanwhile the ids of the parent stay as they are, and with them which rows go: but that a row of a shared
 *segment that somebody writes to is another from then on (row.c: the set follows), and that nothing is added
 *to a segment with rows that go. A row that goes may change its vector or attributes: whoever changes it
 *keeps it for snapshots.
 */
#include "store/batch/attach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/row/row.h"
#include "store/snapshot/snapshot.h"

#define SLICE_ROWS 512u
/* Copies for snapshots are made of fewer, and looked for among more, where few are wanted. */
#define KEEP_ROWS 128u
#define KEEP_LOOKS 16384u
/* So often snapshots may be opened while copies are made; then who opens another waits. */
#define KEEPS_MAX 3u

/* Takes the lock for a slice. NULL: somebody has removed the parent, after the change. */
static struct collection *slice_begin(struct attach *a)
{
	pthread_rwlock_wrlock(&a->j->s->lock);
	return collection_get(&a->j->s->table, a->j->parent);
}

/* Whoever waits has the lock before the next slice. */
static void slice_end(struct attach *a)
{
	pthread_rwlock_unlock(&a->j->s->lock);
	engine_let_in(a->j->s);
}

/* Does something with rows [slot, end) of a part, under the lock. */
typedef int (*slice_fn)(struct attach *a, struct collection *parent, uint32_t part, uint32_t slot,
			uint32_t end);

/* Where the slice that begins at a slot ends. */
static uint32_t slice_of(const struct segment *seg, uint32_t slot)
{
	return seg->count - slot < SLICE_ROWS ? seg->count : slot + SLICE_ROWS;
}

/* Fills a->hashes with those of the ids of these rows. */
static void hash_slice(struct attach *a, uint32_t part, uint32_t slot, uint32_t end)
{
	const struct segment *seg = a->j->pieces[part].seg;

	for (uint32_t i = slot; i < end; i++)
		a->hashes[i - slot] =
			collection_hash_seeded(a->j->s->hash_seed, segment_name(seg, &segment_rows(seg)[i]),
					       segment_rows(seg)[i].name_len);
}

/* Fetches what some of the slice's hashes are to find, or to be put beside. */
static void fetch_index(const struct attach *a, const struct collection *parent, uint32_t first,
			uint32_t count)
{
	id_index_fetch_all(&parent->index, &a->hashes[first],
			   count - first < INDEX_FETCH_HASHES ? count - first : INDEX_FETCH_HASHES);
}

/* Does it with all rows. */
static int each_slice(struct attach *a, slice_fn fn)
{
	int rc = 0;

	for (uint32_t i = 0; i < a->j->piece_count; i++) {
		uint32_t count = a->j->pieces[i].seg->count;

		for (uint32_t slot = 0, end; slot < count && !rc; slot = end) {
			struct collection *parent;

			end = slice_of(a->j->pieces[i].seg, slot);
			hash_slice(a, i, slot, end);
			parent = slice_begin(a);
			rc = parent ? fn(a, parent, i, slot, end) : -ENOENT;
			slice_end(a);
		}
	}
	return rc;
}

/* ------------------------------------------------------------------ rows that go */

/* Remembers where a name is, if somebody may be given its place later on. */
static int note_name(struct attach *a, const struct collection *parent, uint32_t row)
{
	const struct segment *seg = collection_segment(parent, row);
	const struct row *r;
	const char *name;

	if (!seg->names.scanned || segment_is_shared(seg) || !(r = collection_row(parent, row, &name)))
		return 0;
	if (a->name_count == a->name_capacity) {
		size_t capacity = a->name_capacity ? 2 * a->name_capacity : 64;
		struct name_place *names = realloc(a->names, capacity * sizeof *names);

		if (!names)
			return -ENOMEM;
		a->names = names;
		a->name_capacity = capacity;
	}
	a->names[a->name_count++] = (struct name_place){seg->n, r->name_at, r->name_len};
	return 0;
}

/* The row of an id goes, if there is one: it counts in *count unless it is noted already. */
static int note_row(struct attach *a, const struct collection *parent, const char *id, size_t len,
		    uint64_t *count)
{
	struct row_set *set = &a->attaching.replaced;
	uint64_t entry;
	uint32_t row;
	int rc = collection_entry(parent, id, len, &entry);

	if (rc || !entry)
		return rc;
	row = collection_row_of(parent, entry);
	if (row_set_has(set, row))
		return 0;
	rc = row_set_reserve(set, row);
	if (!rc)
		rc = segment_reserve_deleted(collection_segment(parent, row));
	if (!rc)
		rc = note_name(a, parent, row);
	if (rc)
		return rc;
	row_set_add(set, row);
	collection_segment(parent, row)->closed = true;
	a->gone_name_bytes += len;
	a->gone_line_bytes += idlist_line_bytes(id, len);
	++*count;
	return 0;
}

static int note_deletions(struct attach *a)
{
	struct batch_commit *j = a->j;
	int rc = 0;

	j->replaced = j->deleted = 0;
	for (uint64_t i = 0; i < j->delete.count && !rc;) {
		struct collection *parent = slice_begin(a);

		for (uint64_t end = i + SLICE_ROWS; i < j->delete.count && i < end && !rc; i++)
			rc = note_row(a, parent, j->delete.id[i], strlen(j->delete.id[i]), &j->deleted);
		slice_end(a);
	}
	return rc;
}

bool attach_takes_all(const struct attach *a, const struct segment *seg)
{
	const struct row_set *set = &a->attaching.replaced;

	return seg->closed && seg->n < set->segments && set->count[seg->n] + seg->deleted == seg->count;
}

/* ------------------------------------------------------------------ new rows */

/* Index a row, whose id has this hash. */
static int index_row(struct attach *a, struct collection *parent, const struct row *r, const char *id,
		     uint64_t hash)
{
	struct batch_commit *j = a->j;
	int rc = 0;

	/* With nothing to replace there is no row that goes: one lookup either way, or none. */
	if (parent->count)
		rc = j->flags & VS_BATCH_ADD ? batch_commit_check_new(j, parent, id, r->name_len)
					     : note_row(a, parent, id, r->name_len, &j->replaced);
	if (!rc)
		rc = entry_map_reserve(&parent->entries, row_entry(r));
	if (!rc)
		rc = collection_index_reserve(parent, hash);
	if (rc)
		return rc;
	id_index_insert(&parent->index, hash, row_entry(r));
	a->indexed++;
	a->name_bytes += r->name_len;
	a->line_bytes += idlist_line_bytes(id, r->name_len);
	return 0;
}

static int index_slice(struct attach *a, struct collection *parent, uint32_t part, uint32_t slot,
		       uint32_t end)
{
	const struct segment *seg = a->j->pieces[part].seg;
	int rc = 0;

	for (uint32_t i = 0; i < end - slot && !rc; i++) {
		const struct row *r = &segment_rows(seg)[slot + i];

		if (i % INDEX_FETCH_HASHES == 0)
			fetch_index(a, parent, i, end - slot);
		rc = index_row(a, parent, r, segment_name(seg, r), a->hashes[i]);
	}
	return rc;
}

/* Takes them out again. */
static int unindex_slice(struct attach *a, struct collection *parent, uint32_t part, uint32_t slot,
			 uint32_t end)
{
	const struct segment *seg = a->j->pieces[part].seg;

	for (uint32_t i = slot; i < end && a->indexed; i++, a->indexed--) {
		uint64_t entry = row_entry(&segment_rows(seg)[i]);

		if (a->filled) {
			entry_map_set(&parent->entries, entry, ROW_NONE);
			a->filled--;
		}
		id_index_remove(&parent->index, a->hashes[i - slot], entry);
	}
	return 0;
}

/*
 * Of a parent without ids the index gets all its pages at once, made without the lock: what is in a page need
 * not be hashed again for each time that it would be split.
 */
static int lay_out_index(struct attach *a)
{
	struct batch_commit *j = a->j;
	unsigned bits = id_index_bits(j->rows);
	uint8_t *counts = calloc((size_t)1 << bits, 1);
	struct collection *parent;
	struct id_index index;
	int rc = counts ? 0 : -ENOMEM;

	id_index_init(&index);
	for (uint32_t i = 0; i < j->piece_count && !rc; i++)
		for (uint32_t slot = 0, end; slot < j->pieces[i].seg->count; slot = end) {
			end = slice_of(j->pieces[i].seg, slot);
			hash_slice(a, i, slot, end);
			for (uint32_t k = 0; k < end - slot; k++) {
				uint8_t *count = &counts[bits ? a->hashes[k] >> (64 - bits) : 0];

				*count = *count < UINT8_MAX ? (uint8_t)(*count + 1) : UINT8_MAX;
			}
		}
	if (!rc)
		rc = id_index_lay_out(&index, counts, bits);
	free(counts);
	parent = slice_begin(a);
	if (!rc && !parent->index.directory) {
		parent->index = index;
		id_index_init(&index);
	}
	slice_end(a);
	id_index_free(&index);
	return rc;
}

/* The entries get the rows that they will have. */
static int fill_slice(struct attach *a, struct collection *parent, uint32_t part, uint32_t slot, uint32_t end)
{
	unsigned shift = segment_shift(a->j->pieces[part].seg->row_bytes);

	for (; slot < end; slot++, a->filled++)
		entry_map_set(&parent->entries, a->parts[part].first_entry + slot,
			      a->numbers[part] << shift | slot);
	return 0;
}

/* The free number for a part, given that of the part before. */
static uint32_t next_number(const struct attach *a, const struct collection *parent, uint32_t part)
{
	return collection_free_number(parent, part ? a->numbers[part - 1] + 1 : 0);
}

static bool numbers_are_free(const struct attach *a, const struct collection *parent)
{
	uint32_t i = 0;

	while (i < a->j->piece_count && a->numbers[i] == next_number(a, parent, i))
		i++;
	return i == a->j->piece_count;
}

/* Chooses numbers, and gives all entries their rows. */
static int fill(struct attach *a)
{
	struct batch_commit *j = a->j;
	struct collection *parent = slice_begin(a);
	bool done = a->filled == j->rows && numbers_are_free(a, parent);
	uint64_t rows_max = 0;

	for (uint32_t i = 0; i < j->piece_count && !done; i++) {
		a->numbers[i] = next_number(a, parent, i);
		rows_max = ((uint64_t)a->numbers[i] + 1) << segment_shift(j->pieces[i].seg->row_bytes);
	}
	slice_end(a);
	if (rows_max > ROW_NONE)
		return -ENOSPC;
	if (done)
		return 0;
	/* Once more, if they were filled: the numbers are others. */
	a->filled = 0;
	return each_slice(a, fill_slice);
}

/* ------------------------------------------------------------------ copies for snapshots */

/* Keeps up to KEEP_ROWS rows of a segment for all snapshots; *slot is where to go on. */
static int keep_slice(struct attach *a, struct txn *txn, struct collection *parent, const struct segment *seg,
		      uint32_t *slot)
{
	const struct row_set *set = &a->attaching.replaced;
	bool all = attach_takes_all(a, seg), again = false;
	uint32_t looks = KEEP_LOOKS, rows[KEEP_ROWS], n = 0, i = row_set_next(set, seg->n, *slot, seg->count);

	for (; i < seg->count && looks-- && n < KEEP_ROWS; i = row_set_next(set, seg->n, i + 1, seg->count)) {
		uint32_t row = seg->n << parent->shift | i;

		/* If all go the snapshot's reference keeps the files as they are, but for the overlay. */
		if ((all && !overlay_find(&parent->overlay, row)) || !snapshot_wants(parent, row))
			continue;
		again |= rows_reserve_image(txn, parent, row) != 0;
		rows[n++] = row;
	}
	if (again)
		return -EAGAIN;
	for (uint32_t k = 0; k < n; k++)
		snapshot_preserve(txn, parent, rows[k]);
	*slot = i;
	return 0;
}

/* Those of all rows of a segment that go. */
static int keep_segment(struct attach *a, uint32_t n)
{
	struct vs_store *s = a->j->s;
	struct ahead ahead = {0};
	bool more = true;
	int rc = 0;

	for (uint32_t slot = 0; more && !rc;) {
		struct txn txn = {.s = s, .ahead = &ahead}; /* without records */
		struct collection *parent = slice_begin(a);

		more = n < parent->segment_count && slot < parent->segments[n]->count;
		if (more)
			rc = keep_slice(a, &txn, parent, parent->segments[n], &slot);
		slice_end(a);
		if (rc == -EAGAIN)
			rc = rows_fetch(s, &ahead);
		else
			ahead_free(s, &ahead);
	}
	ahead_free(s, &ahead);
	return rc;
}

/* A copy that is made sooner than it need be is as good: the row has not changed since the snapshot was
 * opened. */
static int keep(struct attach *a)
{
	struct collection *parent = slice_begin(a);
	uint64_t newest = snapshot_newest(parent);
	int rc = 0;

	if (newest > a->kept_for && ++a->keeps > KEEPS_MAX)
		a->attaching.no_snapshots = true;
	slice_end(a);
	if (newest <= a->kept_for)
		return 0;
	for (uint32_t n = 0; n < a->attaching.replaced.segments && !rc; n++)
		if (a->attaching.replaced.count[n])
			rc = keep_segment(a, n);
	a->kept_for = newest;
	return rc;
}

int attach_index(struct attach *a)
{
	int rc = note_deletions(a);

	if (!rc && a->lays_out)
		rc = lay_out_index(a);
	if (!rc)
		rc = each_slice(a, index_slice);
	return rc ? rc : keep(a);
}

/* ------------------------------------------------------------------ rows columns of shared segments */

/* The next segment, from *n on, whose marks need rows of its own, with a reference; NULL: there is none. */
static struct segment *next_shared(const struct attach *a, const struct collection *parent, uint32_t *n)
{
	const struct row_set *set = &a->attaching.replaced;

	for (; *n < set->segments; ++*n) {
		struct segment *seg = set->count[*n] ? parent->segments[*n] : NULL;

		if (seg && segment_is_shared(seg) && !seg->copy_reserved)
			return seg;
	}
	return NULL;
}

static int reserve_copies(struct attach *a)
{
	struct vs_store *s = a->j->s;
	struct segment *seg;
	int rc = 0;

	for (uint32_t n = 0; !rc; n++) {
		seg = next_shared(a, slice_begin(a), &n);
		if (seg)
			segment_get(seg);
		slice_end(a);
		if (!seg)
			break;
		rc = ahead_make_copy(s, seg);
		segment_put(s->io, seg);
	}
	return rc;
}

/* ------------------------------------------------------------------ before the change */

int attach_make_ready(struct attach *a)
{
	int rc = keep(a);

	if (!rc)
		rc = fill(a);
	return rc ? rc : reserve_copies(a);
}

bool attach_is_ready(const struct attach *a, const struct collection *parent)
{
	uint32_t n = 0;

	return snapshot_newest(parent) <= a->kept_for && numbers_are_free(a, parent) &&
	       !next_shared(a, parent, &n);
}

/* ------------------------------------------------------------------ after the change */

static int sweep_slice(struct attach *a, struct collection *parent, uint32_t part, uint32_t slot,
		       uint32_t end)
{
	(void)part;
	for (uint32_t i = 0; i < end - slot; i++) {
		if (i % INDEX_FETCH_HASHES == 0)
			fetch_index(a, parent, i, end - slot);
		collection_sweep(parent, a->hashes[i]);
	}
	return 0;
}

static int sweep_deletions(struct attach *a)
{
	struct idlist *ids = &a->j->delete;
	struct collection *parent = NULL;

	for (uint64_t i = 0; i < ids->count && (!i || parent);) {
		parent = slice_begin(a);
		for (uint64_t end = i + SLICE_ROWS; parent && i < ids->count && i < end; i++)
			collection_sweep(parent, collection_hash(parent, ids->id[i], strlen(ids->id[i])));
		slice_end(a);
	}
	return ids->count && !parent ? -ENOENT : 0;
}

static void release_names(struct attach *a)
{
	struct collection *parent = NULL;

	for (bool more = a->name_count; more; more = parent && a->name_count) {
		parent = slice_begin(a);
		for (uint32_t k = 0; parent && k < SLICE_ROWS && a->name_count; k++) {
			const struct name_place *p = &a->names[--a->name_count];

			name_heap_release(&parent->segments[p->segment]->names, p->at, p->len);
		}
		slice_end(a);
	}
}

/* The change has been made: nothing is to lead to rows that have gone. If somebody removes the parent
 * meanwhile nothing does. */
static void tidy(struct attach *a)
{
	if (!a->j->replaced && !a->j->deleted)
		return;
	each_slice(a, sweep_slice);
	sweep_deletions(a);
	release_names(a);
}

/* ------------------------------------------------------------------ begin, end */

int attach_slices_begin(struct attach *a)
{
	struct batch_commit *j = a->j;
	struct collection *parent;

	a->parts = calloc(j->piece_count + 1, sizeof *a->parts);
	a->numbers = calloc(j->piece_count + 1, sizeof *a->numbers);
	a->hashes = malloc(SLICE_ROWS * sizeof *a->hashes);
	if (!a->parts || !a->numbers || !a->hashes)
		return -ENOMEM;
	for (uint32_t i = 0; i < j->piece_count; i++) {
		const struct segment *seg = j->pieces[i].seg;

		a->parts[i] = (struct attaching_part){row_entry(&segment_rows(seg)[0]), seg};
	}
	a->attaching = (struct attaching){.parts = a->parts, .count = j->piece_count};
	parent = slice_begin(a);
	row_set_init(&a->attaching.replaced, parent->shift);
	entry_map_hide(&parent->entries, j->first_entry, j->rows);
	parent->attaching = &a->attaching;
	a->lays_out = !parent->index.directory;
	slice_end(a);
	return 0;
}

/* The segments of rows that went, or were to go, are like others again. */
static void open_segments(struct attach *a, struct txn *txn, struct collection *parent)
{
	const struct row_set *set = &a->attaching.replaced;

	for (uint32_t n = 0; n < set->segments && n < parent->segment_count; n++) {
		struct segment *seg = parent->segments[n];

		seg->closed = false;
		if (!a->attaching.switched || !set->count[n])
			continue;
		if (txn && !seg->count)
			rows_release_segment(txn, parent, seg);
		else
			seg->trims--;
	}
	parent->room = set->segments ? 0 : parent->room;
}

void attach_finish(struct attach *a)
{
	struct vs_store *s = a->j->s;
	struct collection *parent;
	struct id_index laid_out;
	struct txn txn;
	bool logged;

	id_index_init(&laid_out);
	if (a->attaching.switched)
		tidy(a);
	else if (a->indexed)
		each_slice(a, unindex_slice);
	/* Without a log that can be written there is nobody to remove files either. */
	logged = a->attaching.switched && a->attaching.replaced.segments &&
		 !txn_begin(s, &txn, a->attaching.replaced.segments * sizeof(struct record));
	if (!logged)
		pthread_rwlock_wrlock(&s->lock);
	parent = collection_get(&s->table, a->j->parent);
	if (parent && parent->attaching == &a->attaching) {
		open_segments(a, logged ? &txn : NULL, parent);
		entry_map_hide(&parent->entries, 0, 0);
		parent->attaching = NULL;
		if (!a->attaching.switched && a->lays_out) { /* it is empty, and large */
			laid_out = parent->index;
			id_index_init(&parent->index);
		}
	}
	if (logged)
		txn_end(&txn);
	else
		pthread_rwlock_unlock(&s->lock);
	id_index_free(&laid_out);
	row_set_free(&a->attaching.replaced);
	free(a->names);
	free(a->numbers);
	free(a->hashes);
	free(a->parts);
}
