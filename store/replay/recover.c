/* SPDX-License-Identifier: Apache-2.0 */
#include "store/replay/recover.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "store/catalog/catalog.h"
#include "store/clone/clone.h"
#include "store/engine.h"
#include "store/replay/apply.h"
#include "store/replay/checkpoint.h"
#include "store/replay/convert_v1.h"
#include "store/replay/in_memory.h"
#include "store/replay/load.h"
#include "store/replay/orphans.h"
#include "store/replay/prefetch.h"
#include "store/replay/tables.h"

/*
 * Opens a collection's files, and creates what only the log knew. Files that are not as they should be make a
 * damaged collection; any other error ends the recovery, for the log must stay until its records are where
 * they belong. Without segments there may be no directory, either: it was made ahead of them, and is durable
 * with them.
 */
static int open_files(struct vs_store *s, struct collection *c)
{
	char path[SEGMENT_PATH_MAX];
	int rc;

	if (!c->segment_count)
		return 0;
	collection_path(path, c->id, NULL);
	rc = s->io->ops->mkdir(s->io, path, 0700);
	c->directory_changed = true;
	if (rc >= 0 || rc == -EEXIST)
		rc = load_segments(s, c, true);
	if (rc != -EUCLEAN && rc != -ENOENT)
		return rc;
	load_damaged(s, c, "segment files", rc);
	return 0;
}

/* Opens a clone's files, once it has them. */
static int open_clone(struct vs_store *s, uint32_t collection)
{
	struct collection *c = collection_get(&s->table, collection);

	return c && !c->frozen ? open_files(s, c) : 0;
}

static int write_frame(void *arg, const struct frame *frame, const void *payload)
{
	const char *p = payload, *start = p, *end = p + frame->payload_bytes;
	int rc = 0;

	while (p < end && !rc) {
		const struct record *r = (const struct record *)(const void *)p;

		p += r->bytes;
		if (r->type != RECORD_CLONE)
			continue;
		rc = apply_records(arg, start, (size_t)(p - start));
		if (!rc)
			rc = open_clone(arg, r->collection);
		start = p;
	}
	return rc ? rc : apply_records(arg, start, (size_t)(end - start));
}

static int open_all(struct vs_store *s)
{
	int rc = 0;

	prefetch_files(s);
	for (uint32_t i = 0; i < s->table.count && !rc; i++) {
		struct collection *c = s->table.all[i];

		c->index_stamp = 0;
		if (!c->frozen && !c->unlinked)
			rc = open_files(s, c);
	}
	s->directory_changed = true;
	return rc;
}

/* The recovered state becomes a catalog of its own; the log that led to it is not needed any more. */
static int finish(struct vs_store *s, const struct log_position *end)
{
	int rc = checkpoint_sync(s);

	/* An epoch that no frame has had. */
	s->position = (struct log_position){end->epoch + 2, end->seq, end->prev, s->position.salt + 1};
	if (rc >= 0)
		rc = catalog_open_room(s);
	if (rc >= 0)
		rc = catalog_update(s, 0);
	if (rc >= 0)
		log_empty(s->io);
	return rc < 0 ? rc : 0;
}

/* Brings the store to our format version. From then on it is one that was not closed, with an empty log. */
static int convert(struct vs_store *s, bool *clean, char *why, size_t why_size)
{
	struct log_position start = s->position, end = start;
	int rc = *clean ? 0 : tables_replay(s, &end, NULL, why, why_size);

	if (!rc)
		rc = convert_store(s, &start, &end, why, why_size);
	*clean = false;
	s->version = FORMAT_VERSION;
	return rc;
}

/* Both passes; *at: from where the log begins to where it ends. */
static int replay_log(struct vs_store *s, struct log_position *at, char *why, size_t why_size)
{
	struct log_position again = *at;
	int rc = tables_replay(s, at, NULL, why, why_size);

	if (!rc)
		rc = orphans_unlink_shared(s);
	if (!rc)
		rc = open_all(s);
	s->replaying = true;
	if (!rc)
		rc = log_scan(s->io, &again, false, write_frame, s, why, why_size);
	s->replaying = false;
	return rc;
}

