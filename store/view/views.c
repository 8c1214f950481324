/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/views.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/base/checksum.h"
#include "store/base/clock.h"
#include "store/view/builder.h"
#include "store/view/code_file.h"
#include "store/view/early.h"

#define WAIT_MS 50
/* A view that was complete is called ready while so few rows, or such a share, wait for their codes. */
#define READY_ROWS 1024u
#define READY_SHARE 100u

/* ------------------------------------------------------------------ the table */

struct view *views_find(struct views *vs, uint32_t collection, const char *name)
{
	struct view *v = vs->first;

	while (v && (v->dropped || v->collection != collection || strcmp(v->d.name, name)))
		v = v->next;
	return v;
}

struct segment *views_shared_segment(const struct vs_store *s, uint32_t owner, const struct segment *seg)
{
	const struct collection *c = collection_get(&s->table, owner);
	struct segment *own = c && seg->n < c->segment_count ? c->segments[seg->n] : NULL;

	return own && segment_has_files(own) && !own->going && seg->share && own->share == seg->share ? own
												      : NULL;
}

uint32_t views_find_owner(struct vs_store *s, uint32_t collection)
{
	const struct collection *c;
	uint32_t owner;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, collection);
	owner = c ? views_owner(c) : collection;
	pthread_rwlock_unlock(&s->lock);
	return owner;
}

static void collection_name(struct vs_store *s, uint32_t collection, char name[VS_NAME_MAX + 1])
{
	const struct collection *c;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, collection);
	snprintf(name, VS_NAME_MAX + 1, "%s", c ? c->name : "?");
	pthread_rwlock_unlock(&s->lock);
}

void view_report(struct vs_store *s, const struct view *v, enum vs_severity severity, const char *what)
{
	char name[VS_NAME_MAX + 1];

	collection_name(s, v->collection, name);
	engine_report(s, severity, "%s/.vecfs/views/%s: %s", name, v->d.name, what);
}

void view_report_blocks(struct vs_store *s, const struct view *v, const struct segment *seg, uint64_t blocks)
{
	char what[128];

	if (!blocks)
		return;
	snprintf(what, sizeof what,
		 "segment %u: %llu blocks of codes are not as they were written; they are encoded anew",
		 seg->n, (unsigned long long)blocks);
	view_report(s, v, VS_WARNING, what);
}

static struct view *view_add(struct views *vs, uint32_t collection, const struct view_definition *d)
{
	struct view *v = calloc(1, sizeof *v);

	if (!v)
		return NULL;
	v->collection = collection;
	v->refs = 1;
	v->d = *d;
	v->sweep = true;
	pthread_mutex_lock(&vs->mutex);
	v->next = vs->first;
	vs->first = v;
	pthread_mutex_unlock(&vs->mutex);
	return v;
}

static int load_collection(struct vs_store *s, const struct collection *c)
{
	uint32_t bytes;
	const char *text = attributes_find(&c->attributes, VS_ATTRIBUTE_VIEWS, &bytes), *end = text + bytes;
	struct view *v;

	while (text && text < end) {
		struct view_definition d;

		if (definition_parse(&text, end, &d)) {
			engine_report(s, VS_WARNING,
				      "%s: a view is defined in a way that this program does not know",
				      c->name);
			return 0;
		}
		v = view_add(s->views, c->id, &d);
		if (!v)
			return -ENOMEM;
		v->stored_unsettled = d.unsettled;
		v->d.unsettled |= !s->finalized;
	}
	return 0;
}

int views_load(struct vs_store *s)
{
	struct views *vs = calloc(1, sizeof *vs);
	int rc = 0;

	s->views = vs;
	if (!vs)
		return -ENOMEM;
	pthread_mutex_init(&vs->define, NULL);
	pthread_mutex_init(&vs->mutex, NULL);
	pthread_cond_init(&vs->changed, NULL);
	for (uint32_t i = 0; i < s->table.slots && !rc; i++)
		if (s->table.all[i])
			rc = load_collection(s, s->table.all[i]);
	if (!rc && vs->first && !s->read_only)
		rc = builder_start(s);
	return rc;
}

