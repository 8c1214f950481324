/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/row_lender.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/cli/keyfile.h"
#include "fs/cli/row_reader.h"
#include "fs/cli/row_source.h"
#include "fs/control/searched.h"
#include "store/snapshot/borrowed.h"

#define WHY_BYTES 512
#define COLLECTIONS "/collections/"

/* One that no thread is at. */
struct idle_reader {
	struct row_reader reader;
	struct idle_reader *next;
};

struct row_lender {
	char path[PATH_MAX], store[PATH_MAX];
	const char *view; /* "": none is asked for */
	struct row_source *source;
	pthread_mutex_t lock; /* of: */
	struct idle_reader *idle;
};

/* ------------------------------------------------------------------ what is lent */

static struct idle_reader *take_reader(struct row_lender *l)
{
	struct idle_reader *r;

	pthread_mutex_lock(&l->lock);
	r = l->idle;
	if (r)
		l->idle = r->next;
	pthread_mutex_unlock(&l->lock);
	if (r)
		return r;
	r = malloc(sizeof *r);
	if (!r)
		return NULL;
	row_reader_start(&r->reader, l->source);
	r->reader.is_direct = true; /* what has changed in the files does not fit its checksum */
	return r;
}

static void put_reader(struct row_lender *l, struct idle_reader *r)
{
	pthread_mutex_lock(&l->lock);
	r->next = l->idle;
	l->idle = r;
	pthread_mutex_unlock(&l->lock);
}

static int lend_vectors(void *arg, const struct vs_row_want *wants, uint32_t count, void *buf)
{
	struct row_lender *l = arg;
	struct idle_reader *r = take_reader(l);
	int rc = r ? row_reader_read(&r->reader, wants, count, buf) : -ENOMEM;

	if (r)
		put_reader(l, r);
	return rc;
}

static int lend_meta(void *arg, uint64_t first, uint64_t count, struct vs_row_meta *out)
{
	const struct row_lender *l = arg;

	return row_source_meta(l->source, first, count, out);
}

static int lend_ids(void *arg, void *buf, size_t size, uint64_t off)
{
	const struct row_lender *l = arg;

	return row_source_ids(l->source, buf, size, off);
}

static int lend_view(void *arg, const char *name, char *text, size_t size)
{
	const struct row_lender *l = arg;
	char dir[PATH_MAX + 64];
	struct keyfile *k = malloc(sizeof *k);
	const char *model, *state;
	int rc = k ? 0 : -ENOMEM;

	if ((size_t)snprintf(dir, sizeof dir, "%s/.vecfs/views/%s/.vecfs", l->path, name) >= sizeof dir)
		rc = -ENAMETOOLONG;
	if (!rc)
		rc = keyfile_load(dir, "info", k);
	model = rc ? NULL : keyfile_get(k, "model");
	state = rc ? NULL : keyfile_get(k, "state");
	if (!rc && (!model || !state || (!*l->view && strcmp(state, "ready") != 0)))
		rc = -EAGAIN;
	if (!rc && (size_t)snprintf(text, size, "%s\n", model) >= size)
		rc = -ENAMETOOLONG;
	free(k);
	return rc;
}

/* For the mount's metrics. Where nothing can be written, as in a mount that is read-only, they lack it. */
static void lend_end(void *arg, const struct vs_counters *counted)
{
	const struct row_lender *l = arg;
	const struct searched told = {counted->queries, counted->rows_scanned, counted->rows_verified,
				      counted->search_ns / 1000};
	char line[SEARCHED_LINE_BYTES];
	size_t size = searched_format(&told, line);

	if (told.queries)
		row_source_write(l->source, "searched", line, size);
}

/* ------------------------------------------------------------------ beginning and end */

/* Finds the store's directory, and the collection's number in it, by the file that has the first row, which
 * must be ours to read. */
static int find_store(struct row_lender *l, uint32_t *collection)
{
	uint32_t segment_rows = vs_segment_rows(row_source_info(l->source)->row_bytes);
	char link[PATH_MAX + 64], *name = NULL;
	struct vs_row_meta first;
	int rc = row_source_meta(l->source, 0, 1, &first), fd;
	ssize_t n;

	if (rc)
		return rc;
	fd = row_source_open_segment(l->source, first.place / segment_rows);
	if (fd < 0)
		return fd;
	close(fd);
	snprintf(link, sizeof link, "%s/.vecfs/segments/%u.npy", l->path, first.place / segment_rows);
	n = readlink(link, l->store, sizeof l->store - 1);
	if (n < 0)
		return -errno;
	l->store[n] = '\0';
	for (char *p = l->store; (p = strstr(p, COLLECTIONS)); p++)
		name = p;
	if (!name || sscanf(name + strlen(COLLECTIONS), "%u/", collection) != 1)
		return -EPROTO;
	*name = '\0';
	return 0;
}

static int borrow(struct row_lender *l, struct vs_snapshot **snapshot)
{
	const struct row_source_info *info = row_source_info(l->source);
	struct vs_lender lender = {.dir = l->store,
				   .info = {.schema = info->schema,
					    .row_bytes = info->row_bytes,
					    .rows = info->rows,
					    .ids_bytes = info->ids_bytes,
					    .ids0_bytes = info->ids_bytes},
				   .meta = lend_meta,
				   .vectors = lend_vectors,
				   .ids = lend_ids,
				   .view = lend_view,
				   .end = lend_end,
				   .arg = l};
	int rc = info->rows && info->row_bytes ? find_store(l, &lender.info.collection) : -ENODATA;

	return rc ? rc : vs_snapshot_borrow(&lender, snapshot);
}

int row_lender_open(const char *path, const char *view, struct row_lender **out,
		    struct vs_snapshot **snapshot)
{
	struct row_lender *l = calloc(1, sizeof *l);
	char why[WHY_BYTES];
	int rc = l ? 0 : -ENOMEM;

	*out = NULL;
	if (rc)
		return rc;
	pthread_mutex_init(&l->lock, NULL);
	l->view = view;
	if ((size_t)snprintf(l->path, sizeof l->path, "%s", path) >= sizeof l->path)
		rc = -ENAMETOOLONG;
	if (!rc)
		rc = row_source_open(path, true, &l->source, why, sizeof why);
	if (!rc)
		rc = borrow(l, snapshot);
	if (rc)
		row_lender_close(l);
	else
		*out = l;
	return rc;
}

void row_lender_close(struct row_lender *l)
{
	if (!l)
		return;
	for (struct idle_reader *r = l->idle, *next; r; r = next) {
		next = r->next;
		row_reader_end(&r->reader);
		free(r);
	}
	row_source_close(l->source);
	pthread_mutex_destroy(&l->lock);
	free(l);
}
