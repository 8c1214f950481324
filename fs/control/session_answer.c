/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/answer.h"
#include "fs/control/query_array.h"
#include "fs/control/session_parts.h"
#include "fs/request/message.h"
#include "store/base/idlist.h"

/* ------------------------------------------------------------------ searching */

struct question {
	struct search_params params;
	struct vs_filter *list;
	struct query_array queries;
};

static int read_params(const struct session *s, struct question *q, char *why)
{
	const struct session_bytes *b = s->files[FILE_PARAMS];

	search_params_init(&q->params);
	return b ? search_params_parse(&q->params, b->data, b->size, '\n', why, SESSION_WHY_BYTES) : 0;
}

static int read_list(const struct session *s, struct question *q, char *why)
{
	int file, rc = 0;
	struct idlist list;
	char *copy;

	if (!q->params.ids[0])
		return 0;
	file = session_find_file(s, q->params.ids);
	if (file < (int)FILE_LISTS) {
		snprintf(why, SESSION_WHY_BYTES, "there is no list %s in this session", q->params.ids);
		return -EINVAL;
	}
	copy = malloc(s->files[file]->size + 1);
	q->list = vs_filter_new();
	if (!copy || !q->list) {
		free(copy);
		return -ENOMEM;
	}
	memcpy(copy, s->files[file]->data, s->files[file]->size);
	rc = idlist_parse(copy, s->files[file]->size, IDLIST_LINES, NULL, &list, why, SESSION_WHY_BYTES);
	if (rc)
		return rc == -ENOMEM ? rc : -EINVAL;
	vs_filter_deny(q->list, q->params.deny);
	for (uint64_t i = 0; i < list.count && !rc; i++)
		rc = vs_filter_add(q->list, list.id[i], strlen(list.id[i]));
	idlist_free(&list);
	return rc;
}

/* Who searches, and for whom. */
struct asker {
	struct session *s;
	struct answer_asker of;
};

static bool is_unwanted(void *arg, uint64_t rows)
{
	struct asker *asker = arg;

	asker->s->rows_done += rows;
	return answer_is_unwanted(&asker->of, rows);
}

/* ------------------------------------------------------------------ results */

/* Takes over malloc'ed text. */
static struct session_bytes *bytes_of_text(struct session_table *t, char *text, size_t size)
{
	struct session_bytes *b = session_bytes_new(t, size);

	if (b)
		memcpy(b->data, text, size);
	free(text);
	return b;
}

/* Takes over malloc'ed text, if rc is 0, as a result. */
static int keep(struct session_table *t, int rc, char *text, size_t size, struct session_bytes **out)
{
	if (rc)
		return rc;
	*out = bytes_of_text(t, text, size);
	return *out ? 0 : -EDQUOT;
}

static int make_stats(const struct answer *a, char **text, size_t *size)
{
	*text = malloc(256);
	if (!*text)
		return -ENOMEM;
	*size = (size_t)snprintf(*text, 256,
				 "queries=%u\nrows=%" PRIu64 "\nrows_scanned=%" PRIu64
				 "\nrows_verified=%" PRIu64 "\nrows_damaged=%" PRIu64 "\nus=%" PRIu64
				 "\nview=%s\nrerank=%u\n",
				 a->count, a->info.rows, a->stats.rows_scanned, a->stats.rows_verified,
				 a->stats.rows_damaged, a->us, a->view_name, a->rerank);
	return 0;
}

static int make_results(struct session_table *t, const struct answer *a, uint32_t k,
			struct session_bytes **files)
{
	char *text;
	size_t size;
	int rc;

