/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch - the commit of a batch: all of it or nothing, for every observer and every crash.
 *
 * A small batch becomes ordinary row records in one frame of the log. Of a large one the files that its rows were
 * written to become segments of the parent: names and rows columns are written beside them and all is synced; then one
 * frame says that they are adopted and which old rows are dead. The vacuum fills those afterwards.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moment.h"
#include "rows.h"
#include "sum.h"
#include "upload.h"

/* Above this many bytes of records a batch is adopted, so that its bytes do not pass through the log. */
#define SMALL_BYTES (1u << 20)
#define ROWS_AT_ONCE 4096u

/* The lines of a text, which stays where it is. */
struct lines {
	char *text;
	char **line; /* NUL-terminated in place */
	uint64_t count;
};

/* A segment to hand over. */
struct piece {
	uint32_t n;     /* its number in the batch, or of the upload's pieces */
	bool uploaded;
	uint32_t count;
	struct segment *seg; /* opened on the files as they will be handed over */
};

struct commit_job {
	struct vs_store *s;
	struct collection *batch; /* stays: it is marked as committing */
	uint32_t parent;
	struct upload_info upload;
	struct lines ids, delete;
	struct piece *pieces;
	uint32_t piece_count;
	uint64_t first_entry; /* of a range reserved for all rows */
	uint64_t rows;        /* in all */
	uint32_t perm;        /* of uploaded rows */
	size_t log_bytes;     /* that the change takes, as far as known */
	char *why;
	size_t why_size;
};

