/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scanlib - the part of quantlib that encodes columns and scans them: a column is made once and searched
 * often. Searches run in the calling thread; results are k row numbers and distances a query, -1 for what is
 * not there.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "quant/bit.h"
#include "quant/convert.h"
#include "quant/distance.h"
#include "quant/rabitq.h"
#include "quant/scan.h"
#include "quant/sq8.h"

enum kind { EXACT, SQ8, SQ8_EXACT, RABITQ, CODES };

struct column {
	enum kind kind;
	enum vs_metric metric;
	enum vs_dtype dtype;
	size_t n, code_bytes;
	uint32_t dim;
	unsigned centroids;
	uint8_t *codes, *extra;
	float *factors, *mean, *scratch;
	const void *rows; /* of the caller */
	struct rabitq rq;
	void *rotation, *query;
	size_t finished;
};

/* As a mapped file would be: whole pages. */
static void *pages(size_t bytes)
{
	void *p = mmap(NULL, bytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

static struct column *column_new(enum kind kind, enum vs_metric metric, size_t n, uint32_t dim)
{
	struct column *c = calloc(1, sizeof *c);

	if (!c)
		abort();
	*c = (struct column){.kind = kind, .metric = metric, .n = n, .dim = dim};
	return c;
}

/* Rows of a dtype, which stay the caller's. */
struct column *sl_exact(int dtype, int metric, const void *rows, size_t n, uint32_t dim)
{
	struct column *c = column_new(EXACT, (enum vs_metric)metric, n, dim);

	c->dtype = (enum vs_dtype)dtype;
	c->rows = rows;
	return c;
}

/* rows stay the caller's; is_exact: searches verify them. */
struct column *sl_sq8(int metric, const float *rows, size_t n, uint32_t dim, int is_exact)
{
	struct column *c = column_new(is_exact ? SQ8_EXACT : SQ8, (enum vs_metric)metric, n, dim);

	c->codes = pages(n * dim);
	c->factors = pages(block_bytes(n, SQ8_FACTORS * sizeof(float)));
	c->scratch = pages(dim * sizeof(float));
	c->query = pages(sq8_query_bytes(dim));
	c->rows = rows;
	sq8_encode(c->codes, c->factors, 0, c->metric, rows, n, dim, c->scratch);
	return c;
}

/* Once more, for the clock. */
void sl_sq8_encode(struct column *c, const float *rows)
{
	sq8_encode(c->codes, c->factors, 0, c->metric, rows, c->n, c->dim, c->scratch);
}

/* The mean is taken of at most 65,536 of the rows. */
struct column *sl_rabitq(int metric, unsigned bits, const float *rows, size_t n, uint32_t dim, uint64_t seed)
{
	struct column *c = column_new(RABITQ, (enum vs_metric)metric, n, dim);
	void *sums = malloc(12 * (size_t)dim);

	c->mean = pages(dim * sizeof(float));
	c->rotation = pages(hadamard_bytes(dim));
	rabitq_mean(c->mean, c->metric, rows, n < 65536 ? n : 65536, dim, sums);
	free(sums);
	rabitq_init(&c->rq, dim, bits, c->metric, seed, c->mean, c->rotation);
	c->codes = pages(block_bytes(n, rabitq_sign_bytes(&c->rq)));
	c->extra = pages(n * rabitq_extra_bytes(&c->rq));
	c->factors = pages(block_bytes(n, rabitq_factors(&c->rq) * sizeof(float)));
	c->scratch = pages(rabitq_scratch(&c->rq) * sizeof(float));
	c->query = pages(rabitq_query_bytes(&c->rq));
	rabitq_encode(&c->rq, c->codes, c->extra, c->factors, 0, rows, n, c->scratch);
	return c;
}

void sl_rabitq_encode(struct column *c, const float *rows)
{
	rabitq_encode(&c->rq, c->codes, c->extra, c->factors, 0, rows, c->n, c->scratch);
}

/* Row-major codes of pq, which are copied into blocks. Queries of such a column are tables. */
struct column *sl_codes(unsigned centroids, size_t code_bytes, const uint8_t *codes, size_t n)
{
	struct column *c = column_new(CODES, VS_L2, n, 0);

	c->centroids = centroids;
	c->code_bytes = code_bytes;
	c->dim = (uint32_t)(centroids == 16 ? 32 * code_bytes : 256 * code_bytes); /* f32 of a query */
	c->codes = pages(block_bytes(n, code_bytes));
	c->query = pages(scan_tables_bytes(code_bytes, centroids));
	block_pack(c->codes, 0, codes, n, code_bytes);
	return c;
}

static void search(struct column *c, struct topk *top, const float *query)
{
	const struct scan_rows rows = {.rows = c->n};
	struct rabitq_query rq;
	struct scan_tables tables;
	struct sq8_query sq;

	if (c->kind == EXACT) {
		scan_exact(top, &rows, c->dtype, c->metric, query, c->rows,
			   vs_dtype_row_bytes(c->dtype, c->dim), c->dim);
	} else if (c->kind == CODES) {
		scan_tables_init(&tables, query, c->code_bytes, c->centroids, c->query);
		scan_codes(top, &rows, &tables, c->codes);
	} else if (c->kind == RABITQ) {
		if (rabitq_query_init(&rq, &c->rq, query, RABITQ_ERROR, c->query) == 0)
			rabitq_scan(top, &rows, &rq, c->codes, c->extra, c->factors, &c->finished);
	} else if (sq8_query_init(&sq, c->metric, query, c->dim, c->query) == 0) {
		if (c->kind == SQ8)
			sq8_scan(top, &rows, &sq, c->codes, c->factors);
		else
			sq8_search(top, &rows, &sq, c->codes, c->factors, query, c->rows,
				   c->dim * sizeof(float), &c->finished);
	}
}

/* queries: (count, dim) f32, or of an exact column of i8, u8 or bit rows of that dtype. */
void sl_search(struct column *c, const void *queries, size_t count, size_t k, int64_t *rows, float *distances)
{
	size_t bytes =
		c->kind == EXACT && c->dtype > VS_BF16 ? vs_dtype_row_bytes(c->dtype, c->dim) : 4 * c->dim;
	struct topk_item *items = malloc(k * sizeof *items);

	for (size_t q = 0; q < count; q++) {
		struct topk top;
		size_t found;

		topk_start(&top, items, k);
		search(c, &top, (const void *)((const char *)queries + q * bytes));
		found = topk_finish(&top);
		for (size_t i = 0; i < k; i++) {
			rows[q * k + i] = i < found ? (int64_t)items[i].row : -1;
			distances[q * k + i] = i < found ? items[i].distance : 0;
		}
	}
	free(items);
}

/* Distances of all queries to all rows at once. */
void sl_batch(struct column *c, const float *queries, size_t count, float *distances)
{
	distance_batch(distances, c->dtype, c->metric, queries, count, c->rows,
		       vs_dtype_row_bytes(c->dtype, c->dim), c->n, c->dim);
}

/* Rows that were finished in a second stage since the column was made. */
size_t sl_finished(const struct column *c)
{
	return c->finished;
}

void sl_to_f16(uint16_t *out, const float *in, size_t n)
{
	convert_f32_to_f16(out, in, n);
}

void sl_to_bf16(uint16_t *out, const float *in, size_t n)
{
	convert_f32_to_bf16(out, in, n);
}

size_t sl_to_bits(uint8_t *out, const float *in, size_t n, uint32_t dim)
{
	uint64_t *valid = calloc(block_count(n) + 1, sizeof *valid);
	size_t lost = bit_encode(out, valid, 0, VS_IP, in, n, dim);

	free(valid);
	return lost;
}
