/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block - codes of rows in blocks of 64, transposed by byte: byte p of row r of a block is at p*64 + r.
 *
 * A scan loads byte p of 64 rows at once, and still each row owns its bytes: rows of a block are written and
 * moved by different threads without a lock, and a torn row tears no other. The same shape holds a row's side
 * factors: factor f of row r of a block is the f32 at f*64 + r. The last block is full-sized; what is in its
 * rows past the end does not matter.
 *
 * Which rows count is said by a mask of 64 bits a block, bit r for row r.
 *
 *   codes    (blocks, code_bytes, 64) u8, aligned to 64 bytes for speed (any alignment works)
 *   factors  (blocks, factors, 64) f32
 *
 * Pure functions: callable from any thread, for different rows at once.
 */
#ifndef VECFS_QUANT_BLOCK_H
#define VECFS_QUANT_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK_ROWS 64

static inline size_t block_count(size_t rows)
{
	return (rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
}

/* Bytes of the codes of so many rows. */
static inline size_t block_bytes(size_t rows, size_t code_bytes)
{
	return block_count(rows) * BLOCK_ROWS * code_bytes;
}

/* Where the first byte of a row's code is; the next one is BLOCK_ROWS further. */
static inline size_t block_offset(size_t row, size_t code_bytes)
{
	return row / BLOCK_ROWS * BLOCK_ROWS * code_bytes + row % BLOCK_ROWS;
}

/* The same for a row's side factors, counted in f32. */
static inline size_t block_factor_offset(size_t row, size_t factors)
{
	return block_offset(row, factors);
}

/* Writes the codes of n rows, row-major at codes, as rows first .. first + n - 1 of blocks. */
void block_pack(uint8_t *blocks, size_t first, const uint8_t *codes, size_t n, size_t code_bytes);
/* The reverse. */
void block_unpack(uint8_t *codes, const uint8_t *blocks, size_t first, size_t n, size_t code_bytes);
/* Copies the code of one row over that of another. */
void block_move(uint8_t *blocks, size_t to, size_t from, size_t code_bytes);

/* The same for the side factors of rows. */
void block_pack_factors(float *blocks, size_t first, const float *values, size_t n, size_t factors);
void block_move_factors(float *blocks, size_t to, size_t from, size_t factors);

/* Sets or clears row's bit of a mask of valid rows. Rows of one block must not be set by two threads at once.
 */
static inline void block_set_valid(uint64_t *valid, size_t row, bool is_valid)
{
	uint64_t bit = (uint64_t)1 << row % BLOCK_ROWS;

	valid[row / BLOCK_ROWS] = is_valid ? valid[row / BLOCK_ROWS] | bit : valid[row / BLOCK_ROWS] & ~bit;
}

/* The rows of a block that count: those below rows that are valid. valid NULL: all are. */
static inline uint64_t block_mask(const uint64_t *valid, size_t rows, size_t block)
{
	size_t left = rows - block * BLOCK_ROWS;
	uint64_t mask = left < BLOCK_ROWS ? ((uint64_t)1 << left) - 1 : UINT64_MAX;

	return valid ? mask & valid[block] : mask;
}

#endif
