/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/builder.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "store/base/clock.h"
#include "store/view/early.h"
#include "store/view/encode.h"
#include "store/view/scrub.h"
#include "store/view/views.h"
#include "store/view/workers.h"

#define NICE 15
#define PAUSE_MS 5 /* between two looks, so that rows come in groups */
/* While changes come one a millisecond or faster the pause is so many times as long as the look was, so that
 * who makes them keeps the processors, and codes are made of many rows at once; but no longer than this. */
#define PAUSE_SHARE 9
#define PAUSE_MS_MAX 1000
#define RETRY_MS 1000 /* after an error */
/* Recent rows count for the drift as if there were so many of them, and from so many on. */
#define DRIFT_ROWS 8192.0
#define DRIFT_ROWS_MIN 1000.0

/* What a look at a view came to. */
enum outcome { NOTHING, LATER, PROGRESS };

/* ------------------------------------------------------------------ what a view says of itself */

static void set_why(struct views *vs, struct view *v, bool lags, bool failed, const char *why)
{
	pthread_mutex_lock(&vs->mutex);
	v->is_lagging = lags;
	v->has_failed = failed;
	snprintf(v->why, sizeof v->why, "%s", why);
	pthread_cond_broadcast(&vs->changed);
	pthread_mutex_unlock(&vs->mutex);
}

/* An error that may go by itself: the view lags, and it is tried again after a while. */
static void lag(struct vs_store *s, struct view *v, const char *what, int rc)
{
	char why[200];

	snprintf(why, sizeof why, "%s: %s", what, strerror(-rc));
	if (!v->is_lagging || strcmp(why, v->why) != 0)
		view_report(s, v, VS_WARNING, why);
	set_why(s->views, v, true, false, why);
	v->retry_ms = clock_ms() + RETRY_MS;
}

/* ------------------------------------------------------------------ models */

static bool same_vectors(const struct vs_schema *a, const struct vs_schema *b)
{
	return a->dim == b->dim && a->dtype == b->dtype && a->metric == b->metric;
}

/* Takes a model's codes away from all segments; nothing is written to their files any more. */
static void retire(struct vs_store *s, struct view *v, struct view_model *m)
{
	struct collection *c;

	if (!m)
		return;
	pthread_rwlock_wrlock(&s->lock);
	c = collection_get(&s->table, v->collection);
	for (uint32_t i = 0; c && i < c->segment_count; i++) {
		struct segment *seg = c->segments[i];
		struct codes *k = segment_has_files(seg) ? codes_find(seg, m->number) : NULL;

		if (!k)
			continue;
		k->gone = true;
		codes_detach(seg, k);
		codes_put(k);
	}
	pthread_rwlock_unlock(&s->lock);
	view_model_put(m);
	v->sweep = true;
	v->segments = 0;
}

/* Makes a model the view's, durably. */
static int adopt(struct vs_store *s, struct view *v, struct view_model *m)
{
	struct views *vs = s->views;
	struct view_model *old = v->current;
	struct view_definition before;
	int rc;

	pthread_mutex_lock(&vs->define);
	pthread_mutex_lock(&vs->mutex);
	before = v->d;
	v->d.epoch = m->epoch;
	v->d.model = m->number;
	v->d.model_sum = m->sum;
	v->d.rows_trained = m->rows_trained;
	v->d.error_trained = m->error_trained;
	v->d.dim = m->codec.plan.dim;
	v->d.metric = m->codec.plan.metric;
	v->d.dtype = m->dtype;
	pthread_mutex_unlock(&vs->mutex);
	rc = v->dropped ? 0 : views_store(s, v->collection);
	pthread_mutex_lock(&vs->mutex);
	if (rc) {
		v->d = before;
	} else {
		v->current = m;
		v->coming = v->coming == m ? NULL : v->coming;
		v->was_complete = v->drift_told = false;
		v->error = v->variance = v->rows_measured = 0;
	}
	pthread_cond_broadcast(&vs->changed);
	pthread_mutex_unlock(&vs->mutex);
	pthread_mutex_unlock(&vs->define);
	if (!rc)
		retire(s, v, old);
	return rc;
}

