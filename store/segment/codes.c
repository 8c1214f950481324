/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment/codes.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/segment/segment.h"

static void codes_free(struct codes *k)
{
	free(k->stale);
	free(k->busy);
	free(k->valid);
	free(k);
}

struct codes *codes_new(struct files *files, uint32_t rows_max, uint64_t owner, const char *stem,
			const size_t block_bytes[CODES_COLUMNS])
{
	struct codes *k = calloc(1, sizeof *k);

	if (!k)
		return NULL;
	k->files = files;
	k->refs = 1;
	k->owner = owner;
	k->blocks_max = (rows_max + CODES_BLOCK_ROWS - 1) / CODES_BLOCK_ROWS;
	k->shown = UINT32_MAX;
	k->wanted = true;
	snprintf(k->stem, sizeof k->stem, "%s", stem);
	memcpy(k->block_bytes, block_bytes, sizeof k->block_bytes);
	k->stale = malloc(k->blocks_max * sizeof *k->stale);
	k->busy = calloc(k->blocks_max, sizeof *k->busy);
	k->valid = calloc(k->blocks_max, sizeof *k->valid);
	if (!k->stale || !k->busy || !k->valid) {
		codes_free(k);
		return NULL;
	}
	memset((void *)(uintptr_t)k->stale, 0xff, k->blocks_max * sizeof *k->stale);
	return k;
}

void codes_get(struct codes *k)
{
	pthread_mutex_lock(&k->files->mutex);
	k->refs++;
	pthread_mutex_unlock(&k->files->mutex);
}

void codes_attach(struct segment *seg, struct codes *k)
{
	codes_get(k);
	k->next = seg->codes;
	seg->codes = k;
}

void codes_detach(struct segment *seg, struct codes *k)
{
	struct codes **p;

	for (p = &seg->codes; *p && *p != k; p = &(*p)->next)
		;
	if (!*p)
		return;
	*p = k->next;
	codes_put(k);
}

const struct codes *codes_look_up(const struct segment *seg, uint64_t owner)
{
	const struct codes *k = seg->codes;

	while (k && k->owner != owner)
		k = k->next;
	return k;
}

struct codes *codes_find(struct segment *seg, uint64_t owner)
{
	struct codes *k = seg->codes;

	while (k && k->owner != owner)
		k = k->next;
	if (k)
		codes_get(k);
	return k;
}

void codes_free_all(struct codes *first)
{
	while (first) {
		struct codes *next = first->next;

		codes_put(first);
		first = next;
	}
}

void codes_mark(struct codes *first, uint32_t slot)
{
	for (struct codes *k = first; k; k = k->next) {
		atomic_fetch_or_explicit(&k->stale[slot / CODES_BLOCK_ROWS],
					 UINT64_C(1) << slot % CODES_BLOCK_ROWS, memory_order_release);
		atomic_store_explicit(&k->wanted, true, memory_order_release);
	}
}

/* ------------------------------------------------------------------ mappings */

/* What is to be unmapped once the mutex is free. */
struct unwanted {
	void *map[CODES_COLUMNS];
	size_t bytes[CODES_COLUMNS];
};

static size_t map_bytes(const struct codes *k, int i)
{
	return column_defs[COLUMN_BLOCKS + i].header_bytes + k->blocks_max * k->block_bytes[i];
}

static void unmap(struct io *io, const struct unwanted *u)
{
	for (int i = 0; i < CODES_COLUMNS; i++)
		if (u->map[i])
			io->ops->unmap(io, u->map[i], u->bytes[i]);
}

/* Takes them out of the list of those that nobody uses. Under the mutex. */
static void map_unlink(struct codes *k)
{
	struct files *f = k->files;

	*(k->map_prev ? &k->map_prev->map_next : &f->codes_first) = k->map_next;
	*(k->map_next ? &k->map_next->map_prev : &f->codes_last) = k->map_prev;
	k->map_prev = k->map_next = NULL;
}

