/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search_session - search/S: a search session made by mkdir, which takes parameters and queries as files and
 * gives its results as files.
 *
 *   written: params (search_params.h); queries.npy or in another format of arrays; any other name is a list
 *            of ids, which `ids=` of params refers to
 *   read:    rows.npy (int64, queries x k, -1: none), distances.npy (f32), names (the ids of a query a line,
 *            with tabs between), result.json, stats; they are there as soon as the queries are whole
 *   progress how far the search is; not listed
 *
 * A session lives in memory and is its maker's: nobody else may look into it. The search is made when a
 * result is first asked for, and made anew when params, queries or lists have changed since. Results that are
 * open stay as they are.
 *
 * There are at most SESSIONS_MAX, with at most SESSION_BYTES_MAX in all of what is written, of results, and
 * of what searches take while they are made: beyond that is EDQUOT, before anything is allocated. When one
 * more is made, the one that was not used for the longest time, if that is a minute, makes room for it:
 * nobody need clean up after a client that died.
 */
#ifndef VECFS_FS_CONTROL_SEARCH_SESSION_H
#define VECFS_FS_CONTROL_SEARCH_SESSION_H

#include "fs/request/ops.h"

#define SESSIONS_MAX 64u
#define SESSION_BYTES_MAX (1ull << 30)

struct session_table;

struct session_table *session_table_new(void);
void session_table_free(struct session_table *t);

#endif
