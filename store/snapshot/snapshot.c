/* SPDX-License-Identifier: Apache-2.0 */
#include "store/snapshot/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/clone/clone.h"
#include "store/snapshot/snapshot_state.h"

int snapshot_scratch(struct vs_store *s)
{
	char path[32];
	int fd;

	if (s->read_only && s->io->ops->scratch)
		return s->io->ops->scratch(s->io);
	snprintf(path, sizeof path, "spill.%u", s->spill_number++);
	fd = s->io->ops->open(s->io, path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd >= 0)
		s->io->ops->unlink(s->io, path);
	return fd;
}

/* ------------------------------------------------------------------ opening */

static void snapshot_free(struct vs_snapshot *m)
{
	for (uint32_t i = 0; i < m->segment_count; i++) {
		segment_put(m->s->io, m->segments[i]);
		free(m->deleted[i]);
	}
	free(m->segments);
	free(m->deleted);
	free(m->living);
	free(m->counts);
	free(m);
}

static struct vs_snapshot *snapshot_alloc(struct vs_store *s, const struct collection *c)
{
	struct vs_snapshot *m = calloc(1, sizeof *m);
	size_t n = c->segment_count + 1;

	if (!m)
		return NULL;
	m->s = s;
	m->counts = calloc(n, sizeof *m->counts);
	m->segments = calloc(n, sizeof *m->segments);
	m->deleted = calloc(n, sizeof *m->deleted);
	m->living = calloc(n, sizeof *m->living);
	if (m->counts && m->segments && m->deleted && m->living)
		return m;
	snapshot_free(m);
	return NULL;
}

/* Its rows as they are. What waits for the vacuum is none of them. -ENOMEM. */
static int add_segment(struct vs_snapshot *m, struct segment *seg)
{
	uint32_t i = m->segment_count++;
	size_t bytes = (seg->rows_max + 63) / 64 * sizeof(uint64_t);

	m->counts[i] = seg->count;
	m->living[i] = seg->count - seg->deleted;
	m->info.rows += m->living[i];
	if (seg->count)
		segment_get(m->segments[i] = seg);
	if (!seg->deleted)
		return 0;
	m->deleted[i] = malloc(bytes);
	if (m->deleted[i])
		memcpy(m->deleted[i], seg->deleted_map, bytes);
	return m->deleted[i] ? 0 : -ENOMEM;
}

/*
 * Who changes a collection or walks its list of snapshots to keep a row holds the store's lock alone; who
 * opens or closes one shares it, and a mutex makes one wait for the other. So an opening stops no reader, and
 * waits for none.
 */
static struct vs_snapshot *snapshot_new(struct vs_store *s, struct collection *c)
{
	struct vs_snapshot *m = snapshot_alloc(s, c);
	bool fixed;

	for (uint32_t i = 0; m && i < c->segment_count; i++)
		if (add_segment(m, c->segments[i])) {
			snapshot_free(m);
			m = NULL;
		}
	if (!m)
		return NULL;
	m->c = c;
	m->shift = c->shift;
	m->info.collection = c->id;
	m->info.version = c->version;
	m->info.schema = collection_schema(c, &fixed);
	m->info.row_bytes = vs_row_bytes(&m->info.schema);
	m->info.ids_bytes = c->line_bytes;
	m->info.ids0_bytes = c->name_bytes + m->info.rows;
	entry_map_init(&m->kept);
	m->spill_fd = m->ids[IDLIST_LINES].fd = m->ids[IDLIST_NULS].fd = -1;
	pthread_mutex_init(&m->ids_mutex, NULL);
	pthread_mutex_init(&m->images_mutex, NULL);
	pthread_mutex_init(&m->spill_mutex, NULL);
	for (uint32_t i = 0; i < m->segment_count; i++)
		if (m->segments[i])
			m->segments[i]->snapshots++;
	m->opened = ++s->snapshots_opened;
	m->next = c->snapshots;
	c->snapshots = m;
	return m;
}

static int open_snapshot(struct vs_store *s, uint32_t collection, struct vs_snapshot **out)
{
	struct collection *c;
	int rc;

	*out = NULL;
	engine_read_lock(s);
	c = collection_get(&s->table, collection);
	rc = !c ? -ENOENT : c->damaged ? -EIO : c->lazy ? -EINPROGRESS : 0;
	if (!rc && c->attaching && c->attaching->no_snapshots)
		rc = -EAGAIN;
	pthread_mutex_lock(&s->snapshots_mutex);
	if (!rc && c->snapshots && c->snapshots->info.version == c->version && !c->snapshots->broken)
		*out = c->snapshots;
	else if (!rc)
		*out = snapshot_new(s, c);
	if (*out)
		(*out)->users++;
	pthread_mutex_unlock(&s->snapshots_mutex);
	pthread_rwlock_unlock(&s->lock);
	return rc ? rc : *out ? 0 : -ENOMEM;
}

int vs_snapshot_open(struct vs_store *s, uint32_t collection, struct vs_snapshot **out)
{
	int rc = open_snapshot(s, collection, out);

	if (rc == -EINPROGRESS && !(rc = clone_load(s, collection)))
		rc = open_snapshot(s, collection, out);
	while (rc == -EAGAIN) {
		struct making m;

		making_begin(s, &m, collection | MAKING_ATTACH);
		making_end(s, &m);
		rc = open_snapshot(s, collection, out);
	}
	return rc;
}

uint64_t snapshot_newest(const struct collection *c)
{
	return c->snapshots ? c->snapshots->opened : 0;
}

/* Its segments are read no more. Returns whether one of them has a share that was kept only for that. Under
 * snapshots_mutex. */
