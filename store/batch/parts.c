/* SPDX-License-Identifier: Apache-2.0 */
/* parts - makes segments of the files of a large batch, which the parent can then attach. */
#include "store/batch/batch_commit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "store/base/row_time.h"
#include "store/row/row.h"
#include "store/base/checksum.h"

#define ROWS_AT_ONCE 4096u
#define LOOKS_AT_ONCE 512u /* under one hold of the lock */

/* Writes the names and rows columns of a part, as the parent will have them. */
struct column_writer {
	struct batch_commit *j;
	int fd[SEGMENT_COLUMNS];
	uint32_t names_at; /* granules */
	uint64_t entry;
};

static int writer_put(struct column_writer *w, uint64_t first, const struct row *rows, uint32_t count,
		      const char *names, size_t names_bytes)
{
	struct io *io = w->j->s->io;
	int rc = io_write_full(io, w->fd[SEGMENT_ROWS], rows, count * sizeof *rows, first * sizeof *rows);

	return rc || !names_bytes ? rc
				  : io_write_full(io, w->fd[SEGMENT_NAMES], names, names_bytes,
						  (uint64_t)w->names_at * NAME_GRANULE);
}

/* Moves a row to the class of a set-user-ID vector's permissions once it has been written to. */
static int written_class(struct batch_commit *j, struct row *row)
{
	const struct perm_class *old;
	uint32_t written = 0;
	struct txn txn;
	int rc = txn_begin(j->s, &txn, TXN_SMALL_BYTES);

	if (rc)
		return rc;
	old = engine_perm_get(j->s, row->perm);
	rc = rows_perm(&txn, &(struct vs_perm){vs_mode_written(old->mode), old->uid, old->gid}, &written);
	if (!rc)
		perm_hold_add(&j->holds, written);
	txn_end(&txn);
	row->perm = (uint16_t)written;
	return rc;
}

/* The class of some permissions, as a row's; that of the row before is asked for first. */
static int class_of(struct batch_commit *j, const struct vs_file_attr *attr,
		    const struct vs_file_attr *before, uint16_t *class)
{
	uint32_t found = 0;
	struct txn txn;
	int rc;

	if (before && attr->mode == before->mode && attr->uid == before->uid && attr->gid == before->gid)
		return 0;
	rc = txn_begin(j->s, &txn, TXN_SMALL_BYTES);
	if (rc)
		return rc;
	rc = rows_perm(&txn, &(struct vs_perm){attr->mode, attr->uid, attr->gid}, &found);
	if (!rc)
		perm_hold_add(&j->holds, found);
	txn_end(&txn);
	*class = (uint16_t)found;
	return rc;
}

/* The same of uploaded rows that bring their attributes along. */
static int find_attrs(struct batch_commit *j, uint64_t first, uint32_t count, struct row *rows,
		      struct vs_file_attr *attrs)
{
	int rc = batch_commit_attrs(j, first, count, attrs);

	for (uint32_t i = 0; i < count && !rc; i++) {
		rows[i].perm = i ? rows[i - 1].perm : 0;
		rc = class_of(j, &attrs[i], i ? &attrs[i - 1] : NULL, &rows[i].perm);
	}
	return rc;
}

/* Fetches what some uploaded rows' ids are to find. */
static void fetch_ids(const struct batch_commit *j, const struct collection *parent, uint64_t first,
		      uint32_t count)
{
	uint64_t hashes[INDEX_FETCH_HASHES];
	uint32_t n = count < INDEX_FETCH_HASHES ? count : INDEX_FETCH_HASHES;

	for (uint32_t i = 0; i < n; i++) {
		char buf[24];
		const char *id = batch_commit_upload_id(j, first + i, buf);

		hashes[i] = collection_hash(parent, id, strlen(id));
	}
	id_index_fetch_all(&parent->index, hashes, n);
}

/* The classes of permissions of uploaded rows, of which some replace vectors. name_len marks those to be
 * changed. */
