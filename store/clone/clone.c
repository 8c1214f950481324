/* SPDX-License-Identifier: Apache-2.0 */
/* clone - what a clone is made of in memory, and its index. */
#include "store/clone/clone.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/engine.h"

#define LOAD_ROWS 4096u /* looked at under one hold of the store's lock */

/* ------------------------------------------------------------------ making one */

/* Numbers without rows at the end are nobody's. */
static void trim_segments(struct vs_store *s, struct collection *c)
{
	while (c->segment_count && !c->segments[c->segment_count - 1]->count)
		segment_put(s->io, c->segments[--c->segment_count]);
}

/* What it takes over as it is. */
static void take_over(const struct collection *from, struct collection *c)
{
	collection_set_schema(c, &from->schema);
	c->schema_fixed = from->schema_fixed;
	c->schema_given = from->schema_given;
	c->dim_given = from->dim_given;
	c->next_entry = from->next_entry;
	c->count = from->count;
	c->name_bytes = from->name_bytes;
	c->line_bytes = from->line_bytes;
	c->lazy = true;
	c->unlinked = from->id;
}

int clone_segments(struct vs_store *s, struct collection *from, struct collection *c)
{
	int rc;

	take_over(from, c);
	rc = collection_reserve_segments(c, from->segment_count + 1);
	for (uint32_t i = 0; i < from->segment_count && !rc; i++) {
		struct segment *old = from->segments[i], *seg = NULL;

		if (old->count)
			rc = segment_later(&s->files, c->id, i, &c->schema, old->count, old->names.end, &seg);
		else if (!(seg = segment_placeholder(i, 0, 0)))
			rc = -ENOMEM;
		if (!rc && old->count)
			rc = segment_share(old, seg);
		if (!rc)
			c->segments[c->segment_count++] = seg;
		else
			segment_put(s->io, seg);
	}
	trim_segments(s, c);
	/* The rows of both are one file again. */
	for (uint32_t i = 0; i < from->segment_count && !rc; i++) {
		from->segments[i]->copy_reserved = false;
		from->segments[i]->clonings++;
	}
	return rc;
}

int clone_placeholders(struct vs_store *s, struct collection *from, struct collection *c)
{
	int rc = collection_reserve_segments(c, from->segment_count + 1);

	take_over(from, c);
	for (uint32_t i = 0; i < from->segment_count && !rc; i++) {
		const struct segment *old = from->segments[i];
		struct segment *seg = segment_placeholder(i, old->count, old->count ? old->names.end : 0);

		if (seg)
			c->segments[c->segment_count++] = seg;
		else
			rc = -ENOMEM;
		if (seg && old->count)
			seg->cloned = from->segments[i]->cloned = true;
	}
	trim_segments(s, c);
	return rc;
}

/* The table's sum does not follow: c is not in it yet. */
int clone_set_frozen(struct vs_store *s, struct collection *c, const struct attribute_frozen *sums)
{
	(void)s;
	c->frozen = true;
	return attributes_set(&c->attributes, ATTRIBUTE_FROZEN, sums, sizeof *sums);
}

int clone_set_shares(struct vs_store *s, struct collection *c)
{
	static const char one = 1;
	bool there = collection_get(&s->table, c->id) == c;

	if (c->shares)
		return 0;
	c->shares = true;
	return there ? collection_set_attribute(&s->table, c, ATTRIBUTE_SHARES, &one, 1)
		     : attributes_set(&c->attributes, ATTRIBUTE_SHARES, &one, 1);
}

/* ------------------------------------------------------------------ its index */

/* A collection of the same rows that nobody else knows, to build the index in. NULL: no memory. */
static struct collection *shadow_new(const struct collection *c)
{
	struct collection *shadow = collection_new(c->id, c->parent, c->name, c->hash_seed);

	if (!shadow)
		return NULL;
	collection_set_schema(shadow, &c->schema);
	if (collection_reserve_segments(shadow, c->segment_count + 1)) {
		free(shadow);
		return NULL;
	}
	for (uint32_t i = 0; i < c->segment_count; i++)
		segment_get(shadow->segments[shadow->segment_count++] = c->segments[i]);
	return shadow;
}

/* The marks of an attempt that failed: a page that could not be read looks like deleted rows. */
static void forget_marks(const struct collection *shadow)
{
	for (uint32_t i = 0; i < shadow->segment_count; i++) {
		struct segment *seg = shadow->segments[i];

		for (uint32_t slot = 0; seg->deleted; slot++)
			if (segment_is_deleted(seg, slot))
				segment_clear_deleted(seg, slot);
	}
}

static void shadow_free(struct vs_store *s, struct collection *shadow)
{
	/* The share is the collection's. */
	for (uint32_t i = 0; i < shadow->segment_count; i++)
		segment_put(s->io, shadow->segments[i]);
	shadow->segment_count = 0;
	collection_free(s->io, shadow);
}

