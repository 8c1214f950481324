/* SPDX-License-Identifier: Apache-2.0 */
/* attach - one frame makes a large batch's segments the parent's, and marks the old rows deleted. */
#include "store/batch/batch_commit.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "store/row/row.h"

/* The parent's rows that are to be deleted: a bitmap for each segment that has some. */
struct deletions {
	uint64_t **map;
	uint32_t *count;
	uint32_t segments;
	size_t bytes; /* of a bitmap */
};

/* Rows that are indexed, or taken out of the index, under one hold of the lock: a few milliseconds. */
#define SLICE_ROWS 2048u

/* An attach under way. */
struct attach {
	struct batch_commit *j;
	struct attaching attaching; /* what the collection knows of it */
	struct attaching_part *parts;
	struct deletions deletions;
	uint64_t indexed;                /* rows of all parts, in order */
	uint64_t name_bytes, line_bytes; /* of their ids */
};

static void deletions_free(struct deletions *d)
{
	for (uint32_t i = 0; i < d->segments; i++)
		free(d->map[i]);
	free(d->map);
	free(d->count);
}

/* Marks the row of an id, and counts it in *died unless it was marked already. */
static int deletions_add(struct deletions *d, struct collection *parent, const char *id, size_t len,
			 uint64_t *died)
{
	uint64_t entry;
	uint32_t row, n, slot;
	int rc = collection_entry(parent, id, len, &entry);

	if (rc || !entry)
		return rc;
	row = collection_row_of(parent, entry);
	n = row >> parent->shift;
	slot = collection_slot(parent, row);
	if (!d->map[n]) {
		d->map[n] = calloc(1, d->bytes);
		rc = d->map[n] ? rows_reserve_marks(parent->segments[n]) : -ENOMEM;
		if (rc)
			return rc;
	}
	if (d->map[n][slot / 64] >> (slot % 64) & 1)
		return 0;
	d->map[n][slot / 64] |= 1ull << (slot % 64);
	d->count[n]++;
	++*died;
	return 0;
}

static int deletions_init(struct deletions *d, const struct collection *parent)
{
	uint32_t n = parent->segment_count;

	d->bytes = (((size_t)1 << parent->shift) + 63) / 64 * 8;
	d->map = calloc(n + 1, sizeof *d->map);
	d->count = calloc(n + 1, sizeof *d->count);
	if (!d->map || !d->count)
		return -ENOMEM;
	d->segments = n;
	return 0;
}

/* Snapshots get copies of the rows. */
static int deletions_reserve_images(struct txn *txn, struct collection *parent, const struct deletions *d)
{
	bool again = false;

	for (uint32_t n = 0; n < d->segments && parent->snapshots; n++)
		for (size_t i = 0; d->map[n] && i < d->bytes / 8; i++)
			for (uint64_t bits = d->map[n][i]; bits; bits &= bits - 1)
				again |= rows_reserve_image(txn, parent,
							    n << parent->shift |
								    ((uint32_t)i * 64 +
								     (uint32_t)__builtin_ctzll(bits))) != 0;
	return again ? -EAGAIN : 0;
}

/* A segment's deletions in the log: a list while that is shorter than the bitmap. */
static size_t deletions_bytes(const struct deletions *d, uint32_t n)
{
	size_t list = ((size_t)d->count[n] * sizeof(uint32_t) + 7) / 8 * 8;

	return list < d->bytes ? list : d->bytes;
}

/* Whether nothing of a segment stays. */
static bool deletions_are_all(const struct deletions *d, const struct collection *parent, uint32_t n)
{
	return d->count[n] + parent->segments[n]->deleted == parent->segments[n]->count;
}

static void deletions_log(struct txn *txn, const struct collection *parent, const struct deletions *d,
			  uint32_t n)
{
	size_t bytes = deletions_bytes(d, n);
	struct record *r = txn_append(txn, RECORD_DELETE_ROWS, parent->id, sizeof *r + bytes);
	uint32_t *list = (uint32_t *)(r + 1);

	r->row = n << parent->shift;
	r->value = d->count[n];
	if (bytes == d->bytes) {
		memcpy(r + 1, d->map[n], bytes);
		return;
	}
	r->flags = RECORD_LIST;
	for (size_t i = 0; i < d->bytes / 8; i++)
		for (uint64_t bits = d->map[n][i]; bits; bits &= bits - 1)
			*list++ = (uint32_t)i * 64 + (uint32_t)__builtin_ctzll(bits);
}