static bool leave_segments(const struct vs_snapshot *m)
{
	bool kept = false;

	for (uint32_t i = 0; i < m->segment_count; i++) {
		struct segment *seg = m->segments[i];

		if (seg && !--seg->snapshots)
			kept |= seg->share_kept;
	}
	return kept;
}

/* What others could not change while it was read is theirs now. */
static void leave_shares(const struct vs_snapshot *m)
{
	struct vs_store *s = m->s;

	pthread_rwlock_wrlock(&s->lock);
	for (uint32_t i = 0; i < m->segment_count; i++)
		if (m->segments[i] && m->segments[i]->share_kept)
			segment_share_leave(m->segments[i]);
	s->share_changes++;
	engine_wake_vacuum(s);
	pthread_rwlock_unlock(&s->lock);
}

void vs_snapshot_close(struct vs_snapshot *m)
{
	struct vs_store *s = m->s;
	struct vs_snapshot **p;
	bool last, kept;

	if (m->borrowed) {
		borrowed_close(m);
		return;
	}
	pthread_rwlock_rdlock(&s->lock);
	pthread_mutex_lock(&s->snapshots_mutex);
	last = !--m->users;
	kept = last && leave_segments(m);
	if (last && m->c) {
		for (p = &m->c->snapshots; *p != m; p = &(*p)->next)
			;
		*p = m->next;
	}
	pthread_mutex_unlock(&s->snapshots_mutex);
	pthread_rwlock_unlock(&s->lock);
	if (!last)
		return;
	if (kept)
		leave_shares(m);
	if (m->spill_fd >= 0)
		s->io->ops->close(s->io, m->spill_fd);
	for (int i = 0; i < 2; i++)
		if (m->ids[i].fd >= 0)
			s->io->ops->close(s->io, m->ids[i].fd);
	snapshot_images_drop(m, m->kept_count - m->spilled, m->kept_count - m->spilled);
	free(m->images);
	entry_map_free(&m->kept);
	pthread_mutex_destroy(&m->ids_mutex);
	pthread_mutex_destroy(&m->images_mutex);
	pthread_mutex_destroy(&m->spill_mutex);
	snapshot_free(m);
}

void vs_snapshot_info(const struct vs_snapshot *m, struct vs_snapshot_info *out)
{
	*out = m->info;
}

/* ------------------------------------------------------------------ numbers of rows */

/* The slot of the nth row that is not deleted. */
static uint32_t find_living(const uint64_t *deleted, uint64_t n)
{
	uint32_t word = 0;
	uint64_t living;

	for (; n >= (unsigned)__builtin_popcountll(~deleted[word]); word++)
		n -= (unsigned)__builtin_popcountll(~deleted[word]);
	for (living = ~deleted[word]; n; n--)
		living &= living - 1;
	return word * 64 + (uint32_t)__builtin_ctzll(living);
}

uint32_t snapshot_row(const struct vs_snapshot *m, uint64_t n, uint32_t *more)
{
	uint32_t i = 0, slot, end;

	while (n >= m->living[i])
		n -= m->living[i++];
	slot = m->deleted[i] ? find_living(m->deleted[i], n) : (uint32_t)n;
	end = m->deleted[i] ? slot + 1 : m->counts[i];
	while (end < m->counts[i] && !snapshot_was_deleted(m, i, end))
		end++;
	*more = end - slot;
	return i << m->shift | slot;
}

/* Which row of the snapshot it is: snapshot_row, backwards. */
static uint64_t number_of(const struct vs_snapshot *m, uint32_t n, uint32_t slot)
{
	const uint64_t *deleted = m->deleted[n];
	uint64_t number = slot;

	for (uint32_t i = 0; deleted && i < slot / 64; i++)
		number -= (unsigned)__builtin_popcountll(deleted[i]);
	if (deleted && slot % 64)
		number -= (unsigned)__builtin_popcountll(deleted[slot / 64] << (64 - slot % 64));
	for (uint32_t i = 0; i < n; i++)
		number += m->living[i];
	return number;
}

int snapshot_find(const struct vs_snapshot *m, const char *name, size_t len, uint64_t *out)
{
	uint32_t row = ROW_NONE, n, slot;
	uint64_t entry = 0;
	unsigned lost = engine_read_lock(m->s);
	int rc = m->c ? collection_entry(m->c, name, len, &entry) : -ESTALE;

	if (!rc && entry)
		row = entry_map_get(&m->c->entries, entry);
	n = row >> m->shift;
	slot = row & ((1u << m->shift) - 1);
	if (!rc && (row == ROW_NONE || n >= m->segment_count || slot >= m->counts[n] ||
		    m->segments[n] != m->c->segments[n] || snapshot_was_deleted(m, n, slot)))
		rc = -ENOENT;
	rc = engine_read_unlock(m->s, lost, rc);
	*out = rc ? 0 : number_of(m, n, slot);
	return rc;
}

struct segment *snapshot_segment(const struct vs_snapshot *m, uint64_t n, uint32_t *slot, uint32_t *count)
{
	uint32_t row = snapshot_row(m, n, count);

	*slot = row & ((1u << m->shift) - 1);
	return m->segments[row >> m->shift];
}

struct vs_store *snapshot_store(const struct vs_snapshot *m)
{
	return m->s;
}

int vs_snapshot_find(struct vs_snapshot *m, const char *name, uint64_t *row)
{
	return snapshot_find(m, name, strlen(name), row);
}

struct counters *snapshot_counters(const struct vs_snapshot *m)
{
	return &m->s->counters;
}