static int refuse(struct commit_job *j, int rc, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int refuse(struct commit_job *j, int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(j->why, j->why_size, format, args);
	va_end(args);
	return rc;
}

/* ------------------------------------------------------------------ what is in it */

static void lines_free(struct lines *l)
{
	free(l->text);
	free(l->line);
}

static int lines_split(struct lines *l, size_t size)
{
	char *p = l->text, *end = l->text + size;

	for (const char *q = p; q < end; q++)
		l->count += *q == '\n';
	if (size && end[-1] != '\n')
		l->count++;
	l->line = malloc((l->count + 1) * sizeof(char *));
	if (!l->line)
		return -ENOMEM;
	for (uint64_t i = 0; i < l->count; i++) {
		char *newline = memchr(p, '\n', (size_t)(end - p));

		l->line[i] = p;
		if (newline)
			*newline = 0;
		p = newline ? newline + 1 : end;
	}
	return 0;
}

static int lines_read(struct commit_job *j, enum vs_batch_text which, const char *what, struct lines *l)
{
	size_t size;
	int rc = upload_text(j->s, j->batch->id, which, &l->text, &size);

	if (rc)
		return rc;
	if (memchr(l->text ? l->text : "", 0, size))
		return refuse(j, -EINVAL, "%s: there is a NUL byte in it", what);
	rc = lines_split(l, size);
	for (uint64_t i = 0; i < l->count && !rc; i++) {
		int bad = vs_name_check(l->line[i], strlen(l->line[i]));

		if (bad)
			rc = refuse(j, -EINVAL, "%s: line %llu: %s", what, (unsigned long long)i + 1,
			            bad == -ENAMETOOLONG ? "longer than 255 bytes"
			            : bad == -EPERM      ? "the name .vecfs is reserved"
			                                 : "not a file name (empty, '.', '..' or with '/')");
	}
	return rc;
}

/* The id of uploaded row i: its line, or its number. */
static const char *upload_id(const struct commit_job *j, uint64_t i, char buf[24])
{
	if (j->ids.count)
		return j->ids.line[i];
	snprintf(buf, 24, "%llu", (unsigned long long)i);
	return buf;
}

/* Whether a file of the batch has this id. Its rows do not change any more, but the applier still moves them. */
static bool is_file(const struct commit_job *j, const char *id, size_t len)
{
	bool found;

	if (!j->batch->count)
		return false;
	pthread_rwlock_rdlock(&j->s->lock);
	found = collection_entry(j->batch, id, len);
	pthread_rwlock_unlock(&j->s->lock);
	return found;
}

/* Refuses an id that stands in the list twice, or both in the list and as a file of the batch. */
static int check_twice(struct commit_job *j)
{
	uint64_t capacity = 64;
	uint32_t *seen; /* line number, 0: free */
	int rc = 0;

	while (capacity < j->upload.rows * 2)
		capacity *= 2;
	seen = calloc(capacity, sizeof *seen);
	if (!seen)
		return -ENOMEM;
	for (uint64_t i = 0; i < j->upload.rows && !rc; i++) {
		char buf[24];
		const char *id = upload_id(j, i, buf);
		size_t len = strlen(id);
		uint64_t at = XXH3_64bits(id, len) & (capacity - 1);

		if (is_file(j, id, len))
			rc = refuse(j, -EINVAL, "ids: line %llu: '%s' is also a file of the batch", (unsigned long long)i + 1,
			            id);
		for (; !rc && seen[at] && j->ids.count; at = (at + 1) & (capacity - 1))
			if (!strcmp(j->ids.line[seen[at] - 1], id))
				rc = refuse(j, -EINVAL, "ids: line %llu: '%s' stands in line %u already",
				            (unsigned long long)i + 1, id, seen[at]);
		seen[at] = (uint32_t)i + 1;
	}
	free(seen);
	return rc;
}

/* Reads and judges everything that does not need the parent. */
static int job_read(struct commit_job *j)
{
	int rc = upload_find(j->s, j->batch->id, &j->upload);

	if (!rc)
		rc = lines_read(j, VS_BATCH_IDS, "ids", &j->ids);
	if (!rc)
		rc = lines_read(j, VS_BATCH_DELETE, "delete", &j->delete);
	if (rc)
		return rc;
	if (j->ids.count && j->ids.count != j->upload.rows)
		return refuse(j, -EINVAL, "%llu ids, but %llu vectors", (unsigned long long)j->ids.count,
		              (unsigned long long)j->upload.rows);
	if (j->upload.rows > UINT32_MAX - 1)
		return refuse(j, -EINVAL, "more than 4,294,967,294 vectors in one batch");
	j->rows = j->upload.rows + j->batch->count;
	return check_twice(j);
}

/* ------------------------------------------------------------------ a small batch */

static size_t job_row_bytes(const struct commit_job *j)
{
	return j->upload.exists ? vs_row_bytes(&j->upload.schema) : j->batch->row_bytes;
}

static uint64_t small_bytes(const struct commit_job *j, size_t parent_row_bytes)
{
	size_t row = job_row_bytes(j);

	if (row < parent_row_bytes)
		row = parent_row_bytes;
	return j->rows * (op_row_bytes(row) + OP_SMALL_BYTES) +
	       j->delete.count * (op_row_bytes(row) + OP_SMALL_BYTES) + 4 * OP_SMALL_BYTES;
}

/* On a disk that is nearly full the log is small, too. */
static uint64_t small_max(struct vs_store *s)
{
	bool logging = __atomic_load_n(&s->logging, __ATOMIC_ACQUIRE);

	return logging && s->log.group_bytes / 2 < SMALL_BYTES ? s->log.group_bytes / 2 : SMALL_BYTES;
}

/* Uploaded rows [0, rows) as they are in the file, verified. */
static int small_read(struct commit_job *j, char *rows)
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
		segment_adopt_paths(path, j->batch->id, n, true);
		fd = io->ops->open(io, path[SEGMENT_VECTORS], O_RDONLY, 0);
		rc = fd < 0 ? fd
		            : io_read_full(io, fd, rows + first * row_bytes, count * row_bytes, SEGMENT_HEADER_BYTES);
		if (fd >= 0)
			io->ops->close(io, fd);
	}
	for (uint64_t i = 0; i < j->upload.rows && !rc; i++)
		if (sums[i] != sum_data(rows + i * row_bytes, row_bytes))
			rc = refuse(j, -EIO, "vector %llu of the upload is damaged", (unsigned long long)i);
	free(sums);
	return rc;
}

static int small_put(struct op *op, struct collection *parent, const char *id, const struct vs_perm *perm,
                     int64_t mtime_ns, const void *data, size_t size)
{
	struct vs_attr attr = {.mtime_ns = mtime_ns, .perm = *perm};
	struct row_put put;
	int rc = collection_take_entries(parent, 1, &attr.entry);

	if (!rc)
		rc = rows_put_prepare(op, parent, id, &attr, data, size, &put);
	if (!rc)
		rows_put(op, parent, &put);
	return rc;
}

