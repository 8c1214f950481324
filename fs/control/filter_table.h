/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter_table - which rows the filters of late searches have let pass. To ask every id takes as long as to
 * compare short vectors; the next search with the same filter in the same version of a collection need not.
 *
 * Any thread; nothing is held while ids are asked. Bounded: a bit a row, and what was of no use for longest
 * is given up.
 */
#ifndef VECFS_FS_CONTROL_FILTER_TABLE_H
#define VECFS_FS_CONTROL_FILTER_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "store/search/search.h"

struct filter_table;
struct filter_rows;

struct filter_table *filter_table_new(void);
void filter_table_free(struct filter_table *t);
/* The rows of the snapshot that pass, remembered or as vs_filter_rows tells them; filter_rows_put ends it. */
int filter_table_rows(struct filter_table *t, struct vs_snapshot *m, const struct vs_filter *filter,
		      bool (*is_cancelled)(void *arg, uint64_t rows), void *arg, struct filter_rows **out);
/* For vs_query.passing. */
const uint64_t *filter_rows_bits(const struct filter_rows *r);
void filter_rows_put(struct filter_rows *r); /* r may be NULL */

#endif
