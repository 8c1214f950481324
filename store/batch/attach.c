/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach - one frame makes a large batch's segments the parent's, and takes the rows that they replace.
 *
 * The change itself takes time for each segment, none for a row: attach_slices.c has made everything ready,
 * and tidies up afterwards.
 */
#include "store/batch/attach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/row/row.h"

/* ------------------------------------------------------------------ the rows that go */

/* A segment's in the log: a list while that is shorter than the bitmap. */
static size_t gone_bytes(const struct row_set *set, uint32_t n)
{
	size_t list = ((size_t)set->count[n] * sizeof(uint32_t) + 7) / 8 * 8, map = row_set_bytes(set);

	return list < map ? list : map;
}

static void log_gone(struct txn *txn, const struct collection *parent, const struct row_set *set, uint32_t n)
{
	size_t bytes = gone_bytes(set, n);
	struct record *r = txn_append(txn, RECORD_DELETE_ROWS, parent->id, sizeof *r + bytes);
	uint32_t *list = (uint32_t *)(r + 1), end = 1u << set->shift;

	r->row = n << parent->shift;
	r->value = set->count[n];
	if (bytes == row_set_bytes(set)) {
		memcpy(r + 1, set->map[n], bytes);
		return;
	}
	r->flags = RECORD_LIST;
	for (uint32_t i = row_set_next(set, n, 0, end); i < end; i = row_set_next(set, n, i + 1, end))
		*list++ = i;
}

/* What leads to these rows stays for a while: attach_finish. */
static void take_rows(const struct attach *a, struct txn *txn, struct collection *parent)
{
	const struct row_set *set = &a->attaching.replaced;

	for (uint32_t n = 0; n < set->segments; n++) {
		struct segment *seg = set->count[n] ? parent->segments[n] : NULL;

		if (!seg)
			continue;
		seg->trims++; /* until attach_finish */
		if (attach_takes_all(a, seg)) {
			rows_leave_segment(txn, parent, seg);
			continue;
		}
		log_gone(txn, parent, set, n);
		segment_set_deleted_map(seg, set->map[n], set->count[n]);
		seg->digest_valid = false;
		parent->deleted += set->count[n];
	}
	parent->count -= a->j->replaced + a->j->deleted;
	parent->name_bytes -= a->gone_name_bytes;
	parent->line_bytes -= a->gone_line_bytes;
}

/* What the change takes of the log. */
static size_t attach_bytes(const struct attach *a)
{
	const struct row_set *set = &a->attaching.replaced;
	size_t bytes = 4 * TXN_SMALL_BYTES + a->j->piece_count * sizeof(struct record_attach);

	for (uint32_t n = 0; n < set->segments; n++)
		if (set->count[n])
			bytes += sizeof(struct record) + gone_bytes(set, n);
	return bytes;
}

/* ------------------------------------------------------------------ the change itself */

/* Reserves memory and catalog space. */
static int attach_reserve(const struct attach *a, struct collection *parent)
{
	const struct row_set *set = &a->attaching.replaced;
	struct batch_commit *j = a->j;
	int rc = catalog_reserve(j->s, j->piece_count + 1);

	/* Once more: rows move. */
	for (uint32_t n = 0; n < set->segments && !rc; n++)
		rc = set->count[n] ? segment_reserve_deleted(parent->segments[n]) : 0;
	return rc ? rc : collection_reserve_segments(parent, j->piece_count + 1);
}

/* Puts the parts under their numbers, and shows their rows. */
static void attach_pieces(struct attach *a, struct collection *parent)
{
	struct batch_commit *j = a->j;

	for (uint32_t i = 0; i < j->piece_count; i++) {
		struct segment *seg = j->pieces[i].seg;

		seg->n = a->numbers[i];
		segment_get(seg);
		collection_place_segment(&j->s->table, parent, seg);
	}
	entry_map_hide(&parent->entries, 0, 0);
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
	int rc;

	if (!attach_is_ready(a, parent) || attach_bytes(a) > txn->reserved)
		return -EAGAIN;
	rc = batch_commit_fix_schema(j, txn, parent);
	if (rc)
		return rc;
	rc = attach_reserve(a, parent);
	if (rc) {
		if (!fixed)
			rows_unfix_schema(txn, parent, &schema);
		txn->start = start;
		return rc;
	}
	attach_pieces(a, parent);
	attach_log(j, txn, parent);
	take_rows(a, txn, parent);
	a->attaching.switched = true;
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

/* Bytes in the log that the change takes now. */
static size_t bytes_now(const struct attach *a)
{
	size_t bytes;

	pthread_rwlock_rdlock(&a->j->s->lock);
	bytes = attach_bytes(a);
	pthread_rwlock_unlock(&a->j->s->lock);
	return bytes;
}

/* The change, once all rows are indexed. */
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
		rc = attach_make_ready(a);
		if (!rc)
			rc = txn_begin(j->s, &txn, bytes_now(a));
		if (rc)
			break;
		txn.ahead = &ahead;
		rc = attach(a, &txn);
		txn_end(&txn);
	} while (rc == -EAGAIN);
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
	rc = attach_slices_begin(&a);
	if (!rc)
		rc = attach_index(&a);
	if (!rc)
		rc = attach_op(&a);
	attach_finish(&a);
	making_end(j->s, &making);
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
