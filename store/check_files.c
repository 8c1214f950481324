/* SPDX-License-Identifier: Apache-2.0 */
/* check_files - what lies in the store's directories that does not belong there. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool check_file_exists(struct io *io, const char *path)
{
	int fd = io->ops->open(io, path, O_RDONLY, 0);

	if (fd >= 0)
		io->ops->close(io, fd);
	return fd >= 0;
}

/* A number written the way we write it. */
static bool parse_number(const char *text, size_t len, uint32_t *out)
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
	static const char *const suffixes[SEGMENT_COLUMNS] = {".npy", ".rows", ".names"};
	size_t len = strcspn(name, ".");

	for (int i = 0; i < SEGMENT_COLUMNS; i++)
		if (!strcmp(name + len, suffixes[i])) {
			*column = i;
			return parse_number(name, len, n);
		}
	return false;
}

struct listing {
	struct check *k;
	struct collection *c;
};

static int file_of_root(void *arg, const char *name)
{
	static const char *const ours[] = {"lock", "catalog.0", "catalog.1", "collections", "lost+found"};
	struct check *k = arg;

	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
		if (!strcmp(name, ours[i]))
			return 0;
	/* A crash just after a clean catalog was written leaves a log that nobody needs; another one, a moment's copies. */
	if (!strcmp(name, "log.0") || !strcmp(name, "log.1") || !strncmp(name, "spill.", 6))
		check_say(k, "%s: not needed any more", name);
	else
		check_found(k, "%s: does not belong here", name);
	return 0;
}

static int file_of_collections(void *arg, const char *name)
{
	struct check *k = arg;
	uint32_t id;

	if (!parse_number(name, strlen(name), &id) || !collection_get(&k->s->table, id))
		check_found(k, "collections/%s: does not belong here", name);
	return 0;
}

static int file_of_collection(void *arg, const char *name)
{
	const struct listing *l = arg;
	enum segment_column column;
	uint32_t n;

	if (check_file_parse(name, &n, &column) && n < l->c->segment_count)
		return 0;
	if (!strcmp(name, "index")) {
		if (!l->c->index_stamp)
			check_say(l->k, "collections/%u/index: not in use", l->c->id);
		return 0;
	}
	if (l->c->parent && !strncmp(name, "upload.", 7))
		return 0;
	check_found(l->k, "collections/%u/%s: does not belong here", l->c->id, name);
	return 0;
}

int check_files(struct check *k)
{
	const struct io_ops *ops = k->io->ops;
	int rc = ops->list(k->io, ".", file_of_root, k);

	if (rc)
		return rc;
	rc = ops->list(k->io, "collections", file_of_collections, k);
	if (rc == -ENOENT || rc == -ENOTDIR)
		check_found(k, "collections: missing");
	for (uint32_t i = 0; i < k->s->table.count; i++) {
		struct listing l = {k, k->s->table.all[i]};
		char path[SEGMENT_PATH_MAX], title[CHECK_TITLE_MAX];

		collection_path(path, l.c->id, NULL);
		check_title(k, l.c, title);
		rc = ops->list(k->io, path, file_of_collection, &l);
		if (rc == -ENOENT || rc == -ENOTDIR)
			check_found(k, "%s: %s: missing", title, path);
		else if (rc)
			return rc;
	}
	return 0;
}
