/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Search through a view. Codes are read where they lie in their mapped columns, block by block and each block
 * for all queries of a group. Rows whose codes are not the snapshot's, before it or after it, are stale: they
 * are compared exactly (compare.c).
 *
 * sq8 tells what a row's distance is not below. Where that is not above the k-th best so far the vector is
 * fetched, verified and compared; so the result is that of comparing all vectors, and a few dozen of them are
 * read. In the first blocks there are no k yet: there the k of the least bounds are fetched first.
 *
 * Any other codec estimates. The `depth` nearest by their codes are a query's candidates; these are compared
 * at the end, when every thread's candidates have been put together, and the k nearest of them and of the
 * stale rows are found. Equal estimates are told apart by entry numbers, which are looked up for such rows
 * alone (quant/topk.h).
 */
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/block.h"
#include "quant/convert.h"
#include "store/io/guard.h"
#include "store/search/state.h"
#include "store/segment/segment.h"
#include "store/view/view.h"

#define BLOCK_BYTES (256u << 10)
#define BLOCK_BYTES_FEW (1u << 20) /* for one query, which reads few codes again */
#define BLOCK_ROWS_MAX 65536u
#define GROUP 32u   /* queries of a pass over the codes: each has tables of up to some 100 KiB */
#define ATTEMPTS 3u /* to read a block that is being changed */

struct search_codes {
	const struct codec *codec;
	bool is_exact; /* sq8 */
	uint32_t depth, group_max, block_rows;
	struct topk *candidates;       /* of each query, */
	struct topk_item *items;       /* room for more than depth for each */
	uint32_t *lost;                /* of each query: candidates that were left out */
	struct codec_query *queries;   /* of the group, */
	char *memory;                  /* what each of them has, */
	const float *vectors;          /* and all queries as f32 */
	float *converted;              /* if these are not the caller's */
	void *scratch;                 /* for making a query */
	struct topk *saved;            /* the candidates before a block, */
	struct topk_item *saved_items; /* or for sq8 the rows of the least bounds */
	float *bounds;                 /* sq8: group_max * rows of the columns */
	uint64_t *wanted;              /* of the block: to be compared, */
	uint64_t *stale;               /* not by their codes, */
	uint64_t *mask;                /* and by their codes, as rows of the columns; */
	uint64_t *invalid;             /* what was wanted of these, and has no good code, */
	bool has_invalid;              /* if there is any; */
	uint64_t *near, *done;         /* sq8: of these to be fetched, and fetched */
};

/* ------------------------------------------------------------------ beginning */

/* How many candidates a codec's estimates need, as times k, to find nearly all (quant/README.md). */
static uint32_t times_of(const struct codec_plan *plan)
{
	size_t bits = 8 * (plan->block_bytes + plan->row_bytes);

	switch (plan->name.kind) {
	case CODEC_F16:
	case CODEC_BF16:
		return 2;
	case CODEC_RABITQ:
		return plan->name.bits >= 5 ? 3 : plan->name.bits >= 3 ? 5 : plan->name.bits == 2 ? 8 : 15;
	case CODEC_BIT:
		return 20;
	default: /* pq, opq: less for more bits a number */
		return bits >= 4 * (size_t)plan->dim ? 8 : bits >= 2 * (size_t)plan->dim ? 15 : 20;
	}
}

uint32_t vs_rerank_depth(const struct codec_plan *plan, uint32_t k, uint32_t rerank)
{
	uint64_t depth = rerank == VS_RERANK_AUTO ? (uint64_t)k * times_of(plan) : rerank;

	return depth < k ? k : depth > UINT32_MAX - 1 ? UINT32_MAX - 1 : (uint32_t)depth;
}

static int take_vectors(struct search *s, struct search_codes *c)
{
	const struct vs_schema *schema = &s->info.schema;
	size_t n = (size_t)s->q->count * schema->dim;

	c->vectors = (const float *)(const void *)s->queries;
	if (schema->dtype == VS_F32 || schema->dtype == VS_F16 || schema->dtype == VS_BF16)
		return 0;
	c->converted = malloc(n * sizeof(float) + 1);
	if (!c->converted)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->q->count; i++)
		convert_vector_to_f32(c->converted + (size_t)i * schema->dim, schema->dtype,
				      (const char *)s->q->vectors + i * s->info.row_bytes, schema->dim);
	c->vectors = c->converted;
	return 0;
}

