/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scan - the nearest rows of a column, exactly, or by codes that are looked up in a query's tables.
 *
 * All scans work alike: a kernel computes for a block of 64 rows a number that the distance cannot be below;
 * rows for which it is not above the selection's bound are finished in f32, at once, so that the bound falls
 * early. What is selected is therefore exactly what finishing every row would select, ties by key included,
 * and the same on every level.
 *
 * Asymmetric distance (Jegou, Douze, Schmid, "Product quantization for nearest neighbor search", 2011): the
 * distance of a row is the sum of tables[m][code m] over the sub-quantisers m, added in the order of m in
 * f32. The scan adds bytes instead: each table less its minimum, in steps that are as many as fit and rounded
 * down (Andre, Kermarrec, Le Scouarnec, "Cache locality is not enough: high-performance nearest neighbor
 * search with product quantization fast scan", 2015, from which tables in registers are, too). With 256
 * entries a byte of code is one look-up in four registers (avx512) or in sixteen (avx2); with 16 entries it
 * is two shuffles.
 *
 * Pure functions; a selection belongs to one thread: threads scan different columns or parts into their own.
 */
#ifndef VECFS_QUANT_SCAN_H
#define VECFS_QUANT_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/block.h"
#include "quant/dtype.h"
#include "quant/metric.h"
#include "quant/topk.h"

/* Which rows of a column count, and what the selection calls them. */
struct scan_rows {
	size_t rows;
	const uint64_t *valid; /* a bit a row, 64 rows a word (quant/block.h); NULL: all */
	const uint64_t *keys;  /* of each row; NULL: the number that row tells */
	uint32_t first_row;    /* the number of the column's row 0 */
};

/* The next blocks that have a row that counts: moves *block to the first of them and returns how many follow
 * each other, at most SCAN_RUN_BLOCKS (quant/scan.kernel.h); 0 at the end. For drivers of other scans. */
size_t scan_run(const struct scan_rows *column, size_t *block);

/* Offers the rows of a block whose bit is set. */
void scan_push(struct topk *top, const struct scan_rows *column, size_t block, const float *distances,
	       uint64_t mask);
/* Offers one row. */
void scan_push_row(struct topk *top, const struct scan_rows *column, size_t row, float distance);
/* Bit r: values[r] <= limit, of 64. */
uint64_t scan_not_above(const float *values, float limit);

/* Exact: every valid row's distance as of distance_rows(). rows are stride bytes apart. Where few rows of a
 * block are valid only those are read. */
void scan_exact(struct topk *top, const struct scan_rows *column, enum vs_dtype dtype, enum vs_metric metric,
		const void *query, const void *rows, size_t stride, uint32_t dim);

/* A query's tables. Everything pointed to is the caller's and stays while scans use it. */
struct scan_tables {
	const float *tables; /* (sub_count, centroids) */
	uint8_t *bytes;      /* what kernels look up */
	size_t code_bytes;   /* a row's */
	unsigned centroids;  /* 16: two codes a byte, the first in the low half; 256: one */
	double base, step;   /* a sum of bytes s is of a distance >= base + step*s */
	double slack;        /* that f32 sums may err by */
};

/* Bytes that scan_tables_init() writes to, of any alignment (64 is fastest). */
size_t scan_tables_bytes(size_t code_bytes, unsigned centroids);
/* Tables are finite numbers; of 16 centroids there are 2*code_bytes tables, of 256 code_bytes. */
void scan_tables_init(struct scan_tables *t, const float *tables, size_t code_bytes, unsigned centroids,
		      uint8_t *bytes);
/* The f32 sum of one row of blocks, which is its distance. */
float scan_tables_row(const struct scan_tables *t, const uint8_t *blocks, size_t row);
/* The nearest rows of blocks by that distance. */
void scan_codes(struct topk *top, const struct scan_rows *column, const struct scan_tables *t,
		const uint8_t *blocks);
/* The nearest rows by their sums of bytes, which are their distances then: the order of scan_codes() but for
 * what bytes round, for candidates that are compared in full later. */
void scan_codes_coarsely(struct topk *top, const struct scan_rows *column, const struct scan_tables *t,
			 const uint8_t *blocks);

#endif