/* Reads the model that the view has had. false: it is to be trained. */
static bool load_model(struct vs_store *s, struct view *v, const struct codec_plan *plan)
{
	struct view_model *m;
	char what[96];
	int rc;

	if (!v->d.epoch || !definition_fits(&v->d, &v->schema))
		return false;
	rc = view_model_load(s, v->collection, &v->d, plan, v->schema.dtype, &m);
	if (rc && v->unusable_epoch != v->d.epoch) {
		snprintf(what, sizeof what, "its model cannot be used (%s): it is trained anew",
			 strerror(-rc));
		view_report(s, v, VS_WARNING, what);
		v->unusable_epoch = v->d.epoch;
	}
	if (rc)
		return false;
	pthread_mutex_lock(&s->views->mutex);
	v->current = m;
	pthread_mutex_unlock(&s->views->mutex);
	return true;
}

/* It is told once: while vectors come one by one, it fails for want of some with each of them. */
static void train_failed(struct vs_store *s, struct view *v, int rc, const char *why)
{
	if (rc != -EINVAL && rc != -EDOM) {
		lag(s, v, "training", rc);
		return;
	}
	if (!v->has_failed)
		view_report(s, v, VS_WARNING, why);
	set_why(s->views, v, false, !v->current, why);
}

/* Takes a trained model: as the first, as the next, or not at all if it is the one there is. */
static int take_model(struct vs_store *s, struct view *v, struct view_model *m)
{
	int rc = 0;

	if (v->current && v->current->number == m->number) {
		view_model_put(m);
		return 0;
	}
	/* A file whose sync has failed is not synced again. */
	rc = s->commit.failed;
	if (!rc)
		rc = view_model_save(s, v->collection, v->d.name, m);
	if (!rc && !v->current)
		rc = adopt(s, v, m);
	if (rc) {
		view_model_put(m);
		return rc;
	}
	pthread_mutex_lock(&s->views->mutex);
	v->coming = v->current == m ? NULL : m;
	pthread_mutex_unlock(&s->views->mutex);
	return 0;
}

static int train(struct vs_store *s, struct view *v, const struct codec_plan *plan)
{
	struct parallel parallel = {.workers = workers_count(), .run = workers_run};
	struct vs_snapshot_info info;
	struct vs_snapshot *snapshot;
	struct view_definition d;
	struct view_model *m = NULL;
	char why[200] = "";
	unsigned wanted;
	int rc = vs_snapshot_open(s, v->collection, &snapshot);

	pthread_mutex_lock(&s->views->mutex);
	d = v->d;
	wanted = v->retrain;
	pthread_mutex_unlock(&s->views->mutex);
	if (!rc) {
		vs_snapshot_info(snapshot, &info);
		v->failed_version = info.version;
		/* It may have become another collection meanwhile. Of which dtype no vectors are is all the
		 * same. */
		if (!info.rows)
			info.schema.dtype = v->schema.dtype;
		d.dtype = v->schema.dtype;
		rc = same_vectors(&info.schema, &v->schema) ? 0 : -EAGAIN;
		if (!rc)
			rc = view_model_train(s, snapshot, &d, plan, &parallel, &m, why, sizeof why);
		vs_snapshot_close(snapshot);
	}
	if (!rc)
		rc = take_model(s, v, m);
	if (rc && rc != -EAGAIN)
		train_failed(s, v, rc, why);
	if (!rc)
		set_why(s->views, v, false, false, "");
	if (!rc || rc == -EINVAL || rc == -EDOM) {
		pthread_mutex_lock(&s->views->mutex);
		v->retrained = wanted;
		pthread_mutex_unlock(&s->views->mutex);
	}
	return rc;
}

/* Sees to a model, if the view can have one. */
static enum outcome see_to_model(struct vs_store *s, struct view *v, const struct vs_collection_info *c)
{
	struct codec_plan plan;
	struct codec_name codec;
	char why[200];
	int rc = codec_parse(v->d.name, &codec);

