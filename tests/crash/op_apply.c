/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "quant/codec.h"
#include "tests/crash/op.h"

static struct model_vector *vector_of(struct model_collection *c, unsigned vector)
{
	char name[VS_NAME_MAX + 1];

	op_name(vector, name);
	return c ? model_vector_find(c, name) : NULL;
}

/* ------------------------------------------------------------------ vectors */

static void put_row(const struct op *op, struct model_collection *c, unsigned n, const struct vs_attr *attr)
{
	unsigned char data[1 << 14];
	char name[VS_NAME_MAX + 1];

	op_name((op->name + n) % OP_NAMES, name);
	op_bytes(op, n, data, op->size);
	model_put(c, name, attr, data, op->size);
}

static int apply_put(const struct op *op, struct model_collection *c)
{
	struct vs_attr attr = op->attr;

	attr.entry = op->entry;
	attr.ctime = op->ctime;
	put_row(op, c, 0, &attr);
	return 0;
}

static int apply_write(const struct op *op, struct model_collection *c, struct model_vector *v)
{
	unsigned char data[1 << 14];

	op_bytes(op, 0, data, op->size);
	model_patch(c, v, data, op->size, op->off);
	model_set(v, op->which & VS_SET_MTIME, &op->attr);
	v->ctime = op->ctime;
	return 0;
}

static bool other_shape(const struct vs_schema *from, const struct vs_schema *to)
{
	return from->dtype != to->dtype || (to->dim && to->dim != from->dim);
}

static int apply_rename(const struct op *op, struct model_collection *c, struct model_vector *v,
			struct model *m)
{
	struct model_collection *to = op_collection(m, op->to_collection);
	struct model_vector *target = vector_of(to, op->to_name), moved = *v;
	char name[VS_NAME_MAX + 1];
	struct vs_attr attr = {.entry = v->entry, .mtime = v->mtime, .ctime = op->ctime, .perm = v->perm};

	if (target && op->exclusive)
		return -EEXIST;
	if (other_shape(&c->schema, &to->schema))
		return -EXDEV;
	if (target == v)
		return 0;
	if (to != c)
		attr.entry = op->entry;
	op_name(op->to_name, name);
	moved.data = NULL;
	model_put(to, name, &attr, v->data, v->size);
	model_vector_find(to, name)->attr_known = moved.attr_known;
	model_remove(c, model_vector_find(c, moved.name));
	return 0;
}

static int apply_batch(const struct op *op, struct model_collection *c)
{
	/* Of rows of an upload the entry is not told, nor are attributes that it does not bring. */
	struct vs_attr attr = op->attr;

	attr.entry = 0;
	attr.ctime = 0;
	for (unsigned i = 0; i < op->puts + op->uploads; i++)
		put_row(op, c, i, i < op->puts || op_has_attributes(op) ? &attr : NULL);
	for (unsigned i = 0; i < op->deletes; i++) {
		struct model_vector *v = vector_of(c, (op->name + op->puts + op->uploads + i) % OP_NAMES);

		if (v)
			model_remove(c, v);
	}
	return 0;
}

static int apply_to_vector(const struct op *op, struct model_collection *c, struct model *m)
{
	struct model_vector *v = vector_of(c, op->name);

	if (op->kind == OP_PUT)
		return apply_put(op, c);
	if (op->kind == OP_BATCH)
		return apply_batch(op, c);
	if (!v)
		return -ENOENT;
	switch (op->kind) {
	case OP_WRITE:
		return apply_write(op, c, v);
	case OP_RENAME:
		return apply_rename(op, c, v, m);
	case OP_ATTR:
		model_set(v, op->which, &op->attr);
		v->ctime = op->ctime;
		return 0;
	case OP_REMOVE:
		model_remove(c, v);
		return 0;
	default:
		return 0;
	}
}

/* ------------------------------------------------------------------ collections */

static int apply_create(const struct op *op, struct model_collection *c, struct model *m)
{
	char name[VS_NAME_MAX + 1];

	if (c)
		return -EEXIST;
	op_collection_name(op->collection, name);
	model_add(m, name, (uint32_t)op->entry, &op->attr.perm);
	return 0;
}

static int apply_retitle(const struct op *op, struct model_collection *c, struct model *m)
{
	struct model_collection *target = op_collection(m, op->to_collection);
	char old[VS_NAME_MAX + 1], new[VS_NAME_MAX + 1];

	if (target == c)
		return 0;
	if (target && op->exclusive)
		return -EEXIST;
	if (target && (target->count || model_find_snap(m, target->name, NULL)))
		return -ENOTEMPTY;
	op_collection_name(op->collection, old);
	op_collection_name(op->to_collection, new);
	if (target)
		model_drop(m, target);
	strcpy(model_find(m, old)->name, new);
	for (size_t i = 0; i < m->count; i++)
		if (!strcmp(m->collections[i].parent, old))
			strcpy(m->collections[i].parent, new);
	return 0;
}

