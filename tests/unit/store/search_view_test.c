/* SPDX-License-Identifier: Apache-2.0 */
/* Search through views: beside exact search, which search_test.c proves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "quant/rng.h"
#include "store/io/guard.h"
#include "store/search/search.h"
#include "store/store.h"
#include "store/view/view.h"
#include "tests/unit/scratch.h"

#define DIM 48u
#define ROWS 5000u
#define QUERIES 40u
#define K 10u

struct fixture {
	struct scratch sc;
	struct vs_store *s;
	uint32_t docs;
	enum vs_metric metric;
	float (*vectors)[DIM]; /* ROWS, and QUERIES that are not stored */
};

static const struct vs_perm perm = {.mode = 0644};

static void put(struct fixture *f, uint32_t row)
{
	struct vs_attr attr = {.perm = perm};
	char id[16];

	snprintf(id, sizeof id, "%c%05u", 'a' + (int)(row % 3), row);
	assert_int_equal(vs_entry_reserve(f->s, f->docs, &attr.entry), 0);
	assert_int_equal(vs_put(f->s, f->docs, id, &attr, f->vectors[row], sizeof *f->vectors, NULL), 0);
}

/* Vectors around 50 centres; every tenth is a copy of another one, so that some are equally far. */
static void make_vectors(struct fixture *f)
{
	struct rng rng;
	float centres[50][DIM];

	rng_seed(&rng, 3);
	for (size_t i = 0; i < 50 * DIM; i++)
		centres[i / DIM][i % DIM] = (float)rng_unit(&rng) * 2 - 1;
	for (size_t i = 0; i < ROWS + QUERIES; i++)
		for (size_t d = 0; d < DIM; d++)
			f->vectors[i][d] = centres[i % 50][d] + (float)rng_unit(&rng) - 0.5f;
	for (size_t i = 10; i < ROWS; i += 10)
		memcpy(f->vectors[i], f->vectors[i * 7 % 100 + 1], sizeof *f->vectors);
	f->vectors[77][3] = NAN;
	f->vectors[78][5] = -INFINITY;
	memset(f->vectors[79], 0, sizeof *f->vectors);
}

static void touch(void *arg)
{
	(void)arg;
}

/* cmocka takes SIGBUS at the start of each test, the engine once, with the first guard. */
static void keep_guard(void)
{
	static struct sigaction guard;
	static bool is_taken;

	io_guard(&guard, sizeof guard, touch, NULL);
	sigaction(SIGBUS, is_taken ? &guard : NULL, is_taken ? NULL : &guard);
	is_taken = true;
}

static struct fixture *new_store(enum vs_metric metric)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct vs_options options = {.log_bytes = 1u << 20};
	char why[256];

	keep_guard();
	f->metric = metric;
	f->vectors = calloc(ROWS + QUERIES, sizeof *f->vectors);
	make_vectors(f);
	scratch_new(&f->sc);
	assert_int_equal(vs_open(f->sc.dir, &options, &f->s, why, sizeof why), 0);
	assert_int_equal(vs_collection_create(f->s, 0, "docs", &perm, &f->docs), 0);
	assert_int_equal(vs_schema_set(f->s, f->docs, &(struct vs_schema){DIM, VS_F32, metric}), 0);
	for (uint32_t i = 0; i < ROWS; i++)
		put(f, i);
	return f;
}

static void free_store(struct fixture *f)
{
	assert_int_equal(vs_close(f->s), 0);
	scratch_free(&f->sc);
	free(f->vectors);
	free(f);
}

/* Waits until no row is compared exactly for want of a code. */
static void wait_encoded(struct fixture *f, const char *name)
{
	struct vs_view_info info;

	do {
		assert_int_equal(vs_view_wait(f->s, f->docs, name, NULL, NULL), 0);
		assert_int_equal(vs_view_get(f->s, f->docs, name, &info), 0);
		usleep(1000);
	} while (info.rows_encoded < info.rows);
}

static void make_view(struct fixture *f, const char *name)
{
	/* Else it depends on the store's uuid, and bounds on what is random fail one time in a hundred. */
	const struct vs_view_params params = {.seed = 7};
	char why[256] = "";
	int rc = vs_view_create(f->s, f->docs, name, &params, why, sizeof why);

	if (rc)
		fail_msg("%s: %s", name, why);
	wait_encoded(f, name);
}

