/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recall - how many of the true nearest a search through a view finds, measured on stored vectors: some of
 * the rows are the queries, each without itself, and exact search of the same snapshot tells the truth.
 *
 * Stored vectors have neighbours of their own kind: queries of another distribution find less.
 */
#ifndef VECFS_STORE_SEARCH_RECALL_H
#define VECFS_STORE_SEARCH_RECALL_H

#include <stdbool.h>
#include <stdint.h>

#include "store/search/search.h"

#pragma GCC visibility push(default)

#define VS_RECALL_QUERIES 200u

/*
 * Measures the recall of the k nearest for each of count depths (vs_query.rerank) on VS_RECALL_QUERIES rows,
 * or as many as there are. *queries: how many could be; 0 if there are no two vectors that can be found, and
 * then no recall is told. It compares every row with each query once, and reads the codes once for each
 * depth. -EINTR: is_cancelled, which may be NULL, said so; -ENOMEM, -EIO.
 */
int vs_recall_measure(struct vs_snapshot *m, const struct vs_view *view, uint32_t k, const uint32_t *depths,
		      double *recalls, unsigned count, bool (*is_cancelled)(void *arg, uint64_t rows),
		      void *arg, uint32_t *queries);

/*
 * The least depth that reaches a recall of the k nearest, among k times 1, 2, 5, 10, 20, 50 and 100. *rerank
 * is that, or UINT32_MAX - 1 if none does: then only comparing every row will. Errors as above.
 */
int vs_recall_depth(struct vs_snapshot *m, const struct vs_view *view, uint32_t k, double recall,
		    bool (*is_cancelled)(void *arg, uint64_t rows), void *arg, uint32_t *rerank);

#pragma GCC visibility pop

#endif
