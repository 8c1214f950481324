/* SPDX-License-Identifier: Apache-2.0 */
/*
 * borrowed_codes - codes of rows of a borrowed snapshot, read from files that another process writes.
 *
 * They are read to memory of one's own, and there each block must fit its tag, which also has the checksums
 * of the block's vectors (code_file.h): so what fits is whole, and of the vectors that the snapshot has. Rows
 * of other blocks are stale.
 */
#ifndef VECFS_STORE_VIEW_BORROWED_CODES_H
#define VECFS_STORE_VIEW_BORROWED_CODES_H

#include "store/view/code_file.h"

struct borrowed_codes {
	struct code_blocks blocks;
	uint64_t *valid, *stale; /* a word a block */
	uint32_t count;          /* of blocks */
};

/* Rows of a snapshot that lie side by side in one segment, and the blocks that they are in. */
struct borrowed_stretch {
	uint32_t count, segment, block, lead; /* the first row is row `lead` of block `block` */
};

/*
 * Reads the codes of at most max rows from first on by the model of the view called name of the collection
 * owner: of a durable snapshot the one it was taken of, whose segments have the same numbers. NULL: there are
 * none, or they cannot be had; then out->count rows have no codes.
 */
struct borrowed_codes *borrowed_codes_read(const struct vs_snapshot *m, const struct view_model *model,
					   uint32_t owner, const char *name, uint64_t first, uint64_t max,
					   struct borrowed_stretch *out);
void borrowed_codes_free(struct borrowed_codes *b);

#endif
