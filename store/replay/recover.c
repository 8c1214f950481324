/* SPDX-License-Identifier: Apache-2.0 */
#include "store/replay/recover.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/replay/apply.h"
#include "store/catalog/catalog_v1.h"
#include "store/clone/clone.h"
#include "store/replay/convert_v1.h"
#include "store/engine.h"
#include "store/collection/index_file.h"
#include "store/view/views.h"

struct replay {
	struct vs_store *s;
	vs_time time; /* of the frame */
	char *why;    /* a sentence for -EPROTO */
	size_t why_size;
	struct record_attach *attached; /* carried out before any file is opened */
	size_t attached_count;
};

/* ------------------------------------------------------------------ first pass: the tables */

/* A segment that only the log knows yet: its files may not even exist. */
static int placeholder_add(struct vs_store *s, struct collection *c)
{
	struct segment *seg = segment_placeholder(c->segment_count, 0, 0);

	if (!seg || collection_reserve_segments(c, 1)) {
		segment_put(s->io, seg);
		return -ENOMEM;
	}
	collection_add_segment(&s->table, c, seg);
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
	if (r->head.bytes < bytes || r->head.row == ROW_NONE || r->head.row >> c->shift > c->segment_count ||
	    !segment_fits(c, 0, r->row.name_at + (uint64_t)granules))
		return -EUCLEAN;
	end = r->row.name_at + granules;
	if (r->head.row >> c->shift == c->segment_count)
		rc = placeholder_add(s, c);
	if (rc)
		return rc;
	seg = collection_segment(c, r->head.row);
	slot = collection_slot(c, r->head.row);
	surely_linked(c, seg);
	if ((slot >= seg->count && !(r->head.flags & RECORD_MOVED)) || r->head.flags & RECORD_RENAMED)
		c->mtime = c->ctime = rp->time;
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

	if (!c || !c->schema_fixed || r->segment > c->segment_count ||
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
	rc = r->segment == c->segment_count ? placeholder_add(rp->s, c) : 0;
	if (rc)
		return rc;
	surely_linked(c, c->segments[r->segment]);
	c->segments[r->segment]->adopts++;
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

/* ------------------------------------------------------------------ files */

static void damaged(struct vs_store *s, struct collection *c, const char *what, int rc)
{
	c->damaged = true;
	engine_report(s, VS_ERROR, "%s: damaged: %s: %s; run vecfs check", c->name, what, strerror(-rc));
}

/* What the log says was perhaps in the page cache only: all is synced again before the log goes. */
static int mark_written(struct vs_store *s, struct segment *seg)
{
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++) {
		int fd = segment_file(seg, i);

		if (fd < 0)
			return fd;
		segment_file_written(seg, i);
	}
	return files_relieve(&s->files);
}

/* Whether somebody has yet to get the files of c that it had once. */
static int is_wanted(struct vs_store *s, const struct collection *c)
{
	int rc = 1;

	for (uint32_t i = 0; i < s->table.count && rc > 0; i++)
		if (s->table.all[i]->unlinked == c->id && s->table.all[i]->frozen)
			rc = clone_is_linked(s, s->table.all[i]);
	return rc < 0 ? rc : !rc;
}

/* Opens segment i in place of its placeholder. replaying: its files may not exist, or be short, before the
 * second pass. */
static int segment_load(struct vs_store *s, struct collection *c, uint32_t i, bool replaying)
{
	struct segment *old = c->segments[i], *seg;
	int rc;

	if (!old->count && !(replaying && old->cloned))
		return 0; /* whatever files there are of it are orphans */
	rc = segment_open(&s->files, c->id, i, &c->schema, replaying ? 0 : old->count,
			  replaying ? 0 : old->names.end, &seg);
	if (rc == -ENOENT && replaying && !old->count) {
		int wanted = is_wanted(s, c);

		if (wanted <= 0)
			return wanted; /* who was to share it has it already */
	}
	if (rc == -ENOENT && replaying && !old->digests[SEGMENT_ROWS])
		rc = segment_create_missing(&s->files, c->id, i, &c->schema, &seg);
	if (rc)
		return rc;
	seg->count = seg->high = seg->applied = old->count;
	seg->adopts = old->adopts;
	seg->cloned = old->cloned;
	memcpy(seg->digests, old->digests, sizeof seg->digests);
	seg->digest_valid = !replaying && old->digests[SEGMENT_ROWS];
	name_heap_init(&seg->names, old->names.end);
	if (!replaying)
		seg->header_rows = seg->count;
	segment_put(s->io, old);
	c->segments[i] = seg;
	return replaying ? mark_written(s, seg) : 0;
}

/* What the log has for the segments that can be opened reaches them also if another one is damaged. */
static int open_segments(struct vs_store *s, struct collection *c, bool replaying)
{
	int rc = 0;

	for (uint32_t i = 0; i < c->segment_count && (!rc || (replaying && rc == -EUCLEAN)); i++) {
		int segment_rc = segment_load(s, c, i, replaying);

		rc = segment_rc ? segment_rc : rc;
	}
	return rc;
}

/* After the second pass: every file is as long as what is in use. */
static int verify_sizes(struct collection *c)
{
	int rc = 0;

	for (uint32_t i = 0; i < c->segment_count && !rc; i++)
		rc = segment_has_files(c->segments[i]) ? segment_verify_size(c->segments[i]) : 0;
	return rc;
}

/* ------------------------------------------------------------------ the index */

/* Rebuilds the index by scanning the rows. */
static int index_collection(struct vs_store *s, struct collection *c)
{
	uint64_t bad = 0;

	for (uint32_t i = 0; i < c->segment_count; i++) {
		for (uint32_t slot = 0; slot < c->segments[i]->count; slot++) {
			int rc = collection_index_row(c, c->segments[i], slot);

			if (rc && rc != -EBADMSG)
				return rc;
			bad += rc == -EBADMSG;
		}
		while (files_mapped_full(&s->files))
			engine_unmap(s);
	}
	if (bad)
		engine_report(s, VS_ERROR, "%s: %llu damaged rows; run vecfs check", c->name,
			      (unsigned long long)bad);
	return 0;
}

/* Whether an error is about the files, and not about what the process or the machine is short of. */
static bool is_damage(int rc)
{
	return rc && rc != -EMFILE && rc != -ENFILE && rc != -ENOMEM && rc != -EAGAIN && rc != -EINTR;
}

/* A snapshot's segments, whose files are opened when somebody wants to see it. */
static int open_later(struct vs_store *s, struct collection *c)
{
	int rc = 0;

	for (uint32_t i = 0; i < c->segment_count && !rc; i++) {
		struct segment *old = c->segments[i], *seg;

		if (!old->count)
			continue;
		rc = segment_later(&s->files, c->id, i, &c->schema, old->count, old->names.end, &seg);
		if (rc)
			return rc;
		segment_put(s->io, old);
		c->segments[i] = seg;
	}
	return 0;
}

/* Files that are not as they should be make a damaged collection; without means to look at them none is
 * opened. */
static int load_collection(struct vs_store *s, struct collection *c)
{
	int rc;

	if (c->frozen)
		return open_later(s, c);
	rc = open_segments(s, c, false);

	collection_trim_segments(&s->table, c);
	if (is_damage(rc))
		damaged(s, c, "segment files", rc);
	if (rc)
		return is_damage(rc) ? 0 : rc;
	if (c->index_stamp) {
		rc = index_file_load(s->io, c);
		if (!is_damage(rc))
			return rc;
		engine_report(s, VS_WARNING, "%s: no index image (%s), rebuilding it", c->name,
			      strerror(-rc));
	}
	c->index_stamp = 0;
	rc = index_collection(s, c);
	if (c->count)
		s->finalized = false; /* an empty collection has no image */
	if (is_damage(rc))
		damaged(s, c, "index", rc);
	return is_damage(rc) ? 0 : rc;
}

/* ------------------------------------------------------------------ orphans: files that a crash left */

/* Whether a file in a collection's directory is ours and not in use. After a recovery no index file is. */
static bool file_is_left(const struct collection *c, const char *name)
{
	char *end;
	unsigned long n = strtoul(name, &end, 10);

	if (!strncmp(name, "upload.", 7))
		return !c->parent;
	if (views_file_is_left(c, name))
		return true;
	if (!strcmp(name, "index") || !strcmp(name, "index.new"))
		return true;
	if (end == name)
		return false;
	if (*end == '.' && column_of_suffix(end + 1) != SEGMENT_COLUMNS)
		return n >= c->segment_count || !segment_has_files(c->segments[n]);
	return *end == '.' && (column_is_handed_over(end + 1) || !strcmp(end, ".rows.copy"));
}

/* What a directory that cannot be listed has is for the next recovery to find. */
static void orphans_list(struct vs_store *s, const char *path, struct io_names *list)
{
	int rc = io_names_read(s->io, path, list);

	if (rc < 0 && rc != -ENOENT)
		s->has_orphans = true;
}

static void orphans_collect_collection(struct vs_store *s, struct collection *c)
{
	char path[SEGMENT_PATH_MAX], file[SEGMENT_PATH_MAX + 256];
	struct io_names list;

	collection_path(path, c->id, NULL);
	orphans_list(s, path, &list);
	for (size_t i = 0; i < list.count; i++) {
		if (!file_is_left(c, list.names[i]))
			continue;
		snprintf(file, sizeof file, "%s/%s", path, list.names[i]);
		if (s->io->ops->unlink(s->io, file) < 0)
			s->has_orphans = true;
		c->directory_changed = true;
	}
	io_names_free(&list);
}

/* Removes the spill files of snapshots that were open in a crash. */
static void orphans_collect_spills(struct vs_store *s)
{
	struct io_names list;

	io_names_read(s->io, ".", &list);
	for (size_t i = 0; i < list.count; i++)
		if (!strncmp(list.names[i], "spill.", 6))
			s->io->ops->unlink(s->io, list.names[i]);
	io_names_free(&list);
}

/* Removes what a crash left: files of changes that did not survive, or that did not need them any more. */
static void orphans_collect(struct vs_store *s)
{
	struct io_names list;

	orphans_list(s, "collections", &list);
	for (size_t i = 0; i < list.count; i++) {
		char *end;
		uint32_t id = (uint32_t)strtoul(list.names[i], &end, 10);

		if (*end || collection_get(&s->table, id))
			continue;
		/* A snapshot that got the number must not find it. */
		if (id >= s->next_collection && id < VS_COLLECTION_MAX)
			s->next_collection = id + 1;
		if (collection_unlink_id(s->io, id))
			s->has_orphans = true;
		s->directory_changed = true;
	}
	io_names_free(&list);
	for (uint32_t i = 0; i < s->table.count; i++)
		if (!s->table.all[i]->damaged)
			orphans_collect_collection(s, s->table.all[i]);
}

/* ------------------------------------------------------------------ all of it */

/* Opens a clone's files, once it has them. */
static int open_clone(struct vs_store *s, uint32_t collection)
{
	struct collection *c = collection_get(&s->table, collection);
	int rc;

	if (!c || c->frozen)
		return 0;
	c->directory_changed = true;
	rc = open_segments(s, c, true);
	if (rc == -EUCLEAN || rc == -ENOENT)
		damaged(s, c, "segment files", rc);
	return rc == -EUCLEAN || rc == -ENOENT ? 0 : rc;
}

static int write_frame(void *arg, const struct frame *frame, const void *payload)
{
	const char *p = payload, *start = p, *end = p + frame->payload_bytes;
	int rc = 0;

	while (p < end && !rc) {
		const struct record *r = (const struct record *)(const void *)p;

		p += r->bytes;
		if (r->type != RECORD_CLONE)
			continue;
		rc = apply_records(arg, start, (size_t)(p - start));
		if (!rc)
			rc = open_clone(arg, r->collection);
		start = p;
	}
	return rc ? rc : apply_records(arg, start, (size_t)(end - start));
}

/*
 * Opens the files of all collections, and creates what only the log knew. Files that are not as they should
 * be make a damaged collection; any other error ends the recovery, for the log must stay until its records
 * are where they belong.
 */
static int open_all(struct vs_store *s)
{
	for (uint32_t i = 0; i < s->table.count; i++) {
		struct collection *c = s->table.all[i];
		char path[SEGMENT_PATH_MAX];
		int rc;

		c->index_stamp = 0;
		if (!c->segment_count || c->frozen || c->unlinked)
			continue;
		collection_path(path, c->id, NULL);
		rc = s->io->ops->mkdir(s->io, path, 0700);
		c->directory_changed = true;
		rc = rc == -EEXIST || rc >= 0 ? open_segments(s, c, true) : rc;
		if (rc == -EUCLEAN || rc == -ENOENT)
			damaged(s, c, "segment files", rc);
		else if (rc)
			return rc;
	}
	s->directory_changed = true;
	return 0;
}

/* The recovered state becomes a catalog of its own; the log that led to it is not needed any more. */
static int finish(struct vs_store *s, const struct log_position *end)
{
	int rc = apply_sync(s);

	/* An epoch that no frame has had. */
	s->position = (struct log_position){end->epoch + 2, end->seq, end->prev, s->position.salt + 1};
	if (rc >= 0)
		rc = catalog_open_room(s);
	if (rc >= 0)
		rc = catalog_update(s, 0);
	if (rc >= 0)
		log_remove(s->io);
	return rc < 0 ? rc : 0;
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
static int replay_tables(struct vs_store *s, struct log_position *at, struct replay *attached, char *why,
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

static int unlink_left_segments(struct vs_store *s, const struct collection *c)
{
	int rc = is_wanted(s, c);
	bool wanted = rc > 0;

	for (uint32_t n = 0; n < c->segment_count && rc >= 0; n++)
		if (!c->segments[n]->count && !(wanted && c->segments[n]->cloned))
			rc = segment_unlink(s->io, c->id, n);
	return rc < 0 ? rc : 0;
}

/*
 * Names of shared files that nobody has any more go before anything is written: a file that has but one name
 * by what the log says must have but one. What is missing then is found by no orphans' collection.
 */
static int unlink_left(struct vs_store *s)
{
	struct io_names list;
	bool any = false;
	int rc = 0;

	for (uint32_t i = 0; i < s->table.count; i++)
		any |= s->table.all[i]->shares;
	if (!any)
		return 0;
	rc = io_names_read(s->io, "collections", &list);
	for (size_t i = 0; i < list.count && rc >= 0; i++) {
		char *end;
		uint32_t id = (uint32_t)strtoul(list.names[i], &end, 10);

		if (!*end && !collection_get(&s->table, id))
			rc = collection_unlink_id(s->io, id);
	}
	io_names_free(&list);
	for (uint32_t i = 0; i < s->table.count && rc >= 0; i++)
		if (s->table.all[i]->shares && !s->table.all[i]->frozen)
			rc = unlink_left_segments(s, s->table.all[i]);
	s->directory_changed = true;
	return rc < 0 ? rc : 0;
}

/* Segments that were opened for who was to share them, and have no rows. */
static int close_sources(struct vs_store *s, struct collection *c)
{
	for (uint32_t n = 0; n < c->segment_count; n++) {
		struct segment *old = c->segments[n], *seg;

		if (old->count || !segment_has_files(old))
			continue;
		seg = segment_placeholder(n, 0, 0);
		if (!seg)
			return -ENOMEM;
		segment_write_off(old);
		segment_put(s->io, old);
		c->segments[n] = seg;
		c->directory_changed = true;
	}
	return 0;
}

/* A collection, or segment of shared files, that gets the number of one that has gone must not find its files
 * after a crash. */
static int sync_orphans(struct vs_store *s)
{
	int rc = s->directory_changed ? s->io->ops->syncdir(s->io, "collections") : 0;

	for (uint32_t i = 0; i < s->table.count && rc >= 0; i++) {
		const struct collection *c = s->table.all[i];
		char path[SEGMENT_PATH_MAX];

		if (!c->shares || !c->directory_changed)
			continue;
		collection_path(path, c->id, NULL);
		rc = s->has_orphans ? -EIO : s->io->ops->syncdir(s->io, path);
	}
	return rc < 0 ? rc : 0;
}

/* Brings the store to our format version. From then on it is one that was not closed, with an empty log. */
static int convert(struct vs_store *s, bool *clean, char *why, size_t why_size)
{
	struct log_position start = s->position, end = start;
	int rc = *clean ? 0 : replay_tables(s, &end, NULL, why, why_size);

	if (!rc)
		rc = convert_store(s, &start, &end, why, why_size);
	*clean = false;
	s->version = FORMAT_VERSION;
	return rc;
}

static int replay_log(struct vs_store *s, char *why, size_t why_size)
{
	struct log_position at = s->position, again = at;
	int rc = replay_tables(s, &at, NULL, why, why_size);

	if (!rc)
		rc = unlink_left(s);
	if (!rc)
		rc = open_all(s);
	s->replaying = true;
	if (!rc)
		rc = log_scan(s->io, &again, false, write_frame, s, why, why_size);
	s->replaying = false;
	if (rc)
		return rc;
	for (uint32_t i = 0; i < s->table.count; i++) {
		struct collection *c = s->table.all[i];

		rc = c->frozen ? open_later(s, c) : close_sources(s, c);
		if (rc)
			return rc;
		if (c->frozen)
			continue;
		collection_trim_segments(&s->table, c);
		if (!c->damaged && (rc = verify_sizes(c)) == -EUCLEAN)
			damaged(s, c, "segment files", rc);
		if (!c->damaged && !rc)
			rc = index_collection(s, c);
		if (!c->damaged && rc)
			return rc;
	}
	rc = finish(s, &at);
	if (rc)
		return rc;
	orphans_collect(s);
	return sync_orphans(s);
}

/* ------------------------------------------------------------------ without writing */

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
	for (uint64_t slot = 0; slot >> c->shift == 0 && c->overlay.count; slot++)
		overlay_drop(&c->overlay, segment << c->shift | (uint32_t)slot);
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

void recover_free(struct vs_store *s)
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

static int column_size(struct segment *seg, enum segment_column column, uint64_t *size)
{
	int fd = segment_file(seg, column), rc;

	if (fd < 0)
		return fd;
	rc = seg->files->io->ops->size(seg->files->io, fd, size);
	segment_file_done(seg, column);
	return rc;
}

/* Every row that the log does not have must be in the files: there is nothing behind the end of a mapping. */
static int verify_backing(const struct collection *c, struct segment *seg)
{
	uint64_t size[SEGMENT_COLUMNS] = {0};

	for (enum segment_column i = 0; i < SEGMENT_COLUMNS && segment_has_files(seg); i++) {
		int rc = column_size(seg, i, &size[i]);

		if (rc < 0)
			return rc;
	}
	if (seg->names.end > size[SEGMENT_NAMES] / NAME_GRANULE)
		name_heap_init(&seg->names, (uint32_t)(size[SEGMENT_NAMES] / NAME_GRANULE));
	for (uint32_t slot = 0; slot < seg->count; slot++) {
		const struct overlay_item *item = overlay_find(&c->overlay, seg->n << c->shift | slot);
		bool there = (slot + 1ull) * sizeof(struct row) <= size[SEGMENT_ROWS];
		bool readable = segment_offset(seg, slot) + seg->row_bytes <= size[SEGMENT_VECTORS];

		if (item ? !item->data && item->meta->row.name_len && !readable : !there || !readable)
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
	for (uint32_t slot = seg->count; slot < seg->rows_max && c->overlay.count; slot++)
		overlay_drop(&c->overlay, i << c->shift | slot); /* trimmed */
	return verify_backing(c, seg);
}

static int load_replayed(struct vs_store *s, const struct replay *rp, struct collection *c)
{
	int rc = 0;

	if (c->lazy)
		return open_later(s, c);
	for (uint32_t i = 0; i < c->segment_count && !rc; i++)
		rc = load_segment_replayed(s, rp, c, i);
	c->unlinked = 0;
	if (!rc)
		rc = index_collection(s, c);
	if (rc != -EUCLEAN && rc != -ENOENT)
		return rc;
	damaged(s, c, "segment files", rc);
	return 0;
}

/*
 * The log of a store that is only read. Its rows go into the overlay, where those of any log are until they
 * are applied, and stay there; so the files are served as they are.
 */
static int replay_in_memory(struct vs_store *s, char *why, size_t why_size)
{
	struct log_position at = s->position, again = at;
	struct replay rp = {0};
	int rc = replay_tables(s, &at, &rp, why, why_size);

	if (!rc)
		rc = log_scan(s->io, &again, false, keep_frame, s, why, why_size);
	for (uint32_t i = 0; i < s->table.count && !rc; i++)
		rc = load_replayed(s, &rp, s->table.all[i]);
	free(rp.attached);
	return rc;
}

int recover(struct vs_store *s, char *why, size_t why_size)
{
	struct catalog_image image;
	bool valid[2], clean, converted;
	int rc = catalog_read(s->io, &image, valid);

	if (rc == -EUCLEAN)
		snprintf(why, why_size,
			 image.head ? "the catalog contradicts itself" : "both catalogs are damaged");
	if (rc == -EPROTO)
		snprintf(why, why_size, "of format version %u, which is newer than this program, whose is %u",
			 image.version, FORMAT_VERSION);
	if (rc) {
		catalog_free(&image);
		return rc;
	}
	clean = image.head->flags & CATALOG_CLEAN;
	converted = image.head->flags & CATALOG_CONVERTED;
	s->version = image.version;
	if (s->read_only && (converted || s->version != FORMAT_VERSION)) {
		snprintf(why, why_size, "of format version 1%s: open it once for writing, which converts it",
			 converted ? ", in part" : "");
		rc = -EPROTO;
	}
	if (!rc)
		rc = catalog_load(s, &image, why, why_size);
	if (!rc && !clean && !s->read_only)
		rc = catalog_sync(s);
	catalog_free(&image);
	if (!rc)
		rc = s->read_only ? 0 : catalog_open_room(s);
	if (rc)
		return rc;
	if (!s->read_only)
		orphans_collect_spills(s);
	if (converted)
		rc = convert_finish(s);
	else if (s->version != FORMAT_VERSION)
		rc = convert(s, &clean, why, why_size);
	if (rc)
		return rc;
	if (!clean && s->read_only)
		return replay_in_memory(s, why, why_size);
	if (!clean)
		rc = replay_log(s, why, why_size);
	s->finalized = clean;
	for (uint32_t i = 0; i < s->table.count && clean && !rc; i++)
		rc = load_collection(s, s->table.all[i]);
	if (!rc && !s->read_only)
		rc = clone_find_shares(s);
	return rc == -ENOENT ? -EIO : rc; /* there is a store, whatever is missing of it */
}
