/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/answer.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/filter_table.h"
#include "fs/control/recall_table.h"
#include "fs/request/json.h"
#include "fs/request/process.h"
#include "store/base/clock.h"
#include "store/base/idlist.h"
#include "store/array/npy.h"

#define TEXT_BYTES 64u                /* of a hit as lines and as JSON, without its id */
#define LONG_BYTES (16.0 * (1 << 20)) /* that are read in some 2 ms */
#define ANSWERS_BYTES_MAX (256u << 20)
#define SIGNALS_NS 50000000 /* between two looks at the signals of who asks */

/* ------------------------------------------------------------------ searching */

struct patience {
	bool (*is_cancelled)(void *arg, uint64_t rows);
	void *arg;
	int64_t end_ns; /* 0: none */
	atomic_bool timed_out;
};

static bool is_over(void *arg, uint64_t rows)
{
	struct patience *p = arg;

	if (p->end_ns && clock_ns() > p->end_ns)
		p->timed_out = true;
	return p->timed_out || (p->is_cancelled && p->is_cancelled(p->arg, rows));
}

bool answer_is_unwanted(void *arg, uint64_t rows)
{
	struct answer_asker *asker = arg;
	int64_t now_ns;
	bool had_signal = asker->was_signalled;

	(void)rows;
	if (!asker->req)
		return false;
	if (fuse_req_interrupted(asker->req) || !ops_is_uring(asker->req))
		return fuse_req_interrupted(asker->req);
	now_ns = clock_ns();
	if (now_ns < asker->looked_ns + SIGNALS_NS)
		return false;
	asker->looked_ns = now_ns;
	asker->was_signalled = process_is_signalled(fuse_req_ctx(asker->req)->pid);
	return had_signal && asker->was_signalled;
}

static int check(const struct vs_schema *schema, const void *vectors, uint32_t count, char *why,
		 size_t why_size)
{
	int rc = vs_query_check(schema, vectors, count);

	if (rc == -EINVAL)
		snprintf(why, why_size,
			 schema->dim ? "the query is not finite, or has no direction (all zeros)"
				     : "the collection has no vectors yet");
	return rc;
}

/* Whether the vectors of one schema have the bytes that the other one's have. */
static bool is_same_shape(const struct vs_schema *a, const struct vs_schema *b)
{
	return a->dim == b->dim && a->dtype == b->dtype;
}

static int search(const struct answer_ask *ask, struct answer *a, struct vs_query *q,
		  struct patience *patience)
{
	int64_t start_ns = clock_ns();
	struct filter_rows *passing = NULL;
	int rc = 0;

	a->hits = calloc((size_t)q->count * q->k, sizeof *a->hits);
	a->found = calloc(q->count, sizeof *a->found);
	if (!a->hits || !a->found)
		return -ENOMEM;
	if (q->filter && ask->filters)
		rc = filter_table_rows(ask->filters, a->moment, q->filter, q->is_cancelled, q->arg, &passing);
	q->passing = passing ? filter_rows_bits(passing) : NULL;
	if (!rc)
		rc = vs_search_threads(a->moment, q, ask->params->threads, a->hits, a->found, &a->stats);
	filter_rows_put(passing);
	a->us = (uint64_t)(clock_ns() - start_ns) / 1000;
	return rc == -EINTR && patience->timed_out ? -ETIMEDOUT : rc;
}

/* What the hits, the selections of the threads and all texts of an answer take, about. */
static uint64_t bytes_of(const struct answer *a, const struct vs_query *q, const struct search_params *params)
{
	uint64_t hits = (uint64_t)q->count * q->k, cells = (uint64_t)q->count * params->k;
	uint64_t id_bytes = a->info.rows ? a->info.ids_bytes / a->info.rows : 0;

	return vs_search_bytes(q, params->threads) + hits * (sizeof *a->hits + TEXT_BYTES + 2 * id_bytes) +
	       q->count * sizeof *a->found + cells * (sizeof(int64_t) + sizeof(float));
}

