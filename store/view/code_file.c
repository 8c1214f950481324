/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/code_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/scratch.h"
#include "store/array/npy.h"
#include "store/base/checksum.h"

/* Space is allocated for a 32nd more than is needed, and for so many bytes of a column at least. */
#define STEP_SHARE 32u
#define STEP_BYTES_MIN (64u << 10)

/* ------------------------------------------------------------------ names */

void code_stem(char stem[CODES_PATH_MAX], uint32_t collection, uint32_t segment, const char *view,
	       uint32_t epoch)
{
	snprintf(stem, CODES_PATH_MAX, "collections/%u/%u.%s.%u", collection, segment, view, epoch);
}

void code_stem_early(char stem[CODES_PATH_MAX], uint32_t collection, uint32_t batch, uint32_t part,
		     const char *view, uint32_t epoch)
{
	snprintf(stem, CODES_PATH_MAX, "collections/%u/early.%u.%u.%s.%u", collection, batch, part, view,
		 epoch);
}

/* A number as it is written, and the dot behind it. */
static bool parse_number(const char **p, uint32_t *out)
{
	uint64_t n = 0;
	const char *q = *p;

	if (*q < '0' || *q > '9' || (*q == '0' && q[1] != '.'))
		return false;
	for (; *q >= '0' && *q <= '9' && n <= UINT32_MAX; q++)
		n = n * 10 + (uint64_t)(*q - '0');
	*out = (uint32_t)n;
	*p = q + 1;
	return *q == '.' && n <= UINT32_MAX;
}

static bool parse_view(const char **p, char view[VS_VIEW_NAME_MAX + 1])
{
	struct codec_name codec;
	size_t len = strcspn(*p, ".");

	if (len > VS_VIEW_NAME_MAX || (*p)[len] != '.')
		return false;
	memcpy(view, *p, len);
	view[len] = 0;
	*p += len + 1;
	return !codec_parse(view, &codec);
}

static bool is_suffix(enum code_file_kind kind, const char *suffix)
{
	if (kind == CODE_FILE_MODEL)
		return !strcmp(suffix, "npy");
	for (enum segment_column i = COLUMN_BLOCKS; i < COLUMN_KINDS; i++)
		if (!strcmp(suffix, column_defs[i].suffix))
			return true;
	return false;
}

void code_file_parse(const char *file, struct code_file_name *out)
{
	const char *p = file;
	bool known = true;

	*out = (struct code_file_name){.kind = CODE_FILE_CODES};
	if (!strncmp(file, "view.", 5)) {
		out->kind = CODE_FILE_MODEL;
		p += 5;
	} else if (!strncmp(file, "early.", 6)) {
		out->kind = CODE_FILE_EARLY;
		p += 6;
		known = parse_number(&p, &out->batch);
	}
	if (out->kind != CODE_FILE_MODEL)
		known = known && parse_number(&p, &out->segment);
	if (!known || !parse_view(&p, out->view) || !parse_number(&p, &out->epoch) ||
	    !is_suffix(out->kind, p))
		out->kind = CODE_FILE_OTHER;
}

/* ------------------------------------------------------------------ opening */

int code_files_open(struct code_files *f, struct codes *k, const struct view_model *m, bool create)
{
	int flags = k->files->read_only ? O_RDONLY : create ? O_RDWR | O_CREAT : O_RDWR, rc = 0;

	*f = (struct code_files){.k = k, .m = m, .io = k->files->io, .fd = {-1, -1, -1}};
	f->tags = rc = codes_open(k, COLUMN_TAGS, flags);
	for (int i = 0; i < CODES_COLUMNS && rc >= 0; i++)
		if (k->block_bytes[i])
			f->fd[i] = rc = codes_open(k, (enum segment_column)(COLUMN_BLOCKS + i), flags);
	if (rc < 0)
		code_files_close(f);
	return rc < 0 ? rc : 0;
}

void code_files_close(struct code_files *f)
{
	for (int i = 0; i < CODES_COLUMNS; i++)
		if (f->fd[i] >= 0)
			f->io->ops->close(f->io, f->fd[i]);
	if (f->tags >= 0)
		f->io->ops->close(f->io, f->tags);
	f->tags = f->fd[0] = f->fd[1] = f->fd[2] = -1;
}

static uint64_t offset(int column, size_t block_bytes, uint32_t block)
{
	return column_defs[COLUMN_BLOCKS + column].header_bytes + block * (uint64_t)block_bytes;
}

