/* SPDX-License-Identifier: Apache-2.0 */
/* link - what the applier does for clones: links, copies of rows columns, and their end. */
#include "store/clone/clone.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/engine.h"

#define REOPEN_US 1000

/* Segment n of a collection, with a reference, if it has files. */
static struct segment *segment_at(struct vs_store *s, uint32_t collection, uint32_t n)
{
	struct collection *c;
	struct segment *seg = NULL;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, collection);
	if (c && n < c->segment_count && segment_has_files(c->segments[n]))
		segment_get(seg = c->segments[n]);
	pthread_rwlock_unlock(&s->lock);
	return seg;
}

/* A segment that is to be linked gets its last header, gives back what it will not use, and is synced. */
static int settle(struct vs_store *s, const struct vs_schema *schema, struct segment *seg, uint32_t count)
{
	struct segment_hole hole = {0};
	int rc = segment_write_header(seg, schema, count);

	pthread_mutex_lock(&seg->space_mutex);
	pthread_rwlock_wrlock(&s->lock);
	if (!rc && seg->count == count && seg->allocated > count)
		hole = segment_give_up(seg);
	pthread_rwlock_unlock(&s->lock);
	if (hole.end)
		segment_punch(seg, hole);
	pthread_mutex_unlock(&seg->space_mutex);
	return rc ? rc : segment_sync(seg);
}

static int link_segment(struct vs_store *s, uint32_t from, uint32_t to, uint32_t n, struct segment *seg)
{
	char old[SEGMENT_PATH_MAX], new[SEGMENT_PATH_MAX];

	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++) {
		int rc;

		segment_path(old, from, n, i);
		segment_path(new, to, n, i);
		if (seg)
			seg->alone[i] = false;
		rc = s->io->ops->link(s->io, old, new);
		/* One that is there is right: it was made when the file had all it was to have. */
		if (rc < 0 && rc != -EEXIST)
			return rc;
	}
	return 0;
}

/* What is to be done, as it was found under the lock. */
struct work {
	uint32_t from, to;
	struct vs_schema schema;
	uint32_t segments;
	uint32_t *counts; /* 0: there are no files */
};

/*
 * The clone, also if it has been dropped: it has the files until that is durable, or a crash would bring it
 * back without. Of a source that is gone nothing is written any more, so that a recovery finds it as it was.
 */
static struct collection *clone_get(struct vs_store *s, uint32_t collection)
{
	struct collection *c = collection_get(&s->table, collection);

	for (struct collection *d = s->dropped; d && !c; d = d->dropped_next)
		c = d->id == collection ? d : NULL;
	return c && c->unlinked && collection_get(&s->table, c->unlinked) ? c : NULL;
}

static int work_find(struct vs_store *s, uint32_t collection, struct work *w)
{
	const struct collection *c, *shape;
	int rc = 0;

	*w = (struct work){.to = collection};
	pthread_rwlock_rdlock(&s->lock);
	c = clone_get(s, collection);
	/* The one of both that has not changed since. A snapshot does not go before its clones are linked. */
	shape = c && !c->frozen ? collection_get(&s->table, c->unlinked) : c;
	if (shape) {
		w->from = c->unlinked;
		w->schema = c->schema;
		w->counts = calloc(shape->segment_count + 1, sizeof *w->counts);
		rc = w->counts ? 0 : -ENOMEM;
		for (uint32_t i = 0; i < shape->segment_count && !rc; i++)
			w->counts[w->segments++] = shape->segments[i]->count;
	}
	pthread_rwlock_unlock(&s->lock);
	return rc;
}

static int settle_all(struct vs_store *s, const struct work *w)
{
	int rc = 0;

	for (uint32_t i = 0; i < w->segments && !rc; i++) {
		struct segment *seg = w->counts[i] ? segment_at(s, w->from, i) : NULL;

		if (seg)
			rc = settle(s, &w->schema, seg, w->counts[i]);
		segment_put(s->io, seg);
	}
	return rc;
}

/* Makes the names of a collection's files durable, and its own. */
static int sync_names(struct vs_store *s, uint32_t collection)
{
	char path[SEGMENT_PATH_MAX];
	int rc;

	collection_path(path, collection, NULL);
	rc = s->io->ops->syncdir(s->io, path);
	if (rc == -ENOENT) /* it has no segments */
		rc = 0;
	return rc < 0 ? rc : s->io->ops->syncdir(s->io, "collections");
}

static int link_all(struct vs_store *s, const struct work *w)
{
	char path[SEGMENT_PATH_MAX];
	int rc;

	/*
	 * The first name of a file is there if another is: a recovery that had to make it anew would take the
	 * other for a file that nobody shares.
	 */
	rc = sync_names(s, w->from);
	if (rc < 0)
		return rc;
	collection_path(path, w->to, NULL);
	rc = s->io->ops->mkdir(s->io, path, 0700);
	if (rc == -EEXIST)
		rc = 0;
	for (uint32_t i = 0; i < w->segments && rc >= 0; i++) {
		struct segment *seg = w->counts[i] ? segment_at(s, w->from, i) : NULL;

		if (w->counts[i])
			rc = link_segment(s, w->from, w->to, i, seg);
		segment_put(s->io, seg);
	}
	return rc < 0 ? rc : 0;
}

static int is_linked(struct vs_store *s, uint32_t collection, uint32_t n)
{
	struct io_identity id;
	char path[SEGMENT_PATH_MAX];

	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++) {
		int rc;

		segment_path(path, collection, n, i);
		rc = s->io->ops->identify(s->io, path, &id);
		if (rc < 0)
			return rc == -ENOENT ? 0 : rc;
	}
	return 1;
}

