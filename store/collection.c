/* SPDX-License-Identifier: Apache-2.0 */
#include "collection.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moment.h"
#include "sum.h"

void collection_path(char path[SEGMENT_PATH_MAX], uint32_t id, const char *file)
{
	snprintf(path, SEGMENT_PATH_MAX, "collections/%u%s%s", id, file ? "/" : "", file ? file : "");
}

/* ------------------------------------------------------------------ the table */

void collection_table_init(struct collection_table *t, uint64_t hash_seed)
{
	memset(t, 0, sizeof *t);
	index_init(&t->by_name);
	t->hash_seed = hash_seed;
}

void collection_table_free(struct collection_table *t)
{
	assert(!t->count);
	index_free(&t->by_name);
	free(t->all);
	t->all = NULL;
}

/* The place of the first collection whose id is not below id. */
static uint32_t table_place(const struct collection_table *t, uint32_t id)
{
	uint32_t low = 0, high = t->count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (t->all[mid]->id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct collection *collection_get(const struct collection_table *t, uint32_t id)
{
	uint32_t i = table_place(t, id);

	return i < t->count && t->all[i]->id == id ? t->all[i] : NULL;
}

struct collection *collection_next(const struct collection_table *t, uint32_t after)
{
	uint32_t i = after == UINT32_MAX ? t->count : table_place(t, after + 1);

	return i < t->count ? t->all[i] : NULL;
}

static size_t padded(const char *name)
{
	return (strlen(name) + 7) / 8 * 8;
}

static uint64_t name_hash(const struct collection_table *t, uint32_t parent, const char *name)
{
	return XXH3_64bits_withSeed(name, strlen(name), t->hash_seed ^ parent * 0x9e3779b97f4a7c15ull);
}

static uint64_t table_hash_of(void *arg, uint64_t entry)
{
	struct collection_table *t = arg;
	struct collection *c = collection_get(t, (uint32_t)entry);

	return name_hash(t, c->parent, c->name);
}

struct name_key {
	const struct collection_table *t;
	uint32_t parent;
	const char *name;
};

static bool name_matches(void *arg, uint64_t entry)
{
	struct name_key *key = arg;
	struct collection *c = collection_get(key->t, (uint32_t)entry);

	return c->parent == key->parent && !strcmp(c->name, key->name);
}

struct collection *collection_find(const struct collection_table *t, uint32_t parent, const char *name)
{
	struct name_key key = {t, parent, name};
	uint64_t id = index_find(&t->by_name, name_hash(t, parent, name), name_matches, &key);

	return id ? collection_get(t, (uint32_t)id) : NULL;
}

int collection_add(struct collection_table *t, struct collection *c)
{
	uint64_t hash = name_hash(t, c->parent, c->name);
	int rc;

	assert(!t->count || t->all[t->count - 1]->id < c->id);
	if (t->count == t->capacity) {
		uint32_t capacity = t->capacity ? t->capacity * 2 : 16;
		struct collection **all = realloc(t->all, capacity * sizeof(struct collection *));

		if (!all)
			return -ENOMEM;
		t->all = all;
		t->capacity = capacity;
	}
	rc = index_reserve(&t->by_name, hash, table_hash_of, t);
	if (rc)
		return rc;
	t->all[t->count++] = c;
	t->name_bytes += padded(c->name);
	t->segments += c->segment_count;
	t->attribute_bytes += c->attributes.bytes;
	index_insert(&t->by_name, hash, c->id);
	return 0;
}

void collection_take(struct collection_table *t, struct collection *c)
{
	uint32_t i = table_place(t, c->id);

	index_remove(&t->by_name, name_hash(t, c->parent, c->name), c->id);
	t->name_bytes -= padded(c->name);
	t->segments -= c->segment_count;
	t->attribute_bytes -= c->attributes.bytes;
	t->count--;
	memmove(t->all + i, t->all + i + 1, (t->count - i) * sizeof(struct collection *));
}

int collection_rename(struct collection_table *t, struct collection *c, const char *name)
{
	uint64_t hash = name_hash(t, c->parent, name);
	int rc = index_reserve(&t->by_name, hash, table_hash_of, t);

	if (rc)
		return rc;
	index_remove(&t->by_name, name_hash(t, c->parent, c->name), c->id);
	index_insert(&t->by_name, hash, c->id);
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
	index_init(&c->index);
	entries_init(&c->entries);
	overlay_init(&c->overlay);
	return c;
}

void collection_free(struct io *io, struct collection *c)
{
	moment_orphan(c);
	for (uint32_t i = 0; i < c->segment_count; i++)
		segment_close(io, c->segments[i]);
	free(c->segments);
	index_free(&c->index);
	entries_free(&c->entries);
	overlay_free(&c->overlay);
	attributes_free(&c->attributes);
	if (c->image)
		io->ops->unmap(io, c->image, c->image_bytes);
	free(c);
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

void collection_changed(struct collection *c)
{
	c->ctime = vs_time_after(c->ctime, vs_time_now());
}

void collection_listed(struct collection *c)
{
	collection_changed(c);
	c->mtime = c->ctime;
}

int collection_set_attribute(struct collection_table *t, struct collection *c, uint32_t tag, const void *value,
                             uint32_t bytes)
{
	int rc;

	t->attribute_bytes -= c->attributes.bytes;
	rc = attributes_set(&c->attributes, tag, value, bytes);
	t->attribute_bytes += c->attributes.bytes;
	return rc;
}

int collection_reserve_segment(struct collection *c)
{
	struct segment **p = realloc(c->segments, (c->segment_count + 1) * sizeof(struct segment *));

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
		return NULL; /* the index lies */
	r = &seg->rows[collection_slot(c, row)];
	*name = segment_name(seg, r);
	if (!r->name_len && !segment_is_dead(seg, collection_slot(c, row)))
		return NULL; /* zeros where there was a row: damage too */
	return segment_row_valid(seg, r) ? r : NULL;
}

uint32_t collection_row_of(const struct collection *c, uint64_t entry)
{
	uint32_t row = entries_get(&c->entries, entry);
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

int collection_bytes(struct io *io, const struct collection *c, uint32_t row, void *buf)
{
	const struct overlay_item *item = overlay_find(&c->overlay, row);
	const struct segment *seg = collection_segment(c, row);

	if (item && item->data) {
		const char *name = (const char *)(item->data + 1);

		memcpy(buf, name + names_granules(item->data->row.name_len) * NAME_GRANULE, c->row_bytes);
		return 0;
	}
	return io_read_full(io, seg->fd[SEGMENT_VECTORS], buf, c->row_bytes,
	                    segment_offset(seg, collection_slot(c, row)));
}

uint64_t collection_hash(const struct collection *c, const char *name, size_t len)
{
	return XXH3_64bits_withSeed(name, len, c->hash_seed);
}

uint64_t collection_hash_of(void *arg, uint64_t entry)
{
	const struct collection *c = arg;
	const char *name;
	uint32_t row = entries_get(&c->entries, entry);
	const struct row *r = row == ROW_NONE ? NULL : collection_row(c, row, &name);

	return r ? collection_hash(c, name, r->name_len) : 0;
}

struct id_key {
	const struct collection *c;
	const char *name;
	size_t len;
};

static bool id_matches(void *arg, uint64_t entry)
{
	const struct id_key *key = arg;
	const char *name;
	uint32_t row = entries_get(&key->c->entries, entry);
	const struct row *r = row == ROW_NONE ? NULL : collection_row(key->c, row, &name);

	return r && row_entry(r) == entry && r->name_len == key->len && !memcmp(name, key->name, key->len);
}

uint64_t collection_entry(const struct collection *c, const char *name, size_t len)
{
	struct id_key key = {c, name, len};

	return index_find(&c->index, collection_hash(c, name, len), id_matches, &key);
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

		if (!r || segment_is_dead(seg, slot))
			continue;
		for (uint32_t i = 0; row_entry(r) && i < names_granules(r->name_len); i++)
			used[(r->name_at + i) / 64] |= 1ull << ((r->name_at + i) % 64);
	}
	names_scan(&seg->names, used);
	free(used);
	return 0;
}
