/* SPDX-License-Identifier: Apache-2.0 */
#include "store/replay/apply.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/base/clock.h"
#include "store/clone/clone.h"
#include "store/engine.h"
#include "store/collection/index_file.h"
#include "store/snapshot/snapshot.h"

#define RUN_BUFFERS 256
#define SYNC_DIRECTORIES 64u /* with that many changed one call for all takes less time */
#define SHORTAGE_MS 10
#define SHORTAGE_TRIES 1000

/* Adjacent pieces of one file, gathered into one write. */
struct run {
	struct segment *seg;
	enum segment_column column;
	uint64_t off, bytes;
	struct iovec iov[RUN_BUFFERS];
	int count;
};

struct apply {
	struct vs_store *s;
	struct run run[SEGMENT_COLUMNS];
};

/* Whether an opening failed for want of what others may soon give back. */
static bool is_shortage(int rc)
{
	return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM;
}

/*
 * A file with several names stays as it is: 1 if there is nothing to write. A recovery comes again to what
 * was written before the file got its other names, and skips it; rows of zeros that come afterwards go to a
 * copy.
 */
static int run_prepare(struct vs_store *s, struct run *run)
{
	int rc = segment_is_linked(run->seg, run->column);

	if (rc <= 0)
		return rc;
	if (run->column == SEGMENT_ROWS)
		return clone_unshare_rows(s, run->seg);
	return s->replaying ? 1 : -EIO;
}

static int run_write(struct vs_store *s, struct run *run)
{
	int rc = run_prepare(s, run);

	if (rc)
		return rc < 0 ? rc : 0;
	return segment_writev(run->seg, run->column, run->iov, run->count, run->off);
}

static int run_flush(struct vs_store *s, struct run *run)
{
	int rc = 0;

	if (!run->count)
		return 0;
	rc = run_write(s, run);
	for (int i = 0; is_shortage(rc) && i < SHORTAGE_TRIES; i++) {
		/* The records are safe in the log: it is better to wait for others to close what they have
		 * open. */
		usleep(SHORTAGE_MS * 1000);
		rc = run_write(s, run);
	}
	run->count = 0;
	segment_put(s->io, run->seg);
	return rc ? rc : files_relieve(&s->files);
}

static int run_add(struct vs_store *s, struct run *run, struct segment *seg, uint64_t off, const void *data,
		   size_t size)
{
	if (run->count && (run->seg != seg || run->off + run->bytes != off || run->count == RUN_BUFFERS)) {
		int rc = run_flush(s, run);

		if (rc)
			return rc;
	}
	if (!run->count) {
		segment_get(seg);
		run->seg = seg;
		run->off = off;
		run->bytes = 0;
	}
	run->iov[run->count++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = size};
	run->bytes += size;
	return 0;
}

/*
 * The segment a record is about, with a reference for the caller; NULL if its collection is gone (a later
 * record says so), it is damaged, or another segment will come under its number: in a recovery, that one's
 * files are there already.
 */
static struct segment *segment_of(struct apply *a, uint32_t collection, uint32_t row, uint32_t *slot)
{
	struct vs_store *s = a->s;
	struct collection *c;
	struct segment *seg = NULL;
	uint32_t n;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, collection);
	if (c && c->row_bytes) {
		n = row >> c->shift;
		*slot = collection_slot(c, row);
		seg = n < c->segment_count ? c->segments[n] : NULL;
	}
	if (seg && segment_has_files(seg) && !seg->adopts)
		segment_get(seg);
	else
		seg = NULL;
	pthread_rwlock_unlock(&s->lock);
	return seg;
}

static int apply_row(struct apply *a, const struct record_row *r)
{
	const char *name = (const char *)(r + 1);
	size_t name_bytes = names_granules(r->row.name_len) * NAME_GRANULE;
	uint32_t slot;
	struct segment *seg = segment_of(a, r->head.collection, r->head.row, &slot);
	int rc;

	if (!seg)
		return 0;
	rc = run_add(a->s, &a->run[SEGMENT_ROWS], seg, (uint64_t)slot * sizeof r->row, &r->row,
		     sizeof r->row);
	if (!rc)
		rc = run_add(a->s, &a->run[SEGMENT_NAMES], seg, (uint64_t)r->row.name_at * NAME_GRANULE, name,
			     name_bytes);
	if (!rc && r->head.flags & RECORD_HAS_DATA)
		rc = run_add(a->s, &a->run[SEGMENT_VECTORS], seg, segment_offset(seg, slot),
			     name + name_bytes, seg->row_bytes);
	if (slot >= seg->applied)
		seg->applied = slot + 1;
	segment_put(a->s->io, seg);
	return rc;
}

