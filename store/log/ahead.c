/* SPDX-License-Identifier: Apache-2.0 */
#include "store/log/ahead.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/engine.h"

/* ------------------------------------------------------------------ under the lock */

static struct ahead_row *find_row(struct ahead *a, const struct segment *seg, uint32_t slot)
{
	for (size_t i = a->count; i--;)
		if (a->rows[i].seg == seg && a->rows[i].slot == slot)
			return &a->rows[i];
	return NULL;
}

static int note_row(struct ahead *a, struct segment *seg, uint32_t slot, const struct row *meta)
{
	if (a->count == a->capacity) {
		size_t capacity = a->capacity ? 2 * a->capacity : 4;
		struct ahead_row *rows = realloc(a->rows, capacity * sizeof *rows);

		if (!rows)
			return -ENOMEM;
		a->rows = rows;
		a->capacity = capacity;
	}
	segment_get(seg);
	a->rows[a->count++] = (struct ahead_row){.seg = seg, .slot = slot, .meta = *meta};
	return -EAGAIN;
}

int ahead_row(struct ahead *a, const struct collection *c, uint32_t row, void *buf)
{
	struct segment *seg = collection_segment(c, row);
	struct ahead_row *r;
	const struct row *now;
	struct row meta = {0}; /* damaged: as it is */
	const char *name;

	if (collection_pending_bytes(c, row, buf))
		return 0;
	now = collection_row(c, row, &name);
	if (now)
		meta = *now;
	r = find_row(a, seg, collection_slot(c, row));
	if (!r || memcmp(&r->meta, &meta, sizeof meta))
		return note_row(a, seg, collection_slot(c, row), &meta);
	if (r->error)
		return r->error;
	if (!r->data)
		return -EAGAIN; /* noted by this very change */
	if (buf)
		memcpy(buf, r->data, c->row_bytes);
	return 0;
}

int ahead_space(struct ahead *a, struct segment *seg, uint32_t rows, uint32_t granules)
{
	if (rows <= seg->allocated && granules <= seg->names_allocated)
		return 0;
	if (a->space != seg) {
		if (a->space)
			segment_put(a->space->files->io, a->space);
		segment_get(seg);
		a->space = seg;
	}
	a->space_rows = rows;
	a->space_granules = granules;
	return -EAGAIN;
}

int ahead_copy(struct ahead *a, struct segment *seg)
{
	if (seg->copy_reserved)
		return 0;
	if (!a->copy) {
		segment_get(seg);
		a->copy = seg;
	}
	return -EAGAIN;
}

int ahead_segment(struct ahead *a, const struct collection *c, uint32_t n, struct segment **out)
{
	bool fits =
		a->made && a->making.collection == c->id && a->n == n && a->made->row_bytes == c->row_bytes;

	*out = fits ? a->made : NULL;
	if (fits) {
		a->made = NULL;
		return 0;
	}
	assert(!a->is_making || a->making.collection == c->id);
	a->wants_segment = true;
	if (!a->is_making) /* else others look at it */
		a->making.collection = c->id;
	a->n = n;
	a->schema = c->schema;
	return -EAGAIN;
}

int ahead_attach(struct ahead *a, const struct collection *c)
{
	if (!c->attaching)
		return 0;
	a->waits = c->id;
	return -EAGAIN;
}

void ahead_return(struct ahead *a, struct segment *seg)
{
	assert(!a->made && a->is_making);
	a->made = seg;
}

/* ------------------------------------------------------------------ without it */

void making_begin(struct vs_store *s, struct making *m, uint32_t collection)
{
	struct making *other;

	m->collection = collection;
	pthread_mutex_lock(&s->making_mutex);
	do {
		for (other = s->making; other && other->collection != collection; other = other->next)
			;
		if (other)
			pthread_cond_wait(&s->making_done, &s->making_mutex);
	} while (other);
	m->next = s->making;
	s->making = m;
	pthread_mutex_unlock(&s->making_mutex);
}

