/* SPDX-License-Identifier: Apache-2.0 */
/* Search through the engine's interface, beside a comparison of each pair that is as plain as can be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/scratch.h"
#include "tests/unit/slow_io.h"
#include "store/io/io.h"
#include "store/search/search.h"
#include "store/store.h"
#include "store/view/view.h"

#define DIM 20
#define ROWS 3000u
#define K 7u

struct fixture {
	struct scratch sc;
	struct vs_store *s;
	uint32_t docs;
	uint64_t entries[ROWS];
	float vectors[ROWS][DIM];
};

static const struct vs_perm perm = {.mode = 0644};

/* Few values, so that many vectors are equally far. */
static float value(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return (float)(*state >> 30) - 1.5f;
}

static void put(struct fixture *f, uint32_t row, const float *vector)
{
	struct vs_attr attr = {.perm = perm};
	char id[16];

	snprintf(id, sizeof id, "%c%05u", 'a' + (int)(row % 3), row);
	assert_int_equal(vs_entry_reserve(f->s, f->docs, &attr.entry), 0);
	assert_int_equal(vs_put(f->s, f->docs, id, &attr, vector, DIM * sizeof(float), NULL), 0);
	f->entries[row] = attr.entry;
	memcpy(f->vectors[row], vector, DIM * sizeof(float));
}

static int new_store(void **state)
{
	static const enum vs_metric metric = VS_L2;
	struct fixture *f = calloc(1, sizeof *f);
	struct vs_options options = {.log_bytes = 1u << 20};
	char why[256];
	uint32_t seed = 1;

	scratch_new(&f->sc);
	assert_int_equal(vs_open(f->sc.dir, &options, &f->s, why, sizeof why), 0);
	assert_int_equal(vs_collection_create(f->s, 0, "docs", &perm, &f->docs), 0);
	assert_int_equal(vs_schema_set(f->s, f->docs, &(struct vs_schema){DIM, VS_F32, metric}), 0);
	for (uint32_t i = 0; i < ROWS; i++) {
		float vector[DIM];

		for (int d = 0; d < DIM; d++)
			vector[d] = value(&seed);
		put(f, i, vector);
	}
	*state = f;
	return 0;
}

static int free_store(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(vs_close(f->s), 0);
	scratch_free(&f->sc);
	free(f);
	return 0;
}

static float distance(const float *a, const float *b)
{
	float sum = 0; /* exact: multiples of a quarter, and small */

	for (int d = 0; d < DIM; d++)
		sum += (a[d] - b[d]) * (a[d] - b[d]);
	return sqrtf(sum);
}

/* The expected hits among the rows that pass, by counting for each row how many are before it. */
static uint32_t expect(const struct fixture *f, const float *query, bool (*passes)(uint32_t row),
		       struct vs_hit *out)
{
	uint32_t found = 0;

	for (uint32_t a = 0; a < ROWS; a++) {
		uint32_t rank = 0;
		float d = distance(query, f->vectors[a]);

		if (!f->entries[a] || (passes && !passes(a)))
			continue;
		for (uint32_t b = 0; b < ROWS; b++) {
			float other = distance(query, f->vectors[b]);

			if (!f->entries[b] || (passes && !passes(b)))
				continue;
			rank += other < d || (other == d && f->entries[b] < f->entries[a]);
		}
		if (rank < K) {
			out[rank] = (struct vs_hit){.entry = f->entries[a], .distance = d};
			found++;
		}
	}
	return found;
}

static void assert_hits(const struct vs_hit *hits, uint32_t found, const struct vs_hit *wanted,
			uint32_t count)
{
	assert_int_equal(found, count);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(hits[i].entry, wanted[i].entry);
		assert_true(hits[i].distance == wanted[i].distance);
	}
}

