/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recall_table - how many candidates reach a recall, as it was measured: measuring compares some hundred
 * stored vectors with all others. What was measured holds for the same model of a view, k and recall, until
 * the collection has grown or shrunk by a quarter.
 *
 * Any thread; nothing is held while it is measured.
 */
#ifndef VECFS_FS_CONTROL_RECALL_TABLE_H
#define VECFS_FS_CONTROL_RECALL_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "store/search/search.h"

struct recall_table;

struct recall_table *recall_table_new(void);
void recall_table_free(struct recall_table *t);
/* As vs_recall_depth. t may be NULL: it is measured then. */
int recall_table_depth(struct recall_table *t, struct vs_snapshot *m, const struct vs_view *view, uint32_t k,
		       double recall, bool (*is_cancelled)(void *arg, uint64_t rows), void *arg,
		       uint32_t *rerank);

#endif