	rc = answer_rows(a, k, &text, &size);
	rc = keep(t, rc, text, size, &files[FILE_ROWS]);
	if (!rc) {
		rc = answer_distances(a, k, &text, &size);
		rc = keep(t, rc, text, size, &files[FILE_DISTANCES]);
	}
	if (!rc) {
		rc = answer_names(a, &text, &size);
		rc = keep(t, rc, text, size, &files[FILE_NAMES]);
	}
	if (!rc) {
		rc = answer_print(a, true, &text, &size);
		rc = keep(t, rc, text, size, &files[FILE_JSON]);
	}
	if (!rc) {
		rc = make_stats(a, &text, &size);
		rc = keep(t, rc, text, size, &files[FILE_STATS]);
	}
	return rc;
}

static void drop_results(struct session_table *t, struct session *s)
{
	for (int i = FILE_ROWS; i <= FILE_STATS; i++) {
		session_bytes_put(t, s->files[i]);
		s->files[i] = NULL;
	}
}

static int answer(struct mount *serve, fuse_req_t req, struct session *s, char *why)
{
	struct session_table *t = serve->sessions;
	struct vs_collection_info info;
	struct question q = {.list = NULL};
	struct answer a;
	int rc = vs_collection_get(serve->store, s->collection, &info);

	s->rows_done = 0;
	s->rows = rc ? 0 : info.count;
	if (!rc)
		rc = read_params(s, &q, why);
	if (!rc)
		rc = read_list(s, &q, why);
	if (!rc)
		rc = query_array_of(s->queries_name, s->files[FILE_QUERIES]->data,
				    s->files[FILE_QUERIES]->size, &info.schema, &q.queries, why,
				    SESSION_WHY_BYTES);
	if (!rc)
		rc = answer_make(&(struct answer_ask){.store = serve->store,
						      .collection = s->collection,
						      .schema = &info.schema,
						      .vectors = q.queries.vectors,
						      .count = q.queries.count,
						      .params = &q.params,
						      .list = q.list,
						      .is_cancelled = is_unwanted,
						      .arg = &(struct asker){s, {.req = req}},
						      .budget = {&t->bytes, SESSION_BYTES_MAX},
						      .recalls = serve->recalls,
						      .filters = serve->filters},
				 &a, why, SESSION_WHY_BYTES);
	vs_filter_free(q.list);
	query_array_free(&q.queries);
	if (rc)
		return rc;
	s->rows_done = s->rows = a.info.rows;
	rc = make_results(t, &a, q.params.k, s->files);
	answer_free(&a);
	if (rc)
		drop_results(t, s);
	return rc;
}

/* Sees to it that the results are those of what is written: -ENOENT without queries. With the session's lock.
 */
int session_bring_up(struct mount *serve, fuse_req_t req, struct session *s)
{
	struct vs_collection_info info = {.id = 0};
	char why[SESSION_WHY_BYTES] = "";

	if (!s->files[FILE_QUERIES] || !s->files[FILE_QUERIES]->size)
		return -ENOENT;
	if (s->is_answered)
		return s->answer_rc;
	drop_results(serve->sessions, s);
	s->answer_rc = answer(serve, req, s, why);
	s->is_answered = s->answer_rc != -EINTR && s->answer_rc != -ENOMEM && s->answer_rc != -EDQUOT &&
			 s->answer_rc != -ESTALE;
	if (s->answer_rc && s->answer_rc != -EINTR) {
		vs_collection_get(serve->store, s->collection, &info);
		message(VS_WARNING, "%s/.vecfs/search/%s: refused: %s", info.name, s->name,
			*why ? why : strerror(-s->answer_rc));
	}
	return s->answer_rc;
}

/* Something was written: what has been found is not the answer any more. With the session's lock. */
void session_change(struct session_table *t, struct session *s)
{
	drop_results(t, s);
	s->is_answered = false;
	s->changed = vs_time_now();
}

int session_start_empty(struct session_table *t, struct session *s, enum session_part file)
{
	struct session_bytes *empty = session_bytes_new(t, 0);

	if (!empty)
		return -EDQUOT;
	session_bytes_put(t, s->files[file]);
	s->files[file] = empty;
	session_change(t, s);
	return 0;
}
