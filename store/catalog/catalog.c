/* SPDX-License-Identifier: Apache-2.0 */
#include "store/catalog/catalog.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/base/checksum.h"
#include "store/catalog/catalog_v1.h"
#include "store/engine.h"

/* So much is kept allocated beyond what is needed: more than any one change but a very large batch takes. */
#define CATALOG_AHEAD (2u << 10)

static const char *const paths[2] = {"catalog.0", "catalog.1"};

static size_t padded(size_t n)
{
	return (n + 7) / 8 * 8;
}

static size_t perms_bytes(uint32_t perms)
{
	return padded(perms * sizeof(struct perm_class));
}

static uint64_t image_bytes(const struct vs_store *s)
{
	return sizeof(struct catalog) + sizeof(struct catalog_root) + perms_bytes(s->perm_count) +
	       s->table.name_bytes + s->table.attribute_bytes +
	       s->table.count * sizeof(struct catalog_collection) +
	       s->table.segments * sizeof(struct catalog_segment);
}

static uint64_t catalog_sum(const struct catalog *head)
{
	struct catalog h = *head;
	uint64_t seed;

	h.sum = 0;
	seed = XXH3_64bits(&h, sizeof h);
	return XXH3_64bits_withSeed(head + 1, h.bytes - sizeof h, seed);
}

struct catalog_collection catalog_describe(const struct collection *c)
{
	return (struct catalog_collection){
		.id = c->id,
		.parent = c->parent,
		.dim = c->schema.dim,
		.dtype = (uint8_t)c->schema.dtype,
		.metric = (uint8_t)c->schema.metric,
		.schema_flags = (uint8_t)((c->schema_fixed ? SCHEMA_FIXED : 0) |
					  (c->schema_given ? SCHEMA_GIVEN : 0) |
					  (c->dim_given ? SCHEMA_DIM_GIVEN : 0)),
		.name_len = (uint8_t)strlen(c->name),
		.perm = c->perm,
		.mtime = c->mtime,
		.ctime = c->ctime,
	};
}

void catalog_schema(const struct catalog_collection *in, struct collection *c)
{
	struct vs_schema schema = {.dim = in->dim, .dtype = in->dtype, .metric = in->metric};

	collection_set_schema(c, &schema);
	c->schema_fixed = in->schema_flags & SCHEMA_FIXED;
	/* A store of before the flags were: what is not the default has been set by somebody. */
	c->schema_given = in->schema_flags & SCHEMA_GIVEN || (!c->schema_fixed && (in->dim || in->dtype));
	c->dim_given = in->dim && (in->schema_flags & SCHEMA_DIM_GIVEN || !c->schema_fixed);
}

static void put_digests(struct catalog_segment *cs, const struct segment *seg)
{
	unsigned n = 0;

	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++)
		if (column_defs[i].is_digested)
			cs->digests[n++] = seg->digests[i];
	assert(n == CATALOG_DIGESTS);
}

static void take_digests(struct segment *seg, const struct catalog_segment *cs)
{
	unsigned n = 0;

	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++)
		if (column_defs[i].is_digested)
			seg->digests[i] = cs->digests[n++];
}

static char *put_collection(char *p, const struct collection *c, bool clean)
{
	struct catalog_collection *out = (struct catalog_collection *)(void *)p;
	size_t len = strlen(c->name);

	*out = catalog_describe(c);
	out->segments = c->segment_count;
	out->next_entry = c->next_entry;
	out->index_stamp = clean ? c->index_stamp : 0;
	out->index_sum = clean ? c->index_sum : 0;
	out->attributes_bytes = c->attributes.bytes;
	p = (char *)(out + 1);
	memcpy(p, c->name, len);
	p += padded(len);
	if (c->attributes.bytes)
		memcpy(p, c->attributes.run, c->attributes.bytes);
	p += c->attributes.bytes;
	for (uint32_t i = 0; i < c->segment_count; i++) {
		const struct segment *seg = c->segments[i];
		struct catalog_segment *cs = (struct catalog_segment *)(void *)p;

		cs->count = seg->count;
		cs->name_heap_end = seg->names.end;
		if (clean)
			put_digests(cs, seg);
		p = (char *)(cs + 1);
	}
	return p;
}

