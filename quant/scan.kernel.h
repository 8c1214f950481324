/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loops of scans over blocks (quant/block.h), once a level. */
#ifndef VECFS_QUANT_SCAN_KERNEL_H
#define VECFS_QUANT_SCAN_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "quant/block.h"
#include "quant/level.h"

/* Blocks that a driver hands to a kernel at once: their sums stay in the first cache. */
#define SCAN_RUN_BLOCKS 16

/* Of a run of blocks: what the rows' bytes add up to, and which rows that is not above a limit of, a bit
 * each. These are found block by block, while memory is on its way. */
struct scan_sums {
	float limit; /* the caller's */
	float sums[SCAN_RUN_BLOCKS * BLOCK_ROWS];
	uint64_t near[SCAN_RUN_BLOCKS];
};

struct scan_kernels {
	/* sums[b*64 + r]: over the bytes of row r of block b, what the tables have for them: whole numbers. A
	 * nibble has a table of 16 bytes below 128, low one first, a byte one of 256. */
	void (*nibbles)(struct scan_sums *out, const uint8_t *codes, size_t blocks, size_t code_bytes,
			const uint8_t *tables);
	void (*bytes)(struct scan_sums *out, const uint8_t *codes, size_t blocks, size_t code_bytes,
		      const uint8_t *tables);
	/* The least and the most of n finite numbers; n is a multiple of 16. */
	void (*range)(float *least, float *most, const float *values, size_t n);
	/* bytes[i] = (values[i] - least) * per_step, rounded down; n is a multiple of 16. */
	void (*quantise)(uint8_t *bytes, const float *values, size_t n, float least, float per_step);
	/* Bit r: values[r] <= limit, of 64. */
	uint64_t (*not_above)(const float *values, float limit);
};

LEVEL_TABLES(scan_kernels)

#endif
