/* SPDX-License-Identifier: Apache-2.0 */
/* tree - the public calls on collections. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rows.h"

static void info_fill(const struct vs_store *s, const struct collection *c, struct vs_collection_info *out)
{
	const struct perm_class *perm = engine_perm_get(s, c->perm);

	*out = (struct vs_collection_info){
		.id = c->id,
		.parent = c->parent,
		.schema = c->schema,
		.row_bytes = c->row_bytes,
		.schema_fixed = c->schema_fixed,
		.count = c->count,
		.name_bytes = c->name_bytes,
		.version = c->version,
		.segments = c->segment_count,
		.perm = {perm->mode, perm->uid, perm->gid},
		.mtime_ns = c->mtime_ns,
		.damaged = c->damaged,
	};
	snprintf(out->name, sizeof out->name, "%s", c->name);
}

int vs_collection_find(struct vs_store *s, uint32_t parent, const char *name, struct vs_collection_info *out)
{
	const struct collection *c;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_find(&s->table, parent, name);
	if (c)
		info_fill(s, c, out);
	pthread_rwlock_unlock(&s->lock);
	return c ? 0 : -ENOENT;
}

int vs_collection_get(struct vs_store *s, uint32_t id, struct vs_collection_info *out)
{
	const struct collection *c;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, id);
	if (c)
		info_fill(s, c, out);
	pthread_rwlock_unlock(&s->lock);
	return c ? 0 : -ENOENT;
}

int vs_collection_next(struct vs_store *s, uint32_t parent, uint32_t after, struct vs_collection_info *out)
{
	const struct collection *c, *up;

	pthread_rwlock_rdlock(&s->lock);
	up = collection_get(&s->table, parent);
	if (parent)
		c = up ? collection_next_child(up, after) : NULL;
	else
		for (c = collection_next(&s->table, after); c && c->parent != parent; c = collection_next(&s->table, c->id))
			;
	if (c)
		info_fill(s, c, out);
	pthread_rwlock_unlock(&s->lock);
	return c ? 0 : -ENOENT;
}

static int create(struct op *op, uint32_t parent, const char *name, const struct vs_perm *perm, uint32_t *id)
{
	struct vs_store *s = op->s;
	struct collection *up = collection_get(&s->table, parent), *c;
	uint32_t class;
	int rc;

	if (parent && (!up || up->parent))
		return -ENOENT;
	if (collection_find(&s->table, parent, name))
		return -EEXIST;
	if (s->next_collection > VS_COLLECTION_MAX)
		return -ENOSPC;
	rc = catalog_reserve(s, 1);
	if (!rc)
		rc = rows_perm(op, perm, &class);
	c = rc ? NULL : collection_new(s->next_collection, parent, name, s->hash_seed);
	if (!rc && !c)
		rc = -ENOMEM;
	if (!rc) {
		if (up)
			collection_set_schema(c, &up->schema);
		c->schema_fixed = up && up->schema_fixed;
		c->perm = class;
		c->fresh = true;
		c->mtime_ns = engine_now_ns();
		rc = collection_add(&s->table, c);
	}
	if (rc) {
		if (c)
			collection_free(s->io, c);
		return rc;
	}
	if (up)
		up->children++;
	*id = s->next_collection++;
	rows_log_collection(op, c);
	return 0;
}

int vs_collection_create(struct vs_store *s, uint32_t parent, const char *name, const struct vs_perm *perm,
                         uint32_t *id)
{
	struct op op;
	int rc = vs_name_check(name, strlen(name));

	if (!rc)
		rc = op_begin(s, &op, 2 * OP_SMALL_BYTES);
	if (rc)
		return rc;
	rc = create(&op, parent, name, perm, id);
	op_end(&op);
	return rc;
}

void collection_drop(struct op *op, struct collection *c)
{
	struct vs_store *s = op->s;
	struct collection *up = collection_get(&s->table, c->parent);

	op_append(op, RECORD_DROP, c->id, sizeof(struct record));
	if (up)
		up->children--;
	collection_take(&s->table, c);
	c->dropped_next = s->dropped;
	s->dropped = c;
}

int vs_collection_remove(struct vs_store *s, uint32_t id)
{
	struct collection *c;
	struct op op;
	int rc = op_begin(s, &op, OP_SMALL_BYTES);

	if (rc)
		return rc;
	c = collection_get(&s->table, id);
	if (!c)
		rc = -ENOENT;
	else if (c->upload || c->committing)
		rc = -EBUSY;
	else if (!c->parent && (c->count || c->dead || c->children || c->damaged))
		rc = -ENOTEMPTY;
	else
		collection_drop(&op, c);
	op_end(&op);
	return rc;
}

static int rename_collection(struct op *op, struct collection *c, const char *name, bool exclusive)
{
	struct vs_store *s = op->s;
	struct collection *target = collection_find(&s->table, c->parent, name);
	int rc;

	if (target == c)
		return 0;
	if (target && (exclusive || target->count || target->dead || target->children || target->damaged ||
	               target->parent))
		return exclusive ? -EEXIST : -ENOTEMPTY;
	rc = catalog_reserve(s, 1);
	if (rc)
		return rc;
	if (target)
		collection_drop(op, target);
	/* If memory fails here an empty collection of the new name is gone, and nothing else. */
	rc = collection_rename(&s->table, c, name);
	if (!rc)
		rows_log_collection(op, c);
	return rc;
}

int vs_collection_rename(struct vs_store *s, uint32_t id, const char *name, bool exclusive)
{
	struct collection *c;
	struct op op;
	int rc = vs_name_check(name, strlen(name));

	if (!rc)
		rc = op_begin(s, &op, 2 * OP_SMALL_BYTES);
	if (rc)
		return rc;
	c = collection_get(&s->table, id);
	rc = !c ? -ENOENT : c->committing ? -EBUSY : rename_collection(&op, c, name, exclusive);
	op_end(&op);
	return rc;
}

int vs_collection_set(struct vs_store *s, uint32_t id, unsigned which, const struct vs_perm *perm, int64_t mtime_ns)
{
	struct collection *c;
	struct op op;
	int rc = op_begin(s, &op, 2 * OP_SMALL_BYTES);

	if (rc)
		return rc;
	c = collection_get(&s->table, id);
	if (!c)
		rc = -ENOENT;
	else
		rc = rows_perm_change(&op, which, perm, &c->perm);
	if (!rc) {
		if (which & VS_SET_MTIME)
			c->mtime_ns = mtime_ns;
		rows_log_collection(&op, c);
	}
	op_end(&op);
	return rc;
}

int vs_schema_set(struct vs_store *s, uint32_t id, const struct vs_schema *schema)
{
	struct collection *c;
	struct op op;
	int rc;

	if ((unsigned)schema->dtype >= VS_DTYPE_COUNT || (unsigned)schema->metric >= VS_METRIC_COUNT ||
	    schema->dim > VS_ROW_BYTES_MAX * 8 || vs_row_bytes(schema) > VS_ROW_BYTES_MAX ||
	    (schema->dtype == VS_BIT && schema->dim % 8))
		return -EINVAL;
	rc = op_begin(s, &op, OP_SMALL_BYTES);
	if (rc)
		return rc;
	c = collection_get(&s->table, id);
	if (!c || c->schema_fixed || c->committing || c->children) {
		rc = c ? -EBUSY : -ENOENT;
	} else {
		collection_set_schema(c, schema);
		c->version++;
		rows_log_collection(&op, c);
	}
	op_end(&op);
	return rc;
}
