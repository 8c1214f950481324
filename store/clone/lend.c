/* SPDX-License-Identifier: Apache-2.0 */
/* lend - files of a snapshot, as names from which a RECORD_ATTACH takes them. */
#include "store/clone/clone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "store/base/checksum.h"
#include "store/base/row_time.h"
#include "store/engine.h"

#define ROWS_AT_ONCE 4096u

/* Copies rows as somebody else's, whose entry numbers begin with *entry: changed now, as any row is that gets
 * another. A deleted row stays one. -EIO: one is damaged. */
static int copy_rows(const struct segment *from, uint32_t slot, uint32_t count, uint64_t *entry,
		     struct row *out)
{
	vs_time now = vs_time_now();

	for (uint32_t i = 0; i < count; i++) {
		const struct row *r = &segment_rows(from)[slot + i];

		if (!segment_row_valid(from, r) || (!r->name_len && !segment_is_deleted(from, slot + i)))
			return -EIO;
		out[i] = *r;
		if (!r->name_len)
			continue;
		row_set_entry(&out[i], (*entry)++);
		row_set_times(&out[i], row_mtime(r), vs_time_after(row_ctime(r), now));
		out[i].row_sum = sum_row(&out[i], segment_name(from, r));
	}
	return 0;
}

/* Keeps the mapping of a segment; released in any case. */
static bool keep(struct vs_store *s, struct segment *seg)
{
	bool mapped;

	engine_read_lock(s);
	segment_map_keep(seg);
	mapped = segment_rows(seg);
	pthread_rwlock_unlock(&s->lock);
	return mapped;
}

/* The rows column is a new file, durable when this returns. */
static int write_rows(struct vs_store *s, struct segment *from, const char *path, uint64_t *entry)
{
	struct row *rows = malloc(ROWS_AT_ONCE * sizeof *rows);
	int fd = s->io->ops->open(s->io, path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	int rc = fd < 0 ? fd : rows && keep(s, from) ? 0 : -ENOMEM;

	for (uint32_t slot = 0; slot < from->count && !rc; slot += ROWS_AT_ONCE) {
		uint32_t count = from->count - slot < ROWS_AT_ONCE ? from->count - slot : ROWS_AT_ONCE;

		rc = copy_rows(from, slot, count, entry, rows);
		if (!rc)
			rc = io_write_full(s->io, fd, rows, count * sizeof *rows,
					   (uint64_t)slot * sizeof *rows);
	}
	if (!rc)
		rc = s->io->lost ? -EIO : commit_synced(s, s->io->ops->datasync(s->io, fd));
	if (fd >= 0) {
		if (rows)
			segment_map_release(from);
		s->io->ops->close(s->io, fd);
	}
	free(rows);
	return rc < 0 ? rc : 0;
}

int clone_lend(struct vs_store *s, const struct collection *snap, uint32_t n, uint32_t number,
	       uint64_t *entry, struct segment **out)
{
	struct segment *from = snap->segments[n];
	char paths[SEGMENT_COLUMNS][SEGMENT_PATH_MAX], old[SEGMENT_PATH_MAX];
	int rc;

	*out = NULL;
	segment_attach_paths(paths, number, n, false);
	rc = write_rows(s, from, paths[SEGMENT_ROWS], entry);
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS && rc >= 0; i++) {
		if (i == SEGMENT_ROWS)
			continue;
		segment_path(old, snap->id, n, i);
		rc = s->io->ops->link(s->io, old, paths[i]);
	}
	if (rc >= 0)
		rc = segment_open_batch(&s->files, snap->parent, number, n, false, &snap->schema, from->count,
					from->names.end, out);
	if (rc < 0)
		return rc;
	(*out)->copy_reserved = true; /* its rows are its own */
	pthread_rwlock_wrlock(&s->lock);
	rc = segment_share(from, *out);
	pthread_rwlock_unlock(&s->lock);
	return rc;
}

int clone_lend_end(struct vs_store *s, uint32_t number)
{
	char path[SEGMENT_PATH_MAX];
	int rc;

	collection_path(path, number, NULL);
	rc = s->io->ops->syncdir(s->io, path);
	if (rc >= 0)
		rc = s->io->ops->syncdir(s->io, "collections");
	return commit_synced(s, rc);
}