static int find_perms(struct batch_commit *j, uint64_t first, uint32_t count, struct row *rows)
{
	struct collection *parent;
	bool written = false;
	int rc = 0;

	engine_read_lock(j->s);
	parent = collection_get(&j->s->table, j->parent);
	for (uint32_t i = 0; i < count; i++) {
		char buf[24];
		int replaced;

		if (i % LOOKS_AT_ONCE == LOOKS_AT_ONCE - 1) { /* others may come between */
			pthread_rwlock_unlock(&j->s->lock);
			engine_read_lock(j->s);
		}
		if (parent->count && i % INDEX_FETCH_HASHES == 0)
			fetch_ids(j, parent, first + i, count - i);
		replaced = batch_commit_replaced_perm(parent, batch_commit_upload_id(j, first + i, buf));

		rows[i].perm = (uint16_t)(replaced < 0 ? j->perm : (uint32_t)replaced);
		perm_hold_add(&j->holds, rows[i].perm);
		rows[i].name_len = replaced >= 0 && engine_perm_get(j->s, (uint32_t)replaced)->mode & 06000;
		written |= rows[i].name_len;
	}
	pthread_rwlock_unlock(&j->s->lock);
	for (uint32_t i = 0; written && i < count && !rc; i++)
		if (rows[i].name_len)
			rc = written_class(j, &rows[i]);
	return rc;
}

/* Up to ROWS_AT_ONCE uploaded rows from `first` of the upload on, slot `slot` of the part. */
static int write_uploaded(struct column_writer *w, uint64_t first, uint32_t slot, uint32_t count,
			  struct row *rows, char *names)
{
	struct batch_commit *j = w->j;
	static const size_t name_max = 256;
	vs_time now = vs_time_now();
	uint32_t *sums = malloc(count * sizeof *sums), at = 0;
	struct vs_file_attr *attrs = j->has_attrs ? malloc(count * sizeof *attrs) : NULL;
	int rc = sums && (attrs || !j->has_attrs) ? upload_sums(j->s, j->batch->id, first, count, sums)
						  : -ENOMEM;

	if (!rc)
		rc = attrs ? find_attrs(j, first, count, rows, attrs) : find_perms(j, first, count, rows);

	for (uint32_t i = 0; i < count && !rc; i++) {
		char buf[24];
		const char *id = batch_commit_upload_id(j, first + i, buf);
		size_t len = strlen(id);

		rows[i] = (struct row){.data_sum = sums[i],
				       .name_len = (uint8_t)len,
				       .perm = rows[i].perm,
				       .name_at = (w->names_at + at) & ROW_NAME_AT_MAX};
		row_set_times(&rows[i], attrs ? batch_commit_mtime(&attrs[i]) : now, now);
		row_set_entry(&rows[i], w->entry++);
		rows[i].row_sum = sum_row(&rows[i], id);
		memset(names + (size_t)at * NAME_GRANULE, 0, name_max);
		memcpy(names + (size_t)at * NAME_GRANULE, id, len);
		at += names_granules(len);
	}
	free(sums);
	free(attrs);
	if (!rc)
		rc = writer_put(w, slot, rows, count, names, (size_t)at * NAME_GRANULE);
	w->names_at += at;
	return rc;
}

/* The same for rows of the batch's own segment: only the entry numbers and ctimes change, and so the sums. */
static int write_own(struct column_writer *w, const struct segment *seg, uint32_t slot, uint32_t count,
		     struct row *rows)
{
	vs_time now = vs_time_now();

	for (uint32_t i = 0; i < count; i++) {
		if (!segment_row_valid(seg, &seg->rows[slot + i]))
			return -EIO;
		rows[i] = seg->rows[slot + i];
		row_set_entry(&rows[i], w->entry++);
		row_set_times(&rows[i], row_mtime(&rows[i]), vs_time_after(row_ctime(&rows[i]), now));
		rows[i].row_sum = sum_row(&rows[i], segment_name(seg, &rows[i]));
	}
	return writer_put(w, slot, rows, count, NULL, 0);
}

/* Keeps the mapping of a segment of the batch; released in any case. */
static bool own_keep(struct batch_commit *j, struct segment *own)
{
	bool mapped;

	engine_read_lock(j->s);
	segment_map_keep(own);
	mapped = segment_rows(own);
	pthread_rwlock_unlock(&j->s->lock);
	return mapped;
}

static int piece_write(struct batch_commit *j, const struct piece *p, struct column_writer *w)
{
	struct segment *own = p->uploaded ? NULL : j->batch->segments[p->n];
	struct row *rows = malloc(ROWS_AT_ONCE * sizeof *rows);
	char *names = malloc(ROWS_AT_ONCE * 256);
	int rc = rows && names && (!own || own_keep(j, own)) ? 0 : -ENOMEM;

	for (uint32_t slot = 0; slot < p->count && !rc; slot += ROWS_AT_ONCE) {
		uint32_t count = p->count - slot < ROWS_AT_ONCE ? p->count - slot : ROWS_AT_ONCE;

		rc = own ? write_own(w, own, slot, count, rows)
			 : write_uploaded(w, (uint64_t)p->n * j->upload.piece_rows + slot, slot, count, rows,
					  names);
	}
	if (own) {
		w->names_at = own->names.end;
		segment_map_release(own);
	}
	free(rows);
	free(names);
	return rc;
}

