/* SPDX-License-Identifier: Apache-2.0 */
/* Which rows of a block are compared: those whose ids the filter lets pass. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/search/state.h"
#include "store/snapshot/borrowed.h"

#define FILTER_ROWS 4096u /* that are asked at once, under one hold of the lock */
#define LOOK_UP_SHARE 4u  /* a list of ids is looked up if it is shorter than such a share of the rows */

static bool passes(void *arg, const char *name, size_t len)
{
	return vs_filter_passes(arg, name, len);
}

static uint64_t may_pass(void *arg, const struct row *rows, uint64_t wanted, const char *names,
			 uint32_t granules)
{
	return filter_may_pass(arg, rows, wanted, names, granules);
}

/* Looks a short list up, id by id. */
static int look_up(struct search *s, uint64_t first, uint64_t end)
{
	const struct vs_filter *f = s->q->filter;
	size_t at = 0, len;
	const char *id;

	s->looked_up = calloc((end - first) / 64 + 1, sizeof *s->looked_up);
	if (!s->looked_up)
		return -ENOMEM;
	while ((id = vs_filter_next(f, &at, &len)) != NULL) {
		uint64_t row;
		int rc = vs_filter_passes(f, id, len) ? snapshot_find(s->m, id, len, &row) : -ENOENT;

		if (!rc && row >= first && row < end)
			s->looked_up[(row - first) / 64] |= UINT64_C(1) << (row - first) % 64;
		if (rc && rc != -ENOENT)
			return 0; /* each row is asked, then */
	}
	s->listed = s->looked_up;
	s->listed_first = first;
	return 0;
}

int search_look_up(struct search *s, uint64_t first, uint64_t end)
{
	const struct vs_filter *f = s->q->filter;

	s->listed = s->q->passing;
	s->listed_first = 0;
	if (s->listed || !f || vs_filter_allowed(f) >= (end - first) / LOOK_UP_SHARE)
		return 0;
	return look_up(s, first, end);
}

/* 64 of the listed rows, from row at on, which may be in the middle of a word. */
static uint64_t listed_word(const struct search *s, uint64_t at, uint64_t end)
{
	uint64_t word = s->listed[at / 64] >> at % 64;

	if (at % 64 && at / 64 + 1 <= (end - 1) / 64)
		word |= s->listed[at / 64 + 1] << (64 - at % 64);
	return word;
}

/* Whether rows are asked for their ids. */
static bool has_filter(const struct search *s)
{
	return s->q->filter && !s->q->passing;
}

int search_choose(struct search *s, const struct snapshot_run *run)
{
	uint64_t off = run->first - s->listed_first, end = off + run->count;
	struct snapshot_filter filter = {passes, may_pass, (void *)(uintptr_t)s->q->filter};

	for (uint32_t i = 0; i < run->count; i += 64) {
		uint64_t word = s->listed ? listed_word(s, off + i, end) : has_filter(s) ? 0 : UINT64_MAX;

		s->chosen[i / 64] =
			word & (run->count - i < 64 ? (UINT64_C(1) << (run->count - i)) - 1 : UINT64_MAX);
	}
	return has_filter(s) ? snapshot_select(s->m, run, s->listed != NULL, &filter, s->chosen) : 0;
}

uint32_t search_chosen(const struct search *s, uint32_t rows)
{
	return s->listed || has_filter(s) ? bit_count(s->chosen, rows) : rows;
}

/* ------------------------------------------------------------------ all rows at once */

size_t vs_filter_rows_bytes(uint64_t rows)
{
	return (rows / 64 + 1) * sizeof(uint64_t);
}

/* Puts the bits of a run where they belong among those of the snapshot, which are clear. */
static void put_bits(uint64_t *rows, uint64_t at, const uint64_t *chosen, uint32_t count)
{
	unsigned shift = at % 64;

	for (uint32_t i = 0; i < count; i += 64) {
		uint64_t *word = rows + (at + i) / 64;

		word[0] |= chosen[i / 64] << shift;
		if (shift && chosen[i / 64] >> (64 - shift))
			word[1] |= chosen[i / 64] >> (64 - shift);
	}
}

/* Of a borrowed snapshot: each id is asked, in the order in which they are lent. */
struct id_call {
	const struct vs_filter *filter;
	bool (*is_cancelled)(void *arg, uint64_t rows);
	void *arg;
	uint64_t *rows;
};

static bool ask_id(void *arg, uint64_t row, const char *id, size_t len, uint64_t off)
{
	const struct id_call *call = arg;

	(void)off;
	if (len && vs_filter_passes(call->filter, id, len))
		call->rows[row / 64] |= UINT64_C(1) << row % 64;
	return row % FILTER_ROWS || !call->is_cancelled || !call->is_cancelled(call->arg, 0);
}

int vs_filter_rows(struct vs_snapshot *m, const struct vs_filter *filter,
		   bool (*is_cancelled)(void *arg, uint64_t rows), void *arg, uint64_t *rows)
{
	struct id_call call = {filter, is_cancelled, arg, rows};
	struct vs_query q = {.filter = filter};
	uint64_t chosen[FILTER_ROWS / 64];
	struct search s = {.m = m, .q = &q, .chosen = chosen};
	int rc;

	vs_snapshot_info(m, &s.info);
	memset(rows, 0, vs_filter_rows_bytes(s.info.rows));
	if (snapshot_lender(m))
		return borrowed_each_id(m, ask_id, &call);
	rc = search_look_up(&s, 0, s.info.rows);
	for (uint64_t at = 0; at < s.info.rows && !rc;) {
		struct snapshot_run run;

		if (is_cancelled && is_cancelled(arg, 0)) {
			rc = -EINTR;
			break;
		}
		snapshot_run_begin(m, at, s.info.rows - at < FILTER_ROWS ? s.info.rows - at : FILTER_ROWS,
				   &run);
		rc = search_choose(&s, &run);
		snapshot_run_end(&run);
		if (!rc)
			put_bits(rows, at, chosen, run.count);
		at += run.count;
	}
	free(s.looked_up);
	return rc;
}
