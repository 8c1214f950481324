/* SPDX-License-Identifier: Apache-2.0 */
#include "store/replay/prefetch.h"

#include <fcntl.h>

#include "store/engine.h"
#include "store/io/crew.h"

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
	uint64_t size;
	int fd;

	if (!call->c->segments[segment]->count)
		return 0;
	segment_path(path, call->c->id, segment, (enum segment_column)(n % SEGMENT_COLUMNS));
	fd = io->ops->open(io, path, O_RDWR, 0);
	if (fd < 0)
		return 0;
	io->ops->size(io, fd, &size);
	if (n % SEGMENT_COLUMNS == SEGMENT_VECTORS)
		io->ops->read_ahead(io, fd, 0, SEGMENT_HEADER_BYTES);
	io->ops->close(io, fd);
	return 0;
}

void prefetch_files(struct vs_store *s)
{
	for (uint32_t i = 0; i < s->table.count && s->io->width > 1; i++) {
		struct call call = {s->io, s->table.all[i]};

		if (!call.c->frozen)
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
