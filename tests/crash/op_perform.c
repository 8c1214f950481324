/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/view/view.h"
#include "tests/crash/op.h"

#define BYTES_MAX (1 << 14)

/* What an operation works with: the store, the model before it, and room for a complaint. */
struct scene {
	struct op *op;
	struct vs_store *s;
	uint32_t collection;
	struct model_collection *c;
	struct model_vector *v; /* NULL if the model has none of that name */
	char name[VS_NAME_MAX + 1];
	char *why;
	size_t why_size;
};

__attribute__((format(printf, 2, 3))) static int wrong(struct scene *at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(at->why, at->why_size, format, args);
	va_end(args);
	return -EBADMSG;
}

/* An entry number that the store told must be the one that the model knows, if it does. */
static int check_entry(struct scene *at, const char *what, uint64_t told, const struct model_vector *known)
{
	if (!known ? told != 0 : known->entry && told != known->entry)
		return wrong(at, "%s: entry %llu, want %llu", what, (unsigned long long)told,
			     known ? (unsigned long long)known->entry : 0ull);
	return 0;
}

/* ------------------------------------------------------------------ vectors */

static int perform_put(struct scene *at)
{
	unsigned char data[BYTES_MAX];
	uint64_t replaced = 0;
	struct vs_attr attr = at->op->attr;
	int rc = vs_entry_reserve(at->s, at->collection, &attr.entry);

	if (rc)
		return rc;
	at->op->entry = attr.entry;
	op_bytes(at->op, 0, data, at->op->size);
	rc = vs_put(at->s, at->collection, at->name, &attr, data, at->op->size, &replaced);
	return rc ? rc : check_entry(at, "replaced", replaced, at->v);
}

static int look_up(struct scene *at, struct vs_attr *attr)
{
	int rc = vs_lookup(at->s, at->collection, at->name, attr);

	if (rc || !at->v)
		return rc;
	rc = check_entry(at, "looked up", attr->entry, at->v);
	if (!rc && at->v->attr_known && attr->mtime != at->v->mtime)
		rc = wrong(at, "looked up: other mtime");
	return rc;
}

static int perform_write(struct scene *at)
{
	unsigned char data[BYTES_MAX];
	struct vs_attr attr;
	int rc = look_up(at, &attr);

	if (rc)
		return rc;
	op_bytes(at->op, 0, data, at->op->size);
	return vs_write(at->s, at->collection, attr.entry, data, at->op->size, at->op->off,
			at->op->which & VS_SET_MTIME, &at->op->attr);
}

static int perform_read(struct scene *at)
{
	unsigned char data[BYTES_MAX];
	struct vs_attr attr;
	ssize_t got;
	int rc = look_up(at, &attr);

	if (rc || !at->v)
		return rc;
	got = vs_read(at->s, at->collection, attr.entry, data, sizeof data, 0);
	if (got < 0)
		return (int)got;
	if ((size_t)got != at->v->size || memcmp(data, at->v->data, at->v->size) != 0)
		return wrong(at, "read: other bytes than written");
	return 0;
}

static int perform_remove(struct scene *at)
{
	uint64_t entry = 0;
	int rc = vs_remove(at->s, at->collection, at->name, &entry);

	return rc ? rc : check_entry(at, "removed", entry, at->v);
}

static int perform_attr(struct scene *at)
{
	struct vs_attr attr;
	int rc = look_up(at, &attr);

	return rc ? rc : vs_attr_set(at->s, at->collection, attr.entry, at->op->which, &at->op->attr);
}

static int perform_rename(struct scene *at, struct model *m)
{
	char to[VS_NAME_MAX + 1], collection[VS_NAME_MAX + 1];
	struct vs_collection_info info;
	struct model_collection *target_collection;
	struct model_vector *target;
	uint64_t entry = 0, replaced = 0;
	int rc;

	op_name(at->op->to_name, to);
	op_collection_name(at->op->to_collection, collection);
	rc = vs_collection_find(at->s, 0, collection, &info);
	if (rc)
		return rc;
	rc = vs_rename(at->s, at->collection, at->name, info.id, to, at->op->exclusive, &entry, &replaced);
	if (rc)
		return rc;
	at->op->entry = entry;
	target_collection = model_find(m, collection);
	target = target_collection ? model_vector_find(target_collection, to) : NULL;
	if (target == at->v)
		return 0;
	if (target_collection == at->c)
		rc = check_entry(at, "renamed", entry, at->v);
	return rc ? rc : check_entry(at, "replaced", replaced, target);
}

/* ------------------------------------------------------------------ batches */