/* The batch's own vectors, one after the other. */
static int small_put_files(struct commit_job *j, struct op *op, struct collection *parent)
{
	const struct collection *b = j->batch;
	char *data = malloc(b->row_bytes + 1), name[VS_NAME_MAX + 1];
	uint64_t entry = 0;
	int rc = data ? 0 : -ENOMEM;

	while (!rc && (entry = entries_next(&b->entries, entry))) {
		uint32_t row = collection_row_of(b, entry);
		const char *p;
		const struct row *r = row == ROW_NONE ? NULL : collection_row(b, row, &p);
		const struct perm_class *class = r ? engine_perm_get(j->s, r->perm) : NULL;

		rc = r ? collection_bytes(j->s->io, b, row, data) : -EIO;
		if (!rc && sum_data(data, b->row_bytes) != r->data_sum)
			rc = -EIO;
		if (rc)
			break;
		memcpy(name, p, r->name_len);
		name[r->name_len] = 0;
		rc = small_put(op, parent, name, &(struct vs_perm){class->mode, class->uid, class->gid}, r->mtime_ns, data,
		               b->row_bytes);
	}
	free(data);
	return rc;
}

static int small_apply(struct commit_job *j, struct op *op, struct collection *parent, const char *rows)
{
	const struct perm_class *class = &j->s->perms[j->batch->perm];
	struct vs_perm perm = {class->mode & 0666, class->uid, class->gid};
	size_t row_bytes = job_row_bytes(j);
	int64_t now_ns = engine_now_ns();
	int rc = 0;

	for (uint64_t i = 0; i < j->delete.count && !rc; i++) {
		uint64_t entry = collection_entry(parent, j->delete.line[i], strlen(j->delete.line[i]));

		if (entry)
			rc = rows_remove(op, parent, collection_row_of(parent, entry));
	}
	if (!rc)
		rc = small_put_files(j, op, parent);
	for (uint64_t i = 0; i < j->upload.rows && !rc; i++) {
		char buf[24];

		rc = small_put(op, parent, upload_id(j, i, buf), &perm, now_ns, rows + i * row_bytes, row_bytes);
	}
	return rc;
}

/* Allocates what the rows will need, so that a full disk is noticed before anything has changed. */
static int small_reserve(struct commit_job *j, struct collection *parent)
{
	uint32_t n = (uint32_t)j->rows, granules = n * NAMES_CLASSES;
	struct segment *seg;
	int rc = n ? rows_reserve_new(j->s, parent, "", 0, parent->next_entry) : 0;

	if (rc || !n)
		return rc;
	seg = parent->segments[parent->room];
	if (n > seg->rows_max - seg->count)
		n = seg->rows_max - seg->count; /* the rest goes to a new segment, which allocates in its turn */
	return segment_reserve(j->s->io, seg, seg->count + n, seg->names.end + granules);
}

static int commit_small(struct commit_job *j, uint64_t bytes)
{
	struct vs_store *s = j->s;
	char *rows = malloc(j->upload.rows * job_row_bytes(j) + 1);
	int rc = rows ? small_read(j, rows) : -ENOMEM;
	struct collection *parent;
	struct op op;

	if (!rc)
		rc = op_begin(s, &op, bytes);
	if (rc) {
		free(rows);
		return rc;
	}
	parent = collection_get(&s->table, j->parent);
	if (j->rows)
		rc = rows_fix_schema(&op, parent, job_row_bytes(j));
	if (rc)
		refuse(j, rc, "vectors of %zu bytes, but the collection has %zu", job_row_bytes(j), parent->row_bytes);
	if (!rc)
		rc = small_reserve(j, parent);
	if (!rc && (rc = small_apply(j, &op, parent, rows))) {
		/* Some of it is done in memory, and none of it logged: only a fresh start is honest. Nothing but a disk
		 * that cannot be read, or no memory, leads here. */
		op.start = s->commit.open->used;
		op_end(&op);
		commit_poison(s, "a batch could not be applied", rc);
		free(rows);
		return rc;
	}
	if (!rc)
		collection_drop(&op, j->batch);
	op_end(&op);
	free(rows);
	return rc;
}

/* ------------------------------------------------------------------ a large batch: files */

/* Writes the names and rows columns of a piece, as the parent will have them. */
struct column_writer {
	struct commit_job *j;
	int fd[SEGMENT_COLUMNS];
	uint32_t names_at; /* granules */
	uint64_t entry;
};

