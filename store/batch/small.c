/* SPDX-License-Identifier: Apache-2.0 */
/* small - a batch whose vectors go through the log, in one frame. */
#include "store/batch/batch_commit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "store/base/row_time.h"
#include "store/row/row.h"
#include "store/base/checksum.h"

/* Above this many bytes of records a batch is attached, so that its bytes do not pass through the log. */
#define SMALL_BYTES (1u << 20)

static uint64_t small_bytes(const struct batch_commit *j, size_t parent_row_bytes)
{
	size_t row = batch_commit_row_bytes(j);

	if (row < parent_row_bytes)
		row = parent_row_bytes;
	return j->rows * (txn_row_bytes(row) + TXN_SMALL_BYTES) +
	       j->delete.count * (txn_row_bytes(row) + TXN_SMALL_BYTES) + 4 * TXN_SMALL_BYTES;
}

/* On a disk that is nearly full the log is small, too. */
static uint64_t small_max(struct vs_store *s)
{
	return s->log.group_bytes / 2 < SMALL_BYTES ? s->log.group_bytes / 2 : SMALL_BYTES;
}

/* Uploaded rows [0, rows) as they are in the file, verified. */
static int small_read(struct batch_commit *j, char *rows)
{
	size_t row_bytes = vs_row_bytes(&j->upload.schema);
	struct io *io = j->s->io;
	uint32_t *sums = malloc(j->upload.rows * sizeof *sums + 1);
	char path[SEGMENT_COLUMNS][SEGMENT_PATH_MAX];
	int fd, rc = sums ? 0 : -ENOMEM;

	if (!rc && j->upload.rows)
		rc = upload_sums(j->s, j->batch->id, 0, j->upload.rows, sums);
	for (uint32_t n = 0; n < j->upload.pieces && !rc; n++) {
		uint64_t first = (uint64_t)n * j->upload.piece_rows, count = j->upload.rows - first;

		if (count > j->upload.piece_rows)
			count = j->upload.piece_rows;
		segment_attach_paths(path, j->batch->id, n, true);
		fd = io->ops->open(io, path[SEGMENT_VECTORS], O_RDONLY, 0);
		rc = fd < 0 ? fd
			    : io_read_full(io, fd, rows + first * row_bytes, count * row_bytes,
					   SEGMENT_HEADER_BYTES);
		if (fd >= 0)
			io->ops->close(io, fd);
	}
	for (uint64_t i = 0; i < j->upload.rows && !rc; i++)
		if (sums[i] != sum_data(rows + i * row_bytes, row_bytes))
			rc = batch_commit_refuse(j, -EIO, "vector %llu of the upload is damaged",
						 (unsigned long long)i);
	free(sums);
	return rc;
}

static int small_put(struct batch_commit *j, struct txn *txn, struct collection *parent, const char *id,
		     const struct vs_perm *perm, vs_time mtime, const void *data, size_t size)
{
	struct vs_attr attr = {.mtime = mtime, .perm = *perm};
	struct row_put put;
	int rc = collection_take_entries(parent, 1, &attr.entry);

	if (!rc)
		rc = rows_put_prepare(txn, parent, id, &attr, data, size, &put);
	if (rc)
		return rc;
	rows_put(txn, parent, &put);
	j->replaced += put.replaced != 0;
	return 0;
}

/* The batch's own vectors, one after the other. They were read before the lock was taken (small_read_files).
 */
static int small_put_files(struct batch_commit *j, struct txn *txn, struct collection *parent,
			   const char *files)
{
	const struct collection *b = j->batch;
	uint64_t entry = 0;
	int rc = 0;

	for (; !rc && (entry = entry_map_next(&b->entries, entry)); files += b->row_bytes) {
		uint32_t row = collection_row_of(b, entry);
		char name[VS_NAME_MAX + 1];
		const char *p;
		const struct row *r = row == ROW_NONE ? NULL : collection_row(b, row, &p);
		const struct perm_class *class = r ? engine_perm_get(j->s, r->perm) : NULL;

		if (!r)
			return -EIO;
		memcpy(name, p, r->name_len);
		name[r->name_len] = 0;
		rc = small_put(j, txn, parent, name, &(struct vs_perm){class->mode, class->uid, class->gid},
			       row_mtime(r), files, b->row_bytes);
	}
	return rc;
}

