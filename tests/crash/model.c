/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/crash/model.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>
#include "tests/unit/codes.h"

const char *const model_views[MODEL_VIEWS] = {"f16", "sq8", "bit", "rabitq1", "rabitq3"};

static void empty(struct model_collection *c)
{
	for (size_t i = 0; i < c->count; i++)
		free(c->vectors[i].data);
	free(c->vectors);
}

void model_clear(struct model *m)
{
	for (size_t i = 0; i < m->count; i++)
		empty(&m->collections[i]);
	m->count = 0;
}

/* ------------------------------------------------------------------ collections */

struct model_collection *model_find(struct model *m, const char *name)
{
	for (size_t i = 0; i < m->count; i++)
		if (!m->collections[i].parent[0] && !strcmp(m->collections[i].name, name))
			return &m->collections[i];
	return NULL;
}

struct model_collection *model_add(struct model *m, const char *name, uint32_t id, const struct vs_perm *perm)
{
	struct model_collection *c;

	if (m->count == MODEL_COLLECTIONS_MAX)
		return NULL;
	c = &m->collections[m->count++];
	*c = (struct model_collection){.id = id, .perm = *perm};
	snprintf(c->name, sizeof c->name, "%s", name);
	return c;
}

struct model_collection *model_find_snap(struct model *m, const char *parent, const char *name)
{
	for (size_t i = 0; i < m->count; i++)
		if (!strcmp(m->collections[i].parent, parent) &&
		    (!name || !strcmp(m->collections[i].name, name)))
			return &m->collections[i];
	return NULL;
}

static void copy_vectors(struct model_collection *c, const struct model_collection *from)
{
	c->count = c->room = from->count;
	c->hash_sum = from->hash_sum;
	c->vectors = malloc((c->room + 1) * sizeof *c->vectors);
	assert(c->vectors);
	for (size_t i = 0; i < c->count; i++) {
		c->vectors[i] = from->vectors[i];
		c->vectors[i].data = malloc(c->vectors[i].size);
		assert(c->vectors[i].data);
		memcpy(c->vectors[i].data, from->vectors[i].data, c->vectors[i].size);
	}
}

int model_roll_back(struct model *m, const struct model_collection *snap)
{
	struct model_collection *c = model_find(m, snap->parent);

	if (c->used && snap->used &&
	    (c->schema.dim != snap->schema.dim || c->schema.dtype != snap->schema.dtype ||
	     c->schema.metric != snap->schema.metric))
		return -EBUSY;
	empty(c);
	copy_vectors(c, snap);
	for (size_t i = 0; i < c->count; i++)
		c->vectors[i].entry = c->vectors[i].ctime = 0;
	if (c->used)
		return 0;
	c->schema = snap->schema;
	c->used = snap->used;
	c->dim_given = snap->dim_given;
	c->dtype_given = snap->dtype_given;
	return 0;
}

struct model_collection *model_clone(struct model *m, const struct model_collection *from, const char *parent,
				     const char *name, uint32_t id, const struct vs_perm *perm)
{
	struct model_collection *c = model_add(m, name, id, perm);

	if (!c)
		return NULL;
	snprintf(c->parent, sizeof c->parent, "%s", parent);
	c->schema = from->schema;
	c->used = from->used;
	c->dim_given = from->dim_given;
	c->dtype_given = from->dtype_given;
	copy_vectors(c, from);
	return c;
}

void model_settle(struct model *m)
{
	for (size_t i = 0; i < m->count; i++) {
		struct model_collection *c = &m->collections[i];

		if (c->parent[0] || !c->used || c->count)
			continue;
		c->used = false;
		if (!c->dim_given)
			c->schema.dim = 0;
		if (!c->dtype_given)
			c->schema.dtype = VS_F32;
	}
}

void model_drop(struct model *m, struct model_collection *c)
{
	empty(c);
	*c = m->collections[--m->count];
}

/* ------------------------------------------------------------------ vectors */

static void hash_vector(struct model_collection *c, struct model_vector *v)
{
	c->hash_sum -= v->hash;
	v->hash = XXH3_64bits_withSeed(v->data, v->size, XXH3_64bits(v->name, strlen(v->name)));
	c->hash_sum += v->hash;
}

struct model_vector *model_vector_find(struct model_collection *c, const char *name)
{
	for (size_t i = 0; i < c->count; i++)
		if (!strcmp(c->vectors[i].name, name))
			return &c->vectors[i];
	return NULL;
}