static int writer_put(struct column_writer *w, uint64_t first, const struct row *rows, uint32_t count,
                      const char *names, size_t names_bytes)
{
	struct io *io = w->j->s->io;
	int rc = io_write_full(io, w->fd[SEGMENT_ROWS], rows, count * sizeof *rows, first * sizeof *rows);

	return rc || !names_bytes
	               ? rc
	               : io_write_full(io, w->fd[SEGMENT_NAMES], names, names_bytes, (uint64_t)w->names_at * NAME_GRANULE);
}

/* Up to ROWS_AT_ONCE uploaded rows from `first` of the upload on, slot `slot` of the piece. */
static int write_uploaded(struct column_writer *w, uint64_t first, uint32_t slot, uint32_t count, struct row *rows,
                          char *names)
{
	struct commit_job *j = w->j;
	static const size_t name_max = 256;
	int64_t now_ns = engine_now_ns();
	uint32_t *sums = malloc(count * sizeof *sums), at = 0;
	int rc = sums ? upload_sums(j->s, j->batch->id, first, count, sums) : -ENOMEM;

	for (uint32_t i = 0; i < count && !rc; i++) {
		char buf[24];
		const char *id = upload_id(j, first + i, buf);
		size_t len = strlen(id);

		rows[i] = (struct row){.data_sum = sums[i], .mtime_ns = now_ns, .name_len = (uint8_t)len,
		                       .perm = (uint16_t)j->perm, .name_at = w->names_at + at};
		row_set_entry(&rows[i], w->entry++);
		rows[i].row_sum = sum_row(&rows[i], id);
		memset(names + (size_t)at * NAME_GRANULE, 0, name_max);
		memcpy(names + (size_t)at * NAME_GRANULE, id, len);
		at += names_granules(len);
	}
	free(sums);
	if (!rc)
		rc = writer_put(w, slot, rows, count, names, (size_t)at * NAME_GRANULE);
	w->names_at += at;
	return rc;
}

/* The same for rows of the batch's own segment: only the entry numbers change, and so the sums. */
static int write_own(struct column_writer *w, const struct segment *seg, uint32_t slot, uint32_t count,
                     struct row *rows)
{
	for (uint32_t i = 0; i < count; i++) {
		if (!segment_row_valid(seg, &seg->rows[slot + i]))
			return -EIO;
		rows[i] = seg->rows[slot + i];
		row_set_entry(&rows[i], w->entry++);
		rows[i].row_sum = sum_row(&rows[i], segment_name(seg, &rows[i]));
	}
	return writer_put(w, slot, rows, count, NULL, 0);
}

static int piece_write(struct commit_job *j, const struct piece *p, struct column_writer *w)
{
	const struct segment *own = p->uploaded ? NULL : j->batch->segments[p->n];
	struct row *rows = malloc(ROWS_AT_ONCE * sizeof *rows);
	char *names = malloc(ROWS_AT_ONCE * 256);
	int rc = rows && names ? 0 : -ENOMEM;

	for (uint32_t slot = 0; slot < p->count && !rc; slot += ROWS_AT_ONCE) {
		uint32_t count = p->count - slot < ROWS_AT_ONCE ? p->count - slot : ROWS_AT_ONCE;

		rc = own ? write_own(w, own, slot, count, rows)
		         : write_uploaded(w, (uint64_t)p->n * j->upload.piece_rows + slot, slot, count, rows, names);
	}
	if (own)
		w->names_at = own->names.end;
	free(rows);
	free(names);
	return rc;
}

/* Makes a piece's three files complete and durable, and opens them as a segment. */
static int piece_prepare(struct commit_job *j, struct piece *p, uint64_t *entry)
{
	struct column_writer w = {.j = j, .entry = *entry};
	struct io *io = j->s->io;
	char paths[SEGMENT_COLUMNS][SEGMENT_PATH_MAX];
	struct vs_schema schema = j->upload.exists ? j->upload.schema : j->batch->schema;
	int rc = 0;

	segment_adopt_paths(paths, j->batch->id, p->n, p->uploaded);
	for (int i = 0; i < SEGMENT_COLUMNS; i++) {
		bool made = i == SEGMENT_ROWS || (p->uploaded && i == SEGMENT_NAMES);

		w.fd[i] = rc ? -1 : io->ops->open(io, paths[i], O_RDWR | (made ? O_CREAT | O_TRUNC : 0), 0600);
		if (w.fd[i] < 0 && !rc)
			rc = w.fd[i];
	}
	if (!rc)
		rc = piece_write(j, p, &w);
	for (int i = 0; i < SEGMENT_COLUMNS; i++) {
		if (!rc)
			rc = io->ops->datasync(io, w.fd[i]);
		if (w.fd[i] >= 0)
			io->ops->close(io, w.fd[i]);
	}
	*entry = w.entry;
	if (rc >= 0)
		rc = segment_open_at(io, paths, &schema, p->count, w.names_at, &p->seg);
	return rc < 0 ? rc : 0;
}

