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

/* Writes the columns that a part gets beside its vectors, as the parent will have them, from records of its
 * rows. */
struct column_writer {
	struct batch_commit *j;
	size_t row_bytes;
	int fd[SEGMENT_COLUMNS];
	bool made[SEGMENT_COLUMNS];    /* the column is written here; else the batch has it already */
	char *pieces[SEGMENT_COLUMNS]; /* of up to ROWS_AT_ONCE rows */
	size_t gathered[SEGMENT_COLUMNS];
	uint64_t written[SEGMENT_COLUMNS];
	uint32_t names_at; /* granules */
	uint64_t entry;
};

static void writer_add(struct column_writer *w, const struct record_row *r)
{
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++) {
		struct column_piece piece = column_piece(i, r, w->row_bytes);

		if (!w->made[i])
			continue;
		memcpy(w->pieces[i] + w->gathered[i], piece.bytes, piece.size);
		w->gathered[i] += piece.size;
	}
}

static int writer_flush(struct column_writer *w)
{
	int rc = 0;

	for (enum segment_column i = 0; i < SEGMENT_COLUMNS && !rc; i++) {
		if (!w->gathered[i])
			continue;
		rc = io_write_full(w->j->s->io, w->fd[i], w->pieces[i], w->gathered[i], w->written[i]);
		w->written[i] += w->gathered[i];
		w->gathered[i] = 0;
	}
	return rc;
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

/* A row's record, with room for the longest id. */
struct row_record {
	struct record_row r;
	char id[256];
};

/* The record of an uploaded row: the next in the part. */
static void record_uploaded(struct column_writer *w, const char *id, uint32_t data_sum, uint16_t perm,
			    const struct vs_file_attr *attr, vs_time now, struct row_record *out)
{
	size_t len = strlen(id);
	struct row *row = &out->r.row;

	*row = (struct row){.data_sum = data_sum,
			    .name_len = (uint8_t)len,
			    .perm = perm,
			    .name_at = w->names_at & ROW_NAME_AT_MAX};
	row_set_times(row, attr ? batch_commit_mtime(attr) : now, now);
	row_set_entry(row, w->entry++);
	row->row_sum = sum_row(row, id);
	memset(out->id, 0, sizeof out->id);
	memcpy(out->id, id, len);
	w->names_at += names_granules(len);
}

/* Up to ROWS_AT_ONCE uploaded rows from `first` of the upload on. */
static int write_uploaded(struct column_writer *w, uint64_t first, uint32_t count, struct row *rows)
{
	struct batch_commit *j = w->j;
	vs_time now = vs_time_now();
	uint32_t *sums = malloc(count * sizeof *sums);
	struct vs_file_attr *attrs = j->has_attrs ? malloc(count * sizeof *attrs) : NULL;
	struct row_record record = {0};
	int rc = sums && (attrs || !j->has_attrs) ? upload_sums(j->s, j->batch->id, first, count, sums)
						  : -ENOMEM;

	if (!rc)
		rc = attrs ? find_attrs(j, first, count, rows, attrs) : find_perms(j, first, count, rows);
	for (uint32_t i = 0; i < count && !rc; i++) {
		char buf[24];

		record_uploaded(w, batch_commit_upload_id(j, first + i, buf), sums[i], rows[i].perm,
				attrs ? &attrs[i] : NULL, now, &record);
		writer_add(w, &record.r);
	}
	free(sums);
	free(attrs);
	return rc;
}

/* The same for rows of the batch's own segment: only the entry numbers and ctimes change, and so the sums. */
static int write_own(struct column_writer *w, const struct segment *seg, uint32_t slot, uint32_t count)
{
	const struct row *rows = segment_rows(seg) + slot;
	vs_time now = vs_time_now();
	struct row_record record = {0};

	for (uint32_t i = 0; i < count; i++) {
		struct row *row = &record.r.row;

		if (!segment_row_valid(seg, &rows[i]))
			return -EIO;
		*row = rows[i];
		row_set_entry(row, w->entry++);
		row_set_times(row, row_mtime(row), vs_time_after(row_ctime(row), now));
		row->row_sum = sum_row(row, segment_name(seg, row));
		writer_add(w, &record.r);
	}
	return 0;
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
	int rc = rows && (!own || own_keep(j, own)) ? 0 : -ENOMEM;

	for (uint32_t slot = 0; slot < p->count && !rc; slot += ROWS_AT_ONCE) {
		uint32_t count = p->count - slot < ROWS_AT_ONCE ? p->count - slot : ROWS_AT_ONCE;

		rc = own ? write_own(w, own, slot, count)
			 : write_uploaded(w, (uint64_t)p->n * j->upload.piece_rows + slot, count, rows);
		if (!rc)
			rc = writer_flush(w);
	}
	if (own) {
		w->names_at = own->names.end;
		segment_map_release(own);
	}
	free(rows);
	return rc;
}

/* Opens a part's file. What the batch has of its own rows is kept, but for what is handed over under another
 * name, which is made anew. */
static int writer_open_column(struct column_writer *w, const struct piece *p, enum segment_column i,
			      const char *path)
{
	struct io *io = w->j->s->io;

	w->made[i] = p->uploaded ? i != SEGMENT_VECTORS : column_is_made_to_attach(i);
	if (w->made[i]) {
		w->pieces[i] = malloc(ROWS_AT_ONCE * column_defs[i].units_a_slot_max *
				      column_unit_bytes(i, w->row_bytes));
		if (!w->pieces[i])
			return -ENOMEM;
	}
	w->fd[i] = io->ops->open(io, path, O_RDWR | (w->made[i] ? O_CREAT | O_TRUNC : 0), 0600);
	return w->fd[i] < 0 ? w->fd[i] : 0;
}

static int writer_open(struct column_writer *w, const struct piece *p)
{
	char paths[SEGMENT_COLUMNS][SEGMENT_PATH_MAX];
	int rc = 0;

	segment_attach_paths(paths, w->j->batch->id, p->n, p->uploaded);
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++)
		w->fd[i] = -1;
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS && !rc; i++)
		rc = writer_open_column(w, p, i, paths[i]);
	return rc;
}

