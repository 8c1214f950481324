/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single rows, verified. A vector is taken from the mapping of its segment's file, without a lock, and is
 * right if it has the checksum that the snapshot's row has; else it has moved, or waits for the applier, and
 * is read as vs_snapshot_vectors() does.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "quant/distance.h"
#include "store/base/checksum.h"
#include "store/io/guard.h"
#include "store/search/state.h"
#include "store/segment/segment.h"

static void take_meta(void *arg, uint64_t n, uint32_t place, const struct row *r, const char *name)
{
	struct {
		uint64_t key;
		uint32_t sum;
	} *meta = arg;

	(void)n;
	(void)place;
	(void)name;
	meta->key = r ? row_entry(r) : 0;
	meta->sum = r ? r->data_sum : 0;
}

struct copy {
	char *to;
	const struct snapshot_run *run;
	const uint32_t *rows;
	uint32_t n;
	size_t bytes;
};

/* Within a guard. */
static void copy_mapped(void *arg)
{
	struct copy *c = arg;

	for (uint32_t i = 0; i < c->n; i++)
		memcpy(c->to + i * c->bytes, c->run->vectors + (c->rows[i] - c->run->first) * c->bytes,
		       c->bytes);
}

/* Copies as many of the rows as are in the first one's segment, if they can be had; what is not what was
 * written is found out later. */
static uint32_t copy_rows(struct search *s, const uint32_t *rows, uint32_t n, char *to)
{
	struct snapshot_run run;
	struct copy copy = {.to = to, .run = &run, .rows = rows, .n = 1, .bytes = s->info.row_bytes};

	snapshot_run_begin(s->m, rows[0], s->info.rows - rows[0], &run);
	while (copy.n < n && rows[copy.n] < run.first + run.count)
		copy.n++;
	if (run.vectors)
		io_guard(run.vectors, run.count * copy.bytes, copy_mapped, &copy);
	snapshot_run_end(&run);
	return copy.n;
}

/* Sees to it that the vector is the row's: -EIO if it is damaged. */
static int settle(struct search *s, uint32_t row, char *vector, uint64_t *key)
{
	struct {
		uint64_t key;
		uint32_t sum;
	} meta;
	size_t bytes = s->info.row_bytes;
	int rc = snapshot_rows(s->m, row, 1, NULL, take_meta, &meta);
	ssize_t got;

	if (rc)
		return rc;
	*key = meta.key;
	if (!meta.key || meta.key == s->q->without)
		return 0;
	s->stats->rows_verified++;
	if (sum_data(vector, bytes) == meta.sum)
		return 0;
	got = vs_snapshot_vectors(s->m, vector, bytes, row * (uint64_t)bytes);
	return got == (ssize_t)bytes ? 0 : got < 0 ? (int)got : -EIO;
}

int search_fetch(struct search *s, uint32_t *rows, uint32_t *n)
{
	size_t bytes = s->info.row_bytes;
	uint32_t wanted = *n, left = 0;

	assert(wanted <= SEARCH_FETCH);
	for (uint32_t i = 0; i < wanted;)
		i += copy_rows(s, rows + i, wanted - i, s->rows + i * bytes);
	for (uint32_t i = 0; i < wanted; i++) {
		char *vector = s->rows + i * bytes;
		uint64_t key = 0;
		int rc = settle(s, rows[i], vector, &key);

		if (rc == -EIO)
			s->stats->rows_damaged++;
		else if (rc)
			return rc;
		if (rc || !key || key == s->q->without)
			continue;
		if (left < i)
			memcpy(s->rows + left * bytes, vector, bytes);
		s->keys[left] = key;
		rows[left++] = rows[i];
	}
	*n = left;
	return 0;
}

void search_offer(struct search *s, const uint32_t *rows, uint32_t n, uint32_t group, uint32_t queries)
{
	const struct vs_schema *schema = &s->info.schema;
	float radius = search_radius(s);

	if (!n)
		return;
	distance_batch(s->distances, schema->dtype, schema->metric, s->queries + group * s->query_bytes,
		       queries, s->rows, s->info.row_bytes, n, schema->dim);
	for (uint32_t q = 0; q < queries; q++)
		for (uint32_t i = 0; i < n; i++) {
			float d = s->distances[(size_t)q * n + i], shown;

			if (!(d <= search_bound_now(s, group + q)))
				continue;
			shown = search_shown(schema->metric, d);
			if (shown <= radius)
				topk_push(&s->tops[group + q], shown, rows[i], s->keys[i]);
		}
}