static void apply_trim(struct apply *a, const struct record *r)
{
	uint32_t slot;
	struct segment *seg = segment_of(a, r->collection, r->row, &slot);

	if (!seg)
		return;
	if (seg->applied > r->value)
		seg->applied = (uint32_t)r->value;
	segment_put(a->s->io, seg);
}

static int apply_deleted_row(struct apply *a, struct segment *seg, uint32_t slot)
{
	static const struct row dead;

	if (slot >= seg->rows_max)
		return 0;
	return run_add(a->s, &a->run[SEGMENT_ROWS], seg, (uint64_t)slot * sizeof dead, &dead, sizeof dead);
}

/* Writes zeros over the rows of a bitmap or list. */
static int apply_deleted(struct apply *a, const struct record *r)
{
	const uint64_t *bits = (const uint64_t *)(r + 1);
	const uint32_t *list = (const uint32_t *)(r + 1);
	size_t bytes = r->bytes - sizeof *r;
	uint32_t slot;
	struct segment *seg = segment_of(a, r->collection, r->row, &slot);
	int rc = 0;

	if (!seg)
		return 0;
	if (r->flags & RECORD_LIST) {
		for (uint64_t i = 0; i < r->value && i < bytes / 4 && !rc; i++)
			rc = apply_deleted_row(a, seg, list[i]);
	} else {
		for (uint32_t i = 0; i < bytes * 8 && !rc; i++)
			if (bits[i / 64] >> (i % 64) & 1)
				rc = apply_deleted_row(a, seg, i);
	}
	segment_put(a->s->io, seg);
	return rc;
}

int apply_adoption(struct vs_store *s, const struct record_attach *r)
{
	bool uploaded = r->head.flags & RECORD_UPLOADED;
	char from[SEGMENT_COLUMNS][SEGMENT_PATH_MAX], to[SEGMENT_PATH_MAX];
	int rc;

	segment_attach_paths(from, r->head.row, (uint32_t)r->head.value, uploaded);
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++) {
		segment_path(to, r->head.collection, r->segment, i);
		rc = s->io->ops->rename(s->io, from[i], to);
		if (rc < 0 && rc != -ENOENT)
			return rc;
	}
	/* Now, for the batch's directory goes next: were that to survive a crash and the move not, the files
	 * were lost. */
	collection_path(to, r->head.collection, NULL);
	rc = s->io->ops->syncdir(s->io, to);
	return rc == -ENOENT ? 0 : rc; /* a parent that a later record drops */
}

static int apply_attach(struct apply *a, const struct record_attach *r)
{
	struct vs_store *s = a->s;
	struct collection *c;
	struct segment *seg;
	bool moved; /* by a recovery, before it opened any file */
	int rc;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, r->head.collection);
	seg = c && r->segment < c->segment_count ? c->segments[r->segment] : NULL;
	moved = seg && seg->adopts;
	if (moved)
		seg->adopts--;
	if (seg && (seg->adopts || !segment_has_files(seg)))
		seg = NULL;
	if (seg)
		segment_get(seg);
	pthread_rwlock_unlock(&s->lock);
	rc = moved ? 0 : apply_adoption(s, r);
	if (seg && !rc) {
		seg->batch = 0;
		seg->applied = r->count;
	}
	segment_put(s->io, seg);
	return rc;
}

/* All that was logged before is in the files, and then they get their other names. */
static int apply_clone(struct apply *a, const struct record *r)
{
	int rc = 0;

	for (int i = 0; i < SEGMENT_COLUMNS && !rc; i++)
		rc = run_flush(a->s, &a->run[i]);
	return rc ? rc : clone_link(a->s, r->collection, r->row);
}

