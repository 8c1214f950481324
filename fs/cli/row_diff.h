/* SPDX-License-Identifier: Apache-2.0 */
/*
 * row_diff - which rows of a snapshot differ from an older one of the same collection, found from their
 * metadata and ids alone.
 *
 * A row is the same while its entry number and its ctime are (store.h), or while it lies at one place of a
 * file that both share, with the same attributes. Both snapshots are gone through side by side, segment by
 * segment, in the order of places, where nearly all rows meet themselves; what is left is sorted by entry
 * numbers and meets there, if it was only moved. Memory: a bit for each row, 40 bytes for each that has
 * changed or moved, and the ids that are gone.
 */
#ifndef VECFS_FS_CLI_ROW_DIFF_H
#define VECFS_FS_CLI_ROW_DIFF_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/cli/row_source.h"
#include "store/base/digest.h"

struct row_diff {
	struct digest to, from; /* fingerprints */
	uint64_t *changed;      /* a bit for each row of to; NULL: all */
	uint64_t rows;          /* how many have changed */
	uint64_t order;         /* a checksum of those, without their vectors, in their order */
	char *removed;          /* ids that are gone, each ended by a NUL */
	size_t removed_bytes;
	uint64_t removals;
};

/* from may be NULL: all of to. -EIO: a row is damaged, why says which; -errno. */
int row_diff_make(const struct row_source *to, const struct row_source *from, struct row_diff *out, char *why,
		  size_t why_size);
void row_diff_free(struct row_diff *d);
static inline bool row_diff_has(const struct row_diff *d, uint64_t row)
{
	return !d->changed || (d->changed[row / 64] >> row % 64 & 1);
}

/* The fingerprint alone. */
int row_fingerprint(const struct row_source *s, struct digest *out, char *why, size_t why_size);

#endif
