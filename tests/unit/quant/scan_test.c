/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "quant/distance.h"
#include "quant/scan.h"
#include "tests/unit/vectors.h"

#define K 12

/* A column with keys that do not follow the rows, and with holes: single rows, a whole block, and a sparse
 * one. */
struct column {
	struct scan_rows rows;
	uint64_t *valid, *keys;
};

static struct column column_of(size_t n, bool has_holes)
{
	struct column c = {.valid = lines(block_count(n) * 8), .keys = malloc(n * 8 + 8)};

	for (size_t i = 0; i < n; i++) {
		bool is_hole = i % 7 == 3 || i / 64 == 1 || (i / 64 == 2 && i % 64 > 5);

		block_set_valid(c.valid, i, !is_hole);
		c.keys[i] = (i * 7919 + 13) % 100003;
	}
	c.rows = (struct scan_rows){
		.rows = n, .valid = has_holes ? c.valid : NULL, .keys = c.keys, .first_row = 5000};
	return c;
}

static void column_free(struct column *c)
{
	free(c->valid);
	free(c->keys);
}

/* What pushing every valid row's distance selects. */
static size_t selected(struct topk_item *items, const struct column *c, const float *distances)
{
	struct topk top;

	topk_start(&top, items, K);
	for (size_t i = 0; i < c->rows.rows; i++)
		if (block_mask(c->rows.valid, c->rows.rows, i / 64) >> i % 64 & 1)
			topk_push(&top, distances[i], 5000 + (uint32_t)i, c->keys[i]);
	return topk_finish(&top);
}

static void assert_same(const struct topk_item *got, size_t n, const struct topk_item *want, size_t wanted)
{
	assert_int_equal(n, wanted);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(got[i].row, want[i].row);
		assert_int_equal(got[i].key, want[i].key);
		assert_memory_equal(&got[i].distance, &want[i].distance, sizeof(float));
	}
}

static void test_exact_rows(void **state)
{
	const uint32_t dim = 20;
	float *x = random_vectors(1, 1000, dim), *distances = malloc(1000 * sizeof *distances);

	(void)state;
	memcpy(x + 700 * dim, x, 100 * dim * sizeof *x); /* ties */
	x[300 * dim] = NAN;
	for (size_t n = 0; n <= 1000; n += n < 3 ? 1 : 199)
		for (int holes = 0; holes < 2; holes++) {
			struct column c = column_of(n, holes);
			struct topk_item want[K], got[K];

			for (enum vs_metric metric = VS_L2; metric < VS_METRIC_COUNT; metric++)
				EACH_LEVEL(level)
				{
					struct topk top;

					distance_rows(distances, VS_F32, metric, x + 3 * dim, x, 4 * dim, n,
						      dim);
					topk_start(&top, got, K);
					scan_exact(&top, &c.rows, VS_F32, metric, x + 3 * dim, x, 4 * dim,
						   dim);
					assert_same(got, topk_finish(&top), want,
						    selected(want, &c, distances));
				}
			column_free(&c);
		}
	free(x);
	free(distances);
}

static float plain_sum(const float *tables, const uint8_t *code, size_t code_bytes, unsigned centroids)
{
	float sum = 0;

	for (size_t p = 0; p < code_bytes; p++)
		if (centroids == 256) {
			sum += tables[p * 256 + code[p]];
		} else {
			sum += tables[2 * p * 16 + (code[p] & 15)];
			sum += tables[(2 * p + 1) * 16 + (code[p] >> 4)];
		}
	return sum;
}

enum kind { POSITIVE, MIXED, CONSTANT, ONE_LARGE, TINY };

static float *tables_of(enum kind kind, size_t count)
{
	float *t = random_vectors(11, 1, count);

	for (size_t i = 0; i < count; i++)
		t[i] = kind == POSITIVE   ? t[i] * t[i]
		       : kind == CONSTANT ? 3
		       : kind == TINY     ? t[i] * 1e-30f
					  : t[i];
	if (kind == ONE_LARGE)
		t[count / 2] = -1e6f;
	return t;
}

/* What bytes add up to, which candidates are chosen by. */
static void sum_bytes(float *sums, const uint8_t *bytes, const uint8_t *codes, size_t n, size_t code_bytes,
		      unsigned centroids)
{
	for (size_t i = 0; i < n; i++, codes += code_bytes) {
		unsigned sum = 0;

		for (size_t p = 0; p < code_bytes; p++)
			sum += centroids == 256 ? bytes[p * 256 + codes[p]]
						: (unsigned)bytes[p * 32 + (codes[p] & 15)] +
							  bytes[p * 32 + 16 + (codes[p] >> 4)];
		sums[i] = (float)sum;
	}
}

static void check_codes(enum kind kind, unsigned centroids, size_t code_bytes, size_t n, bool holes)
{
	float *tables = tables_of(kind, scan_tables_bytes(code_bytes, centroids));
	uint8_t *codes = malloc(n * code_bytes + 1), *blocks = lines(block_bytes(n, code_bytes));
	uint8_t *bytes = lines(scan_tables_bytes(code_bytes, centroids));
	float *distances = malloc(n * sizeof *distances + 4);
	struct column c = column_of(n, holes);
	float *sums = malloc(n * sizeof *sums + 4);
	struct topk_item want[K], coarse[K], got[K];
	size_t wanted, coarse_wanted;
	struct rng rng;

	rng_seed(&rng, n + code_bytes);
	for (size_t i = 0; i < n * code_bytes; i++)
		codes[i] = (uint8_t)rng_next(&rng);
	for (size_t i = 1; i < n; i += 5) /* ties */
		memcpy(codes + i * code_bytes, codes + (i - 1) * code_bytes, code_bytes);
	block_pack(blocks, 0, codes, n, code_bytes);
	for (size_t i = 0; i < n; i++)
		distances[i] = plain_sum(tables, codes + i * code_bytes, code_bytes, centroids);
	wanted = selected(want, &c, distances);
	EACH_LEVEL(level)
	{
		struct scan_tables t;
		struct topk top;

		scan_tables_init(&t, tables, code_bytes, centroids, bytes);
		topk_start(&top, got, K);
		scan_codes(&top, &c.rows, &t, blocks);
		assert_same(got, topk_finish(&top), want, wanted);
		sum_bytes(sums, bytes, codes, n, code_bytes, centroids);
		coarse_wanted = selected(coarse, &c, sums);
		topk_start(&top, got, K);
		scan_codes_coarsely(&top, &c.rows, &t, blocks);
		assert_same(got, topk_finish(&top), coarse, coarse_wanted);
	}
	column_free(&c);
	free(sums);
	free(tables);
	free(codes);
	free(blocks);
	free(bytes);
	free(distances);
}

/* The answer is that of f32 sums in the order of the tables, ties by key included, on every level; that of
 * candidates is of what the tables are rounded to. */
static void test_codes_by_tables_are_exact(void **state)
{
	static const size_t sizes[] = {1, 2, 31, 96, 256, 257, 600};

	(void)state;
	for (enum kind kind = POSITIVE; kind <= TINY; kind++)
		for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
			for (size_t n = 1; n < 1200; n = n * 4 + 61) {
				check_codes(kind, 16, sizes[i], n, n % 2);
				check_codes(kind, 256, sizes[i], n, n % 2);
			}
	check_codes(POSITIVE, 256, 96, 20000, false);
	check_codes(MIXED, 16, 96, 20000, true);
	check_codes(POSITIVE, 16, 1, 0, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exact_rows),
		cmocka_unit_test(test_codes_by_tables_are_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
