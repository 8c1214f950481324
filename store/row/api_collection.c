/* SPDX-License-Identifier: Apache-2.0 */
/* api_collection - the public calls on collections. */
#include <errno.h>
#include <string.h>

#include "store/clone/clone.h"
#include "store/row/row.h"

void collection_info(const struct vs_store *s, const struct collection *c, struct vs_collection_info *out)
{
	const struct perm_class *perm = engine_perm_get(s, c->perm);
	bool fixed;
	struct vs_schema schema = collection_schema(c, &fixed);

	*out = (struct vs_collection_info){
		.id = c->id,
		.parent = c->parent,
		.schema = schema,
		.row_bytes = vs_row_bytes(&schema),
		.schema_fixed = fixed,
		.schema_given = c->schema_given,
		.count = c->count,
		.name_bytes = c->name_bytes,
		.version = c->version,
		.segments = c->segment_count,
		.perm = {perm->mode, perm->uid, perm->gid},
		.mtime = c->mtime,
		.ctime = c->ctime,
		.damaged = c->damaged,
		.frozen = c->frozen,
	};
	memcpy(out->name, c->name, strlen(c->name) + 1);
}

int vs_collection_find(struct vs_store *s, uint32_t parent, const char *name, struct vs_collection_info *out)
{
	const struct collection *c;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_find(&s->table, parent, name);
	if (c)
		collection_info(s, c, out);
	pthread_rwlock_unlock(&s->lock);
	return c ? 0 : -ENOENT;
}

int vs_collection_get(struct vs_store *s, uint32_t id, struct vs_collection_info *out)
{
	const struct collection *c;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, id);
	if (c)
		collection_info(s, c, out);
	pthread_rwlock_unlock(&s->lock);
	return c ? 0 : -ENOENT;
}

int vs_collection_next(struct vs_store *s, uint32_t parent, uint32_t after, struct vs_collection_info *out)
{
	const struct collection *c, *up;

	pthread_rwlock_rdlock(&s->lock);
	up = collection_get(&s->table, parent);
	if (parent)
		c = up ? collection_next_child(up, false, after) : NULL;
	else
		for (c = collection_next(&s->table, after); c && c->parent != parent;
		     c = collection_next(&s->table, c->id))
			;
	if (c)
		collection_info(s, c, out);
	pthread_rwlock_unlock(&s->lock);
	return c ? 0 : -ENOENT;
}

static void root_log(struct txn *txn)
{
	struct record_root *r = txn_append(txn, RECORD_ROOT, 0, sizeof *r);

	r->root = txn->s->root;
}

/* The directory of the collections has changed, unless parent tells that it was a batch. */
static void root_listed(struct txn *txn, uint32_t parent)
{
	struct catalog_root *root = &txn->s->root;

	if (parent)
		return;
	root->mtime = root->ctime = vs_time_after(root->ctime, vs_time_now());
	root_log(txn);
}

void rows_root_listed(struct txn *txn)
{
	root_listed(txn, 0);
}

