/* SPDX-License-Identifier: Apache-2.0 */
/* ids_file - all ids of a snapshot as one text, made once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/snapshot/snapshot_state.h"

struct ids_text {
	enum idlist_separator separator;
	char *text;
	size_t length;
};

/* A damaged id is an empty one, so that the others keep their numbers. */
static void add_id(void *arg, uint64_t row, uint64_t entry, const char *id, size_t len)
{
	struct ids_text *ids = arg;
	char *out = ids->text + ids->length;

	(void)row;
	(void)entry;
	if (ids->separator == IDLIST_LINES) {
		ids->length += idlist_line(len ? id : "", len, out);
		return;
	}
	memcpy(out, len ? id : "", len);
	out[len] = '\0';
	ids->length += len + 1;
}

static int ids_build(struct vs_snapshot *m, enum idlist_separator separator)
{
	struct ids_file *file = &m->ids[separator];
	char *text = malloc(SNAPSHOT_IDS_ROWS * IDLIST_LINE_MAX);
	int fd = text ? snapshot_scratch(m->s) : -ENOMEM, rc = fd < 0 ? fd : 0;

	file->bytes = 0;
	for (uint64_t first = 0; first < m->info.rows && !rc; first += SNAPSHOT_IDS_ROWS) {
		uint64_t count =
			m->info.rows - first < SNAPSHOT_IDS_ROWS ? m->info.rows - first : SNAPSHOT_IDS_ROWS;
		struct ids_text ids = {.separator = separator, .text = text};

		rc = vs_snapshot_rows(m, first, count, NULL, add_id, &ids);
		if (!rc)
			rc = io_write_full(m->s->io, fd, text, ids.length, file->bytes);
		if (!rc)
			file->bytes += ids.length;
	}
	free(text);
	if (rc && fd >= 0)
		m->s->io->ops->close(m->s->io, fd);
	if (!rc)
		file->fd = fd;
	return rc;
}

static ssize_t ids_read(struct vs_snapshot *m, enum idlist_separator separator, void *buf, size_t size,
			uint64_t off)
{
	struct ids_file *file = &m->ids[separator];
	int rc = 0;

	pthread_mutex_lock(&m->ids_mutex);
	if (file->fd < 0)
		rc = ids_build(m, separator);
	pthread_mutex_unlock(&m->ids_mutex);
	if (rc)
		return rc;
	if (off >= file->bytes)
		return 0;
	if (size > file->bytes - off)
		size = file->bytes - off;
	rc = io_read_full(m->s->io, file->fd, buf, size, off);
	return rc ? rc : (ssize_t)size;
}

ssize_t vs_snapshot_ids(struct vs_snapshot *m, void *buf, size_t size, uint64_t off)
{
	return ids_read(m, IDLIST_LINES, buf, size, off);
}

ssize_t vs_snapshot_ids0(struct vs_snapshot *m, void *buf, size_t size, uint64_t off)
{
	return ids_read(m, IDLIST_NULS, buf, size, off);
}
