/* SPDX-License-Identifier: Apache-2.0 */
/*
 * encode - brings the codes of one segment up to date: verifies what its files have, and encodes the rows
 * that are stale. Used by the builder, and to verify only by who reads a store that nobody writes to.
 *
 * Each step takes some blocks that have stale rows: under the store's lock, shared, it makes these rows busy
 * and notes their checksums; without it, it reads the vectors, which must fit these, encodes them and writes
 * codes and tags. A row that waits for the applier is left for the next time. One that has changed meanwhile
 * does not fit, or is stale again.
 */
#ifndef VECFS_STORE_VIEW_ENCODE_H
#define VECFS_STORE_VIEW_ENCODE_H

#include "store/view/code_file.h"

/* The means to encode with one model; memory for workers is taken when it is needed. */
struct encoder;
int encoder_new(struct vs_store *s, uint32_t collection, const struct vs_schema *schema, struct view_model *m,
		const _Atomic bool *stop, struct encoder **out);
void encoder_free(struct encoder *e);

struct encode_result {
	uint64_t rows;          /* encoded */
	uint64_t blocks_failed; /* that were found not to be as they were written */
	uint32_t damaged;       /* vectors that do not fit their checksums */
	bool more;              /* rows are left, or have become stale meanwhile */
	double error,
		variance; /* sums over some of these rows, of a model that tells (view_model_add_error) */
};
/* Looks at what there is of the codes' files; then k->verified. */
int encode_verify(struct encoder *e, struct segment *seg, struct codes *k, struct encode_result *out);
/* Encodes what is stale; seg has vectors of the encoder's schema. On an error, too, everything that was not
 * done is stale again. */
int encode_stale(struct encoder *e, struct segment *seg, struct codes *k, struct encode_result *out);
/* Looks once more at up to ENCODE_LOOK_BLOCKS blocks that have been verified or written since. All rows of
 * one that is not as it was written are stale then. By the builder alone, who writes them; blocks has room.
 */
#define ENCODE_LOOK_BLOCKS 16u
int encode_look(struct code_files *f, uint32_t block, uint32_t count, struct code_blocks *blocks,
		struct encode_result *out);
/*
 * Encodes blocks [from, to) of a file of vectors that is no segment's yet: they are whole in it, and their
 * tags are of what was read. k has files and is nobody else's.
 */
int encode_early(struct encoder *e, int vectors, struct codes *k, uint32_t from, uint32_t to);

#endif
