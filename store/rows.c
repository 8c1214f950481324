/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "moment.h"
#include "row_time.h"
#include "sum.h"

#define PERM_MAX 65535u
#define VACUUM_ROWS 2u /* moved in one op: keeps the lock's hold short */

int rows_perm(struct op *op, const struct vs_perm *perm, uint32_t *index)
{
	struct vs_store *s = op->s;
	struct perm_class class = {perm->mode & 07777, perm->uid, perm->gid};
	int found = engine_perm_find(s, perm), rc;
	struct record_perm *r;

	if (found >= 0) {
		*index = (uint32_t)found;
		return 0;
	}
	if (s->perm_count > PERM_MAX)
		return -ENOSPC;
	rc = catalog_reserve(s, 1);
	if (!rc)
		rc = engine_perm_add(s, s->perm_count, &class);
	if (rc)
		return rc;
	*index = s->perm_count - 1;
	r = op_append(op, RECORD_PERM, 0, sizeof *r);
	r->head.row = *index;
	r->perm = class;
	return 0;
}

int rows_perm_change(struct op *op, unsigned which, const struct vs_perm *perm, uint32_t *index)
{
	const struct perm_class *old = engine_perm_get(op->s, *index);
	struct vs_perm now = {old->mode, old->uid, old->gid};

	if (which & VS_SET_MODE)
		now.mode = perm->mode;
	if (which & VS_SET_UID)
		now.uid = perm->uid;
	if (which & VS_SET_GID)
		now.gid = perm->gid;
	if (which & VS_DROP_SETID)
		now.mode = vs_mode_written(now.mode);
	if (now.mode == old->mode && now.uid == old->uid && now.gid == old->gid)
		return 0;
	return rows_perm(op, &now, index);
}

void rows_log_collection(struct op *op, const struct collection *c)
{
	size_t len = strlen(c->name);
	struct record_collection *r = op_append(op, RECORD_COLLECTION, c->id, sizeof *r + len);

	r->body = catalog_describe(c);
	memcpy(r + 1, c->name, len);
}

/* ------------------------------------------------------------------ making room */

static int segment_add(struct vs_store *s, struct collection *c)
{
	struct segment *seg;
	int rc = catalog_reserve(s, 1);

	if (!rc && (uint64_t)(c->segment_count + 1) << c->shift > ROW_NONE)
		rc = -ENOSPC;
	if (!rc)
		rc = collection_reserve_segment(c);
	c->directory_changed = true;
	if (!rc)
		rc = segment_create(s->io, c->id, c->segment_count, &c->schema, &seg);
	if (rc) {
		s->untidy = true; /* what it has made of it may still be there */
		return rc;
	}
	collection_add_segment(&s->table, c, seg);
	return 0;
}

/* The first segment that has room for a row; created if there is none. */
static int segment_with_room(struct vs_store *s, struct collection *c, struct segment **out)
{
	int rc = 0;

	while (c->room < c->segment_count && c->segments[c->room]->count == c->segments[c->room]->rows_max)
		c->room++;
	if (c->room == c->segment_count)
		rc = segment_add(s, c);
	*out = rc ? NULL : c->segments[c->room];
	return rc;
}

int rows_reserve_name(struct vs_store *s, struct collection *c, struct segment *seg, const char *name, size_t len)
{
	int rc = collection_scan_names(c, seg);

	if (!rc)
		rc = segment_reserve(s->io, seg, seg->allocated, names_end_after(&seg->names, len));
	if (!rc)
		rc = index_reserve(&c->index, collection_hash(c, name, len), collection_hash_of, c);
	return rc;
}

int rows_reserve_new(struct vs_store *s, struct collection *c, const char *name, size_t len, uint64_t entry)
{
	struct segment *seg;
	int rc = segment_with_room(s, c, &seg);

	if (!rc)
		rc = rows_reserve_name(s, c, seg, name, len);
	if (!rc)
		rc = segment_reserve(s->io, seg, seg->count + 1, 0);
	if (!rc)
		rc = entries_reserve(&c->entries, entry);
	if (!rc)
		rc = overlay_reserve(&c->overlay, 4);
	return rc;
}

/* ------------------------------------------------------------------ records */