static void deletions_apply(struct txn *txn, struct collection *parent, const struct deletions *d)
{
	for (uint32_t n = 0; n < d->segments; n++) {
		if (!d->map[n])
			continue;
		if (deletions_are_all(d, parent, n)) {
			rows_leave_segment(txn, parent, parent->segments[n]);
			continue;
		}
		deletions_log(txn, parent, d, n);
		for (size_t i = 0; i < d->bytes / 8; i++)
			for (uint64_t bits = d->map[n][i]; bits; bits &= bits - 1)
				row_mark_deleted(txn, parent,
						 n << parent->shift | ((uint32_t)i * 64 +
								       (uint32_t)__builtin_ctzll(bits)));
	}
}

/* What the change takes of the log. */
static size_t attach_bytes(const struct batch_commit *j, const struct deletions *d)
{
	size_t bytes = 4 * TXN_SMALL_BYTES + j->piece_count * sizeof(struct record_attach);

	for (uint32_t n = 0; n < d->segments; n++)
		if (d->map[n])
			bytes += sizeof(struct record) + deletions_bytes(d, n);
	return bytes;
}

/* ------------------------------------------------------------------ slices */

/* Puts rows of a part into the index, where nobody finds them yet, and finds those that they replace. */
static int index_slice(struct attach *a, struct collection *parent, const struct segment *seg, uint32_t slot,
		       uint32_t end)
{
	struct batch_commit *j = a->j;
	int rc = 0;

	for (; slot < end && !rc; slot++) {
		const struct row *r = &seg->rows[slot];
		const char *id = segment_name(seg, r);
		uint64_t hash = collection_hash(parent, id, r->name_len);

		/* With nothing to replace there is no row to delete: one lookup either way. */
		rc = j->flags & VS_BATCH_ADD
			     ? batch_commit_check_new(j, parent, id, r->name_len)
			     : deletions_add(&a->deletions, parent, id, r->name_len, &j->replaced);
		if (!rc)
			rc = entry_map_reserve(&parent->entries, row_entry(r));
		if (!rc)
			rc = id_index_reserve(&parent->index, hash, collection_hash_of, parent);
		if (rc)
			break;
		id_index_insert(&parent->index, hash, row_entry(r));
		a->indexed++;
		a->name_bytes += r->name_len;
		a->line_bytes += idlist_line_bytes(id, r->name_len);
	}
	return rc;
}

/* Takes them out again. */
static void unindex_slice(struct attach *a, struct collection *parent, const struct segment *seg,
			  uint32_t slot, uint32_t end)
{
	for (; slot < end && a->indexed; slot++, a->indexed--) {
		const struct row *r = &seg->rows[slot];

		id_index_remove(&parent->index, collection_hash(parent, segment_name(seg, r), r->name_len),
				row_entry(r));
	}
}

/* Does that with all rows, slice by slice, each under the lock. */
static int each_slice(struct attach *a, bool forward)
{
	struct vs_store *s = a->j->s;
	int rc = 0;

	for (uint32_t i = 0; i < a->j->piece_count; i++) {
		const struct segment *seg = a->j->pieces[i].seg;

		for (uint32_t slot = 0, end; slot < seg->count && !rc; slot = end) {
			struct collection *parent;

			end = seg->count - slot < SLICE_ROWS ? seg->count : slot + SLICE_ROWS;
			pthread_rwlock_wrlock(&s->lock);
			parent = collection_get(&s->table, a->j->parent);
			if (forward)
				rc = index_slice(a, parent, seg, slot, end);
			else
				unindex_slice(a, parent, seg, slot, end);
			pthread_rwlock_unlock(&s->lock);
			sched_yield(); /* whoever waits is to come before the next slice */
		}
	}
	return rc;
}