	if (!rc && c->schema.dim)
		rc = codec_plan(&codec, c->schema.dim, c->schema.metric, &plan, why, sizeof why);
	if (!c->schema.dim)
		return NOTHING; /* it has no vectors, and may get others than it had */
	if (rc) {
		train_failed(s, v, rc, why);
		return NOTHING;
	}
	if (v->current && !view_model_fits(v->current, &v->schema)) {
		struct view_model *current = v->current, *coming = v->coming;

		pthread_mutex_lock(&s->views->mutex);
		v->current = v->coming = NULL;
		pthread_mutex_unlock(&s->views->mutex);
		retire(s, v, current);
		retire(s, v, coming);
	}
	if (!v->current && load_model(s, v, &plan))
		return PROGRESS;
	if (v->current && v->retrain == v->retrained)
		return PROGRESS;
	if (!v->current && v->has_failed && v->failed_version == c->version)
		return NOTHING;
	if (v->coming) {
		struct view_model *coming = v->coming;

		pthread_mutex_lock(&s->views->mutex);
		v->coming = NULL;
		pthread_mutex_unlock(&s->views->mutex);
		retire(s, v, coming);
	}
	if (train(s, v, &plan) == -EAGAIN)
		return LATER;
	return v->current ? PROGRESS : NOTHING;
}

/* ------------------------------------------------------------------ segments */

/* A segment that has something to do. */
struct work {
	struct segment *seg;
	struct codes *codes; /* NULL: it has none yet */
	uint32_t i;          /* where to look on */
	uint32_t count;      /* rows, as it was looked up */
	/* Of those that were passed: */
	uint32_t with_codes, damaged;
	bool others; /* the collection has come to have vectors of another kind: there is nothing to do for
			this model */
};

static bool is_live(const struct segment *seg)
{
	return segment_has_files(seg) && seg->count && !seg->going;
}

static bool needs_work(const struct codes *k, uint32_t count)
{
	return !k || !k->verified || atomic_load(&k->wanted) || (k->blocks && k->shown != count);
}

/* Finds the next segment from w->i on that has something to do, with references. false: the end. */
static bool find_work(struct vs_store *s, const struct view *v, const struct view_model *m, struct work *w)
{
	const struct collection *c;

	w->seg = NULL;
	w->codes = NULL;
	engine_read_lock(s);
	c = collection_get(&s->table, v->collection);
	for (; c && !c->damaged && w->i < c->segment_count && !w->seg; w->i++) {
		struct segment *seg = c->segments[w->i];
		const struct codes *k;

		if (!is_live(seg))
			continue;
		w->others = !same_vectors(&c->schema, &v->schema);
		if (w->others)
			break;
		k = codes_look_up(seg, m->number);
		w->with_codes += k != NULL;
		if (needs_work(k, seg->count)) {
			segment_get(w->seg = seg);
			w->count = seg->count;
			w->codes = codes_find(seg, m->number);
		} else {
			w->damaged += k->damaged;
		}
	}
	pthread_rwlock_unlock(&s->lock);
	return w->seg;
}

static int make_codes(struct vs_store *s, const struct view *v, const struct view_model *m, struct work *w)
{
	char stem[CODES_PATH_MAX];
	struct collection *c;
	bool live, early;

	code_stem(stem, v->collection, w->seg->n, v->d.name, m->epoch);
	early = m == v->current && early_claim(s, v, w->seg, stem);
	w->codes = codes_new(w->seg->files, w->seg->rows_max, m->number, stem, m->block_bytes);
	if (!w->codes)
		return -ENOMEM;
	w->codes->dirty = v->d.unsettled || early;
	pthread_rwlock_wrlock(&s->lock);
	c = collection_get(&s->table, v->collection);
	live = c && w->seg->n < c->segment_count && c->segments[w->seg->n] == w->seg && is_live(w->seg);
	if (live)
		codes_attach(w->seg, w->codes);
	pthread_rwlock_unlock(&s->lock);
	w->with_codes += live;
	return live ? 0 : -ESTALE;
}

static void count_errors(struct vs_store *s, struct view *v, const struct view_model *m,
			 const struct encode_result *r)
{
	double keep = (double)r->rows / DRIFT_ROWS;

	if (m != v->current || !v->was_complete || !(r->variance > 0))
		return;
	keep = keep > 0.5 ? 0.5 : 1 - keep;
	pthread_mutex_lock(&s->views->mutex);
	v->error = v->error * keep + r->error;
	v->variance = v->variance * keep + r->variance;
	v->rows_measured = v->rows_measured * keep + (double)r->rows;
	pthread_mutex_unlock(&s->views->mutex);
}