/* Deletes the ids of the list: their slots are holes until the vacuum, as those of a large batch are. */
static void small_delete(struct batch_commit *j, struct txn *txn, struct collection *parent)
{
	for (uint64_t i = 0; i < j->delete.count; i++) {
		uint64_t entry = 0;
		uint32_t row;
		struct record *r;

		if (collection_entry(parent, j->delete.id[i], strlen(j->delete.id[i]), &entry) || !entry)
			continue; /* small_prepare has found those that cannot be told */
		row = collection_row_of(parent, entry);
		r = txn_append(txn, RECORD_DELETE_ROWS, parent->id, sizeof *r + sizeof(uint32_t));
		r->row = row >> parent->shift << parent->shift;
		r->value = 1;
		r->flags = RECORD_LIST;
		*(uint32_t *)(r + 1) = collection_slot(parent, row);
		row_mark_deleted(txn, parent, row);
		rows_listed(parent);
		j->deleted++;
	}
}

/* Mode and owner of an uploaded row that does not bring them: those of what it replaces, or the batch's. */
static struct vs_perm small_perm(const struct batch_commit *j, const struct collection *parent,
				 const char *id)
{
	const struct perm_class *class = &j->s->perms[j->batch->perm];
	int replaced = batch_commit_replaced_perm(parent, id);

	if (replaced < 0)
		return (struct vs_perm){class->mode & 0666, class->uid, class->gid};
	class = engine_perm_get(j->s, (uint32_t)replaced);
	return (struct vs_perm){vs_mode_written(class->mode), class->uid, class->gid};
}

static int small_put_uploaded(struct batch_commit *j, struct txn *txn, struct collection *parent,
			      const char *rows, const struct vs_file_attr *attrs)
{
	size_t row_bytes = batch_commit_row_bytes(j);
	vs_time now = vs_time_now();
	int rc = 0;

	for (uint64_t i = 0; i < j->upload.rows && !rc; i++) {
		char buf[24];
		const char *id = batch_commit_upload_id(j, i, buf);
		const struct vs_file_attr *a = j->has_attrs ? &attrs[i] : NULL;
		struct vs_perm perm =
			a ? (struct vs_perm){a->mode, a->uid, a->gid} : small_perm(j, parent, id);

		rc = small_put(j, txn, parent, id, &perm, a ? batch_commit_mtime(a) : now,
			       rows + i * row_bytes, row_bytes);
	}
	return rc;
}

static int small_apply(struct batch_commit *j, struct txn *txn, struct collection *parent, const char *rows,
		       const char *files, const struct vs_file_attr *attrs)
{
	int rc;

	small_delete(j, txn, parent);
	rc = small_put_files(j, txn, parent, files);
	if (!rc)
		rc = small_put_uploaded(j, txn, parent, rows, attrs);
	if (!rc) /* not before: rows that were put may have come into one of these segments */
		rows_leave_deleted(txn, parent);
	return rc;
}

/* Of a row that changes or goes: a mark, if its segment is shared, and its image. */
static int prepare_row(struct txn *txn, struct collection *parent, uint32_t row, bool *again)
{
	int mark = rows_reserve_mark(txn, collection_segment(parent, row));
	int rc = mark && mark != -EAGAIN ? mark : rows_reserve_image(txn, parent, row);

	*again |= rc == -EAGAIN || mark == -EAGAIN;
	return rc == -EAGAIN ? 0 : rc;
}

/* Of an id that the batch puts: it may have to be new, and else its row's image is wanted. again: something
 * has to be made ready first. */
static int prepare_put(struct batch_commit *j, struct txn *txn, struct collection *parent, const char *id,
		       size_t len, bool *again)
{
	uint64_t entry;
	int rc = batch_commit_check_new(j, parent, id, len);

	if (!rc)
		rc = collection_entry(parent, id, len, &entry);
	if (rc || !entry)
		return rc;
	return prepare_row(txn, parent, collection_row_of(parent, entry), again);
}

static int prepare_delete(struct txn *txn, struct collection *parent, const char *id, bool *again)
{
	uint64_t entry;
	int rc = collection_entry(parent, id, strlen(id), &entry);
	uint32_t row = !rc && entry ? collection_row_of(parent, entry) : ROW_NONE;

	if (rc || row == ROW_NONE)
		return rc;
	return prepare_row(txn, parent, row, again);
}

/* What the rows need, before anything has changed: all that they need of a disk is noted at once. */
static int small_reserve(struct batch_commit *j, struct txn *txn, struct collection *parent)
{
	const struct collection *b = j->batch;
	uint64_t entry = 0;
	bool again = false;
	char buf[24];
	int rc = 0;

	for (uint64_t i = 0; i < j->delete.count && !rc; i++)
		rc = prepare_delete(txn, parent, j->delete.id[i], &again);
	for (uint64_t i = 0; i < j->upload.rows && !rc; i++) {
		const char *id = batch_commit_upload_id(j, i, buf);

		rc = prepare_put(j, txn, parent, id, strlen(id), &again);
	}
	while (!rc && (entry = entry_map_next(&b->entries, entry))) {
		uint32_t row = collection_row_of(b, entry);
		const char *id;
		const struct row *r = row == ROW_NONE ? NULL : collection_row(b, row, &id);

		rc = r ? prepare_put(j, txn, parent, id, r->name_len, &again) : -EIO;
	}
	if (!rc)
		rc = rows_reserve_many(txn, parent, j->rows);
	return !rc && again ? -EAGAIN : rc;
}

