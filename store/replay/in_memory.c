/* SPDX-License-Identifier: Apache-2.0 */
#include "store/replay/in_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/engine.h"
#include "store/replay/load.h"
#include "store/replay/tables.h"

/* A frame's records, which the overlay of a store that is only read points into. */
struct replayed {
	struct replayed *next;
	uint64_t records[];
};

static int keep_row(struct collection *c, uint32_t row, const struct record_row *r)
{
	int rc = overlay_reserve(&c->overlay, 1);

	if (!rc)
		overlay_set(&c->overlay, row, r);
	return rc;
}

static int keep_dead(struct collection *c, const struct record *r)
{
	static const struct record_row dead;
	const uint64_t *bits = (const uint64_t *)(r + 1);
	const uint32_t *list = (const uint32_t *)(r + 1);
	size_t bytes = r->bytes - sizeof *r;
	bool is_list = r->flags & RECORD_LIST;
	int rc = 0;

	for (uint64_t i = 0; i < (is_list ? bytes / 4 : bytes * 8) && !rc; i++) {
		uint64_t slot = is_list ? list[i] : i;
		bool dies = is_list ? i < r->value : bits[i / 64] >> (i % 64) & 1;

		if (dies && slot >> c->shift == 0)
			rc = keep_row(c, (r->row >> c->shift << c->shift) | (uint32_t)slot, &dead);
	}
	return rc;
}

/* A batch's files have come under the number of a segment: what its rows were is of no account any more. */
static void forget_rows(struct collection *c, uint32_t segment)
{
	overlay_drop_rows(&c->overlay, segment << c->shift, 1u << c->shift);
}

/* A clone has what its source has at this moment. */
static int keep_clone(struct vs_store *s, struct collection *c, uint32_t source)
{
	const struct collection *from = collection_get(&s->table, source);
	int rc = 0;

	for (size_t i = 0; from && i < from->overlay.capacity && !rc; i++) {
		const struct overlay_item *item = &from->overlay.items[i];

		if (!item->meta)
			continue;
		rc = overlay_reserve(&c->overlay, 1);
		if (rc)
			break;
		if (item->data)
			overlay_set(&c->overlay, item->row, item->data);
		if (item->data != item->meta)
			overlay_set(&c->overlay, item->row, item->meta);
	}
	return rc;
}

static int keep_frame(void *arg, const struct frame *frame, const void *payload)
{
	struct vs_store *s = arg;
	struct replayed *kept = malloc(sizeof *kept + frame->payload_bytes);
	const char *p, *end;
	int rc = 0;

	if (!kept)
		return -ENOMEM;
	kept->next = s->replayed;
	s->replayed = kept;
	memcpy(kept->records, payload, frame->payload_bytes);
	p = (const char *)kept->records;
	for (end = p + frame->payload_bytes; p < end && !rc;
	     p += ((const struct record *)(const void *)p)->bytes) {
		const struct record *r = (const struct record *)(const void *)p;
		struct collection *c = collection_get(&s->table, r->collection);

		if (c && r->type == RECORD_ROW)
			rc = keep_row(c, r->row, (const struct record_row *)(const void *)r);
		else if (c && r->type == RECORD_DELETE_ROWS)
			rc = keep_dead(c, r);
		else if (c && r->type == RECORD_CLONE)
			rc = keep_clone(s, c, r->row);
		else if (c && r->type == RECORD_ATTACH)
			forget_rows(c, ((const struct record_attach *)(const void *)r)->segment);
	}
	return rc;
}

void in_memory_free(struct vs_store *s)
{
	while (s->replayed) {
		struct replayed *kept = s->replayed;

		s->replayed = kept->next;
		free(kept);
	}
}

/*
 * Opens a segment's files where they are: at their place, or, of the last that were attached under its
 * number, still with the batch that has handed them over. One that only the log has consists of rows in the
 * overlay.
 */
static int open_where_it_is(struct vs_store *s, const struct replay *rp, struct collection *c, uint32_t i,
			    struct segment **out)
{
	const struct record_attach *last = NULL;
	int rc;