/* Logs a row and puts it into the overlay. row_sum is computed here. data may be NULL: the bytes stay. */
static struct record_row *log_row(struct op *op, struct collection *c, uint32_t row, const struct row *meta,
                                  const char *name, const void *data)
{
	size_t name_bytes = names_granules(meta->name_len) * NAME_GRANULE;
	struct record_row *r =
		op_append(op, RECORD_ROW, c->id, sizeof *r + name_bytes + (data ? c->row_bytes : 0));

	r->head.row = row;
	r->row = *meta;
	memcpy(r + 1, name, meta->name_len);
	r->row.row_sum = sum_row(&r->row, name);
	if (data) {
		r->head.flags = RECORD_HAS_DATA;
		memcpy((char *)(r + 1) + name_bytes, data, c->row_bytes);
	}
	collection_segment(c, row)->digest_valid = false;
	overlay_set(&c->overlay, row, r);
	return r;
}

static void touched(struct collection *c)
{
	c->version++;
	c->index_stamp = 0;
}

void rows_listed(struct collection *c)
{
	touched(c);
	collection_listed(c);
}

static struct row row_of(const struct row_change *change, uint32_t name_at)
{
	struct row meta = {
		.data_sum = change->data_sum,
		.name_len = (uint8_t)change->name_len,
		.perm = (uint16_t)change->perm,
		.name_at = name_at & ROW_NAME_AT_MAX,
	};

	row_set_times(&meta, change->mtime, change->ctime);
	row_set_entry(&meta, change->entry);
	return meta;
}

void rows_add(struct op *op, struct collection *c, const struct row_change *change)
{
	struct segment *seg = c->segments[c->room];
	uint32_t row = c->room << c->shift | seg->count;
	struct row meta = row_of(change, names_alloc(&seg->names, change->name_len));

	assert(seg->count < seg->rows_max && change->data);
	log_row(op, c, row, &meta, change->name, change->data);
	seg->count++;
	entries_set(&c->entries, change->entry, row);
	index_insert(&c->index, collection_hash(c, change->name, change->name_len), change->entry);
	c->count++;
	c->name_bytes += change->name_len;
	rows_listed(c);
}

void rows_change(struct op *op, struct collection *c, uint32_t row, const struct row_change *change)
{
	struct segment *seg = collection_segment(c, row);
	const char *old_name;
	const struct row *found = collection_row(c, row, &old_name);
	struct row old = *found, meta = row_of(change, old.name_at);
	bool renamed = old.name_len != change->name_len || memcmp(old_name, change->name, old.name_len);
	uint64_t old_hash = collection_hash(c, old_name, old.name_len);
	struct record_row *record;

	moment_preserve(op->s, c, row);
	if (renamed) {
		meta.name_at = names_alloc(&seg->names, change->name_len) & ROW_NAME_AT_MAX;
		names_release(&seg->names, old.name_at, old.name_len);
		c->name_bytes += change->name_len - (size_t)old.name_len;
	}
	record = log_row(op, c, row, &meta, change->name, change->data);
	if (renamed)
		record->head.flags |= RECORD_RENAMED;
	if (renamed || change->entry != row_entry(&old)) {
		index_remove(&c->index, old_hash, row_entry(&old));
		index_insert(&c->index, collection_hash(c, change->name, change->name_len), change->entry);
	}
	if (change->entry != row_entry(&old)) {
		/* In this order: a chunk whose last entry goes is freed, and the new one may be in the same. */
		entries_set(&c->entries, change->entry, row);
		entries_set(&c->entries, row_entry(&old), ROW_NONE);
	}
	if (renamed)
		rows_listed(c);
	else
		touched(c);
}

/* ------------------------------------------------------------------ putting */

int rows_fix_schema(struct op *op, struct collection *c, size_t size)
{
	struct vs_schema schema = c->schema;

	if (!schema.dim)
		schema.dim = vs_dim_of_size(schema.dtype, size);
	if (!schema.dim || vs_row_bytes(&schema) != size)
		return -EINVAL;
	if (c->schema_fixed)
		return 0;
	collection_set_schema(c, &schema);
	c->schema_fixed = true;
	rows_log_collection(op, c);
	return 0;
}