static void search(struct fixture *f, struct vs_query *q, struct vs_hit *hits, uint32_t *found)
{
	struct vs_search_stats stats;
	struct vs_snapshot *m;

	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	assert_int_equal(vs_search(m, q, 0, UINT64_MAX / 2, hits, found, &stats), 0);
	assert_int_equal(stats.rows_damaged, 0);
	vs_snapshot_close(m);
}

static void the_nearest_are_found_the_oldest_first_among_equals(void **state)
{
	struct fixture *f = *state;
	struct vs_query q = {.vectors = f->vectors[5], .count = 3, .k = K};
	struct vs_hit hits[3 * K], wanted[K];
	uint32_t found[3], count;

	search(f, &q, hits, found);
	for (int i = 0; i < 3; i++) {
		count = expect(f, f->vectors[5 + i], NULL, wanted);
		assert_hits(hits + i * (int)K, found[i], wanted, count);
	}
}

static bool begins_with_b(uint32_t row)
{
	return row % 3 == 1;
}

static bool is_listed(uint32_t row)
{
	return row == 10 || row == 2000 || row == 2001;
}

static bool is_not_listed(uint32_t row)
{
	return !is_listed(row);
}

static void list_three(struct vs_filter *filter)
{
	assert_int_equal(vs_filter_add(filter, "b00010", 6), 0);
	assert_int_equal(vs_filter_add(filter, "c02000", 6), 0);
	assert_int_equal(vs_filter_add(filter, "a02001", 6), 0);
	assert_int_equal(vs_filter_add(filter, "nobody", 6), 0);
}

static void assert_digests_differ(const struct vs_filter *a, const struct vs_filter *b,
				  const struct vs_filter *c)
{
	const struct vs_filter *f[] = {a, b, c};
	uint64_t digests[3][2], other[2];

	for (int i = 0; i < 3; i++) {
		vs_filter_digest(f[i], 5, digests[i]);
		vs_filter_digest(f[i], 5, other);
		assert_memory_equal(digests[i], other, sizeof other);
		vs_filter_digest(f[i], 6, other);
		assert_memory_not_equal(digests[i], other, sizeof other);
		for (int j = 0; j < i; j++)
			assert_memory_not_equal(digests[i], digests[j], sizeof other);
	}
}

static void filters_leave_exactly_what_passes(void **state)
{
	struct fixture *f = *state;
	struct vs_query q = {.vectors = f->vectors[9], .count = 1, .k = K};
	struct vs_filter *glob = vs_filter_new(), *allow = vs_filter_new(), *deny = vs_filter_new();
	struct vs_hit hits[K], wanted[K];
	uint32_t found, count;

	assert_int_equal(vs_filter_glob(glob, "b*"), 0);
	list_three(allow);
	list_three(deny);
	vs_filter_deny(deny, true);
	q.filter = glob;
	search(f, &q, hits, &found);
	count = expect(f, f->vectors[9], begins_with_b, wanted);
	assert_hits(hits, found, wanted, count);
	q.filter = allow;
	search(f, &q, hits, &found);
	count = expect(f, f->vectors[9], is_listed, wanted);
	assert_int_equal(count, 3);
	assert_hits(hits, found, wanted, count);
	q.filter = deny;
	search(f, &q, hits, &found);
	count = expect(f, f->vectors[9], is_not_listed, wanted);
	assert_hits(hits, found, wanted, count);
	assert_digests_differ(glob, allow, deny);
	vs_filter_free(glob);
	vs_filter_free(allow);
	vs_filter_free(deny);
}

/* Up to seven of some characters. */
static void random_text(uint64_t *seed, const char *characters, char text[8])
{
	size_t n = strlen(characters), i = 0;

	for (*seed = *seed * 6364136223846793005u + 1; i < (*seed >> 33) % 8; i++)
		text[i] = characters[(*seed >> (36 + 3 * i)) % n];
	text[i] = '\0';
}

