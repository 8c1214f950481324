/* SPDX-License-Identifier: Apache-2.0 */
#include "store/collection/collection.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/base/checksum.h"
#include "store/io/guard.h"

#define GAPS_MIN 64u

void collection_path(char path[SEGMENT_PATH_MAX], uint32_t id, const char *file)
{
	snprintf(path, SEGMENT_PATH_MAX, "collections/%u%s%s", id, file ? "/" : "", file ? file : "");
}

/* ------------------------------------------------------------------ the table */

void collection_table_init(struct collection_table *t, uint64_t hash_seed)
{
	memset(t, 0, sizeof *t);
	id_index_init(&t->by_name);
	t->hash_seed = hash_seed;
}

void collection_table_free(struct collection_table *t, struct io *io)
{
	for (uint32_t i = 0; i < t->slots; i++)
		if (t->all[i])
			collection_free(io, t->all[i]);
	t->slots = t->count = 0;
	id_index_free(&t->by_name);
	free(t->all);
	free(t->ids);
	t->all = NULL;
	t->ids = NULL;
}

/* The place of the first collection, or gap, whose id is not below id. */
static uint32_t table_place(const struct collection_table *t, uint32_t id)
{
	uint32_t low = 0, high = t->slots;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (t->ids[mid] < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct collection *collection_get(const struct collection_table *t, uint32_t id)
{
	uint32_t i = table_place(t, id);

	return i < t->slots && t->ids[i] == id ? t->all[i] : NULL;
}

struct collection *collection_next(const struct collection_table *t, uint32_t after)
{
	uint32_t i = after == UINT32_MAX ? t->slots : table_place(t, after + 1);

	while (i < t->slots && !t->all[i])
		i++;
	return i < t->slots ? t->all[i] : NULL;
}

struct collection *collection_next_child(const struct collection *parent, bool frozen, uint32_t after)
{
	struct collection *c = parent->first_child;

	while (c && (c->id <= after || c->frozen != frozen))
		c = c->next_sibling;
	return c;
}

void collection_table_pack(struct collection_table *t)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->slots; i++) {
		if (!t->all[i])
			continue;
		t->all[n] = t->all[i];
		t->ids[n++] = t->ids[i];
	}
	assert(n == t->count);
	t->slots = n;
}

static void child_add(struct collection *up, struct collection *c)
{
	c->prev_sibling = up->last_child;
	if (up->last_child)
		up->last_child->next_sibling = c;
	else
		up->first_child = c;
	up->last_child = c;
}

static void child_take(struct collection *up, struct collection *c)
{
	if (c->prev_sibling)
		c->prev_sibling->next_sibling = c->next_sibling;
	else
		up->first_child = c->next_sibling;
	if (c->next_sibling)
		c->next_sibling->prev_sibling = c->prev_sibling;
	else
		up->last_child = c->prev_sibling;
}

static size_t padded(const char *name)
{
	return (strlen(name) + 7) / 8 * 8;
}

static uint64_t name_hash(const struct collection_table *t, uint32_t parent, bool frozen, const char *name)
{
	return XXH3_64bits_withSeed(name, strlen(name),
				    t->hash_seed ^
					    (parent + ((uint64_t)frozen << 32)) * 0x9e3779b97f4a7c15ull);
}

static int table_hash_of(void *arg, uint64_t entry, uint64_t *hash)
{
	struct collection_table *t = arg;
	struct collection *c = collection_get(t, (uint32_t)entry);

	*hash = name_hash(t, c->parent, c->frozen, c->name);
	return 0;
}

struct name_key {
	const struct collection_table *t;
	uint32_t parent;
	bool frozen;
	const char *name;
};

static bool name_matches(void *arg, uint64_t entry)
{
	struct name_key *key = arg;
	struct collection *c = collection_get(key->t, (uint32_t)entry);

	return c->parent == key->parent && c->frozen == key->frozen && !strcmp(c->name, key->name);
}

static struct collection *find(const struct collection_table *t, uint32_t parent, bool frozen,
			       const char *name)
{
	struct name_key key = {t, parent, frozen, name};
	uint64_t id = id_index_find(&t->by_name, name_hash(t, parent, frozen, name), name_matches, &key);

	return id ? collection_get(t, (uint32_t)id) : NULL;
}

struct collection *collection_find(const struct collection_table *t, uint32_t parent, const char *name)
{
	return find(t, parent, false, name);
}

struct collection *collection_find_frozen(const struct collection_table *t, uint32_t parent, const char *name)
{
	return find(t, parent, true, name);
}