static int show(struct vs_store *s, struct work *w, const struct view_model *m)
{
	struct code_files files;
	int rc = txn_begin_log(s);

	if (rc)
		return rc;
	rc = code_files_open(&files, w->codes, m, true);
	if (!rc)
		rc = code_files_show(&files, w->count);
	code_files_close(&files);
	w->codes->dirty = true;
	return rc;
}

/* Does what there is to do for one segment. */
static int do_work(struct vs_store *s, struct view *v, struct view_model *m, struct encoder *e,
		   struct work *w, bool *more)
{
	struct encode_result result = {0};
	int rc = w->codes ? 0 : make_codes(s, v, m, w);

	if (!rc && !w->codes->verified) {
		rc = encode_verify(e, w->seg, w->codes, &result);
		view_report_blocks(s, v, w->seg, result.blocks_failed);
	}
	if (!rc && atomic_load(&w->codes->wanted)) {
		rc = encode_stale(e, w->seg, w->codes, &result);
		view_report_blocks(s, v, w->seg, result.blocks_failed);
		count_errors(s, v, m, &result);
		w->damaged += result.damaged;
		*more |= result.more;
	} else if (!rc && w->codes->shown != w->count) {
		rc = show(s, w, m);
	}
	return rc == -ESTALE ? 0 : rc;
}

static void work_end(struct vs_store *s, struct work *w)
{
	if (w->codes)
		codes_put(w->codes);
	segment_put(s->io, w->seg);
}

/* Brings the codes of one model up to date. *complete: no row is left, but for damaged ones. */
static enum outcome encode_all(struct vs_store *s, struct view *v, struct view_model *m, bool *complete,
			       uint32_t *damaged)
{
	enum outcome outcome = NOTHING;
	struct encoder *e = NULL;
	struct work w = {0};
	bool more = false;
	int rc = 0;

	while (!rc && !s->views->stop && !v->dropped && find_work(s, v, m, &w)) {
		if (!e)
			rc = encoder_new(s, v->collection, &v->schema, m, &s->views->stop, &e);
		if (!rc)
			rc = do_work(s, v, m, e, &w, &more);
		work_end(s, &w);
		outcome = LATER;
	}
	s->views->trim |= e != NULL;
	encoder_free(e);
	if (rc) {
		v->d.unsettled = true; /* a block may be written in part */
		lag(s, v, "encoding", rc);
	}
	if (w.with_codes < v->segments && m == v->current)
		v->sweep = true; /* some have gone */
	if (m == v->current)
		v->segments = w.with_codes;
	*damaged += w.damaged;
	*complete = !rc && !more && !w.others && !s->views->stop && !v->dropped;
	return w.others ? LATER : outcome;
}

/* ------------------------------------------------------------------ files that are nobody's */

/* Under both locks. */
static bool file_is_wanted(struct vs_store *s, uint32_t collection, const char *file, bool *ours)
{
	const struct collection *c = collection_get(&s->table, collection);
	struct code_file_name name;
	const struct view *v;

	code_file_parse(file, &name);
	*ours = name.kind != CODE_FILE_OTHER;
	v = *ours ? views_find(s->views, collection, name.view) : NULL;
	if (!v || !c)
		return false;
	if (name.kind == CODE_FILE_EARLY)
		return early_is_wanted(v, &name);
	if (!(v->current ? v->current->epoch == name.epoch : v->d.epoch == name.epoch) &&
	    !(v->coming && v->coming->epoch == name.epoch))
		return false;
	return name.kind == CODE_FILE_MODEL ||
	       (name.segment < c->segment_count && is_live(c->segments[name.segment]));
}

static void directory_changed(struct vs_store *s, uint32_t collection)
{
	struct collection *c;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, collection);
	if (c)
		c->directory_changed = true;
	pthread_rwlock_unlock(&s->lock);
}