static void any_pattern_is_what_fnmatch_takes_it_for(void **state)
{
	struct vs_filter *f = vs_filter_new();
	char pattern[8], id[8];
	uint64_t seed = 7;
	unsigned matches = 0;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		random_text(&seed, "ab*?*b]", pattern);
		assert_int_equal(vs_filter_glob(f, pattern), 0);
		for (unsigned j = 0; j < 10; j++) {
			bool want;

			random_text(&seed, "abab]*", id);
			want = !fnmatch(pattern, id, 0);
			matches += want;
			if (vs_filter_passes(f, id, strlen(id)) != want)
				fail_msg("%s: %s", pattern, id);
		}
	}
	assert_in_range(matches, 1000, 199000);
	vs_filter_free(f);
}

static void a_pattern_is_what_fnmatch_takes_it_for(void **state)
{
	static const char *const patterns[] = {
		"",     "*",     "b*",     "*77",    "a*77",    "a*a",   "**77",   "*7*77",
		"?*77", "*7?",   "\\*77",  "a\\*77", "*\\77",   "[*]77", "a[*77]", "[ab]*77",
		"[*77", "a*[77", "[!*]77", "*]77",   "a*b]*77", "[]*77", "a",      "a77",
	};
	static const char *const ids[] = {"a",       "aa",    "b",    "77",   "7",     "a77",  "aa77",
					  "b77",     "*77",   "a*77", "7777", "[*77",  "a[77", "a[x77",
					  "]77",     "x]77",  "a7",   "[x77", "ab]77", "[]77", "!77",
					  "*a*7777", "a7777", "a[7]", "77a"};
	struct vs_filter *f = vs_filter_new();

	(void)state;
	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
		assert_int_equal(vs_filter_glob(f, patterns[i]), 0);
		for (size_t j = 0; j < sizeof ids / sizeof *ids; j++)
			if (vs_filter_passes(f, ids[j], strlen(ids[j])) != !fnmatch(patterns[i], ids[j], 0))
				fail_msg("%s: %s", patterns[i], ids[j]);
	}
	vs_filter_free(f);
}

static void a_radius_and_an_entry_left_out(void **state)
{
	struct fixture *f = *state;
	float radius = 0;
	struct vs_query q = {.vectors = f->vectors[100], .count = 1, .k = K, .radius = &radius};
	struct vs_hit hits[K];
	uint32_t found;

	search(f, &q, hits, &found);
	assert_true(found >= 1);
	for (uint32_t i = 0; i < found; i++)
		assert_true(hits[i].distance == 0);
	q.radius = NULL;
	q.without = f->entries[100];
	search(f, &q, hits, &found);
	assert_int_equal(found, K);
	for (uint32_t i = 0; i < found; i++)
		assert_int_not_equal(hits[i].entry, f->entries[100]);
}

static void parts_of_a_moment_make_the_same_result(void **state)
{
	struct fixture *f = *state;
	struct vs_query q = {.vectors = f->vectors[50], .count = 2, .k = K};
	struct vs_hit all[2 * K], part[2 * K], merged[2 * K];
	uint32_t found_all[2], found_part[2], found_merged[2];
	struct vs_search_stats stats;
	struct vs_snapshot *m;

	search(f, &q, all, found_all);
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	assert_int_equal(vs_search(m, &q, 0, 1000, merged, found_merged, &stats), 0);
	assert_int_equal(vs_search(m, &q, 1000, ROWS - 1000, part, found_part, &stats), 0);
	assert_int_equal(vs_search_merge(VS_L2, &q, merged, found_merged, part, found_part), 0);
	vs_snapshot_close(m);
	for (int i = 0; i < 2; i++)
		assert_hits(merged + i * (int)K, found_merged[i], all + i * (int)K, found_all[i]);
}

