/* SPDX-License-Identifier: Apache-2.0 */
/* api_batch - what is in a batch, and whether it can be committed; batch_commit.h says how that is done. */
#include "store/batch/batch_commit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/snapshot/snapshot.h"
#include "store/row/row.h"
#include "store/row/vacuum.h"

int batch_commit_refuse(struct batch_commit *j, int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(j->why, j->why_size, format, args);
	va_end(args);
	return rc;
}

/* ------------------------------------------------------------------ what is in it */

/* Of the two forms of a list, lines and NUL-separated, a batch has at most one. */
static int list_read(struct batch_commit *j, enum vs_batch_text lines, const char *what, struct idlist *list)
{
	enum idlist_separator separator = IDLIST_LINES;
	char *text, why[256] = "";
	size_t size, size0;
	char *text0;
	int rc = upload_text(j->s, j->batch->id, lines, &text, &size);

	if (rc)
		return rc;
	rc = upload_text(j->s, j->batch->id, lines + (VS_BATCH_IDS0 - VS_BATCH_IDS), &text0, &size0);
	if (!rc && size && size0)
		rc = batch_commit_refuse(j, -EINVAL, "there are both %s and %s0: remove one", what, what);
	if (size0) {
		separator = IDLIST_NULS;
		free(text);
		text = text0;
		size = size0;
	} else {
		free(text0);
	}
	if (rc) {
		free(text);
		return rc;
	}
	rc = idlist_parse(text, size, separator, NULL, list, why, sizeof why);
	if (!rc && lines == VS_BATCH_IDS)
		rc = idlist_check_unique(list, separator, why, sizeof why);
	if (rc == -EILSEQ)
		rc = -EINVAL;
	return *why ? batch_commit_refuse(j, rc, "%s%s: %s", what, separator == IDLIST_NULS ? "0" : "", why)
		    : rc;
}

/* The id of uploaded row i: its line, or its number. */
const char *batch_commit_upload_id(const struct batch_commit *j, uint64_t i, char buf[24])
{
	char *p = &buf[23];

	if (j->ids.count)
		return j->ids.id[i];
	*p = '\0';
	do
		*--p = (char)('0' + i % 10);
	while (i /= 10);
	return p;
}

int batch_commit_replaced_perm(const struct collection *parent, const char *id)
{
	uint64_t entry = 0;
	int rc = parent->count ? collection_entry(parent, id, strlen(id), &entry) : 0;
	uint32_t row = !rc && entry ? collection_row_of(parent, entry) : ROW_NONE;
	const char *name;
	const struct row *r = row == ROW_NONE ? NULL : collection_row(parent, row, &name);

	return r ? r->perm : -1;
}

int batch_commit_attrs(struct batch_commit *j, uint64_t first, uint64_t count, struct vs_file_attr *out)
{
	size_t size = count * sizeof *out;
	ssize_t got =
		vs_batch_text_read(j->s, j->batch->id, VS_BATCH_ATTRIBUTES, out, size, first * sizeof *out);

	if (got < 0 || (size_t)got < size)
		return got < 0 ? (int)got : -EIO;
	for (uint64_t i = 0; i < count; i++)
		if (out[i].mode > 07777 || out[i].mtime_ns >= VS_TIME_NS_PER_S)
			return batch_commit_refuse(j, -EINVAL,
						   "attributes: row %llu has a mode or time that cannot be",
						   (unsigned long long)(first + i));
	return 0;
}

static int check_attrs(struct batch_commit *j)
{
	uint64_t size, want = j->upload.rows * sizeof(struct vs_file_attr);
	int rc = vs_batch_text_size(j->s, j->batch->id, VS_BATCH_ATTRIBUTES, &size);

	j->has_attrs = !rc;
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	return size == want
		       ? 0
		       : batch_commit_refuse(j, -EINVAL, "attributes: %llu bytes, want %llu for %llu vectors",
					     (unsigned long long)size, (unsigned long long)want,
					     (unsigned long long)j->upload.rows);
}

/* Whether a file of the batch has this id. Its rows do not change any more, but the applier still moves them.
 */
static int is_file(const struct batch_commit *j, const char *id, size_t len, bool *found)
{
	uint64_t entry = 0;
	int rc = 0;

	if (j->batch->count) {
		engine_read_lock(j->s);
		rc = collection_entry(j->batch, id, len, &entry);
		pthread_rwlock_unlock(&j->s->lock);
	}
	*found = entry;
	return rc;
}

/* Refuses an id that is both an uploaded row's and a file of the batch. */
static int check_files(struct batch_commit *j)
{
	int rc = 0;

	if (!j->batch->count)
		return 0;
	for (uint64_t i = 0; i < j->upload.rows && !rc; i++) {
		char buf[24];
		const char *id = batch_commit_upload_id(j, i, buf);
		bool found;

		rc = is_file(j, id, strlen(id), &found);
		if (!rc && found)
			rc = batch_commit_refuse(j, -EINVAL,
						 "ids: line %llu: '%s' is also a file of the batch",
						 (unsigned long long)i + 1, id);
	}
	return rc;
}

/* Reads and judges everything that does not need the parent. */
static int batch_commit_read(struct batch_commit *j)
{
	int rc = upload_find(j->s, j->batch->id, &j->upload);

	if (!rc)
		rc = list_read(j, VS_BATCH_IDS, "ids", &j->ids);
	if (!rc)
		rc = list_read(j, VS_BATCH_DELETE, "delete", &j->delete);
	if (rc)
		return rc;
	if (j->upload.torn)
		return batch_commit_refuse(
			j, -EINVAL,
			"the vectors were not written to their end: write them anew, or remove them");
	if (j->ids.count && j->ids.count != j->upload.rows)
		return batch_commit_refuse(j, -EINVAL, "%llu ids, but %llu vectors",
					   (unsigned long long)j->ids.count,
					   (unsigned long long)j->upload.rows);
	if (j->upload.rows > UINT32_MAX - 1)
		return batch_commit_refuse(j, -EINVAL, "more than 4,294,967,294 vectors in one batch");
	j->rows = j->upload.rows + j->batch->count;
	rc = check_attrs(j);
	return rc ? rc : check_files(j);
}

