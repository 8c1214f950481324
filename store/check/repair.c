/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair - what vs_check mends. Nothing is invented and nothing of unknown worth is deleted: rows that are
 * not as they were written become deleted rows, which the next opening fills with intact ones; strange files
 * go to lost+found.
 *
 * Before anything else is touched the catalog is marked as not closed. An interrupted repair therefore leaves
 * a store that mounts, and that the next repair takes up.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/check/check.h"

int repair_put_aside(struct check *k, const char *path)
{
	const struct io_ops *ops = k->io->ops;
	char aside[512], flat[256];
	int rc = ops->mkdir(k->io, "lost+found", 0700);

	if (rc < 0 && rc != -EEXIST)
		return rc;
	snprintf(flat, sizeof flat, "%s", path);
	for (char *p = flat; (p = strchr(p, '/')); p++)
		*p = '-';
	snprintf(aside, sizeof aside, "lost+found/%s", flat);
	for (unsigned n = 1; check_file_exists(k->io, aside); n++)
		snprintf(aside, sizeof aside, "lost+found/%s.%u", flat, n);
	rc = ops->rename(k->io, path, aside);
	if (rc >= 0)
		check_say(k, "%s: moved to %s", path, aside);
	return rc < 0 ? rc : 0;
}

/* Directories that are gone come back empty: their files are then created as missing ones are. */
static int make_directories(struct check *k)
{
	int rc = k->io->ops->mkdir(k->io, "collections", 0700);

	for (uint32_t i = 0; (rc >= 0 || rc == -EEXIST) && i < k->s->table.count; i++) {
		char path[SEGMENT_PATH_MAX];

		collection_path(path, k->s->table.all[i]->id, NULL);
		rc = k->io->ops->mkdir(k->io, path, 0700);
	}
	return rc < 0 && rc != -EEXIST ? rc : 0;
}

/* From here on no index file and no digest counts, and both slots of the catalog are written again. */
static int mark_unclosed(struct check *k)
{
	int rc = catalog_open_room(k->s);

	return rc < 0 ? rc : catalog_update(k->s, 0);
}

static int mend_collections(struct check *k)
{
	int rc = make_directories(k);

	if (!rc)
		rc = mark_unclosed(k);
	if (!rc)
		rc = repair_places(k);
	return rc ? rc : check_collections(k);
}

/* What the log holds comes into the files first, as far as it goes. */
static int close_unclosed(struct check *k, bool *done)
{
	int rc;

	check_end(k);
	rc = check_recover(k, done);
	for (int all = 0; all < 2 && !rc && !*done; all++) {
		rc = check_begin(k);
		if (!rc)
			rc = repair_log(k, all);
		check_end(k);
		if (!rc)
			rc = check_recover(k, done);
	}
	return rc;
}

/* One round: *again if the store was only brought to a state that the next round can begin with. */
static int repair_round(struct check *k, bool *again)
{
	enum catalog_state state = CATALOG_UNUSABLE;
	int rc = check_begin(k);

	*again = false;
	if (!rc)
		rc = check_catalog(k, &state);
	if (!rc && (state == CATALOG_UNCLOSED || state == CATALOG_OLD))
		return close_unclosed(k, again);
	if (!rc && state == CATALOG_UNUSABLE) {
		check_end(k);
		rc = check_begin(k);
		if (!rc)
			rc = repair_catalog(k);
	}
	if (!rc)
		rc = mend_collections(k);
	check_end(k);
	return rc;
}

int repair_store(struct check *k, bool *done)
{
	bool again;
	int rc;

	k->mend = true;
	*done = false;
	rc = repair_round(k, &again);
	if (!rc && again)
		rc = repair_round(k, &again);
	k->mend = false;
	if (!rc && !again)
		rc = check_recover(k, done);
	return rc;
}
