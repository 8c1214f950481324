/* SPDX-License-Identifier: Apache-2.0 */
/* read - a view of one snapshot: codes as they lie in their files, and made on the way where they do not. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "quant/block.h"
#include "quant/convert.h"
#include "quant/scratch.h"
#include "store/io/guard.h"
#include "store/snapshot/borrowed.h"
#include "store/snapshot/snapshot.h"
#include "store/view/borrowed_codes.h"
#include "store/view/encode.h"
#include "store/view/views.h"

#define RUN_ROWS 1024u /* that are read at a time */

struct vs_view {
	struct vs_snapshot *snapshot;
	struct vs_snapshot_info info;
	struct vs_store *s;
	uint32_t owner; /* the collection whose view it is: of a durable snapshot, the one it was taken of */
	struct view_model *m;
	char name[VS_VIEW_NAME_MAX + 1];
	uint32_t epoch;
	/* For codes that are made on the way; NULL until then. */
	float *x;
	char *raw;
	void *scratch;
	struct code_blocks made; /* of 64 rows */
};

/* ------------------------------------------------------------------ opening */

static int read_model(struct vs_store *s, uint32_t owner, const struct view_definition *d,
		      const struct vs_snapshot_info *info, struct view_model **out)
{
	struct codec_name codec;
	struct codec_plan plan;
	char why[200];
	int rc = codec_parse(d->name, &codec);

	if (!rc)
		rc = d->epoch && definition_fits(d, &info->schema) ? 0 : -EAGAIN;
	if (!rc)
		rc = codec_plan(&codec, d->dim, d->metric, &plan, why, sizeof why);
	if (!rc)
		rc = view_model_load(s, owner, d, &plan, info->schema.dtype, out);
	return !rc || rc == -ENOMEM ? rc : -EAGAIN;
}

/* A model that was trained before the store was opened, and that the builder has not loaded yet, or never
 * will in a store that is only read: there it is kept. */
static int load_model(struct vs_store *s, uint32_t owner, const struct view_definition *d,
		      const struct vs_snapshot_info *info, struct view_model **out)
{
	int rc = read_model(s, owner, d, info, out);
	struct view *v;

	if (rc)
		return rc;
	pthread_mutex_lock(&s->views->mutex);
	v = s->read_only ? views_find(s->views, owner, d->name) : NULL;
	if (v && !v->current)
		view_model_get(v->current = *out);
	pthread_mutex_unlock(&s->views->mutex);
	return 0;
}

/* Finds the view, and takes its model, if it is at hand. */
static int find_view(struct vs_view *view, const char *name, struct view_definition *d)
{
	struct views *vs = view->s->views;
	struct view *v;

	pthread_mutex_lock(&vs->mutex);
	v = views_find(vs, view->owner, name);
	if (v && v->current && view_model_fits(v->current, &view->info.schema))
		view_model_get(view->m = v->current);
	if (v)
		*d = v->d;
	pthread_mutex_unlock(&vs->mutex);
	if (!v)
		return -ENOENT;
	/* What the collection has become may be of another kind than its snapshot. */
	return view->owner != view->info.collection && !definition_fits(d, &view->info.schema) ? -ENOENT : 0;
}

/* The definition of a borrowed snapshot's view, and its model. */
static int borrow_model(struct vs_view *view, const char *name, struct view_definition *d)
{
	const struct vs_lender *lender = snapshot_lender(view->snapshot);
	char text[VIEW_LINE_BYTES];
	const char *at = text;
	int rc = lender->view(lender->arg, name, text, sizeof text);

	if (!rc)
		rc = definition_parse(&at, text + strlen(text), d) || strcmp(d->name, name) ? -EAGAIN : 0;
	view->owner = rc ? 0 : d->owner;
	return rc ? rc : read_model(view->s, view->owner, d, &view->info, &view->m);
}

/* The same of a snapshot of our own. */
static int own_model(struct vs_view *view, const char *name, struct view_definition *d)
{
	int rc;

	view->owner = views_find_owner(view->s, view->info.collection);
	rc = find_view(view, name, d);
	return rc || view->m ? rc : load_model(view->s, view->owner, d, &view->info, &view->m);
}

int vs_view_open(struct vs_snapshot *m, const char *name, struct vs_view **out)
{
	struct vs_store *s = snapshot_store(m);
	struct vs_view *view = calloc(1, sizeof *view);
	struct view_definition d = {0};
	int rc;

	*out = NULL;
	if (!view)
		return -ENOMEM;
	view->snapshot = m;
	view->s = s;
	vs_snapshot_info(m, &view->info);
	rc = snapshot_lender(m) ? borrow_model(view, name, &d) : own_model(view, name, &d);
	if (rc) {
		free(view);
		return rc;
	}
	strcpy(view->name, d.name);
	view->epoch = view->m->epoch;
	*out = view;
	return 0;
}

