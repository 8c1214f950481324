/* SPDX-License-Identifier: Apache-2.0 */
#include "store/replay/prefetch.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/engine.h"
#include "store/io/crew.h"

#define PIECE_BYTES (1u << 20)    /* read by one call */
#define READ_BYTES_MAX (1u << 29) /* of all: more would push out of memory what was read first */

struct fetched {
	char path[SEGMENT_PATH_MAX];
	uint64_t bytes; /* to be read of it, as far as there are so many */
};

struct piece {
	const struct fetched *file;
	uint64_t off;
};

/* Owned by the thread until that has ended: it looks at no table, since the recovery changes these meanwhile.
 */
struct prefetch {
	struct io *io;
	pthread_t thread;
	size_t count, piece_count;
	struct piece *pieces;
	struct fetched files[];
};

/* ------------------------------------------------------------------ what is to be fetched */

static void add_file(struct prefetch *p, uint64_t bytes, const char *path)
{
	struct fetched *f = &p->files[p->count++];

	snprintf(f->path, sizeof f->path, "%s", path);
	f->bytes = bytes;
}

static bool is_wanted(const struct collection *c, const struct segment *seg)
{
	return !c->frozen && seg->count && !seg->fetched;
}

/* All files of a segment. rows: its rows and ids are read, and the header of its vectors. */
static void add_segment(struct prefetch *p, const struct collection *c, struct segment *seg, bool rows)
{
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++) {
		uint64_t units = column_defs[i].is_heap ? seg->names.end : seg->count;
		uint64_t bytes = column_defs[i].is_mapped ? units * column_unit_bytes(i, c->row_bytes)
							  : column_defs[i].header_bytes;
		char path[SEGMENT_PATH_MAX];

		segment_path(path, c->id, seg->n, i);
		add_file(p, rows ? bytes : 0, path);
	}
	seg->fetched = true;
}

static void add_collection(struct prefetch *p, const struct collection *c, bool clean)
{
	char path[SEGMENT_PATH_MAX];

	if (clean && c->index_stamp && !c->frozen) {
		collection_path(path, c->id, "index");
		add_file(p, UINT64_MAX, path);
	}
	for (uint32_t n = 0; n < c->segment_count; n++)
		if (is_wanted(c, c->segments[n]))
			add_segment(p, c, c->segments[n], !clean);
}

/* The list of what can be known before the log is read. NULL: no memory. */
static struct prefetch *list_files(struct vs_store *s, bool clean)
{
	size_t files = 2 + s->table.count;
	struct prefetch *p;

	for (uint32_t i = 0; i < s->table.count; i++)
		files += (size_t)s->table.all[i]->segment_count * SEGMENT_COLUMNS;
	p = calloc(1, sizeof *p + files * sizeof *p->files);
	if (!p)
		return NULL;
	p->io = s->io;
	if (!clean) {
		add_file(p, LOG_FILE_BYTES, "log.0");
		add_file(p, LOG_FILE_BYTES, "log.1");
	}
	for (uint32_t i = 0; i < s->table.count; i++)
		add_collection(p, s->table.all[i], clean);
	return p;
}

/* ------------------------------------------------------------------ fetching */

static int open_file(void *arg, size_t i)
{
	struct prefetch *p = arg;
	struct fetched *f = &p->files[i];
	uint64_t size = 0;
	int fd = p->io->ops->open(p->io, f->path, p->io->read_only ? O_RDONLY : O_RDWR, 0);

	if (fd >= 0) {
		p->io->ops->size(p->io, fd, &size);
		p->io->ops->close(p->io, fd);
	}
	if (f->bytes > size)
		f->bytes = size;
	return 0;
}

static void cut_into_pieces(struct prefetch *p)
{
	size_t room = READ_BYTES_MAX / PIECE_BYTES + p->count;
	uint64_t bytes = 0;

	p->pieces = malloc(room * sizeof *p->pieces);
	for (size_t i = 0; i < p->count && p->pieces; i++)
		for (uint64_t off = 0; off < p->files[i].bytes && bytes < READ_BYTES_MAX;
		     off += PIECE_BYTES) {
			uint64_t left = p->files[i].bytes - off;

			p->pieces[p->piece_count++] = (struct piece){&p->files[i], off};
			bytes += left < PIECE_BYTES ? left : PIECE_BYTES;
		}
}

static int read_piece(void *arg, size_t i)
{
	const struct prefetch *p = arg;
	const struct piece *piece = &p->pieces[i];
	uint64_t left = piece->file->bytes - piece->off;
	int fd = p->io->ops->open(p->io, piece->file->path, O_RDONLY, 0);
	char *buf = malloc(PIECE_BYTES);

	if (fd >= 0 && buf)
		io_read_full(p->io, fd, buf, left < PIECE_BYTES ? left : PIECE_BYTES, piece->off);
	if (fd >= 0)
		p->io->ops->close(p->io, fd);
	free(buf);
	return 0;
}

static void *fetch(void *arg)
{
	struct prefetch *p = arg;

	crew_run(p->io, p->count, open_file, p);
	cut_into_pieces(p);
	crew_run(p->io, p->piece_count, read_piece, p);
	return NULL;
}

struct prefetch *prefetch_begin(struct vs_store *s, bool clean)
{
	struct prefetch *p = s->io->width > 1 ? list_files(s, clean) : NULL;

	if (p && pthread_create(&p->thread, NULL, fetch, p)) {
		free(p);
		p = NULL;
	}
	return p;
}

void prefetch_end(struct prefetch *p)
{
	if (!p)
		return;
	pthread_join(p->thread, NULL);
	free(p->pieces);
	free(p);
}

/* ------------------------------------------------------------------ what only the log knows */

/* The segments of one collection are asked for at once. */
struct call {
	struct io *io;
	const struct collection *c;
};

static int ask(void *arg, size_t n)
{
	const struct call *call = arg;
	struct io *io = call->io;
	uint32_t segment = (uint32_t)(n / SEGMENT_COLUMNS);
	char path[SEGMENT_PATH_MAX];
	int fd;

	if (!is_wanted(call->c, call->c->segments[segment]))
		return 0;
	segment_path(path, call->c->id, segment, (enum segment_column)(n % SEGMENT_COLUMNS));
	fd = io->ops->open(io, path, O_RDWR, 0);
	if (fd >= 0)
		io->ops->close(io, fd);
	return 0;
}

void prefetch_files(struct vs_store *s)
{
	for (uint32_t i = 0; i < s->table.count && s->io->width > 1; i++) {
		struct call call = {s->io, s->table.all[i]};

		crew_run(s->io, (size_t)call.c->segment_count * SEGMENT_COLUMNS, ask, &call);
	}
}

void prefetch_rows(const struct collection *c, uint32_t n)
{
	struct segment *seg = n < c->segment_count ? c->segments[n] : NULL;

	if (!seg || !segment_has_files(seg))
		return;
	for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++) {
		uint64_t units = column_defs[i].is_heap ? seg->names.end : seg->count;
		int fd = column_defs[i].is_mapped ? segment_file(seg, i) : -1;

		if (fd < 0)
			continue;
		seg->files->io->ops->read_ahead(seg->files->io, fd, 0, segment_column_bytes(seg, i, units));
		segment_file_done(seg, i);
	}
}