int collection_add(struct collection_table *t, struct collection *c)
{
	struct collection *up = collection_get(t, c->parent);
	uint64_t hash = name_hash(t, c->parent, c->frozen, c->name);
	int rc;

	assert(!t->slots || t->ids[t->slots - 1] < c->id);
	if (t->slots == t->capacity) {
		uint32_t capacity = t->capacity ? t->capacity * 2 : 16;
		struct collection **all = realloc(t->all, capacity * sizeof(struct collection *));
		uint32_t *ids = realloc(t->ids, capacity * sizeof *ids);

		t->all = all ? all : t->all;
		t->ids = ids ? ids : t->ids;
		if (!all || !ids)
			return -ENOMEM;
		t->capacity = capacity;
	}
	rc = id_index_reserve(&t->by_name, hash, table_hash_of, t);
	if (rc)
		return rc;
	t->ids[t->slots] = c->id;
	t->all[t->slots++] = c;
	t->count++;
	if (up)
		child_add(up, c);
	t->name_bytes += padded(c->name);
	t->segments += c->segment_count;
	t->attribute_bytes += c->attributes.bytes;
	id_index_insert(&t->by_name, hash, c->id);
	return 0;
}

void collection_take(struct collection_table *t, struct collection *c)
{
	struct collection *up = collection_get(t, c->parent);
	uint32_t i = table_place(t, c->id);

	id_index_remove(&t->by_name, name_hash(t, c->parent, c->frozen, c->name), c->id);
	t->name_bytes -= padded(c->name);
	t->segments -= c->segment_count;
	t->attribute_bytes -= c->attributes.bytes;
	t->count--;
	t->all[i] = NULL;
	if (up)
		child_take(up, c);
	/* So that on average a removal moves a few pointers and no search meets many gaps. */
	if (t->slots - t->count > GAPS_MIN && t->slots - t->count > t->count / 2)
		collection_table_pack(t);
}

int collection_rename(struct collection_table *t, struct collection *c, const char *name)
{
	uint64_t hash = name_hash(t, c->parent, c->frozen, name);
	int rc = id_index_reserve(&t->by_name, hash, table_hash_of, t);

	if (rc)
		return rc;
	id_index_remove(&t->by_name, name_hash(t, c->parent, c->frozen, c->name), c->id);
	id_index_insert(&t->by_name, hash, c->id);
	t->name_bytes += padded(name) - padded(c->name);
	snprintf(c->name, sizeof c->name, "%s", name);
	return 0;
}

/* ------------------------------------------------------------------ one collection */

struct collection *collection_new(uint32_t id, uint32_t parent, const char *name, uint64_t hash_seed)
{
	struct collection *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->id = id;
	c->parent = parent;
	snprintf(c->name, sizeof c->name, "%s", name);
	c->next_entry = VS_ENTRY_FIRST;
	c->hash_seed = hash_seed;
	id_index_init(&c->index);
	entry_map_init(&c->entries);
	overlay_init(&c->overlay);
	return c;
}

void collection_free(struct io *io, struct collection *c)
{
	assert(!c->snapshots);
	for (uint32_t i = 0; i < c->segment_count; i++) {
		if (!c->left_shares)
			segment_share_leave(c->segments[i]);
		segment_put(io, c->segments[i]);
	}
	free(c->segments);
	id_index_free(&c->index);
	entry_map_free(&c->entries);
	overlay_free(&c->overlay);
	attributes_free(&c->attributes);
	if (c->image)
		io->ops->unmap(io, c->image, c->image_bytes);
	free(c);
}

int collection_make_directory(struct io *io, uint32_t id, bool fresh)
{
	char path[SEGMENT_PATH_MAX];
	int rc;

	collection_path(path, id, NULL);
	rc = io->ops->mkdir(io, path, 0700);
	if (rc == -EEXIST && fresh) {
		collection_unlink_id(io, id);
		rc = io->ops->mkdir(io, path, 0700);
	}
	return rc < 0 && rc != -EEXIST ? rc : 0;
}

int collection_unlink_id(struct io *io, uint32_t id)
{
	char path[SEGMENT_PATH_MAX], file[SEGMENT_PATH_MAX + 256];
	struct io_names list;
	int rc, first;

	collection_path(path, id, NULL);
	first = io_names_read(io, path, &list);
	for (size_t i = 0; i < list.count; i++) {
		snprintf(file, sizeof file, "%s/%s", path, list.names[i]);
		rc = io->ops->unlink(io, file);
		first = first < 0 ? first : rc;
	}
	io_names_free(&list);
	rc = io->ops->rmdir(io, path);
	first = first < 0 ? first : rc;
	return first == -ENOENT || first >= 0 ? 0 : first;
}