static void a_moment_is_searched_as_it_was(void **state)
{
	struct fixture *f = *state;
	float query[DIM];
	struct vs_query q = {.vectors = query, .count = 1, .k = K};
	struct vs_hit before[K], after[K];
	float far[DIM];
	uint32_t found_before, found_after;
	struct vs_search_stats stats;
	struct vs_snapshot *m;

	memcpy(query, f->vectors[7], sizeof query);
	search(f, &q, before, &found_before);
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	for (int d = 0; d < DIM; d++)
		far[d] = 1000;
	for (uint32_t i = 0; i < found_before; i++) {
		uint32_t row = 0;

		while (f->entries[row] != before[i].entry)
			row++;
		assert_int_equal(vs_write(f->s, f->docs, before[i].entry, far, sizeof far, 0, 0, NULL), 0);
		memcpy(f->vectors[row], far, sizeof far);
	}
	assert_int_equal(vs_search(m, &q, 0, ROWS, after, &found_after, &stats), 0);
	vs_snapshot_close(m);
	assert_hits(after, found_after, before, found_before);
}

static void queries_that_mean_nothing_are_refused(void **state)
{
	const struct vs_schema l2 = {DIM, VS_F32, VS_L2}, cosine = {DIM, VS_F32, VS_COSINE},
			       none = {0, VS_F32, VS_L2};
	float x[DIM] = {0};

	(void)state;
	assert_int_equal(vs_query_check(&l2, x, 1), 0);
	assert_int_equal(vs_query_check(&cosine, x, 1), -EINVAL);
	assert_int_equal(vs_query_check(&none, x, 1), -EINVAL);
	x[3] = NAN;
	assert_int_equal(vs_query_check(&l2, x, 1), -EINVAL);
	x[3] = INFINITY;
	assert_int_equal(vs_query_check(&l2, x, 1), -EINVAL);
	x[3] = 1;
	assert_int_equal(vs_query_check(&cosine, x, 1), 0);
}

/* ------------------------------------------------------------------ damage */

/* What is acknowledged is in the files now, and the store does not look at them again. */
static int reopen(struct fixture *f)
{
	char why[256], path[256];
	struct vs_options options = {.log_bytes = 1u << 20};

	assert_int_equal(vs_close(f->s), 0);
	assert_int_equal(vs_open(f->sc.dir, &options, &f->s, why, sizeof why), 0);
	snprintf(path, sizeof path, "%s/collections/%u/0.npy", f->sc.dir, f->docs);
	return open(path, O_RDWR);
}

static void a_damaged_row_is_not_among_the_nearest(void **state)
{
	struct fixture *f = *state;
	struct vs_query q = {.vectors = f->vectors[2500], .count = 1, .k = K};
	float other[DIM] = {9};
	struct vs_search_stats stats;
	struct vs_hit hits[K], wanted[K];
	uint32_t found, count;
	struct vs_snapshot *m;
	int fd = reopen(f);

	/* One that was the nearest and would be, one that was not and looks like it, one that looks far. */
	assert_int_equal(pwrite(fd, f->vectors[2499], DIM, 4096 + 2500 * sizeof other), DIM);
	assert_int_equal(pwrite(fd, f->vectors[2500], sizeof other, 4096 + 20 * sizeof other), sizeof other);
	assert_int_equal(pwrite(fd, other, sizeof other, 4096 + 21 * sizeof other), sizeof other);
	close(fd);
	f->entries[2500] = f->entries[20] = f->entries[21] = 0;
	count = expect(f, f->vectors[2500], NULL, wanted);
	for (unsigned threads = 1; threads <= 4; threads += 3) {
		assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
		assert_int_equal(vs_search_threads(m, &q, threads, hits, &found, &stats), 0);
		vs_snapshot_close(m);
		assert_hits(hits, found, wanted, count);
		assert_true(stats.rows_damaged >= 1);
		assert_true(stats.rows_damaged <= 3);
		assert_int_equal(stats.rows_scanned, ROWS);
	}
}

