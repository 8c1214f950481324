/* SPDX-License-Identifier: Apache-2.0 */
/* answer - a search done for a user, and its result as text or JSON. */
#ifndef VECFS_FS_CONTROL_ANSWER_H
#define VECFS_FS_CONTROL_ANSWER_H

#include "fs/request/ops.h"
#include "fs/control/search_params.h"
#include "store/search/search.h"

/* A result: of count queries at most k hits each, of one snapshot that stays open with it. */
struct answer {
	struct vs_snapshot *moment;
	struct vs_snapshot_info info;
	uint32_t count, k;
	struct vs_hit *hits;
	uint32_t *found;
	struct vs_search_stats stats;
	uint64_t us; /* what the search took */
};

/*
 * Searches a snapshot of a collection for count vectors of this schema, -ESTALE if it has another one by now:
 * a collection without rows may get one at any time. without: an entry that is left out, or 0. list: the ids
 * of params->ids, or NULL. is_cancelled may be NULL. -EINVAL with a sentence in why; -ETIMEDOUT, -EINTR. On
 * success answer_free ends it.
 */
int answer_make(struct vs_store *store, uint32_t collection, const struct vs_schema *schema,
		const void *vectors, uint32_t count, const struct search_params *params,
		struct vs_filter *list, uint64_t without, bool (*is_cancelled)(void *arg, uint64_t rows),
		void *arg, struct answer *out, char *why, size_t why_size);
/* is_cancelled for a handler, arg being its request: whoever asked was interrupted. */
bool answer_is_unwanted(void *req, uint64_t rows);
void answer_free(struct answer *a);
/* The hits as lines "rank<TAB>distance<TAB>id", an id as in `ids`; or as one JSON object. malloc'ed. */
int answer_print(const struct answer *a, bool json, char **text, size_t *size);
/* The ids of each query's hits as a line, with tabs between them. malloc'ed, as the others. */
int answer_names(const struct answer *a, char **text, size_t *size);
/* A .npy file of int64, queries x k: the row of each hit in the snapshot; -1 where there is none. */
int answer_rows(const struct answer *a, uint32_t k, char **text, size_t *size);
/* A .npy file of f32: the distance of each hit; NaN where there is none. */
int answer_distances(const struct answer *a, uint32_t k, char **text, size_t *size);

#endif