static int put_into_batch(struct scene *at, uint32_t batch, unsigned n)
{
	unsigned char data[BYTES_MAX];
	char name[VS_NAME_MAX + 1];
	struct vs_attr attr = at->op->attr;
	int rc = vs_entry_reserve(at->s, batch, &attr.entry);

	op_name((at->op->name + n) % OP_NAMES, name);
	op_bytes(at->op, n, data, at->op->size);
	return rc ? rc : vs_put(at->s, batch, name, &attr, data, at->op->size, NULL);
}

/* Ends an upload within a row, as one whose writer dies, and goes on after its first rows. */
static int resume_upload(struct scene *at, uint32_t batch, const struct vs_schema *schema, unsigned rows,
			 struct vs_upload **upload)
{
	int rc = vs_upload_append(*upload, "part", 4), ended;

	if (!rc)
		rc = vs_upload_trim(*upload);
	ended = vs_upload_end(*upload, !rc);
	if (!rc)
		rc = ended;
	return rc ? rc : vs_upload_resume(at->s, batch, schema, rows, upload);
}

static int upload_into_batch(struct scene *at, uint32_t batch)
{
	const struct op *op = at->op;
	unsigned char data[BYTES_MAX];
	struct vs_schema schema = at->c->schema;
	struct vs_upload *upload;
	int rc, ended;

	schema.dim = vs_dim_of_size(schema.dtype, op->size);
	rc = vs_upload_begin(at->s, batch, &schema, &upload);
	if (rc)
		return rc;
	for (unsigned i = 0; !rc && i < op->uploads; i++) {
		size_t half = op->size / 2;

		if (op_is_resumed(op) && i == op->uploads / 2) {
			rc = resume_upload(at, batch, &schema, i, &upload);
			if (rc)
				return rc;
		}

		op_bytes(op, op->puts + i, data, op->size);
		rc = vs_upload_append(upload, data, half);
		if (!rc)
			rc = vs_upload_append(upload, data + half, op->size - half);
	}
	ended = vs_upload_end(upload, !rc);
	return rc ? rc : ended;
}

/* Writes count ids from the batch's first-th on as one of its texts. */
static int write_text(struct scene *at, uint32_t batch, enum vs_batch_text which, unsigned first,
		      unsigned count)
{
	char text[32 * (VS_NAME_MAX + 2)];
	size_t size = 0;

	for (unsigned i = 0; i < count; i++) {
		op_name((at->op->name + first + i) % OP_NAMES, text + size);
		size += strlen(text + size);
		text[size++] = '\n';
	}
	return vs_batch_text_write(at->s, batch, which, text, size, 0);
}

static int write_attributes(struct scene *at, uint32_t batch)
{
	const struct vs_perm *p = &at->op->attr.perm;
	struct timespec mtime;
	int rc = 0;

	vs_time_split(at->op->attr.mtime, &mtime);
	for (unsigned i = 0; !rc && i < at->op->uploads; i++) {
		struct vs_file_attr attr = {mtime.tv_sec, (uint32_t)mtime.tv_nsec, p->mode, p->uid, p->gid};

		rc = vs_batch_text_write(at->s, batch, VS_BATCH_ATTRIBUTES, &attr, sizeof attr,
					 i * sizeof attr);
	}
	return rc;
}

static int perform_batch(struct scene *at)
{
	const struct op *op = at->op;
	char sentence[256] = "";
	uint32_t batch;
	int rc = vs_collection_create(at->s, at->collection, "b", &op->attr.perm, &batch);

	if (rc)
		return rc;
	for (unsigned i = 0; !rc && i < op->puts; i++)
		rc = put_into_batch(at, batch, i);
	if (!rc && op->uploads)
		rc = upload_into_batch(at, batch);
	if (!rc && op->uploads)
		rc = write_text(at, batch, VS_BATCH_IDS, op->puts, op->uploads);
	if (!rc && op->uploads && op_has_attributes(op))
		rc = write_attributes(at, batch);
	if (!rc && op->deletes)
		rc = write_text(at, batch, VS_BATCH_DELETE, op->puts + op->uploads, op->deletes);
	if (!rc)
		rc = vs_batch_commit(at->s, batch, 0, NULL, sentence, sizeof sentence);
	if (rc) /* a full disk ends nothing: the next one has the same name */
		vs_collection_remove(at->s, batch);
	return rc == -EINVAL ? wrong(at, "batch refused: %s", sentence) : rc;
}

/* ------------------------------------------------------------------ collections */

static int perform_create(struct scene *at)
{
	char name[VS_NAME_MAX + 1];
	uint32_t id = 0;
	int rc;

	op_collection_name(at->op->collection, name);
	rc = vs_collection_create(at->s, 0, name, &at->op->attr.perm, &id);
	at->op->entry = rc ? 0 : id;
	return rc;
}

static int perform_retitle(struct scene *at)
{
	char to[VS_NAME_MAX + 1];

	op_collection_name(at->op->to_collection, to);
	return vs_collection_rename(at->s, at->collection, to, at->op->exclusive);
}