/* Takes its bytes from the budget, or none. */
static int reserve(struct answer *a, const struct answer_budget *budget, uint64_t bytes, char *why,
		   size_t why_size)
{
	if (!budget->used)
		return 0;
	if (bytes > budget->max || atomic_fetch_add(budget->used, bytes) > budget->max - bytes) {
		if (bytes <= budget->max)
			atomic_fetch_sub(budget->used, bytes);
		snprintf(why, why_size,
			 "%u queries with k=%u take %" PRIu64 " MiB, more than is left of %" PRIu64, a->count,
			 a->k, (bytes >> 20) + 1, budget->max >> 20);
		return -EDQUOT;
	}
	a->budget = *budget;
	a->bytes = bytes;
	return 0;
}

/* The view that is asked for; or sq8, whose result is the exact one, if its codes are there and are read
 * faster than the vectors. */
static bool has_sq8(const struct answer_ask *ask, enum vs_dtype dtype)
{
	struct vs_view_info info;

	if (dtype != VS_F32 && dtype != VS_F16 && dtype != VS_BF16)
		return false;
	return ask->borrowed || (!vs_view_get(ask->store, ask->collection, "sq8", &info) &&
				 info.state == VS_VIEW_READY); /* who lends a snapshot looks at it */
}

static int open_view(const struct answer_ask *ask, struct answer *out, char *why, size_t why_size)
{
	const char *name = ask->params->view[0] ? ask->params->view : "sq8";
	int rc;

	if (!ask->params->view[0] && !has_sq8(ask, out->info.schema.dtype))
		return 0;
	rc = vs_view_open(out->moment, name, &out->view);
	if (!rc)
		snprintf(out->view_name, sizeof out->view_name, "%s", name);
	if (!ask->params->view[0])
		return rc == -ENOENT || rc == -EAGAIN ? 0 : rc;
	if (rc == -ENOENT)
		snprintf(why, why_size, "there is no view %s", name);
	if (rc == -EAGAIN)
		snprintf(why, why_size, "the view %s is not trained yet, or cannot be: see its state", name);
	return rc == -ENOENT || rc == -EAGAIN ? -EINVAL : rc;
}

/* For what is measured before a search, whose rows are not those that are told of. */
static bool is_over_before(void *arg, uint64_t rows)
{
	(void)rows;
	return is_over(arg, 0);
}

/* How many candidates are verified. Where none of the usual numbers reaches a recall, all vectors are
 * compared. */
static int choose_depth(const struct answer_ask *ask, struct answer *out, struct vs_query *q)
{
	int rc = 0;

	q->view = out->view;
	q->rerank = ask->params->rerank;
	if (out->view && ask->params->recall > 0)
		rc = recall_table_depth(ask->recalls, out->moment, out->view, q->k, ask->params->recall,
					is_over_before, q->arg, &q->rerank);
	if (!rc && q->view && ask->params->recall > 0 && q->rerank == UINT32_MAX - 1)
		q->view = NULL;
	out->rerank =
		q->view && q->rerank ? vs_rerank_depth(&vs_view_codec(q->view)->plan, q->k, q->rerank) : 0;
	if (!q->view)
		out->view_name[0] = '\0';
	return rc;
}

/* Opens the snapshot, and sees whether the search can be made. */
static int prepare(const struct answer_ask *ask, struct vs_query *q, struct answer *out, char *why,
		   size_t why_size)
{
	int rc = out->moment ? 0 : vs_snapshot_open(ask->store, ask->collection, &out->moment);

	if (rc)
		return rc;
	vs_snapshot_info(out->moment, &out->info);
	if (q->k > out->info.rows) /* no more than there is: hits take memory */
		q->k = out->info.rows ? (uint32_t)out->info.rows : 1;
	out->count = q->count;
	out->k = q->k;
	if (!is_same_shape(&out->info.schema, ask->schema))
		return -ESTALE;
	rc = check(&out->info.schema, q->vectors, q->count, why, why_size);
	if (!rc)
		rc = open_view(ask, out, why, why_size);
	if (!rc)
		rc = choose_depth(ask, out, q);
	return rc ? rc : reserve(out, &ask->budget, bytes_of(out, q, ask->params), why, why_size);
}