static void a_file_that_cannot_be_read_costs_its_rows_and_no_more(void **state)
{
	struct fixture *f = *state;
	struct vs_query q = {.vectors = f->vectors[2500], .count = 1, .k = K};
	const uint32_t left = 1000;
	const off_t end = 4096 + (off_t)(left * sizeof f->vectors[0]),
		    whole = 4096 + (off_t)sizeof f->vectors;
	struct vs_search_stats stats;
	struct vs_hit hits[K], wanted[K];
	uint32_t found, count;
	struct vs_snapshot *m;
	int fd = reopen(f);

#ifdef __SANITIZE_THREAD__
	skip(); /* ThreadSanitizer ends the process at a SIGBUS, whoever handles it */
#endif
	assert_int_equal(ftruncate(fd, end), 0); /* touching what is gone would be SIGBUS */
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	for (uint32_t i = left; i < ROWS; i++)
		f->entries[i] = 0;
	count = expect(f, f->vectors[2500], NULL, wanted);
	assert_int_equal(vs_search(m, &q, 0, ROWS, hits, &found, &stats), 0);
	vs_snapshot_close(m);
	assert_hits(hits, found, wanted, count);
	assert_int_equal(stats.rows_damaged, ROWS - left);
	assert_int_equal(ftruncate(fd, whole), 0);
	close(fd);
}

/* ------------------------------------------------------------------ bulk reading */

static const struct io_ops *real_ops;
static _Atomic unsigned reads;

static ssize_t counted_pread(struct io *io, int fd, void *buf, size_t size, uint64_t off)
{
	reads++;
	return real_ops->pread(io, fd, buf, size, off);
}

/* A row that waits for the applier, or has changed since, is no reason to read all others one by one. */
static void a_few_changed_rows_do_not_make_all_be_read_singly(void **state)
{
	struct fixture *f = *state;
	struct vs_options options = {.commit_ms = 10000};
	float *got = malloc(sizeof f->vectors), changed[DIM] = {5};
	struct io_ops ops;
	struct vs_snapshot *m;
	char why[256];

	assert_int_equal(vs_close(f->s), 0);
	assert_int_equal(io_new_real(f->sc.dir, false, &options.io), 0);
	real_ops = options.io->ops;
	ops = *real_ops;
	ops.pread = counted_pread;
	options.io->ops = &ops;
	assert_int_equal(vs_open(f->sc.dir, &options, &f->s, why, sizeof why), 0);
	/* Two wait for the applier in the snapshot, one of them and another change after it. */
	for (uint32_t row = 100; row < 102; row++) {
		assert_int_equal(
			vs_write(f->s, f->docs, f->entries[row], changed, sizeof changed, 0, 0, NULL), 0);
		memcpy(f->vectors[row], changed, sizeof changed);
	}
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	changed[0] = 6;
	for (uint32_t row = 101; row < 103; row++)
		assert_int_equal(
			vs_write(f->s, f->docs, f->entries[row], changed, sizeof changed, 0, 0, NULL), 0);
	reads = 0;
	assert_int_equal(vs_snapshot_vectors(m, got, sizeof f->vectors, 0), sizeof f->vectors);
	assert_true(reads < 20);
	assert_memory_equal(got, f->vectors, sizeof f->vectors);
	vs_snapshot_close(m);
	free(got);
	assert_int_equal(vs_close(f->s), 0);
	options.io->ops = real_ops;
	io_free_real(options.io);
	assert_int_equal(vs_open(f->sc.dir, &(struct vs_options){0}, &f->s, why, sizeof why), 0);
}

/* ------------------------------------------------------------------ beside changes */

#define CHANGERS 8
#ifdef __SANITIZE_THREAD__
#define ROUNDS 15u /* each codec has its turn in two of them */
#else
#define ROUNDS 60u
#endif

/* No view, and every codec. */
static const char *const view_names[] = {NULL,     "sq8",     "rabitq2", "f16",     "bf16",
					 "bit",    "rabitq1", "rabitq4", "rabitq8", "pq8",
					 "pq10x4", "opq10",   "opq8x4"};
#define VIEW_NAMES (sizeof view_names / sizeof *view_names)