int code_files_blocks(struct code_files *f, uint32_t *blocks)
{
	uint64_t size, least = f->k->blocks_max;
	int rc = f->io->ops->size(f->io, f->tags, &size);

	if (rc >= 0 && size / sizeof(struct block_tag) < least)
		least = size / sizeof(struct block_tag);
	for (int i = 0; i < CODES_COLUMNS && rc >= 0; i++) {
		uint64_t header = offset(i, 0, 0), whole;

		if (f->fd[i] < 0)
			continue;
		rc = f->io->ops->size(f->io, f->fd[i], &size);
		whole = rc < 0 || size < header ? 0 : (size - header) / f->k->block_bytes[i];
		least = whole < least ? whole : least;
	}
	*blocks = rc < 0 ? 0 : (uint32_t)least;
	return rc < 0 ? rc : 0;
}

/* ------------------------------------------------------------------ space */

static int extend_file(struct io *io, int fd, uint64_t from, uint64_t to)
{
	uint64_t size;
	int rc = io_allocate(io, fd, FALLOC_FL_KEEP_SIZE, from, to - from);

	if (rc >= 0)
		rc = io->ops->size(io, fd, &size);
	if (rc >= 0 && size < to)
		rc = io->ops->truncate(io, fd, to);
	return rc < 0 ? rc : 0;
}

/* Tags behind the last whole block, which a crash may have left, are nobody's: they go first. */
static int drop_tags(struct code_files *f, uint64_t from)
{
	uint64_t size;
	int rc = f->io->ops->size(f->io, f->tags, &size);

	if (rc >= 0 && size > from)
		rc = f->io->ops->truncate(f->io, f->tags, from);
	return rc < 0 ? rc : 0;
}

static int extend(struct code_files *f, uint32_t blocks)
{
	uint32_t have = f->k->blocks;
	int rc = drop_tags(f, have * sizeof(struct block_tag));

	if (!rc)
		rc = extend_file(f->io, f->tags, have * sizeof(struct block_tag),
				 blocks * sizeof(struct block_tag));

	for (int i = 0; i < CODES_COLUMNS && !rc; i++)
		if (f->fd[i] >= 0)
			rc = extend_file(f->io, f->fd[i], have ? offset(i, f->k->block_bytes[i], have) : 0,
					 offset(i, f->k->block_bytes[i], blocks));
	if (!rc)
		f->k->blocks = blocks;
	return rc;
}

int code_files_extend(struct code_files *f, uint32_t blocks)
{
	uint32_t have = f->k->blocks, step = have / STEP_SHARE, more;
	size_t widest = sizeof(struct block_tag);
	int rc;

	if (blocks <= have)
		return 0;
	for (int i = 0; i < CODES_COLUMNS; i++)
		widest = f->k->block_bytes[i] > widest ? f->k->block_bytes[i] : widest;
	if (have && step < STEP_BYTES_MIN / widest)
		step = (uint32_t)(STEP_BYTES_MIN / widest);
	more = have + step < blocks ? blocks : have + step;
	more = more > f->k->blocks_max ? f->k->blocks_max : more;
	rc = extend(f, more);
	return rc == -ENOSPC && more > blocks ? extend(f, blocks) : rc;
}

/* ------------------------------------------------------------------ blocks */

int code_files_read(struct code_files *f, uint32_t block, uint32_t count, const struct code_blocks *out)
{
	int rc = 0;

	for (int i = 0; i < CODES_COLUMNS && !rc; i++)
		if (f->fd[i] >= 0)
			rc = io_read_full(f->io, f->fd[i], out->column[i], count * f->k->block_bytes[i],
					  offset(i, f->k->block_bytes[i], block));
	return rc;
}

int code_files_write(struct code_files *f, uint32_t block, uint32_t count, const struct code_blocks *in)
{
	int rc = 0;

	for (int i = 0; i < CODES_COLUMNS && !rc; i++)
		if (f->fd[i] >= 0)
			rc = io_write_full(f->io, f->fd[i], in->column[i], count * f->k->block_bytes[i],
					   offset(i, f->k->block_bytes[i], block));
	return rc;
}

int code_files_read_tags(struct code_files *f, uint32_t block, uint32_t count, struct block_tag *out)
{
	return io_read_full(f->io, f->tags, out, count * sizeof *out, block * sizeof *out);
}

int code_files_write_tag(struct code_files *f, uint32_t block, const struct block_tag *tag)
{
	return io_write_full(f->io, f->tags, tag, sizeof *tag, block * sizeof *tag);
}

