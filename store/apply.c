/* SPDX-License-Identifier: Apache-2.0 */
#include "apply.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

#define RUN_BUFFERS 256

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

static int run_flush(struct vs_store *s, struct run *run)
{
	int rc = 0;

	if (run->count) {
		rc = io_writev_full(s->io, run->seg->fd[run->column], run->iov, run->count, run->off);
		run->seg->dirty[run->column] = true;
	}
	run->count = 0;
	return rc;
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
		run->seg = seg;
		run->off = off;
		run->bytes = 0;
	}
	run->iov[run->count++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = size};
	run->bytes += size;
	return 0;
}

/* The open segment a record is about; NULL if its collection is gone (a later record says so) or it is damaged. */
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
	pthread_rwlock_unlock(&s->lock);
	return seg && seg->fd[0] >= 0 ? seg : NULL;
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
	rc = run_add(a->s, &a->run[SEGMENT_ROWS], seg, (uint64_t)slot * sizeof r->row, &r->row, sizeof r->row);
	if (!rc)
		rc = run_add(a->s, &a->run[SEGMENT_NAMES], seg, (uint64_t)r->row.name_at * NAME_GRANULE, name,
		             name_bytes);
	if (!rc && r->head.flags & RECORD_HAS_DATA)
		rc = run_add(a->s, &a->run[SEGMENT_VECTORS], seg, segment_offset(seg, slot), name + name_bytes,
		             seg->row_bytes);
	return rc;
}

static int apply_dead_row(struct apply *a, struct segment *seg, uint32_t slot)
{
	static const struct row dead;

	if (slot >= seg->rows_max)
		return 0;
	return run_add(a->s, &a->run[SEGMENT_ROWS], seg, (uint64_t)slot * sizeof dead, &dead, sizeof dead);
}

/* Writes zeros over the rows of a bitmap or list. */
static int apply_dead(struct apply *a, const struct record *r)
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
			rc = apply_dead_row(a, seg, list[i]);
		return rc;
	}
	for (uint32_t i = 0; i < bytes * 8 && !rc; i++)
		if (bits[i / 64] >> (i % 64) & 1)
			rc = apply_dead_row(a, seg, i);
	return rc;
}

/* Moves a batch's segment files to where they now belong; done already if they are not there any more. */
static int apply_adopt(struct apply *a, const struct record_adopt *r)
{
	bool uploaded = r->head.flags & RECORD_UPLOADED;
	char from[SEGMENT_COLUMNS][SEGMENT_PATH_MAX], to[SEGMENT_PATH_MAX];
	int rc;

	segment_adopt_paths(from, r->head.row, (uint32_t)r->head.value, uploaded);
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++) {
		segment_path(to, r->head.collection, r->segment, i);
		rc = a->s->io->ops->rename(a->s->io, from[i], to);
		if (rc < 0 && rc != -ENOENT)
			return rc;
	}
	/* Now, for the batch's directory goes next: were that to survive a crash and the move not, the files were lost. */
	collection_path(to, r->head.collection, NULL);
	rc = a->s->io->ops->syncdir(a->s->io, to);
	return rc == -ENOENT ? 0 : rc; /* a parent that a later record drops */
}