int catalog_snapshot(const struct vs_store *s, uint32_t flags, struct catalog_image *out)
{
	uint64_t bytes = image_bytes(s);
	struct catalog *head = calloc(1, bytes);
	char *p;

	*out = (struct catalog_image){.version = FORMAT_VERSION, .head = head};
	if (!head)
		return -ENOMEM;
	head->magic = CATALOG_MAGIC;
	head->version = FORMAT_VERSION;
	head->flags = flags;
	memcpy(head->uuid, s->uuid, sizeof head->uuid);
	head->bytes = bytes;
	head->hash_seed = s->hash_seed;
	head->perms = s->perm_count;
	head->collections = s->table.count;
	head->next_collection = s->next_collection;
	p = (char *)(head + 1);
	memcpy(p, &s->root, sizeof s->root);
	p += sizeof s->root;
	if (s->perm_count)
		memcpy(p, s->perms, s->perm_count * sizeof *s->perms);
	p += perms_bytes(s->perm_count);
	for (uint32_t i = 0; i < s->table.slots; i++)
		if (s->table.all[i])
			p = put_collection(p, s->table.all[i], flags & CATALOG_CLEAN);
	assert(p == (char *)head + bytes);
	return 0;
}

void catalog_free(struct catalog_image *image)
{
	free(image->head);
	image->head = NULL;
}

bool catalog_is_zero(const char *p, uint64_t size)
{
	return !size || (!*p && !memcmp(p, p + 1, size - 1));
}

static int slot_write(struct vs_store *s, int fd, const void *data, uint64_t size, uint64_t off)
{
	int rc = io_write_full(s->io, fd, data, size, off);

	if (rc)
		return rc;
	rc = s->io->ops->datasync(s->io, fd);
	s->log.sync_failed |= rc < 0;
	return rc < 0 ? rc : 0;
}

/*
 * What is behind a slot's image is zeros, so that every byte of it can be checked. What is left there of a
 * longer one goes before the image is written: in one write with it, a crash might leave the image whole and
 * that torn.
 */
static int clear_behind(struct vs_store *s, int fd, uint64_t end)
{
	uint64_t size = s->catalog_room - end;
	char *behind = malloc(size + 1);
	int rc = 0;

	if (!behind)
		return -ENOMEM;
	if (io_read_full(s->io, fd, behind, size, end) || !catalog_is_zero(behind, size)) {
		memset(behind, 0, size);
		rc = slot_write(s, fd, behind, size, end);
	}
	free(behind);
	return rc;
}

int catalog_write(struct vs_store *s, struct catalog_image *image)
{
	struct catalog *head = image->head;
	int fd, rc;

	assert(head->bytes <= s->catalog_room);
	if (s->io->lost) /* then it may have been made of zeros */
		return -EIO;
	head->seq = s->catalog_seq + 1;
	head->sum = catalog_sum(head);
	fd = s->io->ops->open(s->io, paths[head->seq % 2], O_RDWR, 0);
	if (fd < 0)
		return fd;
	rc = clear_behind(s, fd, head->bytes);
	if (!rc)
		rc = slot_write(s, fd, head, head->bytes, 0);
	s->io->ops->close(s->io, fd);
	if (!rc)
		s->catalog_seq = head->seq;
	return rc;
}

int catalog_reserve(struct vs_store *s, uint32_t segments)
{
	return catalog_reserve_bytes(s, sizeof(struct catalog_collection) + 256 +
						segments * sizeof(struct catalog_segment) +
						8 * sizeof(struct perm_class));
}

/* Makes both slots as long; by one thread at a time. */
static int allocate(struct vs_store *s, uint64_t need)
{
	uint64_t room = (need + need / 4 + CATALOG_ALIGN - 1) / CATALOG_ALIGN * CATALOG_ALIGN;
	int rc = 0;

	pthread_mutex_lock(&s->catalog_mutex);
	for (int i = 0; i < 2 && rc >= 0 && room > s->catalog_room; i++) {
		int fd = s->io->ops->open(s->io, paths[i], O_RDWR | O_CREAT, 0600);

		rc = fd < 0 ? fd : io_allocate(s->io, fd, 0, 0, room);
		if (fd >= 0)
			s->io->ops->close(s->io, fd);
	}
	if (rc >= 0 && room > s->catalog_room)
		s->catalog_room = room;
	pthread_mutex_unlock(&s->catalog_mutex);
	return rc < 0 ? rc : 0;
}

int catalog_reserve_bytes(struct vs_store *s, uint64_t more)
{
	uint64_t need = image_bytes(s) + more;

	s->catalog_short = need + CATALOG_AHEAD > s->catalog_room;
	return need <= s->catalog_room ? 0 : allocate(s, need);
}

void catalog_grow(struct vs_store *s)
{
	uint64_t need;

	pthread_rwlock_rdlock(&s->lock);
	need = image_bytes(s) + CATALOG_AHEAD;
	pthread_rwlock_unlock(&s->lock);
	s->catalog_short = false;
	allocate(s, need);
}