/* false: some are there yet. */
static bool sweep(struct vs_store *s, uint32_t collection)
{
	char path[SEGMENT_PATH_MAX], file[SEGMENT_PATH_MAX + 256];
	struct io_names list;
	bool all, some = false;

	collection_path(path, collection, NULL);
	all = io_names_read(s->io, path, &list) >= 0;
	for (size_t i = 0; i < list.count; i++) {
		bool wanted, ours;

		pthread_rwlock_rdlock(&s->lock);
		pthread_mutex_lock(&s->views->mutex);
		wanted = file_is_wanted(s, collection, list.names[i], &ours);
		pthread_mutex_unlock(&s->views->mutex);
		pthread_rwlock_unlock(&s->lock);
		if (wanted || !ours)
			continue;
		snprintf(file, sizeof file, "%s/%s", path, list.names[i]);
		if (s->io->ops->unlink(s->io, file) < 0)
			all = false;
		else
			some = true;
	}
	io_names_free(&list);
	s->has_orphans |= !all;
	if (some)
		directory_changed(s, collection);
	return all;
}

/* ------------------------------------------------------------------ one view */

/* Takes a dropped view out of the table and frees it. */
static void forget(struct vs_store *s, struct view *v)
{
	struct views *vs = s->views;
	struct view **p;

	retire(s, v, v->current);
	retire(s, v, v->coming);
	early_forget_all(v);
	pthread_mutex_lock(&vs->define);
	pthread_mutex_lock(&vs->mutex);
	for (p = &vs->first; *p != v; p = &(*p)->next)
		;
	*p = v->next;
	pthread_mutex_unlock(&vs->mutex);
	pthread_mutex_unlock(&vs->define);
	sweep(s, v->collection);
	free(v);
}

static void look_at_drift(struct vs_store *s, struct view *v)
{
	double recent = v->variance > 0 ? v->error / v->variance : 0, trained = v->d.error_trained;
	char what[160];

	if (v->drift_told || v->rows_measured < DRIFT_ROWS_MIN || !(recent > VS_VIEW_DRIFT_MAX * trained))
		return;
	snprintf(what, sizeof what,
		 "vectors have drifted: the error of recent ones is %.2f of that at training%s",
		 recent / (trained > 0 ? trained : recent),
		 v->d.params.retrain_auto ? "; it is trained anew"
					  : "; retrain=auto in params would train anew");
	view_report(s, v, VS_WARNING, what);
	pthread_mutex_lock(&s->views->mutex);
	v->drift_told = true;
	v->retrain += v->d.params.retrain_auto;
	pthread_mutex_unlock(&s->views->mutex);
}

/* All there is of it is up to date, but for damaged vectors. */
static void set_complete(struct vs_store *s, struct view *v, uint32_t damaged)
{
	char why[200] = "";

	if (damaged)
		snprintf(why, sizeof why, "%u vectors are damaged (checksum) and have no code", damaged);
	pthread_mutex_lock(&s->views->mutex);
	v->was_complete = true;
	pthread_mutex_unlock(&s->views->mutex);
	if (v->has_failed || v->is_lagging || damaged)
		set_why(s->views, v, damaged, false, why);
	pthread_cond_broadcast(&s->views->changed);
}

static enum outcome encode_view(struct vs_store *s, struct view *v)
{
	uint32_t damaged = 0, ignored = 0;
	enum outcome outcome = NOTHING, next;
	bool complete = false;

	early_look(s, v);
	if (v->current)
		outcome = encode_all(s, v, v->current, &complete, &damaged);
	if (v->current && complete) {
		set_complete(s, v, damaged);
		early_forget_gone(v);
		if (early_encode(s, v))
			outcome = LATER;
	}
	if (v->current && complete && v->coming) {
		next = encode_all(s, v, v->coming, &complete, &ignored);
		outcome = next > outcome ? next : outcome;
		if (complete && next == NOTHING) {
			int rc = adopt(s, v, v->coming);

			if (rc)
				lag(s, v, "its definition", rc);
			else
				view_report(s, v, VS_INFO, "trained anew; all vectors have new codes");
			outcome = LATER;
		}
	}
	return outcome;
}

/* What its vectors are, or will be: as long as it has none, nobody may have said of which dtype; then they
 * are taken to be what they were. */
static struct vs_schema schema_of(const struct view *v, const struct vs_collection_info *c)
{
	struct vs_schema schema = c->schema;