void views_free(struct vs_store *s)
{
	struct views *vs = s->views;

	if (!vs)
		return;
	while (vs->first) {
		struct view *v = vs->first;

		vs->first = v->next;
		view_model_put(v->current);
		view_model_put(v->coming);
		early_forget_all(v);
		free(v);
	}
	pthread_mutex_destroy(&vs->define);
	pthread_mutex_destroy(&vs->mutex);
	pthread_cond_destroy(&vs->changed);
	free(vs);
	s->views = NULL;
}

int views_store(struct vs_store *s, uint32_t collection)
{
	char text[VS_ATTRIBUTE_BYTES_MAX];
	struct views *vs = s->views;
	size_t size = 0;
	int rc = 0;

	pthread_mutex_lock(&vs->mutex);
	for (const struct view *v = vs->first; v; v = v->next) {
		size_t room = sizeof text - size, n;

		if (v->collection != collection || v->dropped)
			continue;
		n = definition_format(&v->d, text + size, room);
		if (n == room)
			rc = -E2BIG;
		else
			size += n;
	}
	pthread_mutex_unlock(&vs->mutex);
	return rc ? rc : vs_attribute_set(s, collection, VS_ATTRIBUTE_VIEWS, text, size);
}

bool views_file_is_left(const struct collection *c, const char *file)
{
	uint32_t bytes;
	const char *text = attributes_find(&c->attributes, VS_ATTRIBUTE_VIEWS, &bytes), *end = text + bytes;
	struct view_definition d;
	struct code_file_name name;

	code_file_parse(file, &name);
	if (name.kind == CODE_FILE_OTHER)
		return false;
	while (name.kind != CODE_FILE_EARLY && text && text < end && !definition_parse(&text, end, &d))
		if (!strcmp(d.name, name.view) && d.epoch == name.epoch)
			return name.kind == CODE_FILE_CODES &&
			       (name.segment >= c->segment_count || !c->segments[name.segment]->count);
	return true;
}

/* ------------------------------------------------------------------ creating and dropping */

/* The plan of a view of this name for a collection as it is; -EINVAL and a sentence. */
static int plan_view(const struct vs_collection_info *c, const char *name,
		     const struct vs_view_params *params, struct codec_plan *plan, char *why, size_t why_size)
{
	struct codec_name codec;
	int rc;

	if (strlen(name) > VS_VIEW_NAME_MAX || codec_parse(name, &codec)) {
		snprintf(why, why_size,
			 "no view is called so: f16, bf16, sq8, bit, rabitq1 to rabitq8, pqB, pqMx4, opqB "
			 "and opqMx4 "
			 "are, for B bytes or M sub-vectors of 4 bits");
		return -EINVAL;
	}
	if (!c->schema.dim || c->parent) {
		snprintf(why, why_size, "%s",
			 c->parent ? "a batch has no views" : "there are no vectors yet");
		return -EINVAL;
	}
	rc = codec_plan(&codec, c->schema.dim, c->schema.metric, plan, why, why_size);
	if (!rc && params->train_rows && params->train_rows < plan->rows_min) {
		snprintf(why, why_size, "%zu vectors are the least to train %s; train=%u", plan->rows_min,
			 name, params->train_rows);
		return -EINVAL;
	}
	if (!rc && view_model_is_trained(plan) && c->count < plan->rows_min) {
		snprintf(why, why_size, "%zu vectors are the least for %s; there are %llu", plan->rows_min,
			 name, (unsigned long long)c->count);
		return -EINVAL;
	}
	return rc;
}

