/* SPDX-License-Identifier: Apache-2.0 */
#include "store/search/search.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "store/base/clock.h"
#include "store/engine.h"
#include "store/search/state.h"
#include "store/view/view.h"

#define BLOCK_BYTES (256u << 10)
#define BLOCK_BYTES_FEW (4u << 20) /* for so few queries that a row is not read again: */
#define FEW_QUERIES 4u
#define BLOCK_ROWS_MAX 2048u

/* ------------------------------------------------------------------ one thread's */

static void search_free(struct search *s)
{
	search_codes_free(s);
	if (!s->is_borrowing) {
		free(s->tops);
		free(s->items);
	}
	free(s->nearest);
	free(s->converted);
	free(s->looked_up);
	free(s->distances);
	free(s->chosen);
	free(s->keys);
	free(s->sums);
	free(s->rows);
	free(s->picks);
}

/* Rows that are compared at once, so that they stay in a cache for all queries. Through a view only a few
 * are compared: memory for many would be given back after each query, and asked for again. */
static uint32_t block_rows_for(const struct search *s)
{
	size_t bytes = s->q->count <= FEW_QUERIES && !s->q->view ? BLOCK_BYTES_FEW : BLOCK_BYTES;
	size_t rows = bytes / s->info.row_bytes / 64 * 64;

	return rows < 64 ? 64 : rows > BLOCK_ROWS_MAX ? BLOCK_ROWS_MAX : (uint32_t)rows;
}

static int allocate(struct search *s)
{
	size_t count = s->q->count, rows = s->block_rows, bits;

	if (s->codes && search_codes_rows(s->codes) > rows)
		rows = search_codes_rows(s->codes);
	bits = bit_words((uint32_t)rows);
	s->rows = malloc(s->block_rows * s->info.row_bytes);
	s->nearest = malloc(((size_t)s->q->k + 1) * sizeof *s->nearest);
	s->picks = calloc(s->block_rows, sizeof *s->picks);
	s->distances =
		malloc((count < SEARCH_GROUP ? count : SEARCH_GROUP) * s->block_rows * sizeof *s->distances);
	s->chosen = calloc(4 * bits, sizeof *s->chosen);
	s->keys = calloc(s->block_rows, sizeof *s->keys);
	s->sums = calloc(s->block_rows, sizeof *s->sums);
	if (!s->rows || !s->nearest || !s->picks || !s->distances || !s->chosen || !s->keys || !s->sums)
		return -ENOMEM;
	s->moved = s->chosen + bits;
	s->near = s->moved + bits;
	s->taken = s->near + bits;
	return 0;
}

/* extra: how many more candidates than usual. */
static int search_begin(struct search *s, uint32_t extra)
{
	size_t count = s->q->count;
	int rc;

	s->block_rows = block_rows_for(s);
	s->tops = calloc(count, sizeof *s->tops);
	s->items = malloc((count * s->q->k + 1) * sizeof *s->items);
	rc = s->tops && s->items ? search_take_queries(s) : -ENOMEM;
	for (size_t i = 0; i < count && !rc; i++)
		topk_start(&s->tops[i], s->items + i * s->q->k, s->q->k);
	if (!rc && s->q->view)
		rc = search_codes_begin(s, extra);
	return rc ? rc : allocate(s);
}

static bool is_cancelled(struct search *s, uint64_t more_rows)
{
	return s->q->is_cancelled && s->q->is_cancelled(s->q->arg, more_rows);
}

static int search_block(struct search *s, const struct snapshot_run *run)
{
	int rc = search_choose(s, run);

	s->gathered = 0;
	s->stats->rows_scanned += rc ? 0 : search_chosen(s, run->count);
	for (uint32_t group = 0; group < s->q->count && !rc; group += SEARCH_GROUP) {
		if (group && is_cancelled(s, 0)) /* a block takes seconds with 100,000 queries */
			return -EINTR;
		rc = search_compare(s, run, group,
				    s->q->count - group < SEARCH_GROUP ? s->q->count - group : SEARCH_GROUP);
	}
	return rc;
}

/* Queries of one pass over the rows. Of vectors there is only one. */
struct pass {
	uint32_t group, queries;
	unsigned number, passes;
	uint64_t told; /* rows that is_cancelled was told of */
};

/* Rows are told of as if each pass had its share of them. */
static bool is_over(struct search *s, struct pass *pass, uint64_t done, uint64_t rows)
{
	uint64_t all = (pass->number * rows + done) / pass->passes, more = all - pass->told;

	pass->told = all;
	return is_cancelled(s, more);
}