/* Whether a recovery comes to a record that was carried out: then the source may be another by now. */
static bool is_done(struct vs_store *s, const struct work *w)
{
	bool done = s->replaying;

	for (uint32_t i = 0; i < w->segments && done; i++)
		done = !w->counts[i] || is_linked(s, w->to, i) > 0;
	return done;
}

int clone_link(struct vs_store *s, uint32_t collection, uint32_t source)
{
	struct collection *c, *from;
	struct work w;
	int rc = work_find(s, collection, &w);

	/* If it is gone from the log, too, there is nothing to do. */
	if (!rc && w.from && !is_done(s, &w)) {
		rc = settle_all(s, &w);
		if (!rc)
			rc = link_all(s, &w);
	}
	/* Before anything else is changed: from now on the files stay as they are. */
	if (!rc && w.from)
		rc = sync_names(s, w.to);
	free(w.counts);
	if (rc)
		return rc;
	pthread_rwlock_wrlock(&s->lock);
	c = clone_get(s, collection);
	from = collection_get(&s->table, source);
	if (c)
		c->unlinked = 0;
	if (from && from->frozen && from->clones)
		from->clones--;
	pthread_rwlock_unlock(&s->lock);
	return 0;
}

int clone_is_linked(struct vs_store *s, const struct collection *c)
{
	int rc = 1;

	for (uint32_t n = 0; n < c->segment_count && rc > 0; n++)
		rc = c->segments[n]->count ? is_linked(s, c->id, n) : 1;
	/* Who made them may have been killed before they were durable, and the other names go next. */
	if (rc > 0 && (rc = sync_names(s, c->id)) >= 0)
		rc = 1;
	return rc;
}

int clone_unshare_rows(struct vs_store *s, struct segment *seg)
{
	int rc = segment_copy_rows(seg);
	struct collection *c;

	while (!rc) {
		pthread_rwlock_wrlock(&s->lock);
		rc = segment_reopen_rows(seg);
		seg->copy_made = false;
		c = collection_get(&s->table, seg->collection);
		if (c)
			c->directory_changed = true;
		pthread_rwlock_unlock(&s->lock);
		if (rc != -EBUSY)
			break;
		rc = 0;
		usleep(REOPEN_US);
	}
	if (!rc)
		seg->alone[SEGMENT_ROWS] = true;
	return rc || !s->replaying ? rc : segment_map(seg);
}

void clone_leave(struct vs_store *s, struct collection *c)
{
	for (uint32_t i = 0; i < c->segment_count; i++)
		segment_share_leave(c->segments[i]);
	c->left_shares = true;
	s->share_changes++;
	engine_wake_vacuum(s);
}

/* ------------------------------------------------------------------ at opening */

struct found {
	struct io_identity id;
	struct segment *seg;
};

static int compare(const void *a, const void *b)
{
	const struct io_identity *x = &((const struct found *)a)->id, *y = &((const struct found *)b)->id;

	if (x->device != y->device)
		return x->device < y->device ? -1 : 1;
	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static int find_segment(struct vs_store *s, struct segment *seg, struct found *out)
{
	char path[SEGMENT_PATH_MAX];
	struct io_identity rows, names;
	int rc;

	segment_path(path, seg->collection, seg->n, SEGMENT_ROWS);
	rc = s->io->ops->identify(s->io, path, &rows);
	seg->copy_reserved = rc >= 0 && rows.names < 2;
	seg->uncut = true;
	out->seg = seg;
	segment_path(path, seg->collection, seg->n, SEGMENT_NAMES);
	rc = s->io->ops->identify(s->io, path, &names);
	if (rc < 0)
		names.names = 1;
	segment_path(path, seg->collection, seg->n, SEGMENT_VECTORS);
	rc = s->io->ops->identify(s->io, path, &out->id);
	if (rc >= 0 && out->id.names < names.names)
		out->id.names = names.names;
	return rc < 0 && rc != -ENOENT ? rc : rc >= 0 && out->id.names > 1;
}

/* Those of one file share it; and one with names that are none of ours stays shared for ever. */
static int join(struct found *found, size_t count)
{
	int rc = 0;

	for (size_t i = 0; i < count && !rc; i++) {
		bool same = i && !compare(&found[i - 1], &found[i]);

		if (same)
			rc = segment_share(found[i - 1].seg, found[i].seg);
		else if (!(found[i].seg->share = calloc(1, sizeof *found[i].seg->share)))
			rc = -ENOMEM;
		else
			found[i].seg->share->users = 1;
	}
	for (size_t i = 0; i < count && !rc; i++) {
		struct share *share = found[i].seg->share;

		if (share->users + share->strangers < found[i].id.names)
			share->strangers = (unsigned)found[i].id.names - share->users;
	}
	return rc;
}

int clone_find_shares(struct vs_store *s)
{
	struct found *found = calloc(s->table.segments + 1, sizeof *found);
	size_t count = 0;
	int rc = found ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < s->table.count && rc >= 0; i++) {
		struct collection *c = s->table.all[i];

		for (uint32_t n = 0; c->shares && !c->damaged && n < c->segment_count && rc >= 0; n++) {
			if (!c->segments[n]->count || !segment_has_files(c->segments[n]))
				continue;
			rc = find_segment(s, c->segments[n], &found[count]);
			count += rc > 0;
		}
	}
	if (rc >= 0) {
		qsort(found, count, sizeof *found, compare);
		rc = join(found, count);
	}
	free(found);
	return rc < 0 ? rc : 0;
}