/* ------------------------------------------------------------------ all of it */

int batch_commit_fix_schema(struct batch_commit *j, struct txn *txn, struct collection *parent)
{
	const struct vs_schema was = parent->schema;
	struct vs_schema schema = was;
	int rc;

	if (j->batch->expects && j->batch->expected_version < parent->changed)
		return batch_commit_refuse(j, -EINVAL, "the collection has been changed meanwhile");
	if (!j->rows)
		return 0;
	schema.dtype = j->upload.exists ? j->upload.schema.dtype : j->batch->schema.dtype;
	if (schema.dtype != was.dtype && !collection_is_free(parent))
		return batch_commit_refuse(j, -EINVAL, "vectors of dtype %s, but the collection has %s",
					   vs_dtype_name(schema.dtype), vs_dtype_name(was.dtype));
	if (schema.dtype != was.dtype)
		collection_set_schema(parent, &schema);
	rc = rows_fix_schema(txn, parent, batch_commit_row_bytes(j));
	if (!rc)
		return 0;
	if (schema.dtype != was.dtype)
		collection_set_schema(parent, &was);
	return batch_commit_refuse(j, rc, "vectors of %zu bytes, but the collection has %zu",
				   batch_commit_row_bytes(j), parent->row_bytes);
}

/* Freezes the batch; from here on its collection cannot go away, nor its parent. */
static int batch_commit_begin(struct batch_commit *j, uint32_t batch)
{
	struct vs_store *s = j->s;
	struct collection *b, *parent;
	int rc = 0;

	pthread_rwlock_wrlock(&s->lock);
	b = collection_get(&s->table, batch);
	parent = b ? collection_get(&s->table, b->parent) : NULL;
	if (!b || !parent || b->frozen)
		rc = -ENOENT;
	else if (b->damaged || parent->damaged)
		rc = -EIO;
	else if (b->committing || b->upload)
		rc = batch_commit_refuse(j, -EBUSY,
					 b->upload ? "an upload is still being written"
						   : "it is being committed already");
	if (!rc) {
		b->committing = true;
		j->batch = b;
		j->parent = parent->id;
	}
	pthread_rwlock_unlock(&s->lock);
	return rc;
}

/* The batch is durable: what cannot be tidied now is tidied by a later batch, view or close, and is no
 * refusal. */
static void tidy(struct vs_store *s, uint32_t parent)
{
	struct vs_collection_info info;
	int rc = rows_vacuum(s, parent);

	if (rc && !vs_collection_get(s, parent, &info))
		engine_report(s, VS_WARNING,
			      "%s: committed; the space of replaced vectors is not free yet: %s", info.name,
			      strerror(-rc));
}

int batch_commit_check_new(struct batch_commit *j, const struct collection *parent, const char *id,
			   size_t len)
{
	uint64_t entry = 0;
	int rc = j->flags & VS_BATCH_ADD ? collection_entry(parent, id, len, &entry) : 0;

	if (rc || !entry)
		return rc;
	return batch_commit_refuse(j, -EEXIST, "'%.*s' is there already", (int)len, id);
}

int vs_batch_expect(struct vs_store *s, uint32_t batch, uint64_t version)
{
	struct collection *b;
	int rc = 0;

	pthread_rwlock_wrlock(&s->lock);
	b = collection_get(&s->table, batch);
	if (!b || !b->parent)
		rc = -ENOENT;
	else if (b->committing)
		rc = -EBUSY;
	if (!rc) {
		b->expects = true;
		b->expected_version = version;
	}
	pthread_rwlock_unlock(&s->lock);
	return rc;
}

int vs_batch_commit(struct vs_store *s, uint32_t batch, unsigned flags, struct vs_batch_change *change,
		    char *why, size_t why_size)
{
	struct batch_commit j = {.s = s, .flags = flags, .why = why, .why_size = why_size};
	struct vs_collection_info parent;
	bool done = false;
	int rc;

	*why = 0;
	if (s->read_only)
		return -EROFS;
	rc = batch_commit_begin(&j, batch);
	if (rc)
		return rc;
	rc = batch_commit_read(&j);
	if (!rc)
		rc = vs_collection_get(s, j.parent, &parent);
	if (!rc && j.upload.exists && j.upload.rows && j.batch->count &&
	    (j.upload.schema.dtype != j.batch->schema.dtype ||
	     vs_row_bytes(&j.upload.schema) != j.batch->row_bytes))
		rc = batch_commit_refuse(&j, -EINVAL,
					 "the upload's vectors and the files differ in size or dtype");
	if (!rc)
		rc = batch_commit_commit_small(&j, parent.row_bytes, &done);
	if (!rc && !done)
		rc = batch_commit_commit_large(&j);
	if (rc) {
		pthread_rwlock_wrlock(&s->lock);
		j.batch->committing = false;
		pthread_rwlock_unlock(&s->lock);
	}
	idlist_free(&j.ids);
	idlist_free(&j.delete);
	if (!rc && change)
		*change = (struct vs_batch_change){j.rows - j.replaced, j.replaced, j.deleted};
	if (!rc)
		rc = commit_wait(s);
	s->counters.batches += !rc;
	if (!rc)
		tidy(s, j.parent);
	if (rc && !*why)
		snprintf(why, why_size, "%s", strerror(-rc));
	return rc;
}