void vs_view_close(struct vs_view *v)
{
	view_model_put(v->m);
	scratch_free(v->x);
	free(v->raw);
	scratch_free(v->scratch);
	code_blocks_free(&v->made);
	free(v);
}

const struct codec *vs_view_codec(const struct vs_view *v)
{
	return &v->m->codec;
}

uint64_t vs_view_model(const struct vs_view *v)
{
	return v->m->number;
}

size_t vs_view_code_bytes(const struct vs_view *v)
{
	const struct codec_plan *plan = &v->m->codec.plan;

	return plan->block_bytes + plan->row_bytes + plan->factors * sizeof(float);
}

/* ------------------------------------------------------------------ runs */

/* Of a store that is only read there is no builder: the first reader of a segment verifies its codes. */
static struct codes *verify_here(const struct vs_view *v, struct segment *seg)
{
	static const _Atomic bool never;
	struct encode_result result;
	char stem[CODES_PATH_MAX];
	struct encoder *e = NULL;
	struct codes *k;

	pthread_mutex_lock(&v->s->views->define);
	pthread_rwlock_rdlock(&v->s->lock);
	k = codes_find(seg, v->m->number);
	pthread_rwlock_unlock(&v->s->lock);
	code_stem(stem, v->owner, seg->n, v->name, v->epoch);
	if (!k && (k = codes_new(seg->files, seg->rows_max, v->m->number, stem, v->m->block_bytes))) {
		if (!encoder_new(v->s, v->owner, &v->info.schema, v->m, &never, &e))
			encode_verify(e, seg, k, &result);
		encoder_free(e);
		pthread_rwlock_wrlock(&v->s->lock);
		codes_attach(seg, k);
		pthread_rwlock_unlock(&v->s->lock);
	}
	pthread_mutex_unlock(&v->s->views->define);
	return k;
}

/* The segment that has the codes of a snapshot's; NULL: there is none. Under the store's lock. */
static struct segment *segment_with_codes(const struct vs_view *v, struct segment *seg)
{
	if (v->owner != v->info.collection)
		return views_shared_segment(v->s, v->owner, seg);
	return seg->going ? NULL : seg;
}

static struct codes *find_codes(const struct vs_view *v, struct segment *seg)
{
	struct segment *own;
	struct codes *k = NULL;

	pthread_rwlock_rdlock(&v->s->lock);
	own = segment_with_codes(v, seg);
	if (own)
		k = codes_find(own, v->m->number);
	if (own)
		segment_get(own);
	pthread_rwlock_unlock(&v->s->lock);
	if (own && !k && v->s->read_only)
		k = verify_here(v, own);
	segment_put(v->s->io, own);
	return k;
}

static void borrow_run(const struct vs_view *v, uint64_t first, uint64_t max, struct view_run *out)
{
	struct borrowed_stretch at;
	struct borrowed_codes *b = borrowed_codes_read(v->snapshot, v->m, v->owner, v->name, first, max, &at);

	*out = (struct view_run){
		.first = first, .count = at.count, .lead = at.lead, .block = at.block, .borrowed = b};
	if (b)
		out->columns = code_blocks_columns(&b->blocks, b->valid);
}

void view_run_begin(const struct vs_view *v, uint64_t first, uint64_t max, struct view_run *out)
{
	uint32_t slot, more, block;
	struct segment *seg;
	struct codes *k;
	uint8_t *column[CODES_COLUMNS];

	if (snapshot_lender(v->snapshot)) {
		borrow_run(v, first, max, out);
		return;
	}
	seg = snapshot_segment(v->snapshot, first, &slot, &more);
	k = segment_has_files(seg) ? find_codes(v, seg) : NULL;
	block = slot / CODES_BLOCK_ROWS;
	*out = (struct view_run){.first = first,
				 .count = more < max ? more : (uint32_t)max,
				 .lead = slot % CODES_BLOCK_ROWS,
				 .block = block};
	if (k && !codes_map(k)) {
		codes_put(k);
		k = NULL;
	}
	if (!k)
		return;
	out->codes = k;
	for (int i = 0; i < CODES_COLUMNS; i++)
		column[i] = k->map[i] ? (uint8_t *)k->map[i] + column_defs[COLUMN_BLOCKS + i].header_bytes +
						block * k->block_bytes[i]
				      : NULL;
	out->columns = (struct codec_columns){.blocks = column[0],
					      .rows = column[1],
					      .factors = (float *)(void *)column[2],
					      .valid = (uint64_t *)(uintptr_t)&k->valid[block]};
}