/* Memory as quant/ wants it. */
static size_t line_bytes(size_t bytes)
{
	return (bytes / 64 + 1) * 64;
}

static void *lines(size_t bytes)
{
	return aligned_alloc(64, line_bytes(bytes));
}

static int allocate(struct search_codes *c, uint32_t count, uint32_t k)
{
	size_t words = bit_words(c->block_rows) + 1;
	size_t kept = c->is_exact ? k : topk_capacity(c->depth);

	c->queries = calloc(c->group_max, sizeof *c->queries);
	c->memory = lines(c->group_max * line_bytes(codec_query_bytes(c->codec)));
	c->scratch = lines(codec_scratch_bytes(c->codec));
	c->wanted = calloc(6 * words, sizeof *c->wanted);
	c->saved = calloc(c->group_max, sizeof *c->saved);
	c->saved_items = malloc((c->is_exact ? 1 : c->group_max) * kept * sizeof *c->saved_items + 1);
	c->lost = calloc(count, sizeof *c->lost);
	if (!c->queries || !c->memory || !c->scratch || !c->wanted || !c->saved || !c->saved_items ||
	    !c->lost)
		return -ENOMEM;
	c->stale = c->wanted + words;
	c->mask = c->stale + words;
	c->invalid = c->mask + words;
	c->near = c->invalid + words;
	c->done = c->near + words;
	if (c->is_exact) {
		c->bounds = malloc(c->group_max * words * BLOCK_ROWS * sizeof *c->bounds);
		return c->bounds ? 0 : -ENOMEM;
	}
	c->candidates = calloc(count, sizeof *c->candidates);
	c->items = malloc(count * topk_capacity(c->depth) * sizeof *c->items);
	return c->candidates && c->items ? 0 : -ENOMEM;
}

static void take_entry(void *arg, uint64_t n, uint32_t place, const struct row *r, const char *name)
{
	(void)n;
	(void)place;
	(void)name;
	*(uint64_t *)arg = r && row_entry(r) ? row_entry(r) : UINT64_MAX;
}

/* A candidate's key. What cannot be told is left out when the candidates are fetched; until then it is the
 * last of its equals. */
static uint64_t entry_of(void *arg, uint32_t row)
{
	uint64_t entry = UINT64_MAX;

	return snapshot_rows(arg, row, 1, NULL, take_entry, &entry) ? UINT64_MAX : entry;
}

static uint32_t rows_of(const struct codec_plan *plan, uint32_t queries)
{
	size_t bytes = plan->block_bytes + plan->row_bytes + plan->factors * sizeof(float);
	size_t rows = (queries == 1 ? BLOCK_BYTES_FEW : BLOCK_BYTES) / bytes / BLOCK_ROWS * BLOCK_ROWS;

	return rows < BLOCK_ROWS ? BLOCK_ROWS : rows > BLOCK_ROWS_MAX ? BLOCK_ROWS_MAX : (uint32_t)rows;
}

/* No more candidates than there are rows; one more than is asked for where one is to be left out. */
static uint32_t depth_of(const struct search *s, const struct codec_plan *plan, uint32_t extra)
{
	uint64_t depth =
		(uint64_t)vs_rerank_depth(plan, s->q->k, s->q->rerank) + extra + (s->q->without != 0);

	return depth < s->info.rows ? (uint32_t)depth : (uint32_t)s->info.rows;
}

int search_codes_begin(struct search *s, uint32_t extra)
{
	struct search_codes *c = s->codes = calloc(1, sizeof *c);
	uint32_t count = s->q->count;
	int rc;

	if (!c)
		return -ENOMEM;
	c->codec = vs_view_codec(s->q->view);
	c->is_exact = c->codec->plan.name.kind == CODEC_SQ8;
	c->depth = depth_of(s, &c->codec->plan, extra);
	c->group_max = count < GROUP ? count : GROUP;
	c->block_rows = rows_of(&c->codec->plan, c->group_max);
	rc = allocate(c, count, s->q->k);
	for (uint32_t q = 0; q < count && !rc && !c->is_exact; q++)
		topk_start_late(&c->candidates[q], c->items + q * topk_capacity(c->depth), c->depth,
				topk_capacity(c->depth), entry_of, s->m);
	return rc ? rc : take_vectors(s, c);
}