struct found {
	uint32_t count[QUERIES];
	struct vs_hit hits[QUERIES * K];
	struct vs_search_stats stats;
};

/* Searches what there is now: exactly, or through a view. */
static struct found search(struct fixture *f, struct vs_query q, const char *view, unsigned threads)
{
	struct found found = {.count = {0}};
	struct vs_snapshot *m;
	struct vs_view *v = NULL;

	if (!q.vectors)
		q.vectors = f->vectors[ROWS];
	q.count = q.count ? q.count : QUERIES;
	q.k = q.k ? q.k : K;
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	if (view)
		assert_int_equal(vs_view_open(m, view, &v), 0);
	q.view = v;
	assert_int_equal(vs_search_threads(m, &q, threads, found.hits, found.count, &found.stats), 0);
	if (v)
		vs_view_close(v);
	vs_snapshot_close(m);
	return found;
}

/* Entries and distances; rows as well if nothing has moved. */
static void assert_same(const struct found *a, const struct found *b, uint32_t k, bool rows)
{
	for (uint32_t q = 0; q < QUERIES; q++) {
		assert_int_equal(a->count[q], b->count[q]);
		for (uint32_t i = 0; i < a->count[q]; i++) {
			const struct vs_hit *x = &a->hits[q * k + i], *y = &b->hits[q * k + i];

			assert_int_equal(x->entry, y->entry);
			assert_memory_equal(&x->distance, &y->distance, sizeof x->distance);
			if (rows)
				assert_int_equal(x->row, y->row);
		}
	}
}

static double recall(const struct found *got, const struct found *want)
{
	unsigned both = 0, all = 0;

	for (uint32_t q = 0; q < QUERIES; q++) {
		all += want->count[q];
		for (uint32_t i = 0; i < want->count[q]; i++)
			for (uint32_t j = 0; j < got->count[q]; j++)
				both += got->hits[q * K + j].entry == want->hits[q * K + i].entry;
	}
	return (double)both / all;
}

/* ------------------------------------------------------------------ sq8 */

static void check_sq8(struct fixture *f, struct vs_query q)
{
	struct found want = search(f, q, NULL, 1);

	for (unsigned threads = 1; threads <= 3; threads++) {
		struct found got = search(f, q, "sq8", threads);

		assert_same(&got, &want, q.k ? q.k : K, true);
		assert_int_equal(got.stats.rows_scanned, want.stats.rows_scanned);
		assert_int_equal(got.stats.rows_damaged, 0);
	}
}

static void sq8_finds_what_comparing_all_vectors_finds(void **state)
{
	(void)state;
	for (enum vs_metric metric = 0; metric < VS_METRIC_COUNT; metric++) {
		struct fixture *f = new_store(metric);
		struct vs_filter *filter = vs_filter_new();
		float radius;
		struct found all;

		make_view(f, "sq8");
		check_sq8(f, (struct vs_query){.k = K});
		check_sq8(f, (struct vs_query){.k = 1});
		check_sq8(f, (struct vs_query){.vectors = f->vectors[1], .count = 40}); /* of many copies */
		all = search(f, (struct vs_query){.k = K}, NULL, 1);
		radius = all.hits[4].distance; /* a hit's own: it belongs to them */
		check_sq8(f, (struct vs_query){.radius = &radius});
		check_sq8(f, (struct vs_query){.without = all.hits[0].entry});
		assert_int_equal(vs_filter_glob(filter, "b00*"), 0);
		check_sq8(f, (struct vs_query){.filter = filter});
		vs_filter_free(filter);
		free_store(f);
	}
}

static void sq8_reads_few_vectors(void **state)
{
	struct fixture *f = new_store(VS_L2);
	struct found one;

	(void)state;
	make_view(f, "sq8");
	one = search(f, (struct vs_query){.count = 1}, "sq8", 1);
	assert_true(one.stats.rows_verified < 200);
	assert_int_equal(one.stats.rows_scanned, ROWS);
	free_store(f);
}

/* Then no row waits for the applier, which are verified each. */
static void reopen(struct fixture *f)
{
	char why[256];

	assert_int_equal(vs_close(f->s), 0);
	assert_int_equal(vs_open(f->sc.dir, &(struct vs_options){0}, &f->s, why, sizeof why), 0);
}

/* Verifying a row takes longer than comparing it: of those before a query has k hits only the k nearest are,
 * and of candidates only hits. */