/* What the collection is after each change; both change under the mutex. */
struct model {
	struct fixture *f;
	pthread_mutex_t mutex;
	atomic_bool stop;
	char first[ROWS]; /* the first letter of each vector's id, which renaming changes */
	uint64_t entries[ROWS];
	float vectors[ROWS][DIM];
	unsigned changes;
};

static void model_id(const struct model *m, uint32_t row, char id[16])
{
	snprintf(id, 16, "%c%05u", m->first[row], row);
}

static void change(struct model *m, uint32_t *seed)
{
	struct vs_attr attr = {.perm = perm};
	uint32_t row, what;
	char id[16], new_id[16];
	uint64_t entry, replaced;
	struct fixture *f = m->f;

	*seed = *seed * 1664525u + 1013904223u;
	row = (*seed >> 8) % ROWS;
	what = *seed >> 29;
	model_id(m, row, id);
	if (!m->entries[row] || what < 2) { /* a new one, or a put over one */
		assert_int_equal(vs_entry_reserve(f->s, f->docs, &attr.entry), 0);
		for (int d = 0; d < DIM; d++)
			m->vectors[row][d] = value(seed);
		assert_int_equal(
			vs_put(f->s, f->docs, id, &attr, m->vectors[row], sizeof m->vectors[row], NULL), 0);
		m->entries[row] = attr.entry;
	} else if (what < 4) { /* overwritten in place */
		for (int d = 0; d < DIM; d++)
			m->vectors[row][d] = value(seed);
		assert_int_equal(vs_write(f->s, f->docs, m->entries[row], m->vectors[row],
					  sizeof m->vectors[row], 0, 0, NULL),
				 0);
	} else if (what < 6) {
		assert_int_equal(vs_remove(f->s, f->docs, id, NULL), 0);
		m->entries[row] = 0;
	} else {
		m->first[row] = m->first[row] == 'c' ? 'a' : (char)(m->first[row] + 1);
		model_id(m, row, new_id);
		assert_int_equal(vs_rename(f->s, f->docs, id, f->docs, new_id, true, &entry, &replaced), 0);
	}
	m->changes++;
}

static void *change_always(void *arg)
{
	struct model *m = arg;
	uint32_t seed = 77;

	while (!m->stop) {
		pthread_mutex_lock(&m->mutex);
		for (int i = 0; i < 20; i++)
			change(m, &seed);
		pthread_mutex_unlock(&m->mutex);
		usleep(20); /* or who waits for the mutex never gets it */
	}
	return NULL;
}

/* The K nearest of the model's rows that pass, the oldest first among equals. */
static uint32_t model_expect(const struct model *m, const float *query, const struct vs_filter *filter,
			     struct vs_hit *out)
{
	uint32_t found = 0;

	for (uint32_t row = 0; row < ROWS; row++) {
		float d = distance(query, m->vectors[row]);
		uint32_t at = found;
		char id[16];

		model_id(m, row, id);
		if (!m->entries[row] || (filter && !vs_filter_passes(filter, id, strlen(id))))
			continue;
		while (at && (out[at - 1].distance > d ||
			      (out[at - 1].distance == d && out[at - 1].entry > m->entries[row])))
			at--;
		if (at == K)
			continue;
		found += found < K;
		memmove(out + at + 1, out + at, (found - at - 1) * sizeof *out);
		out[at] = (struct vs_hit){.entry = m->entries[row], .distance = d};
	}
	return found;
}

