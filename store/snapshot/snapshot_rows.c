/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_rows - metadata and ids of a snapshot's rows, one by one. */
#include <errno.h>
#include <string.h>

#include "store/base/row_time.h"
#include "store/snapshot/snapshot_state.h"

/*
 * A row that was not kept, wherever it is now: NULL if it is damaged, -EIO if it was not read. Of a segment
 * that has lost all its rows at once nothing was kept, for its files stay as they were as long as somebody
 * has a reference.
 */
static int row_there(const struct vs_snapshot *m, uint32_t row, const struct row **out, const char **name)
{
	struct segment *seg = m->segments[row >> m->shift];
	const struct row *rows;

	if (!seg->going && !m->c)
		return -ESTALE;
	if (!seg->going) {
		*out = collection_row(m->c, row, name);
		return !*out && collection_row_is_unread(m->c, row) ? -EIO : 0;
	}
	rows = segment_rows(seg);
	*out = rows ? rows + (row & ((1u << m->shift) - 1)) : NULL;
	if (*out && !segment_row_valid(seg, *out))
		*out = NULL;
	if (*out)
		*name = segment_name(seg, *out);
	return !*out && m->s->io->lost ? -EIO : 0;
}

const struct overlay_item *snapshot_pending(const struct vs_snapshot *m, uint32_t row)
{
	const struct segment *seg = m->segments[row >> m->shift];

	/* What was to be written into a segment that has gone was kept; its number may be another's by now.
	 */
	return m->c && !seg->going ? overlay_find(&m->c->overlay, row) : NULL;
}

int snapshot_find_meta(const struct vs_snapshot *m, uint32_t row, struct before_image *head,
		       const struct row **r, const char **name)
{
	uint32_t index = snapshot_image_of(m, row);
	int rc;

	*r = &head->row;
	*name = head->name;
	if (m->broken)
		return m->broken;
	if (index == ROW_NONE)
		return row_there(m, row, r, name);
	if (snapshot_image_copy(m, index, head, NULL))
		return 0;
	pthread_rwlock_unlock(&m->s->lock);
	rc = snapshot_image_read(m, index, head, NULL);
	engine_read_lock(m->s);
	return rc;
}

static int each_row(const struct vs_snapshot *m, uint64_t first, uint64_t count, const uint64_t *wanted,
		    snapshot_row_fn fn, void *arg)
{
	uint32_t row = 0, more = 0;
	struct before_image head;

	for (uint64_t i = 0; i < count; i++, more--, row++) {
		const struct row *r;
		const char *name;
		int rc;

		if (!more)
			row = snapshot_row(m, first + i, &more);
		if (!snapshot_is_wanted(wanted, i))
			continue;
		rc = snapshot_find_meta(m, row, &head, &r, &name);
		if (rc)
			return rc;
		fn(arg, first + i, row, r, name);
	}
	return 0;
}

int snapshot_rows(const struct vs_snapshot *m, uint64_t first, uint64_t count, const uint64_t *wanted,
		  snapshot_row_fn fn, void *arg)
{
	unsigned lost;

	if (first > m->info.rows || count > m->info.rows - first)
		return -EINVAL;
	if (m->borrowed)
		return borrowed_rows(m, first, count, wanted, fn, arg);
	lost = engine_read_lock(m->s);
	return engine_read_unlock(m->s, lost, each_row(m, first, count, wanted, fn, arg));
}

struct rows_call {
	vs_snapshot_row_fn fn;
	void *arg;
};

static void tell_row(void *arg, uint64_t n, uint32_t place, const struct row *r, const char *name)
{
	struct rows_call *call = arg;

	(void)place;
	call->fn(call->arg, n, r ? row_entry(r) : 0, r ? name : NULL, r ? r->name_len : 0);
}

int vs_snapshot_rows(struct vs_snapshot *m, uint64_t first, uint64_t count, const uint64_t *wanted,
		     vs_snapshot_row_fn fn, void *arg)
{
	struct rows_call call = {fn, arg};

	if (m->borrowed && (first > m->info.rows || count > m->info.rows - first))
		return -EINVAL;
	if (m->borrowed)
		return borrowed_names(m, first, count, wanted, fn, arg);
	return snapshot_rows(m, first, count, wanted, tell_row, &call);
}

/* ------------------------------------------------------------------ metadata */

struct describe_call {
	const struct vs_store *s;
	uint64_t first;
	struct vs_row_meta *out;
};

static void describe_row(void *arg, uint64_t n, uint32_t place, const struct row *r, const char *name)
{
	const struct describe_call *call = arg;
	struct vs_row_meta *out = &call->out[n - call->first];
	const struct perm_class *class;
	struct timespec mtime, ctime;

	(void)name;
	*out = (struct vs_row_meta){.place = place};
	if (!r || !row_entry(r))
		return;
	class = engine_perm_get(call->s, r->perm);
	vs_time_split(row_mtime(r), &mtime);
	vs_time_split(row_ctime(r), &ctime);
	*out = (struct vs_row_meta){
		.entry = row_entry(r),
		.ctime_s = ctime.tv_sec,
		.ctime_ns = (uint32_t)ctime.tv_nsec,
		.data_sum = r->data_sum,
		.place = place,
		.attr = {mtime.tv_sec, (uint32_t)mtime.tv_nsec, class->mode, class->uid, class->gid},
	};
}

ssize_t vs_snapshot_meta(struct vs_snapshot *m, uint64_t first, uint64_t count, struct vs_row_meta *out)
{
	struct describe_call call = {m->s, first, out};
	uint64_t done = 0;
	int rc = 0;

	if (first >= m->info.rows)
		return 0;
	if (count > m->info.rows - first)
		count = m->info.rows - first;
	while (done < count && !rc) {
		uint64_t n = count - done < SNAPSHOT_IDS_ROWS ? count - done : SNAPSHOT_IDS_ROWS;

		rc = snapshot_rows(m, first + done, n, NULL, describe_row, &call);
		done += n;
	}
	return rc ? rc : (ssize_t)count;
}