/* Syncs them, unless something has failed, and closes them. */
static int writer_close(struct column_writer *w, int rc)
{
	struct io *io = w->j->s->io;

	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++) {
		if (rc >= 0)
			rc = commit_synced(w->j->s, io->ops->datasync(io, w->fd[i]));
		if (w->fd[i] >= 0)
			io->ops->close(io, w->fd[i]);
		free(w->pieces[i]);
	}
	return rc < 0 ? rc : 0;
}

/* Makes a part's files complete and durable, and opens them as a segment. */
static int piece_prepare(struct batch_commit *j, struct piece *p, uint64_t *entry)
{
	struct vs_schema schema = j->upload.exists ? j->upload.schema : j->batch->schema;
	struct column_writer w = {.j = j, .row_bytes = vs_row_bytes(&schema), .entry = *entry};
	int rc = writer_open(&w, p);

	if (!rc)
		rc = piece_write(j, p, &w);
	/* By the descriptors that wrote it, too: these are told what a client in user space has dropped. */
	if (!rc && !p->uploaded)
		rc = commit_synced(j->s, segment_sync_written(j->batch->segments[p->n]));
	rc = writer_close(&w, rc);
	*entry = w.entry;
	if (!rc)
		rc = segment_open_batch(&j->s->files, j->parent, j->batch->id, p->n, p->uploaded, &schema,
					p->count, w.names_at, &p->seg);
	return rc;
}

/* The upload of an earlier session may have been torn by a crash: its sums tell. */
static int piece_verify(struct batch_commit *j, const struct piece *p)
{
	size_t row_bytes = p->seg->row_bytes;
	char *row = malloc(row_bytes);
	int rc = row ? 0 : -ENOMEM;

	for (uint32_t slot = 0; slot < p->count && !rc; slot++) {
		rc = segment_read(p->seg, SEGMENT_VECTORS, row, row_bytes, segment_offset(p->seg, slot));
		if (!rc && segment_rows(p->seg)[slot].data_sum != sum_data(row, row_bytes))
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
