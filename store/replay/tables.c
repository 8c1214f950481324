/* SPDX-License-Identifier: Apache-2.0 */
#include "store/replay/tables.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/catalog/catalog.h"
#include "store/catalog/catalog_v1.h"
#include "store/clone/clone.h"
#include "store/engine.h"
#include "store/replay/apply.h"
#include "store/replay/convert_v1.h"

/* So many segments may have been made ready, and never have had a row, before the next that has. */
#define UNUSED_MAX 1024u

static bool may_come_next(const struct collection *c, uint32_t n)
{
	return n <= c->segment_count || n - c->segment_count <= UNUSED_MAX;
}

/* A segment that only the log knows yet: its files may not even exist. Those before it that the log does not
 * know were never used. */
static int placeholders_add(struct vs_store *s, struct collection *c, uint32_t n)
{
	while (c->segment_count <= n) {
		struct segment *seg = segment_placeholder(c->segment_count, 0, 0);

		if (!seg || collection_reserve_segments(c, 1)) {
			segment_put(s->io, seg);
			return -ENOMEM;
		}
		collection_add_segment(&s->table, c, seg);
	}
	return 0;
}

/* Checksums do not stop a forged log: every field is validated. */
static bool segment_fits(const struct collection *c, uint64_t count, uint64_t name_heap_end)
{
	uint64_t rows_max = 1ull << c->shift;

	return count <= rows_max && name_heap_end <= rows_max * NAMES_CLASSES;
}

/* A number of a clone's segment is taken again: its links were made long ago, and must not be once more. */
static void surely_linked(struct collection *c, struct segment *seg)
{
	if (seg->cloned && !seg->count && !c->frozen)
		c->unlinked = 0;
}

static int replay_row(struct replay *rp, const struct record_row *r)
{
	struct vs_store *s = rp->s;
	struct collection *c = collection_get(&s->table, r->head.collection);
	uint32_t slot, granules = names_granules(r->row.name_len), end;
	struct segment *seg;
	size_t bytes = sizeof *r + granules * NAME_GRANULE;
	int rc = 0;

	if (!c || !c->schema_fixed)
		return -EUCLEAN;
	if (r->head.flags & RECORD_HAS_DATA)
		bytes += c->row_bytes;
	if (r->head.bytes < bytes || r->head.row == ROW_NONE || !may_come_next(c, r->head.row >> c->shift) ||
	    !segment_fits(c, 0, r->row.name_at + (uint64_t)granules))
		return -EUCLEAN;
	end = r->row.name_at + granules;
	rc = placeholders_add(s, c, r->head.row >> c->shift);
	if (rc)
		return rc;
	seg = collection_segment(c, r->head.row);
	slot = collection_slot(c, r->head.row);
	surely_linked(c, seg);
	if ((slot >= seg->count && !(r->head.flags & RECORD_MOVED)) || r->head.flags & RECORD_RENAMED)
		c->mtime = c->ctime = rp->time;
	seg->logged = true;
	if (slot >= seg->count)
		seg->count = slot + 1;
	if (end > seg->names.end)
		name_heap_init(&seg->names, end);
	if (row_entry(&r->row) >= c->next_entry)
		c->next_entry = row_entry(&r->row) + 1;
	return 0;
}

static int replay_trim(struct replay *rp, const struct record *r)
{
	struct collection *c = collection_get(&rp->s->table, r->collection);
	struct segment *seg;

	if (!c || r->row >> c->shift >= c->segment_count || !segment_fits(c, r->value, 0))
		return -EUCLEAN;
	seg = collection_segment(c, r->row);
	seg->logged = true;
	seg->count = (uint32_t)r->value;
	if (!seg->count)
		name_heap_init(&seg->names, 0);
	if (!(r->flags & RECORD_MOVED))
		c->mtime = c->ctime = rp->time;
	return 0;
}

/* Whether c, or a new collection if it is NULL, can be what a record says: ids only rise, rows keep their
 * size. */