static int add_records(struct apply *a, const void *records, size_t size)
{
	const char *p = records, *end = p + size;
	int rc = 0;

	while (!rc && p < end) {
		const struct record *r = (const struct record *)(const void *)p;

		if (r->type == RECORD_ROW)
			rc = apply_row(a, (const struct record_row *)(const void *)r);
		else if (r->type == RECORD_DEAD)
			rc = apply_dead(a, r);
		else if (r->type == RECORD_ADOPT)
			rc = apply_adopt(a, (const struct record_adopt *)(const void *)r);
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
	for (int i = 0; i < SEGMENT_COLUMNS && !rc; i++)
		rc = run_flush(a->s, &a->run[i]);
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

static struct segment *segment_at(struct vs_store *s, struct collection *c, uint32_t i, uint32_t *count)
{
	struct segment *seg;

	pthread_rwlock_rdlock(&s->lock);
	seg = i < c->segment_count ? c->segments[i] : NULL;
	*count = seg ? seg->count : 0;
	pthread_rwlock_unlock(&s->lock);
	return seg;
}

/* Collections are freed by this thread only (when it passes their RECORD_DROP), so no lock is needed to keep one. */
static int sync_collection(struct vs_store *s, struct collection *c)
{
	struct segment *seg;
	uint32_t count;
	int rc = 0;

	for (uint32_t i = 0; !rc && (seg = segment_at(s, c, i, &count)); i++) {
		if (seg->fd[0] < 0)
			continue;
		if (seg->dirty[SEGMENT_ROWS])
			rc = segment_write_header(s->io, seg, &c->schema, count);
		if (!rc)
			rc = segment_sync(s->io, seg);
	}
	return rc ? rc : sync_directories(s, c, &c->directory_changed);
}

int apply_sync(struct vs_store *s)
{
	struct collection *c;
	uint32_t after = 0;
	int rc = 0;

	for (; rc >= 0 && (c = collection_after(s, after)); after = c->id)
		rc = sync_collection(s, c);
	return rc < 0 ? rc : sync_directories(s, NULL, &s->directory_changed);
}

/* Gives back the space that removals have freed. Under the lock, for nobody may append to what is punched. */
static void punch_all(struct vs_store *s)
{
	pthread_rwlock_wrlock(&s->lock);
	for (uint32_t i = 0; i < s->table.count; i++)
		for (uint32_t k = 0; k < s->table.all[i]->segment_count; k++)
			if (s->table.all[i]->segments[k]->fd[0] >= 0)
				segment_punch(s->io, s->table.all[i]->segments[k]);
	pthread_rwlock_unlock(&s->lock);
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
	punch_all(s);
	return 0;
}

/* ------------------------------------------------------------------ the thread */

/* Removes a dropped collection's files and memory. Nothing that is in the log ahead of here needs them. */
static void drop_collection(struct vs_store *s, uint32_t id)
{
	struct collection **p, *c;

	pthread_rwlock_wrlock(&s->lock);
	for (p = &s->dropped; *p && (*p)->id != id; p = &(*p)->dropped_next)
		;
	c = *p;
	if (c)
		*p = c->dropped_next;
	pthread_rwlock_unlock(&s->lock);
	if (!c)
		return;
	s->directory_changed = true;
	if (collection_unlink_id(s->io, id))
		s->untidy = true;
	collection_free(s->io, c);
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
				overlay_applied(&c->overlay, r->row, (const struct record_row *)(const void *)r);
		}
		p += r->bytes;
	}
	pthread_rwlock_unlock(&s->lock);
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
	return c->failed || c->stop ||
	       (c->durable && (c->hurry || c->durable_count >= GROUPS_LAZY || c->switch_file));
}

/*
 * Many small groups are carried over at once, and the applier is not woken for each: while groups come it looks for
 * them by itself, every APPLY_MS. Returns them in order; only the last may have a checkpoint after it. NULL: none will
 * come any more.
 */
static struct group *next_groups(struct commit *c)
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
			commit_deadline(&t, engine_tick_ms() + APPLY_MS);
			waited = pthread_cond_timedwait(&c->ready, &c->mutex, &t) == ETIMEDOUT;
		}
	}
	c->applier_idle = false;
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
	pthread_mutex_unlock(&c->mutex);
	return first;
}

/* What an applied group leaves to be done; *g is given back. */
static int finish_group(struct vs_store *s, struct group *g)
{
	bool checkpointed = g->catalog.head;
	int file = checkpointed ? (int)((g->catalog.head->log_epoch - 1) % 2) : 0, rc;

	forget(s, g);
	drop_collections(s, g);
	rc = checkpointed ? checkpoint(s, g) : 0;
	if (!rc)
		commit_applied(s, g, file, checkpointed);
	return rc;
}

/* The groups stay in the overlay's service; their records stay in the log. */
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

void *apply_thread(void *store)
{
	struct vs_store *s = store;
	struct group *g;

	while ((g = next_groups(&s->commit))) {
		int rc = apply_groups(s, g);

		while (g && !rc) {
			struct group *next = g->next;

			rc = finish_group(s, g);
			if (!rc)
				g = next;
		}
		if (rc) {
			give_up(s, g, rc);
			return NULL;
		}
	}
	return NULL;
}
