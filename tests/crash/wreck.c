/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/crash/wreck.h"

#define FILES_MAX 64
#define PATH_BYTES 128

static const struct vs_perm perm = {.mode = 0644, .uid = 1000, .gid = 1000};

/* ------------------------------------------------------------------ what is in it */

void wreck_vector(const char *collection, const char *id, uint32_t dim, float *out)
{
	uint32_t seed = 17;

	for (const char *p = collection; *p; p++)
		seed = seed * 31 + (unsigned char)*p;
	for (const char *p = id; *p; p++)
		seed = seed * 31 + (unsigned char)*p;
	for (uint32_t i = 0; i < dim; i++) {
		seed = seed * 1664525 + 1013904223;
		out[i] = (float)(seed >> 8) / (1 << 24);
	}
}

static void put(struct vs_store *s, uint32_t c, const char *collection, const char *id, uint32_t dim)
{
	struct vs_attr attr = {.mtime = 1, .perm = perm};
	float *v = malloc(dim * sizeof *v);

	wreck_vector(collection, id, dim, v);
	assert_int_equal(vs_entry_reserve(s, c, &attr.entry), 0);
	assert_int_equal(vs_put(s, c, id, &attr, v, dim * sizeof *v, NULL), 0);
	free(v);
}

void wreck_put(struct vs_store *s, const char *collection, const char *id)
{
	struct vs_collection_info c;

	assert_int_equal(vs_collection_find(s, 0, collection, &c), 0);
	/* A collection without vectors takes any. */
	put(s, c.id, collection, id, c.schema.dim ? c.schema.dim : WRECK_TINY_DIM);
	assert_int_equal(vs_sync(s), 0);
}

/* A batch above 1 MiB becomes a segment of its own. */
static void put_batch(struct vs_store *s, uint32_t c, const char *prefix)
{
	struct vs_schema schema = {.dim = WRECK_DOCS_DIM, .dtype = VS_F32};
	float *v = malloc(WRECK_DOCS_DIM * sizeof *v);
	struct vs_upload *u;
	char ids[1024], why[256], *p = ids;
	uint32_t batch;

	assert_int_equal(vs_collection_create(s, c, prefix, &perm, &batch), 0);
	assert_int_equal(vs_upload_begin(s, batch, &schema, &u), 0);
	for (unsigned i = 0; i < WRECK_DOCS_BATCH; i++) {
		char id[32];

		snprintf(id, sizeof id, "%s-%u", prefix, i);
		p += sprintf(p, "%s\n", id);
		wreck_vector("docs", id, WRECK_DOCS_DIM, v);
		assert_int_equal(vs_upload_append(u, v, WRECK_DOCS_DIM * sizeof *v), 0);
	}
	assert_int_equal(vs_upload_end(u, true), 0);
	assert_int_equal(vs_batch_text_write(s, batch, VS_BATCH_IDS, ids, (size_t)(p - ids), 0), 0);
	assert_int_equal(vs_batch_commit(s, batch, 0, NULL, why, sizeof why), 0);
	free(v);
}

void wreck_new(struct wreck *w)
{
	uint32_t docs, tiny, twin, empty;
	struct vs_store *s;
	char id[32];

	memset(w, 0, sizeof *w);
	w->disk = simdisk_new();
	w->io = simdisk_io(w->disk);
	s = wreck_open(w);
	assert_int_equal(vs_collection_create(s, 0, "docs", &perm, &docs), 0);
	assert_int_equal(vs_collection_create(s, 0, "tiny", &perm, &tiny), 0);
	assert_int_equal(vs_collection_create(s, 0, "twin", &perm, &twin), 0);
	assert_int_equal(vs_collection_create(s, 0, "empty", &perm, &empty), 0);
	for (unsigned i = 0; i < WRECK_DOCS_FILES; i++) {
		snprintf(id, sizeof id, "file-%u", i);
		put(s, docs, "docs", id, WRECK_DOCS_DIM);
	}
	for (unsigned i = 0; i < WRECK_TINY; i++) {
		snprintf(id, sizeof id, "t-%u", i);
		put(s, tiny, "tiny", id, WRECK_TINY_DIM);
		put(s, twin, "twin", id, 2);
	}
	put_batch(s, docs, "b1");
	put_batch(s, docs, "b2");
	assert_int_equal(vs_close(s), 0);
}