static bool collection_can_become(const struct vs_store *s, const struct collection *c,
				  const struct catalog_collection *in, const char *name)
{
	struct vs_schema schema = {.dim = in->dim, .dtype = in->dtype, .metric = in->metric};
	const struct collection *namesake = c && c->frozen
						    ? collection_find_frozen(&s->table, in->parent, name)
						    : collection_find(&s->table, in->parent, name);

	if (!c)
		return !namesake && in->id >= s->next_collection;
	if (c->parent != in->parent || (namesake && namesake != c))
		return false;
	return !c->segment_count ||
	       (in->schema_flags & SCHEMA_FIXED && c->row_bytes == vs_row_bytes(&schema));
}

static int replay_collection(struct replay *rp, const struct record_collection *r)
{
	const struct catalog_collection *in = &r->body;
	struct vs_store *s = rp->s;
	struct collection *c = collection_get(&s->table, in->id);
	char name[VS_NAME_MAX + 1] = {0};
	int rc = 0;

	if (r->head.bytes < sizeof *r + in->name_len || !catalog_plausible(s, in, (const char *)(r + 1)))
		return -EUCLEAN;
	memcpy(name, r + 1, in->name_len);
	if (!collection_can_become(s, c, in, name))
		return -EUCLEAN;
	if (!c) {
		struct collection *up = collection_get(&s->table, in->parent);

		c = collection_new(in->id, in->parent, name, s->hash_seed);
		rc = c ? collection_add(&s->table, c) : -ENOMEM;
		if (rc) {
			free(c);
			return rc;
		}
		if (up)
			up->children++;
		s->next_collection = in->id + 1;
	} else if (strcmp(c->name, name)) {
		rc = collection_rename(&s->table, c, name);
	}
	catalog_schema(in, c);
	c->perm = in->perm;
	c->mtime = in->mtime < VS_TIME_END ? in->mtime : VS_TIME_END - 1;
	c->ctime = in->ctime < VS_TIME_END ? in->ctime : VS_TIME_END - 1;
	return rc;
}

/* Whether a collection can be made of another as a record says. */
static bool clone_is_plausible(const struct vs_store *s, const struct record_clone *r,
			       const struct collection *from, const char *name)
{
	bool frozen = r->head.flags & RECORD_FROZEN;
	const struct collection *namesake = frozen ? collection_find_frozen(&s->table, r->body.parent, name)
						   : collection_find(&s->table, r->body.parent, name);

	if (!from || namesake || r->body.id < s->next_collection || r->head.collection != r->body.id)
		return false;
	return frozen ? r->body.parent == from->id && !from->parent : !r->body.parent && from->frozen;
}

static int replay_clone(struct replay *rp, const struct record_clone *r)
{
	const struct catalog_collection *in = &r->body;
	struct vs_store *s = rp->s;
	struct collection *from = collection_get(&s->table, r->head.row), *c;
	char name[VS_NAME_MAX + 1] = {0};
	int rc;

	if (r->head.bytes < sizeof *r + in->name_len || !catalog_plausible(s, in, (const char *)(r + 1)))
		return -EUCLEAN;
	memcpy(name, r + 1, in->name_len);
	if (!clone_is_plausible(s, r, from, name))
		return -EUCLEAN;
	c = collection_new(in->id, in->parent, name, s->hash_seed);
	rc = c ? clone_placeholders(s, from, c) : -ENOMEM;
	if (!rc)
		rc = r->head.flags & RECORD_FROZEN ? clone_set_frozen(s, c, &r->sums) : 0;
	if (!rc)
		rc = clone_set_shares(s, c);
	if (!rc)
		rc = clone_set_shares(s, from);
	if (!rc)
		rc = collection_add(&s->table, c);
	if (rc) {
		if (c)
			collection_free(s->io, c);
		return rc;
	}
	if (c->frozen)
		from->children++;
	/* The index of a store that is only read is built at once, as that of any clone is. */
	c->lazy = c->frozen && !s->read_only;
	c->count = c->lazy ? r->sums.count : 0;
	c->name_bytes = c->lazy ? r->sums.name_bytes : 0;
	c->line_bytes = c->lazy ? r->sums.line_bytes : 0;
	c->perm = in->perm;
	c->mtime = in->mtime < VS_TIME_END ? in->mtime : VS_TIME_END - 1;
	c->ctime = in->ctime < VS_TIME_END ? in->ctime : VS_TIME_END - 1;
	s->next_collection = in->id + 1;
	return 0;
}