	if (c->schema_fixed || c->schema_given)
		return schema;
	if (v->current)
		schema.dtype = v->current->dtype;
	else if (v->d.epoch && v->d.dtype != VS_DTYPE_COUNT)
		schema.dtype = v->d.dtype;
	return schema;
}

static enum outcome look_at_view(struct vs_store *s, struct view *v)
{
	struct vs_collection_info c;
	enum outcome outcome;

	if (v->dropped || vs_collection_get(s, v->collection, &c) == -ENOENT) {
		pthread_mutex_lock(&s->views->mutex);
		v->dropped = true;
		pthread_mutex_unlock(&s->views->mutex);
		forget(s, v);
		return NOTHING;
	}
	if (v->retry_ms > clock_ms())
		return LATER;
	v->schema = schema_of(v, &c);
	outcome = c.damaged ? NOTHING : see_to_model(s, v, &c);
	if (outcome != PROGRESS)
		return v->retry_ms > clock_ms() ? LATER : outcome;
	outcome = encode_view(s, v);
	look_at_drift(s, v);
	if (v->sweep && !s->views->stop) {
		v->sweep = false;
		sweep(s, v->collection);
	}
	return v->retrain != v->retrained || v->retry_ms > clock_ms() ? LATER : outcome;
}

/* ------------------------------------------------------------------ the thread */

static uint64_t change_count(struct vs_store *s)
{
	uint64_t n;

	pthread_mutex_lock(&s->commit.mutex);
	n = s->commit.changes;
	pthread_mutex_unlock(&s->commit.mutex);
	return n;
}

/* What the thread knows of the time. */
struct pace {
	int64_t began_ms; /* its last look */
	uint64_t changes; /* of the store, then */
};

/* Begins a look. Returns whether changes have been coming fast since the last one. */
static bool pace_begin(struct pace *p, uint64_t changes)
{
	int64_t now = clock_ms(), since = now - p->began_ms;
	bool fast = since > 0 && changes - p->changes >= (uint64_t)since;

	*p = (struct pace){.began_ms = now, .changes = changes};
	return fast;
}

static int64_t pace_pause_ms(const struct pace *p, bool fast)
{
	int64_t pause = fast ? PAUSE_SHARE * (clock_ms() - p->began_ms) : 0;

	return pause < PAUSE_MS ? PAUSE_MS : pause > PAUSE_MS_MAX ? PAUSE_MS_MAX : pause;
}

/* Waits a moment, or, with nothing to do later, until something changes or codes are to be looked at. */
static void rest(struct vs_store *s, bool later, uint64_t changes, int64_t pause_ms)
{
	int64_t until_ms = clock_ms() + pause_ms;

	pthread_mutex_lock(&s->builder_mutex);
	while (!s->views->stop && !s->views->hurry &&
	       clock_wait(&s->builder_work, &s->builder_mutex, until_ms))
		;
	later |= s->views->hurry; /* what was asked for may have come after the look, and after its change was
				     counted */
	s->builder_idle = !later;
	pthread_mutex_unlock(&s->builder_mutex);
	if (later)
		return;
	if (s->views->trim)
		engine_give_back_memory();
	s->views->trim = false;
	/* Whoever changes something from now on, under the lock, alone, wakes us. */
	pthread_rwlock_rdlock(&s->lock);
	pthread_rwlock_unlock(&s->lock);
	if (change_count(s) != changes)
		s->builder_idle = false;
	pthread_mutex_lock(&s->builder_mutex);
	until_ms = s->views->scrub.due_ms;
	while (s->builder_idle && !s->views->stop &&
	       clock_wait(&s->builder_work, &s->builder_mutex, until_ms))
		;
	s->builder_idle = false;
	pthread_mutex_unlock(&s->builder_mutex);
}

/* Looks at each view once. */
static bool look_at_all(struct vs_store *s)
{
	struct views *vs = s->views;
	struct view *v, *next;
	bool later = false;

	pthread_mutex_lock(&vs->mutex);
	v = vs->first;
	pthread_mutex_unlock(&vs->mutex);
	for (; v && !vs->stop; v = next) {
		pthread_mutex_lock(&vs->mutex);
		next = v->next;
		pthread_mutex_unlock(&vs->mutex);
		later |= look_at_view(s, v) != NOTHING;
	}
	return later;
}

