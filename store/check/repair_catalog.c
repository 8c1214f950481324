/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair_catalog - a store without a catalog: its collections are found again by their directories. What only
 * the catalog knew is lost: names, metrics, permissions, and the salt without which no frame of the log can
 * be trusted.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "store/check/check.h"
#include "store/replay/convert_v1.h"
#include "store/array/npy.h"

/* ------------------------------------------------------------------ what files there are */

struct ids {
	uint32_t *all;
	size_t count;
};

static int add_id(void *arg, const char *name)
{
	struct ids *ids = arg;
	uint32_t *p, id;

	if (!check_number_parse(name, strlen(name), &id) || !id || id > VS_COLLECTION_MAX)
		return 0;
	p = realloc(ids->all, (ids->count + 1) * sizeof *p);
	if (!p)
		return -ENOMEM;
	ids->all = p;
	p[ids->count++] = id;
	return 0;
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* How many segments the file names tell of. */
static int count_segments(void *arg, const char *name)
{
	uint32_t *count = arg, n;
	enum segment_column column;

	if (check_file_parse(name, &n, &column) && n < 1u << SEGMENT_ROWS_BITS_MAX && n >= *count)
		*count = n + 1;
	return 0;
}

static uint64_t file_size(struct io *io, uint32_t collection, uint32_t n, enum segment_column column)
{
	char path[SEGMENT_PATH_MAX];
	uint64_t size = 0;
	int fd;

	segment_path(path, collection, n, column);
	fd = io->ops->open(io, path, O_RDONLY, 0);
	if (fd < 0)
		return 0;
	io->ops->size(io, fd, &size);
	io->ops->close(io, fd);
	return size;
}

/* The shape that the first legible .npy header tells. */
static bool find_schema(struct io *io, uint32_t collection, uint32_t segments, struct vs_schema *out)
{
	unsigned char page[NPY_HEADER_BYTES];
	struct npy_shape shape;
	bool found = false;

	for (uint32_t i = 0; i < segments && !found; i++) {
		char path[SEGMENT_PATH_MAX], why[256];
		size_t header_bytes;
		int fd;

		segment_path(path, collection, i, SEGMENT_VECTORS);
		fd = io->ops->open(io, path, O_RDONLY, 0);
		if (fd < 0)
			continue;
		found = !io_read_full(io, fd, page, sizeof page, 0) &&
			!npy_header_parse(page, sizeof page, &shape, &header_bytes, why, sizeof why);
		io->ops->close(io, fd);
	}
	if (found)
		*out = (struct vs_schema){.dim = shape.dim, .dtype = shape.dtype};
	return found;
}

/* ------------------------------------------------------------------ tables from them */

static int add_segment(struct check *k, struct collection *c, uint32_t i)
{
	uint64_t rows = file_size(k->io, c->id, i, SEGMENT_ROWS) / sizeof(struct row);
	uint64_t granules = file_size(k->io, c->id, i, SEGMENT_NAMES) / NAME_GRANULE;
	uint64_t rows_max = 1ull << c->shift, granules_max = rows_max * NAMES_CLASSES;
	struct segment *seg =
		segment_placeholder(i, (uint32_t)(rows < rows_max ? rows : rows_max),
				    (uint32_t)(granules < granules_max ? granules : granules_max));

	if (!seg || collection_reserve_segments(c, 1)) {
		segment_put(k->io, seg);
		return -ENOMEM;
	}
	collection_add_segment(&k->s->table, c, seg);
	return 0;
}

static int add_collection(struct check *k, uint32_t id)
{
	char name[VS_NAME_MAX + 1], path[SEGMENT_PATH_MAX];
	struct vs_schema schema = {0};
	struct collection *c;
	uint32_t segments = 0;
	int rc;

	collection_path(path, id, NULL);
	rc = k->io->ops->list(k->io, path, count_segments, &segments);
	for (uint32_t i = 0; i < segments && !rc; i++)
		if (convert_is_old(k->io, id, i))
			return check_stop(
				k, -EPROTO,
				"%s: of format version 1, and without a catalog it cannot be converted",
				path);
	if (rc == -ENOTDIR)
		return 0;
	if (rc)
		return rc;
	if (segments && !find_schema(k->io, id, segments, &schema)) {
		check_say(k, "%s: given up: nothing tells the size of its vectors", path);
		return 0; /* a unknown_file now, and kept as such */
	}
	snprintf(name, sizeof name, "lost+found-%u", id);
	c = collection_new(id, 0, name, k->s->hash_seed);
	if (!c || collection_add(&k->s->table, c)) {
		free(c);
		return -ENOMEM;
	}
	collection_set_schema(c, &schema);
	c->schema_fixed = segments;
	c->mtime = c->ctime = vs_time_now();
	k->s->next_collection = id + 1;
	for (uint32_t i = 0; i < segments && !rc; i++)
		rc = add_segment(k, c, i);
	check_say(k, "%s: its name is lost; it is %s now", path, name);
	return rc;
}

/* The highest permission class that an intact row of the collection refers to. */
static int find_perms(struct check *k, struct collection *c, uint32_t *max)
{
	struct check probe = {.io = k->io, .s = k->s};
	struct check_collection cc;
	int rc = check_collection_open(&probe, c, &cc);

	for (uint32_t i = 0; i < c->segment_count && !rc; i++)
		for (uint32_t slot = 0; slot < cc.segments[i].rows; slot++) {
			const struct row *r = &segment_rows(c->segments[i])[slot];

			if (r->name_len && r->perm > *max && segment_row_valid(c->segments[i], r))
				*max = r->perm;
		}
	check_collection_close(&cc);
	return rc;
}

static int make_perms(struct check *k)
{
	const struct perm_class mine = {.mode = 0700, .uid = getuid(), .gid = getgid()};
	uint32_t max = 0;
	int rc = 0;

	for (uint32_t i = 0; i < k->s->table.count && !rc; i++)
		rc = find_perms(k, k->s->table.all[i], &max);
	for (uint32_t i = 0; i <= max && !rc; i++)
		rc = engine_perm_add(k->s, i, &mine);
	return rc;
}

static void new_identity(struct vs_store *s)
{
	engine_random(s->uuid, sizeof s->uuid);
	engine_random(&s->hash_seed, sizeof s->hash_seed);
	engine_random(&s->position.salt, sizeof s->position.salt);
	s->position.epoch = s->position.seq = 1;
	s->next_collection = 1;
	s->root.perm = PERM_NONE;
	s->root.mtime = s->root.ctime = vs_time_now();
	collection_table_init(&s->table, s->hash_seed);
}

int repair_catalog(struct check *k)
{
	struct ids ids = {0};
	int rc = k->io->ops->list(k->io, "collections", add_id, &ids);

	if (rc == -ENOENT || rc == -ENOTDIR)
		rc = 0;
	new_identity(k->s);
	if (ids.count)
		qsort(ids.all, ids.count, sizeof *ids.all, compare_ids);
	for (size_t i = 0; i < ids.count && !rc; i++)
		rc = add_collection(k, ids.all[i]);
	free(ids.all);
	if (!rc)
		rc = make_perms(k);
	if (!rc && log_exists(k->io)) {
		check_say(k, "the log is given up: changes since the last checkpoint may be lost, "
			     "and vectors removed since may be back");
		log_remove(k->io);
	}
	return rc;
}
