/* SPDX-License-Identifier: Apache-2.0 */
#include "store/replay/checkpoint.h"

#include "store/catalog/catalog.h"
#include "store/engine.h"

#define SYNC_DIRECTORIES 64u /* with that many changed one call for all takes less time */

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

/*
 * Brings the headers of a collection's segments up to date. Those of a snapshot had their last ones before
 * they were linked, and whoever goes back to it may link them again at any time.
 */
static int write_headers(struct vs_store *s, struct collection *c)
{
	bool end = c->frozen;
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

int checkpoint_sync(struct vs_store *s)
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
int checkpoint_write(struct vs_store *s, struct group *g)
{
	int rc = checkpoint_sync(s);

	if (rc >= 0)
		rc = catalog_write(s, &g->catalog);
	if (rc < 0)
		return rc;
	s->counters.checkpoints++;
	return 0;
}
