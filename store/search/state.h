/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state - a search under way, of one thread.
 */
#ifndef VECFS_STORE_SEARCH_STATE_H
#define VECFS_STORE_SEARCH_STATE_H

#include <math.h>

#include "quant/topk.h"
#include "store/search/bits.h"
#include "store/search/search.h"
#include "store/snapshot/snapshot.h"

#define SEARCH_GROUP 64u /* queries that are compared with a block at once */
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
	uint64_t *listed; /* the rows whose ids were looked up, a bit each, from listed_first on; or NULL */
	uint64_t listed_first;
	uint32_t block_rows;
	float *distances; /* SEARCH_GROUP * block_rows */
	/* A bit for each row of the block: */
	uint64_t *chosen; /* to be compared */
	uint64_t *moved;  /* not as it was compared in the file */
	uint64_t *near;   /* to be offered to a selection */
	uint64_t *keys;   /* of the near ones: entry numbers, */
	uint32_t *sums;   /* and checksums */
	char *rows;       /* gathered vectors, */
	uint32_t *picks;  /* and which rows of the block they are */
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

/* ---- choose.c */

/* Looks the ids of a short list up among the rows [first, end), which takes less than asking each row. */
int search_look_up(struct search *s, uint64_t first, uint64_t end);
/* Sets the bits of the rows of a block that are to be compared. Blocks begin at a multiple of 64 from the
 * first, or with a segment. */
int search_choose(struct search *s, const struct snapshot_run *run);

/* ---- compare.c */

/* Compares the chosen rows of a block with the queries [group, group + queries), at most SEARCH_GROUP. */
int search_compare(struct search *s, const struct snapshot_run *run, uint32_t group, uint32_t queries);

#endif
