/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/borrowed_codes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/segment/segment.h"
#include "store/snapshot/borrowed.h"
#include "store/snapshot/snapshot.h"

#define META_ROWS 256u /* looked at at once */

/* The checksums of the vectors in a stretch's blocks, 0 where the snapshot has none. */
struct sums {
	struct vs_snapshot_info info;
	uint32_t segment_rows, base; /* place of the first row of the blocks */
	uint64_t first, max;
	uint32_t *sums, blocks;
};

/* Takes a row's; false: the blocks end before it. */
static bool take_sum(struct sums *x, uint64_t row, const struct vs_row_meta *meta,
		     struct borrowed_stretch *out)
{
	uint32_t at = meta->place - x->base;

	if (meta->place < x->base)
		return true;
	if (meta->place / x->segment_rows != out->segment || at >= x->blocks * CODES_BLOCK_ROWS)
		return false;
	x->sums[at] = meta->data_sum;
	/* Those that follow each other in the snapshot and in the segment. */
	if (row - x->first < x->max && at == out->lead + (row - x->first) && out->count == row - x->first)
		out->count++;
	return true;
}

/* Finds where the rows are. */
static int find_stretch(const struct vs_lender *lender, struct sums *x, struct borrowed_stretch *out)
{
	struct vs_row_meta metas[META_ROWS];
	uint64_t at, end, n;
	bool more = true;
	int rc = lender->meta(lender->arg, x->first, 1, metas);

	if (rc)
		return rc;
	*out = (struct borrowed_stretch){.segment = metas[0].place / x->segment_rows,
					 .block = metas[0].place % x->segment_rows / CODES_BLOCK_ROWS,
					 .lead = metas[0].place % CODES_BLOCK_ROWS};
	x->base = metas[0].place - out->lead;
	x->blocks = (uint32_t)((out->lead + x->max + CODES_BLOCK_ROWS - 1) / CODES_BLOCK_ROWS);
	x->sums = calloc(x->blocks, CODES_BLOCK_ROWS * sizeof *x->sums);
	if (!x->sums)
		return -ENOMEM;
	/* Rows around them are in these blocks, too. */
	at = x->first < out->lead ? 0 : x->first - out->lead;
	end = x->first + x->max + CODES_BLOCK_ROWS;
	for (end = end < x->info.rows ? end : x->info.rows; at < end && !rc && more; at += n) {
		n = end - at < META_ROWS ? end - at : META_ROWS;
		rc = lender->meta(lender->arg, at, n, metas);
		for (uint64_t i = 0; i < n && !rc && more; i++)
			more = take_sum(x, at + i, &metas[i], out);
	}
	return rc;
}

static struct borrowed_codes *new_codes(const struct view_model *model, uint32_t count)
{
	struct borrowed_codes *b = calloc(1, sizeof *b);

	if (!b)
		return NULL;
	b->count = count;
	b->valid = calloc(count, sizeof *b->valid);
	b->stale = calloc(count, sizeof *b->stale);
	if (b->valid && b->stale && code_blocks_alloc(&b->blocks, model, count))
		return b;
	borrowed_codes_free(b);
	return NULL;
}

void borrowed_codes_free(struct borrowed_codes *b)
{
	if (!b)
		return;
	code_blocks_free(&b->blocks);
	free(b->valid);
	free(b->stale);
	free(b);
}

static void verify(struct borrowed_codes *b, const struct view_model *model, const struct block_tag *tags,
		   const uint32_t *sums)
{
	for (uint32_t i = 0; i < b->count; i++) {
		struct code_blocks one = b->blocks;

		for (int c = 0; c < CODES_COLUMNS; c++)
			if (one.column[c])
				one.column[c] += i * model->block_bytes[c];
		b->valid[i] = tags[i].valid;
		if (code_block_tag(model, &one, tags[i].valid, sums + i * CODES_BLOCK_ROWS) != tags[i].tag)
			b->stale[i] = UINT64_MAX;
	}
}

static struct borrowed_codes *read_blocks(struct code_files *f, uint32_t block, uint32_t wanted,
					  const uint32_t *sums)
{
	uint32_t have, count;
	struct block_tag *tags;
	struct borrowed_codes *b;

	if (code_files_blocks(f, &have) || have <= block)
		return NULL;
	count = have - block < wanted ? have - block : wanted;
	tags = malloc(count * sizeof *tags);
	b = tags ? new_codes(f->m, count) : NULL;
	if (b &&
	    (code_files_read_tags(f, block, count, tags) || code_files_read(f, block, count, &b->blocks))) {
		borrowed_codes_free(b);
		b = NULL;
	}
	if (b)
		verify(b, f->m, tags, sums);
	free(tags);
	return b;
}

struct borrowed_codes *borrowed_codes_read(const struct vs_snapshot *m, const struct view_model *model,
					   uint32_t owner, const char *name, uint64_t first, uint64_t max,
					   struct borrowed_stretch *out)
{
	struct vs_store *s = snapshot_store(m);
	struct codes k = {.files = &s->files, .blocks_max = UINT32_MAX};
	struct sums x = {.first = first, .max = max};
	struct borrowed_codes *b = NULL;
	struct code_files f;

	vs_snapshot_info(m, &x.info);
	x.segment_rows = 1u << segment_shift(x.info.row_bytes);
	if (find_stretch(snapshot_lender(m), &x, out) || !out->count) {
		free(x.sums);
		*out = (struct borrowed_stretch){.count = (uint32_t)max};
		return NULL; /* whoever compares them exactly hears why */
	}
	code_stem(k.stem, owner, out->segment, name, model->epoch);
	memcpy(k.block_bytes, model->block_bytes, sizeof k.block_bytes);
	if (!code_files_open(&f, &k, model, false)) {
		b = read_blocks(&f, out->block,
				(out->lead + out->count + CODES_BLOCK_ROWS - 1) / CODES_BLOCK_ROWS, x.sums);
		code_files_close(&f);
	}
	/* What lies behind the blocks that there are is the next stretch's. */
	if (b && out->count > b->count * CODES_BLOCK_ROWS - out->lead)
		out->count = b->count * CODES_BLOCK_ROWS - out->lead;
	free(x.sums);
	return b;
}