int catalog_write_at(struct vs_store *s, struct catalog_image *image)
{
	int rc;

	image->head->log_epoch = s->position.epoch;
	image->head->log_seq = s->position.seq;
	image->head->log_prev = s->position.prev;
	image->head->log_salt = s->position.salt;
	rc = catalog_write(s, image);
	catalog_free(image);
	return rc;
}

int catalog_update(struct vs_store *s, uint32_t flags)
{
	struct catalog_image image;
	int rc = catalog_snapshot(s, flags, &image);

	return rc ? rc : catalog_write_at(s, &image);
}

/* The size of a slot's file, 0 if there is none. */
static int slot_size(struct io *io, int i, uint64_t *size)
{
	int fd = io->ops->open(io, paths[i], O_RDONLY, 0), rc;

	*size = 0;
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	rc = io->ops->size(io, fd, size);
	io->ops->close(io, fd);
	return rc < 0 ? rc : 0;
}

/* Cuts what a crash while space was allocated left in only one of the slots. */
static int slot_trim(struct io *io, int i, uint64_t room)
{
	uint64_t size;
	int rc = slot_size(io, i, &size), fd;

	if (rc || size <= room)
		return rc;
	fd = io->ops->open(io, paths[i], O_RDWR, 0);
	if (fd < 0)
		return fd;
	rc = io->ops->truncate(io, fd, room);
	io->ops->close(io, fd);
	return rc < 0 ? rc : 0;
}

int catalog_open_room(struct vs_store *s)
{
	uint64_t size[2];
	int rc = 0;

	for (int i = 0; i < 2 && !rc; i++)
		rc = slot_size(s->io, i, &size[i]);
	if (rc)
		return rc;
	s->catalog_room = (size[0] < size[1] ? size[0] : size[1]) / CATALOG_ALIGN * CATALOG_ALIGN;
	if (image_bytes(s) > s->catalog_room) {
		/* The slot that there is comes first: a store has a valid catalog or none. */
		rc = s->io->ops->syncdir(s->io, ".");
		if (rc >= 0)
			rc = catalog_reserve(s, 1);
		if (rc >= 0)
			rc = s->io->ops->syncdir(s->io, ".");
	}
	for (int i = 0; i < 2 && rc >= 0; i++)
		rc = slot_trim(s->io, i, s->catalog_room);
	return rc < 0 ? rc : 0;
}

int catalog_create(struct vs_store *s)
{
	struct catalog_image image;
	char buf[CATALOG_ALIGN] = {0};
	int rc = catalog_snapshot(s, CATALOG_CLEAN, &image), fd;

	if (rc)
		return rc;
	image.head->seq = s->catalog_seq = 1;
	image.head->log_epoch = s->position.epoch;
	image.head->log_salt = s->position.salt;
	image.head->sum = catalog_sum(image.head);
	assert(image.head->bytes <= sizeof buf);
	memcpy(buf, image.head, image.head->bytes);
	catalog_free(&image);
	fd = s->io->ops->open(s->io, "catalog.new", O_RDWR | O_CREAT | O_TRUNC, 0600);
	rc = fd < 0 ? fd : io_write_full(s->io, fd, buf, sizeof buf, 0);
	if (!rc)
		rc = s->io->ops->datasync(s->io, fd);
	if (fd >= 0)
		s->io->ops->close(s->io, fd);
	if (rc >= 0)
		rc = s->io->ops->rename(s->io, "catalog.new", paths[1]);
	if (rc >= 0) /* before the other slot exists: a store has a valid catalog or none */
		rc = s->io->ops->syncdir(s->io, ".");
	if (rc >= 0)
		rc = catalog_open_room(s);
	if (rc >= 0 && !s->catalog_room)
		rc = catalog_reserve(s, 1);
	return rc < 0 ? rc : s->io->ops->syncdir(s->io, ".");
}

/* ------------------------------------------------------------------ reading */

/* What is read after this is on the disk: the page cache may have a slot that is not there yet (after a
 * SIGKILL) or never will be (after a failed sync), while the log goes by it and the other slot is written. */
static int slot_sync(struct io *io, int fd)
{
	int rc = io->ops->datasync(io, fd);

	if (rc >= 0)
		io->ops->forget(io, fd);
	return rc < 0 ? rc : 0;
}

/* Reads one slot whole: *out is NULL if it is missing or not valid, and *version then what it says all the
 * same. */