void model_put(struct model_collection *c, const char *name, const struct vs_attr *attr, const void *data,
	       size_t size)
{
	struct model_vector *v = model_vector_find(c, name);

	if (!v) {
		if (c->count == c->room) {
			c->room = c->room ? c->room * 2 : 16;
			c->vectors = realloc(c->vectors, c->room * sizeof *c->vectors);
			assert(c->vectors);
		}
		v = &c->vectors[c->count++];
		*v = (struct model_vector){0};
		snprintf(v->name, sizeof v->name, "%s", name);
	}
	free(v->data);
	v->data = malloc(size);
	assert(v->data);
	memcpy(v->data, data, size);
	v->size = size;
	v->entry = attr ? attr->entry : 0;
	v->attr_known = attr != NULL;
	v->ctime = attr ? attr->ctime : 0;
	if (attr) {
		v->mtime = attr->mtime;
		v->perm = attr->perm;
	}
	hash_vector(c, v);
	c->schema.dim = vs_dim_of_size(c->schema.dtype, size);
	c->used = true;
}

void model_patch(struct model_collection *c, struct model_vector *v, const void *data, size_t size,
		 size_t off)
{
	assert(off + size <= v->size);
	memcpy(v->data + off, data, size);
	hash_vector(c, v);
}

void model_set(struct model_vector *v, unsigned which, const struct vs_attr *attr)
{
	if (which & VS_SET_MODE)
		v->perm.mode = attr->perm.mode;
	if (which & VS_SET_UID)
		v->perm.uid = attr->perm.uid;
	if (which & VS_SET_GID)
		v->perm.gid = attr->perm.gid;
	if (which & VS_SET_MTIME)
		v->mtime = attr->mtime;
}

void model_remove(struct model_collection *c, struct model_vector *v)
{
	c->hash_sum -= v->hash;
	free(v->data);
	*v = c->vectors[--c->count];
}

/* ------------------------------------------------------------------ comparing */

static uint64_t collection_hash(const struct model_collection *c)
{
	uint64_t parts[] = {XXH3_64bits(c->name, strlen(c->name)),
			    XXH3_64bits(c->parent, strlen(c->parent)),
			    c->schema.dim,
			    c->schema.dtype,
			    c->schema.metric,
			    c->hash_sum,
			    c->views,
			    c->count};

	return XXH3_64bits(parts, sizeof parts);
}

uint64_t model_hash(const struct model *m)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < m->count; i++)
		sum += collection_hash(&m->collections[i]);
	return sum;
}

static bool same_perm(const struct vs_perm *a, const struct vs_perm *b)
{
	return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid;
}

static const char *vector_difference(const struct model_vector *want, const struct model_vector *got)
{
	if (!got)
		return "missing";
	if (want->size != got->size || memcmp(want->data, got->data, want->size) != 0)
		return "other bytes";
	if (want->entry && want->entry != got->entry)
		return "other entry number";
	if (want->attr_known && want->mtime != got->mtime)
		return "other mtime";
	if (want->ctime && want->ctime != got->ctime)
		return "other ctime";
	if (want->attr_known && !same_perm(&want->perm, &got->perm))
		return "other permissions";
	return NULL;
}

static const char *collection_difference(const struct model_collection *want,
					 const struct model_collection *got)
{
	if (!got)
		return "missing";
	if (want->id && want->id != got->id)
		return "other number";
	if (want->schema.dim != got->schema.dim || want->schema.dtype != got->schema.dtype ||
	    want->schema.metric != got->schema.metric)
		return "other schema";
	if (want->views != got->views)
		return "other views";
	if (want->used != got->used)
		return got->used ? "the schema is fixed" : "the schema is not fixed";
	if (!same_perm(&want->perm, &got->perm))
		return "other permissions";
	return NULL;
}

static bool same_collection(struct model_collection *want, struct model_collection *got, char *why,
			    size_t why_size)
{
	const char *what = collection_difference(want, got);

	if (what) {
		snprintf(why, why_size, "%s@%s/: %s", want->parent, want->name, what);
		return false;
	}
	for (size_t i = 0; i < want->count; i++) {
		const struct model_vector *v = &want->vectors[i];

		what = vector_difference(v, model_vector_find(got, v->name));
		if (what) {
			snprintf(why, why_size, "%s@%s/%.40s: %s", want->parent, want->name, v->name, what);
			return false;
		}
	}
	for (size_t i = 0; i < got->count; i++) {
		if (!model_vector_find(want, got->vectors[i].name)) {
			snprintf(why, why_size, "%s/%.40s: too many", want->name, got->vectors[i].name);
			return false;
		}
	}
	return true;
}