/* ------------------------------------------------------------------ headers */

static struct npy_shape shape_of(const struct view_model *m, int column, uint32_t rows)
{
	const struct codec_plan *plan = &m->codec.plan;
	uint32_t blocks = (rows + CODES_BLOCK_ROWS - 1) / CODES_BLOCK_ROWS;

	if (column == 0)
		return (struct npy_shape){.dtype = VS_U8,
					  .rows = blocks,
					  .dim = (uint32_t)plan->block_bytes,
					  .inner = CODES_BLOCK_ROWS};
	if (column == 2)
		return (struct npy_shape){
			.dtype = VS_F32, .rows = blocks, .dim = plan->factors, .inner = CODES_BLOCK_ROWS};
	if (plan->name.kind == CODEC_F16 || plan->name.kind == CODEC_BF16)
		return (struct npy_shape){.dtype = plan->name.kind == CODEC_F16 ? VS_F16 : VS_BF16,
					  .rows = rows,
					  .dim = plan->dim};
	return (struct npy_shape){.dtype = VS_U8, .rows = rows, .dim = (uint32_t)plan->row_bytes};
}

int code_files_show(struct code_files *f, uint32_t rows)
{
	unsigned char want[NPY_HEADER_BYTES], got[NPY_HEADER_BYTES];
	int rc = 0;

	static_assert(NPY_HEADER_BYTES == SEGMENT_HEADER_BYTES, "codes begin with one of our .npy headers");
	for (int i = 0; i < CODES_COLUMNS && !rc; i++) {
		struct npy_shape shape;

		if (f->fd[i] < 0)
			continue;
		shape = shape_of(f->m, i, rows);
		npy_header_build(&shape, want, sizeof want);
		if (io_read_full(f->io, f->fd[i], got, sizeof got, 0) || memcmp(got, want, sizeof want))
			rc = io_write_full(f->io, f->fd[i], want, sizeof want, 0);
	}
	f->k->shown = rc ? UINT32_MAX : rows;
	return rc;
}

int code_files_sync(struct code_files *f)
{
	int rc = f->io->ops->datasync(f->io, f->tags);

	for (int i = 0; i < CODES_COLUMNS && rc >= 0; i++)
		if (f->fd[i] >= 0)
			rc = f->io->ops->datasync(f->io, f->fd[i]);
	return rc < 0 ? rc : 0;
}

/* ------------------------------------------------------------------ blocks in memory */

bool code_blocks_alloc(struct code_blocks *b, const struct view_model *m, size_t blocks)
{
	bool all = true;

	*b = (struct code_blocks){{NULL}};
	for (int i = 0; i < CODES_COLUMNS; i++)
		if (m->block_bytes[i]) {
			b->column[i] = scratch_alloc(blocks * m->block_bytes[i]);
			all = all && b->column[i];
		}
	if (!all)
		code_blocks_free(b);
	return all;
}

void code_blocks_free(struct code_blocks *b)
{
	for (int i = 0; i < CODES_COLUMNS; i++)
		scratch_free(b->column[i]);
	*b = (struct code_blocks){{NULL}};
}

void code_blocks_clear(struct code_blocks *b, const struct view_model *m)
{
	for (int i = 0; i < CODES_COLUMNS; i++)
		if (b->column[i])
			memset(b->column[i], 0, m->block_bytes[i]);
}

struct codec_columns code_blocks_columns(const struct code_blocks *b, uint64_t *valid)
{
	return (struct codec_columns){.blocks = b->column[0],
				      .rows = b->column[1],
				      .factors = (float *)(void *)b->column[2],
				      .valid = valid};
}

uint64_t code_block_tag(const struct view_model *m, const struct code_blocks *b, uint64_t valid,
			const uint32_t sums[CODES_BLOCK_ROWS])
{
	uint64_t codes = XXH3_64bits_withSeed(&valid, sizeof valid, m->number);
	uint64_t rows = XXH3_64bits_withSeed(sums, CODES_BLOCK_ROWS * sizeof *sums, m->number);
	uint64_t tag;

	for (int i = 0; i < CODES_COLUMNS; i++)
		if (m->block_bytes[i])
			codes = XXH3_64bits_withSeed(b->column[i], m->block_bytes[i], codes);
	tag = (uint64_t)(uint32_t)rows << 32 | (uint32_t)codes;
	return tag ? tag : 1;
}
