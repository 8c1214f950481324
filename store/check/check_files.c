/* SPDX-License-Identifier: Apache-2.0 */
/* check_files - what lies in the store's directories that does not belong there. */
#include "store/check/check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/view/code_file.h"
#include "store/view/views.h"

bool check_file_exists(struct io *io, const char *path)
{
	int fd = io->ops->open(io, path, O_RDONLY, 0);

	if (fd >= 0)
		io->ops->close(io, fd);
	return fd >= 0;
}

bool check_number_parse(const char *text, size_t len, uint32_t *out)
{
	uint64_t n = 0;

	if (!len || len > 10 || (len > 1 && *text == '0'))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(text[i] - '0');
	}
	*out = (uint32_t)n;
	return n < UINT32_MAX;
}

bool check_file_parse(const char *name, uint32_t *n, enum segment_column *column)
{
	size_t len = strcspn(name, ".");

	*column = name[len] ? column_of_suffix(name + len + 1) : SEGMENT_COLUMNS;
	return *column != SEGMENT_COLUMNS && check_number_parse(name, len, n);
}

struct listing {
	struct check *k;
	struct collection *c; /* whose directory it is */
	check_unknown_file_fn unknown_file;
	void *arg;
};

static int file_of_root(void *arg, const char *name)
{
	static const char *const ours[] = {"lock",      "standby",     "catalog.0",
					   "catalog.1", "collections", "lost+found"};
	const struct listing *l = arg;

	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
		if (!strcmp(name, ours[i]))
			return 0;
	/*
	 * A crash just after a clean catalog was written leaves a log that nobody needs; another one, a
	 * snapshot's copies.
	 */
	if (!strcmp(name, "log.0") || !strcmp(name, "log.1") || !strncmp(name, "spill.", 6))
		return 0;
	return l->unknown_file(l->arg, name, false);
}

static int file_of_collections(void *arg, const char *name)
{
	const struct listing *l = arg;
	char path[SEGMENT_PATH_MAX + NAME_MAX];
	uint32_t id;

	bool ours = check_number_parse(name, strlen(name), &id);

	if (ours && collection_get(&l->k->s->table, id))
		return 0;
	snprintf(path, sizeof path, "collections/%s", name);
	return l->unknown_file(l->arg, path, ours && id < l->k->s->next_collection);
}

/* A segment's file, of one that is not there any more; or a temporary name of ours. */
static bool is_left(const char *name)
{
	enum segment_column column;
	uint32_t n;
	size_t digits = strspn(name, "0123456789");

	return check_file_parse(name, &n, &column) || !strcmp(name, "index.new") ||
	       !strncmp(name, "upload.", 7) || (digits && !strcmp(name + digits, ".rows.copy")) ||
	       (digits && name[digits] == '.' && column_is_handed_over(name + digits + 1));
}

static int file_of_collection(void *arg, const char *name)
{
	const struct listing *l = arg;
	char path[SEGMENT_PATH_MAX + NAME_MAX];
	struct code_file_name code_file;
	enum segment_column column;
	bool left = false;
	uint32_t n;

	if (check_file_parse(name, &n, &column) && n < l->c->segment_count)
		return 0;
	/* An image that is not in use was left by a close that had no space for another. */
	if (!strcmp(name, "index") || (l->c->parent && !strncmp(name, "upload.", 7)))
		return 0;
	code_file_parse(name, &code_file);
	if (code_file.kind != CODE_FILE_OTHER) {
		left = views_file_is_left(l->c, name);
		if (!left)
			return 0;
	}
	snprintf(path, sizeof path, "collections/%u/%s", l->c->id, name);
	return l->unknown_file(l->arg, path, left || is_left(name));
}

static int list(const struct listing *l, const char *path, io_name_fn fn)
{
	int rc = l->k->io->ops->list(l->k->io, path, fn, (void *)(uintptr_t)l);

	if (rc != -ENOENT && rc != -ENOTDIR)
		return rc;
	if (rc == -ENOENT && l->c && !l->c->segment_count)
		return 0; /* it has never had a file */
	check_found(l->k, "%s: missing", path);
	return 0;
}

int check_files(struct check *k, check_unknown_file_fn unknown_file, void *arg)
{
	struct listing l = {.k = k, .unknown_file = unknown_file, .arg = arg};
	int rc = list(&l, ".", file_of_root);

	if (!rc)
		rc = list(&l, "collections", file_of_collections);
	for (uint32_t i = 0; i < k->s->table.count && !rc; i++) {
		char path[SEGMENT_PATH_MAX];

		l.c = k->s->table.all[i];
		collection_path(path, l.c->id, NULL);
		rc = list(&l, path, file_of_collection);
	}
	return rc;
}