/* The upload of an earlier session may have been torn by a crash: its sums tell. */
static int piece_verify(struct commit_job *j, const struct piece *p)
{
	size_t row_bytes = p->seg->row_bytes;
	char *row = malloc(row_bytes);
	int rc = row ? 0 : -ENOMEM;

	for (uint32_t slot = 0; slot < p->count && !rc; slot++) {
		rc = io_read_full(j->s->io, p->seg->fd[SEGMENT_VECTORS], row, row_bytes, segment_offset(p->seg, slot));
		if (!rc && p->seg->rows[slot].data_sum != sum_data(row, row_bytes))
			rc = refuse(j, -EIO, "vector %llu of the upload is damaged",
			            (unsigned long long)p->n * j->upload.piece_rows + slot);
	}
	free(row);
	return rc;
}

static int pieces_prepare(struct commit_job *j)
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
		rc = j->s->io->ops->syncdir(j->s->io, path);
	if (rc >= 0) /* the batch's own directory may be young, too */
		rc = j->s->io->ops->syncdir(j->s->io, "collections");
	return rc < 0 ? rc : 0;
}

/* ------------------------------------------------------------------ a large batch: the change */

/* The parent's rows that die: a bitmap for each segment that has some. */
struct deaths {
	uint64_t **map;
	uint32_t *count;
	uint32_t segments;
	size_t bytes; /* of a bitmap */
};

static void deaths_free(struct deaths *d)
{
	for (uint32_t i = 0; i < d->segments; i++)
		free(d->map[i]);
	free(d->map);
	free(d->count);
}

static int deaths_add(struct deaths *d, struct collection *parent, const char *id, size_t len)
{
	uint64_t entry = collection_entry(parent, id, len);
	uint32_t row, n, slot;
	int rc;

	if (!entry)
		return 0;
	row = collection_row_of(parent, entry);
	n = row >> parent->shift;
	slot = collection_slot(parent, row);
	if (!d->map[n]) {
		d->map[n] = calloc(1, d->bytes);
		rc = d->map[n] ? segment_reserve_dead(parent->segments[n]) : -ENOMEM;
		if (rc)
			return rc;
	}
	d->count[n] += !(d->map[n][slot / 64] >> (slot % 64) & 1);
	d->map[n][slot / 64] |= 1ull << (slot % 64);
	return 0;
}

/* Finds out which rows die; nothing has changed when it fails. */
static int deaths_find(struct commit_job *j, struct collection *parent, struct deaths *d)
{
	int rc = 0;

	d->segments = parent->segment_count;
	d->bytes = (((size_t)1 << parent->shift) + 63) / 64 * 8;
	d->map = calloc(d->segments + 1, sizeof *d->map);
	d->count = calloc(d->segments + 1, sizeof *d->count);
	if (!d->map || !d->count)
		return -ENOMEM;
	for (uint64_t i = 0; i < j->delete.count && !rc; i++)
		rc = deaths_add(d, parent, j->delete.line[i], strlen(j->delete.line[i]));
	for (uint32_t i = 0; i < j->piece_count; i++) {
		const struct segment *seg = j->pieces[i].seg;

		for (uint32_t slot = 0; slot < seg->count && !rc; slot++)
			rc = deaths_add(d, parent, segment_name(seg, &seg->rows[slot]), seg->rows[slot].name_len);
	}
	return rc;
}

/* A segment's deaths in the log: a list while that is shorter than the bitmap. */
static size_t deaths_bytes(const struct deaths *d, uint32_t n)
{
	size_t list = ((size_t)d->count[n] * sizeof(uint32_t) + 7) / 8 * 8;

	return list < d->bytes ? list : d->bytes;
}