bool model_same(struct model *want, struct model *got, char *why, size_t why_size)
{
	for (size_t i = 0; i < want->count; i++) {
		struct model_collection *c = &want->collections[i];

		if (got->no_snapshots && c->parent[0])
			continue;
		if (!same_collection(c, model_find_snap(got, c->parent, c->name), why, why_size))
			return false;
	}
	for (size_t i = 0; i < got->count; i++) {
		if (!model_find_snap(want, got->collections[i].parent, got->collections[i].name)) {
			snprintf(why, why_size, "%s@%s/: too many", got->collections[i].parent,
				 got->collections[i].name);
			return false;
		}
	}
	return true;
}

/* ------------------------------------------------------------------ loading */

struct listing {
	struct model_collection *c;
	bool twice;
};

static bool add_listed(void *arg, const struct vs_attr *attr, const char *name, size_t name_len)
{
	static const unsigned char nothing[VS_ROW_BYTES_MAX];
	struct listing *l = arg;
	char text[VS_NAME_MAX + 1];

	snprintf(text, sizeof text, "%.*s", (int)name_len, name);
	if (model_vector_find(l->c, text))
		l->twice = true;
	model_put(l->c, text, attr, nothing, attr->size);
	return true;
}

static int load_vector(struct vs_store *s, struct model_collection *c, struct model_vector *v, char *why,
		       size_t why_size)
{
	struct vs_attr attr;
	ssize_t got = vs_read(s, c->id, v->entry, v->data, v->size, 0);
	int rc;

	if (got != (ssize_t)v->size) {
		snprintf(why, why_size, "%s/%.40s: read answers %zd", c->name, v->name, got);
		return got < 0 ? (int)got : -EIO;
	}
	hash_vector(c, v);
	rc = vs_lookup(s, c->id, v->name, &attr);
	if (rc || attr.entry != v->entry) {
		snprintf(why, why_size, "%s/%.40s: listed as entry %llu, but looked up it is another (%d)",
			 c->name, v->name, (unsigned long long)v->entry, rc);
		return rc ? rc : -EIO;
	}
	return 0;
}

/* The bulk view has the same rows, in its own order. */
static int check_moment(struct vs_store *s, struct model_collection *c, char *why, size_t why_size)
{
	struct vs_snapshot *moment;
	struct vs_snapshot_info info;
	struct model_collection bulk = {.schema = c->schema};
	char *ids = NULL, *id, *rest;
	unsigned char *rows = NULL;
	size_t bytes;
	int rc = vs_snapshot_open(s, c->id, &moment);

	if (rc) {
		snprintf(why, why_size, "%s/: moment: %s", c->name, strerror(-rc));
		return rc;
	}
	vs_snapshot_info(moment, &info);
	bytes = info.rows * info.row_bytes;
	ids = calloc(1, info.ids_bytes + 1);
	rows = malloc(bytes + 1);
	assert(ids && rows);
	rest = ids;
	if (vs_snapshot_ids(moment, ids, info.ids_bytes, 0) == (ssize_t)info.ids_bytes &&
	    vs_snapshot_vectors(moment, rows, bytes, 0) == (ssize_t)bytes)
		for (uint64_t i = 0; i < info.rows && (id = strsep(&rest, "\n")); i++)
			model_put(&bulk, id, NULL, rows + i * info.row_bytes, info.row_bytes);
	if (bulk.count != c->count || bulk.hash_sum != c->hash_sum) {
		snprintf(why, why_size, "%s/: the bulk view differs from the vectors", c->name);
		rc = -EIO;
	}
	empty(&bulk);
	free(ids);
	free(rows);
	vs_snapshot_close(moment);
	return rc;
}