/* Takes back what a first vector that could not be put has fixed. The applier may just be syncing its segment. */
static void unfix_schema(struct vs_store *s, struct collection *c, const struct vs_schema *schema)
{
	while (c->segment_count) {
		struct segment *seg = c->segments[--c->segment_count];

		assert(!seg->count);
		if (segment_unlink(s->io, c->id, seg->n))
			s->untidy = true;
		c->directory_changed = true;
		seg->retired_next = s->retired;
		s->retired = seg;
		s->table.segments--;
	}
	c->room = 0;
	collection_set_schema(c, schema);
	c->schema_fixed = false;
}

/* That of an entry, if it is later than another. */
static vs_time ctime_of(const struct collection *c, uint64_t entry, vs_time other)
{
	uint32_t row = collection_row_of(c, entry);
	const char *name;
	const struct row *r = row == ROW_NONE ? NULL : collection_row(c, row, &name);

	return r && row_ctime(r) > other ? row_ctime(r) : other;
}

int rows_put_prepare(struct op *op, struct collection *c, const char *name, const struct vs_attr *attr,
                     const void *data, size_t size, struct row_put *put)
{
	struct vs_schema schema = c->schema;
	bool fixed = c->schema_fixed;
	size_t start = op->start;
	int rc = rows_fix_schema(op, c, size);

	put->change = (struct row_change){
		.entry = attr->entry,
		.mtime = attr->mtime,
		.ctime = attr->ctime,
		.name = name,
		.name_len = strlen(name),
		.data = data,
		.data_sum = sum_data(data, size),
	};
	put->replaced = rc ? 0 : collection_entry(c, name, put->change.name_len);
	if (put->replaced)
		put->change.ctime = ctime_of(c, put->replaced, attr->ctime);
	put->change.ctime = vs_time_after(put->change.ctime, vs_time_now());
	if (!rc)
		rc = put->replaced ? entries_reserve(&c->entries, attr->entry)
		                   : rows_reserve_new(op->s, c, name, put->change.name_len, attr->entry);
	if (!rc)
		rc = overlay_reserve(&c->overlay, 1);
	if (!rc)
		rc = rows_perm(op, &attr->perm, &put->change.perm);
	if (rc && !fixed) {
		unfix_schema(op->s, c, &schema);
		op->start = start;
	}
	return rc;
}

void rows_put(struct op *op, struct collection *c, const struct row_put *put)
{
	if (put->change.entry >= c->next_entry)
		c->next_entry = put->change.entry + 1;
	if (put->replaced)
		rows_change(op, c, entries_get(&c->entries, put->replaced), &put->change);
	else
		rows_add(op, c, &put->change);
}

/* ------------------------------------------------------------------ removing */

static void log_trim(struct op *op, struct collection *c, struct segment *seg, uint32_t count)
{
	struct record *r = op_append(op, RECORD_TRIM, c->id, sizeof *r);

	while (seg->count > count)
		overlay_drop(&c->overlay, seg->n << c->shift | --seg->count);
	seg->digest_valid = false;
	r->row = seg->n << c->shift;
	r->value = count;
	if (seg->n < c->room)
		c->room = seg->n;
}

/* Shortens a segment by the dead rows at its end, so that its last row is a living one. */
static void trim_dead(struct op *op, struct collection *c, struct segment *seg)
{
	uint32_t count = seg->count;

	while (count && segment_is_dead(seg, count - 1)) {
		segment_clear_dead(seg, --count);
		c->dead--;
	}
	if (count < seg->count)
		log_trim(op, c, seg, count);
}

/* Moves the last row of a segment into the hole at row, which holds nothing any more, and shortens the segment. */
static int fill_hole(struct op *op, struct collection *c, uint32_t row, void *buf)
{
	struct segment *seg = collection_segment(c, row);
	uint32_t last = seg->n << c->shift | (seg->count - 1);
	const char *name;
	const struct row *found;
	struct row meta;
	char name_copy[256];
	int rc;

	if (row == last) {
		moment_preserve(op->s, c, last);
		log_trim(op, c, seg, seg->count - 1);
		return 0;
	}
	found = collection_row(c, last, &name);
	if (!found || entries_get(&c->entries, row_entry(found)) != last)
		return -EIO;
	/* As it is, not verified: if it is damaged it stays so, and is found so when it is read. */
	rc = collection_bytes(op->s->io, c, last, buf);
	if (!rc)
		rc = overlay_reserve(&c->overlay, 2);
	if (rc)
		return rc;
	meta = *found;
	memcpy(name_copy, name, meta.name_len);
	moment_preserve(op->s, c, row);
	moment_preserve(op->s, c, last);
	log_row(op, c, row, &meta, name_copy, buf);
	entries_set(&c->entries, row_entry(&meta), row);
	log_trim(op, c, seg, seg->count - 1);
	return 0;
}

