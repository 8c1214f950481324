/* SPDX-License-Identifier: Apache-2.0 */
#include "store/replay/reclaim.h"

#include <assert.h>

#include "store/clone/clone.h"
#include "store/collection/index_file.h"
#include "store/engine.h"
#include "store/snapshot/snapshot.h"

/* What readers of a snapshot may want is opened while it has a name, and then stays open: it is in use until
 * the end. */
static void keep_files(struct collection *c)
{
	for (uint32_t n = 0; n < c->segment_count; n++)
		for (enum segment_column i = 0; i < SEGMENT_COLUMNS && c->segments[n]->snapshots; i++)
			segment_file(c->segments[n], i);
}

/* They find its rows in these files, as they are. Under the lock, alone. */
static void keep_readers(struct collection *c)
{
	for (uint32_t n = 0; n < c->segment_count; n++)
		if (c->segments[n]->snapshots)
			c->segments[n]->going = true;
}

/* Names that could not be removed are there for ever: whose files they are stay shared. */
static void abandon_shares(struct collection *c)
{
	for (uint32_t n = 0; n < c->segment_count; n++)
		segment_share_abandon(c->segments[n]);
	c->left_shares = true;
}

/* Removes a dropped collection's files and memory. Nothing that is in the log ahead of here needs them. */
static void drop_collection(struct vs_store *s, uint32_t id)
{
	struct collection **p, *c;
	bool gone = true;

	pthread_rwlock_rdlock(&s->lock);
	for (c = s->dropped; c && c->id != id; c = c->dropped_next)
		;
	pthread_rwlock_unlock(&s->lock);
	if (c && c->frozen)
		keep_files(c);
	pthread_rwlock_wrlock(&s->lock);
	for (p = &s->dropped; *p && (*p)->id != id; p = &(*p)->dropped_next)
		;
	c = *p;
	if (c) {
		*p = c->dropped_next;
		if (!*p)
			s->dropped_end = p;
		if (c->frozen)
			keep_readers(c);
		snapshot_detach(c);
	}
	pthread_rwlock_unlock(&s->lock);
	if (!c)
		return;
	if (!c->fresh || c->has_directory) {
		s->directory_changed = true;
		gone = !collection_unlink_id(s->io, id);
		s->has_orphans |= !gone;
	}
	if (c->shares || c->frozen) {
		pthread_rwlock_wrlock(&s->lock);
		if (gone)
			clone_leave(s, c);
		else
			abandon_shares(c);
		pthread_rwlock_unlock(&s->lock);
	}
	collection_free(s->io, c);
}

/* The live segment of a record, or NULL. Under the lock. */
static struct segment *live_segment(struct vs_store *s, const struct record *r, struct collection **c)
{
	*c = collection_get(&s->table, r->collection);
	if (!*c || !(*c)->row_bytes || r->row >> (*c)->shift >= (*c)->segment_count)
		return NULL;
	return collection_segment(*c, r->row);
}

static void forget_trim(struct vs_store *s, const struct record *r)
{
	struct collection *c;
	struct segment *seg = live_segment(s, r, &c);

	if (seg && segment_has_files(seg)) {
		assert(seg->trims);
		seg->trims--;
	}
}

/* Forgets the records of a group: they are in the files now. */
void reclaim_rows(struct vs_store *s, const struct group *g)
{
	const char *p = g->buf + sizeof(struct frame), *end = p + g->used;
	struct collection *c = NULL;

	pthread_rwlock_wrlock(&s->lock);
	while (p < end) {
		const struct record *r = (const struct record *)(const void *)p;

		if (r->type == RECORD_ROW) {
			if (!c || c->id != r->collection)
				c = collection_get(&s->table, r->collection);
			if (c)
				overlay_applied(&c->overlay, r->row,
						(const struct record_row *)(const void *)r);
		} else if (r->type == RECORD_TRIM) {
			forget_trim(s, r);
		}
		p += r->bytes;
	}
	pthread_rwlock_unlock(&s->lock);
}

/*
 * Puts a placeholder where an empty segment was: its number is free again. Before that its files went, so
 * that whoever takes the number makes new ones. Whoever still reads it has a reference, and its descriptors.
 */