/* Under define. */
static int create(struct vs_store *s, uint32_t collection, const char *name,
		  const struct vs_view_params *params, char *why, size_t why_size)
{
	/* Files of a view of this name may still be there. */
	struct view_definition d = {.params = *params, .unsettled = true};
	struct views *vs = s->views;
	struct vs_collection_info c;
	struct codec_plan plan;
	struct view *v;
	bool exists;
	int rc = vs_collection_get(s, collection, &c);

	if (!rc && c.frozen)
		rc = -EROFS;
	if (rc)
		return rc;
	pthread_mutex_lock(&vs->mutex);
	exists = views_find(vs, collection, name);
	pthread_mutex_unlock(&vs->mutex);
	rc = exists ? -EEXIST : plan_view(&c, name, params, &plan, why, why_size);
	if (rc)
		return rc;
	snprintf(d.name, sizeof d.name, "%s", name);
	d.dim = plan.dim;
	d.metric = plan.metric;
	d.dtype = c.schema.dtype;
	v = view_add(vs, collection, &d);
	if (v)
		v->stored_unsettled = true;
	rc = v ? views_store(s, collection) : -ENOMEM;
	if (rc == -E2BIG) {
		snprintf(why, why_size, "there are too many views in this collection: drop one first");
		rc = -EINVAL;
	}
	if (rc && v) {
		pthread_mutex_lock(&vs->mutex);
		v->dropped = true;
		pthread_mutex_unlock(&vs->mutex);
	}
	return rc;
}

int vs_view_create(struct vs_store *s, uint32_t collection, const char *name,
		   const struct vs_view_params *params, char *why, size_t why_size)
{
	static const struct vs_view_params defaults;
	int rc;

	*why = 0;
	if (s->read_only)
		return -EROFS;
	pthread_mutex_lock(&s->views->define);
	rc = create(s, collection, name, params ? params : &defaults, why, why_size);
	if (!rc)
		rc = builder_start(s);
	pthread_mutex_unlock(&s->views->define);
	builder_hurry(s);
	return rc ? rc : vs_sync(s);
}

/* Views of a store that is only read, or of a durable snapshot, stay as they are. */
static bool is_fixed(struct vs_store *s, uint32_t collection)
{
	struct vs_collection_info c;

	return s->read_only || (!vs_collection_get(s, collection, &c) && c.frozen);
}

int vs_view_drop(struct vs_store *s, uint32_t collection, const char *name)
{
	struct views *vs = s->views;
	struct view *v;
	int rc;

	if (is_fixed(s, collection))
		return -EROFS;
	pthread_mutex_lock(&vs->define);
	pthread_mutex_lock(&vs->mutex);
	v = views_find(vs, collection, name);
	if (v)
		v->dropped = true;
	pthread_mutex_unlock(&vs->mutex);
	rc = v ? views_store(s, collection) : -ENOENT;
	if (rc && v) {
		pthread_mutex_lock(&vs->mutex);
		v->dropped = false;
		pthread_mutex_unlock(&vs->mutex);
	}
	pthread_cond_broadcast(&vs->changed);
	pthread_mutex_unlock(&vs->define);
	builder_hurry(s);
	return rc;
}

int vs_view_set_params(struct vs_store *s, uint32_t collection, const char *name,
		       const struct vs_view_params *params)
{
	struct views *vs = s->views;
	struct vs_view_params old = {0};
	struct view *v;
	int rc;

	if (is_fixed(s, collection))
		return -EROFS;
	pthread_mutex_lock(&vs->define);
	pthread_mutex_lock(&vs->mutex);
	v = views_find(vs, collection, name);
	if (v) {
		old = v->d.params;
		v->d.params = *params;
	}
	pthread_mutex_unlock(&vs->mutex);
	rc = v ? views_store(s, collection) : -ENOENT;
	pthread_mutex_lock(&vs->mutex);
	if (v && rc)
		v->d.params = old;
	if (v && !rc && (old.seed != params->seed || old.train_rows != params->train_rows))
		v->retrain++;
	pthread_mutex_unlock(&vs->mutex);
	pthread_mutex_unlock(&vs->define);
	builder_hurry(s);
	return rc;
}

/* ------------------------------------------------------------------ telling */

/* The checksum of a vector of zeros. */
static uint32_t zeros_sum(size_t bytes)
{
	void *zeros = calloc(1, bytes + 1);
	uint32_t sum = zeros ? sum_data(zeros, bytes) : 0;

	free(zeros);
	return sum;
}

/* Of a row that has a code, but none that can be found. */
static bool has_no_direction(const struct collection *c, const struct segment *seg, uint32_t slot,
			     const struct view_model *m, uint32_t zeros)
{
	const char *name;
	const struct row *r = collection_row(c, seg->n << c->shift | slot, &name);

	return m->codec.plan.metric == VS_COSINE && r && r->data_sum == zeros;
}