/* Finds the rows of the ids to delete. */
static int find_deletions(struct attach *a)
{
	struct batch_commit *j = a->j;
	int rc = 0;

	j->replaced = j->deleted = 0;
	for (uint64_t i = 0; i < j->delete.count && !rc;) {
		struct collection *parent;

		pthread_rwlock_wrlock(&j->s->lock);
		parent = collection_get(&j->s->table, j->parent);
		for (uint64_t end = i + SLICE_ROWS; i < j->delete.count && i < end && !rc; i++)
			rc = deletions_add(&a->deletions, parent, j->delete.id[i], strlen(j->delete.id[i]),
					   &j->deleted);
		pthread_rwlock_unlock(&j->s->lock);
	}
	return rc;
}

/* From here on the ids of the parent stay as they are. */
static int slices_begin(struct attach *a)
{
	struct batch_commit *j = a->j;
	struct collection *parent;
	int rc;

	a->parts = calloc(j->piece_count + 1, sizeof *a->parts);
	if (!a->parts)
		return -ENOMEM;
	for (uint32_t i = 0; i < j->piece_count; i++) {
		const struct segment *seg = j->pieces[i].seg;

		a->parts[i] = (struct attaching_part){row_entry(&seg->rows[0]), seg};
	}
	a->attaching = (struct attaching){a->parts, j->piece_count};
	pthread_rwlock_wrlock(&j->s->lock);
	parent = collection_get(&j->s->table, j->parent);
	rc = deletions_init(&a->deletions, parent);
	if (!rc)
		parent->attaching = &a->attaching;
	pthread_rwlock_unlock(&j->s->lock);
	return rc;
}

/* The attach has not come to its end: takes back what there is of it. */
static void slices_undo(struct attach *a)
{
	struct batch_commit *j = a->j;

	each_slice(a, false);
	pthread_rwlock_wrlock(&j->s->lock);
	collection_get(&j->s->table, j->parent)->attaching = NULL;
	pthread_rwlock_unlock(&j->s->lock);
}

/* ------------------------------------------------------------------ the change itself */

/* Reserves memory and catalog space for the parts. */
static int attach_reserve(struct batch_commit *j, struct collection *parent)
{
	int rc = catalog_reserve(j->s, j->piece_count + 1);

	if (!rc && ((uint64_t)parent->segment_count + j->piece_count) << parent->shift > ROW_NONE)
		rc = -ENOSPC;
	return rc ? rc : collection_reserve_segments(parent, j->piece_count + 1);
}

/* Puts the parts under free numbers of the parent: their ids, which are in the index, get rows. */
static void attach_pieces(struct attach *a, struct collection *parent)
{
	struct batch_commit *j = a->j;

	for (uint32_t i = 0; i < j->piece_count; i++) {
		struct segment *seg = j->pieces[i].seg;

		seg->n = collection_free_number(parent, 0);
		segment_get(seg);
		collection_place_segment(&j->s->table, parent, seg);
		for (uint32_t slot = 0; slot < seg->count; slot++)
			entry_map_set(&parent->entries, a->parts[i].first_entry + slot,
				      seg->n << parent->shift | slot);
	}
	parent->count += a->indexed;
	parent->name_bytes += a->name_bytes;
	parent->line_bytes += a->line_bytes;
}

static void attach_log(struct batch_commit *j, struct txn *txn, struct collection *parent)
{
	for (uint32_t i = 0; i < j->piece_count; i++) {
		const struct piece *p = &j->pieces[i];
		struct record_attach *r = txn_append(txn, RECORD_ATTACH, parent->id, sizeof *r);

		r->head.row = j->batch->id;
		r->head.value = p->n;
		r->head.flags = p->uploaded ? RECORD_UPLOADED : 0;
		r->segment = p->seg->n;
		r->count = p->count;
		r->name_heap_end = p->seg->names.end;
		r->next_entry = parent->next_entry;
	}
}