static int search_pass(struct search *s, uint64_t first, uint64_t end, struct pass *pass)
{
	uint32_t max = s->codes ? search_codes_rows(s->codes) : s->block_rows;
	int rc = s->codes ? search_codes_group(s, pass->group, pass->queries) : 0;

	for (uint64_t at = first; at < end && !rc;) {
		struct snapshot_run run;

		if (is_over(s, pass, at - first, end - first))
			return -EINTR;
		snapshot_run_begin(s->m, at, end - at < max ? end - at : max, &run);
		rc = s->codes ? search_codes_block(s, &run, pass->group, pass->queries)
			      : search_block(s, &run);
		snapshot_run_end(&run);
		at += run.count;
	}
	return rc;
}

static int search_rows(struct search *s, uint64_t first, uint64_t end)
{
	uint32_t group_max = s->codes ? search_codes_group_max(s->codes) : s->q->count;
	struct pass pass = {.passes = (s->q->count + group_max - 1) / group_max};
	int rc = search_look_up(s, first, end);

	for (; pass.number < pass.passes && !rc; pass.number++) {
		uint32_t left = s->q->count - pass.group;

		pass.queries = left < group_max ? left : group_max;
		rc = search_pass(s, first, end, &pass);
		pass.group += pass.queries;
	}
	return rc;
}

/* ------------------------------------------------------------------ threads that share the rows */

/* What one thread does: rows [first, end), then the candidates of queries [query, query_end). */
struct part {
	pthread_t thread;
	bool is_started;
	struct search search;
	struct vs_search_stats stats;
	uint64_t first, end;
	uint32_t query, query_end, extra;
	int64_t ns;
	int rc;
};

static void *scan_part(void *arg)
{
	struct part *p = arg;
	int64_t begin = clock_ns();

	p->rc = search_begin(&p->search, p->extra);
	if (!p->rc)
		p->rc = search_rows(&p->search, p->first, p->end);
	p->ns += clock_ns() - begin;
	return NULL;
}

static void *verify_part(void *arg)
{
	struct part *p = arg;
	int64_t begin = clock_ns();

	p->rc = search_codes_verify(&p->search, p->query, p->query_end);
	p->ns += clock_ns() - begin;
	return NULL;
}

/* Runs the parts, one of them in this thread. */
static int run_parts(struct part *parts, unsigned count, void *(*fn)(void *part))
{
	int rc;

	for (unsigned i = 1; i < count; i++) {
		parts[i].is_started = !pthread_create(&parts[i].thread, NULL, fn, &parts[i]);
		if (!parts[i].is_started) /* there are enough threads; this one is slower then */
			fn(&parts[i]);
	}
	fn(&parts[0]);
	rc = parts[0].rc;
	for (unsigned i = 1; i < count; i++) {
		if (parts[i].is_started)
			pthread_join(parts[i].thread, NULL);
		rc = rc ? rc : parts[i].rc;
	}
	return rc;
}

/* Puts what other has found to what s has; other works on what is s's then. */
static void absorb(struct search *s, struct search *other)
{
	for (uint32_t q = 0; q < s->q->count; q++) {
		const struct topk *from = &other->tops[q];

		for (size_t i = 0; i < from->count; i++)
			topk_push(&s->tops[q], from->items[i].distance, from->items[i].row,
				  from->items[i].key);
	}
	if (s->codes)
		search_codes_absorb(s, other);
	free(other->tops);
	free(other->items);
	other->tops = s->tops;
	other->items = s->items;
	other->is_borrowing = true;
}

static void tell(struct search *s, struct vs_hit *hits, uint32_t *found)
{
	enum vs_metric metric = s->info.schema.metric;

	for (uint32_t i = 0; i < s->q->count; i++) {
		found[i] = (uint32_t)topk_finish(&s->tops[i]);
		for (uint32_t j = 0; j < found[i]; j++) {
			const struct topk_item *item = &s->tops[i].items[j];

			hits[(size_t)i * s->q->k + j] =
				(struct vs_hit){item->row, item->key, search_told(metric, item->distance)};
		}
	}
}

static int search_parts(struct part *parts, unsigned count, bool *is_short)
{
	uint32_t queries = parts[0].search.q->count;
	int rc = run_parts(parts, count, scan_part);

	if (rc)
		return rc;
	for (unsigned i = 1; i < count; i++)
		absorb(&parts[0].search, &parts[i].search);
	count = queries < count ? 1 : count;
	for (unsigned i = 0; i < count; i++) {
		parts[i].query = (uint32_t)((uint64_t)queries * i / count);
		parts[i].query_end = (uint32_t)((uint64_t)queries * (i + 1) / count);
	}
	if (parts[0].search.codes)
		rc = run_parts(parts, count, verify_part);
	*is_short = !rc && search_codes_is_short(&parts[0].search);
	return rc;
}

/* For who watches the store. */
static void count(struct vs_snapshot *m, const struct part *p, struct vs_search_stats *sum)
{
	struct counters *c = snapshot_counters(m);

	c->rows_scanned += p->stats.rows_scanned;
	c->rows_verified += p->stats.rows_verified;
	c->search_ns += (uint64_t)p->ns;
	sum->rows_scanned += p->stats.rows_scanned;
	sum->rows_verified += p->stats.rows_verified;
	sum->rows_damaged += p->stats.rows_damaged;
}