static int slot_read(struct io *io, const char *path, struct catalog **out, bool *exists, uint32_t *version)
{
	int fd = io->ops->open(io, path, O_RDONLY, 0), rc;
	struct catalog *head = NULL;
	uint64_t size = 0;

	*out = NULL;
	*exists = fd >= 0;
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	rc = io->read_only ? 0 : slot_sync(io, fd);
	if (rc >= 0)
		rc = io->ops->size(io, fd, &size);
	if (rc >= 0 && size >= sizeof *head && size <= SIZE_MAX / 2) {
		head = malloc(size);
		rc = head ? io_read_full(io, fd, head, size, 0) : -ENOMEM;
	}
	io->ops->close(io, fd);
	if (rc >= 0 && head && head->magic == CATALOG_MAGIC && head->bytes >= sizeof *head &&
	    head->bytes <= size && head->sum == catalog_sum(head)) {
		*out = head;
		return 0;
	}
	if (rc >= 0 && head && head->magic == CATALOG_MAGIC)
		*version = head->version;
	free(head);
	return rc < 0 ? rc : 0;
}

/* Judges the version of the slot that counts, and brings it to ours. */
static int image_adapt(struct catalog_image *image)
{
	image->version = image->head->version;
	if (image->version > FORMAT_VERSION || image->version < FORMAT_VERSION_OLDEST)
		return -EPROTO;
	return image->version < FORMAT_VERSION ? convert_catalog(image) : 0;
}

int catalog_read(struct io *io, struct catalog_image *out, bool valid[2])
{
	struct catalog *slot[2];
	uint32_t version[2] = {0};
	bool exists[2];
	int best, rc;

	*out = (struct catalog_image){0};
	rc = slot_read(io, paths[0], &slot[0], &exists[0], &version[0]);
	if (rc)
		return rc;
	rc = slot_read(io, paths[1], &slot[1], &exists[1], &version[1]);
	if (rc) {
		free(slot[0]);
		return rc;
	}
	valid[0] = slot[0];
	valid[1] = slot[1];
	if (!slot[0] && !slot[1] && (version[0] > FORMAT_VERSION || version[1] > FORMAT_VERSION)) {
		out->version = version[0] > version[1] ? version[0] : version[1];
		return -EPROTO; /* it may well have another sum */
	}
	if (!slot[0] && !slot[1])
		return exists[0] || exists[1] ? -EUCLEAN : -ENOENT;
	best = !slot[0] || (slot[1] && slot[1]->seq > slot[0]->seq);
	free(slot[!best]);
	out->head = slot[best];
	return image_adapt(out);
}

/* Reads forward through an image and never beyond its end. */
struct reader {
	const char *p, *end;
};

/* NULL if there is not as much. */
static const void *reader_take(struct reader *r, uint64_t bytes)
{
	const char *p = r->p;

	if (bytes > (uint64_t)(r->end - p))
		return NULL;
	r->p += bytes;
	return p;
}

/* Whatever a file says is a time. */
static vs_time collection_time(uint64_t t)
{
	return t < VS_TIME_END ? t : VS_TIME_END - 1;
}

bool catalog_plausible(const struct vs_store *s, const struct catalog_collection *in, const char *name)
{
	struct vs_schema schema = {.dim = in->dim, .dtype = in->dtype, .metric = in->metric};
	const struct collection *up = collection_get(&s->table, in->parent);

	if (!in->id || in->id > VS_COLLECTION_MAX || (in->parent && (!up || up->parent)))
		return false;
	if (in->dtype >= VS_DTYPE_COUNT || in->metric >= VS_METRIC_COUNT ||
	    vs_row_bytes(&schema) > VS_ROW_BYTES_MAX || (in->schema_flags & SCHEMA_FIXED && !in->dim))
		return false;
	return in->perm < s->perm_count && !vs_name_check(name, in->name_len);
}

/* Closed segments, known by count only: recovery opens them. */
static int load_segments(struct vs_store *s, struct collection *c, const struct catalog_segment *cs,
			 uint32_t n)
{
	uint64_t rows_max = 1ull << c->shift;

	if (n && (!c->schema_fixed || (uint64_t)n << c->shift > ROW_NONE))
		return -EUCLEAN;
	for (uint32_t i = 0; i < n; i++) {
		struct segment *seg;

		if (cs[i].count > rows_max || cs[i].name_heap_end > rows_max * NAMES_CLASSES)
			return -EUCLEAN;
		seg = segment_placeholder(i, cs[i].count, cs[i].count ? cs[i].name_heap_end : 0);
		if (!seg || collection_reserve_segments(c, 1)) {
			segment_put(s->io, seg);
			return -ENOMEM;
		}
		take_digests(seg, &cs[i]);
		collection_add_segment(&s->table, c, seg);
	}
	return 0;
}