/* Every answer is that of the moment that it belongs to, with changes under way. */
static void check_snapshot(struct model *m, struct model *then, const struct vs_filter *const filters[3],
			   uint32_t round)
{
	struct vs_hit hits[K], wanted[K];
	struct vs_search_stats stats;
	struct vs_snapshot *snapshot;
	float *all = malloc(sizeof m->vectors);
	uint32_t found, count, alive = 0;
	struct vs_snapshot_info info;

	pthread_mutex_lock(&m->mutex);
	assert_int_equal(vs_snapshot_open(m->f->s, m->f->docs, &snapshot), 0);
	memcpy(then, m, sizeof *then);
	pthread_mutex_unlock(&m->mutex);
	for (uint32_t i = 0; i < 12; i++) {
		const char *name = view_names[(round * 12 + i) % VIEW_NAMES];
		struct vs_view *view = NULL;
		uint64_t passing[ROWS / 64 + 1];
		struct vs_query q = {.vectors = then->vectors[(round * 31 + i * 7) % ROWS],
				     .count = 1,
				     .k = K,
				     .rerank = ROWS, /* all are candidates */
				     .filter = i % 4 ? filters[i % 4 - 1] : NULL};

		if (name)
			assert_int_equal(vs_view_open(snapshot, name, &view), 0);
		q.view = view;
		if (q.filter && i >= 6) {
			assert_int_equal(vs_filter_rows(snapshot, q.filter, NULL, NULL, passing), 0);
			q.passing = passing;
		}
		assert_int_equal(vs_search_threads(snapshot, &q, 1 + i % 2, hits, &found, &stats), 0);
		assert_int_equal(stats.rows_damaged, 0);
		count = model_expect(then, q.vectors, q.filter, wanted);
		assert_hits(hits, found, wanted, count);
		if (view)
			vs_view_close(view);
	}
	for (uint32_t i = 0; i < ROWS; i++)
		alive += then->entries[i] != 0;
	vs_snapshot_info(snapshot, &info);
	assert_int_equal(info.rows, alive);
	assert_int_equal(vs_snapshot_vectors(snapshot, all, sizeof m->vectors, 0),
			 alive * sizeof m->vectors[0]);
	vs_snapshot_close(snapshot);
	free(all);
}

static void answers_are_exact_beside_changes(void **state)
{
	struct model *m = calloc(1, sizeof *m), *then = malloc(sizeof *then);
	struct vs_filter *filters[3];
	pthread_t threads[CHANGERS];

	m->f = *state;
	pthread_mutex_init(&m->mutex, NULL);
	memcpy(m->entries, m->f->entries, sizeof m->entries);
	memcpy(m->vectors, m->f->vectors, sizeof m->vectors);
	for (uint32_t i = 0; i < ROWS; i++)
		m->first[i] = (char)('a' + i % 3);
	for (int i = 0; i < 3; i++)
		filters[i] = vs_filter_new();
	assert_int_equal(vs_filter_glob(filters[0], "b*"), 0);
	for (uint32_t i = 0; i < 300; i++) { /* looked up */
		char id[16];

		snprintf(id, sizeof id, "%c%05u", 'a' + (int)(i % 3), i * 9);
		assert_int_equal(vs_filter_add(filters[1], id, strlen(id)), 0);
		assert_int_equal(vs_filter_add(filters[2], id, strlen(id)), 0);
	}
	vs_filter_deny(filters[2], true);
	for (unsigned i = 1; i < VIEW_NAMES; i++) {
		char why[256];

		assert_int_equal(vs_view_create(m->f->s, m->f->docs, view_names[i], NULL, why, sizeof why),
				 0);
		assert_int_equal(vs_view_wait(m->f->s, m->f->docs, view_names[i], NULL, NULL), 0);
	}
	for (int i = 0; i < CHANGERS; i++)
		pthread_create(&threads[i], NULL, change_always, m);
	for (uint32_t round = 0; round < ROUNDS; round++)
		check_snapshot(m, then, (const struct vs_filter *const *)filters, round);
	m->stop = true;
	for (int i = 0; i < CHANGERS; i++)
		pthread_join(threads[i], NULL);
	assert_true(m->changes > 1000);
	for (int i = 0; i < 3; i++)
		vs_filter_free(filters[i]);
	pthread_mutex_destroy(&m->mutex);
	free(m);
	free(then);
}

