/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair_places - files that have changed places: each column that is not what it should be is looked for
 * among the others of that kind and among the unknown_files. Strangers that are nothing of ours go to
 * lost+found.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/check/check.h"

struct place {
	char path[SEGMENT_PATH_MAX + 256];
	uint32_t collection; /* for whom the file is, once that is known; 0: nobody */
	uint32_t segment;
	enum segment_column column;
};

struct places {
	struct place *all;
	size_t count;
};

static int places_add(struct places *ps, const char *path)
{
	struct place *p = realloc(ps->all, (ps->count + 1) * sizeof *p);

	if (!p)
		return -ENOMEM;
	ps->all = p;
	p += ps->count++;
	*p = (struct place){0};
	snprintf(p->path, sizeof p->path, "%s", path);
	return 0;
}

static int add_unknown_file(void *arg, const char *path, bool left)
{
	(void)left;
	return places_add(arg, path);
}

/* What is only left over goes when the store is opened next. */
static int add_foreign(void *arg, const char *path, bool left)
{
	return left ? 0 : places_add(arg, path);
}

/* A column that is not what it should be is a candidate for other places, if it exists at all. */
static int add_suspect(struct places *ps, struct check_collection *cc, uint32_t i, enum segment_column column)
{
	char path[SEGMENT_PATH_MAX];

	segment_path(path, cc->c->id, i, column);
	return check_file_exists(cc->k->io, path) ? places_add(ps, path) : 0;
}

/* Looks for a file that is this column. */
static int find_owner(struct places *ps, struct check_collection *cc, uint32_t i, enum segment_column column)
{
	bool matches = false;
	int rc = 0;

	for (size_t k = 0; k < ps->count && !rc && !matches; k++) {
		struct place *p = &ps->all[k];

		if (!p->collection)
			rc = check_column_matches(cc, i, column, p->path, &matches);
		if (!rc && matches) {
			p->collection = cc->c->id;
			p->segment = i;
			p->column = column;
		}
	}
	return rc;
}

typedef int (*suspect_fn)(struct places *ps, struct check_collection *cc, uint32_t i,
			  enum segment_column column);

/* Whether a column is not at its place. Rows come before vectors, whose sums they hold. */
static int is_suspect(struct check_collection *cc, uint32_t i, enum segment_column column, bool *out)
{
	char path[SEGMENT_PATH_MAX];
	bool matches;
	int rc;

	*out = cc->segments[i].suspect[column];
	if (column != SEGMENT_VECTORS || !cc->segments[i].count)
		return 0;
	segment_path(path, cc->c->id, i, column);
	rc = check_column_matches(cc, i, column, path, &matches);
	*out = !matches;
	return rc;
}

static int each_suspect(struct check *k, struct places *ps, bool vectors, suspect_fn fn)
{
	struct check probe = {.io = k->io, .s = k->s}; /* looks only, and says nothing */
	int rc = 0;

	for (uint32_t n = 0; n < k->s->table.count && !rc; n++) {
		struct check_collection cc;

		rc = check_collection_open(&probe, k->s->table.all[n], &cc);
		for (uint32_t i = 0; i < cc.c->segment_count && !rc; i++)
			for (enum segment_column column = 0; column < SEGMENT_COLUMNS && !rc; column++) {
				bool suspect = false;

				if ((column == SEGMENT_VECTORS) == vectors)
					rc = is_suspect(&cc, i, column, &suspect);
				if (!rc && suspect)
					rc = fn(ps, &cc, i, column);
			}
		check_collection_close(&cc);
	}
	return rc;
}

/* By way of names of their own, since two files may have to change places. */
static int move_all(struct check *k, const struct places *ps)
{
	const struct io_ops *ops = k->io->ops;
	char between[SEGMENT_PATH_MAX], path[SEGMENT_PATH_MAX];
	int rc = 0;

	for (size_t i = 0; i < ps->count && rc >= 0; i++) {
		snprintf(between, sizeof between, "collections/moving.%zu", i);
		if (ps->all[i].collection)
			rc = ops->rename(k->io, ps->all[i].path, between);
	}
	for (size_t i = 0; i < ps->count && rc >= 0; i++) {
		const struct place *p = &ps->all[i];

		if (!p->collection)
			continue;
		snprintf(between, sizeof between, "collections/moving.%zu", i);
		segment_path(path, p->collection, p->segment, p->column);
		if (check_file_exists(k->io, path))
			rc = repair_put_aside(k, path);
		if (!rc)
			rc = ops->rename(k->io, between, path);
		if (rc >= 0 && strcmp(p->path, path))
			check_say(k, "%s: was %s; put back", path, p->path);
	}
	return rc < 0 ? rc : 0;
}

static int restore(struct check *k, bool vectors)
{
	struct places ps = {0};
	int rc = check_files(k, add_unknown_file, &ps);

	if (!rc)
		rc = each_suspect(k, &ps, vectors, add_suspect);
	if (!rc)
		rc = each_suspect(k, &ps, vectors, find_owner);
	if (!rc)
		rc = move_all(k, &ps);
	free(ps.all);
	return rc;
}

int repair_places(struct check *k)
{
	struct places unknown_files = {0};
	int rc = restore(k, false);

	if (!rc)
		rc = restore(k, true);
	if (!rc)
		rc = check_files(k, add_foreign, &unknown_files);
	for (size_t i = 0; i < unknown_files.count && !rc; i++)
		rc = repair_put_aside(k, unknown_files.all[i].path);
	free(unknown_files.all);
	return rc;
}