static int load_attributes(struct vs_store *s, struct collection *c, const char *run, uint32_t bytes,
			   char *why, size_t why_size)
{
	uint32_t tag = 0;
	int rc = attributes_parse(&c->attributes, run, bytes, &tag);

	(void)s;
	if (rc == -EPROTO)
		catalog_refuse_attribute(c->name, tag, why, why_size);
	return rc ? rc : collection_read_attributes(c);
}

void catalog_refuse_attribute(const char *collection, uint32_t tag, char *why, size_t why_size)
{
	snprintf(why, why_size,
		 "%s has an attribute (tag %u) that this program does not know: a newer vecfs wrote it",
		 collection, tag);
}

static int load_collection(struct vs_store *s, struct reader *r, char *why, size_t why_size)
{
	const struct catalog_collection *in = reader_take(r, sizeof *in);
	const char *text = in ? reader_take(r, padded(in->name_len)) : NULL;
	const char *attributes = text ? reader_take(r, padded(in->attributes_bytes)) : NULL;
	const struct catalog_segment *cs =
		attributes ? reader_take(r, (uint64_t)in->segments * sizeof *cs) : NULL;
	uint32_t last = s->table.slots ? s->table.ids[s->table.slots - 1] : 0;
	char name[VS_NAME_MAX + 1] = {0};
	struct collection *c;
	int rc;

	if (!cs || in->id <= last || in->id >= s->next_collection || !catalog_plausible(s, in, text) ||
	    in->next_entry < VS_ENTRY_FIRST || in->next_entry > 1ull << VS_ENTRY_BITS)
		return -EUCLEAN;
	memcpy(name, text, in->name_len);
	c = collection_new(in->id, in->parent, name, s->hash_seed);
	if (!c)
		return -ENOMEM;
	rc = load_attributes(s, c, attributes, in->attributes_bytes, why, why_size);
	if (!rc && (c->frozen ? collection_find_frozen(&s->table, in->parent, name)
			      : collection_find(&s->table, in->parent, name)))
		rc = -EUCLEAN;
	if (!rc)
		rc = collection_add(&s->table, c);
	if (rc) {
		collection_free(s->io, c);
		return rc;
	}
	catalog_schema(in, c);
	c->perm = in->perm;
	c->mtime = collection_time(in->mtime);
	c->ctime = collection_time(in->ctime);
	c->next_entry = in->next_entry;
	c->index_stamp = in->index_stamp;
	c->index_sum = in->index_sum;
	return load_segments(s, c, cs, in->segments);
}

static int load_root(struct vs_store *s, const struct catalog_root *root)
{
	s->root = *root;
	s->root.mtime = collection_time(root->mtime);
	s->root.ctime = collection_time(root->ctime);
	return root->perm == PERM_NONE || root->perm < s->perm_count ? 0 : -EUCLEAN;
}

int catalog_load(struct vs_store *s, const struct catalog_image *image, char *why, size_t why_size)
{
	const struct catalog *head = image->head;
	struct reader r = {(const char *)(head + 1), (const char *)head + head->bytes};
	const struct catalog_root *root = reader_take(&r, sizeof *root);
	const struct perm_class *perms = root ? reader_take(&r, perms_bytes(head->perms)) : NULL;
	bool sound = perms && head->next_collection && head->next_collection <= VS_COLLECTION_MAX + 1u;
	int rc = sound ? 0 : -EUCLEAN;

	memcpy(s->uuid, head->uuid, sizeof s->uuid);
	s->hash_seed = head->hash_seed;
	s->next_collection = head->next_collection;
	s->catalog_seq = head->seq;
	s->position = (struct log_position){head->log_epoch, head->log_seq, head->log_prev, head->log_salt};
	collection_table_init(&s->table, head->hash_seed);
	for (uint32_t i = 0; i < head->perms && !rc; i++)
		rc = engine_perm_add(s, i, &perms[i]);
	if (!rc)
		rc = load_root(s, root);
	for (uint32_t i = 0; i < head->collections && !rc; i++)
		rc = load_collection(s, &r, why, why_size);
	for (uint32_t i = 0; i < s->table.count && !rc; i++) {
		struct collection *parent = collection_get(&s->table, s->table.all[i]->parent);

		if (parent)
			parent->children++;
	}
	if (rc == -EUCLEAN)
		snprintf(why, why_size, "the catalog contradicts itself");
	return rc;
}
