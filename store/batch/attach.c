/* SPDX-License-Identifier: Apache-2.0 */
/* attach - one frame makes a large batch's segments the parent's, and marks the old rows deleted. */
#include "store/batch/batch_commit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/row/row.h"

/* The parent's rows that are to be deleted: a bitmap for each segment that has some. */
struct deletions {
	uint64_t **map;
	uint32_t *count;
	uint32_t segments;
	size_t bytes; /* of a bitmap */
	bool again;   /* snapshots want images of some, which have to be made ready first */
};

static void deletions_free(struct deletions *d)
{
	for (uint32_t i = 0; i < d->segments; i++)
		free(d->map[i]);
	free(d->map);
	free(d->count);
}

/* Marks the row of an id, and counts it in *died unless it was marked already. */
static int deletions_add(struct deletions *d, struct txn *txn, struct collection *parent, const char *id,
			 size_t len, uint64_t *died)
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
	rc = rows_reserve_image(txn, parent, row);
	d->again |= rc == -EAGAIN;
	d->map[n][slot / 64] |= 1ull << (slot % 64);
	d->count[n]++;
	++*died;
	return 0;
}

/* Finds the rows to delete; nothing has changed when it fails. */
static int deletions_find(struct batch_commit *j, struct txn *txn, struct collection *parent,
			  struct deletions *d)
{
	int rc = 0;