/* Once more with more candidates for as long as damaged rows have taken the places of others. */
static int search_range(struct vs_snapshot *m, const struct vs_query *q, uint64_t first, uint64_t end,
			unsigned threads, struct vs_hit *hits, uint32_t *found, struct vs_search_stats *stats)
{
	struct part *parts = calloc(threads, sizeof *parts);
	uint64_t share = ((end - first + threads - 1) / threads + 63) / 64 * 64;
	bool is_short = false;
	int rc = parts ? 0 : -ENOMEM;

	for (uint32_t extra = 0; !rc; extra = extra ? extra * 8 : 64) {
		for (unsigned i = 0; i < threads; i++) {
			struct part *p = &parts[i];

			*p = (struct part){.first = first + i * share, .extra = extra};
			p->first = p->first < end ? p->first : end;
			p->end = end - p->first < share ? end : p->first + share;
			p->search = (struct search){.m = m, .q = q, .stats = &p->stats};
			vs_snapshot_info(m, &p->search.info);
		}
		rc = search_parts(parts, threads, &is_short);
		if (!rc && !is_short)
			tell(&parts[0].search, hits, found);
		for (unsigned i = threads; i-- > 0;) { /* the first one's memory is the others', too */
			count(m, &parts[i], stats);
			search_free(&parts[i].search);
		}
		if (!is_short || extra > INT32_MAX / 8)
			break;
	}
	free(parts);
	return rc;
}

static int search(struct vs_snapshot *m, const struct vs_query *q, uint64_t first, uint64_t rows,
		  unsigned threads, struct vs_hit *hits, uint32_t *found, struct vs_search_stats *stats)
{
	struct vs_snapshot_info info;
	uint64_t end = first + rows;
	int rc;

	*stats = (struct vs_search_stats){0};
	memset(found, 0, q->count * sizeof *found);
	vs_snapshot_info(m, &info);
	if (end > info.rows)
		end = info.rows;
	if (first >= end || !q->count)
		return 0;
	rc = vs_query_check(&info.schema, q->vectors, q->count);
	if (rc)
		return rc;
	if (!first) /* not for each part of a search in parts */
		snapshot_counters(m)->queries += q->count;
	/* Parts of at least a block's rows, and none that is empty. */
	if (threads > (end - first + 63) / 64)
		threads = (unsigned)((end - first + 63) / 64);
	return search_range(m, q, first, end, threads ? threads : 1, hits, found, stats);
}

int vs_search(struct vs_snapshot *m, const struct vs_query *q, uint64_t first, uint64_t rows,
	      struct vs_hit *hits, uint32_t *found, struct vs_search_stats *stats)
{
	return search(m, q, first, rows, 1, hits, found, stats);
}

int vs_search_threads(struct vs_snapshot *m, const struct vs_query *q, unsigned threads, struct vs_hit *hits,
		      uint32_t *found, struct vs_search_stats *stats)
{
	return search(m, q, 0, UINT64_MAX / 2, threads, hits, found, stats);
}

uint64_t vs_search_bytes(const struct vs_query *q, unsigned threads)
{
	uint64_t depth = q->view ? vs_rerank_depth(&vs_view_codec(q->view)->plan, q->k, q->rerank) : 0;

	return (uint64_t)q->count * threads *
	       ((q->k + (q->view ? topk_capacity(depth) : 0)) * sizeof(struct topk_item) +
		2 * sizeof(struct topk));
}

static bool is_before(enum vs_metric metric, const struct vs_hit *a, const struct vs_hit *b)
{
	if (a->distance != b->distance)
		return metric == VS_IP ? a->distance > b->distance : a->distance < b->distance;
	return a->entry < b->entry;
}

int vs_search_merge(enum vs_metric metric, const struct vs_query *q, struct vs_hit *hits, uint32_t *found,
		    const struct vs_hit *other, const uint32_t *other_found)
{
	struct vs_hit *mine = malloc(((size_t)q->k + 1) * sizeof *mine);

	if (!mine)
		return -ENOMEM;
	for (uint32_t i = 0; i < q->count; i++) {
		struct vs_hit *out = hits + (size_t)i * q->k;
		const struct vs_hit *theirs = other + (size_t)i * q->k;
		uint32_t a = 0, b = 0, n = 0;

		memcpy(mine, out, found[i] * sizeof *mine);
		while (n < q->k && (a < found[i] || b < other_found[i])) {
			bool is_mine = b >= other_found[i] ||
				       (a < found[i] && is_before(metric, &mine[a], &theirs[b]));

			out[n++] = is_mine ? mine[a++] : theirs[b++];
		}
		found[i] = n;
	}
	free(mine);
	return 0;
}