void view_run_end(const struct view_run *run)
{
	borrowed_codes_free(run->borrowed);
	if (!run->codes)
		return;
	codes_map_done(run->codes);
	codes_put(run->codes);
}

static void mark_all(uint64_t *mask, uint32_t count)
{
	for (uint32_t i = 0; i < count; i += 64)
		mask[i / 64] |= count - i < 64 ? (UINT64_C(1) << (count - i)) - 1 : UINT64_MAX;
}

/* Row `first` of the run is row `lead` of the blocks that begin at its first: sets the bits of rows that have
 * theirs set in a word of 64 rows, the run's i-th. */
static void mark_word(const struct view_run *run, uint32_t i, uint64_t rows, uint64_t *mask)
{
	int64_t at = (int64_t)i * 64 - run->lead;

	for (; rows; rows &= rows - 1) {
		int64_t row = at + __builtin_ctzll(rows);

		if (row >= 0 && row < run->count)
			mask[row / 64] |= UINT64_C(1) << row % 64;
	}
}

/* Rows whose segment goes, for its files may become another's; and of a durable snapshot those that the
 * collection has no more: nobody keeps their codes. */
static void mark_gone(const struct vs_view *v, const struct view_run *run, uint64_t *mask)
{
	uint32_t slot, more, end = (run->lead + run->count + 63) / 64;
	struct segment *seg, *own;

	pthread_rwlock_rdlock(&v->s->lock);
	seg = snapshot_segment(v->snapshot, run->first, &slot, &more);
	own = segment_with_codes(v, seg);
	if (!own)
		mark_all(mask, run->count);
	else if (own != seg && own->deleted)
		for (uint32_t i = 0; i < end; i++)
			mark_word(run, i, own->deleted_map[run->block + i], mask);
	pthread_rwlock_unlock(&v->s->lock);
}

int view_mark_stale(const struct vs_view *v, const struct view_run *run, uint64_t *mask)
{
	const struct snapshot_run rows = {.first = run->first, .count = run->count};
	uint32_t end = (run->lead + run->count + 63) / 64;
	int rc;

	for (uint32_t i = 0; run->borrowed && i < end; i++)
		mark_word(run, i, run->borrowed->stale[i], mask);
	if (run->borrowed)
		return 0;
	if (!run->codes) {
		mark_all(mask, run->count);
		return 0;
	}
	rc = snapshot_mark_moved(v->snapshot, &rows, mask);
	/* What has no space in the files yet is stale. */
	for (uint32_t i = 0; i < end && !rc; i++) {
		uint64_t unread = codes_unread(run->codes, run->block + i);

		if (unread) /* of a million rows at most a few are */
			mark_word(run, i, unread, mask);
	}
	if (!rc)
		mark_gone(v, run, mask);
	return rc;
}

/* ------------------------------------------------------------------ codes, row by row */

static bool is_set(const uint64_t *mask, uint32_t i)
{
	return mask[i / 64] >> i % 64 & 1;
}

/* Writes the code of a row of columns as it is shown. */
static void put_code(const struct codec_plan *plan, const struct codec_columns *columns, size_t row,
		     char *out)
{
	for (size_t p = 0; p < plan->block_bytes; p++)
		out[p] = (char)columns->blocks[block_offset(row, plan->block_bytes) + p * BLOCK_ROWS];
	out += plan->block_bytes;
	if (plan->row_bytes)
		memcpy(out, columns->rows + row * plan->row_bytes, plan->row_bytes);
	out += plan->row_bytes;
	for (unsigned p = 0; p < plan->factors; p++)
		memcpy(out + p * sizeof(float),
		       &columns->factors[block_factor_offset(row, plan->factors) + p * BLOCK_ROWS],
		       sizeof(float));
}

static int make_room(struct vs_view *v)
{
	size_t dim = v->m->codec.plan.dim;

	if (v->x)
		return 0;
	v->raw = malloc(v->info.row_bytes);
	v->scratch = scratch_alloc(codec_scratch_bytes(&v->m->codec));
	if (!v->raw || !v->scratch || !code_blocks_alloc(&v->made, v->m, 1))
		return -ENOMEM;
	v->x = scratch_alloc(BLOCK_ROWS * dim * sizeof *v->x);
	return v->x ? 0 : -ENOMEM;
}