int rows_remove(struct op *op, struct collection *c, uint32_t row)
{
	struct segment *seg = collection_segment(c, row);
	const char *name;
	const struct row *found = collection_row(c, row, &name);
	struct row old;
	uint64_t hash;
	void *buf;
	int rc;

	if (!found)
		return -EIO;
	old = *found;
	hash = collection_hash(c, name, old.name_len);
	buf = malloc(c->row_bytes);
	if (!buf)
		return -ENOMEM;
	trim_dead(op, c, seg);
	rc = fill_hole(op, c, row, buf);
	free(buf);
	if (rc)
		return rc;
	names_release(&seg->names, old.name_at, old.name_len);
	entries_set(&c->entries, row_entry(&old), ROW_NONE);
	index_remove(&c->index, hash, row_entry(&old));
	c->count--;
	c->name_bytes -= old.name_len;
	rows_listed(c);
	return 0;
}

void rows_kill(struct op *op, struct collection *c, uint32_t row)
{
	struct segment *seg = collection_segment(c, row);
	const char *name;
	const struct row *found = collection_row(c, row, &name);
	struct row old = *found;
	int rc;

	moment_preserve(op->s, c, row);
	index_remove(&c->index, collection_hash(c, name, old.name_len), row_entry(&old));
	entries_set(&c->entries, row_entry(&old), ROW_NONE);
	names_release(&seg->names, old.name_at, old.name_len);
	overlay_drop(&c->overlay, row);
	rc = segment_set_dead(seg, collection_slot(c, row));
	assert(!rc);
	(void)rc;
	c->dead++;
	c->count--;
	c->name_bytes -= old.name_len;
	seg->digest_valid = false;
}

/* Fills up to limit dead rows. */
static int fill_dead(struct op *op, struct collection *c, unsigned limit)
{
	void *buf = malloc(c->row_bytes);
	int rc = buf ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < c->segment_count && limit && !rc; i++) {
		struct segment *seg = c->segments[i];

		if (seg->dead)
			trim_dead(op, c, seg);
		for (uint32_t slot = 0; seg->dead && limit; limit--) {
			while (!segment_is_dead(seg, slot))
				slot++;
			segment_clear_dead(seg, slot);
			rc = fill_hole(op, c, i << c->shift | slot, buf);
			if (rc) {
				segment_set_dead(seg, slot);
				break;
			}
			c->dead--;
			trim_dead(op, c, seg);
		}
	}
	free(buf);
	touched(c);
	return rc;
}

int rows_vacuum(struct vs_store *s, uint32_t collection)
{
	bool more = true;
	int rc = 0;

	while (more && !rc) {
		struct collection *c;
		size_t row_bytes = 0;
		struct op op;

		pthread_rwlock_rdlock(&s->lock);
		c = collection_get(&s->table, collection);
		if (c && !c->damaged && c->dead)
			row_bytes = c->row_bytes;
		pthread_rwlock_unlock(&s->lock);
		if (!row_bytes)
			break;
		rc = op_begin(s, &op, op_row_bytes(row_bytes) * VACUUM_ROWS + OP_SMALL_BYTES * VACUUM_ROWS);
		if (rc == -ENOSPC || rc == -E2BIG) /* a small log: one at a time will do */
			rc = op_begin(s, &op, op_row_bytes(row_bytes) + 3 * OP_SMALL_BYTES);
		if (rc)
			break;
		c = collection_get(&s->table, collection);
		if (c)
			rc = fill_dead(&op, c, op.reserved > 2 * op_row_bytes(row_bytes) ? VACUUM_ROWS / 2 : 1);
		more = c && c->dead;
		op_end(&op);
	}
	return rc;
}