static int perform_view(struct scene *at)
{
	const char *name = model_views[at->op->view];
	char why[200];

	if (at->op->kind == OP_UNVIEW)
		return vs_view_drop(at->s, at->collection, name);
	return vs_view_create(at->s, at->collection, name, NULL, why, sizeof why);
}

static int perform_snap(struct scene *at)
{
	char name[VS_NAME_MAX + 1];
	uint32_t id = 0;
	int rc;

	op_snap_name(at->op->name, name);
	rc = vs_snap_create(at->s, at->collection, name, &id);
	at->op->entry = rc ? 0 : id;
	return rc;
}

static int perform_with_snap(struct scene *at)
{
	struct vs_collection_info info;
	char name[VS_NAME_MAX + 1], to[VS_NAME_MAX + 1];
	uint32_t id = 0;
	int rc;

	op_snap_name(at->op->name, name);
	rc = vs_snap_find(at->s, at->collection, name, &info);
	if (rc)
		return rc;
	if (at->op->kind == OP_UNSNAP)
		return vs_snap_drop(at->s, info.id);
	if (at->op->kind == OP_ROLLBACK)
		return vs_snap_rollback(at->s, info.id);
	op_snap_name(at->op->to_name, to);
	if (at->op->kind == OP_RESNAP)
		return vs_snap_rename(at->s, info.id, to);
	op_collection_name(at->op->to_collection, to);
	rc = vs_snap_clone(at->s, info.id, to, &at->op->attr.perm, &id);
	at->op->entry = rc ? 0 : id;
	return rc;
}

static int perform(struct scene *at, struct model *m)
{
	struct op *op = at->op;

	switch (op->kind) {
	case OP_PUT:
		return perform_put(at);
	case OP_WRITE:
		return perform_write(at);
	case OP_READ:
		return perform_read(at);
	case OP_REMOVE:
		return perform_remove(at);
	case OP_RENAME:
		return perform_rename(at, m);
	case OP_ATTR:
		return perform_attr(at);
	case OP_BATCH:
		return perform_batch(at);
	case OP_DROP:
		return vs_collection_remove(at->s, at->collection);
	case OP_RETITLE:
		return perform_retitle(at);
	case OP_SCHEMA:
		return vs_schema_set(at->s, at->collection, &op->schema);
	case OP_SNAP:
		return perform_snap(at);
	case OP_UNSNAP:
	case OP_RESNAP:
	case OP_CLONE:
	case OP_ROLLBACK:
		return perform_with_snap(at);
	case OP_PERM:
		return vs_collection_set(at->s, at->collection, op->which, &op->attr.perm, op->attr.mtime);
	case OP_VIEW:
	case OP_UNVIEW:
		return perform_view(at);
	default:
		return 0;
	}
}

/* What a change of a vector has made of its ctime, which must have moved. */
static int learn_ctime(struct scene *at)
{
	bool renamed = at->op->kind == OP_RENAME;
	char name[VS_NAME_MAX + 1], collection[VS_NAME_MAX + 1];
	struct vs_collection_info info;
	struct vs_attr attr;
	int rc;

	if (at->op->kind != OP_PUT && at->op->kind != OP_WRITE && at->op->kind != OP_ATTR && !renamed)
		return 0;
	op_name(renamed ? at->op->to_name : at->op->name, name);
	op_collection_name(renamed ? at->op->to_collection : at->op->collection, collection);
	rc = vs_collection_find(at->s, 0, collection, &info);
	if (!rc)
		rc = vs_lookup(at->s, info.id, name, &attr);
	if (rc)
		return rc;
	at->op->ctime = attr.ctime;
	if (renamed && at->op->to_name == at->op->name && at->op->to_collection == at->op->collection)
		return 0;
	if (at->v && at->v->ctime && attr.ctime <= at->v->ctime)
		return wrong(at, "ctime has not moved");
	return 0;
}

int op_perform(struct op *op, struct model *m, struct vs_store *s, char *why, size_t why_size)
{
	struct scene at = {.op = op, .s = s, .why = why, .why_size = why_size};
	struct vs_collection_info info;
	char collection[VS_NAME_MAX + 1];
	int rc;

	why[0] = 0;
	if (op->kind == OP_SYNC)
		return vs_sync(s);
	if (op->kind == OP_REOPEN)
		return 0;
	if (op->kind == OP_CREATE)
		return perform_create(&at);
	op_collection_name(op->collection, collection);
	rc = vs_collection_find(s, 0, collection, &info);
	if (rc)
		return rc;
	at.collection = info.id;
	at.c = model_find(m, collection);
	if (!at.c)
		return wrong(&at, "%s is there and should not be", collection);
	op_name(op->name, at.name);
	at.v = model_vector_find(at.c, at.name);
	rc = perform(&at, m);
	return rc ? rc : learn_ctime(&at);
}
