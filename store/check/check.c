/* SPDX-License-Identifier: Apache-2.0 */
#include "store/check/check.h"
#include "store/base/checksum.h"

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
	if (k->mend)
		return;
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

int check_stop(struct check *k, int rc, const char *format, ...)
{
	va_list args;

	k->stopped = true;
	va_start(args, format);
	say(k, format, args);
	va_end(args);
	return rc;
}

void check_title(const struct check *k, const struct collection *c, char title[CHECK_TITLE_MAX])
{
	const struct collection *up = collection_get(&k->s->table, c->parent);

	snprintf(title, CHECK_TITLE_MAX, "%s%s%s", up ? up->name : "",
		 !up         ? ""
		 : c->frozen ? "/.vecfs/snap/"
			     : "/.vecfs/tx/",
		 c->name);
}

const char *check_printable(char out[VS_NAME_MAX + 1], const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (unsigned char)name[i] < ' ' || name[i] == 127 ? '?' : name[i];
	out[len] = 0;
	return out;
}

/* ------------------------------------------------------------------ a collection */

static int open_segment(struct check_collection *cc, uint32_t i, void *arg)
{
	(void)arg;
	return check_segment_open(cc, i);
}

int check_collection_open(struct check *k, struct collection *c, struct check_collection *out)
{
	*out = (struct check_collection){.k = k, .c = c};
	check_title(k, c, out->title);
	out->segments = calloc(c->segment_count + 1, sizeof *out->segments);
	return out->segments ? check_each_segment(out, open_segment, NULL) : -ENOMEM;
}

/* Puts the table's placeholders back: no later part needs the files, and there may be many. */
void check_collection_close(struct check_collection *cc)
{
	struct collection *c = cc->c;

	for (uint32_t i = 0; cc->segments && i < c->segment_count; i++) {
		struct segment *old = c->segments[i];
		struct segment *seg =
			segment_placeholder(i, cc->segments[i].count, cc->segments[i].name_heap_end);

		if (!seg)
			continue; /* it stays open, that is all */
		memcpy(seg->digests, old->digests, sizeof seg->digests);
		segment_put(cc->k->io, old);
		c->segments[i] = seg;
	}
	id_index_free(&c->index);
	entry_map_free(&c->entries);
	free(cc->segments);
}

static int check_collection(struct check *k, struct collection *c)
{
	struct check_collection cc;
	int rc = check_collection_open(k, c, &cc);

	if (!rc)
		rc = check_rows(&cc);
	if (!rc)
		rc = check_views(&cc);
	if (!rc && c->parent && !k->mend)
		rc = check_upload(&cc);
	check_collection_close(&cc);
	return rc;
}

/* ------------------------------------------------------------------ a store */

/* Two lines without anything, the second one of blanks; or not even these. */
static bool is_blank(const char *text, size_t n)
{
	return !n || (n > 1 && text[0] == '\n' && text[n - 1] == '\n' && strspn(text + 1, " ") == n - 2);
}

/* What the last holder left in the lock file: blanks, or its pid, and perhaps the name of its machine, if it
 * was killed. */
static int check_lock_file(struct check *k)
{
	char text[128], *end;
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
	if (!is_blank(text, (size_t)n) &&
	    (strtol(text, &end, 10) <= 0 || *end != '\n' || text[n - 1] != '\n'))
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
	pthread_rwlock_init(&s->lock, NULL);
	return s;
}

static void tables_free(struct vs_store *s)
{
	collection_table_free(&s->table, s->io);
	free(s->perms);
	free(s->perm_next);
	engine_unlock(s);
	pthread_rwlock_destroy(&s->lock);
	free(s);
}

/* Opens a store that was not closed; *s is NULL if there was damage, which is then told. */
static int open_not_closed(struct check *k, bool read_only, struct vs_store **s)
{
	struct vs_options options = {.io = k->io, .read_only = read_only};
	char why[256];
	int rc = vs_open(NULL, &options, s, why, sizeof why);

	if (!rc)
		return 0;
	*s = NULL;
	if (rc != -EUCLEAN)
		return check_stop(k, rc, "not closed, and cannot be %s: %s", read_only ? "read" : "recovered",
				  why);
	check_found(k, "%s", why);
	return 0;
}

int check_recover(struct check *k, bool *done)
{
	struct vs_store *s;
	int rc = open_not_closed(k, false, &s);

	*done = s != NULL;
	return s ? vs_close(s) : rc;
}

static int check_recovered_row(struct check *k, const struct collection *c, uint32_t row, void *buf)
{
	char title[CHECK_TITLE_MAX], id[VS_NAME_MAX + 1];
	const char *name;
	const struct row *r = collection_row(c, row, &name);
	int rc;

	check_title(k, c, title);
	if (!r) {
		check_found(k, "%s: segment %u, row %u: metadata or id damaged (checksum)", title,
			    row >> c->shift, collection_slot(c, row));
		return 0;
	}
	if (!r->name_len)
		return 0; /* deleted */
	rc = collection_bytes(c, row, buf);
	if (rc && rc != -EIO && rc != -ENODATA)
		return rc;
	if (rc || sum_data(buf, c->row_bytes) != r->data_sum)
		check_found(k, "%s/%s: vector %s", title, check_printable(id, name, r->name_len),
			    rc ? "cannot be read" : "damaged (checksum)");
	return 0;
}