void wreck_free(struct wreck *w)
{
	simdisk_free(w->disk);
}

struct vs_store *wreck_open(struct wreck *w)
{
	struct vs_options options = {.io = w->io, .log_bytes = 4u << 20};
	struct vs_store *s;
	char why[256];
	int rc = vs_open(NULL, &options, &s, why, sizeof why);

	if (rc)
		fail_msg("the store does not open: %s", why);
	return s;
}

void wreck_keep_line(void *arg, const char *line)
{
	struct wreck *w = arg;
	size_t len = strlen(w->lines);

	snprintf(w->lines + len, sizeof w->lines - len, "%s\n", line);
}

int wreck_check(struct wreck *w, bool repair)
{
	int rc;

	w->lines[0] = 0;
	rc = vs_check(NULL, w->io, repair, wreck_keep_line, w);
	assert_int_equal(simdisk_handles(w->disk), 0);
	return rc;
}

bool wreck_said(const struct wreck *w, const char *text)
{
	return strstr(w->lines, text);
}

/* ------------------------------------------------------------------ reading */

/* An empty buffer for a vector and one for what it should be. */
static bool same(struct vs_store *s, const struct vs_collection_info *c, const char *title, const char *id,
		 uint64_t entry)
{
	size_t size = c->row_bytes;
	float *want = malloc(size), *got = malloc(size);
	ssize_t n = vs_read(s, c->id, entry, got, size, 0);

	wreck_vector(title, id, c->schema.dim, want);
	if (n >= 0) {
		assert_int_equal(n, size);
		assert_memory_equal(got, want, size);
	} else if (n != -EIO) {
		fail_msg("%s/%s: read answers %zd", title, id, n);
	}
	free(want);
	free(got);
	return n >= 0;
}

bool wreck_reads(struct vs_store *s, const char *collection, const char *id)
{
	struct vs_collection_info c;
	struct vs_attr attr;

	assert_int_equal(vs_collection_find(s, 0, collection, &c), 0);
	return !vs_lookup(s, c.id, id, &attr) && same(s, &c, collection, id, attr.entry);
}

struct served {
	struct {
		uint64_t entry;
		char id[32];
	} all[64];
	unsigned count;
};

static bool add_served(void *arg, const struct vs_attr *attr, const char *name, size_t len)
{
	struct served *served = arg;

	served->all[served->count].entry = attr->entry;
	snprintf(served->all[served->count++].id, 32, "%.*s", (int)len, name);
	return true;
}

unsigned wreck_served_as(struct vs_store *s, const char *collection, const char *title)
{
	struct served served = {0};
	struct vs_collection_info c;
	unsigned n = 0;

	if (vs_collection_find(s, 0, collection, &c) || vs_list(s, c.id, 0, add_served, &served))
		return 0;
	for (unsigned i = 0; i < served.count; i++)
		n += same(s, &c, title, served.all[i].id, served.all[i].entry);
	return n;
}

unsigned wreck_served(struct vs_store *s, const char *collection)
{
	return wreck_served_as(s, collection, collection);
}

/* ------------------------------------------------------------------ damage */

static int open_file(struct wreck *w, const char *path, int flags)
{
	int fd = w->io->ops->open(w->io, path, O_RDWR | flags, 0600);

	if (fd < 0)
		fail_msg("%s: cannot be opened", path);
	return fd;
}

uint64_t wreck_size(struct wreck *w, const char *path)
{
	int fd = open_file(w, path, 0);
	uint64_t size;

	assert_int_equal(w->io->ops->size(w->io, fd, &size), 0);
	w->io->ops->close(w->io, fd);
	return size;
}

void wreck_flip(struct wreck *w, const char *path, uint64_t off)
{
	int fd = open_file(w, path, 0);
	unsigned char byte;

	assert_int_equal(io_read_full(w->io, fd, &byte, 1, off), 0);
	byte ^= (unsigned char)(1 + off % 255);
	assert_int_equal(io_write_full(w->io, fd, &byte, 1, off), 0);
	w->io->ops->close(w->io, fd);
}

void wreck_zero(struct wreck *w, const char *path, uint64_t off, size_t size)
{
	int fd = open_file(w, path, 0);
	char *zeros = calloc(1, size);

	assert_int_equal(io_write_full(w->io, fd, zeros, size, off), 0);
	w->io->ops->close(w->io, fd);
	free(zeros);
}

