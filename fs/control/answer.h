/* SPDX-License-Identifier: Apache-2.0 */
/* answer - a search done for a user, and its result as text or JSON. */
#ifndef VECFS_FS_CONTROL_ANSWER_H
#define VECFS_FS_CONTROL_ANSWER_H

#include "fs/request/ops.h"
#include "fs/control/search_params.h"
#include "store/search/search.h"
#include "store/view/view.h"

/* Memory that answers share: what they take is never more than that. */
struct answer_budget {
	_Atomic uint64_t *used;
	uint64_t max;
};

/* What is asked. Pointers are the caller's, and needed until answer_make returns but for the budget. */
struct answer_ask {
	struct vs_store *store;
	uint32_t collection;
	struct vs_snapshot *borrowed;   /* instead; the answer's from now on, also if there is none */
	const struct vs_schema *schema; /* of the vectors */
	const void *vectors;
	uint32_t count;
	const struct search_params *params;
	struct vs_filter *list;                         /* the ids of params->ids, or NULL */
	uint64_t without;                               /* an entry that is left out, or 0 */
	bool (*is_cancelled)(void *arg, uint64_t rows); /* may be NULL */
	void *arg;
	struct answer_budget budget;  /* used NULL: as much as there is */
	struct recall_table *recalls; /* what was measured before, or NULL */
	struct filter_table
		*filters; /* what passed before, or NULL: each row is asked while it is searched */
};

/* A result: of count queries at most k hits each, of one snapshot that stays open with it. */
struct answer {
	struct vs_snapshot *moment;
	struct vs_snapshot_info info;
	uint32_t count, k;
	struct vs_hit *hits;
	uint32_t *found;
	struct vs_search_stats stats;
	uint64_t us;          /* what the search took */
	struct vs_view *view; /* that was searched through, or NULL; its name, and what was verified: */
	char view_name[VS_VIEW_NAME_MAX + 1];
	uint32_t rerank;
	struct answer_budget budget;
	uint64_t bytes; /* of the budget */
};

/*
 * Searches a snapshot of a collection, -ESTALE if vectors of it have another schema by now: a collection
 * without rows may get one at any time. -EDQUOT, before any of it is allocated, if the result and its texts
 * would not be within the budget; -EINVAL; both with a sentence in why. -ETIMEDOUT, -EINTR. On success
 * answer_free ends it.
 */
int answer_make(const struct answer_ask *ask, struct answer *out, char *why, size_t why_size);
/* Whether a search of this collection for so many vectors takes longer than a thread that answers requests
 * can be spared: some 2 ms. */
bool answer_is_long(struct mount *s, uint32_t collection, uint64_t queries);
/* The budget of what answers without a session. */
struct answer_budget answer_budget_of(struct mount *s);
/* For whom a handler searches. */
struct answer_asker {
	fuse_req_t req;     /* NULL: nothing cancels it */
	int64_t looked_ns;  /* at its signals, */
	bool was_signalled; /* and there was one */
};
/*
 * is_cancelled for a handler, arg being its asker: whoever asked was interrupted. Of a request that came by a
 * ring the kernel's word of that cannot be had (libfuse 3.18): its signals are looked at, and one that is
 * still there at the next look has interrupted it.
 */
bool answer_is_unwanted(void *asker, uint64_t rows);
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