void search_codes_free(struct search *s)
{
	struct search_codes *c = s->codes;

	if (!c)
		return;
	if (!s->is_borrowing) {
		free(c->candidates);
		free(c->items);
		free(c->lost);
	}
	free(c->queries);
	free(c->memory);
	free(c->converted);
	free(c->scratch);
	free(c->saved);
	free(c->saved_items);
	free(c->bounds);
	free(c->wanted);
	free(c);
}

uint32_t search_codes_rows(const struct search_codes *codes)
{
	return codes->block_rows;
}

uint32_t search_codes_group_max(const struct search_codes *codes)
{
	return codes->group_max;
}

int search_codes_group(struct search *s, uint32_t group, uint32_t queries)
{
	struct search_codes *c = s->codes;
	size_t bytes = line_bytes(codec_query_bytes(c->codec));
	int rc = 0;

	for (uint32_t q = 0; q < queries && !rc; q++)
		rc = codec_query_init(&c->queries[q], c->codec,
				      c->vectors + (size_t)(group + q) * s->info.schema.dim,
				      c->memory + q * bytes, c->scratch);
	return rc;
}

/* ------------------------------------------------------------------ a block's columns */

/* A block that is looked at: rows of the columns are `lead` more than rows of the run. */
struct look {
	struct search *s;
	struct search_codes *c;
	const struct view_run *run;
	struct scan_rows rows;
	uint32_t group, queries;
};

static struct look look_at(struct search *s, const struct view_run *run, uint32_t group, uint32_t queries)
{
	return (struct look){.s = s,
			     .c = s->codes,
			     .run = run,
			     .rows = {.rows = run->lead + run->count,
				      .valid = s->codes->mask,
				      .first_row = (uint32_t)run->first - run->lead},
			     .group = group,
			     .queries = queries};
}

/*
 * What is wanted and not stale, as rows of the columns; less what the mask has not, if it is taken again.
 * What no code says enough of (quant/codec.h), such as an infinity, is not looked at. Whether there is
 * anything.
 */
static bool take_mask(struct search_codes *c, const struct view_run *run, bool again)
{
	size_t words = bit_words(run->count), blocks = bit_words(run->lead + run->count);
	unsigned lead = run->lead;
	uint64_t any = 0, any_invalid = 0, carry = 0;

	for (size_t i = 0; i < blocks; i++) {
		/* The builder may be at other rows of the block. */
		uint64_t valid = __atomic_load_n(&run->columns.valid[i], __ATOMIC_RELAXED);
		uint64_t word = i < words ? c->wanted[i] & ~c->stale[i] : 0;
		uint64_t rows = (word << lead | carry) & (again ? c->mask[i] : UINT64_MAX);

		carry = lead ? word >> (64 - lead) : 0;
		c->mask[i] = rows & valid;
		c->invalid[i] = rows & ~valid;
		any |= rows;
		any_invalid |= rows & ~valid;
	}
	c->has_invalid = any_invalid;
	return any != 0;
}

static bool guarded(struct look *look, void (*fn)(void *arg))
{
	const struct codec_plan *plan = &look->c->codec->plan;
	const struct codec_columns *columns = &look->run->columns;
	size_t blocks = block_count(look->rows.rows);
	struct io_range ranges[] = {
		{columns->blocks, blocks * BLOCK_ROWS * plan->block_bytes},
		{columns->rows, look->rows.rows * plan->row_bytes},
		{columns->factors, blocks * BLOCK_ROWS * plan->factors * sizeof(float)},
	};

	return io_guard_ranges(ranges, sizeof ranges / sizeof *ranges, fn, look);
}