static void deaths_log(struct op *op, const struct collection *parent, const struct deaths *d, uint32_t n)
{
	size_t bytes = deaths_bytes(d, n);
	struct record *r = op_append(op, RECORD_DEAD, parent->id, sizeof *r + bytes);
	uint32_t *list = (uint32_t *)(r + 1);

	r->row = n << parent->shift;
	r->value = d->count[n];
	if (bytes == d->bytes) {
		memcpy(r + 1, d->map[n], bytes);
		return;
	}
	r->flags = RECORD_LIST;
	for (size_t i = 0; i < d->bytes / 8; i++)
		for (uint64_t bits = d->map[n][i]; bits; bits &= bits - 1)
			*list++ = (uint32_t)i * 64 + (uint32_t)__builtin_ctzll(bits);
}

static void deaths_apply(struct op *op, struct collection *parent, const struct deaths *d)
{
	for (uint32_t n = 0; n < d->segments; n++) {
		if (!d->map[n])
			continue;
		deaths_log(op, parent, d, n);
		for (size_t i = 0; i < d->bytes / 8; i++)
			for (uint64_t bits = d->map[n][i]; bits; bits &= bits - 1)
				rows_kill(op, parent,
				          n << parent->shift | ((uint32_t)i * 64 + (uint32_t)__builtin_ctzll(bits)));
	}
}

/* What the change takes of the log. */
static size_t adopt_bytes(const struct commit_job *j, const struct deaths *d)
{
	size_t bytes = (j->piece_count + 4) * OP_SMALL_BYTES;

	for (uint32_t n = 0; n < d->segments; n++)
		if (d->map[n])
			bytes += sizeof(struct record) + deaths_bytes(d, n);
	return bytes;
}

/* Index and entries get room for the rows of the pieces one by one, so that what fails leaves only unused entries. */
static int adopt_reserve(struct commit_job *j, struct collection *parent)
{
	int rc = catalog_reserve(j->s, j->piece_count + 1);

	if (!rc && ((uint64_t)parent->segment_count + j->piece_count) << parent->shift > ROW_NONE)
		rc = -ENOSPC;
	for (uint64_t i = 0; i < j->rows && !rc; i++)
		rc = entries_reserve(&parent->entries, j->first_entry + i);
	return rc;
}

static void adopt_index(struct collection *parent, struct segment *seg)
{
	for (uint32_t slot = 0; slot < seg->count; slot++) {
		const struct row *r = &seg->rows[slot];
		const char *name = segment_name(seg, r);
		uint64_t hash = collection_hash(parent, name, r->name_len);

		/* Memory is all that this could want, and without any the store is at its end anyway. */
		if (index_reserve(&parent->index, hash, collection_hash_of, parent))
			abort();
		entries_set(&parent->entries, row_entry(r), seg->n << parent->shift | slot);
		index_insert(&parent->index, hash, row_entry(r));
		parent->count++;
		parent->name_bytes += r->name_len;
	}
}

static int adopt_piece(struct commit_job *j, struct op *op, struct collection *parent, struct piece *p)
{
	struct record_adopt *r;
	int rc = collection_reserve_segment(parent);

	if (rc)
		return rc;
	r = op_append(op, RECORD_ADOPT, parent->id, sizeof *r);
	r->head.row = j->batch->id;
	r->head.value = p->n;
	r->head.flags = p->uploaded ? RECORD_UPLOADED : 0;
	r->segment = p->seg->n = parent->segment_count;
	r->count = p->count;
	r->names_end = p->seg->names.end;
	r->next_entry = parent->next_entry;
	collection_add_segment(&j->s->table, parent, p->seg);
	adopt_index(parent, p->seg);
	p->seg = NULL; /* the parent's now */
	return 0;
}

static int adopt(struct commit_job *j, struct op *op)
{
	struct collection *parent = collection_get(&j->s->table, j->parent);
	struct deaths deaths = {0};
	size_t start = op->start;
	int rc = j->rows ? rows_fix_schema(op, parent, job_row_bytes(j)) : 0;

	if (rc)
		return refuse(j, rc, "vectors of %zu bytes, but the collection has %zu", job_row_bytes(j),
		              parent->row_bytes);
	rc = adopt_reserve(j, parent);
	if (!rc)
		rc = deaths_find(j, parent, &deaths);
	if (!rc && adopt_bytes(j, &deaths) > op->reserved) {
		j->log_bytes = adopt_bytes(j, &deaths);
		rc = -EAGAIN;
	}
	if (rc) {
		op->start = start;
		deaths_free(&deaths);
		return rc;
	}
	for (uint32_t i = 0; i < j->piece_count; i++)
		if (adopt_piece(j, op, parent, &j->pieces[i]))
			abort(); /* no memory for a pointer */
	/* After that: the death of a chunk's last entry would free it, with what was reserved for the new ones. */
	deaths_apply(op, parent, &deaths);
	deaths_free(&deaths);
	rows_listed(parent);
	collection_drop(op, j->batch);
	return 0;
}

