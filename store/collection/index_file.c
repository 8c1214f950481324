/* SPDX-License-Identifier: Apache-2.0 */
#include "store/collection/index_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "store/base/checksum.h"
#include "store/collection/collection.h"
#include "store/io/io.h"

/* Bytes of what describes the pages, and with the zeros behind it. */
static uint64_t pages_bytes_used(const struct index_image *head)
{
	return head->entries * (sizeof(uint32_t) + 1 + (head->flags & INDEX_WIDE)) + 2ull * head->pages;
}

static uint64_t pages_bytes(const struct index_image *head)
{
	uint64_t bytes = pages_bytes_used(head) + INDEX_SCAN_BYTES;

	return (bytes + sizeof(uint32_t) - 1) / sizeof(uint32_t) * sizeof(uint32_t);
}

/* ------------------------------------------------------------------ writing */

#define WRITE_BYTES (256u << 10)

struct writer {
	struct io *io;
	int fd;
	uint64_t off;
	char *buf;
	size_t used;
	XXH3_state_t sum;
};

static int writer_flush(struct writer *w)
{
	int rc = io_write_full(w->io, w->fd, w->buf, w->used, w->off);

	XXH3_64bits_update(&w->sum, w->buf, w->used);
	w->off += w->used;
	w->used = 0;
	return rc;
}

static int writer_put(struct writer *w, const void *data, size_t size)
{
	int rc = 0;

	for (const char *p = data; size && !rc;) {
		size_t n = size < WRITE_BYTES - w->used ? size : WRITE_BYTES - w->used;

		memcpy(w->buf + w->used, p, n);
		w->used += n;
		p += n;
		size -= n;
		if (w->used == WRITE_BYTES)
			rc = writer_flush(w);
	}
	return rc;
}

/* What of each page comes into an array of its own. */
enum pack_array { PACK_LOW, PACK_TAG, PACK_HIGH, PACK_DEPTH, PACK_COUNT };

static int put_array(struct writer *w, const struct id_index *ix, enum pack_array which)
{
	static const uint8_t no_high[INDEX_PAGE_SLOTS];
	struct index_slots s;
	int rc = 0;

	for (uint64_t at = 0; !rc && id_index_next_page(ix, &at, &s);) {
		unsigned n = *s.count;

		if (which == PACK_LOW)
			rc = writer_put(w, s.low, n * sizeof *s.low);
		else if (which == PACK_TAG)
			rc = writer_put(w, s.tag, n);
		else if (which == PACK_HIGH)
			rc = writer_put(w, s.high ? s.high : no_high, n);
		else
			rc = writer_put(w, which == PACK_DEPTH ? &s.depth : s.count, 1);
	}
	return rc;
}

static int put_pages(struct writer *w, const struct id_index *ix, const struct index_image *head)
{
	static const char zeros[INDEX_SCAN_BYTES + sizeof(uint32_t)];
	int rc = 0;

	for (enum pack_array i = PACK_LOW; i <= PACK_COUNT && !rc; i++)
		if (i != PACK_HIGH || head->flags & INDEX_WIDE)
			rc = put_array(w, ix, i);
	return rc ? rc : writer_put(w, zeros, pages_bytes(head) - pages_bytes_used(head));
}

static int put_chunks(struct writer *w, const struct entry_map *es)
{
	uint32_t *places = calloc(es->count + 1, sizeof *places), present = 0;
	int rc;

	if (!places)
		return -ENOMEM;
	for (size_t i = 0; i < es->count; i++)
		places[i] = es->chunks[i].rows && es->chunks[i].live ? ++present : 0;
	rc = writer_put(w, places, es->count * sizeof *places);
	for (size_t i = 0; i < es->count && !rc; i++)
		if (places[i])
			rc = writer_put(w, es->chunks[i].rows, ENTRIES_CHUNK * sizeof(uint32_t));
	free(places);
	return rc;
}

/* Bytes of the bitmap of a segment's marks. */
static size_t map_bytes(const struct collection *c)
{
	return ((1u << c->shift) + 63) / 64 * sizeof(uint64_t);
}

static int put_marks(struct writer *w, const struct collection *c, uint32_t segments)
{
	int rc = 0;

	for (uint32_t n = 0; n < segments && !rc; n++)
		rc = writer_put(w, &c->segments[n]->deleted, sizeof c->segments[n]->deleted);
	for (uint32_t n = 0; n < segments && !rc; n++)
		if (c->segments[n]->deleted)
			rc = writer_put(w, c->segments[n]->deleted_map, map_bytes(c));
	return rc;
}

static struct index_image image_head(const struct collection *c, uint64_t stamp)
{
	struct index_image head = {
		.magic = INDEX_MAGIC,
		.stamp = stamp,
		.count = c->count,
		.name_bytes = c->name_bytes,
		.line_bytes = c->line_bytes,
		.chunk_base = c->entries.base,
		.chunks = c->entries.count,
		.depth = c->index.depth,
	};
	struct index_slots s;
	uint8_t high = 0;

