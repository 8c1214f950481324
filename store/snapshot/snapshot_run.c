/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_run - rows of a snapshot as they lie in a mapping of their segment, for searches. */
#include <assert.h>
#include <errno.h>

#include "store/snapshot/snapshot_state.h"

void snapshot_run_begin(const struct vs_snapshot *m, uint64_t first, uint64_t max, struct snapshot_run *out)
{
	uint32_t more, row = snapshot_row(m, first, &more), slot = row & ((1u << m->shift) - 1);
	struct segment *seg = m->segments[row >> m->shift];
	const char *vectors = segment_vectors(seg);

	*out = (struct snapshot_run){.first = first, .count = more < max ? more : (uint32_t)max};
	if (!vectors)
		return;
	out->seg = seg;
	out->vectors = vectors + segment_offset(seg, slot);
}

void snapshot_run_end(const struct snapshot_run *run)
{
	if (run->seg)
		segment_vectors_done(run->seg);
}

/* Under the lock. */
static bool has_any_moved(const struct vs_snapshot *m)
{
	return m->kept_count || (m->c && m->c->overlay.count);
}

static bool has_moved(const struct vs_snapshot *m, uint32_t row)
{
	const struct overlay_item *item;

	if (snapshot_image_of(m, row) != ROW_NONE)
		return true;
	item = snapshot_pending(m, row);
	return item && item->data;
}

int snapshot_mark_moved(const struct vs_snapshot *m, const struct snapshot_run *run, uint64_t *mask)
{
	uint32_t more, row = snapshot_row(m, run->first, &more);
	int rc;

	engine_read_lock(m->s);
	rc = m->broken;
	if (!rc && has_any_moved(m))
		for (uint32_t i = 0; i < run->count; i++)
			mask[i / 64] |= (uint64_t)has_moved(m, row + i) << i % 64;
	pthread_rwlock_unlock(&m->s->lock);
	return rc;
}

int snapshot_mark_moved_rows(const struct vs_snapshot *m, const uint32_t *rows, uint32_t n, uint64_t *mask)
{
	uint32_t more;
	int rc;

	assert(n <= 64);
	engine_read_lock(m->s);
	rc = m->broken;
	if (!rc && has_any_moved(m))
		for (uint32_t i = 0; i < n; i++)
			*mask |= (uint64_t)has_moved(m, snapshot_row(m, rows[i], &more)) << i;
	pthread_rwlock_unlock(&m->s->lock);
	return rc;
}

/* Whether a row as it lies in the file might be what is looked for, before its checksum is. Its id must not
 * be looked for outside of the names. */
static bool may_pass(const struct segment *seg, const struct row *r, snapshot_pass_fn passes, void *arg)
{
	return r->name_len && r->name_at + (uint64_t)names_granules(r->name_len) <= seg->names.end &&
	       passes(arg, segment_name(seg, r), r->name_len);
}

static int select_row(const struct vs_snapshot *m, uint32_t row, snapshot_pass_fn passes, void *arg,
		      bool *chosen)
{
	struct before_image head;
	const struct row *r;
	const char *name;
	int rc = snapshot_find_meta(m, row, &head, &r, &name);

	*chosen = !rc && r && row_entry(r) && passes(arg, name, r->name_len);
	return rc;
}

int snapshot_select(const struct vs_snapshot *m, const struct snapshot_run *run, bool only_kept,
		    snapshot_pass_fn passes, void *arg, uint64_t *mask)
{
	uint32_t more, row = snapshot_row(m, run->first, &more), slot = row & ((1u << m->shift) - 1);
	const struct segment *seg = m->segments[row >> m->shift];
	unsigned lost = engine_read_lock(m->s);
	bool any_moved = has_any_moved(m); /* stays false: only who reads a kept row gives up the lock */
	int rc = m->broken;

	for (uint32_t i = 0; i < run->count && !rc && !(only_kept && !m->kept_count); i++) {
		bool is_kept = any_moved && snapshot_image_of(m, row + i) != ROW_NONE, chosen;
		/* Each time, for select_row may give up the lock. */
		const struct row *rows = m->s->io->lost ? NULL : segment_rows(seg);

		if (only_kept && !is_kept)
			continue;
		if (rows && !is_kept && !(any_moved && snapshot_pending(m, row + i)) &&
		    !may_pass(seg, &rows[slot + i], passes, arg))
			continue;
		rc = select_row(m, row + i, passes, arg, &chosen);
		mask[i / 64] &= ~(UINT64_C(1) << i % 64);
		mask[i / 64] |= (uint64_t)chosen << i % 64;
	}
	return engine_read_unlock(m->s, lost, rc);
}