/* Reserves entry numbers for all rows, and finds the class of permissions of the uploaded ones. */
static int adopt_begin(struct commit_job *j)
{
	const struct perm_class *class;
	struct collection *parent;
	struct op op;
	int rc = op_begin(j->s, &op, 2 * OP_SMALL_BYTES);

	if (rc)
		return rc;
	parent = collection_get(&j->s->table, j->parent);
	rc = collection_take_entries(parent, j->rows, &j->first_entry);
	class = &j->s->perms[j->batch->perm];
	if (!rc)
		rc = rows_perm(&op, &(struct vs_perm){class->mode & 0666, class->uid, class->gid}, &j->perm);
	op_end(&op);
	/* The batch's own vectors must have reached their files, which nobody changes any more. */
	return rc ? rc : commit_wait_applied(j->s);
}

/* The change itself; how much room it needs in the log shows only under the lock, so it may take two attempts. */
static int adopt_op(struct commit_job *j)
{
	struct op op;
	int rc;

	j->log_bytes = (j->piece_count + 4) * OP_SMALL_BYTES + (j->rows + j->delete.count) / 64 * sizeof(uint32_t);
	do {
		rc = op_begin(j->s, &op, j->log_bytes);
		if (rc == -E2BIG)
			return refuse(j, rc, "it replaces or deletes too many vectors for one batch");
		if (rc)
			return rc;
		rc = adopt(j, &op);
		op_end(&op);
	} while (rc == -EAGAIN);
	return rc;
}

static int commit_large(struct commit_job *j)
{
	int rc = adopt_begin(j);

	if (!rc)
		rc = pieces_prepare(j);
	if (!rc)
		rc = adopt_op(j);
	for (uint32_t i = 0; i < j->piece_count; i++)
		segment_close(j->s->io, j->pieces[i].seg);
	free(j->pieces);
	return rc;
}

/* ------------------------------------------------------------------ all of it */

/* Freezes the batch; from here on its collection cannot go away, nor its parent. */
static int job_begin(struct commit_job *j, uint32_t batch)
{
	struct vs_store *s = j->s;
	struct collection *b, *parent;
	int rc = 0;

	pthread_rwlock_wrlock(&s->lock);
	b = collection_get(&s->table, batch);
	parent = b ? collection_get(&s->table, b->parent) : NULL;
	if (!b || !parent)
		rc = -ENOENT;
	else if (b->damaged || parent->damaged)
		rc = -EIO;
	else if (b->committing || b->upload)
		rc = refuse(j, -EBUSY, b->upload ? "an upload is still being written" : "it is being committed already");
	if (!rc) {
		b->committing = true;
		j->batch = b;
		j->parent = parent->id;
	}
	pthread_rwlock_unlock(&s->lock);
	return rc;
}

int vs_batch_commit(struct vs_store *s, uint32_t batch, char *why, size_t why_size)
{
	struct commit_job j = {.s = s, .why = why, .why_size = why_size};
	struct vs_collection_info parent;
	uint64_t bytes;
	int rc;

	*why = 0;
	if (s->read_only)
		return -EROFS;
	rc = job_begin(&j, batch);
	if (rc)
		return rc;
	rc = job_read(&j);
	if (!rc)
		rc = vs_collection_get(s, j.parent, &parent);
	if (!rc && j.upload.exists && j.batch->count && vs_row_bytes(&j.upload.schema) != j.batch->row_bytes)
		rc = refuse(&j, -EINVAL, "the upload's vectors and the files differ in size");
	if (!rc) {
		bytes = small_bytes(&j, parent.row_bytes);
		rc = bytes <= small_max(s) ? commit_small(&j, bytes) : commit_large(&j);
	}
	if (rc) {
		pthread_rwlock_wrlock(&s->lock);
		j.batch->committing = false;
		pthread_rwlock_unlock(&s->lock);
	}
	lines_free(&j.ids);
	lines_free(&j.delete);
	if (!rc)
		rc = commit_wait(s);
	if (!rc)
		rc = rows_vacuum(s, j.parent);
	s->counters.batches += !rc;
	if (rc && !*why)
		snprintf(why, why_size, "%s", strerror(-rc));
	return rc;
}
