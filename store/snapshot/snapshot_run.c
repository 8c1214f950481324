/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_run - rows of a snapshot as they lie in a mapping of their segment, for searches. */
#include <assert.h>
#include <errno.h>

#include "store/snapshot/snapshot_state.h"

void snapshot_run_begin(const struct vs_snapshot *m, uint64_t first, uint64_t max, struct snapshot_run *out)
{
	uint32_t more, row, slot;
	struct segment *seg;
	const char *vectors;

	if (m->borrowed) {
		max = m->info.rows - first < max ? m->info.rows - first : max;
		*out = (struct snapshot_run){.first = first,
					     .count = max < UINT32_MAX ? (uint32_t)max : UINT32_MAX};
		return;
	}
	row = snapshot_row(m, first, &more);
	slot = row & ((1u << m->shift) - 1);
	seg = m->segments[row >> m->shift];
	vectors = segment_vectors(seg);
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
	if (m->borrowed) /* what is read of it has been verified */
		return 0;
	engine_read_lock(m->s);
	rc = m->broken;
	if (!rc && has_any_moved(m))
		for (uint32_t i = 0; i < n; i++)
			*mask |= (uint64_t)has_moved(m, snapshot_row(m, rows[i], &more)) << i;
	pthread_rwlock_unlock(&m->s->lock);
	return rc;
}

static int select_row(const struct vs_snapshot *m, uint32_t row, const struct snapshot_filter *filter,
		      bool *chosen)
{
	struct before_image head;
	const struct row *r;
	const char *name;
	int rc = snapshot_find_meta(m, row, &head, &r, &name);

	*chosen = !rc && r && row_entry(r) && filter->passes(filter->arg, name, r->name_len);
	return rc;
}

/* Of 64 rows from row on, or count: those that cannot be told by what lies in the file, for they have changed
 * since the snapshot, or wait for the applier; and those that have changed. Under the lock. */
static uint64_t find_moved(const struct vs_snapshot *m, uint32_t row, uint32_t count, uint64_t *kept)
{
	uint64_t moved = 0;

	*kept = 0;
	for (uint32_t i = 0; i < count; i++) {
		bool is_kept = snapshot_image_of(m, row + i) != ROW_NONE;

		*kept |= (uint64_t)is_kept << i;
		moved |= (uint64_t)(is_kept || snapshot_pending(m, row + i)) << i;
	}
	return moved;
}

/* 64 rows, or count; which of them are to be looked at, and in *chosen which of these pass. */
static int select_word(const struct vs_snapshot *m, uint32_t row, uint32_t count, bool only_kept,
		       const struct snapshot_filter *filter, uint64_t *looked, uint64_t *chosen)
{
	const struct segment *seg = m->segments[row >> m->shift];
	const struct row *rows = m->s->io->lost ? NULL : segment_rows(seg);
	uint64_t all = count < 64 ? (UINT64_C(1) << count) - 1 : UINT64_MAX, near, kept = 0, moved = 0;
	int rc = 0;

	if (has_any_moved(m))
		moved = find_moved(m, row, count, &kept);
	*chosen = 0;
	near = *looked = only_kept ? kept : all;
	if (rows && near & ~moved) /* what waits for the applier may lie behind the file's end */
		near = (near & moved) | filter->may_pass(filter->arg, rows + (row & ((1u << m->shift) - 1)),
							 near & ~moved, segment_names(seg), seg->names.end);
	for (; near && !rc; near &= near - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(near);
		bool passes;

		rc = select_row(m, row + i, filter, &passes); /* may give up the lock */
		*chosen |= (uint64_t)passes << i;
	}
	return rc;
}

int snapshot_select(const struct vs_snapshot *m, const struct snapshot_run *run, bool only_kept,
		    const struct snapshot_filter *filter, uint64_t *mask)
{
	uint32_t more, row = snapshot_row(m, run->first, &more);
	unsigned lost = engine_read_lock(m->s);
	int rc = m->broken;

	for (uint32_t i = 0; i < run->count && !rc && !(only_kept && !m->kept_count); i += 64) {
		uint32_t count = run->count - i < 64 ? run->count - i : 64;
		uint64_t looked, chosen;

		rc = select_word(m, row + i, count, only_kept, filter, &looked, &chosen);
		mask[i / 64] = (mask[i / 64] & ~looked) | chosen;
	}
	return engine_read_unlock(m->s, lost, rc);
}