/* Takes the mappings of codes that nobody uses. Under the mutex. */
static void map_take(struct codes *k, struct unwanted *out)
{
	map_unlink(k);
	k->mapped = false;
	k->files->codes_mapped--;
	for (int i = 0; i < CODES_COLUMNS; i++) {
		out->map[i] = k->map[i];
		out->bytes[i] = map_bytes(k, i);
		k->map[i] = NULL;
	}
}

void codes_put(struct codes *k)
{
	struct unwanted unwanted = {{NULL}, {0}};
	struct files *f = k->files;
	bool last;

	pthread_mutex_lock(&f->mutex);
	last = !--k->refs;
	if (last && k->mapped)
		map_take(k, &unwanted);
	pthread_mutex_unlock(&f->mutex);
	unmap(f->io, &unwanted);
	if (last)
		codes_free(k);
}

void codes_path(const struct codes *k, enum segment_column column, char path[CODES_PATH_MAX])
{
	int n = snprintf(path, CODES_PATH_MAX, "%s.%s", k->stem, column_defs[column].suffix);

	assert(n > 0 && n < CODES_PATH_MAX);
	(void)n;
}

int codes_open(const struct codes *k, enum segment_column column, int flags)
{
	struct io *io = k->files->io;
	char path[CODES_PATH_MAX];
	int fd;

	codes_path(k, column, path);
	fd = io->ops->open(io, path, flags, 0600);
	while ((fd == -EMFILE || fd == -ENFILE) && files_evict(k->files))
		fd = io->ops->open(io, path, flags, 0600);
	return fd;
}

static int map_files(const struct codes *k, struct unwanted *out)
{
	struct io *io = k->files->io;
	int rc = 0;

	for (int i = 0; i < CODES_COLUMNS && rc >= 0; i++) {
		int fd;

		if (!k->block_bytes[i])
			continue;
		out->bytes[i] = map_bytes(k, i);
		fd = codes_open(k, (enum segment_column)(COLUMN_BLOCKS + i), O_RDONLY);
		rc = fd < 0 ? fd : io->ops->map(io, fd, out->bytes[i], true, &out->map[i]);
		if (rc < 0)
			out->map[i] = NULL;
		if (fd >= 0)
			io->ops->close(io, fd);
	}
	return rc;
}

/* Begins a use of the mappings, if there are any. Under the mutex. */
static bool map_use(struct codes *k)
{
	if (k->mapped && !k->users++)
		map_unlink(k);
	return k->mapped;
}

bool codes_map(struct codes *k)
{
	struct unwanted fresh = {{NULL}, {0}};
	struct files *f = k->files;
	bool used;
	int rc;

	pthread_mutex_lock(&f->mutex);
	used = map_use(k);
	pthread_mutex_unlock(&f->mutex);
	if (used || k->gone || !k->blocks)
		return used;
	rc = map_files(k, &fresh);
	pthread_mutex_lock(&f->mutex);
	used = map_use(k); /* another thread may be as fast */
	if (!used && rc >= 0) {
		memcpy(k->map, fresh.map, sizeof k->map);
		memset(fresh.map, 0, sizeof fresh.map);
		k->mapped = used = true;
		k->users = 1;
		f->codes_mapped++;
	}
	pthread_mutex_unlock(&f->mutex);
	unmap(f->io, &fresh);
	return used;
}

void codes_map_done(struct codes *k)
{
	struct unwanted unwanted = {{NULL}, {0}};
	struct files *f = k->files;

	pthread_mutex_lock(&f->mutex);
	assert(k->users);
	if (!--k->users) {
		k->map_prev = f->codes_last;
		*(f->codes_last ? &f->codes_last->map_next : &f->codes_first) = k;
		f->codes_last = k;
	}
	if (f->codes_mapped > f->vectors_mapped_max && f->codes_first)
		map_take(f->codes_first, &unwanted);
	pthread_mutex_unlock(&f->mutex);
	unmap(f->io, &unwanted);
}
