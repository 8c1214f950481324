/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/block.h"

/* How many of n rows from first on are in first's block. */
static size_t rows_in_block(size_t first, size_t n)
{
	size_t space = BLOCK_ROWS - first % BLOCK_ROWS;

	return n < space ? n : space;
}

/* Byte by byte of the row-major side, so that a line of the block is written while it is in the cache. */
static void pack_rows(uint8_t *block, const uint8_t *codes, size_t n, size_t code_bytes)
{
	for (size_t p = 0; p < code_bytes; p++)
		for (size_t r = 0; r < n; r++)
			block[p * BLOCK_ROWS + r] = codes[r * code_bytes + p];
}

void block_pack(uint8_t *blocks, size_t first, const uint8_t *codes, size_t n, size_t code_bytes)
{
	for (size_t count; n; n -= count, first += count, codes += count * code_bytes) {
		count = rows_in_block(first, n);
		pack_rows(blocks + block_offset(first, code_bytes), codes, count, code_bytes);
	}
}

static void unpack_rows(uint8_t *codes, const uint8_t *block, size_t n, size_t code_bytes)
{
	for (size_t r = 0; r < n; r++)
		for (size_t p = 0; p < code_bytes; p++)
			codes[r * code_bytes + p] = block[p * BLOCK_ROWS + r];
}

void block_unpack(uint8_t *codes, const uint8_t *blocks, size_t first, size_t n, size_t code_bytes)
{
	for (size_t count; n; n -= count, first += count, codes += count * code_bytes) {
		count = rows_in_block(first, n);
		unpack_rows(codes, blocks + block_offset(first, code_bytes), count, code_bytes);
	}
}

void block_move(uint8_t *blocks, size_t to, size_t from, size_t code_bytes)
{
	uint8_t *target = blocks + block_offset(to, code_bytes);
	const uint8_t *source = blocks + block_offset(from, code_bytes);

	for (size_t p = 0; p < code_bytes; p++)
		target[p * BLOCK_ROWS] = source[p * BLOCK_ROWS];
}

void block_pack_factors(float *blocks, size_t first, const float *values, size_t n, size_t factors)
{
	for (size_t r = 0; r < n; r++)
		for (size_t f = 0; f < factors; f++)
			blocks[block_factor_offset(first + r, factors) + f * BLOCK_ROWS] =
				values[r * factors + f];
}

void block_move_factors(float *blocks, size_t to, size_t from, size_t factors)
{
	float *target = blocks + block_factor_offset(to, factors);
	const float *source = blocks + block_factor_offset(from, factors);

	for (size_t f = 0; f < factors; f++)
		target[f * BLOCK_ROWS] = source[f * BLOCK_ROWS];
}