/* The codes of a view must be those of the vectors, whether there were files with them or not. */
static int check_codes(struct vs_store *s, struct model_collection *c, const char *view, char *why,
		       size_t why_size)
{
	struct vs_snapshot *m;
	struct vs_snapshot_info info;
	struct vs_view_info gone;
	struct vs_view *v;
	int rc = vs_snapshot_open(s, c->id, &m);

	if (rc) {
		snprintf(why, why_size, "%s/: view %s: moment: %s", c->name, view, strerror(-rc));
		return rc;
	}
	vs_snapshot_info(m, &info);
	rc = vs_view_open(m, view, &v);
	if (!rc) {
		size_t bytes = vs_view_code_bytes(v);
		char *got = codes_zeros(info.rows * bytes),
		     *want = codes_of_vectors(m, vs_view_codec(v), bytes);

		rc = vs_view_codes(v, 0, info.rows, got);
		if (rc || !want || memcmp(got, want, info.rows * bytes) != 0) {
			snprintf(why, why_size, "%s/: view %s: other codes (%d)", c->name, view, rc);
			rc = -EIO;
		}
		free(got);
		free(want);
		vs_view_close(v);
	}
	vs_snapshot_close(m);
	/* Not trained yet; or the builder has just found that the collection is of another kind than its
	 * snapshot. */
	if (rc == -EAGAIN || (rc == -ENOENT && c->parent[0] && vs_view_get(s, c->id, view, &gone) == rc))
		return 0;
	if (rc && rc != -EIO)
		snprintf(why, why_size, "%s/: view %s: %s", c->name, view, strerror(-rc));
	return rc;
}

static unsigned view_bit(const char *name)
{
	unsigned i = 0;

	while (i < MODEL_VIEWS && strcmp(name, model_views[i]) != 0)
		i++;
	return 1u << i;
}

/* A snapshot has views of its collection, of which not all need fit it: none of them is a state of its own.
 */
static int load_views(struct model *m, struct vs_store *s, struct model_collection *c, char *why,
		      size_t why_size)
{
	const struct model_collection *of = c->parent[0] ? model_find(m, c->parent) : NULL;
	struct vs_view_info info = {.name = ""};
	int rc = 0;

	while (!rc && !vs_view_next(s, c->id, info.name, &info)) {
		unsigned bit = view_bit(info.name);

		if (!c->parent[0]) {
			c->views |= bit;
		} else if (!of || !(of->views & bit)) {
			snprintf(why, why_size, "%s@%s/: view %s is not of its collection", c->parent,
				 c->name, info.name);
			return -EIO;
		}
		rc = check_codes(s, c, info.name, why, why_size);
	}
	return rc;
}

static int load_collection(struct model *m, struct vs_store *s, const struct vs_collection_info *info,
			   const char *parent, char *why, size_t why_size)
{
	struct model_collection *c = model_add(m, info->name, info->id, &info->perm);
	struct listing l = {.c = c};
	int rc;

	if (!c) {
		snprintf(why, why_size, "more collections than were ever created");
		return -EIO;
	}
	snprintf(c->parent, sizeof c->parent, "%s", parent);
	c->schema = info->schema;
	rc = vs_list(s, info->id, 0, add_listed, &l);
	c->schema = info->schema;
	c->used = info->schema_fixed;
	if (rc < 0 || l.twice || c->count != info->count) {
		snprintf(why, why_size, "%s/: list answers %d with %zu of %llu names%s", c->name, rc,
			 c->count, (unsigned long long)info->count, l.twice ? ", one twice" : "");
		return rc < 0 ? rc : -EIO;
	}
	for (size_t i = 0; i < c->count; i++) {
		rc = load_vector(s, c, &c->vectors[i], why, why_size);
		if (rc)
			return rc;
	}
	rc = load_views(m, s, c, why, why_size);
	return rc || m->rows_only ? rc : check_moment(s, c, why, why_size);
}

static int load_snapshots(struct model *m, struct vs_store *s, const struct vs_collection_info *of, char *why,
			  size_t why_size)
{
	struct vs_collection_info info;
	uint32_t after = 0;
	int rc = 0;

	while (!rc && !m->no_snapshots && !vs_snap_next(s, of->id, after, &info)) {
		after = info.id;
		rc = load_collection(m, s, &info, of->name, why, why_size);
	}
	return rc;
}

int model_load(struct model *m, struct vs_store *s, char *why, size_t why_size)
{
	struct vs_collection_info info;
	uint32_t after = 0;
	int rc;

	model_clear(m);
	while (!(rc = vs_collection_next(s, 0, after, &info))) {
		after = info.id;
		if (info.damaged) {
			snprintf(why, why_size, "%s/: damaged", info.name);
			return -EIO;
		}
		rc = load_collection(m, s, &info, "", why, why_size);
		if (!rc)
			rc = load_snapshots(m, s, &info, why, why_size);
		if (rc)
			return rc;
	}
	if (rc == -ENOENT)
		return 0;
	snprintf(why, why_size, "next collection: %s", strerror(-rc));
	return rc;
}
