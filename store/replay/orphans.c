/* SPDX-License-Identifier: Apache-2.0 */
#include "store/replay/orphans.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/engine.h"
#include "store/replay/load.h"
#include "store/view/views.h"

/* Whether a file in a collection's directory is ours and not in use. After a recovery no index file is. */
static bool file_is_left(const struct collection *c, const char *name)
{
	char *end;
	unsigned long n = strtoul(name, &end, 10);

	if (!strncmp(name, "upload.", 7))
		return !c->parent;
	if (views_file_is_left(c, name))
		return true;
	if (!strcmp(name, "index") || !strcmp(name, "index.new"))
		return true;
	if (end == name)
		return false;
	if (*end == '.' && column_of_suffix(end + 1) != SEGMENT_COLUMNS)
		return n >= c->segment_count || !segment_has_files(c->segments[n]);
	return *end == '.' && (column_is_handed_over(end + 1) || !strcmp(end, ".rows.copy"));
}

/* What a directory that cannot be listed has is for the next recovery to find. */
static void orphans_list(struct vs_store *s, const char *path, struct io_names *list)
{
	int rc = io_names_read(s->io, path, list);

	if (rc < 0 && rc != -ENOENT)
		s->has_orphans = true;
}

static void orphans_collect_collection(struct vs_store *s, struct collection *c)
{
	char path[SEGMENT_PATH_MAX], file[SEGMENT_PATH_MAX + 256];
	struct io_names list;

	collection_path(path, c->id, NULL);
	orphans_list(s, path, &list);
	for (size_t i = 0; i < list.count; i++) {
		if (!file_is_left(c, list.names[i]))
			continue;
		snprintf(file, sizeof file, "%s/%s", path, list.names[i]);
		if (s->io->ops->unlink(s->io, file) < 0)
			s->has_orphans = true;
		c->directory_changed = true;
	}
	io_names_free(&list);
}

/* Removes the spill files of snapshots that were open in a crash. */
void orphans_collect_spills(struct vs_store *s)
{
	struct io_names list;

	io_names_read(s->io, ".", &list);
	for (size_t i = 0; i < list.count; i++)
		if (!strncmp(list.names[i], "spill.", 6))
			s->io->ops->unlink(s->io, list.names[i]);
	io_names_free(&list);
}

/* Removes what a crash left: files of changes that did not survive, or that did not need them any more. */
void orphans_collect(struct vs_store *s)
{
	struct io_names list;

	orphans_list(s, "collections", &list);
	for (size_t i = 0; i < list.count; i++) {
		char *end;
		uint32_t id = (uint32_t)strtoul(list.names[i], &end, 10);

		if (*end || collection_get(&s->table, id))
			continue;
		/* A snapshot that got the number must not find it. */
		if (id >= s->next_collection && id < VS_COLLECTION_MAX)
			s->next_collection = id + 1;
		if (collection_unlink_id(s->io, id))
			s->has_orphans = true;
		s->directory_changed = true;
	}
	io_names_free(&list);
	for (uint32_t i = 0; i < s->table.count; i++)
		if (!s->table.all[i]->damaged)
			orphans_collect_collection(s, s->table.all[i]);
}

static int unlink_left_segments(struct vs_store *s, const struct collection *c)
{
	int rc = load_is_wanted(s, c);
	bool wanted = rc > 0;

	for (uint32_t n = 0; n < c->segment_count && rc >= 0; n++)
		if (!c->segments[n]->count && !(wanted && c->segments[n]->cloned))
			rc = segment_unlink(s->io, c->id, n);
	return rc < 0 ? rc : 0;
}

/*
 * Names of shared files that nobody has any more go before anything is written: a file that has but one name
 * by what the log says must have but one. What is missing then is found by no orphans' collection.
 */
int orphans_unlink_shared(struct vs_store *s)
{
	struct io_names list;
	bool any = false;
	int rc = 0;

	for (uint32_t i = 0; i < s->table.count; i++)
		any |= s->table.all[i]->shares;
	if (!any)
		return 0;
	rc = io_names_read(s->io, "collections", &list);
	for (size_t i = 0; i < list.count && rc >= 0; i++) {
		char *end;
		uint32_t id = (uint32_t)strtoul(list.names[i], &end, 10);

		if (!*end && !collection_get(&s->table, id))
			rc = collection_unlink_id(s->io, id);
	}
	io_names_free(&list);
	for (uint32_t i = 0; i < s->table.count && rc >= 0; i++)
		if (s->table.all[i]->shares && !s->table.all[i]->frozen)
			rc = unlink_left_segments(s, s->table.all[i]);
	s->directory_changed = true;
	return rc < 0 ? rc : 0;
}

/* A collection, or segment of shared files, that gets the number of one that has gone must not find its files
 * after a crash. */
int orphans_sync(struct vs_store *s)
{
	int rc = s->directory_changed ? s->io->ops->syncdir(s->io, "collections") : 0;

	for (uint32_t i = 0; i < s->table.count && rc >= 0; i++) {
		const struct collection *c = s->table.all[i];
		char path[SEGMENT_PATH_MAX];

		if (!c->shares || !c->directory_changed)
			continue;
		collection_path(path, c->id, NULL);
		rc = s->has_orphans ? -EIO : s->io->ops->syncdir(s->io, path);
	}
	return rc < 0 ? rc : 0;
}
