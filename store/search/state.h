/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state - a search under way, of one thread.
 *
 * search.c has its beginning and end, and threads that share the rows out. query.c, choose.c and compare.c
 * are exact search; view_scan.c reads codes instead of vectors; fetch.c verifies single rows.
 */
#ifndef VECFS_STORE_SEARCH_STATE_H
#define VECFS_STORE_SEARCH_STATE_H

#include <math.h>

#include "quant/topk.h"
#include "store/search/bits.h"
#include "store/search/search.h"
#include "store/snapshot/snapshot.h"

#define SEARCH_GROUP 64u /* queries that are compared with a block at once */
#define SEARCH_FETCH 64u /* rows that are fetched at once */

struct search_codes;
#define SEARCH_SQUARE_SLACK (1 + 1e-6f)

struct search {
	struct vs_snapshot *m;
	struct vs_snapshot_info info;
	const struct vs_query *q;
	const char *queries; /* as quant/distance.h wants them */
	size_t query_bytes;
	char *converted; /* queries, if they are not the caller's */
	struct topk *tops;
	struct topk_item *items;
	struct topk_item *nearest;  /* room for k */
	bool is_borrowing;          /* tops and candidates are another thread's search's */
	struct search_codes *codes; /* of the query's view, or NULL */
	/* The rows that are known to pass, a bit each, from listed_first on; or NULL. They are the caller's,
	 * or those whose ids were looked up, which may have been others in the snapshot. */
	const uint64_t *listed;
	uint64_t *looked_up, listed_first;
	uint32_t block_rows;
	float *distances; /* SEARCH_GROUP * block_rows */
	/* A bit for each row of the block: */
	uint64_t *chosen;  /* to be compared */
	uint64_t *moved;   /* not as it was compared in the file */
	uint64_t *near;    /* to be offered to a selection, */
	uint64_t *taken;   /* and looked at before */
	uint64_t *keys;    /* of the near ones: entry numbers, */
	uint32_t *sums;    /* and checksums */
	char *rows;        /* gathered vectors, SEARCH_FETCH of them at the least, */
	uint32_t *picks;   /* and which rows of the block they are */
	uint32_t gathered; /* so many of them, of a borrowed snapshot, are there for the next queries, too; 0:
			      none */
	struct vs_search_stats *stats;
};

/* A selection holds distances as users see them, negated for ip, so that smaller is nearer; the kernels give
 * squares for l2. Squares that differ may have the same root, so a bound is squared with some slack, and
 * roots decide. */

/* A kernel's distance as a selection has it, and back as a bound that no nearer row exceeds. */
static inline float search_shown(enum vs_metric metric, float d)
{
	return metric == VS_L2 ? sqrtf(d) : d;
}

static inline float search_bound(enum vs_metric metric, float shown)
{
	return metric == VS_L2 ? shown * shown * SEARCH_SQUARE_SLACK : shown;
}

static inline float search_told(enum vs_metric metric, float shown)
{
	return metric == VS_IP ? -shown : shown;
}

static inline float search_radius(const struct search *s)
{
	enum vs_metric metric = s->info.schema.metric;

	return !s->q->radius ? INFINITY : metric == VS_IP ? -*s->q->radius : *s->q->radius;
}

/* What no row is farther than that may be among the nearest of a query, as kernels measure. */
static inline float search_bound_now(const struct search *s, uint32_t query)
{
	return search_bound(s->info.schema.metric, fminf(s->tops[query].bound, search_radius(s)));
}

/* ---- queries.c */

/* Makes s->queries what kernels want. -ENOMEM. */
int search_take_queries(struct search *s);

/* ---- filter.c */

/* Of those of 64 rows that are wanted, as they lie in a segment's file, whose name heap has so many granules:
 * a bit for each whose id passes. What is damaged is none of the filter's concern. */
uint64_t filter_may_pass(const struct vs_filter *f, const struct row *rows, uint64_t wanted,
			 const char *names, uint32_t granules);

/* ---- choose.c */

/* Looks the ids of a short list up among the rows [first, end), which takes less than asking each row. */
int search_look_up(struct search *s, uint64_t first, uint64_t end);
/* Sets the bits of the rows of a block that are to be compared. Blocks begin at a multiple of 64 from the
 * first, or with a segment. */
int search_choose(struct search *s, const struct snapshot_run *run);
/* How many of a block's rows these are. */
uint32_t search_chosen(const struct search *s, uint32_t rows);

/* ---- compare.c */

/* Compares the chosen rows of a block with the queries [group, group + queries), at most SEARCH_GROUP. */
int search_compare(struct search *s, const struct snapshot_run *run, uint32_t group, uint32_t queries);

/* ---- fetch.c */

/*
 * Gathers the vectors of n rows of the snapshot, at most SEARCH_FETCH and ascending, in s->rows, each
 * verified. Those that are damaged, or are q->without, are left out: *n tells how many are left, rows which,
 * and s->keys their entry numbers.
 */
int search_fetch(struct search *s, uint32_t *rows, uint32_t *n);
/* Offers what was fetched to the selections of the queries [group, group + queries). */
void search_offer(struct search *s, const uint32_t *rows, uint32_t n, uint32_t group, uint32_t queries);
/*
 * Compares candidates, which are in the order of their rows, with a query, and offers its selection those
 * that come near enough. Only these are verified; *lost counts those of them that are damaged, or are
 * q->without.
 */
int search_rank(struct search *s, struct topk_item *items, size_t count, uint32_t query, uint32_t *lost);

/* ---- view_scan.c */

/* For a query with a view: makes s->codes. extra: how many candidates more than usual. -ENOMEM. */
int search_codes_begin(struct search *s, uint32_t extra);
void search_codes_free(struct search *s);
/* Rows of a block, and queries that are compared with one. */
uint32_t search_codes_rows(const struct search_codes *codes);
uint32_t search_codes_group_max(const struct search_codes *codes);
/* Makes what the following blocks are compared with. -EINVAL, -ENOMEM. */
int search_codes_group(struct search *s, uint32_t group, uint32_t queries);
/* Compares the chosen rows of a block with the group's queries by their codes, those that have none exactly.
 */
int search_codes_block(struct search *s, struct snapshot_run *run, uint32_t group, uint32_t queries);
/* Takes the candidates of another thread, and gives it those of all. */
void search_codes_absorb(struct search *s, struct search *other);
/* Verifies the candidates of the queries [first, end) and offers them to the selections. */
int search_codes_verify(struct search *s, uint32_t first, uint32_t end);
/* Whether rows that were left out have taken places of a query that lacks hits now. */
bool search_codes_is_short(const struct search *s);

#endif
