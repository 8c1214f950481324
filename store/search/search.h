/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search - the nearest vectors to a query among the rows of a snapshot that the filter lets pass.
 *
 * Exactly, by comparing every row; or through a compressed view, whose codes are read instead of the vectors.
 * With the view sq8 the result is the same, byte for byte. With any other, the nearest rows by their codes
 * are candidates; these are compared, and the nearest of them, verified, are the result. Rows that a view
 * does not hold yet are compared exactly. A result never depends on the order of rows, nor on threads,
 * and always has min(k, matches) hits.
 *
 * Distances are those that users see: Euclidean for l2 (not squared), 1 - cos for cosine, the inner
 * product for ip, where larger is nearer. Equally near vectors come in the order of their entry numbers, the
 * oldest id first, so that a result does not depend on where rows stand. A row with a NaN, or without a
 * direction under cosine, is never found.
 *
 * A damaged row is never found either: vectors are compared as they lie in the file, and verified against
 * their checksums before they are taken among the nearest. So hits are those that would be if every row was
 * verified. A damaged row is counted and reported if it came near enough to be verified; one that looks far
 * from every query is left out without a word (`vecfs check` finds it). A row that cannot be read is no
 * damaged one: the search fails.
 */
#ifndef VECFS_STORE_SEARCH_SEARCH_H
#define VECFS_STORE_SEARCH_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "quant/codec.h"
#include "store/search/filter.h"
#include "store/store.h"

#pragma GCC visibility push(default)

/* Of vs_query.rerank: as many as the codec needs to find nearly all. */
#define VS_RERANK_AUTO UINT32_MAX

struct vs_view;

struct vs_query {
	const void *vectors; /* count vectors as the collection stores them, without gaps */
	uint32_t count;
	uint32_t k;                     /* the most hits a query has */
	const float *radius;            /* NULL, or hits are not farther than this (for ip: not smaller) */
	const struct vs_filter *filter; /* NULL: every row */
	const uint64_t *passing;        /* NULL, or what vs_filter_rows told: the filter is not asked then */
	uint64_t without;               /* this entry is left out; 0: none */
	const struct vs_view *view;     /* NULL: every vector is compared. Of the snapshot that is searched */
	/* How many candidates are verified, k at the least; 0: none, and distances are those of the codes.
	 * The view sq8 verifies what it must, whatever this is. */
	uint32_t rerank;
	/* Asked now and then, from the searching thread: true ends the search with -EINTR. rows: how many
	 * more of the range are done since it was asked last. May be NULL. */
	bool (*is_cancelled)(void *arg, uint64_t rows);
	void *arg;
};

struct vs_hit {
	uint64_t row; /* of the snapshot */
	uint64_t entry;
	float distance;
};

struct vs_search_stats {
	uint64_t rows_scanned;  /* vectors or codes compared, once however many queries there are */
	uint64_t rows_verified; /* those that came near enough to be verified */
	uint64_t rows_damaged;  /* vectors that were found to be damaged */
};

/* The candidates that a search verifies for this codec, k and rerank. */
uint32_t vs_rerank_depth(const struct codec_plan *plan, uint32_t k, uint32_t rerank);

/* 0 if each of the count vectors can be a query: -EINVAL if one has a NaN or an infinity, or no direction
 * under cosine, or if vectors of this schema cannot be searched. */
int vs_query_check(const struct vs_schema *schema, const void *vectors, uint32_t count);

/*
 * The rows of a snapshot that a filter lets pass: sets or clears a bit for each in vs_filter_rows_bytes, row
 * i being bit i % 64 of word i / 64. They are the same of every snapshot of the collection that has this
 * version. is_cancelled as in vs_query. -EINTR, -EIO, -ENOMEM.
 */
int vs_filter_rows(struct vs_snapshot *m, const struct vs_filter *filter,
		   bool (*is_cancelled)(void *arg, uint64_t rows), void *arg, uint64_t *rows);
size_t vs_filter_rows_bytes(uint64_t rows);
/*
 * Searches the rows [first, first + rows) of a snapshot. hits has room for count * k; query q's are hits[q *
 * k] and on, nearest first, and found[q] tells how many. Several threads may search parts of one snapshot,
 * each with hits of its own; vs_search_merge makes one result of two (through a view each part has candidates
 * of its own, and the result may be better). -EINVAL as vs_query_check; -EINTR, -EIO, -ENOMEM.
 */
int vs_search(struct vs_snapshot *m, const struct vs_query *q, uint64_t first, uint64_t rows,
	      struct vs_hit *hits, uint32_t *found, struct vs_search_stats *stats);
/* The same of all rows, by so many threads that begin and end with it; q->is_cancelled is asked by each. */
int vs_search_threads(struct vs_snapshot *m, const struct vs_query *q, unsigned threads, struct vs_hit *hits,
		      uint32_t *found, struct vs_search_stats *stats);
/* The bytes of memory that such a search takes for what it has found so far. */
uint64_t vs_search_bytes(const struct vs_query *q, unsigned threads);
/* Takes what other found into hits. -ENOMEM. */
int vs_search_merge(enum vs_metric metric, const struct vs_query *q, struct vs_hit *hits, uint32_t *found,
		    const struct vs_hit *other, const uint32_t *other_found);

#pragma GCC visibility pop

#endif