void collection_set_schema(struct collection *c, const struct vs_schema *schema)
{
	c->schema = *schema;
	c->row_bytes = vs_row_bytes(schema);
	c->shift = c->row_bytes ? segment_shift(c->row_bytes) : 0;
}

bool collection_is_vacant(const struct collection *c)
{
	/* Of its snapshots each has a schema of its own; an open batch has rows of this one. */
	if (c->parent || c->count || c->deleted || c->damaged || collection_next_child(c, false, 0))
		return false;
	for (uint32_t i = 0; i < c->segment_count; i++)
		if (c->segments[i]->count) /* rows that are not counted are damaged */
			return false;
	return true;
}

struct vs_schema collection_schema(const struct collection *c, bool *fixed)
{
	struct vs_schema schema = c->schema;

	*fixed = c->schema_fixed && !collection_is_vacant(c);
	if (c->schema_fixed && !*fixed && !c->dim_given)
		schema.dim = 0;
	if (c->schema_fixed && !*fixed && !c->schema_given)
		schema.dtype = VS_F32;
	return schema;
}

void collection_changed(struct collection *c)
{
	c->ctime = vs_time_after(c->ctime, vs_time_now());
}

void collection_listed(struct collection *c)
{
	collection_changed(c);
	c->mtime = c->ctime;
}

int collection_set_attribute(struct collection_table *t, struct collection *c, uint32_t tag,
			     const void *value, uint32_t bytes)
{
	int rc;

	t->attribute_bytes -= c->attributes.bytes;
	rc = attributes_set(&c->attributes, tag, value, bytes);
	t->attribute_bytes += c->attributes.bytes;
	return rc;
}

int collection_read_attributes(struct collection *c)
{
	const struct attribute_frozen *sums;
	uint32_t bytes;

	c->shares = attributes_find(&c->attributes, ATTRIBUTE_SHARES, &bytes);
	sums = attributes_find(&c->attributes, ATTRIBUTE_FROZEN, &bytes);
	if (!sums)
		return 0;
	if (bytes != sizeof *sums || !c->parent)
		return -EUCLEAN;
	c->frozen = c->lazy = true;
	c->count = sums->count;
	c->name_bytes = sums->name_bytes;
	c->line_bytes = sums->line_bytes;
	return 0;
}

int collection_reserve_segments(struct collection *c, uint32_t more)
{
	struct segment **p =
		realloc(c->segments, ((size_t)c->segment_count + more) * sizeof(struct segment *));

	if (!p)
		return -ENOMEM;
	c->segments = p;
	return 0;
}

void collection_add_segment(struct collection_table *t, struct collection *c, struct segment *seg)
{
	c->segments[c->segment_count++] = seg;
	t->segments++;
}

void collection_place_segment(struct collection_table *t, struct collection *c, struct segment *seg)
{
	if (seg->n == c->segment_count) {
		collection_add_segment(t, c, seg);
		return;
	}
	assert(!segment_has_files(c->segments[seg->n]) && !c->segments[seg->n]->count);
	segment_put(NULL, c->segments[seg->n]);
	c->segments[seg->n] = seg;
}

uint32_t collection_free_number(const struct collection *c, uint32_t from)
{
	while (from < c->segment_count && (segment_has_files(c->segments[from]) || c->segments[from]->count))
		from++;
	return from;
}

void collection_trim_segments(struct collection_table *t, struct collection *c)
{
	uint32_t before = c->segment_count;

	while (c->segment_count && !segment_has_files(c->segments[c->segment_count - 1]) &&
	       !c->segments[c->segment_count - 1]->count)
		segment_put(NULL, c->segments[--c->segment_count]);
	if (collection_get(t, c->id) == c) /* else they were subtracted when it was taken out */
		t->segments -= before - c->segment_count;
	if (c->room > c->segment_count)
		c->room = c->segment_count;
}

/* ------------------------------------------------------------------ rows */

const struct row *collection_row(const struct collection *c, uint32_t row, const char **name)
{
	const struct overlay_item *item = overlay_find(&c->overlay, row);
	const struct segment *seg = collection_segment(c, row);
	const struct row *r;

	if (item) {
		*name = (const char *)(item->meta + 1);
		return &item->meta->row;
	}
	if (collection_slot(c, row) >= seg->count)
		return NULL; /* a corrupt index: the slot is past the segment's end */
	r = segment_rows(seg);
	if (!r)
		return NULL;
	r += collection_slot(c, row);
	*name = segment_name(seg, r);
	if (!r->name_len && !segment_is_deleted(seg, collection_slot(c, row)))
		return NULL; /* zeros where there was a row: damage too */
	return segment_row_valid(seg, r) ? r : NULL;
}

