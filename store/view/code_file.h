/* SPDX-License-Identifier: Apache-2.0 */
/*
 * code_file - the files of a segment's codes: "collections/7/0.opq96.1.codes.npy" and its like, for segment
 * 0, the view opq96 and its model's epoch 1.
 *
 *   codes.npy    u8 (blocks, bytes, 64)     byte p of row r of a block at p*64 + r
 *   rows.npy     u8 (rows, bytes), or f16   what a codec has row by row; bf16 as NumPy's u2
 *   factors.npy  f32 (blocks, factors, 64)
 *   tags         struct block_tag for each block
 *
 * Each codec has some of the first three, behind a page of .npy header. A block's tag tells whether its codes
 * are what was written (low half: XXH3 of them and of valid) and of the vectors that are in the rows column
 * now (high half: XXH3 of their data_sums; 0 where some have no code yet). Both halves are seeded with the
 * model's number. Tag 0 fits nothing. So nothing has to be written in any order, and none of it synced, for
 * the next opening to know what it has.
 *
 * "collections/7/early.9.0.opq96.1.codes.npy" and its like are of part 0 of what is being uploaded to the
 * batch 9, whose segments will be collection 7's (early.h).
 *
 * Written with pwrite, so that a full or failing disk is an error code; read by scans through mappings.
 */
#ifndef VECFS_STORE_VIEW_CODE_FILE_H
#define VECFS_STORE_VIEW_CODE_FILE_H

#include "store/view/model.h"

struct block_tag {
	uint64_t tag;
	uint64_t valid; /* rows that can be found (quant/codec.h) */
};
static_assert(sizeof(struct block_tag) == 16, "block_tag");

/* Blocks in memory as the files have them. */
struct code_blocks {
	uint8_t *column[CODES_COLUMNS]; /* NULL: the codec has no such */
};

struct code_files {
	struct codes *k;
	const struct view_model *m;
	struct io *io;
	int fd[CODES_COLUMNS], tags;
};

void code_stem(char stem[CODES_PATH_MAX], uint32_t collection, uint32_t segment, const char *view,
	       uint32_t epoch);
void code_stem_early(char stem[CODES_PATH_MAX], uint32_t collection, uint32_t batch, uint32_t part,
		     const char *view, uint32_t epoch);

/* What a file of a collection's directory is to a view. */
enum code_file_kind { CODE_FILE_OTHER, CODE_FILE_MODEL, CODE_FILE_CODES, CODE_FILE_EARLY };
struct code_file_name {
	enum code_file_kind kind; /* OTHER: none of theirs, and nothing else is told */
	uint32_t segment;         /* of codes; of early ones the part */
	uint32_t batch;           /* of early ones */
	uint32_t epoch;
	char view[VS_VIEW_NAME_MAX + 1];
};
void code_file_parse(const char *file, struct code_file_name *out);

/* Opens them, and makes them if create says so; else -ENOENT if there are none. */
int code_files_open(struct code_files *f, struct codes *k, const struct view_model *m, bool create);
void code_files_close(struct code_files *f);
/* How many whole blocks all of the files have. */
int code_files_blocks(struct code_files *f, uint32_t *blocks);
/* Makes space for so many blocks, and for some more if there is room for it. -ENOSPC. */
int code_files_extend(struct code_files *f, uint32_t blocks);
/* Reads or writes count blocks from block on. */
int code_files_read(struct code_files *f, uint32_t block, uint32_t count, const struct code_blocks *out);
int code_files_write(struct code_files *f, uint32_t block, uint32_t count, const struct code_blocks *in);
int code_files_read_tags(struct code_files *f, uint32_t block, uint32_t count, struct block_tag *out);
int code_files_write_tag(struct code_files *f, uint32_t block, const struct block_tag *tag);
/* Brings the .npy headers to so many rows, if they tell something else. */
int code_files_show(struct code_files *f, uint32_t rows);
/* Makes what was written durable. */
int code_files_sync(struct code_files *f);

bool code_blocks_alloc(struct code_blocks *b, const struct view_model *m, size_t blocks);
void code_blocks_free(struct code_blocks *b);
/* Makes the first block all zeros. */
void code_blocks_clear(struct code_blocks *b, const struct view_model *m);
/* The columns of blocks, as a codec takes them. */
struct codec_columns code_blocks_columns(const struct code_blocks *b, uint64_t *valid);
/* The tag of one block; sums: of its rows, 0 where there is none. */
uint64_t code_block_tag(const struct view_model *m, const struct code_blocks *b, uint64_t valid,
			const uint32_t sums[CODES_BLOCK_ROWS]);
/* Whether a block is what was written: its low half. */
static inline bool code_tag_is_intact(uint64_t tag, uint64_t found)
{
	return (uint32_t)tag == (uint32_t)found;
}
/* The tag of a block that has not all of its rows: its low half, so that it can be told whether it is intact.
 */
static inline uint64_t code_tag_of_part(uint64_t tag)
{
	return (uint32_t)tag;
}

#endif