static int create(struct txn *txn, uint32_t parent, const char *name, const struct vs_perm *perm,
		  uint32_t *id)
{
	struct vs_store *s = txn->s;
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
		rc = rows_perm(txn, perm, &class);
	c = rc ? NULL : collection_new(s->next_collection, parent, name, s->hash_seed);
	if (!rc && !c)
		rc = -ENOMEM;
	if (!rc) {
		if (up)
			collection_set_schema(c, &up->schema);
		c->schema_fixed = up && up->schema_fixed;
		c->schema_given = up && up->schema_given;
		c->dim_given = up && up->dim_given;
		c->perm = class;
		c->fresh = true;
		collection_listed(c);
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
	rows_log_collection(txn, c);
	root_listed(txn, parent);
	return 0;
}

int vs_collection_create(struct vs_store *s, uint32_t parent, const char *name, const struct vs_perm *perm,
			 uint32_t *id)
{
	struct txn txn;
	int rc = vs_name_check(name, strlen(name));

	if (!rc && parent) /* a batch has the schema that its vectors are to have */
		rc = rows_free_schema(s, parent);
	if (!rc && parent && (rc = clone_load(s, parent)) == -EIO)
		rc = 0; /* the commit will say so */
	if (!rc)
		rc = txn_begin(s, &txn, 3 * TXN_SMALL_BYTES);
	if (rc)
		return rc;
	rc = create(&txn, parent, name, perm, id);
	txn_end(&txn);
	return rc;
}

void collection_drop(struct txn *txn, struct collection *c)
{
	struct vs_store *s = txn->s;
	struct collection *up = collection_get(&s->table, c->parent);

	txn_append(txn, RECORD_DROP, c->id, sizeof(struct record));
	if (up)
		up->children--;
	collection_take(&s->table, c);
	c->attaching = NULL;
	*s->dropped_end = c;
	s->dropped_end = &c->dropped_next;
}

int vs_collection_remove(struct vs_store *s, uint32_t id)
{
	struct collection *c;
	struct txn txn;
	int rc = txn_begin(s, &txn, 2 * TXN_SMALL_BYTES);

	if (rc)
		return rc;
	c = collection_get(&s->table, id);
	if (!c)
		rc = -ENOENT;
	else if (c->frozen)
		rc = -EROFS;
	else if (c->upload || c->committing)
		rc = -EBUSY;
	else if (!c->parent && (c->count || c->deleted || c->children || c->damaged))
		rc = -ENOTEMPTY;
	else {
		root_listed(&txn, c->parent);
		collection_drop(&txn, c);
	}
	txn_end(&txn);
	return rc;
}

static int rename_collection(struct txn *txn, struct collection *c, const char *name, bool exclusive)
{
	struct vs_store *s = txn->s;
	struct collection *target = collection_find(&s->table, c->parent, name);
	int rc;

	if (target == c)
		return 0;
	if (target && (exclusive || target->count || target->deleted || target->children || target->damaged ||
		       target->parent))
		return exclusive ? -EEXIST : -ENOTEMPTY;
	rc = catalog_reserve(s, 1);
	if (rc)
		return rc;
	if (target)
		collection_drop(txn, target);
	/* If memory fails here an empty collection of the new name is gone, and nothing else. */
	rc = collection_rename(&s->table, c, name);
	if (!rc) {
		collection_changed(c);
		rows_log_collection(txn, c);
		root_listed(txn, c->parent);
	}
	return rc;
}

int vs_collection_rename(struct vs_store *s, uint32_t id, const char *name, bool exclusive)
{
	struct collection *c;
	struct txn txn;
	int rc = vs_name_check(name, strlen(name));

	if (!rc)
		rc = txn_begin(s, &txn, 3 * TXN_SMALL_BYTES);
	if (rc)
		return rc;
	c = collection_get(&s->table, id);
	rc = !c              ? -ENOENT
	     : c->frozen     ? -EROFS
	     : c->committing ? -EBUSY
			     : rename_collection(&txn, c, name, exclusive);
	txn_end(&txn);
	return rc;
}

int vs_collection_set(struct vs_store *s, uint32_t id, unsigned which, const struct vs_perm *perm,
		      vs_time mtime)
{
	struct collection *c;
	struct txn txn;
	int rc = txn_begin(s, &txn, 2 * TXN_SMALL_BYTES);

	if (rc)
		return rc;
	c = collection_get(&s->table, id);
	if (!c || c->frozen)
		rc = c ? -EROFS : -ENOENT;
	else
		rc = rows_perm_change(&txn, which, perm, &c->perm);
	if (!rc) {
		collection_changed(c);
		if (which & VS_SET_MTIME)
			c->mtime = mtime;
		rows_log_collection(&txn, c);
	}
	txn_end(&txn);
	return rc;
}

static bool schema_is_possible(const struct vs_schema *schema)
{
	return (unsigned)schema->dtype < VS_DTYPE_COUNT && (unsigned)schema->metric < VS_METRIC_COUNT &&
	       schema->dim <= VS_ROW_BYTES_MAX * 8 && vs_row_bytes(schema) <= VS_ROW_BYTES_MAX &&
	       (schema->dtype != VS_BIT || schema->dim % 8 == 0);
}

/* What the collection's schema becomes; -EALREADY: it is that already. */
static int schema_merge(const struct collection *c, unsigned which, const struct vs_schema *schema,
			struct vs_schema *out)
{
	*out = c->schema;
	if (which & VS_SCHEMA_DIM)
		out->dim = schema->dim;
	if (which & VS_SCHEMA_DTYPE)
		out->dtype = schema->dtype;
	if (which & VS_SCHEMA_METRIC)
		out->metric = schema->metric;
	if (which & VS_SCHEMA_FREE)
		out->dtype = VS_F32;
	if (!schema_is_possible(out))
		return -EINVAL;
	if (out->dim != c->schema.dim || out->dtype != c->schema.dtype || out->metric != c->schema.metric ||
	    (which & VS_SCHEMA_DTYPE && collection_is_free(c)) ||
	    (which & VS_SCHEMA_FREE && !collection_is_free(c)))
		return c->schema_fixed || c->committing || collection_next_child(c, false, 0) ? -EBUSY : 0;
	return -EALREADY;
}

int vs_schema_change(struct vs_store *s, uint32_t id, unsigned which, const struct vs_schema *schema)
{
	struct vs_schema merged;
	struct collection *c;
	struct txn txn;
	int rc = rows_free_schema(s, id);

	if (!rc)
		rc = txn_begin(s, &txn, TXN_SMALL_BYTES);
	if (rc)
		return rc;
	c = collection_get(&s->table, id);
	rc = !c ? -ENOENT : c->frozen ? -EROFS : schema_merge(c, which, schema, &merged);
	if (!rc) {
		collection_set_schema(c, &merged);
		if (which & (VS_SCHEMA_DTYPE | VS_SCHEMA_FREE))
			c->schema_given = !(which & VS_SCHEMA_FREE);
		if (which & VS_SCHEMA_DIM)
			c->dim_given = merged.dim;
		c->changed = ++c->version;
		rows_log_collection(&txn, c);
	}
	txn_end(&txn);
	return rc == -EALREADY ? 0 : rc;
}

int vs_schema_set(struct vs_store *s, uint32_t id, const struct vs_schema *schema)
{
	if (!schema_is_possible(schema))
		return -EINVAL;
	return vs_schema_change(s, id, VS_SCHEMA_DIM | VS_SCHEMA_DTYPE | VS_SCHEMA_METRIC, schema);
}

/* ------------------------------------------------------------------ the root */

void vs_root_get(struct vs_store *s, struct vs_root *out)
{
	const struct perm_class *perm;

	pthread_rwlock_rdlock(&s->lock);
	*out = (struct vs_root){
		.owned = s->root.perm != PERM_NONE, .mtime = s->root.mtime, .ctime = s->root.ctime};
	if (out->owned) {
		perm = engine_perm_get(s, s->root.perm);
		out->perm = (struct vs_perm){perm->mode, perm->uid, perm->gid};
	}
	pthread_rwlock_unlock(&s->lock);
}

int vs_root_set(struct vs_store *s, unsigned which, const struct vs_perm *perm, vs_time mtime)
{
	const unsigned all = VS_SET_MODE | VS_SET_UID | VS_SET_GID;
	struct txn txn;
	int rc = txn_begin(s, &txn, 2 * TXN_SMALL_BYTES);

	if (rc)
		return rc;
	if (s->root.perm != PERM_NONE)
		rc = rows_perm_change(&txn, which, perm, &s->root.perm);
	else if (which & all)
		rc = (which & all) == all ? rows_perm(&txn, perm, &s->root.perm) : -EINVAL;
	if (!rc) {
		s->root.ctime = vs_time_after(s->root.ctime, vs_time_now());
		if (which & VS_SET_MTIME)
			s->root.mtime = mtime;
		root_log(&txn);
	}
	txn_end(&txn);
	return rc;
}

/* ------------------------------------------------------------------ attributes */

ssize_t vs_attribute_get(struct vs_store *s, uint32_t collection, enum vs_attribute tag, void *value,
			 size_t size)
{
	const struct collection *c;
	const void *found = NULL;
	uint32_t bytes = 0;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, collection);
	if (c)
		found = attributes_find(&c->attributes, tag, &bytes);
	if (found)
		memcpy(value, found, size < bytes ? size : bytes);
	pthread_rwlock_unlock(&s->lock);
	return found ? (ssize_t)bytes : -ENOENT;
}

int vs_attribute_set(struct vs_store *s, uint32_t collection, enum vs_attribute tag, const void *value,
		     size_t size)
{
	struct collection *c;
	struct record *r;
	struct txn txn;
	int rc;

	if (!attribute_is_public(tag) || size > VS_ATTRIBUTE_BYTES_MAX)
		return -EINVAL;
	rc = txn_begin(s, &txn, sizeof *r + attribute_bytes((uint32_t)size));
	if (rc)
		return rc;
	c = collection_get(&s->table, collection);
	rc = c && c->frozen ? -EROFS
	     : c            ? catalog_reserve_bytes(s, attribute_bytes((uint32_t)size))
			    : -ENOENT;
	if (!rc)
		rc = collection_set_attribute(&s->table, c, tag, value, (uint32_t)size);
	if (!rc) {
		r = txn_append(&txn, RECORD_ATTRIBUTE, c->id, sizeof *r + size);
		r->row = tag;
		r->value = size;
		if (size)
			memcpy(r + 1, value, size);
	}
	txn_end(&txn);
	return rc;
}