void making_end(struct vs_store *s, struct making *m)
{
	struct making **p;

	pthread_mutex_lock(&s->making_mutex);
	for (p = &s->making; *p != m; p = &(*p)->next)
		;
	*p = m->next;
	pthread_cond_broadcast(&s->making_done);
	pthread_mutex_unlock(&s->making_mutex);
}

/* Makes a directory, if there is none; by who makes files for this collection. */
static int make_directory(struct vs_store *s, uint32_t collection)
{
	struct collection *c;
	bool fresh = false, there = false;
	int rc;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, collection);
	if (c) {
		there = c->has_directory;
		fresh = c->fresh && !c->parent;
	}
	pthread_rwlock_unlock(&s->lock);
	rc = !c ? -ENOENT : there ? 0 : collection_make_directory(s->io, collection, fresh);
	if (rc || there)
		return rc;
	pthread_rwlock_wrlock(&s->lock);
	c = collection_get(&s->table, collection);
	if (c)
		c->has_directory = true;
	pthread_rwlock_unlock(&s->lock);
	if (!c) /* dropped meanwhile, perhaps before the directory was there */
		collection_unlink_id(s->io, collection);
	return c ? 0 : -ENOENT;
}

int ahead_directory(struct vs_store *s, uint32_t collection)
{
	struct making m;
	int rc;

	making_begin(s, &m, collection);
	rc = make_directory(s, collection);
	making_end(s, &m);
	return rc;
}

static int fetch_rows(struct ahead *a)
{
	for (; a->read < a->count; a->read++) {
		struct ahead_row *r = &a->rows[a->read];

		r->data = malloc(r->seg->row_bytes);
		if (!r->data)
			return -ENOMEM;
		r->error = segment_read(r->seg, SEGMENT_VECTORS, r->data, r->seg->row_bytes,
					segment_offset(r->seg, r->slot));
	}
	return 0;
}

/* Who allocates in a segment, or gives space back, excludes others; what came of it counts from under the
 * lock on. */
static int fetch_space(struct vs_store *s, struct ahead *a)
{
	struct segment *seg = a->space;
	struct segment_space space;
	int rc;

	pthread_mutex_lock(&seg->space_mutex);
	pthread_rwlock_rdlock(&s->lock);
	space = (struct segment_space){seg->allocated, seg->names_allocated};
	pthread_rwlock_unlock(&s->lock);
	rc = segment_allocate(seg, a->space_rows, a->space_granules, &space);
	pthread_rwlock_wrlock(&s->lock);
	seg->allocated = space.rows;
	seg->names_allocated = space.granules;
	pthread_rwlock_unlock(&s->lock);
	pthread_mutex_unlock(&seg->space_mutex);
	segment_put(s->io, seg);
	a->space = NULL;
	return rc;
}

/* Waits until the applier has used what an earlier mark has reserved, if a clone came between that and the
 * next one: the space is that mark's. Returns which cloning this is true of. */
static int wait_for_copy(struct vs_store *s, const struct segment *seg, uint32_t *clonings)
{
	bool is_anothers;

	pthread_rwlock_rdlock(&s->lock);
	*clonings = seg->clonings;
	is_anothers = seg->copy_made && !seg->copy_reserved;
	pthread_rwlock_unlock(&s->lock);
	return is_anothers ? commit_wait_applied(s) : 0;
}

/* One at a time; whoever comes later finds it done. *again: the rows have become another's meanwhile. */
static int make_copy(struct vs_store *s, struct segment *seg, uint32_t clonings, bool *again)
{
	uint32_t rows;
	int rc = 0;

	pthread_mutex_lock(&seg->space_mutex);
	pthread_rwlock_rdlock(&s->lock);
	rows = seg->copy_reserved || seg->going ? 0 : seg->count;
	*again = rows && seg->clonings != clonings;
	pthread_rwlock_unlock(&s->lock);
	if (rows && !*again)
		rc = segment_make_copy(seg, rows);
	if (rows && !*again && !rc) {
		pthread_rwlock_wrlock(&s->lock);
		seg->copy_made = true;
		seg->copy_reserved = seg->clonings == clonings;
		*again = !seg->copy_reserved;
		pthread_rwlock_unlock(&s->lock);
	}
	pthread_mutex_unlock(&seg->space_mutex);
	return rc;
}

