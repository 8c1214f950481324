/* SPDX-License-Identifier: Apache-2.0 */
/* batch - what is in a batch, and whether it can be committed; batch_job.h says how it is. */
#include "batch_job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moment.h"
#include "rows.h"
#include "sum.h"

int job_refuse(struct commit_job *j, int rc, const char *format, ...)
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
		return job_refuse(j, -EINVAL, "%s: there is a NUL byte in it", what);
	rc = lines_split(l, size);
	for (uint64_t i = 0; i < l->count && !rc; i++) {
		int bad = vs_name_check(l->line[i], strlen(l->line[i]));

		if (bad)
			rc = job_refuse(j, -EINVAL, "%s: line %llu: %s", what, (unsigned long long)i + 1,
			            bad == -ENAMETOOLONG ? "longer than 255 bytes"
			            : bad == -EPERM      ? "the name .vecfs is reserved"
			                                 : "not a file name (empty, '.', '..' or with '/')");
	}
	return rc;
}

/* The id of uploaded row i: its line, or its number. */
const char *job_upload_id(const struct commit_job *j, uint64_t i, char buf[24])
{
	if (j->ids.count)
		return j->ids.line[i];
	snprintf(buf, 24, "%llu", (unsigned long long)i);
	return buf;
}

int job_replaced_perm(const struct collection *parent, const char *id)
{
	uint64_t entry = parent->count ? collection_entry(parent, id, strlen(id)) : 0;
	uint32_t row = entry ? collection_row_of(parent, entry) : ROW_NONE;
	const char *name;
	const struct row *r = row == ROW_NONE ? NULL : collection_row(parent, row, &name);

	return r ? r->perm : -1;
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
		const char *id = job_upload_id(j, i, buf);
		size_t len = strlen(id);
		uint64_t at = XXH3_64bits(id, len) & (capacity - 1);

		if (is_file(j, id, len))
			rc = job_refuse(j, -EINVAL, "ids: line %llu: '%s' is also a file of the batch", (unsigned long long)i + 1,
			            id);
		for (; !rc && seen[at] && j->ids.count; at = (at + 1) & (capacity - 1))
			if (!strcmp(j->ids.line[seen[at] - 1], id))
				rc = job_refuse(j, -EINVAL, "ids: line %llu: '%s' stands in line %u already",
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
		return job_refuse(j, -EINVAL, "%llu ids, but %llu vectors", (unsigned long long)j->ids.count,
		              (unsigned long long)j->upload.rows);
	if (j->upload.rows > UINT32_MAX - 1)
		return job_refuse(j, -EINVAL, "more than 4,294,967,294 vectors in one batch");
	j->rows = j->upload.rows + j->batch->count;
	return check_twice(j);
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
		rc = job_refuse(j, -EBUSY, b->upload ? "an upload is still being written" : "it is being committed already");
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
	bool done = false;
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
		rc = job_refuse(&j, -EINVAL, "the upload's vectors and the files differ in size");
	if (!rc)
		rc = job_commit_small(&j, parent.row_bytes, &done);
	if (!rc && !done)
		rc = job_commit_large(&j);
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