/* Looks whether there is something to do: a shadow if so. *unlinked: the applier is to be waited for. */
static int begin(struct vs_store *s, uint32_t id, struct collection **shadow, bool *unlinked)
{
	const struct collection *c;
	int rc = 0;

	*shadow = NULL;
	engine_read_lock(s);
	c = collection_get(&s->table, id);
	*unlinked = c && c->unlinked;
	if (!c)
		rc = -ENOENT;
	else if (c->damaged)
		rc = -EIO;
	else if (c->lazy && !*unlinked && !(*shadow = shadow_new(c)))
		rc = -ENOMEM;
	pthread_rwlock_unlock(&s->lock);
	return rc;
}

static int index_segment(struct vs_store *s, struct collection *shadow, struct segment *seg, uint64_t *bad)
{
	int rc = segment_has_files(seg) ? segment_verify_size(seg) : 0;

	if (!rc && segment_has_files(seg) && !seg->mapped[SEGMENT_ROWS])
		rc = segment_map(seg);

	for (uint32_t slot = 0; slot < seg->count && !rc;) {
		unsigned lost = engine_read_lock(s);

		for (uint32_t i = 0; i < LOAD_ROWS && slot < seg->count && !rc; i++, slot++) {
			rc = collection_index_row(shadow, seg, slot);
			*bad += rc == -EBADMSG;
			rc = rc == -EBADMSG ? 0 : rc;
		}
		rc = engine_read_unlock(s, lost, rc);
	}
	return rc;
}

int clone_index(struct vs_store *s, struct collection *c, uint64_t *bad)
{
	int rc = 0;

	*bad = 0;
	for (uint32_t i = 0; i < c->segment_count && !rc; i++)
		rc = index_segment(s, c, c->segments[i], bad);
	return rc;
}

/* Puts what was built in its place. */
static void install(struct vs_store *s, struct collection *shadow)
{
	struct collection *c;

	pthread_rwlock_wrlock(&s->lock);
	c = collection_get(&s->table, shadow->id);
	if (c && c->lazy) {
		c->index = shadow->index;
		c->entries = shadow->entries;
		c->count = shadow->count;
		c->name_bytes = shadow->name_bytes;
		c->line_bytes = shadow->line_bytes;
		c->deleted = shadow->deleted;
		c->lazy = false;
		id_index_init(&shadow->index);
		entry_map_init(&shadow->entries);
	}
	pthread_rwlock_unlock(&s->lock);
}

/* Of one that has been dropped meanwhile nothing that was read counts: its files have gone, or are others' to
 * change. */
static bool is_dropped(struct vs_store *s, const struct collection *shadow)
{
	bool gone;

	pthread_rwlock_rdlock(&s->lock);
	gone = !collection_get(&s->table, shadow->id);
	pthread_rwlock_unlock(&s->lock);
	return gone;
}

static void set_damaged(struct vs_store *s, const struct collection *shadow, int rc)
{
	struct collection *c;

	pthread_rwlock_wrlock(&s->lock);
	c = collection_get(&s->table, shadow->id);
	if (c)
		c->damaged = true;
	pthread_rwlock_unlock(&s->lock);
	engine_report(s, VS_ERROR, "snapshot %s: damaged: segment files: %s; run vecfs check", shadow->name,
		      strerror(-rc));
}

static int load(struct vs_store *s, uint32_t collection)
{
	struct collection *shadow;
	uint64_t bad = 0;
	bool unlinked;
	int rc = begin(s, collection, &shadow, &unlinked);

	if (!rc && unlinked) {
		rc = commit_wait_applied(s);
		if (!rc)
			rc = begin(s, collection, &shadow, &unlinked);
		if (!rc && unlinked)
			rc = -EIO;
	}
	if (rc || !shadow)
		return rc;
	rc = clone_index(s, shadow, &bad);
	if (is_dropped(s, shadow))
		rc = -ESRCH;
	if (!rc && bad)
		engine_report(s, VS_ERROR, "snapshot %s: %llu damaged rows; run vecfs check", shadow->name,
			      (unsigned long long)bad);
	if (rc)
		forget_marks(shadow);
	if (!rc)
		install(s, shadow);
	else if (rc == -EUCLEAN || rc == -ENOENT) {
		set_damaged(s, shadow, rc);
		rc = -EIO;
	}
	shadow_free(s, shadow);
	return rc == -ESRCH ? -ENOENT : rc;
}

int clone_load(struct vs_store *s, uint32_t collection)
{
	const struct collection *c;
	bool ready;
	int rc;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, collection);
	ready = c && !c->damaged && !c->lazy;
	pthread_rwlock_unlock(&s->lock);
	if (ready)
		return 0;
	pthread_mutex_lock(&s->load_mutex);
	rc = load(s, collection);
	pthread_mutex_unlock(&s->load_mutex);
	return rc;
}