static int attach(struct attach *a, struct txn *txn)
{
	struct batch_commit *j = a->j;
	struct collection *parent = collection_get(&j->s->table, j->parent);
	struct vs_schema schema = parent->schema;
	bool fixed = parent->schema_fixed;
	size_t start = txn->start;
	int rc = batch_commit_fix_schema(j, txn, parent);

	if (rc)
		return rc;
	rc = attach_reserve(j, parent);
	if (!rc)
		rc = deletions_reserve_images(txn, parent, &a->deletions);
	if (rc) {
		if (!fixed)
			rows_unfix_schema(txn, parent, &schema);
		txn->start = start;
		return rc;
	}
	parent->attaching = NULL;
	attach_pieces(a, parent);
	attach_log(j, txn, parent);
	/* After that: deleting a chunk's last entry would free the chunk, with what was reserved for the new
	 * ones. */
	deletions_apply(txn, parent, &a->deletions);
	rows_listed(parent);
	collection_drop(txn, j->batch);
	return 0;
}

/* Reserves entry numbers for all rows, and finds the class of permissions of the uploaded ones. */
static int attach_begin(struct batch_commit *j)
{
	const struct perm_class *class;
	struct collection *parent;
	struct txn txn;
	int rc = ahead_directory(j->s, j->parent);

	if (!rc)
		rc = txn_begin(j->s, &txn, 2 * TXN_SMALL_BYTES);
	if (rc)
		return rc;
	parent = collection_get(&j->s->table, j->parent);
	/* It must be durable before the record, and is by the sync of the parts' names. */
	j->s->directory_changed = parent->directory_changed = true;
	rc = collection_take_entries(parent, j->rows, &j->first_entry);
	class = &j->s->perms[j->batch->perm];
	if (!rc)
		rc = rows_perm(&txn, &(struct vs_perm){class->mode & 0666, class->uid, class->gid}, &j->perm);
	if (!rc) {
		perm_hold_add(&j->holds, j->perm);
		j->holds.next = j->s->perm_holds;
		j->s->perm_holds = &j->holds;
	}
	txn_end(&txn);
	/* The batch's own vectors must have reached their files, which nobody changes any more. */
	return rc ? rc : commit_wait_applied(j->s);
}

/* The change itself, once all rows are indexed. */
static int attach_op(struct attach *a)
{
	struct batch_commit *j = a->j;
	struct ahead ahead = {0};
	struct making making;
	struct txn txn;
	int rc;

	/* Nobody else has files under a number that seems free. */
	making_begin(j->s, &making, j->parent);
	do {
		rc = txn_begin(j->s, &txn, attach_bytes(j, &a->deletions));
		if (rc)
			break;
		txn.ahead = &ahead;
		rc = attach(a, &txn);
		txn_end(&txn);
	} while (rc == -EAGAIN && !(rc = rows_fetch(j->s, &ahead)));
	ahead_free(j->s, &ahead);
	making_end(j->s, &making);
	return rc != -E2BIG
		       ? rc
		       : batch_commit_refuse(j, rc, "it replaces or deletes too many vectors for one batch");
}

static int attach_all(struct batch_commit *j)
{
	struct attach a = {.j = j};
	struct making making;
	int rc;

	making_begin(j->s, &making, j->parent | MAKING_ATTACH);
	rc = slices_begin(&a);
	if (!rc) {
		rc = find_deletions(&a);
		if (!rc)
			rc = each_slice(&a, true);
		if (!rc)
			rc = attach_op(&a);
		if (rc)
			slices_undo(&a);
	}
	making_end(j->s, &making);
	deletions_free(&a.deletions);
	free(a.parts);
	return rc;
}

/* From here on the rows themselves tell of their class. */
static void release_perm(struct batch_commit *j)
{
	struct perm_hold **p;

	pthread_rwlock_wrlock(&j->s->lock);
	for (p = &j->s->perm_holds; *p && *p != &j->holds; p = &(*p)->next)
		;
	if (*p)
		*p = j->holds.next;
	pthread_rwlock_unlock(&j->s->lock);
}

int batch_commit_commit_large(struct batch_commit *j)
{
	int rc = attach_begin(j);

	if (!rc)
		rc = batch_commit_prepare_pieces(j);
	if (!rc)
		rc = attach_all(j);
	release_perm(j);
	for (uint32_t i = 0; i < j->piece_count; i++) {
		if (j->pieces[i].seg)
			segment_map_release(j->pieces[i].seg);
		segment_put(j->s->io, j->pieces[i].seg);
	}
	free(j->pieces);
	return rc;
}
