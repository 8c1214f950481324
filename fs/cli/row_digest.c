/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/row_digest.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES ((size_t)4 << 20)
#define BLOCK_ROWS_MAX 8192u
#define THREADS_MAX 16

/* All threads take the next rows from one cursor, and read and sum them by themselves. */
struct work {
	const struct row_source *source;
	pthread_mutex_t lock;
	struct row_cursor cursor;
	struct digest sum;
	int error; /* the first one: all stop */
};

struct block {
	uint64_t first;
	uint32_t rows;
	char *ids;
	char *vectors;
};

static uint32_t block_rows(const struct row_source_info *info)
{
	size_t rows = info->row_bytes > 0 ? BLOCK_BYTES / info->row_bytes : BLOCK_ROWS_MAX;

	return rows > BLOCK_ROWS_MAX ? BLOCK_ROWS_MAX : rows > 0 ? (uint32_t)rows : 1;
}

/* Copies the next ids; false at the end. */
static bool take(struct work *w, struct block *b)
{
	uint32_t max = block_rows(row_source_info(w->source));
	size_t used = 0, len;
	const char *id;
	int found = 1;

	pthread_mutex_lock(&w->lock);
	b->first = w->cursor.row;
	b->rows = 0;
	while (!w->error && b->rows < max && (found = row_cursor_next(&w->cursor, &id, &len, NULL)) > 0) {
		memcpy(b->ids + used, id, len + 1);
		used += len + 1;
		b->rows++;
	}
	if (found < 0)
		w->error = found;
	pthread_mutex_unlock(&w->lock);
	return b->rows > 0 && found >= 0;
}

static int sum(const struct work *w, const struct block *b, struct digest *out)
{
	size_t row_bytes = row_source_info(w->source)->row_bytes;
	const char *id = b->ids;
	int rc = row_source_vectors(w->source, b->vectors, b->rows * row_bytes, b->first * row_bytes);

	for (uint32_t i = 0; i < b->rows && !rc; i++) {
		size_t len = strlen(id);

		digest_add(out, id, len, b->vectors + i * row_bytes, row_bytes);
		id += len + 1;
	}
	return rc;
}

static void *run(void *arg)
{
	struct work *w = arg;
	const struct row_source_info *info = row_source_info(w->source);
	uint32_t rows = block_rows(info);
	struct block b = {.ids = malloc(rows * (VS_NAME_MAX + 1u)),
			  .vectors = malloc(rows * info->row_bytes + 1)};
	struct digest mine = {0};
	int rc = b.ids && b.vectors ? 0 : -ENOMEM;

	while (!rc && take(w, &b))
		rc = sum(w, &b, &mine);
	pthread_mutex_lock(&w->lock);
	digest_merge(&w->sum, &mine);
	if (rc && !w->error)
		w->error = rc;
	pthread_mutex_unlock(&w->lock);
	free(b.ids);
	free(b.vectors);
	return NULL;
}

int row_digest(const struct row_source *s, struct digest *out)
{
	struct work w = {.source = s, .lock = PTHREAD_MUTEX_INITIALIZER};
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[THREADS_MAX];
	int started = 0, rc = row_cursor_start(&w.cursor, s, false);

	if (rc)
		return rc;
	while (started + 1 < cpus && started < THREADS_MAX &&
	       !pthread_create(&threads[started], NULL, run, &w))
		started++;
	run(&w);
	while (started > 0)
		pthread_join(threads[--started], NULL);
	row_cursor_end(&w.cursor);
	*out = w.sum;
	return w.error;
}

void row_digest_text(const struct digest *d, char text[ROW_DIGEST_TEXT])
{
	snprintf(text, ROW_DIGEST_TEXT, "%016" PRIx64 "%016" PRIx64 ":%" PRIu64, d->high, d->low, d->rows);
}
