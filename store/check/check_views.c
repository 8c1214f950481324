/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_views - models and codes of views, as wholes: what is not as it was written. A view is derived, so a
 * repair only removes that, and the next opening makes it anew; and what is missing, or of vectors that have
 * changed since, is no finding at all.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/check/check.h"
#include "store/view/code_file.h"
#include "store/view/views.h"

/* Counts the blocks of a segment that are not what was written. */
static int count_damaged(struct code_files *f, const struct segment *seg, const struct view_model *m,
			 uint32_t *damaged)
{
	static const uint32_t no_sums[CODES_BLOCK_ROWS]; /* the other half of the tag is not looked at */
	struct code_blocks blocks;
	struct block_tag tag;
	uint32_t end, in_use = (seg->count + CODES_BLOCK_ROWS - 1) / CODES_BLOCK_ROWS;
	int rc = code_files_blocks(f, &end);

	if (!rc && !code_blocks_alloc(&blocks, m, 1))
		rc = -ENOMEM;
	if (rc)
		return rc;
	for (uint32_t i = 0; i < end && i < in_use && !rc; i++) {
		rc = code_files_read_tags(f, i, 1, &tag);
		if (rc || !tag.tag)
			continue;
		rc = code_files_read(f, i, 1, &blocks);
		*damaged +=
			rc == -EIO ||
			(!rc && !code_tag_is_intact(tag.tag, code_block_tag(m, &blocks, tag.valid, no_sums)));
		rc = rc == -EIO ? 0 : rc;
	}
	code_blocks_free(&blocks);
	return rc;
}

static void remove_codes(struct check *k, const struct codes *codes)
{
	char path[CODES_PATH_MAX];

	for (enum segment_column i = COLUMN_BLOCKS; i < COLUMN_KINDS; i++) {
		codes_path(codes, i, path);
		k->io->ops->unlink(k->io, path);
	}
	check_say(k, "%s: codes removed; they are made anew", codes->stem);
}

static int check_segment_codes(struct check_collection *cc, uint32_t i, const struct view_definition *d,
			       const struct view_model *m, struct files *files)
{
	const struct segment *seg = cc->c->segments[i];
	struct codes codes = {.files = files};
	struct code_files f;
	uint32_t damaged = 0;
	int rc;

	if (!seg->count)
		return 0;
	codes.blocks_max = (seg->rows_max + CODES_BLOCK_ROWS - 1) / CODES_BLOCK_ROWS;
	memcpy(codes.block_bytes, m->block_bytes, sizeof codes.block_bytes);
	code_stem(codes.stem, cc->c->id, seg->n, d->name, d->epoch);
	rc = code_files_open(&f, &codes, m, false);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	rc = count_damaged(&f, seg, m, &damaged);
	code_files_close(&f);
	if (damaged)
		check_found(cc->k, "%s: %s: %u blocks of codes damaged (checksum)", cc->title, codes.stem,
			    damaged);
	if (damaged && cc->k->mend)
		remove_codes(cc->k, &codes);
	return rc;
}

static int check_view(struct check_collection *cc, const struct view_definition *d, struct files *files)
{
	struct codec_name codec;
	struct codec_plan plan;
	struct view_model *m;
	char path[CODES_PATH_MAX], why[200];
	int rc = codec_parse(d->name, &codec);

	if (!rc)
		rc = codec_plan(&codec, d->dim, d->metric, &plan, why, sizeof why);
	if (rc || !d->epoch)
		return 0; /* nothing is made of it yet */
	rc = view_model_load(cc->k->s, cc->c->id, d, &plan, cc->c->schema.dtype, &m);
	view_model_path(path, cc->c->id, d->name, d->epoch);
	if (rc == -EUCLEAN || rc == -EIO) {
		check_found(cc->k, "%s: %s: damaged (checksum)", cc->title, path);
		if (cc->k->mend) {
			cc->k->io->ops->unlink(cc->k->io, path);
			check_say(cc->k, "%s: removed; the view is trained anew", path);
		}
	}
	if (rc)
		return rc == -ENOMEM ? rc : 0;
	/* After a crash blocks may be torn, and are looked at by the next opening: nothing is wrong with
	 * that. */
	for (uint32_t i = 0; i < cc->c->segment_count && !rc && !d->unsettled; i++)
		rc = check_segment_codes(cc, i, d, m, files);
	view_model_put(m);
	return rc;
}

int check_views(struct check_collection *cc)
{
	uint32_t bytes;
	const char *text = attributes_find(&cc->c->attributes, VS_ATTRIBUTE_VIEWS, &bytes),
		   *end = text + bytes;
	struct view_definition d;
	struct files files;
	int rc = 0;

	if (!text)
		return 0;
	files_init(&files, cc->k->io, true, 0, 0);
	while (text < end && !rc && !definition_parse(&text, end, &d))
		rc = check_view(cc, &d, &files);
	files_free(&files);
	return rc;
}