int answer_make(const struct answer_ask *ask, struct answer *out, char *why, size_t why_size)
{
	const struct search_params *params = ask->params;
	struct patience patience = {.is_cancelled = ask->is_cancelled, .arg = ask->arg};
	struct vs_query q = {.vectors = ask->vectors,
			     .count = ask->count,
			     .k = params->k,
			     .without = ask->without,
			     .filter = ask->list,
			     .radius = params->has_radius ? &params->radius : NULL,
			     .is_cancelled = is_over,
			     .arg = &patience};
	struct vs_filter *own = NULL, *filter = ask->list;
	int rc = 0;

	*out = (struct answer){.moment = ask->borrowed};
	if (params->timeout_ms)
		patience.end_ns = clock_ns() + (int64_t)params->timeout_ms * 1000000;
	if (params->filter[0] && !filter)
		filter = own = vs_filter_new();
	if (params->filter[0])
		rc = filter ? vs_filter_glob(filter, params->filter) : -ENOMEM;
	q.filter = filter;
	if (!rc)
		rc = prepare(ask, &q, out, why, why_size);
	if (!rc)
		rc = search(ask, out, &q, &patience);
	vs_filter_free(own);
	if (rc)
		answer_free(out);
	return rc;
}

void answer_free(struct answer *a)
{
	if (a->view)
		vs_view_close(a->view);
	if (a->moment)
		vs_snapshot_close(a->moment);
	if (a->bytes)
		atomic_fetch_sub(a->budget.used, a->bytes);
	free(a->hits);
	free(a->found);
	memset(a, 0, sizeof *a);
}

bool answer_is_long(struct mount *s, uint32_t collection, uint64_t queries)
{
	struct vs_collection_info info;

	return !vs_collection_get(s->store, collection, &info) &&
	       (double)info.count * (double)info.row_bytes * (double)(queries ? queries : 1) > LONG_BYTES;
}

struct answer_budget answer_budget_of(struct mount *s)
{
	return (struct answer_budget){&s->answer_bytes, ANSWERS_BYTES_MAX};
}

/* ------------------------------------------------------------------ telling */

struct name_call {
	char name[VS_NAME_MAX + 1];
	size_t len;
};

static void take_name(void *arg, uint64_t row, uint64_t entry, const char *name, size_t len)
{
	struct name_call *call = arg;

	(void)row;
	(void)entry;
	memcpy(call->name, len ? name : "", len);
	call->name[len] = '\0';
	call->len = len;
}

/* Calls fn for the hits of query q, with their ids. */
static int each_hit(const struct answer *a, uint32_t q,
		    void (*fn)(void *arg, uint32_t rank, const char *id, size_t len), void *arg)
{
	const struct vs_hit *hits = a->hits + (size_t)q * a->k;
	int rc = 0;

	for (uint32_t i = 0; i < a->found[q] && !rc; i++) {
		struct name_call call = {.len = 0};

		rc = vs_snapshot_rows(a->moment, hits[i].row, 1, NULL, take_name, &call);
		if (!rc)
			fn(arg, i, call.name, call.len);
	}
	return rc;
}

struct print_call {
	FILE *out;
	const struct vs_hit *hits;
};

static void print_line(void *arg, uint32_t rank, const char *id, size_t len)
{
	struct print_call *call = arg;
	char line[IDLIST_LINE_MAX];

	fprintf(call->out, "%u\t%.9g\t", rank + 1, (double)call->hits[rank].distance);
	fwrite(line, 1, idlist_line(id, len, line), call->out);
}

static void print_object(void *arg, uint32_t rank, const char *id, size_t len)
{
	struct print_call *call = arg;

	(void)len;
	fprintf(call->out, "%s{\"rank\":%u,\"distance\":%.9g,\"id\":", rank ? "," : "", rank + 1,
		(double)call->hits[rank].distance);
	json_print_string(call->out, id);
	fputc('}', call->out);
}

static int print_queries(const struct answer *a, bool json, FILE *out)
{
	int rc = 0;

	for (uint32_t q = 0; q < a->count && !rc; q++) {
		struct print_call call = {out, a->hits + (size_t)q * a->k};

		if (json)
			fprintf(out, "%s[", q ? "," : "");
		rc = each_hit(a, q, json ? print_object : print_line, &call);
		if (json)
			fputc(']', out);
	}
	return rc;
}

