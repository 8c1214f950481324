/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 2048

static void say(struct check *k, const char *format, va_list args)
{
	char line[LINE_MAX_BYTES];

	vsnprintf(line, sizeof line, format, args);
	if (k->report)
		k->report(k->arg, line);
}

void check_found(struct check *k, const char *format, ...)
{
	va_list args;

	k->found++;
	va_start(args, format);
	say(k, format, args);
	va_end(args);
}

void check_say(struct check *k, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(k, format, args);
	va_end(args);
}

void check_title(const struct check *k, const struct collection *c, char title[CHECK_TITLE_MAX])
{
	const struct collection *up = collection_get(&k->s->table, c->parent);

	snprintf(title, CHECK_TITLE_MAX, "%s%s%s", up ? up->name : "", up ? "/.vecfs/tx/" : "", c->name);
}

/* ------------------------------------------------------------------ a collection */

int check_collection_open(struct check *k, struct collection *c, struct check_collection *out)
{
	int rc = 0;

	*out = (struct check_collection){.k = k, .c = c};
	check_title(k, c, out->title);
	out->segments = calloc(c->segment_count + 1, sizeof *out->segments);
	if (!out->segments)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->segment_count && !rc; i++)
		rc = check_segment_open(out, i);
	return rc;
}

void check_collection_close(struct check_collection *cc)
{
	free(cc->segments);
	cc->segments = NULL;
}

/* Also takes its files and memory back: no later part needs them, and there may be many collections. */
static int check_collection(struct check *k, struct collection *c)
{
	struct check_collection cc;
	int rc = check_collection_open(k, c, &cc);

	if (!rc)
		rc = check_rows(&cc);
	check_collection_close(&cc);
	return rc;
}

/* ------------------------------------------------------------------ a store */

/* What the last holder left in the lock file: nothing, or its pid if it was killed. */
static int check_lock_file(struct check *k)
{
	char text[32], *end;
	ssize_t n;
	int fd = k->io->ops->open(k->io, "lock", O_RDONLY, 0);

	if (fd == -ENOENT) {
		check_found(k, "lock: missing");
		return 0;
	}
	if (fd < 0)
		return fd;
	n = k->io->ops->pread(k->io, fd, text, sizeof text - 1, 0);
	k->io->ops->close(k->io, fd);
	if (n < 0)
		return (int)n;
	text[n] = 0;
	if (n && (strtol(text, &end, 10) <= 0 || strcmp(end, "\n")))
		check_found(k, "lock: holds something that is no process number");
	return 0;
}

static struct vs_store *tables_new(struct io *io)
{
	struct vs_store *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->io = io;
	s->lock_fd = -1;
	return s;
}

static void tables_free(struct vs_store *s)
{
	while (s->table.count) {
		struct collection *c = s->table.all[s->table.count - 1];

		collection_take(&s->table, c);
		collection_free(s->io, c);
	}
	collection_table_free(&s->table);
	free(s->perms);
	engine_unlock(s);
	free(s);
}

/*
 * Recovers a store that was not closed, the way a mount would, and closes it: the log is part of the store, and what
 * it says comes before any check. *done is false, and what is wrong has been said, if that is not possible.
 */
static int replay(struct check *k, bool *done)
{
	struct vs_options options = {.io = k->io};
	struct vs_store *s;
	char why[256];
	int rc = vs_open(NULL, &options, &s, why, sizeof why);

	*done = !rc;
	if (rc == -EUCLEAN) {
		check_found(k, "%s", why);
		return 0;
	}
	if (rc) {
		check_say(k, "not closed, and cannot be recovered: %s", why);
		return rc;
	}
	rc = vs_close(s);
	if (!rc)
		check_say(k, "was not closed: the log has been replayed");
	return rc;
}

static int check_tables(struct check *k)
{
	int rc = check_files(k);

	for (uint32_t i = 0; i < k->s->table.count && !rc; i++)
		rc = check_collection(k, k->s->table.all[i]);
	return rc;
}

/* Begins a pass: the lock, an empty set of tables. */
int check_begin(struct check *k)
{
	char why[128] = "";
	int rc;

	k->s = tables_new(k->io);
	if (!k->s)
		return -ENOMEM;
	k->s->read_only = !k->mend;
	rc = engine_lock(k->s, why, sizeof why);
	if (rc == -EBUSY)
		check_say(k, "%s", why);
	return rc;
}

void check_end(struct check *k)
{
	if (k->s)
		tables_free(k->s);
	k->s = NULL;
}

int check_pass(struct check *k)
{
	enum catalog_state state = CATALOG_UNUSABLE;
	uint64_t found = k->found;
	bool done = false;
	int rc = check_lock_file(k);

	if (!rc)
		rc = check_begin(k);
	if (!rc)
		rc = check_catalog(k, &state);
	if (!rc && state == CATALOG_USABLE)
		rc = check_tables(k);
	check_end(k);
	/* Nothing is changed where something is wrong, unless a repair is wanted. */
	if (rc || state != CATALOG_UNCLOSED || k->found != found)
		return rc;
	rc = replay(k, &done);
	return rc || !done ? rc : check_pass(k);
}

int vs_check(const char *dir, struct io *io, bool repair, void (*report)(void *arg, const char *line), void *arg)
{
	struct check k = {.io = io, .report = report, .arg = arg};
	int rc = io ? 0 : io_new_real(dir, false, &k.io);

	if (!rc)
		rc = check_pass(&k);
	(void)repair;
	if (rc && rc != -EBUSY)
		check_say(&k, "cannot be checked: %s", strerror(-rc));
	if (!io)
		io_free_real(k.io);
	if (rc)
		return VS_CHECK_FAILED;
	return k.found ? VS_CHECK_DAMAGED : VS_CHECK_CLEAN;
}