static void segment_leave(struct vs_store *s, struct collection *c, struct segment *seg)
{
	bool shared = seg->share;
	struct segment *placeholder = segment_placeholder(seg->n, 0, 0);
	bool emptied;

	if (!placeholder)
		return; /* the number is lost until the store is opened again */
	pthread_rwlock_wrlock(&s->lock);
	c->segments[seg->n] = placeholder;
	segment_share_leave(seg);
	s->share_changes += shared;
	if (shared)
		engine_wake_vacuum(s);
	if (placeholder->n < c->room)
		c->room = placeholder->n;
	collection_trim_segments(&s->table, c);
	emptied = !c->count && !c->segment_count && !c->attaching;
	if (emptied)
		image_drop(s->io, c);
	pthread_rwlock_unlock(&s->lock);
	if (emptied && index_file_remove(s->io, c))
		s->has_orphans = true;
	segment_put(s->io, seg);
}

/* Removes the files of a segment that has lost all its rows. held: somebody reads it. */
static void segment_remove(struct vs_store *s, struct collection *c, struct segment *seg, bool held)
{
	char path[SEGMENT_PATH_MAX];
	int rc;

	/* What a reader may want is opened while it has a name, and then stays open: it is in use until the
	 * end. */
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS && held; i++)
		if (segment_file(seg, i) < 0)
			engine_report(s, VS_WARNING, "%s: a view of what it was is lost: too many open files",
				      c->name);
	seg->unlinked = true;
	segment_write_off(seg);
	c->directory_changed = true;
	rc = segment_unlink(s->io, c->id, seg->n);
	if (segment_drop_copy(seg))
		s->has_orphans = true;
	s->has_orphans |= rc != 0;
	/* A name that came back would lead whoever takes the number to a file that others have. */
	if (seg->share && !rc) {
		collection_path(path, c->id, NULL);
		rc = commit_synced(s, s->io->ops->syncdir(s->io, path));
	}
	if (!seg->share || rc >= 0)
		segment_leave(s, c, seg);
}

/* Gives back what a segment no longer needs, once no record ahead of the applier can want it. */
static void give_back(struct vs_store *s, const struct record *r)
{
	struct collection *c;
	struct segment *seg;
	bool empty = false, held = false;
	struct segment_hole hole = {0};

	pthread_rwlock_rdlock(&s->lock);
	seg = live_segment(s, r, &c);
	if (seg && (!segment_has_files(seg) || seg->trims || (seg->count && !segment_is_loose(seg))))
		seg = NULL;
	pthread_rwlock_unlock(&s->lock);
	if (!seg)
		return;
	pthread_mutex_lock(&seg->space_mutex);
	pthread_rwlock_wrlock(&s->lock);
	if (!seg->trims && !seg->count) {
		empty = seg->going = true;
		held = seg->refs > 1;
	} else if (!seg->trims && segment_is_loose(seg)) {
		hole = segment_give_up(seg);
	}
	pthread_rwlock_unlock(&s->lock);
	if (hole.end)
		segment_punch(seg, hole);
	pthread_mutex_unlock(&seg->space_mutex);
	if (empty)
		segment_remove(s, c, seg, held);
}

/* Only this thread takes segments with files out of a collection, or frees one, but for those that never had
 * a row. */
void reclaim_segments(struct vs_store *s, const struct group *g)
{
	const char *p = g->buf + sizeof(struct frame), *end = p + g->used;
	const struct record *last = NULL;

	while (p < end) {
		const struct record *r = (const struct record *)(const void *)p;

		/* Removals come in series, most of them from one segment. */
		if (r->type == RECORD_TRIM &&
		    (!last || last->collection != r->collection || last->row != r->row)) {
			give_back(s, r);
			last = r;
		}
		p += r->bytes;
	}
}

void reclaim_collections(struct vs_store *s, const struct group *g)
{
	const char *p = g->buf + sizeof(struct frame), *end = p + g->used;

	while (p < end) {
		const struct record *r = (const struct record *)(const void *)p;

		if (r->type == RECORD_DROP)
			drop_collection(s, r->collection);
		p += r->bytes;
	}
}