static int apply_snap(const struct op *op, struct model_collection *c, struct model *m)
{
	char name[VS_NAME_MAX + 1];

	op_snap_name(op->name, name);
	if (model_find_snap(m, c->name, name))
		return -EEXIST;
	model_clone(m, c, c->name, name, (uint32_t)op->entry, &c->perm);
	return 0;
}

static int apply_resnap(const struct op *op, struct model_collection *snap, struct model *m)
{
	struct model_collection *other;
	char name[VS_NAME_MAX + 1];

	op_snap_name(op->to_name, name);
	other = model_find_snap(m, snap->parent, name);
	if (other && other != snap)
		return -EEXIST;
	strcpy(snap->name, name);
	return 0;
}

static int apply_clone(const struct op *op, const struct model_collection *snap, struct model *m)
{
	char name[VS_NAME_MAX + 1];

	op_collection_name(op->to_collection, name);
	if (model_find(m, name))
		return -EEXIST;
	model_clone(m, snap, "", name, (uint32_t)op->entry, &op->attr.perm);
	return 0;
}

static int apply_to_snap(const struct op *op, const struct model_collection *c, struct model *m)
{
	struct model_collection *snap;
	char name[VS_NAME_MAX + 1];

	op_snap_name(op->name, name);
	snap = model_find_snap(m, c->name, name);
	if (!snap)
		return -ENOENT;
	if (op->kind == OP_RESNAP)
		return apply_resnap(op, snap, m);
	if (op->kind == OP_CLONE)
		return apply_clone(op, snap, m);
	if (op->kind == OP_ROLLBACK)
		return model_roll_back(m, snap);
	model_drop(m, snap);
	return 0;
}

static int apply_perm(const struct op *op, struct model_collection *c)
{
	if (op->which & VS_SET_MODE)
		c->perm.mode = op->attr.perm.mode;
	if (op->which & VS_SET_UID)
		c->perm.uid = op->attr.perm.uid;
	if (op->which & VS_SET_GID)
		c->perm.gid = op->attr.perm.gid;
	return 0;
}

static int apply_view(const struct op *op, struct model_collection *c)
{
	unsigned bit = 1u << op->view;
	struct codec_name codec;
	struct codec_plan plan;
	char why[200];

	if (op->kind == OP_UNVIEW) {
		if (!(c->views & bit))
			return -ENOENT;
		c->views &= ~bit;
		return 0;
	}
	if (c->views & bit)
		return -EEXIST;
	if (codec_parse(model_views[op->view], &codec) || !c->schema.dim ||
	    codec_plan(&codec, c->schema.dim, c->schema.metric, &plan, why, sizeof why) ||
	    c->count < plan.rows_min)
		return -EINVAL;
	c->views |= bit;
	return 0;
}

static int apply_to_collection(const struct op *op, struct model_collection *c, struct model *m)
{
	switch (op->kind) {
	case OP_DROP:
		if (c->count || model_find_snap(m, c->name, NULL))
			return -ENOTEMPTY;
		model_drop(m, c);
		return 0;
	case OP_RETITLE:
		return apply_retitle(op, c, m);
	case OP_SCHEMA:
		if (c->used) /* unless it is that already */
			return c->schema.dim == op->schema.dim && c->schema.dtype == op->schema.dtype &&
					       c->schema.metric == op->schema.metric
				       ? 0
				       : -EBUSY;
		c->schema = op->schema;
		c->dim_given = op->schema.dim;
		c->dtype_given = true;
		return 0;
	case OP_PERM:
		return apply_perm(op, c);
	case OP_VIEW:
	case OP_UNVIEW:
		return apply_view(op, c);
	case OP_SNAP:
		return apply_snap(op, c, m);
	case OP_UNSNAP:
	case OP_RESNAP:
	case OP_CLONE:
	case OP_ROLLBACK:
		return apply_to_snap(op, c, m);
	default:
		return 0;
	}
}

static int apply_op(const struct op *op, struct model *m)
{
	struct model_collection *c = op_collection(m, op->collection);

	if (op->kind >= OP_SYNC)
		return 0;
	if (op->kind == OP_CREATE)
		return apply_create(op, c, m);
	if (!c)
		return -ENOENT;
	if (op->kind < OP_CREATE)
		return apply_to_vector(op, c, m);
	return apply_to_collection(op, c, m);
}

int op_apply(const struct op *op, struct model *m)
{
	int rc = apply_op(op, m);

	model_settle(m);
	return rc;
}