static int replay_drop(struct replay *rp, const struct record *r)
{
	struct collection *c = collection_get(&rp->s->table, r->collection), *up;

	if (!c || c->children)
		return -EUCLEAN;
	up = collection_get(&rp->s->table, c->parent);
	if (up)
		up->children--;
	collection_take(&rp->s->table, c);
	collection_free(rp->s->io, c); /* no file is open yet; the directory goes with the other orphans */
	return 0;
}

static int replay_attach(struct replay *rp, const struct record_attach *r)
{
	struct collection *c = collection_get(&rp->s->table, r->head.collection);
	struct record_attach *p;
	int rc;

	if (!c || !c->schema_fixed || !may_come_next(c, r->segment) ||
	    !segment_fits(c, r->count, r->name_heap_end) ||
	    (uint64_t)(r->segment + 1ull) << c->shift > ROW_NONE || r->next_entry < c->next_entry ||
	    r->next_entry > 1ull << VS_ENTRY_BITS ||
	    (r->segment < c->segment_count && c->segments[r->segment]->count))
		return -EUCLEAN;
	p = realloc(rp->attached, (rp->attached_count + 1) * sizeof *p);
	if (!p)
		return -ENOMEM;
	rp->attached = p;
	p[rp->attached_count++] = *r;
	rc = placeholders_add(rp->s, c, r->segment);
	if (rc)
		return rc;
	surely_linked(c, c->segments[r->segment]);
	c->segments[r->segment]->adopts++;
	c->segments[r->segment]->logged = true;
	c->segments[r->segment]->count = r->count;
	name_heap_init(&c->segments[r->segment]->names, r->name_heap_end);
	c->next_entry = r->next_entry;
	c->mtime = c->ctime = rp->time;
	return 0;
}

static int replay_deleted(struct replay *rp, const struct record *r)
{
	struct collection *c = collection_get(&rp->s->table, r->collection);

	if (!c || r->row >> c->shift >= c->segment_count ||
	    !segment_fits(c, (r->bytes - sizeof *r) * 8ull, 0))
		return -EUCLEAN;
	if (r->flags & RECORD_REMOVED)
		c->mtime = c->ctime = rp->time;
	return 0;
}

static int replay_attribute(struct replay *rp, const struct record *r)
{
	struct vs_store *s = rp->s;
	struct collection *c = collection_get(&s->table, r->collection);

	if (!c || r->value > VS_ATTRIBUTE_BYTES_MAX || r->value > r->bytes - sizeof *r)
		return -EUCLEAN;
	if (!attribute_is_known(r->row)) {
		catalog_refuse_attribute(c->name, r->row, rp->why, rp->why_size);
		return -EPROTO;
	}
	return collection_set_attribute(&s->table, c, r->row, r + 1, (uint32_t)r->value);
}

static int replay_root(struct replay *rp, const struct record_root *r)
{
	struct catalog_root *root = &rp->s->root;

	if (r->root.perm != PERM_NONE && r->root.perm >= rp->s->perm_count)
		return -EUCLEAN;
	*root = r->root;
	root->mtime = root->mtime < VS_TIME_END ? root->mtime : VS_TIME_END - 1;
	root->ctime = root->ctime < VS_TIME_END ? root->ctime : VS_TIME_END - 1;
	return 0;
}

