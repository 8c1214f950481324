/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "store/search/search.h"

/* What one thread searches: rows [first, first + rows). */
struct part {
	pthread_t thread;
	bool is_started;
	struct vs_snapshot *m;
	const struct vs_query *q;
	uint64_t first, rows;
	struct vs_hit *hits;
	uint32_t *found;
	struct vs_search_stats stats;
	int rc;
};

static void *search_part(void *arg)
{
	struct part *p = arg;

	p->rc = vs_search(p->m, p->q, p->first, p->rows, p->hits, p->found, &p->stats);
	return NULL;
}

static int part_begin(struct part *p)
{
	p->hits = calloc((size_t)p->q->count * p->q->k + 1, sizeof *p->hits);
	p->found = calloc(p->q->count + 1, sizeof *p->found);
	if (!p->hits || !p->found)
		return -ENOMEM;
	p->is_started = !pthread_create(&p->thread, NULL, search_part, p);
	if (!p->is_started) /* there are enough threads; this one is slower then */
		search_part(p);
	return 0;
}

static void add_stats(struct vs_search_stats *sum, const struct vs_search_stats *stats)
{
	sum->rows_scanned += stats->rows_scanned;
	sum->rows_verified += stats->rows_verified;
	sum->rows_damaged += stats->rows_damaged;
}

int vs_search_threads(struct vs_snapshot *m, const struct vs_query *q, unsigned threads, struct vs_hit *hits,
		      uint32_t *found, struct vs_search_stats *stats)
{
	struct vs_snapshot_info info;
	struct part *parts;
	uint64_t share;
	int rc;

	vs_snapshot_info(m, &info);
	if (threads > info.rows)
		threads = (unsigned)info.rows;
	if (threads <= 1)
		return vs_search(m, q, 0, info.rows, hits, found, stats);
	parts = calloc(threads, sizeof *parts);
	if (!parts)
		return -ENOMEM;
	share = (info.rows + threads - 1) / threads;
	rc = 0;
	for (unsigned i = 1; i < threads && !rc; i++) {
		parts[i] = (struct part){.m = m, .q = q, .first = i * share, .rows = share};
		rc = part_begin(&parts[i]);
	}
	if (!rc)
		rc = vs_search(m, q, 0, share, hits, found, stats);
	for (unsigned i = 1; i < threads; i++) {
		struct part *p = &parts[i];

		if (p->is_started)
			pthread_join(p->thread, NULL);
		rc = rc ? rc : p->rc;
		if (!rc)
			rc = vs_search_merge(info.schema.metric, q, hits, found, p->hits, p->found);
		add_stats(stats, &p->stats);
		free(p->hits);
		free(p->found);
	}
	free(parts);
	return rc;
}
