/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/victim.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/format.h"
#include "store/engine.h"
#include "store/store.h"
#include "store/base/checksum.h"

#define FILES_MAX 64
#define PATH_BYTES 256
#define LOG_BYTES (256u << 10)

struct file {
	char path[PATH_BYTES];
	uint8_t *data;
	size_t size;
};

struct file_set {
	struct file all[FILES_MAX];
	unsigned count;
};

static char dir[64];
static struct file_set original[2]; /* as a kill leaves it; closed */

const char *victim_dir(void)
{
	return dir;
}

/* ------------------------------------------------------------------ files */

static void full_path(char out[2 * PATH_BYTES], const char *path)
{
	snprintf(out, 2 * PATH_BYTES, "%s/%s", dir, path);
}

void victim_write(const char *path, const void *data, size_t size)
{
	char full[2 * PATH_BYTES];
	FILE *f;

	full_path(full, path);
	f = fopen(full, "wb");
	if (!f || fwrite(data, 1, size, f) != size || fclose(f))
		abort();
}

uint8_t *victim_read(const char *path, size_t *size)
{
	char full[2 * PATH_BYTES];
	struct stat st;
	uint8_t *data;
	FILE *f;

	full_path(full, path);
	f = fopen(full, "rb");
	if (!f)
		return NULL;
	if (fstat(fileno(f), &st) || !(data = malloc((size_t)st.st_size + 1)))
		abort();
	*size = fread(data, 1, (size_t)st.st_size, f);
	fclose(f);
	return data;
}

/* Calls fn for all files, and afterwards for the directories with a slash at the end. */
static void each_file(const char *path, void (*fn)(void *arg, const char *path, bool is_dir), void *arg)
{
	char full[2 * PATH_BYTES], inner[PATH_BYTES];
	struct dirent *e;
	struct stat st;
	DIR *d;

	full_path(full, path);
	d = opendir(full);
	while (d && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(inner, sizeof inner, "%.100s%s%.150s", path, *path ? "/" : "", e->d_name);
		full_path(full, inner);
		if (lstat(full, &st))
			continue;
		if (S_ISDIR(st.st_mode))
			each_file(inner, fn, arg);
		fn(arg, inner, S_ISDIR(st.st_mode));
	}
	if (d)
		closedir(d);
}

static void keep_file(void *arg, const char *path, bool is_dir)
{
	struct file_set *files = arg;
	struct file *f = &files->all[files->count];

	if (is_dir)
		return;
	assert(files->count < FILES_MAX && strlen(path) < PATH_BYTES);
	snprintf(f->path, PATH_BYTES, "%s", path);
	f->data = victim_read(path, &f->size);
	files->count++;
}

static void remove_file(void *arg, const char *path, bool is_dir)
{
	char full[2 * PATH_BYTES];

	(void)arg;
	full_path(full, path);
	if (is_dir ? rmdir(full) : unlink(full))
		abort();
}

static void make_dir(const char *path)
{
	char full[2 * PATH_BYTES];

	full_path(full, path);
	if (mkdir(full, 0700) && errno != EEXIST)
		abort();
}

static void write_files(const struct file_set *files)
{
	each_file("", remove_file, NULL);
	make_dir("collections");
	for (unsigned i = 0; i < files->count; i++) {
		char parent[PATH_BYTES];
		char *slash;

		strcpy(parent, files->all[i].path);
		slash = strrchr(parent, '/');
		if (slash) {
			*slash = 0;
			make_dir(parent);
		}
		victim_write(files->all[i].path, files->all[i].data, files->all[i].size);
	}
}

/* ------------------------------------------------------------------ the store as it was */

static const struct vs_perm perm = {.mode = 0644, .uid = 1, .gid = 1};

static void put(struct vs_store *s, uint32_t c, const char *id, const void *data, size_t size)
{
	struct vs_attr attr = {.mtime = 1, .perm = perm};

	if (vs_entry_reserve(s, c, &attr.entry) || vs_put(s, c, id, &attr, data, size, NULL))
		abort();
}

static void fill_docs(struct vs_store *s, uint32_t docs)
{
	char id[VS_NAME_MAX + 1], tail[200];

	memset(tail, 'x', sizeof tail);
	for (int i = 0; i < 20; i++) {
		float v[4] = {(float)i, 1, 2, 3};

		snprintf(id, sizeof id, "id-%d%.*s", i, i % 5 ? 0 : 10 * i, tail);
		put(s, docs, id, v, sizeof v);
	}
	if (vs_remove(s, docs, "id-3", NULL) || vs_remove(s, docs, "id-8", NULL))
		abort();
}

static void fill_batch(struct vs_store *s, uint32_t batch)
{
	static const float rows[2][4] = {{1}, {2}};
	struct vs_schema schema = {.dim = 4, .dtype = VS_F32};
	struct vs_upload *u;

	put(s, batch, "in-batch", rows, sizeof rows[0]);
	if (vs_upload_begin(s, batch, &schema, &u) || vs_upload_append(u, rows, sizeof rows) ||
	    vs_upload_end(u, true))
		abort();
	if (vs_batch_text_write(s, batch, VS_BATCH_IDS, "one\ntwo\n", 8, 0) ||
	    vs_batch_text_write(s, batch, VS_BATCH_DELETE, "id-1\n", 5, 0))
		abort();
}

struct vs_store *victim_open(void)
{
	struct vs_options options = {.commit_ms = 100000, .log_bytes = LOG_BYTES};
	struct vs_store *s;
	char why[256];

	if (!vs_open(dir, &options, &s, why, sizeof why))
		return s;
	if (strstr(why, "mapped file"))
		abort();
	return NULL;
}

