/* SPDX-License-Identifier: Apache-2.0 */
/*
 * assign - which of k centroids rows are nearest to, in integers of 16 bits: what encodes. It takes half as
 * many instructions as nearest, which k-means needs for its scores, and its error is far below that of a
 * code.
 *
 * Nearest to x is the centroid c for which ½‖c‖² - <x, c> is least: the inner product of (-c, ½‖c‖²/a) and
 * (x, a), whatever a is. With a half of the length of the longest centroid both parts weigh about the same.
 * All centroids of a table, so extended, are scaled alike, the longest one to the length 8,000, and each row
 * to that length for itself. Both are rounded to integers and multiplied by four: a component fits 16 bits,
 * and the products of pairs add up in 32 bits, for by Cauchy and Schwarz no sum exceeds (4 * (8,000 + what
 * rounding adds to a length))² < 2^31 - 16.
 *
 * So a score is exact, the same on every level and in any order, and a multiple of 16: its low bits have room
 * for the number of a centroid among 16 neighbours, one more component, by which a row has 1. The least of
 * the 16 sums is then one minimum each, without a word of who it was, and only the winner of 16 is compared
 * and selected. Of equal scores the lower number wins, as there.
 *
 * What rounding loses of a score is 5e-5 of the product of both lengths. That is nothing beside the distances
 * between centroids of a table that is about round, of several dims; of one that is nearly a line, with 256
 * centroids on it, neighbours lie closer. Binding looks whether the integers of a table tell its centroids
 * apart; if not callers take nearest. A row that is not finite has some code, the same everywhere.
 *
 * No function here allocates; memory and scratch are lent at 64 bytes. Callable from any thread.
 */
#ifndef VECFS_QUANT_ASSIGN_H
#define VECFS_QUANT_ASSIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows come in whole groups of this many; what lies beyond the rows must be readable and counts for nothing.
 */
#define ASSIGN_GROUP 32
#define ASSIGN_CENTROIDS 16 /* k is a multiple */

struct assign {
	size_t dim, k;
	const float *origin;  /* [dim]: what rows are told from, as centroids are */
	bool tells_apart;     /* do integers tell the centroids apart? */
	float extra;          /* a */
	const int32_t *pairs; /* [assign_pairs(dim)][k]: two neighbouring components of a centroid each */
};

/* Of a vector of dim components, and the two that are added. */
static inline size_t assign_pairs(size_t dim)
{
	return (dim + 1) / 2 + 1;
}

/* centroids[d * k + c] less origin[dim], finite ones; others do no harm. The origin stays the caller's;
 * pairs, [assign_pairs(dim)][k], becomes the table's. */
void assign_bind(struct assign *a, size_t dim, size_t k, const float *origin, const float *centroids,
		 int32_t *pairs);

static inline size_t assign_scratch_bytes(size_t dim)
{
	return assign_pairs(dim) * ASSIGN_GROUP * sizeof(int32_t);
}

/* code[row] of the rows x[d * ld + row], 0 .. rows - 1, rounded up to whole groups; ld a multiple of
 * ASSIGN_GROUP. */
void assign(const struct assign *a, size_t rows, const float *x, size_t ld, int32_t *code, void *scratch);

#endif