static void searches_are_counted(void **state)
{
	struct fixture *f = *state;
	struct vs_query q = {.vectors = f->vectors[5], .count = 3, .k = K};
	struct vs_counters c;
	struct vs_search_stats stats;
	struct vs_hit hits[3 * K];
	uint32_t found[3];
	struct vs_snapshot *m;

	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	assert_int_equal(vs_search_threads(m, &q, 2, hits, found, &stats), 0);
	vs_snapshot_close(m);
	vs_counters(f->s, &c);
	assert_int_equal(c.queries, 3);
	assert_int_equal(c.rows_scanned, ROWS);
	assert_true(c.rows_verified >= K && c.rows_verified <= ROWS);
	assert_true(c.search_ns > 0);
}

/* An answer without rows that are there, but cannot be read just now, would be wrong. */
static void a_search_of_what_cannot_be_read_fails(void **state)
{
	struct fixture *f = *state;
	struct vs_query q = {.vectors = f->vectors[7], .count = 1, .k = K};
	struct vs_search_stats stats = {0};
	struct slow_io slow;
	struct vs_options options = {.io = &slow.io};
	struct vs_hit hits[K];
	struct vs_snapshot *m;
	struct vs_attr attr;
	char why[256];
	uint32_t found;

	assert_int_equal(vs_close(f->s), 0);
	slow_io_init(&slow, f->sc.io);
	slow.collection[f->docs] = true;
	assert_int_equal(vs_open(f->sc.dir, &options, &f->s, why, sizeof why), 0);
	assert_int_equal(vs_lookup(f->s, f->docs, "b00007", &attr), 0);
	assert_int_equal(vs_snapshot_open(f->s, f->docs, &m), 0);
	slow.broken = true;
	assert_int_equal(vs_search(m, &q, 0, ROWS, hits, &found, &stats), -EIO);
	assert_int_equal(stats.rows_damaged, 0);
	slow.broken = false;
	assert_int_equal(vs_search(m, &q, 0, ROWS, hits, &found, &stats), 0);
	assert_int_equal(found, K);
	assert_int_equal(hits[0].row, 7);
	vs_snapshot_close(m);
	assert_int_equal(vs_close(f->s), 0);
	assert_int_equal(vs_open(f->sc.dir, &(struct vs_options){0}, &f->s, why, sizeof why), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First, for cmocka takes SIGBUS at the start of each test, and the engine at the first
		   search. */
		cmocka_unit_test_setup_teardown(a_file_that_cannot_be_read_costs_its_rows_and_no_more,
						new_store, free_store),
		cmocka_unit_test_setup_teardown(the_nearest_are_found_the_oldest_first_among_equals,
						new_store, free_store),
		cmocka_unit_test_setup_teardown(filters_leave_exactly_what_passes, new_store, free_store),
		cmocka_unit_test(a_pattern_is_what_fnmatch_takes_it_for),
		cmocka_unit_test(any_pattern_is_what_fnmatch_takes_it_for),
		cmocka_unit_test_setup_teardown(a_radius_and_an_entry_left_out, new_store, free_store),
		cmocka_unit_test_setup_teardown(parts_of_a_moment_make_the_same_result, new_store,
						free_store),
		cmocka_unit_test_setup_teardown(a_moment_is_searched_as_it_was, new_store, free_store),
		cmocka_unit_test_setup_teardown(a_search_of_what_cannot_be_read_fails, new_store, free_store),
		cmocka_unit_test_setup_teardown(a_damaged_row_is_not_among_the_nearest, new_store,
						free_store),
		cmocka_unit_test_setup_teardown(a_few_changed_rows_do_not_make_all_be_read_singly, new_store,
						free_store),
		cmocka_unit_test_setup_teardown(answers_are_exact_beside_changes, new_store, free_store),
		cmocka_unit_test_setup_teardown(searches_are_counted, new_store, free_store),
		cmocka_unit_test(queries_that_mean_nothing_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