/* What has no good code is compared exactly. */
static void add_invalid(const struct look *look)
{
	const struct search_codes *c = look->c;
	uint32_t end = c->has_invalid ? (uint32_t)look->rows.rows : 0;

	for (uint32_t i = bit_next(c->invalid, 0, end); i < end; i = bit_next(c->invalid, i + 1, end))
		bit_set(c->stale, i - look->run->lead);
}

/* ------------------------------------------------------------------ sq8 */

static float *bounds_of(const struct look *look, uint32_t query)
{
	return look->c->bounds + query * block_count(look->rows.rows) * BLOCK_ROWS;
}

/* Within a guard. */
static void compute_bounds(void *arg)
{
	struct look *look = arg;

	for (uint32_t q = 0; q < look->queries; q++)
		for (size_t b = 0; b < block_count(look->rows.rows); b++)
			sq8_bounds(bounds_of(look, q) + b * BLOCK_ROWS, &look->rows, &look->c->queries[q].sq8,
				   look->run->columns.rows, look->run->columns.factors, b);
}

/* Of a query without k hits yet: the k-th least bound of the block. */
static float limit_of_first(const struct look *look, uint32_t query)
{
	struct search_codes *c = look->c;
	struct topk top;

	topk_start(&top, c->saved_items, look->s->q->k);
	for (size_t b = 0; b < block_count(look->rows.rows); b++)
		if (c->mask[b])
			scan_push(&top, &look->rows, b, bounds_of(look, query) + b * BLOCK_ROWS, c->mask[b]);
	return top.count < top.k ? INFINITY : top.bound;
}

/* Marks the rows that may be among the nearest of a query. */
static void mark_near(const struct look *look, uint32_t query, float limit)
{
	struct search_codes *c = look->c;

	for (size_t b = 0; b < block_count(look->rows.rows); b++)
		if (c->mask[b])
			c->near[b] |=
				c->mask[b] & scan_not_above(bounds_of(look, query) + b * BLOCK_ROWS, limit);
}

/* Fetches the near rows that were not, and offers them to all queries of the group. */
static int fetch_near(const struct look *look)
{
	struct search_codes *c = look->c;
	uint32_t end = (uint32_t)look->rows.rows, rows[SEARCH_FETCH], n = 0;
	int rc = 0;

	for (size_t b = 0; b < block_count(end); b++) {
		c->near[b] &= ~c->done[b];
		c->done[b] |= c->near[b];
	}
	for (uint32_t i = bit_next(c->near, 0, end); i < end && !rc; i = bit_next(c->near, i + 1, end)) {
		rows[n++] = look->rows.first_row + i;
		if (n < SEARCH_FETCH && bit_next(c->near, i + 1, end) < end)
			continue;
		rc = search_fetch(look->s, rows, &n);
		if (!rc)
			search_offer(look->s, rows, n, look->group, look->queries);
		n = 0;
	}
	memset(c->near, 0, block_count(end) * sizeof *c->near);
	return rc;
}

/* Twice: what may be near by the bound so far, or is the nearest of a query that has no k hits; then, of
 * these queries, what may be near by the bound that they have now. */
static int fetch_block(const struct look *look)
{
	const struct search *s = look->s;
	size_t words = block_count(look->rows.rows);
	bool had_bound[GROUP];
	int rc;

	memset(look->c->near, 0, words * sizeof *look->c->near);
	memset(look->c->done, 0, words * sizeof *look->c->done);
	for (uint32_t q = 0; q < look->queries; q++) {
		float bound = search_bound_now(s, look->group + q);

		had_bound[q] = s->tops[look->group + q].count == s->q->k;
		mark_near(look, q, had_bound[q] ? bound : fminf(bound, limit_of_first(look, q)));
	}
	rc = fetch_near(look);
	for (uint32_t q = 0; q < look->queries && !rc; q++)
		if (!had_bound[q])
			mark_near(look, q, search_bound_now(s, look->group + q));
	return rc ? rc : fetch_near(look);
}

static int bound_block(struct look *look, uint32_t count)
{
	struct search_codes *c = look->c;
	int rc = 0;

	if (!take_mask(c, look->run, false))
		return 0;
	if (!guarded(look, compute_bounds))
		memset(c->stale, 0xff, bit_words(count) * sizeof *c->stale);
	else
		rc = view_mark_stale(look->s->q->view, look->run, c->stale);
	if (rc)
		return rc;
	add_invalid(look);
	if (!take_mask(c, look->run, true))
		return 0;
	return fetch_block(look);
}

