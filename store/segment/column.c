/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment/column.h"

#include <string.h>

#include "store/segment/name_heap.h"

const struct column_def column_defs[COLUMN_KINDS] = {
	[SEGMENT_VECTORS] = {.suffix = "npy",
			     .suffix_attach = "npy",
			     .contents = "the bytes",
			     .header_bytes = SEGMENT_HEADER_BYTES,
			     .units_a_slot_max = 1},
	[SEGMENT_ROWS] = {.suffix = "rows",
			  .suffix_attach = "adopt",
			  .contents = "the metadata",
			  .unit_bytes = sizeof(struct row),
			  .record_at = offsetof(struct record_row, row),
			  .units_a_slot_max = 1,
			  .is_mapped = true,
			  .is_digested = true},
	[SEGMENT_NAMES] = {.suffix = "names",
			   .suffix_attach = "names",
			   .contents = "the ids",
			   .unit_bytes = NAME_GRANULE,
			   .units_a_slot_max = NAMES_CLASSES,
			   .is_heap = true,
			   .is_mapped = true,
			   .is_digested = true},
	[COLUMN_BLOCKS] = {.suffix = "codes.npy", .header_bytes = SEGMENT_HEADER_BYTES, .is_derived = true},
	[COLUMN_CODE_ROWS] = {.suffix = "rows.npy", .header_bytes = SEGMENT_HEADER_BYTES, .is_derived = true},
	[COLUMN_FACTORS] = {.suffix = "factors.npy",
			    .header_bytes = SEGMENT_HEADER_BYTES,
			    .is_derived = true},
	[COLUMN_TAGS] = {.suffix = "tags", .unit_bytes = 2 * sizeof(uint64_t), .is_derived = true},
};

enum segment_column column_of_suffix(const char *suffix)
{
	enum segment_column i = 0;

	while (i < SEGMENT_COLUMNS && strcmp(suffix, column_defs[i].suffix))
		i++;
	return i;
}

bool column_is_handed_over(const char *suffix)
{
	enum segment_column i = 0;

	while (i < SEGMENT_COLUMNS && strcmp(suffix, column_defs[i].suffix_attach))
		i++;
	return i < SEGMENT_COLUMNS && column_of_suffix(suffix) == SEGMENT_COLUMNS;
}

struct column_piece column_piece(enum segment_column column, const struct record_row *r, size_t row_bytes)
{
	const struct column_def *def = &column_defs[column];
	const char *id = (const char *)(r + 1);
	size_t id_bytes = names_granules(r->row.name_len) * NAME_GRANULE;

	if (def->record_at)
		return (struct column_piece){(const char *)r + def->record_at, def->unit_bytes};
	if (def->is_heap)
		return (struct column_piece){id, r->head.flags & RECORD_SAME_ID ? 0 : id_bytes};
	return (struct column_piece){id + id_bytes, r->head.flags & RECORD_HAS_DATA ? row_bytes : 0};
}