/* Reads the batch's own vectors, verified. They do not change any more. */
static int small_read_files(struct batch_commit *j, char **files)
{
	struct collection *b = j->batch;
	uint64_t entry = 0;
	char *p = malloc(b->count * b->row_bytes + 1);
	int rc = p ? 0 : -ENOMEM;

	*files = p;
	for (; !rc; p += b->row_bytes) {
		engine_read_lock(j->s);
		entry = entry_map_next(&b->entries, entry);
		pthread_rwlock_unlock(&j->s->lock);
		if (!entry)
			break;
		if (vs_read(j->s, b->id, entry, p, b->row_bytes, 0) < 0)
			rc = -EIO;
	}
	return rc;
}

/* Gives out the classes of permissions before anything has changed: they may run out. */
static int small_classes(struct batch_commit *j, struct txn *txn, const struct vs_file_attr *attrs)
{
	uint32_t class;
	int rc = 0;

	for (uint64_t i = 0; i < j->upload.rows && j->has_attrs && !rc; i++)
		rc = rows_perm(txn, &(struct vs_perm){attrs[i].mode, attrs[i].uid, attrs[i].gid}, &class);
	return rc;
}

/* All that can be refused; on failure nothing has changed. */
static int small_prepare(struct batch_commit *j, struct txn *txn, struct collection *parent,
			 const struct vs_file_attr *attrs)
{
	const struct vs_schema schema = parent->schema;
	bool fixed = parent->schema_fixed;
	int rc = small_classes(j, txn, attrs);
	size_t start = txn->start;

	if (rc)
		return rc;
	rc = batch_commit_fix_schema(j, txn, parent);
	if (!rc)
		rc = small_reserve(j, txn, parent);
	if (rc && !fixed)
		rows_unfix_schema(txn, parent, &schema);
	if (rc)
		txn->start = start;
	return rc;
}

/* One try. -EAGAIN: something has to be made ready first. */
static int commit_once(struct batch_commit *j, struct ahead *ahead, uint64_t bytes, const char *rows,
		       const char *files, const struct vs_file_attr *attrs)
{
	struct vs_store *s = j->s;
	struct collection *parent;
	struct txn txn;
	int rc = txn_begin(s, &txn, bytes);

	if (rc)
		return rc;
	txn.ahead = ahead;
	parent = collection_get(&s->table, j->parent);
	rc = ahead_attach(ahead, parent);
	if (!rc)
		rc = small_prepare(j, &txn, parent, attrs);
	if (!rc && (rc = small_apply(j, &txn, parent, rows, files, attrs))) {
		/* Memory and log now disagree, since part of it is done and none of it logged: poison the
		 * store, so that the next opening starts from the log. Only want of memory leads here. */
		txn.start = s->commit.open->used;
		txn_end(&txn);
		commit_poison(s, "a batch could not be applied", rc);
		return rc == -EAGAIN ? -EIO : rc;
	}
	if (!rc)
		collection_drop(&txn, j->batch);
	txn_end(&txn);
	return rc;
}

static int commit(struct batch_commit *j, uint64_t bytes)
{
	char *rows = malloc(j->upload.rows * batch_commit_row_bytes(j) + 1), *files = NULL;
	struct vs_file_attr *attrs = malloc(j->upload.rows * sizeof *attrs + 1);
	struct ahead ahead = {0};
	int rc = rows && attrs ? small_read(j, rows) : -ENOMEM;

	if (!rc && j->has_attrs)
		rc = batch_commit_attrs(j, 0, j->upload.rows, attrs);
	if (!rc)
		rc = small_read_files(j, &files);
	if (!rc)
		do
			rc = commit_once(j, &ahead, bytes, rows, files, attrs);
		while (rc == -EAGAIN && !(rc = rows_fetch(j->s, &ahead)));
	ahead_free(j->s, &ahead);
	free(files);
	free(rows);
	free(attrs);
	return rc;
}

int batch_commit_commit_small(struct batch_commit *j, size_t parent_row_bytes, bool *done)
{
	uint64_t bytes = small_bytes(j, parent_row_bytes);
	int rc = txn_begin_log(j->s);

	*done = !rc && bytes <= small_max(j->s);
	return *done ? commit(j, bytes) : rc;
}