/* ------------------------------------------------------------------ the other codecs */

/* Within a guard. */
static void estimate(void *arg)
{
	struct look *look = arg;

	for (uint32_t q = 0; q < look->queries; q++)
		(look->s->q->rerank ? codec_scan_coarsely : codec_scan)(&look->c->candidates[look->group + q],
									&look->rows, &look->c->queries[q],
									&look->run->columns);
}

static void save(struct look *look, bool back)
{
	struct search_codes *c = look->c;

	for (uint32_t q = 0; q < look->queries; q++) {
		struct topk *top = &c->candidates[look->group + q];
		struct topk_item *saved = c->saved_items + q * topk_capacity(c->depth);

		if (!back)
			topk_shrink(top);
		if (back)
			*top = c->saved[q];
		else
			c->saved[q] = *top;
		memcpy(back ? top->items : saved, back ? saved : top->items, top->count * sizeof *saved);
	}
}

static bool is_any_new(const struct search_codes *c, const uint64_t *before, size_t words)
{
	for (size_t i = 0; i < words; i++)
		if (c->stale[i] & c->wanted[i] & ~before[i])
			return true;
	return false;
}

/* Whether a row that has become stale is among the candidates. One that is not has displaced none: these are
 * the nearest of all that were read, with it or without it. */
static bool is_any_taken(const struct look *look, const uint64_t *before)
{
	const struct search_codes *c = look->c;

	for (uint32_t q = 0; q < look->queries; q++) {
		const struct topk *top = &c->candidates[look->group + q];

		for (size_t i = 0; i < top->count; i++) {
			uint64_t at = (uint64_t)top->items[i].row - look->run->first;

			if (at < look->run->count && bit_is_set(c->stale, (uint32_t)at) &&
			    !bit_is_set(before, (uint32_t)at))
				return true;
		}
	}
	return false;
}

/* What was read of rows that have become stale meanwhile must not have displaced others: then the candidates
 * are those of before, and the block is read again. */
static int estimate_block(struct look *look, uint32_t count)
{
	struct search_codes *c = look->c;
	size_t words = bit_words(count);
	uint64_t *before = c->near; /* of no use else */
	bool is_read = false;
	int rc = 0;

	for (unsigned i = 0; i < ATTEMPTS && !rc && !is_read; i++) {
		if (!take_mask(c, look->run, false))
			return 0;
		memcpy(before, c->stale, words * sizeof *before);
		save(look, false);
		is_read = guarded(look, estimate);
		rc = is_read ? view_mark_stale(look->s->q->view, look->run, c->stale) : 0;
		is_read = is_read && !(is_any_new(c, before, words) && is_any_taken(look, before));
		if (!is_read)
			save(look, true);
	}
	if (is_read)
		add_invalid(look);
	else
		memset(c->stale, 0xff, words * sizeof *c->stale);
	return rc;
}

/* ------------------------------------------------------------------ a block */

/* Compares those of the wanted rows that are stale, in blocks as exact search has them. */
static int compare_stale(struct search *s, const struct snapshot_run *run, uint32_t group, uint32_t queries)
{
	const struct search_codes *c = s->codes;
	int rc = 0;

	for (uint32_t at = 0; at < run->count && !rc; at += s->block_rows) {
		struct snapshot_run part = *run;
		uint64_t any = 0;

		part.first += at;
		part.count = run->count - at < s->block_rows ? run->count - at : s->block_rows;
		part.vectors = run->vectors ? run->vectors + at * s->info.row_bytes : NULL;
		for (size_t i = 0; i < bit_words(part.count); i++)
			any |= s->chosen[i] = c->wanted[at / 64 + i] & c->stale[at / 64 + i];
		s->gathered = 0;
		if (any)
			rc = search_compare(s, &part, group, queries);
	}
	return rc;
}