static int add_records(struct apply *a, const void *records, size_t size)
{
	const char *p = records, *end = p + size;
	int rc = 0;

	while (!rc && p < end) {
		const struct record *r = (const struct record *)(const void *)p;

		if (r->type == RECORD_ROW)
			rc = apply_row(a, (const struct record_row *)(const void *)r);
		else if (r->type == RECORD_DELETE_ROWS)
			rc = apply_deleted(a, r);
		else if (r->type == RECORD_ATTACH)
			rc = apply_attach(a, (const struct record_attach *)(const void *)r);
		else if (r->type == RECORD_TRIM)
			apply_trim(a, r);
		else if (r->type == RECORD_CLONE)
			rc = apply_clone(a, r);
		p += r->bytes;
	}
	return rc;
}

static struct apply *apply_begin(struct vs_store *s)
{
	struct apply *a = calloc(1, sizeof *a);

	if (!a)
		return NULL;
	a->s = s;
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++)
		a->run[i].column = i;
	return a;
}

/* Writes what has been gathered, unless rc says that gathering failed, and frees. */
static int apply_end(struct apply *a, int rc)
{
	for (int i = 0; i < SEGMENT_COLUMNS; i++) {
		if (!rc)
			rc = run_flush(a->s, &a->run[i]);
		else if (a->run[i].count)
			segment_put(a->s->io, a->run[i].seg);
	}
	free(a);
	return rc;
}

int apply_records(struct vs_store *s, const void *records, size_t size)
{
	struct apply *a = apply_begin(s);

	return a ? apply_end(a, add_records(a, records, size)) : -ENOMEM;
}

static int apply_groups(struct vs_store *s, const struct group *g)
{
	struct apply *a = apply_begin(s);
	int rc = a ? 0 : -ENOMEM;

	for (; g && !rc; g = g->next)
		rc = add_records(a, g->buf + sizeof(struct frame), g->used);
	return a ? apply_end(a, rc) : rc;
}

/* ------------------------------------------------------------------ checkpoint */

static int sync_directories(struct vs_store *s, struct collection *c, _Atomic bool *changed)
{
	char path[SEGMENT_PATH_MAX];

	if (!atomic_exchange(changed, false))
		return 0;
	if (!c)
		return s->io->ops->syncdir(s->io, "collections");
	collection_path(path, c->id, NULL);
	return s->io->ops->syncdir(s->io, path);
}

/* The segment i of the collection of lowest id above after (or of that id), as they are now. */
static struct collection *collection_after(struct vs_store *s, uint32_t after)
{
	struct collection *c;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_next(&s->table, after);
	pthread_rwlock_unlock(&s->lock);
	return c;
}

static struct segment *segment_at(struct vs_store *s, struct collection *c, uint32_t i, bool *end)
{
	struct segment *seg;

	pthread_rwlock_rdlock(&s->lock);
	*end = i >= c->segment_count;
	seg = *end || !segment_has_files(c->segments[i]) ? NULL : c->segments[i];
	if (seg)
		segment_get(seg);
	pthread_rwlock_unlock(&s->lock);
	return seg;
}

/* Brings the headers of a collection's segments up to date. */
static int write_headers(struct vs_store *s, struct collection *c)
{
	bool end = false;
	int rc = 0;

	for (uint32_t i = 0; !rc && !end; i++) {
		struct segment *seg = segment_at(s, c, i, &end);

		if (!seg)
			continue;
		rc = seg->unlinked ? 0 : segment_write_header(seg, &c->schema, seg->applied);
		segment_put(s->io, seg);
		if (!rc)
			rc = files_relieve(&s->files);
	}
	return rc;
}

static int sync_collection(struct vs_store *s, struct collection *c)
{
	bool end = false;
	int rc = 0;

	for (uint32_t i = 0; !rc && !end; i++) {
		struct segment *seg = segment_at(s, c, i, &end);

		if (seg)
			rc = segment_sync(seg);
		segment_put(s->io, seg);
	}
	return rc ? rc : sync_directories(s, c, &c->directory_changed);
}

/* Collections are freed by this thread only (when it passes their RECORD_DROP), so no lock is needed to keep
 * one. */
static int each_collection(struct vs_store *s, int (*fn)(struct vs_store *s, struct collection *c))
{
	struct collection *c;
	uint32_t after = 0;
	int rc = 0;

	for (; rc >= 0 && (c = collection_after(s, after)); after = c->id)
		rc = fn(s, c);
	return rc < 0 ? rc : 0;
}

static int count_directory(struct vs_store *s, struct collection *c)
{
	s->changed_directories += c->directory_changed;
	return 0;
}