/* Counts what a segment has of a model's codes, which are those of `own`. Under the store's lock. */
static void count_segment(const struct collection *c, const struct segment *seg, struct segment *own,
			  const struct view_model *m, uint32_t zeros, struct vs_view_info *out)
{
	struct codes *k = codes_find(own, m->number);

	if (!k)
		return;
	for (uint32_t block = 0; block < k->blocks && block * CODES_BLOCK_ROWS < seg->count; block++) {
		uint32_t left = seg->count - block * CODES_BLOCK_ROWS;
		uint64_t rows = left >= CODES_BLOCK_ROWS ? UINT64_MAX : (UINT64_C(1) << left) - 1, lost;

		rows &= ~codes_unread(k, block);
		if (seg->deleted)
			rows &= ~seg->deleted_map[block];
		if (own->deleted)
			rows &= ~own->deleted_map[block];
		out->rows_encoded += (unsigned)__builtin_popcountll(rows);
		for (lost = rows & ~atomic_load(&k->valid[block]); lost; lost &= lost - 1) {
			uint32_t slot = block * CODES_BLOCK_ROWS + (uint32_t)__builtin_ctzll(lost);

			if (has_no_direction(c, seg, slot, m, zeros))
				out->rows_undirected++;
			else
				out->rows_nonfinite++;
		}
	}
	out->disk_bytes += k->blocks * (sizeof(struct block_tag) + m->block_bytes[0] + m->block_bytes[1] +
					m->block_bytes[2]);
	codes_put(k);
}

static void count_rows(const struct vs_store *s, const struct collection *c, const struct view_model *m,
		       struct vs_view_info *out)
{
	uint32_t zeros = zeros_sum(c->row_bytes);

	for (uint32_t i = 0; i < c->segment_count; i++) {
		struct segment *seg = c->segments[i], *own = seg;

		if (c->frozen)
			own = views_shared_segment(s, views_owner(c), seg);
		if (own && segment_has_files(seg))
			count_segment(c, seg, own, m, zeros, out);
	}
	if (m->floats)
		out->disk_bytes += SEGMENT_HEADER_BYTES +
				   (m->codec.plan.model_floats + m->codec.plan.dim) * sizeof(float);
}

/* Both under mutex. Of a durable snapshot nobody encodes what its collection does not share any more. */
static enum vs_view_state state_of(const struct vs_store *s, const struct collection *c, const struct view *v,
				   const struct vs_view_info *i)
{
	uint64_t left = i->rows > i->rows_encoded ? i->rows - i->rows_encoded : 0;

	if (v->has_failed)
		return VS_VIEW_FAILED;
	if (s->read_only)
		return v->d.epoch || !i->plan.model_floats ? VS_VIEW_READY : VS_VIEW_TRAINING;
	if (!v->current || v->retrain != v->retrained)
		return VS_VIEW_TRAINING;
	if (v->is_lagging)
		return VS_VIEW_LAGGING;
	if (v->coming || !v->was_complete)
		return VS_VIEW_ENCODING;
	if (left <= READY_ROWS || left <= i->rows / READY_SHARE)
		return VS_VIEW_READY;
	return c->frozen ? VS_VIEW_LAGGING : VS_VIEW_ENCODING;
}

static void tell(const struct vs_store *s, const struct collection *c, const struct view *v,
		 struct vs_view_info *out)
{
	const struct view_model *m = v->coming ? v->coming : v->current;
	struct codec_name codec;
	char why[256];