int search_codes_block(struct search *s, struct snapshot_run *run, uint32_t group, uint32_t queries)
{
	struct search_codes *c = s->codes;
	const struct vs_view *view = s->q->view;
	struct view_run codes;
	struct look look;
	int rc;

	view_run_begin(view, run->first, run->count, &codes);
	if (codes.count < run->count)
		run->count = codes.count;
	codes.count = run->count;
	look = look_at(s, &codes, group, queries);
	memset(c->stale, codes.columns.valid ? 0 : 0xff, bit_words(run->count) * sizeof *c->stale);
	rc = search_choose(s, run);
	if (!rc && !group)
		s->stats->rows_scanned += search_chosen(s, run->count);
	memcpy(c->wanted, s->chosen, bit_words(run->count) * sizeof *c->wanted);
	if (!rc && codes.columns.valid)
		rc = view_mark_stale(view, &codes, c->stale);
	if (!rc && codes.columns.valid)
		rc = (c->is_exact ? bound_block : estimate_block)(&look, run->count);
	view_run_end(&codes);
	return rc ? rc : compare_stale(s, run, group, queries);
}

/* ------------------------------------------------------------------ candidates */

void search_codes_absorb(struct search *s, struct search *other)
{
	struct search_codes *c = s->codes, *o = other->codes;

	for (uint32_t q = 0; q < s->q->count && !c->is_exact; q++) {
		struct topk *from = &o->candidates[q];

		for (size_t i = 0; i < from->count; i++)
			topk_push(&c->candidates[q], from->items[i].distance, from->items[i].row, 0);
	}
	free(o->candidates);
	free(o->items);
	free(o->lost);
	o->candidates = c->candidates;
	o->items = c->items;
	o->lost = c->lost;
}

static int by_row(const void *a, const void *b)
{
	const struct topk_item *x = a, *y = b;

	return x->row < y->row ? -1 : x->row > y->row;
}

/* The distances by the codes are the result's: all that is asked of the rows is that they are intact. */
static void offer_estimates(struct search *s, uint32_t query, const struct topk_item *items,
			    const uint32_t *rows, uint32_t n)
{
	enum vs_metric metric = s->info.schema.metric;

	for (uint32_t i = 0; i < n; i++, items++) {
		float shown;

		while (items->row != rows[i])
			items++;
		shown = search_shown(metric, fmaxf(codec_distance(s->codes->codec, items->distance),
						   metric == VS_L2 ? 0 : -INFINITY));
		if (shown <= search_radius(s))
			topk_push(&s->tops[query], shown, rows[i], s->keys[i]);
	}
}

/* For a result that has the estimates: only whether the rows are intact. */
static int take_estimates(struct search *s, uint32_t query)
{
	struct topk *top = &s->codes->candidates[query];
	int rc = 0;

	for (size_t at = 0; at < top->count && !rc; at += SEARCH_FETCH) {
		uint32_t rows[SEARCH_FETCH], n = 0, left;

		while (n < SEARCH_FETCH && at + n < top->count) {
			rows[n] = top->items[at + n].row;
			n++;
		}
		left = n;
		rc = search_fetch(s, rows, &left);
		if (rc)
			return rc;
		s->codes->lost[query] += n - left;
		offer_estimates(s, query, top->items + at, rows, left);
	}
	return rc;
}

static int verify(struct search *s, uint32_t query)
{
	struct topk *top = &s->codes->candidates[query];

	topk_trim(top);
	qsort(top->items, top->count, sizeof *top->items, by_row);
	return s->q->rerank ? search_rank(s, top->items, top->count, query, &s->codes->lost[query])
			    : take_estimates(s, query);
}

int search_codes_verify(struct search *s, uint32_t first, uint32_t end)
{
	int rc = 0;

	for (uint32_t q = first; q < end && !rc && !s->codes->is_exact; q++)
		rc = verify(s, q);
	return rc;
}

bool search_codes_is_short(const struct search *s)
{
	const struct search_codes *c = s->codes;

	if (!c || c->is_exact || c->depth >= s->info.rows)
		return false;
	for (uint32_t q = 0; q < s->q->count; q++)
		if (c->lost[q] > (s->q->without != 0) && s->tops[q].count < s->q->k &&
		    c->candidates[q].count == c->depth)
			return true;
	return false;
}