	for (uint64_t at = 0; id_index_next_page(&c->index, &at, &s); head.pages++) {
		head.entries += *s.count;
		for (unsigned i = 0; s.high && i < *s.count; i++)
			high |= s.high[i];
	}
	for (uint32_t n = 0; n < c->segment_count; n++)
		head.segments = c->segments[n]->deleted ? n + 1 : head.segments;
	head.flags = (high ? INDEX_WIDE : 0) | (head.segments ? INDEX_MARKED : 0);
	for (size_t i = 0; i < c->entries.count; i++)
		head.chunks_present += c->entries.chunks[i].rows && c->entries.chunks[i].live;
	return head;
}

static int write_image(struct writer *w, const struct collection *c, const struct index_image *head)
{
	int rc = writer_put(w, head, sizeof *head);

	if (!rc)
		rc = put_pages(w, &c->index, head);
	if (!rc)
		rc = put_chunks(w, &c->entries);
	if (!rc)
		rc = put_marks(w, c, head->segments);
	return rc ? rc : writer_flush(w);
}

int index_file_write(struct io *io, struct collection *c, uint64_t stamp, bool sync)
{
	struct index_image head = image_head(c, stamp);
	char path[SEGMENT_PATH_MAX], fresh[SEGMENT_PATH_MAX];
	struct writer w = {.io = io, .buf = malloc(WRITE_BYTES)};
	int rc;

	if (!w.buf)
		return -ENOMEM;
	/* Beside the old one, which may be mapped. */
	collection_path(path, c->id, "index");
	collection_path(fresh, c->id, "index.new");
	w.fd = io->ops->open(io, fresh, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (w.fd >= 0) {
		XXH3_64bits_reset(&w.sum);
		rc = write_image(&w, c, &head);
		if (!rc && sync && io->ops->datasync(io, w.fd) < 0)
			rc = -EIO; /* whatever it was: not one of the errors that are only about this image */
		io->ops->close(io, w.fd);
	} else {
		rc = w.fd;
	}
	free(w.buf);
	if (rc >= 0)
		rc = io->ops->rename(io, fresh, path);
	if (rc < 0) {
		if (w.fd >= 0)
			io->ops->unlink(io, fresh);
		return rc;
	}
	collection_path(path, c->id, NULL);
	if (sync)
		rc = io->ops->syncdir(io, path);
	if (rc < 0)
		return rc;
	c->index_stamp = head.stamp;
	c->index_sum = XXH3_64bits_digest(&w.sum);
	return 0;
}

void image_drop(struct io *io, struct collection *c)
{
	if (!c->image)
		return;
	id_index_free(&c->index);
	entry_map_free(&c->entries);
	io->ops->unmap(io, c->image, c->image_bytes);
	c->image = NULL;
	c->index_stamp = 0;
}

int index_file_remove(struct io *io, struct collection *c)
{
	char path[SEGMENT_PATH_MAX];
	int rc;

	collection_path(path, c->id, "index");
	rc = io->ops->unlink(io, path);
	if (rc == 0)
		c->directory_changed = true;
	return rc == -ENOENT ? 0 : rc;
}

/* ------------------------------------------------------------------ loading */

/* The size of an image with this header, without marks, or 0 if there can be none. */
static uint64_t image_size(const struct index_image *head)
{
	if (head->magic != INDEX_MAGIC || head->flags > (INDEX_WIDE | INDEX_MARKED) ||
	    head->entries > UINT32_MAX || !(head->flags & INDEX_MARKED) != !head->segments)
		return 0;
	if (head->chunks > ENTRIES_CHUNKS_MAX || head->chunk_base > ENTRIES_CHUNKS_MAX - head->chunks ||
	    head->chunks_present > head->chunks)
		return 0;
	return sizeof *head + pages_bytes(head) + head->chunks * sizeof(uint32_t) +
	       head->chunks_present * ENTRIES_CHUNK * sizeof(uint32_t);
}

static int use_pages(struct collection *c, const struct index_image *head, char *p)
{
	struct index_pack pack = {.low = (uint32_t *)(void *)p};
	const uint8_t *depths, *counts;

	pack.tag = (uint8_t *)(pack.low + head->entries);
	depths = pack.tag + head->entries;
	if (head->flags & INDEX_WIDE) {
		pack.high = pack.tag + head->entries;
		depths = pack.high + head->entries;
	}
	counts = depths + head->pages;
	if (id_index_count(counts, head->pages) != head->entries)
		return -EUCLEAN;
	return id_index_use_pack(&c->index, head->depth, &pack, depths, counts, head->pages);
}

/* Whether an entry's row can exist. */
static bool row_possible(const struct collection *c, uint32_t row)
{
	return row >> c->shift < c->segment_count &&
	       collection_slot(c, row) < collection_segment(c, row)->count;
}

static int use_chunks(struct collection *c, const struct index_image *head, char *p)
{
	const uint32_t *places = (const uint32_t *)(void *)p;
	uint32_t *rows = (uint32_t *)(void *)(p + head->chunks * sizeof *places);

	c->entries.base = head->chunk_base;
	c->entries.image = c->image;
	c->entries.image_bytes = c->image_bytes;
	c->entries.chunks = calloc(head->chunks + 1, sizeof *c->entries.chunks);
	if (!c->entries.chunks)
		return -ENOMEM;
	c->entries.count = head->chunks;
	for (uint64_t i = 0; i < head->chunks; i++) {
		struct entries_chunk *chunk = &c->entries.chunks[i];

		if (!places[i])
			continue;
		if (places[i] > head->chunks_present)
			return -EUCLEAN;
		chunk->rows = rows + (uint64_t)(places[i] - 1) * ENTRIES_CHUNK;
		for (uint32_t k = 0; k < ENTRIES_CHUNK; k++) {
			if (chunk->rows[k] && !row_possible(c, chunk->rows[k] - 1))
				return -EUCLEAN;
			chunk->live += chunk->rows[k] != 0;
		}
	}
	return 0;
}

/* Whether a bitmap has so many bits, all of them of rows that can exist. */
static bool map_possible(const struct segment *seg, const uint64_t *map, size_t words, uint32_t count)
{
	uint64_t found = 0;

	for (size_t i = 0; i < words; i++) {
		uint64_t beyond = i * 64 >= seg->count        ? UINT64_MAX
				  : seg->count - i * 64 >= 64 ? 0
							      : UINT64_MAX << (seg->count - i * 64);

		if (map[i] & beyond)
			return false;
		found += (unsigned)__builtin_popcountll(map[i]);
	}
	return found == count;
}

static int use_map(struct collection *c, struct segment *seg, const char *p, uint32_t count)
{
	size_t bytes = map_bytes(c);
	uint64_t *map = malloc(bytes);
	int rc = map ? 0 : -ENOMEM;

	if (!rc)
		memcpy(map, p, bytes);
	if (!rc && (seg->deleted || !map_possible(seg, map, bytes / sizeof *map, count)))
		rc = -EUCLEAN;
	if (!rc)
		rc = segment_reserve_deleted(seg);
	if (!rc) {
		segment_set_deleted_map(seg, map, count);
		c->deleted += count;
	}
	free(map);
	return rc;
}

/* What is behind all else: bytes of marks. */
static int use_marks(struct collection *c, const struct index_image *head, const char *p, uint64_t bytes)
{
	const uint32_t *counts = (const uint32_t *)(const void *)p;
	uint64_t used = head->segments * sizeof *counts;
	int rc = head->segments > c->segment_count || bytes < used ? -EUCLEAN : 0;

	for (uint32_t n = 0; n < head->segments && !rc; n++) {
		if (!counts[n])
			continue;
		rc = bytes - used < map_bytes(c) ? -EUCLEAN : use_map(c, c->segments[n], p + used, counts[n]);
		used += map_bytes(c);
	}
	return rc ? rc : used == bytes ? 0 : -EUCLEAN;
}

static void forget_marks(struct collection *c)
{
	for (uint32_t n = 0; n < c->segment_count; n++)
		segment_clear_all_deleted(c->segments[n]);
	c->deleted = 0;
}

static int image_use(struct collection *c)
{
	const struct index_image *head = c->image;
	char *p = (char *)c->image + sizeof *head;
	uint64_t live = 0, size;
	int rc;

	if (head->stamp != c->index_stamp || XXH3_64bits(c->image, c->image_bytes) != c->index_sum)
		return -EUCLEAN;
	if (head->magic == INDEX_MAGIC_OLD)
		return -EPROTO;
	size = image_size(head);
	if (!size || size > c->image_bytes)
		return -EUCLEAN;
	rc = use_pages(c, head, p);
	if (!rc)
		rc = use_chunks(c, head, p + pages_bytes(head));
	for (size_t i = 0; i < c->entries.count && !rc; i++)
		live += c->entries.chunks[i].live;
	if (!rc && live != head->count)
		rc = -EUCLEAN;
	if (!rc)
		rc = use_marks(c, head, (char *)c->image + size, c->image_bytes - size);
	if (rc)
		return rc;
	c->count = head->count;
	c->name_bytes = head->name_bytes;
	c->line_bytes = head->line_bytes;
	return 0;
}

int index_file_load(struct io *io, struct collection *c)
{
	char path[SEGMENT_PATH_MAX];
	uint64_t size = 0;
	int fd, rc;

	collection_path(path, c->id, "index");
	fd = io->ops->open(io, path, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	rc = io->ops->size(io, fd, &size);
	if (!rc && size < sizeof(struct index_image))
		rc = -EUCLEAN;
	if (!rc)
		rc = io->ops->map(io, fd, size, false, &c->image);
	io->ops->close(io, fd);
	if (rc < 0) {
		c->image = NULL;
		return rc;
	}
	c->image_bytes = size;
	rc = image_use(c);
	if (rc) {
		forget_marks(c);
		id_index_free(&c->index);
		entry_map_free(&c->entries);
		io->ops->unmap(io, c->image, c->image_bytes);
		c->image = NULL;
	}
	return rc;
}