static void few_rows_are_verified(void **state)
{
	struct fixture *f = new_store(VS_L2);
	struct found one;

	(void)state;
	make_view(f, "opq24x4");
	reopen(f);
	one = search(f, (struct vs_query){.count = 1}, NULL, 1);
	assert_in_range(one.stats.rows_verified, K, 200);
	assert_int_equal(one.stats.rows_scanned, ROWS);
	wait_encoded(f, "opq24x4");
	one = search(f, (struct vs_query){.count = 1, .rerank = 300}, "opq24x4", 1);
	assert_in_range(one.stats.rows_verified, K, 50);
	free_store(f);
}

/* ------------------------------------------------------------------ every codec */

static const struct {
	const char *name;
	double codes, reranked; /* the least recall by the codes, and with the usual candidates */
} codecs[] = {
	{"f16", 0.98, 0.99},    {"bf16", 0.95, 0.99},   {"sq8", 1, 1},           {"bit", 0.03, 0.85},
	{"rabitq1", 0.2, 0.95}, {"rabitq2", 0.4, 0.97}, {"rabitq4", 0.75, 0.97}, {"rabitq8", 0.9, 0.99},
	{"pq12", 0.4, 0.97},    {"pq24x4", 0.4, 0.97},  {"opq12", 0.4, 0.97},    {"opq24x4", 0.4, 0.97},
};

static void check_codec(struct fixture *f, const struct found *want, size_t i)
{
	const char *name = codecs[i].name;
	struct found codes, again, reranked, all;
	double by_codes, by_rerank;

	make_view(f, name);
	codes = search(f, (struct vs_query){.rerank = 0}, name, 1);
	again = search(f, (struct vs_query){.rerank = 0}, name, 3);
	assert_same(&codes, &again, K, true); /* whatever shares the rows out */
	reranked = search(f, (struct vs_query){.rerank = VS_RERANK_AUTO}, name, 1);
	again = search(f, (struct vs_query){.rerank = VS_RERANK_AUTO}, name, 2);
	assert_same(&reranked, &again, K, true);
	all = search(f, (struct vs_query){.rerank = ROWS}, name, 2);
	assert_same(&all, want, K, true);
	by_codes = recall(&codes, want);
	by_rerank = recall(&reranked, want);
	if (by_codes < codecs[i].codes || by_rerank < codecs[i].reranked)
		fail_msg("%s, metric %d: recall %.3f by codes, %.3f re-ranked", name, (int)f->metric,
			 by_codes, by_rerank);
	for (uint32_t q = 0; q < QUERIES; q++)
		assert_int_equal(codes.count[q], K);
}

static void every_codec_finds_most_and_all_if_all_are_verified(void **state)
{
	(void)state;
	for (enum vs_metric metric = 0; metric < VS_METRIC_COUNT; metric++) {
		struct fixture *f = new_store(metric);
		struct found want = search(f, (struct vs_query){.k = K}, NULL, 1);

		for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
			check_codec(f, &want, i);
		free_store(f);
	}
}

/* Distances by the codes are of the same kind as the others: near them, and in order. */
static void distances_by_the_codes_are_what_users_expect(void **state)
{
	(void)state;
	for (enum vs_metric metric = 0; metric < VS_METRIC_COUNT; metric++) {
		struct fixture *f = new_store(metric);
		struct found want = search(f, (struct vs_query){.k = K}, NULL, 1), got;

		make_view(f, "rabitq8");
		got = search(f, (struct vs_query){.rerank = 0}, "rabitq8", 1);
		for (uint32_t i = 0; i < QUERIES * K; i++)
			assert_true(isinf(want.hits[i].distance) ||
				    fabsf(got.hits[i].distance - want.hits[i].distance) <
					    0.05f * (1 + fabsf(want.hits[i].distance)));
		free_store(f);
	}
}

/* ------------------------------------------------------------------ which rows */