	d->segments = parent->segment_count;
	d->bytes = (((size_t)1 << parent->shift) + 63) / 64 * 8;
	d->map = calloc(d->segments + 1, sizeof *d->map);
	d->count = calloc(d->segments + 1, sizeof *d->count);
	if (!d->map || !d->count)
		return -ENOMEM;
	j->replaced = j->deleted = 0; /* by an attempt before this one */
	for (uint64_t i = 0; i < j->delete.count && !rc; i++)
		rc = deletions_add(d, txn, parent, j->delete.id[i], strlen(j->delete.id[i]), &j->deleted);
	for (uint32_t i = 0; i < j->piece_count; i++) {
		const struct segment *seg = j->pieces[i].seg;

		for (uint32_t slot = 0; slot < seg->count && !rc; slot++) {
			const char *id = segment_name(seg, &seg->rows[slot]);
			size_t len = seg->rows[slot].name_len;

			/* With nothing to replace there is no row to delete: one lookup either way. */
			rc = j->flags & VS_BATCH_ADD ? batch_commit_check_new(j, parent, id, len)
						     : deletions_add(d, txn, parent, id, len, &j->replaced);
		}
	}
	return rc;
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

/* Reserves memory and catalog space for the parts, but for the index. On failure only unused entry numbers
 * are left. */
static int attach_reserve(struct batch_commit *j, struct collection *parent)
{
	int rc = catalog_reserve(j->s, j->piece_count + 1);

	if (!rc && ((uint64_t)parent->segment_count + j->piece_count) << parent->shift > ROW_NONE)
		rc = -ENOSPC;
	if (!rc)
		rc = collection_reserve_segments(parent, j->piece_count + 1);
	for (uint64_t i = 0; i < j->rows && !rc; i++)
		rc = entry_map_reserve(&parent->entries, j->first_entry + i);
	return rc;
}

/* Takes the first rows of a segment out of entry map and index again. */
static void unindex(struct collection *parent, const struct segment *seg, uint32_t rows)
{
	for (uint32_t slot = 0; slot < rows; slot++) {
		const struct row *r = &seg->rows[slot];

		const char *name = segment_name(seg, r);

		id_index_remove(&parent->index, collection_hash(parent, name, r->name_len), row_entry(r));
		entry_map_set(&parent->entries, row_entry(r), ROW_NONE);
		parent->count--;
		collection_discount_name(parent, name, r->name_len);
	}
}

/* Puts a part under a free number of the parent and indexes its rows. -ENOMEM: it has no row in the index. */
static int attach_piece(struct batch_commit *j, struct collection *parent, struct segment *seg)
{
	uint32_t slot;
	int rc = 0;

	seg->n = collection_free_number(parent, 0);
	segment_get(seg);
	collection_place_segment(&j->s->table, parent, seg);
	for (slot = 0; slot < seg->count && !rc; slot++) {
		const struct row *r = &seg->rows[slot];
		const char *name = segment_name(seg, r);
		uint64_t hash = collection_hash(parent, name, r->name_len);

		rc = id_index_reserve(&parent->index, hash, collection_hash_of, parent);
		if (rc)
			break;
		entry_map_set(&parent->entries, row_entry(r), seg->n << parent->shift | slot);
		id_index_insert(&parent->index, hash, row_entry(r));
		parent->count++;
		collection_count_name(parent, name, r->name_len);
	}
	if (rc)
		unindex(parent, seg, slot);
	return rc;
}

/* Takes back a part whose rows are not indexed any more; no record tells of it yet. */
static void abandon_piece(struct batch_commit *j, struct collection *parent, struct segment *seg)
{
	struct segment *placeholder = segment_placeholder(seg->n, 0, 0);

	seg->count = 0;
	seg->going = true;
	if (placeholder) {
		parent->segments[seg->n] = placeholder;
		segment_put(j->s->io, seg);
		collection_trim_segments(&j->s->table, parent);
	}
}

static int attach_pieces(struct batch_commit *j, struct collection *parent)
{
	uint32_t done = 0;
	int rc = 0;

	while (done < j->piece_count && !rc) {
		rc = attach_piece(j, parent, j->pieces[done].seg);
		if (rc)
			abandon_piece(j, parent, j->pieces[done].seg);
		else
			done++;
	}
	while (rc && done--) {
		unindex(parent, j->pieces[done].seg, j->pieces[done].seg->count);
		abandon_piece(j, parent, j->pieces[done].seg);
	}
	return rc;
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

static int attach(struct batch_commit *j, struct txn *txn)
{
	struct collection *parent = collection_get(&j->s->table, j->parent);
	struct deletions deletions = {0};
	struct vs_schema schema = parent->schema;
	bool fixed = parent->schema_fixed;
	size_t start = txn->start;
	int rc = batch_commit_fix_schema(j, txn, parent);

	if (rc)
		return rc;
	rc = attach_reserve(j, parent);
	if (!rc)
		rc = deletions_find(j, txn, parent, &deletions);
	if (!rc && deletions.again)
		rc = -EAGAIN;
	if (!rc && attach_bytes(j, &deletions) > txn->reserved) {
		j->log_bytes = attach_bytes(j, &deletions);
		rc = -EAGAIN;
	}
	if (!rc)
		rc = attach_pieces(j, parent);
	if (rc) {
		if (!fixed)
			rows_unfix_schema(txn, parent, &schema);
		txn->start = start;
		deletions_free(&deletions);
		return rc;
	}
	attach_log(j, txn, parent);
	/* After that: deleting a chunk's last entry would free the chunk, with what was reserved for the new
	 * ones. */
	deletions_apply(txn, parent, &deletions);
	deletions_free(&deletions);
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

/* Of all deletions that can be, as lists; no more than the log is sure to take. */
static size_t guess_bytes(const struct batch_commit *j)
{
	uint64_t deletions = j->rows + j->delete.count;
	struct vs_collection_info parent;

	if (vs_collection_get(j->s, j->parent, &parent))
		return 0;
	if (deletions > parent.count)
		deletions = parent.count;
	return deletions * sizeof(uint32_t) < LOG_GROUP_BYTES / 8 ? deletions * sizeof(uint32_t)
								  : LOG_GROUP_BYTES / 8;
}

/* The change itself; how much room it needs in the log shows only under the lock, so it may take two
 * attempts. */
static int attach_op(struct batch_commit *j)
{
	struct ahead ahead = {0};
	struct making making;
	struct txn txn;
	int rc;

	/* Nobody else has files under a number that seems free. */
	making_begin(j->s, &making, j->parent);
	j->log_bytes = attach_bytes(j, &(struct deletions){0}) + guess_bytes(j);
	do {
		rc = txn_begin(j->s, &txn, j->log_bytes);
		if (rc)
			break;
		txn.ahead = &ahead;
		rc = attach(j, &txn);
		txn_end(&txn);
	} while (rc == -EAGAIN && !(rc = rows_fetch(j->s, &ahead)));
	ahead_free(j->s, &ahead);
	making_end(j->s, &making);
	return rc != -E2BIG
		       ? rc
		       : batch_commit_refuse(j, rc, "it replaces or deletes too many vectors for one batch");
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
		rc = attach_op(j);
	release_perm(j);
	for (uint32_t i = 0; i < j->piece_count; i++) {
		if (j->pieces[i].seg)
			segment_map_release(j->pieces[i].seg);
		segment_put(j->s->io, j->pieces[i].seg);
	}
	free(j->pieces);
	return rc;
}