/* Encodes those rows of a run, up to a block of them from *i on, that are stale; *i moves behind them. */
static int make_codes(struct vs_view *v, const struct view_run *run, const uint64_t *stale, uint32_t *i,
		      char *out, float *decoded)
{
	const struct codec_plan *plan = &v->m->codec.plan;
	size_t bytes = v->info.row_bytes, code_bytes = vs_view_code_bytes(v), n = 0;
	struct codec_columns columns;
	uint32_t rows[BLOCK_ROWS];
	uint64_t valid = 0;
	int rc = make_room(v);

	for (; !rc && *i < run->count && n < BLOCK_ROWS; ++*i) {
		ssize_t got;

		if (!is_set(stale, *i))
			continue;
		got = vs_snapshot_vectors(v->snapshot, v->raw, bytes, (run->first + *i) * bytes);
		rc = got < 0 ? (int)got : 0;
		if (!rc)
			convert_vector_to_f32(v->x + n * plan->dim, v->info.schema.dtype, v->raw, plan->dim);
		rows[n++] = *i;
	}
	if (rc || !n)
		return rc;
	columns = code_blocks_columns(&v->made, &valid);
	codec_encode(&v->m->codec, &columns, 0, n, v->x, v->scratch);
	if (!out)
		codec_decode(&v->m->codec, &columns, 0, n, v->x, v->scratch);
	for (size_t k = 0; k < n; k++) {
		if (out)
			put_code(plan, &columns, k, out + rows[k] * code_bytes);
		else
			memcpy(decoded + (size_t)rows[k] * plan->dim, v->x + k * plan->dim,
			       plan->dim * sizeof *decoded);
	}
	return 0;
}

struct copying {
	struct vs_view *v;
	const struct view_run *run;
	const uint64_t *stale;
	char *out;
	float *decoded;
};

/* What the files have, a series of rows that are not stale at a time. Within a guard. */
static void copy_codes(void *arg)
{
	const struct copying *c = arg;
	const struct codec *codec = &c->v->m->codec;
	size_t code_bytes = vs_view_code_bytes(c->v);

	for (uint32_t i = 0, end; i < c->run->count; i = end + 1) {
		for (end = i; end < c->run->count && !is_set(c->stale, end); end++)
			if (c->out)
				put_code(&codec->plan, &c->run->columns, c->run->lead + end,
					 c->out + end * code_bytes);
		if (!c->out && end > i)
			codec_decode(codec, &c->run->columns, c->run->lead + i, end - i,
				     c->decoded + (size_t)i * codec->plan.dim, c->v->scratch);
	}
}

/* Reads the columns of a run; false: they cannot be read. A guard is for one mapping at a time. */
static bool copy_guarded(struct copying *c)
{
	const struct codes *k = c->run->codes;
	uint32_t blocks = (c->run->lead + c->run->count + 63) / 64;
	const uint8_t *begin[] = {c->run->columns.blocks, c->run->columns.rows,
				  (const uint8_t *)c->run->columns.factors};
	const uint8_t *low = NULL, *high = NULL;

	for (int i = 0; i < CODES_COLUMNS; i++) {
		if (!begin[i])
			continue;
		low = !low || begin[i] < low ? begin[i] : low;
		high = begin[i] + blocks * k->block_bytes[i] > high ? begin[i] + blocks * k->block_bytes[i]
								    : high;
	}
	return io_guard(low, (size_t)(high - low), copy_codes, c);
}

static int read_run(struct vs_view *v, const struct view_run *run, char *out, float *decoded)
{
	uint64_t stale[RUN_ROWS / 64] = {0};
	struct copying c = {v, run, stale, out, decoded};
	int rc = make_room(v);

	if (!rc)
		rc = view_mark_stale(v, run, stale);
	if (!rc && run->codes && !copy_guarded(&c))
		mark_all(stale, run->count);
	if (!rc)
		rc = view_mark_stale(v, run, stale);
	for (uint32_t i = 0; i < run->count && !rc;)
		rc = make_codes(v, run, stale, &i, out, decoded);
	return rc;
}

static int read_rows(struct vs_view *v, uint64_t first, uint64_t count, char *out, float *decoded)
{
	size_t code_bytes = vs_view_code_bytes(v);
	int rc = 0;

	if (first > v->info.rows || count > v->info.rows - first)
		return -EINVAL;
	while (count && !rc) {
		struct view_run run;

		view_run_begin(v, first, count < RUN_ROWS ? count : RUN_ROWS, &run);
		rc = read_run(v, &run, out, decoded);
		view_run_end(&run);
		first += run.count;
		count -= run.count;
		out += out ? run.count * code_bytes : 0;
		decoded += decoded ? (size_t)run.count * v->info.schema.dim : 0;
	}
	return rc;
}

int vs_view_codes(struct vs_view *v, uint64_t first, uint64_t count, void *out)
{
	return read_rows(v, first, count, out, NULL);
}

int vs_view_decoded(struct vs_view *v, uint64_t first, uint64_t count, float *out)
{
	return read_rows(v, first, count, NULL, out);
}