void victim_close(struct vs_store *s)
{
	if (s->io->lost)
		abort();
	vs_close(s);
}

static void remove_all(void)
{
	each_file("", remove_file, NULL);
	rmdir(dir);
}

static void make_originals(void)
{
	const struct vs_schema bits = {.dim = 16, .dtype = VS_BIT};
	uint32_t docs, second, batch, empty;
	struct vs_store *s;

	snprintf(dir, sizeof dir, "%s/vecfs-fuzz.XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(dir))
		abort();
	atexit(remove_all);
	s = victim_open();
	if (!s || vs_collection_create(s, 0, "docs", &perm, &docs) ||
	    vs_collection_create(s, 0, "bits", &perm, &second) || vs_schema_set(s, second, &bits))
		abort();
	fill_docs(s, docs);
	put(s, second, "b", "ab", 2);
	if (vs_collection_create(s, docs, "batch", &perm, &batch) ||
	    vs_collection_create(s, 0, "empty", &perm, &empty))
		abort();
	fill_batch(s, batch);
	if (vs_sync(s))
		abort();
	each_file("", keep_file, &original[false]);
	if (vs_close(s))
		abort();
	each_file("", keep_file, &original[true]);
}

void victim_reset(bool closed)
{
	if (!*dir)
		make_originals();
	write_files(&original[closed]);
}

static const struct catalog *original_catalog(bool closed)
{
	const struct catalog *newest = NULL;

	for (unsigned i = 0; i < original[closed].count; i++) {
		const struct catalog *head = (const void *)original[closed].all[i].data;

		if (!strncmp(original[closed].all[i].path, "catalog.", 8) &&
		    (!newest || head->seq > newest->seq))
			newest = head;
	}
	return newest;
}

/* ------------------------------------------------------------------ sums */

void victim_seal_catalog(uint8_t *data, size_t size)
{
	struct catalog head;
	uint64_t seed;

	if (size < sizeof head)
		return;
	memcpy(&head, data, sizeof head);
	head.magic = CATALOG_MAGIC;
	head.version = head.version % 2 + FORMAT_VERSION_OLDEST; /* both that can be read */
	if (head.bytes < sizeof head || head.bytes > size)
		head.bytes = size;
	head.sum = 0;
	seed = XXH3_64bits(&head, sizeof head);
	head.sum = XXH3_64bits_withSeed(data + sizeof head, head.bytes - sizeof head, seed);
	memcpy(data, &head, sizeof head);
}

void victim_seal_log(uint8_t *data, size_t size)
{
	const struct catalog *c = original_catalog(false);
	struct frame f = {.epoch = c->log_epoch, .seq = c->log_seq, .prev = c->log_prev};
	uint64_t prev = c->log_prev, seq = c->log_seq;
	size_t off = 0;

	while (off + sizeof f <= size) {
		memcpy(&f, data + off, sizeof f);
		f.magic = FRAME_MAGIC;
		f.epoch = c->log_epoch;
		f.seq = seq++;
		f.prev = prev;
		if (f.payload_bytes > size - off - sizeof f)
			f.payload_bytes = (uint32_t)(size - off - sizeof f);
		f.sum = XXH3_64bits_withSeed(&f, offsetof(struct frame, sum), c->log_salt);
		f.sum = XXH3_64bits_withSeed(data + off + sizeof f, f.payload_bytes, f.sum);
		prev = f.sum;
		memcpy(data + off, &f, sizeof f);
		off += (sizeof f + f.payload_bytes + FRAME_ALIGN - 1) / FRAME_ALIGN * FRAME_ALIGN;
	}
}

void victim_seal_rows(uint8_t *rows, size_t rows_size, const uint8_t *names, size_t names_size)
{
	struct row r;

	for (size_t off = 0; off + sizeof r <= rows_size; off += sizeof r) {
		char name[256] = {0};

		memcpy(&r, rows + off, sizeof r);
		if ((uint64_t)r.name_at * NAME_GRANULE + r.name_len > names_size)
			continue;
		memcpy(name, names + (size_t)r.name_at * NAME_GRANULE, r.name_len);
		r.row_sum = sum_row(&r, name);
		memcpy(rows + off, &r, sizeof r);
	}
}

/* Finds a collection in a catalog of our own making. */
static struct catalog_collection *find_collection(uint8_t *data, uint32_t id)
{
	const struct catalog *head = (const void *)data;
	uint8_t *p = data + sizeof *head + sizeof(struct catalog_root) +
		     (head->perms * sizeof(struct perm_class) + 7) / 8 * 8;

	for (uint32_t i = 0; i < head->collections; i++) {
		struct catalog_collection *c = (void *)p;

		if (c->id == id)
			return c;
		p += sizeof *c + (c->name_len + 7u) / 8 * 8 + c->attributes_bytes +
		     c->segments * sizeof(struct catalog_segment);
	}
	abort();
}

void victim_seal_image(uint8_t *image, size_t size, uint32_t collection)
{
	char path[] = "catalog.0";
	struct catalog_collection *c;
	struct index_image head;
	size_t catalog_size;
	uint8_t *catalog;

	path[8] = (char)('0' + original_catalog(true)->seq % 2);
	catalog = victim_read(path, &catalog_size);
	if (!catalog)
		abort();
	c = find_collection(catalog, collection);
	if (size >= sizeof head) {
		memcpy(&head, image, sizeof head);
		head.magic = INDEX_MAGIC;
		head.stamp = c->index_stamp;
		memcpy(image, &head, sizeof head);
	}
	c->index_sum = XXH3_64bits(image, size);
	victim_seal_catalog(catalog, catalog_size);
	victim_write(path, catalog, catalog_size);
	free(catalog);
}