/* A call for all that is written instead of one for each. What changes meanwhile is the next checkpoint's. */
static int forget_directory(struct vs_store *s, struct collection *c)
{
	(void)s;
	c->directory_changed = false;
	return 0;
}

int apply_sync(struct vs_store *s)
{
	int rc = each_collection(s, write_headers);

	s->changed_directories = 0;
	each_collection(s, count_directory);
	if (!rc && s->changed_directories >= SYNC_DIRECTORIES && !s->io->syncs_singly) {
		each_collection(s, forget_directory);
		s->directory_changed = false;
		rc = files_sync_all(&s->files);
	} else if (!rc) {
		rc = files_sync_many(&s->files);
	}
	if (!rc)
		rc = each_collection(s, sync_collection);
	return rc < 0 ? rc : sync_directories(s, NULL, &s->directory_changed);
}

/* The group was the last of its epoch: makes all of it durable outside the log, which is then free. */
static int checkpoint(struct vs_store *s, struct group *g)
{
	int rc = apply_sync(s);

	if (rc >= 0)
		rc = catalog_write(s, &g->catalog);
	if (rc < 0)
		return rc;
	s->counters.checkpoints++;
	return 0;
}

/* ------------------------------------------------------------------ headers */

struct header_request {
	uint32_t collection, n;
	int result;
	bool served;
	struct header_request *next;
};

static int serve(struct vs_store *s, const struct header_request *r)
{
	struct collection *c;
	struct segment *seg;
	int rc;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, r->collection);
	seg = c && r->n < c->segment_count && c->segments[r->n]->count ? c->segments[r->n] : NULL;
	rc = !seg ? -ENOENT : c->damaged || !segment_has_files(seg) ? -EIO : 0;
	if (!rc)
		segment_get(seg);
	pthread_rwlock_unlock(&s->lock);
	if (rc)
		return rc;
	rc = segment_write_header(seg, &c->schema, seg->applied);
	segment_put(s->io, seg);
	return rc;
}

/* Serves all requests, or refuses them if the applier ends. */
static void serve_all(struct vs_store *s, bool gone)
{
	struct commit *c = &s->commit;
	struct header_request *r;

	pthread_mutex_lock(&c->mutex);
	c->applier_gone = gone;
	while ((r = c->requests)) {
		c->requests = r->next;
		pthread_mutex_unlock(&c->mutex);
		r->result = gone ? -EIO : serve(s, r);
		pthread_mutex_lock(&c->mutex);
		r->served = true;
		pthread_cond_broadcast(&c->room);
	}
	pthread_mutex_unlock(&c->mutex);
}

int apply_header(struct vs_store *s, uint32_t collection, uint32_t n)
{
	struct header_request r = {.collection = collection, .n = n};
	struct commit *c = &s->commit;

	pthread_mutex_lock(&c->mutex);
	if (c->applier_gone) {
		pthread_mutex_unlock(&c->mutex);
		return -EIO;
	}
	r.next = c->requests;
	c->requests = &r;
	pthread_cond_signal(&c->ready);
	while (!r.served)
		pthread_cond_wait(&c->room, &c->mutex);
	pthread_mutex_unlock(&c->mutex);
	return r.result;
}

/* ------------------------------------------------------------------ the thread */

/* What readers of a snapshot may want is opened while it has a name, and then stays open. */
static void keep_readers(struct collection *c)
{
	for (uint32_t n = 0; n < c->segment_count; n++) {
		struct segment *seg = c->segments[n];

		if (!segment_has_files(seg) || seg->refs < 2)
			continue;
		for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++)
			if (segment_file(seg, i) >= 0)
				seg->going = true; /* in use until the end; its rows are as they are in it */
	}
}