static int replay_record(struct replay *rp, const struct record *r)
{
	static const size_t bytes_min[] = {
		[RECORD_ROW] = sizeof(struct record_row),
		[RECORD_TRIM] = sizeof(struct record),
		[RECORD_COLLECTION] = sizeof(struct record_collection),
		[RECORD_DROP] = sizeof(struct record),
		[RECORD_PERM] = sizeof(struct record_perm),
		[RECORD_ATTACH] = sizeof(struct record_attach),
		[RECORD_DELETE_ROWS] = sizeof(struct record),
		[RECORD_ATTRIBUTE] = sizeof(struct record),
		[RECORD_ROOT] = sizeof(struct record_root),
		[RECORD_CLONE] = sizeof(struct record_clone),
	};

	if (r->type >= RECORD_TYPES) {
		snprintf(rp->why, rp->why_size,
			 "the log has a record (type %u) that this program does not know: a newer "
			 "vecfs wrote it",
			 r->type);
		return -EPROTO;
	}
	if (r->bytes < bytes_min[r->type])
		return -EUCLEAN;
	switch (r->type) {
	case RECORD_ROW:
		return replay_row(rp, (const struct record_row *)(const void *)r);
	case RECORD_TRIM:
		return replay_trim(rp, r);
	case RECORD_COLLECTION:
		return replay_collection(rp, (const struct record_collection *)(const void *)r);
	case RECORD_DROP:
		return replay_drop(rp, r);
	case RECORD_PERM:
		return engine_perm_add(rp->s, r->row, &((const struct record_perm *)(const void *)r)->perm);
	case RECORD_ATTACH:
		return replay_attach(rp, (const struct record_attach *)(const void *)r);
	case RECORD_DELETE_ROWS:
		return replay_deleted(rp, r);
	case RECORD_ATTRIBUTE:
		return replay_attribute(rp, r);
	case RECORD_ROOT:
		return replay_root(rp, (const struct record_root *)(const void *)r);
	case RECORD_CLONE:
		return replay_clone(rp, (const struct record_clone *)(const void *)r);
	default:
		return -EUCLEAN;
	}
}

static int replay_records(struct replay *rp, const void *payload, size_t size)
{
	const char *p = payload, *end = p + size;
	int rc = 0;

	while (p < end && !rc) {
		const struct record *r = (const struct record *)(const void *)p;

		if ((size_t)(end - p) < sizeof *r || r->bytes < sizeof *r || r->bytes % 8 ||
		    r->bytes > (size_t)(end - p))
			return -EUCLEAN;
		rc = replay_record(rp, r);
		rp->s->counters.replayed_records++;
		p += r->bytes;
	}
	return rc;
}

static int replay_frame(void *arg, const struct frame *frame, const void *payload)
{
	struct replay *rp = arg;
	void *records;
	size_t size;
	int rc;

	rp->time = frame->time < VS_TIME_END ? frame->time : VS_TIME_END - 1;
	if (rp->s->version == FORMAT_VERSION)
		return replay_records(rp, payload, frame->payload_bytes);
	rp->time = convert_time(frame->time);
	rc = convert_records(payload, frame->payload_bytes, &records, &size);
	if (rc)
		return rc;
	rc = replay_records(rp, records, size);
	free(records);
	return rc;
}

/* Moves attached files to where they belong. Of several batches' under one number only the last one's. */
static int carry_out_adoptions(struct replay *rp)
{
	int rc = 0;

	for (size_t i = 0; i < rp->attached_count && !rc; i++) {
		const struct record_attach *r = &rp->attached[i];
		struct collection *c = collection_get(&rp->s->table, r->head.collection);

		/* The placeholder counts those that have passed. */
		if (c && ++c->segments[r->segment]->batch_n == c->segments[r->segment]->adopts)
			rc = apply_adoption(rp->s, r);
	}
	return rc;
}

/*
 * The first pass: what the log says is in the tables, and each file has the name it is to have. A store that
 * is only read keeps its names: attached then gets those that it should have had, to be freed.
 */
int tables_replay(struct vs_store *s, struct log_position *at, struct replay *attached, char *why,
		  size_t why_size)
{
	struct replay rp = {.s = s, .why = why, .why_size = why_size};
	int rc = log_scan(s->io, at, true, replay_frame, &rp, why, why_size);

	if (rc == -EUCLEAN && !*why)
		snprintf(why, why_size, "the log does not fit the catalog");
	if (!rc)
		collection_table_pack(&s->table);
	if (!rc && !s->read_only)
		rc = carry_out_adoptions(&rp);
	if (attached)
		*attached = rp;
	else
		free(rp.attached);
	return rc;
}