	*out = (struct vs_view_info){.params = v->d.params, .rows = c->count, .epoch = v->d.epoch};
	snprintf(out->name, sizeof out->name, "%s", v->d.name);
	if (!codec_parse(v->d.name, &codec))
		codec_plan(&codec, c->schema.dim ? c->schema.dim : v->d.dim, c->schema.metric, &out->plan,
			   why, sizeof why);
	out->model = v->d.model;
	out->rows_trained = v->d.rows_trained;
	out->error_trained = out->error_recent = v->d.error_trained;
	if (m) {
		out->plan = m->codec.plan;
		out->epoch = m->epoch;
		out->model = m->number;
		out->rows_trained = m->rows_trained;
		out->error_trained = out->error_recent = m->error_trained;
		count_rows(s, c, m, out);
	}
	if (v->variance > 0 && !v->coming)
		out->error_recent = v->error / v->variance;
	out->state = state_of(s, c, v, out);
	out->progress = out->state == VS_VIEW_READY ? 1
			: !m || !out->rows          ? 0
						    : (double)out->rows_encoded / (double)out->rows;
	snprintf(out->why, sizeof out->why, "%s", v->why);
	if (c->frozen && out->state == VS_VIEW_LAGGING && !v->is_lagging)
		snprintf(out->why, sizeof out->why,
			 "%llu rows are not the collection's any more: their codes "
			 "are made when they are read",
			 (unsigned long long)(out->rows - out->rows_encoded));
}

/* Whether codes of a view can be made of the rows. Under mutex. */
static bool fits_rows(const struct view *v, const struct collection *c)
{
	return !c->frozen || definition_fits(&v->d, &c->schema);
}

int vs_view_get(struct vs_store *s, uint32_t collection, const char *name, struct vs_view_info *out)
{
	const struct collection *c;
	const struct view *v;

	engine_read_lock(s);
	pthread_mutex_lock(&s->views->mutex);
	c = collection_get(&s->table, collection);
	v = c ? views_find(s->views, views_owner(c), name) : NULL;
	if (v && !fits_rows(v, c))
		v = NULL;
	if (v)
		tell(s, c, v, out);
	pthread_mutex_unlock(&s->views->mutex);
	pthread_rwlock_unlock(&s->lock);
	return v ? 0 : -ENOENT;
}

int vs_view_lend(struct vs_store *s, uint32_t collection, const char *name, char *text, size_t size)
{
	uint32_t owner = views_find_owner(s, collection);
	struct view_definition d;
	const struct view *v;
	int rc = 0;

	pthread_mutex_lock(&s->views->mutex);
	v = views_find(s->views, owner, name);
	if (!v || !v->current) {
		rc = v ? -EAGAIN : -ENOENT;
	} else {
		d = v->d;
		d.params.seed = v->current->seed; /* that of the collection is not known to others */
		d.epoch = v->current->epoch;
		d.model = v->current->number;
		d.model_sum = v->current->sum;
		d.dim = v->current->codec.plan.dim;
		d.metric = v->current->codec.plan.metric;
		d.owner = owner;
	}
	pthread_mutex_unlock(&s->views->mutex);
	if (!rc && definition_format(&d, text, size) >= size)
		rc = -ENAMETOOLONG;
	return rc;
}

int vs_view_next(struct vs_store *s, uint32_t of, const char *after, struct vs_view_info *out)
{
	uint32_t owner = views_find_owner(s, of);
	char name[VS_VIEW_NAME_MAX + 1] = "";
	const struct view *best = NULL;

	pthread_mutex_lock(&s->views->mutex);
	for (const struct view *v = s->views->first; v; v = v->next)
		if (!v->dropped && v->collection == owner && strcmp(v->d.name, after) > 0 &&
		    (!best || strcmp(v->d.name, best->d.name) < 0))
			best = v;
	if (best)
		strcpy(name, best->d.name);
	pthread_mutex_unlock(&s->views->mutex);
	if (!best)
		return -ENOENT;
	/* It may be dropped just now: then the one after it. */
	return vs_view_get(s, of, name, out) ? vs_view_next(s, of, name, out) : 0;
}

int vs_view_wait(struct vs_store *s, uint32_t collection, const char *name,
		 bool (*fn)(void *arg, const struct vs_view_info *), void *arg)
{
	struct vs_view_info info;
	int rc;

	while (!(rc = vs_view_get(s, collection, name, &info))) {
		if (fn && !fn(arg, &info))
			return -EINTR;
		if (info.state == VS_VIEW_READY)
			return 0;
		if (info.state == VS_VIEW_FAILED)
			return -EINVAL;
		pthread_mutex_lock(&s->views->mutex);
		clock_wait(&s->views->changed, &s->views->mutex, clock_ms() + WAIT_MS);
		pthread_mutex_unlock(&s->views->mutex);
	}
	return rc;
}