static int check_recovered_collection(struct check *k, const struct collection *c)
{
	void *buf = malloc(c->row_bytes + 1);
	char title[CHECK_TITLE_MAX];
	int rc = buf ? 0 : -ENOMEM;

	check_title(k, c, title);
	if (c->damaged)
		check_found(k, "%s: its files cannot be used", title);
	for (uint32_t i = 0; i < c->segment_count && !c->damaged; i++)
		for (uint32_t slot = 0; slot < c->segments[i]->count && !rc; slot++)
			rc = check_recovered_row(k, c, i << c->shift | slot, buf);
	free(buf);
	return rc;
}

int check_recovered(struct check *k, bool *done)
{
	struct vs_store *s;
	int rc = open_not_closed(k, true, &s);

	*done = s != NULL;
	if (!s)
		return rc;
	k->s = s;
	for (uint32_t i = 0; i < s->table.count && !rc; i++)
		rc = check_recovered_collection(k, s->table.all[i]);
	k->s = NULL;
	vs_close(s);
	return rc;
}

int check_collections(struct check *k)
{
	int rc = 0;

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
	k->s->read_only = k->io->read_only = !k->mend;
	k->s->version = FORMAT_VERSION;
	rc = engine_lock(k->s, why, sizeof why);
	return rc == -EBUSY ? check_stop(k, rc, "%s", why) : rc;
}

void check_end(struct check *k)
{
	if (k->s)
		tables_free(k->s);
	k->s = NULL;
}

static int unknown_file(void *arg, const char *path, bool left)
{
	if (left)
		check_say(arg, "%s: left over, not in use", path);
	else
		check_found(arg, "%s: does not belong here", path);
	return 0;
}

static int name_ignored(void *arg, const char *name)
{
	(void)arg;
	(void)name;
	return 0;
}

/* Nothing is to be written into a directory that only looks like a store to who gave its name. */
static int check_is_store(struct check *k)
{
	if (check_file_exists(k->io, "catalog.0") || check_file_exists(k->io, "catalog.1") ||
	    !k->io->ops->list(k->io, "collections", name_ignored, NULL))
		return 0;
	return check_stop(k, -ENOENT, "not a vecfs store");
}

/* Whether the store lies where it can be changed, and by us. */
static bool can_write(struct check *k)
{
	int fd;

	k->io->read_only = false;
	fd = k->io->ops->open(k->io, "lock", O_RDWR, 0);
	if (fd >= 0)
		k->io->ops->close(k->io, fd);
	return fd >= 0 || fd == -ENOENT;
}

/* A store of an older format is what a mount makes of it, if that is allowed. */
static int convert(struct check *k)
{
	bool done;
	int rc;

	if (!k->repair)
		return check_stop(
			k, -EPROTO,
			"of format version 1: mount it, or run vecfs check --repair, and it is converted");
	rc = check_recover(k, &done);
	if (rc || !done)
		return rc;
	k->converted = true;
	check_say(k, "converted from format version 1 to %u", FORMAT_VERSION);
	return check_pass(k);
}

int check_pass(struct check *k)
{
	enum catalog_state state = CATALOG_UNUSABLE;
	uint64_t found = k->found;
	bool done = false;
	int rc = check_is_store(k);

	if (!rc)
		rc = check_lock_file(k);
	if (!rc)
		rc = check_begin(k);
	if (!rc)
		rc = check_catalog(k, &state);
	if (!rc && state == CATALOG_CLOSED)
		rc = check_files(k, unknown_file, k);
	if (!rc && state == CATALOG_CLOSED)
		rc = check_collections(k);
	check_end(k);
	if (!rc && state == CATALOG_OLD)
		return convert(k);
	/* Nothing is changed where something is wrong, unless a repair is wanted. */
	if (rc || state != CATALOG_UNCLOSED || k->found != found)
		return rc;
	rc = can_write(k) ? check_recover(k, &done) : check_recovered(k, &done);
	if (rc || !done)
		return rc;
	check_say(k, "was not closed: the log has been replayed%s", can_write(k) ? "" : " in memory");
	return can_write(k) ? check_pass(k) : 0;
}

/* Mends what the first pass has found, and looks again: what is left then is all that is reported. */
static int mend(struct check *k, enum vs_check_result *result)
{
	bool done;
	int rc = repair_store(k, &done);

	*result = VS_CHECK_DAMAGED;
	if (rc || !done)
		return rc;
	k->found = 0;
	rc = check_pass(k);
	if (!rc && !k->found)
		*result = VS_CHECK_REPAIRED;
	return rc;
}

int vs_check(const char *dir, struct io *io, bool repair, void (*report)(void *arg, const char *line),
	     void *arg)
{
	struct check k = {.io = io, .repair = repair, .report = report, .arg = arg};
	enum vs_check_result result = VS_CHECK_CLEAN;
	int rc = io ? 0 : io_new_real(dir, false, &k.io);

	/* What could not be read must not pass for damage, which a repair gives up. */
	if (!rc && !io)
		k.io->unguarded = true;
	if (!rc)
		rc = check_pass(&k);
	if (!rc && k.converted)
		result = VS_CHECK_REPAIRED;
	if (!rc && k.found)
		result = VS_CHECK_DAMAGED;
	if (!rc && k.found && repair)
		rc = mend(&k, &result);
	if (rc && !k.stopped)
		check_say(&k, "cannot be checked: %s", strerror(-rc));
	if (!io)
		io_free_real(k.io);
	return rc ? (int)VS_CHECK_FAILED : (int)result;
}
