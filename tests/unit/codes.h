/* SPDX-License-Identifier: Apache-2.0 */
/* codes - what a view's codes must be: those that its codec makes of the vectors of a snapshot, all at once.
 */
#ifndef VECFS_TESTS_UNIT_CODES_H
#define VECFS_TESTS_UNIT_CODES_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "quant/block.h"
#include "quant/convert.h"
#include "store/view/view.h"

static inline void *codes_zeros(size_t bytes)
{
	size_t whole = (bytes + 64) / 64 * 64;
	void *p = aligned_alloc(64, whole);

	assert(p);
	memset(p, 0, whole);
	return p;
}

/* The code of row i of columns as vs_view_codes shows it. */
static inline void codes_show(const struct codec_plan *plan, const struct codec_columns *c, size_t i,
			      char *out)
{
	for (size_t p = 0; p < plan->block_bytes; p++)
		*out++ = (char)c->blocks[block_offset(i, plan->block_bytes) + p * BLOCK_ROWS];
	memcpy(out, c->rows + i * plan->row_bytes, plan->row_bytes);
	out += plan->row_bytes;
	for (unsigned p = 0; p < plan->factors; p++, out += sizeof(float))
		memcpy(out, &c->factors[block_factor_offset(i, plan->factors) + p * BLOCK_ROWS],
		       sizeof(float));
}

/* All rows' codes, row-major; NULL: the vectors cannot be read. The caller frees it. */
static inline char *codes_of_vectors(struct vs_snapshot *m, const struct codec *codec, size_t code_bytes)
{
	const struct codec_plan *plan = &codec->plan;
	struct vs_snapshot_info info;
	struct codec_columns c;
	void *scratch = codes_zeros(codec_scratch_bytes(codec));
	size_t blocks, bytes;
	char *raw, *out;
	float *x;

	vs_snapshot_info(m, &info);
	blocks = block_count(info.rows) + 1;
	bytes = info.rows * info.row_bytes;
	raw = codes_zeros(bytes);
	out = codes_zeros(info.rows * code_bytes);
	x = codes_zeros(info.rows * plan->dim * sizeof *x);
	c = (struct codec_columns){.blocks = codes_zeros(blocks * BLOCK_ROWS * plan->block_bytes),
				   .rows = codes_zeros(blocks * BLOCK_ROWS * plan->row_bytes),
				   .factors =
					   codes_zeros(blocks * BLOCK_ROWS * plan->factors * sizeof(float)),
				   .valid = codes_zeros(blocks * sizeof(uint64_t))};
	if (vs_snapshot_vectors(m, raw, bytes, 0) == (ssize_t)bytes) {
		for (size_t i = 0; i < info.rows; i++)
			convert_vector_to_f32(x + i * plan->dim, info.schema.dtype, raw + i * info.row_bytes,
					      plan->dim);
		codec_encode(codec, &c, 0, info.rows, x, scratch);
		for (size_t i = 0; i < info.rows; i++)
			codes_show(plan, &c, i, out + i * code_bytes);
	} else {
		free(out);
		out = NULL;
	}
	free(raw);
	free(x);
	free(scratch);
	free(c.blocks);
	free(c.rows);
	free(c.factors);
	free(c.valid);
	return out;
}

#endif
