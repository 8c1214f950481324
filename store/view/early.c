/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/early.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/view/encode.h"

#define BLOCKS_AT_ONCE 1024u /* before the builder looks at what else there is to do */

/* How far the rows of a batch's upload have been encoded. */
struct early {
	struct early *next;
	uint32_t batch;
	uint64_t model;
	uint32_t part, block; /* the next */
	bool uploading;       /* more may come */
	bool caught_up;       /* of what was there when it was looked at last nothing is left */
	bool gone;            /* the batch was not there any more */
	bool failed;          /* its codes could not be written: no more of it is tried */
};

static struct early *find(const struct view *v, uint32_t batch)
{
	struct early *e = v->early;

	while (e && e->batch != batch)
		e = e->next;
	return e;
}

static void add(struct view *v, uint32_t batch)
{
	struct early *e = calloc(1, sizeof *e);

	if (!e)
		return;
	*e = (struct early){.next = v->early, .batch = batch, .model = v->current->number};
	v->early = e;
}

void early_look(struct vs_store *s, struct view *v)
{
	const struct collection *c, *batch = NULL;

	if (!v->current)
		return;
	for (struct early *e = v->early; e; e = e->next) {
		e->gone = true;
		e->uploading = false;
	}
	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, v->collection);
	while (c && (batch = collection_next_child(c, false, batch ? batch->id : 0))) {
		struct early *e = find(v, batch->id);

		if (!e && batch->upload) {
			add(v, batch->id);
			e = find(v, batch->id);
		}
		if (e) {
			e->gone = e->model != v->current->number;
			e->uploading = batch->upload;
		}
	}
	pthread_rwlock_unlock(&s->lock);
}

/* ------------------------------------------------------------------ encoding */

/* Encodes whole blocks of a part, of those it has; *full: it has all that it can have, and they are done. */
static int encode_part(struct vs_store *s, struct view *v, struct early *at, int fd, bool *full, bool *some)
{
	size_t row_bytes = vs_row_bytes(&v->schema);
	uint32_t rows_max = 1u << segment_shift(row_bytes), from = at->block, blocks;
	struct encoder *e = NULL;
	char stem[CODES_PATH_MAX];
	struct codes *k;
	uint64_t size;
	int rc = s->io->ops->size(s->io, fd, &size);

	if (rc < 0 || size < SEGMENT_HEADER_BYTES)
		return rc < 0 ? rc : 0;
	blocks = (uint32_t)((size - SEGMENT_HEADER_BYTES) / row_bytes / CODES_BLOCK_ROWS);
	blocks = blocks < rows_max / CODES_BLOCK_ROWS ? blocks : rows_max / CODES_BLOCK_ROWS;
	if (blocks > from + BLOCKS_AT_ONCE)
		blocks = from + BLOCKS_AT_ONCE;
	if (blocks > from) {
		code_stem_early(stem, v->collection, at->batch, at->part, v->d.name, v->current->epoch);
		k = codes_new(&s->files, rows_max, at->model, stem, v->current->block_bytes);
		rc = k ? encoder_new(s, v->collection, &v->schema, v->current, &s->views->stop, &e) : -ENOMEM;
		if (!rc)
			rc = encode_early(e, fd, k, from, blocks);
		encoder_free(e);
		if (k)
			codes_put(k);
		at->block = blocks;
		*some = true;
	}
	*full = at->block == rows_max / CODES_BLOCK_ROWS;
	return rc;
}

/* The same of the part that it has come to. */
static int encode_next(struct vs_store *s, struct view *v, struct early *at, bool *some)
{
	char paths[SEGMENT_COLUMNS][SEGMENT_PATH_MAX];
	bool full = false;
	int fd, rc;

	segment_attach_paths(paths, at->batch, at->part, true);
	fd = s->io->ops->open(s->io, paths[SEGMENT_VECTORS], O_RDONLY, 0);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	rc = encode_part(s, v, at, fd, &full, some);
	s->io->ops->close(s->io, fd);
	if (full) {
		at->part++;
		at->block = 0;
		*some = true;
	}
	return rc;
}

bool early_encode(struct vs_store *s, struct view *v)
{
	bool any = false;

	for (struct early *e = v->early; e; e = e->next) {
		bool some = false;

		if (e->gone || e->failed || s->views->stop || (e->caught_up && !e->uploading))
			continue;
		/* A row that is not complete yet, and a block, are encoded with the segment. */
		e->failed = encode_next(s, v, e, &some) < 0;
		e->caught_up = !some;
		any |= some;
	}
	return any;
}

/* ------------------------------------------------------------------ what becomes of the codes */

bool early_claim(struct vs_store *s, const struct view *v, const struct segment *seg, const char *stem)
{
	const struct early *e = seg->origin && seg->uploaded ? find(v, seg->origin) : NULL;
	struct codes from = {0}, to = {0};
	struct io *io = s->io;
	bool all = e && v->current && e->model == v->current->number;

	if (!all)
		return false;
	code_stem_early(from.stem, v->collection, seg->origin, seg->batch_n, v->d.name, v->current->epoch);
	snprintf(to.stem, sizeof to.stem, "%s", stem);
	for (enum segment_column i = COLUMN_BLOCKS; i < COLUMN_KINDS && all; i++) {
		char old[CODES_PATH_MAX], new[CODES_PATH_MAX];

		if (i < COLUMN_TAGS && !v->current->block_bytes[i - COLUMN_BLOCKS])
			continue;
		codes_path(&from, i, old);
		codes_path(&to, i, new);
		all = io->ops->rename(io, old, new) >= 0;
	}
	return all;
}

static void forget(struct view *v, bool all)
{
	for (struct early **p = &v->early; *p;) {
		struct early *e = *p;

		if (!all && !e->gone) {
			p = &e->next;
			continue;
		}
		*p = e->next;
		free(e);
		v->sweep = true;
	}
}

void early_forget_gone(struct view *v)
{
	forget(v, false);
}

void early_forget_all(struct view *v)
{
	forget(v, true);
}

bool early_is_wanted(const struct view *v, const struct code_file_name *file)
{
	const struct early *e = find(v, file->batch);

	return e && !e->gone && v->current && v->current->number == e->model &&
	       v->current->epoch == file->epoch;
}