static void *builder_thread(void *store)
{
	struct vs_store *s = store;
	struct pace pace = {.began_ms = clock_ms(), .changes = change_count(s)};

	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE); /* it can wait; failing costs nothing */
	scrub_begin(s);
	while (!s->views->stop) {
		uint64_t changes = change_count(s);
		bool fast = pace_begin(&pace, changes), later;

		s->views->hurry = false;
		later = look_at_all(s);
		later |= scrub_look(s);
		rest(s, later, changes, pace_pause_ms(&pace, fast));
	}
	return NULL;
}

void builder_hurry(struct vs_store *s)
{
	pthread_mutex_lock(&s->builder_mutex);
	s->views->hurry = true;
	s->builder_idle = false;
	pthread_cond_signal(&s->builder_work);
	pthread_mutex_unlock(&s->builder_mutex);
}

int builder_start(struct vs_store *s)
{
	int rc = s->views->running ? 0 : pthread_create(&s->views->thread, NULL, builder_thread, s);

	s->views->running = s->views->running || !rc;
	return -rc;
}

/* ------------------------------------------------------------------ the end */

/* Makes the code files of a segment durable; also those that nobody has looked at, since another segment of
 * this number may have had them, and gone. */
static int sync_codes(struct vs_store *s, const struct view *v, const struct segment *seg)
{
	struct codes codes = {.files = &s->files};
	struct code_files files;
	int rc;

	memcpy(codes.block_bytes, v->current->block_bytes, sizeof codes.block_bytes);
	code_stem(codes.stem, v->collection, seg->n, v->d.name, v->current->epoch);
	rc = code_files_open(&files, &codes, v->current, false);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	rc = code_files_sync(&files);
	code_files_close(&files);
	return rc;
}

/* A segment whose codes are to be looked at at the end, with a reference; NULL: this one is not. *more: it is
 * not the last. */
static struct segment *unsettled_segment(struct vs_store *s, const struct view *v, uint32_t i, bool *verified,
					 bool *more)
{
	const struct collection *c;
	struct segment *seg = NULL;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, v->collection);
	*more = c && i < c->segment_count;
	if (*more) {
		const struct codes *k = codes_look_up(c->segments[i], v->current->number);

		*verified = k && k->verified;
		if (is_live(c->segments[i]) && !(*verified && !k->dirty))
			segment_get(seg = c->segments[i]);
	}
	pthread_rwlock_unlock(&s->lock);
	return seg;
}

/* Whether all files of a view are now known to be, and to stay, as they were written. Of the threads only the
 * applier is left, which may give segments back. */
static bool settle(struct vs_store *s, const struct view *v)
{
	struct vs_collection_info info;
	bool settled = !vs_collection_get(s, v->collection, &info) && (v->current || !v->d.unsettled);
	bool more = v->current != NULL, verified = false;

	for (uint32_t i = 0; settled && more; i++) {
		struct segment *seg = unsettled_segment(s, v, i, &verified, &more);

		if (seg)
			settled = (verified || !v->d.unsettled) && !sync_codes(s, v, seg);
		segment_put(s->io, seg);
	}
	return settled;
}

static void settle_all(struct vs_store *s)
{
	for (struct view *v = s->views->first; v; v = v->next) {
		bool unsettled = !settle(s, v);
		/* Files of segments that have gone nobody has looked at, nor made durable, and the next
		 * segment of that number would have them: torn, if the power fails after this close. Nor does
		 * the next session know of what was encoded early. */
		bool left = v->early || (!unsettled && (v->d.unsettled || s->logging));

		early_forget_all(v);
		if (left && !sweep(s, v->collection))
			unsettled = true;
		v->d.unsettled = unsettled;
		if (!v->dropped && unsettled != v->stored_unsettled)
			views_store(s, v->collection);
	}
}

void builder_stop(struct vs_store *s)
{
	struct views *vs = s->views;

	if (!vs || !vs->running)
		return;
	pthread_mutex_lock(&s->builder_mutex);
	vs->stop = true;
	pthread_cond_broadcast(&s->builder_work);
	pthread_mutex_unlock(&s->builder_mutex);
	pthread_join(vs->thread, NULL);
	vs->running = false;
	settle_all(s);
}