	for (size_t k = 0; k < rp->attached_count; k++)
		if (rp->attached[k].head.collection == (c->unlinked ? c->unlinked : c->id) &&
		    rp->attached[k].segment == i)
			last = &rp->attached[k];
	if (c->unlinked) {
		rc = segment_open_linking(&s->files, c->id, i, c->unlinked, last, &c->schema, out);
	} else if (last)
		rc = segment_open_moving(&s->files, c->id, i, last->head.row, (uint32_t)last->head.value,
					 last->head.flags & RECORD_UPLOADED, &c->schema, out);
	else
		rc = segment_open(&s->files, c->id, i, &c->schema, 0, 0, out);
	return rc == -ENOENT ? segment_unbacked(i, &c->schema, out) : rc;
}

/* How many whole units there are of a column. */
static int column_units(struct segment *seg, enum segment_column column, uint64_t *units)
{
	uint64_t size = 0, header = column_defs[column].header_bytes;
	int fd = segment_file(seg, column), rc;

	if (fd < 0)
		return fd;
	rc = seg->files->io->ops->size(seg->files->io, fd, &size);
	segment_file_done(seg, column);
	*units = size > header ? (size - header) / column_unit_bytes(column, seg->row_bytes) : 0;
	return rc;
}

/* Every row that the log does not have must be in the files: there is nothing behind the end of a mapping. */
static int verify_backing(const struct collection *c, struct segment *seg)
{
	uint64_t units[SEGMENT_COLUMNS] = {0}, rows = UINT64_MAX;

	for (enum segment_column i = 0; i < SEGMENT_COLUMNS && segment_has_files(seg); i++) {
		int rc = column_units(seg, i, &units[i]);

		if (rc < 0)
			return rc;
	}
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++)
		if (!column_defs[i].is_heap && units[i] < rows)
			rows = units[i];
	if (seg->names.end > units[SEGMENT_NAMES])
		name_heap_init(&seg->names, (uint32_t)units[SEGMENT_NAMES]);
	for (uint32_t slot = 0; slot < seg->count; slot++) {
		const struct overlay_item *item = overlay_find(&c->overlay, seg->n << c->shift | slot);
		bool readable = slot < units[SEGMENT_VECTORS];

		if (item ? !item->data && item->meta->row.name_len && !readable : slot >= rows)
			return -EUCLEAN;
	}
	return 0;
}

static int load_segment_replayed(struct vs_store *s, const struct replay *rp, struct collection *c,
				 uint32_t i)
{
	struct segment *old = c->segments[i], *seg;
	int rc = old->count ? open_where_it_is(s, rp, c, i, &seg) : segment_unbacked(i, &c->schema, &seg);

	if (rc)
		return rc;
	seg->count = seg->high = seg->applied = old->count;
	name_heap_init(&seg->names, old->names.end);
	segment_put(s->io, old);
	c->segments[i] = seg;
	/* Trimmed. */
	overlay_drop_rows(&c->overlay, i << c->shift | seg->count, seg->rows_max - seg->count);
	return verify_backing(c, seg);
}

static int load_replayed(struct vs_store *s, const struct replay *rp, struct collection *c)
{
	int rc = 0;

	if (c->lazy)
		return load_later(s, c);
	for (uint32_t i = 0; i < c->segment_count && !rc; i++)
		rc = load_segment_replayed(s, rp, c, i);
	c->unlinked = 0;
	if (!rc)
		rc = load_index(s, c);
	if (rc != -EUCLEAN && rc != -ENOENT)
		return rc;
	load_damaged(s, c, "segment files", rc);
	return 0;
}

/*
 * The log of a store that is only read. Its rows go into the overlay, where those of any log are until they
 * are applied, and stay there; so the files are served as they are.
 */
int in_memory_replay(struct vs_store *s, char *why, size_t why_size)
{
	struct log_position at = s->position, again = at;
	struct replay rp = {0};
	int rc = tables_replay(s, &at, &rp, why, why_size);

	if (!rc)
		rc = log_scan(s->io, &again, false, keep_frame, s, why, why_size);
	for (uint32_t i = 0; i < s->table.count && !rc; i++)
		rc = load_replayed(s, &rp, s->table.all[i]);
	free(rp.attached);
	return rc;
}