int ahead_make_copy(struct vs_store *s, struct segment *seg)
{
	uint32_t clonings;
	bool again = true;
	int rc = 0;

	while (again && !rc) {
		rc = wait_for_copy(s, seg, &clonings);
		if (!rc)
			rc = make_copy(s, seg, clonings, &again);
	}
	return rc;
}

static int fetch_copy(struct vs_store *s, struct ahead *a)
{
	int rc = ahead_make_copy(s, a->copy);

	segment_put(s->io, a->copy);
	a->copy = NULL;
	return rc;
}

/* Removes a segment that nobody has got. If its collection is gone, so goes the directory. */
static void unmake(struct vs_store *s, struct ahead *a)
{
	uint32_t id = a->making.collection;
	bool gone;

	if (!a->made)
		return;
	a->made->unlinked = true;
	segment_write_off(a->made);
	pthread_rwlock_wrlock(&s->lock);
	gone = !collection_get(&s->table, id);
	s->directory_changed = true;
	pthread_rwlock_unlock(&s->lock);
	if (segment_unlink(s->io, id, a->made->n) || (gone && collection_unlink_id(s->io, id)))
		s->has_orphans = true;
	segment_put(s->io, a->made);
	a->made = NULL;
}

/* Whether the segment is still wanted: others may have made it while this one waited for its turn. */
static bool is_wanted(struct vs_store *s, const struct ahead *a)
{
	const struct collection *c;
	bool wanted;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, a->making.collection);
	wanted = c && (a->n >= c->segment_count || !segment_has_files(c->segments[a->n]));
	pthread_rwlock_unlock(&s->lock);
	return wanted;
}

static int fetch_segment(struct vs_store *s, struct ahead *a)
{
	int rc;

	a->wants_segment = false;
	if (!a->is_making)
		making_begin(s, &a->making, a->making.collection);
	a->is_making = true;
	unmake(s, a);
	if (!is_wanted(s, a))
		return 0; /* the change will tell */
	rc = make_directory(s, a->making.collection);
	if (!rc)
		rc = segment_create(&s->files, a->making.collection, a->n, &a->schema, &a->made);
	if (rc && rc != -ENOENT)
		s->has_orphans = true; /* what it has made of it may still be there */
	return rc;
}

/* Gives up what was made, and waits: whoever attaches may wait for who makes files. */
static void fetch_attach(struct vs_store *s, struct ahead *a)
{
	struct making m;

	unmake(s, a);
	if (a->is_making)
		making_end(s, &a->making);
	a->is_making = false;
	making_begin(s, &m, a->waits | MAKING_ATTACH);
	making_end(s, &m);
	a->waits = 0;
}

int ahead_fetch(struct vs_store *s, struct ahead *a)
{
	int rc = 0;

	if (a->waits)
		fetch_attach(s, a);
	rc = fetch_rows(a);
	if (!rc && a->space)
		rc = fetch_space(s, a);
	if (!rc && a->copy)
		rc = fetch_copy(s, a);
	if (!rc && a->wants_segment)
		rc = fetch_segment(s, a);
	return rc;
}

void ahead_free(struct vs_store *s, struct ahead *a)
{
	for (size_t i = 0; i < a->count; i++) {
		segment_put(s->io, a->rows[i].seg);
		free(a->rows[i].data);
	}
	free(a->rows);
	segment_put(s->io, a->space);
	segment_put(s->io, a->copy);
	unmake(s, a);
	if (a->is_making)
		making_end(s, &a->making);
	*a = (struct ahead){0};
}