/* Names that could not be removed are there for ever: whose files they are stay shared. */
static void abandon_shares(struct collection *c)
{
	for (uint32_t n = 0; n < c->segment_count; n++)
		segment_share_abandon(c->segments[n]);
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
		keep_readers(c);
	pthread_rwlock_wrlock(&s->lock);
	for (p = &s->dropped; *p && (*p)->id != id; p = &(*p)->dropped_next)
		;
	c = *p;
	if (c) {
		*p = c->dropped_next;
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
static void forget(struct vs_store *s, const struct group *g)
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

/* ---- space */

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
	if (placeholder->n < c->room)
		c->room = placeholder->n;
	collection_trim_segments(&s->table, c);
	emptied = !c->count && !c->segment_count;
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
		rc = s->io->ops->syncdir(s->io, path);
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
static void give_back_group(struct vs_store *s, const struct group *g)
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

static void drop_collections(struct vs_store *s, const struct group *g)
{
	const char *p = g->buf + sizeof(struct frame), *end = p + g->used;

	while (p < end) {
		const struct record *r = (const struct record *)(const void *)p;

		if (r->type == RECORD_DROP)
			drop_collection(s, r->collection);
		p += r->bytes;
	}
}

/* Whether the applier should start, rather than wait for more groups to come. */
static bool is_wanted(const struct commit *c)
{
	return c->failed || c->stop || c->requests || c->relief ||
	       (c->durable && (c->applier_waiters || c->durable_count >= APPLY_BATCH || c->switch_file));
}

/*
 * Many small groups are carried over at once, and the applier is not woken for each: while groups come it
 * looks for them by itself, every APPLY_MS. Returns them in order; only the last may have a checkpoint after
 * it. *stop: none will come any more.
 */
static struct group *next_groups(struct commit *c, bool *stop)
{
	struct group *first = NULL, **end = &c->durable;
	bool waited = false;
	struct timespec t;

	pthread_mutex_lock(&c->mutex);
	while (!is_wanted(c) && !(c->durable && waited)) {
		c->applier_idle = waited;
		if (waited) {
			pthread_cond_wait(&c->ready, &c->mutex);
			waited = false;
		} else {
			commit_deadline(&t, clock_ms() + APPLY_MS);
			waited = pthread_cond_timedwait(&c->ready, &c->mutex, &t) == ETIMEDOUT;
		}
	}
	c->applier_idle = c->relief = false;
	if (!c->failed && c->durable) {
		first = c->durable;
		while (*end) {
			bool last = (*end)->catalog.head;

			c->durable_count--;
			end = &(*end)->next;
			if (last)
				break;
		}
		c->durable = *end;
		*end = NULL;
		if (!c->durable)
			c->durable_end = &c->durable;
	}
	*stop = !first && (c->failed || c->stop);
	pthread_mutex_unlock(&c->mutex);
	return first;
}

/* What an applied group leaves to be done; *g is given back. */
static int finish_group(struct vs_store *s, struct group *g)
{
	bool checkpointed = g->catalog.head;
	int file = checkpointed ? (int)((g->catalog.head->log_epoch - 1) % 2) : 0, rc;

	forget(s, g);
	give_back_group(s, g);
	drop_collections(s, g);
	rc = checkpointed ? checkpoint(s, g) : 0;
	if (!rc)
		commit_applied(s, g, file, checkpointed);
	return rc;
}

/* Keeps the groups, since the overlay points into their buffers; their records stay in the log. */
static void give_up(struct vs_store *s, struct group *g, int rc)
{
	struct group **end = &g;

	commit_poison(s, "cannot write to the segments", rc);
	while (*end)
		end = &(*end)->next;
	pthread_mutex_lock(&s->commit.mutex);
	*end = s->commit.durable;
	if (!*end)
		s->commit.durable_end = end;
	s->commit.durable = g;
	pthread_mutex_unlock(&s->commit.mutex);
}

/* false: a write failed, and nothing more can be done. */
static bool apply_and_finish(struct vs_store *s, struct group *g)
{
	int rc = apply_groups(s, g);

	while (g && !rc) {
		struct group *next = g->next;

		rc = finish_group(s, g);
		if (!rc)
			g = next;
	}
	if (rc)
		give_up(s, g, rc);
	return !rc;
}

/* For those who wait until less is to be synced. */
static bool relieve(struct vs_store *s)
{
	int rc;

	if (!files_dirty_full(&s->files))
		return true;
	rc = files_relieve(&s->files);
	if (rc)
		commit_poison(s, "cannot sync the segments", rc);
	pthread_mutex_lock(&s->commit.mutex);
	pthread_cond_broadcast(&s->commit.room);
	pthread_mutex_unlock(&s->commit.mutex);
	return !rc;
}

void *apply_thread(void *store)
{
	struct vs_store *s = store;
	bool stop = false;

	while (!stop) {
		struct group *g = next_groups(&s->commit, &stop);

		if (g && !apply_and_finish(s, g))
			stop = true;
		if (!stop && !relieve(s))
			stop = true;
		serve_all(s, stop);
	}
	return NULL;
}