void wreck_resize(struct wreck *w, const char *path, uint64_t size)
{
	int fd = open_file(w, path, 0);

	assert_int_equal(w->io->ops->truncate(w->io, fd, size), 0);
	w->io->ops->close(w->io, fd);
}

void wreck_remove(struct wreck *w, const char *path)
{
	assert_int_equal(w->io->ops->unlink(w->io, path), 0);
}

void wreck_swap(struct wreck *w, const char *a, const char *b)
{
	assert_int_equal(w->io->ops->rename(w->io, a, "swapped"), 0);
	assert_int_equal(w->io->ops->rename(w->io, b, a), 0);
	assert_int_equal(w->io->ops->rename(w->io, "swapped", b), 0);
}

void wreck_add(struct wreck *w, const char *path)
{
	int fd = open_file(w, path, O_CREAT | O_EXCL);

	assert_int_equal(io_write_full(w->io, fd, "strange", 7, 0), 0);
	w->io->ops->close(w->io, fd);
}

/* ------------------------------------------------------------------ all files */

struct name_heap {
	const char *dir;
	char path[FILES_MAX][PATH_BYTES];
	unsigned count;
};

static int add_name(void *arg, const char *name)
{
	struct name_heap *names = arg;

	assert_true(names->count < FILES_MAX);
	snprintf(names->path[names->count++], PATH_BYTES, "%s%s%s", names->dir ? names->dir : "",
		 names->dir ? "/" : "", name);
	return 0;
}

static bool is_directory(struct wreck *w, const char *path)
{
	struct name_heap ignored = {0};

	return !w->io->ops->list(w->io, path, add_name, &ignored);
}

static void list_files(struct wreck *w, struct name_heap *out)
{
	struct name_heap dirs = {.dir = "collections"};

	memset(out, 0, sizeof *out);
	w->io->ops->list(w->io, ".", add_name, out);
	for (unsigned i = 0; i < out->count;) {
		if (is_directory(w, out->path[i]))
			memcpy(out->path[i], out->path[--out->count], PATH_BYTES);
		else
			i++;
	}
	w->io->ops->list(w->io, "collections", add_name, &dirs);
	for (unsigned i = 0; i < dirs.count; i++) {
		out->dir = dirs.path[i];
		w->io->ops->list(w->io, dirs.path[i], add_name, out);
	}
}

void wreck_files(struct wreck *w, void (*fn)(struct wreck *w, const char *path))
{
	struct name_heap *names = malloc(sizeof *names);

	list_files(w, names);
	for (unsigned i = 0; i < names->count; i++)
		fn(w, names->path[i]);
	free(names);
}

struct wreck_copy {
	struct name_heap names;
	char *bytes[FILES_MAX];
	uint64_t size[FILES_MAX];
};

struct wreck_copy *wreck_save(struct wreck *w)
{
	struct wreck_copy *copy = calloc(1, sizeof *copy);

	list_files(w, &copy->names);
	for (unsigned i = 0; i < copy->names.count; i++) {
		int fd = open_file(w, copy->names.path[i], 0);

		copy->size[i] = wreck_size(w, copy->names.path[i]);
		copy->bytes[i] = malloc(copy->size[i] + 1);
		assert_int_equal(io_read_full(w->io, fd, copy->bytes[i], copy->size[i], 0), 0);
		w->io->ops->close(w->io, fd);
	}
	return copy;
}

void wreck_restore(struct wreck *w, const struct wreck_copy *copy)
{
	simdisk_reset(w->disk);
	w->io->ops->mkdir(w->io, "collections", 0700);
	for (unsigned i = 0; i < copy->names.count; i++) {
		char dir[PATH_BYTES];
		char *slash;
		int fd;

		snprintf(dir, sizeof dir, "%s", copy->names.path[i]);
		slash = strrchr(dir, '/');
		if (slash) {
			*slash = 0;
			w->io->ops->mkdir(w->io, dir, 0700);
		}
		fd = open_file(w, copy->names.path[i], O_CREAT);
		assert_int_equal(io_write_full(w->io, fd, copy->bytes[i], copy->size[i], 0), 0);
		w->io->ops->close(w->io, fd);
	}
}

void wreck_copy_free(struct wreck_copy *copy)
{
	for (unsigned i = 0; i < copy->names.count; i++)
		free(copy->bytes[i]);
	free(copy);
}