/* What files and log have been brought to is looked at, and indexed. */
static int load_replayed(struct vs_store *s, struct collection *c)
{
	int rc = c->frozen ? load_later(s, c) : load_close_sources(s, c);

	if (rc || c->frozen)
		return rc;
	collection_trim_segments(&s->table, c);
	if (!c->damaged && (rc = load_verify_sizes(c)) == -EUCLEAN)
		load_damaged(s, c, "segment files", rc);
	if (!c->damaged && !rc)
		rc = load_index(s, c);
	return c->damaged ? 0 : rc;
}

static int recover_clean(struct vs_store *s)
{
	struct prefetch *ahead = prefetch_begin(s, true);
	int rc = 0;

	for (uint32_t i = 0; i < s->table.count && !rc; i++)
		rc = load_collection(s, s->table.all[i]);
	prefetch_end(ahead);
	return rc;
}

static int recover_dirty(struct vs_store *s, char *why, size_t why_size)
{
	struct prefetch *ahead = prefetch_begin(s, false);
	struct log_position at = s->position;
	int rc = replay_log(s, &at, why, why_size);

	for (uint32_t i = 0; i < s->table.count && !rc; i++)
		rc = load_replayed(s, s->table.all[i]);
	prefetch_end(ahead);
	if (!rc)
		rc = finish(s, &at);
	if (rc)
		return rc;
	orphans_collect(s);
	return orphans_sync(s);
}

/* Loads the newest catalog: whether the store was closed cleanly, and whether its conversion is to be
 * finished. */
static int read_catalog(struct vs_store *s, bool *clean, bool *converted, char *why, size_t why_size)
{
	struct catalog_image image;
	bool valid[2];
	int rc = catalog_read(s->io, &image, valid);

	if (rc == -EUCLEAN)
		snprintf(why, why_size,
			 image.head ? "the catalog contradicts itself" : "both catalogs are damaged");
	if (rc == -EPROTO)
		snprintf(why, why_size, "of format version %u, which is newer than this program, whose is %u",
			 image.version, FORMAT_VERSION);
	if (rc && rc != -ENOENT && !*why)
		snprintf(why, why_size, "cannot sync the catalog, or read it: %s", strerror(-rc));
	if (rc) {
		catalog_free(&image);
		return rc;
	}
	*clean = image.head->flags & CATALOG_CLEAN;
	if (*clean && log_exists(s->io)) {
		*clean = false;
		/* Its name was perhaps not durable yet, and the next catalog is written only after it is. */
		rc = s->read_only ? 0 : s->io->ops->syncdir(s->io, ".");
		rc = rc < 0 ? rc : 0;
	}
	*converted = image.head->flags & CATALOG_CONVERTED;
	s->version = image.version;
	if (s->read_only && (*converted || s->version != FORMAT_VERSION)) {
		snprintf(why, why_size, "of format version 1%s: open it once for writing, which converts it",
			 *converted ? ", in part" : "");
		rc = -EPROTO;
	}
	if (!rc)
		rc = catalog_load(s, &image, why, why_size);
	catalog_free(&image);
	return rc;
}

int recover(struct vs_store *s, char *why, size_t why_size)
{
	bool clean, converted;
	int rc = read_catalog(s, &clean, &converted, why, why_size);

	if (!rc)
		rc = s->read_only ? 0 : catalog_open_room(s);
	if (rc)
		return rc;
	if (!s->read_only)
		orphans_collect_spills(s);
	if (converted)
		rc = convert_finish(s);
	else if (s->version != FORMAT_VERSION)
		rc = convert(s, &clean, why, why_size);
	if (rc)
		return rc;
	if (!clean && s->read_only)
		return in_memory_replay(s, why, why_size);
	s->finalized = clean;
	rc = clean ? recover_clean(s) : recover_dirty(s, why, why_size);
	if (!rc && !s->read_only)
		rc = clone_find_shares(s);
	return rc == -ENOENT ? -EIO : rc; /* there is a store, whatever is missing of it */
}