/* Makes a part's three files complete and durable, and opens them as a segment. */
static int piece_prepare(struct batch_commit *j, struct piece *p, uint64_t *entry)
{
	struct column_writer w = {.j = j, .entry = *entry};
	struct io *io = j->s->io;
	char paths[SEGMENT_COLUMNS][SEGMENT_PATH_MAX];
	struct vs_schema schema = j->upload.exists ? j->upload.schema : j->batch->schema;
	int rc = 0;

	segment_attach_paths(paths, j->batch->id, p->n, p->uploaded);
	for (int i = 0; i < SEGMENT_COLUMNS; i++) {
		bool made = i == SEGMENT_ROWS || (p->uploaded && i == SEGMENT_NAMES);

		w.fd[i] =
			rc ? -1 : io->ops->open(io, paths[i], O_RDWR | (made ? O_CREAT | O_TRUNC : 0), 0600);
		if (w.fd[i] < 0 && !rc)
			rc = w.fd[i];
	}
	if (!rc)
		rc = piece_write(j, p, &w);
	/* By the descriptors that wrote it, too: these are told what a client in user space has dropped. */
	if (!rc && !p->uploaded)
		rc = commit_synced(j->s, segment_sync_written(j->batch->segments[p->n]));
	for (int i = 0; i < SEGMENT_COLUMNS; i++) {
		if (!rc)
			rc = commit_synced(j->s, io->ops->datasync(io, w.fd[i]));
		if (w.fd[i] >= 0)
			io->ops->close(io, w.fd[i]);
	}
	*entry = w.entry;
	if (rc >= 0)
		rc = segment_open_batch(&j->s->files, j->parent, j->batch->id, p->n, p->uploaded, &schema,
					p->count, w.names_at, &p->seg);
	return rc < 0 ? rc : 0;
}

/* The upload of an earlier session may have been torn by a crash: its sums tell. */
static int piece_verify(struct batch_commit *j, const struct piece *p)
{
	size_t row_bytes = p->seg->row_bytes;
	char *row = malloc(row_bytes);
	int rc = row ? 0 : -ENOMEM;

	for (uint32_t slot = 0; slot < p->count && !rc; slot++) {
		rc = segment_read(p->seg, SEGMENT_VECTORS, row, row_bytes, segment_offset(p->seg, slot));
		if (!rc && p->seg->rows[slot].data_sum != sum_data(row, row_bytes))
			rc = batch_commit_refuse(j, -EIO, "vector %llu of the upload is damaged",
						 (unsigned long long)p->n * j->upload.piece_rows + slot);
	}
	free(row);
	return rc;
}

int batch_commit_prepare_pieces(struct batch_commit *j)
{
	uint32_t own = j->batch->segment_count, n = own + j->upload.pieces;
	uint64_t entry = j->first_entry, left = j->upload.rows;
	char path[SEGMENT_PATH_MAX];
	int rc = 0;

	j->pieces = calloc(n + 1, sizeof *j->pieces);
	if (!j->pieces)
		return -ENOMEM;
	for (uint32_t i = 0; i < n && !rc; i++) {
		struct piece *p = &j->pieces[j->piece_count];

		p->uploaded = i >= own;
		p->n = p->uploaded ? i - own : i;
		if (p->uploaded)
			p->count = left < j->upload.piece_rows ? (uint32_t)left : j->upload.piece_rows;
		else
			p->count = j->batch->segments[i]->count;
		left -= p->uploaded ? p->count : 0;
		if (!p->count)
			continue;
		j->piece_count++;
		rc = piece_prepare(j, p, &entry);
		if (!rc && p->uploaded && !j->batch->upload_trusted)
			rc = piece_verify(j, p);
	}
	collection_path(path, j->batch->id, NULL);
	if (!rc)
		rc = commit_synced(j->s, j->s->io->ops->syncdir(j->s->io, path));
	if (rc >= 0) /* the batch's own directory may be young, too */
		rc = commit_synced(j->s, j->s->io->ops->syncdir(j->s->io, "collections"));
	return rc < 0 ? rc : 0;
}
