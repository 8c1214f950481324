/* SPDX-License-Identifier: Apache-2.0 */
/* permission - classes of permissions: finding one, and giving out numbers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/row/row.h"

static void mark(uint64_t *used, uint32_t class)
{
	used[class / 64] |= 1ull << (class % 64);
}

/* Marks the classes of a collection's rows; -EIO if there are some that cannot be seen. */
static int mark_rows(const struct collection *c, uint64_t *used)
{
	for (uint32_t i = 0; i < c->segment_count; i++) {
		const struct segment *seg = c->segments[i];
		const struct row *rows = segment_rows(seg);

		if (seg->count && !rows)
			return -EIO;
		for (uint32_t slot = 0; slot < seg->count; slot++) {
			const struct overlay_item *item = overlay_find(&c->overlay, i << c->shift | slot);

			/* Also a damaged row's: nobody can say what it was. */
			mark(used, item ? item->meta->row.perm : rows[slot].perm);
		}
	}
	return 0;
}

/*
 * Finds the classes that nothing refers to any more. A record that gives such a number a new meaning comes
 * later in the log than whatever took the last reference, so that no recovery sees the one without the other.
 */
static int find_unused(struct vs_store *s)
{
	uint64_t *used = calloc(PERM_MAX / 64 + 1, sizeof *used);
	int rc = used ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < s->table.slots && !rc; i++) {
		const struct collection *c = s->table.all[i];

		if (!c)
			continue;
		mark(used, c->perm);
		rc = mark_rows(c, used);
	}
	if (s->root.perm != PERM_NONE)
		mark(used, s->root.perm);
	for (const struct perm_hold *h = s->perm_holds; h && !rc; h = h->next)
		for (uint32_t i = 0; i < sizeof h->classes / sizeof *h->classes; i++)
			used[i] |= h->classes[i];
	if (rc) {
		free(used);
		return rc;
	}
	free(s->perm_used);
	s->perm_used = used;
	s->perm_unused_from = 0;
	return 0;
}

/* A number for a new class: the next, or when there are no more one that is not in use. */
static int new_class(struct vs_store *s, uint32_t *index)
{
	int rc;

	if (s->perm_count <= PERM_MAX) {
		*index = s->perm_count;
		return 0;
	}
	for (int tries = 0; tries < 2; tries++) {
		for (; s->perm_used && s->perm_unused_from <= PERM_MAX; s->perm_unused_from++)
			if (!(s->perm_used[s->perm_unused_from / 64] >> (s->perm_unused_from % 64) & 1)) {
				*index = s->perm_unused_from++;
				return 0;
			}
		rc = tries ? -ENOSPC : find_unused(s);
		if (rc)
			return rc == -EIO ? -ENOSPC : rc;
	}
	return -ENOSPC;
}

int rows_perm(struct txn *txn, const struct vs_perm *perm, uint32_t *index)
{
	struct vs_store *s = txn->s;
	struct perm_class class = {perm->mode & 07777, perm->uid, perm->gid};
	int found = engine_perm_find(s, perm), rc;
	struct record_perm *r;

	if (found >= 0) {
		*index = (uint32_t)found;
		/* It may be one that was found unused. */
		if (s->perm_used)
			mark(s->perm_used, *index);
		return 0;
	}
	rc = new_class(s, index);
	if (!rc)
		rc = catalog_reserve(s, 1);
	if (!rc)
		rc = engine_perm_add(s, *index, &class);
	if (rc)
		return rc;
	r = txn_append(txn, RECORD_PERM, 0, sizeof *r);
	r->head.row = *index;
	r->perm = class;
	return 0;
}

int rows_perm_change(struct txn *txn, unsigned which, const struct vs_perm *perm, uint32_t *index)
{
	const struct perm_class *old = engine_perm_get(txn->s, *index);
	struct vs_perm now = {old->mode, old->uid, old->gid};

	if (which & VS_SET_MODE)
		now.mode = perm->mode;
	if (which & VS_SET_UID)
		now.uid = perm->uid;
	if (which & VS_SET_GID)
		now.gid = perm->gid;
	if (which & VS_DROP_SETID)
		now.mode = vs_mode_written(now.mode);
	if (now.mode == old->mode && now.uid == old->uid && now.gid == old->gid)
		return 0;
	return rows_perm(txn, &now, index);
}