/* What could not be printed whole is nobody's. */
static int end_text(char **text, int rc)
{
	if (rc) {
		free(*text);
		*text = NULL;
	}
	return rc;
}

int answer_print(const struct answer *a, bool json, char **text, size_t *size)
{
	const char *metric = vs_metric_name(a->info.schema.metric);
	FILE *out = open_memstream(text, size);
	int rc;

	if (!out)
		return -ENOMEM;
	if (json)
		fprintf(out,
			"{\"metric\":\"%s\",\"rows\":%" PRIu64 ",\"scanned\":%" PRIu64
			",\"verified\":%" PRIu64 ",\"view\":\"%s\",\"results\":[",
			metric, a->info.rows, a->stats.rows_scanned, a->stats.rows_verified, a->view_name);
	else if (a->info.schema.metric == VS_IP)
		fprintf(out, "# inner product: larger is nearer\n");
	rc = print_queries(a, json, out);
	if (json)
		fputs("]}\n", out);
	if (fclose(out) && !rc)
		rc = -ENOMEM;
	return end_text(text, rc);
}

static void print_name(void *arg, uint32_t rank, const char *id, size_t len)
{
	char line[IDLIST_LINE_MAX];
	size_t n = idlist_line(id, len, line) - 1; /* without its newline */

	if (rank)
		fputc('\t', arg);
	for (size_t i = 0; i < n; i++)
		if (line[i] == '\t')
			fputs("/\\t", arg); /* as its newlines are written: no id has a '/' of its own */
		else
			fputc(line[i], arg);
}

int answer_names(const struct answer *a, char **text, size_t *size)
{
	FILE *out = open_memstream(text, size);
	int rc = 0;

	if (!out)
		return -ENOMEM;
	for (uint32_t q = 0; q < a->count && !rc; q++) {
		rc = each_hit(a, q, print_name, out);
		fputc('\n', out);
	}
	if (fclose(out) && !rc)
		rc = -ENOMEM;
	return end_text(text, rc);
}

/* ------------------------------------------------------------------ arrays */

/* The header of an array of queries x k, of numbers of width bytes, and room for these. NULL: no memory. */
static char *new_array(const struct answer *a, uint32_t k, const char *descr, size_t width, size_t *size)
{
	char *file;
	int n;

	*size = NPY_NUMPY_HEADER_BYTES + (size_t)a->count * k * width;
	file = malloc(*size);
	if (!file)
		return NULL;
	memset(file, ' ', NPY_NUMPY_HEADER_BYTES);
	memcpy(file, "\x93NUMPY\x01\x00\x76\x00", 10);
	n = snprintf(file + 10, NPY_NUMPY_HEADER_BYTES - 10,
		     "{'descr': '%s', 'fortran_order': False, 'shape': (%u, %u), }", descr, a->count, k);
	file[10 + n] = ' ';
	file[NPY_NUMPY_HEADER_BYTES - 1] = '\n';
	return file;
}

int answer_rows(const struct answer *a, uint32_t k, char **text, size_t *size)
{
	char *out = *text = new_array(a, k, "<i8", sizeof(int64_t), size);

	if (!out)
		return -ENOMEM;
	out += NPY_NUMPY_HEADER_BYTES;
	for (uint32_t q = 0; q < a->count; q++)
		for (uint32_t i = 0; i < k; i++, out += sizeof(int64_t)) {
			int64_t row = i < a->found[q] ? (int64_t)a->hits[(size_t)q * a->k + i].row : -1;

			memcpy(out, &row, sizeof row);
		}
	return 0;
}

int answer_distances(const struct answer *a, uint32_t k, char **text, size_t *size)
{
	char *out = *text = new_array(a, k, "<f4", sizeof(float), size);

	if (!out)
		return -ENOMEM;
	out += NPY_NUMPY_HEADER_BYTES;
	for (uint32_t q = 0; q < a->count; q++)
		for (uint32_t i = 0; i < k; i++, out += sizeof(float)) {
			float distance = i < a->found[q] ? a->hits[(size_t)q * a->k + i].distance : NAN;

			memcpy(out, &distance, sizeof distance);
		}
	return 0;
}