/* As entry_map_get, but that a row that has gone with an attach is none. */
static uint32_t row_of(const struct collection *c, uint64_t entry)
{
	uint32_t row = entry_map_get(&c->entries, entry);
	bool gone = c->attaching && c->attaching->switched && row != ROW_NONE &&
		    row_set_has(&c->attaching->replaced, row);

	return gone ? ROW_NONE : row;
}

uint32_t collection_row_of(const struct collection *c, uint64_t entry)
{
	uint32_t row = row_of(c, entry);
	const char *name;
	const struct row *r = row == ROW_NONE ? NULL : collection_row(c, row, &name);

	return r && row_entry(r) != entry ? ROW_NONE : row;
}

int collection_take_entries(struct collection *c, uint64_t n, uint64_t *first)
{
	*first = __atomic_load_n(&c->next_entry, __ATOMIC_RELAXED);
	do {
		if (n > (1ull << VS_ENTRY_BITS) - *first)
			return -ENOSPC;
	} while (!__atomic_compare_exchange_n(&c->next_entry, first, *first + n, true, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return 0;
}

bool collection_pending_bytes(const struct collection *c, uint32_t row, void *buf)
{
	const struct overlay_item *item = overlay_find(&c->overlay, row);
	const struct record_row *r = item ? item->data : NULL;

	if (r && buf)
		memcpy(buf, column_piece(SEGMENT_VECTORS, r, c->row_bytes).bytes, c->row_bytes);
	return r;
}

int collection_bytes(const struct collection *c, uint32_t row, void *buf)
{
	struct segment *seg = collection_segment(c, row);

	if (collection_pending_bytes(c, row, buf))
		return 0;
	return segment_read(seg, SEGMENT_VECTORS, buf, c->row_bytes,
			    segment_offset(seg, collection_slot(c, row)));
}

uint64_t collection_hash(const struct collection *c, const char *name, size_t len)
{
	return collection_hash_seeded(c->hash_seed, name, len);
}

uint64_t collection_hash_seeded(uint64_t seed, const char *name, size_t len)
{
	return XXH3_64bits_withSeed(name, len, seed);
}

bool collection_row_is_unread(const struct collection *c, uint32_t row)
{
	const struct segment *seg = collection_segment(c, row);

	return segment_has_files(seg) && !overlay_find(&c->overlay, row) &&
	       (!segment_rows(seg) || seg->files->io->lost || seg->files->io->dropped);
}

bool collection_index_is_unread(const struct collection *c)
{
	return c->image && io_guard_has_lost(c->image);
}

/* The row that an entry is going to have, or NULL. */
static const struct row *attaching_row(const struct collection *c, uint64_t entry, const char **name)
{
	const struct attaching_part *p = c->attaching ? c->attaching->parts : NULL;
	uint32_t low = 0, high = c->attaching ? c->attaching->count : 0;

	/* The last one that does not begin behind it. */
	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;

		if (p[mid].first_entry <= entry)
			low = mid;
		else
			high = mid;
	}
	if (!high || entry < p[low].first_entry || entry - p[low].first_entry >= p[low].seg->count)
		return NULL;
	p += low;
	*name = segment_name(p->seg, &segment_rows(p->seg)[entry - p->first_entry]);
	return &segment_rows(p->seg)[entry - p->first_entry];
}

int collection_hash_of(void *arg, uint64_t entry, uint64_t *hash)
{
	const struct collection *c = arg;
	const char *name;
	uint32_t row = entry_map_get(&c->entries, entry);
	const struct row *r =
		row == ROW_NONE ? attaching_row(c, entry, &name) : collection_row(c, row, &name);

	*hash = r ? collection_hash(c, name, r->name_len) : 0;
	return !r && row != ROW_NONE && collection_row_is_unread(c, row) ? -EIO : 0;
}

/* Whether an entry's row has gone: then nothing is to lead to it any more. */
static bool sweep_entry(void *arg, uint64_t entry)
{
	struct collection *c = arg;
	uint32_t row = entry_map_get(&c->entries, entry);

	if (row == ROW_NONE || !row_set_has(&c->attaching->replaced, row))
		return false;
	entry_map_set(&c->entries, entry, ROW_NONE);
	overlay_drop(&c->overlay, row);
	return true;
}

void collection_sweep(struct collection *c, uint64_t hash)
{
	id_index_sweep(&c->index, hash, true, sweep_entry, c);
}

int collection_index_reserve(struct collection *c, uint64_t hash)
{
	/* Of rows that have gone nobody can tell the hash any more, should the page be split. */
	if (c->attaching && c->attaching->switched)
		id_index_sweep(&c->index, hash, false, sweep_entry, c);
	return id_index_reserve(&c->index, hash, collection_hash_of, c);
}

struct id_key {
	const struct collection *c;
	const char *name;
	size_t len;
	bool unsure; /* a row that could have been it was not read */
};

static bool id_matches(void *arg, uint64_t entry)
{
	struct id_key *key = arg;
	const char *name;
	uint32_t row = row_of(key->c, entry);
	const struct row *r = row == ROW_NONE ? NULL : collection_row(key->c, row, &name);

	if (!r && row != ROW_NONE && collection_row_is_unread(key->c, row))
		key->unsure = true;
	return r && row_entry(r) == entry && r->name_len == key->len && !memcmp(name, key->name, key->len);
}

int collection_entry(const struct collection *c, const char *name, size_t len, uint64_t *entry)
{
	struct id_key key = {.c = c, .name = name, .len = len};

	*entry = id_index_find(&c->index, collection_hash(c, name, len), id_matches, &key);
	return !*entry && (key.unsure || collection_index_is_unread(c)) ? -EIO : 0;
}

int collection_scan_names(struct collection *c, struct segment *seg)
{
	uint64_t *used;

	if (seg->names.scanned)
		return 0;
	used = calloc(seg->names.end / 64 + 1, sizeof *used);
	if (!used)
		return -ENOMEM;
	for (uint32_t slot = 0; slot < seg->count; slot++) {
		const char *name;
		const struct row *r = collection_row(c, seg->n << c->shift | slot, &name);

		if (!r || segment_is_deleted(seg, slot))
			continue;
		for (uint32_t i = 0; row_entry(r) && i < names_granules(r->name_len); i++)
			used[(r->name_at + i) / 64] |= 1ull << ((r->name_at + i) % 64);
	}
	name_heap_scan(&seg->names, used);
	free(used);
	return 0;
}

int collection_read_key(const struct collection *c, struct segment *seg, uint32_t slot, struct index_key *key)
{
	const struct overlay_item *item = overlay_find(&c->overlay, seg->n << c->shift | slot);
	/* Of a log that was replayed in memory, or in the file. */
	const struct row *rows = item ? NULL : segment_rows(seg), *r = item ? &item->meta->row : rows + slot;
	const char *name;

	if (!item && !rows)
		return -ENOMEM;
	*key = (struct index_key){.entry = INDEX_KEY_BAD};
	if (!item && !segment_row_valid(seg, r))
		return 0;
	key->entry = r->name_len ? row_entry(r) : 0;
	if (r->name_len && key->entry < VS_ENTRY_FIRST)
		key->entry = INDEX_KEY_BAD;
	if (!r->name_len)
		return 0;
	name = item ? (const char *)(item->meta + 1) : segment_name(seg, r);
	key->hash = collection_hash(c, name, r->name_len);
	key->name_len = r->name_len;
	key->line_bytes = (uint32_t)idlist_line_bytes(name, r->name_len);
	return 0;
}

int collection_index_key(struct collection *c, struct segment *seg, uint32_t slot,
			 const struct index_key *key)
{
	int rc;

	if (!key->entry) {
		c->deleted++;
		return segment_set_deleted(seg, slot);
	}
	if (key->entry == INDEX_KEY_BAD || entry_map_get(&c->entries, key->entry) != ROW_NONE)
		return -EBADMSG;
	rc = entry_map_reserve(&c->entries, key->entry);
	if (!rc)
		rc = collection_index_reserve(c, key->hash);
	if (rc)
		return rc == -EOVERFLOW ? -EBADMSG : rc; /* no engine has written such a row */
	entry_map_set(&c->entries, key->entry, seg->n << c->shift | slot);
	id_index_insert(&c->index, key->hash, key->entry);
	if (key->entry >= c->next_entry)
		c->next_entry = key->entry + 1;
	c->count++;
	c->name_bytes += key->name_len;
	c->line_bytes += key->line_bytes;
	return 0;
}

int collection_index_row(struct collection *c, struct segment *seg, uint32_t slot)
{
	struct index_key key;
	int rc = collection_read_key(c, seg, slot, &key);

	return rc ? rc : collection_index_key(c, seg, slot, &key);
}