static void filters_leave_as_many_hits_as_match(void **state)
{
	static const char *const views[] = {"sq8", "rabitq1", "opq12", "bit"};
	struct fixture *f = new_store(VS_L2);
	struct vs_filter *glob = vs_filter_new(), *list = vs_filter_new();
	float radius;

	(void)state;
	assert_int_equal(vs_filter_glob(glob, "c0002*"), 0); /* four ids */
	for (uint32_t i = 300; i < 340; i += 2) {
		char id[16];

		snprintf(id, sizeof id, "%c%05u", 'a' + (int)(i % 3), i);
		assert_int_equal(vs_filter_add(list, id, strlen(id)), 0);
	}
	for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
		struct vs_query q = {.filter = glob, .rerank = VS_RERANK_AUTO};
		struct found want = search(f, q, NULL, 1), got;

		make_view(f, views[i]);
		got = search(f, q, views[i], 2);
		assert_int_equal(got.count[0], 4);
		assert_same(&got, &want, K, true);
		q.filter = list;
		want = search(f, q, NULL, 1);
		got = search(f, q, views[i], 1);
		assert_int_equal(got.count[0], K);
		assert_same(&got, &want, K, true); /* of 20 all are candidates */
		radius = want.hits[5].distance;
		q.radius = &radius;
		want = search(f, q, NULL, 1);
		got = search(f, q, views[i], 1);
		assert_same(&got, &want, K, true);
	}
	vs_filter_free(glob);
	vs_filter_free(list);
	free_store(f);
}

/* What was found among some before the others were removed is found when they are: rows have moved then. */
static void what_is_found_does_not_depend_on_where_rows_stand(void **state)
{
	static const char *const views[] = {"sq8", "rabitq1", "rabitq3", "pq24x4", "bit"};
	struct fixture *f = new_store(VS_COSINE);
	struct found before[5][2], after;
	struct vs_filter *left = vs_filter_new();

	(void)state;
	vs_filter_deny(left, true);
	for (uint32_t i = 1; i < ROWS; i += 3) {
		char id[16];

		snprintf(id, sizeof id, "%c%05u", 'a' + (int)(i % 3), i);
		assert_int_equal(vs_filter_add(left, id, strlen(id)), 0);
	}
	for (size_t i = 0; i < 5; i++) {
		make_view(f, views[i]);
		for (uint32_t rerank = 0; rerank <= 20; rerank += 20)
			before[i][rerank / 20] =
				search(f, (struct vs_query){.filter = left, .rerank = rerank}, views[i], 1);
	}
	for (uint32_t i = 1; i < ROWS; i += 3) {
		char id[16];

		snprintf(id, sizeof id, "%c%05u", 'a' + (int)(i % 3), i);
		assert_int_equal(vs_remove(f->s, f->docs, id, NULL), 0);
	}
	for (size_t i = 0; i < 5; i++)
		for (uint32_t rerank = 0; rerank <= 20; rerank += 20) {
			wait_encoded(f, views[i]);
			after = search(f, (struct vs_query){.rerank = rerank}, views[i], 2);
			assert_same(&after, &before[i][rerank / 20], K, false);
		}
	vs_filter_free(left);
	free_store(f);
}

static bool never(void *arg, uint64_t rows)
{
	*(uint64_t *)arg += rows;
	return false;
}

static bool at_once(void *arg, uint64_t rows)
{
	(void)arg;
	(void)rows;
	return true;
}

static void a_search_tells_how_far_it_is_and_can_be_ended(void **state)
{
	struct fixture *f = new_store(VS_L2);
	struct vs_search_stats stats;
	struct found found;
	uint64_t told = 0;
	struct vs_snapshot *m;
	struct vs_view *v;
	struct vs_query q = {.vectors = f->vectors[ROWS], .count = QUERIES, .k = K, .is_cancelled = at_once};

	(void)state;
	make_view(f, "rabitq1");
	search(f, (struct vs_query){.is_cancelled = never, .arg = &told}, "rabitq1", 1);
	assert_true(told >= ROWS / 2 && told <= ROWS);
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	assert_int_equal(vs_view_open(m, "rabitq1", &v), 0);
	q.view = v;
	assert_int_equal(vs_search_threads(m, &q, 2, found.hits, found.count, &stats), -EINTR);
	vs_view_close(v);
	vs_snapshot_close(m);
	free_store(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sq8_finds_what_comparing_all_vectors_finds),
		cmocka_unit_test(sq8_reads_few_vectors),
		cmocka_unit_test(few_rows_are_verified),
		cmocka_unit_test(every_codec_finds_most_and_all_if_all_are_verified),
		cmocka_unit_test(distances_by_the_codes_are_what_users_expect),
		cmocka_unit_test(filters_leave_as_many_hits_as_match),
		cmocka_unit_test(what_is_found_does_not_depend_on_where_rows_stand),
		cmocka_unit_test(a_search_tells_how_far_it_is_and_can_be_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
