/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/crash/simfile.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE_TOUCHED 1u /* holds other bytes than zeros, in one of the images */
#define PAGE_ALLOCATED 2u

enum change_kind { CHANGE_WRITE, CHANGE_ZERO, CHANGE_SIZE };

struct simchange {
	enum change_kind kind;
	bool lost; /* by a failed sync: it can no more reach the disk */
	uint64_t when;
	uint64_t off, len; /* the bytes it touches */
	uint64_t size;     /* CHANGE_SIZE: the new size. CHANGE_WRITE: the size it needs at least */
	size_t bytes;      /* CHANGE_WRITE: where in simfile.bytes */
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void *grow(void *array, size_t *room, size_t need, size_t item)
{
	if (need <= *room)
		return array;
	*room = need > *room * 2 ? need : *room * 2;
	array = realloc(array, *room * item);
	assert(array);
	return array;
}

static unsigned char *reserve(size_t size)
{
	void *p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert(p != MAP_FAILED);
	return p;
}

void simfile_init(struct simfile *f)
{
	*f = (struct simfile){.cache = reserve(SIMFILE_MAX), .disk = reserve(SIMFILE_MAX)};
}

void simfile_clear(struct simfile *f)
{
	for (size_t i = 0; i < f->page_count; i++) {
		if (!(f->pages[i] & PAGE_TOUCHED))
			continue;
		memset(f->cache + i * SIMFILE_PAGE, 0, SIMFILE_PAGE);
		memset(f->disk + i * SIMFILE_PAGE, 0, SIMFILE_PAGE);
	}
	if (f->page_count)
		memset(f->pages, 0, f->page_count);
	f->size = f->disk_size = f->allocated = f->synced_at = 0;
	f->change_count = f->byte_count = 0;
}

void simfile_free(struct simfile *f)
{
	munmap(f->cache, SIMFILE_MAX);
	munmap(f->disk, SIMFILE_MAX);
	free(f->pages);
	free(f->changes);
	free(f->bytes);
}

/* ------------------------------------------------------------------ pages */

static void make_accessible(struct simfile *f, uint64_t end)
{
	size_t bytes = (end + SIMFILE_PAGE - 1) / SIMFILE_PAGE * SIMFILE_PAGE;

	if (bytes > f->accessible) {
		size_t more = bytes - f->accessible;
		int failed = mprotect(f->cache + f->accessible, more, PROT_READ | PROT_WRITE) |
			     mprotect(f->disk + f->accessible, more, PROT_READ | PROT_WRITE);

		assert(!failed);
		(void)failed;
		f->accessible = bytes;
	}
	if (bytes / SIMFILE_PAGE > f->page_count) {
		size_t old = f->page_count;

		f->pages = grow(f->pages, &f->page_count, bytes / SIMFILE_PAGE, 1);
		memset(f->pages + old, 0, f->page_count - old);
	}
}

static void mark(struct simfile *f, uint64_t off, uint64_t len, unsigned char flags)
{
	if (!len)
		return;
	make_accessible(f, off + len);
	for (uint64_t i = off / SIMFILE_PAGE; i <= (off + len - 1) / SIMFILE_PAGE; i++) {
		f->allocated += !(f->pages[i] & PAGE_ALLOCATED);
		f->pages[i] |= flags | PAGE_ALLOCATED;
	}
}

/* The first piece of [*off, end) that lies in one touched page; false if there is none. */
static bool next_piece(const struct simfile *f, uint64_t *off, uint64_t end, size_t *len)
{
	while (*off < end) {
		uint64_t page = *off / SIMFILE_PAGE;
		uint64_t page_end = (page + 1) * SIMFILE_PAGE;

		if (page >= f->page_count)
			return false;
		*len = min_u64(end, page_end) - *off;
		if (f->pages[page] & PAGE_TOUCHED)
			return true;
		*off = page_end;
	}
	return false;
}

static void copy_range(const struct simfile *f, unsigned char *to, const unsigned char *from, uint64_t off,
		       uint64_t len)
{
	size_t piece;

	for (uint64_t at = off; next_piece(f, &at, off + len, &piece); at += piece)
		memcpy(to + at, from + at, piece);
}

static void zero_range(const struct simfile *f, unsigned char *image, uint64_t off, uint64_t len)
{
	size_t piece;

	for (uint64_t at = off; next_piece(f, &at, off + len, &piece); at += piece)
		memset(image + at, 0, piece);
}

uint64_t simfile_needs(const struct simfile *f, uint64_t off, uint64_t len)
{
	uint64_t pages = 0;

	for (uint64_t i = off / SIMFILE_PAGE; len && i <= (off + len - 1) / SIMFILE_PAGE; i++)
		pages += i >= f->page_count || !(f->pages[i] & PAGE_ALLOCATED);
	return pages;
}

/* ------------------------------------------------------------------ reading */

size_t simfile_read(const struct simfile *f, void *buf, size_t size, uint64_t off)
{
	unsigned char *out = buf;
	size_t piece, got;

	if (off >= f->size)
		return 0;
	got = min_u64(size, f->size - off);
	memset(out, 0, got);
	for (uint64_t at = off; next_piece(f, &at, off + got, &piece); at += piece)
		memcpy(out + (at - off), f->cache + at, piece);
	return got;
}

void *simfile_copy(const struct simfile *f, size_t size)
{
	unsigned char *copy =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (copy == MAP_FAILED)
		return NULL;
	copy_range(f, copy, f->cache, 0, min_u64(size, f->size));
	return copy;
}

/* ------------------------------------------------------------------ changing */

static struct simchange *add_change(struct simfile *f, enum change_kind kind, uint64_t when)
{
	struct simchange *c;

	f->changes = grow(f->changes, &f->change_room, f->change_count + 1, sizeof *f->changes);
	c = &f->changes[f->change_count++];
	*c = (struct simchange){.kind = kind, .when = when};
	return c;
}

void simfile_write(struct simfile *f, uint64_t when, const struct iovec *iov, size_t size, uint64_t off)
{
	struct simchange *c = add_change(f, CHANGE_WRITE, when);

	f->bytes = grow(f->bytes, &f->byte_room, f->byte_count + size, 1);
	c->bytes = f->byte_count;
	for (size_t left = size; left; iov++) {
		size_t piece = min_u64(left, iov->iov_len);

		memcpy(f->bytes + f->byte_count, iov->iov_base, piece);
		f->byte_count += piece;
		left -= piece;
	}
	c->off = off;
	c->len = size;
	c->size = off + size;
	mark(f, off, size, PAGE_TOUCHED);
	memcpy(f->cache + off, f->bytes + c->bytes, size);
	if (c->size > f->size)
		f->size = c->size;
}

void simfile_allocate(struct simfile *f, uint64_t when, uint64_t off, uint64_t len, bool keep_size)
{
	mark(f, off, len, 0);
	if (!keep_size && off + len > f->size)
		simfile_resize(f, when, off + len);
}

void simfile_punch(struct simfile *f, uint64_t when, uint64_t off, uint64_t len)
{
	struct simchange *c = add_change(f, CHANGE_ZERO, when);
	uint64_t first = (off + SIMFILE_PAGE - 1) / SIMFILE_PAGE, end = (off + len) / SIMFILE_PAGE;

	c->off = off;
	c->len = len;
	zero_range(f, f->cache, off, len);
	for (uint64_t i = first; i < end && i < f->page_count; i++) {
		f->allocated -= (f->pages[i] & PAGE_ALLOCATED) != 0;
		f->pages[i] &= (unsigned char)~PAGE_ALLOCATED;
	}
}

void simfile_resize(struct simfile *f, uint64_t when, uint64_t size)
{
	struct simchange *c;

	if (size < f->size) {
		/* The bytes cut off go as a hole does, in the same moment. */
		simfile_punch(f, when, size, f->size - size);
		f->change_count--;
	}
	c = add_change(f, CHANGE_SIZE, when);
	c->size = size;
	c->off = size;
	c->len = size < f->size ? f->size - size : 0;
	make_accessible(f, size);
	f->size = size;
}

/* ------------------------------------------------------------------ reaching the disk */

static void set_disk_size(struct simfile *f, uint64_t size)
{
	if (size < f->disk_size)
		zero_range(f, f->disk, size, f->disk_size - size);
	f->disk_size = size;
}

static void apply_whole(struct simfile *f, const struct simchange *c)
{
	switch (c->kind) {
	case CHANGE_WRITE:
		memcpy(f->disk + c->off, f->bytes + c->bytes, c->len);
		if (c->size > f->disk_size)
			f->disk_size = c->size;
		break;
	case CHANGE_ZERO:
		zero_range(f, f->disk, c->off, c->len);
		break;
	case CHANGE_SIZE:
		set_disk_size(f, c->size);
		break;
	}
}

/* The bytes of the sector (or page, for a hole) at off that lie in the change. */
static size_t unit_len(const struct simchange *c, uint64_t off)
{
	uint64_t unit = c->kind == CHANGE_ZERO ? SIMFILE_PAGE : SIMFILE_SECTOR;

	return min_u64((off / unit + 1) * unit, c->off + c->len) - off;
}

/*
 * Only bytes that were written can be garbled: those beside them in the same sector are safe, as on any disk
 * whose sectors are written whole or not at all.
 */
static uint64_t apply_by_fate(struct simfile *f, const struct simchange *c, struct simfate *fate)
{
	uint64_t kept_end = 0;

	for (uint64_t at = c->off; at < c->off + c->len; at += unit_len(c, at)) {
		size_t len = unit_len(c, at);
		enum simfate_end end = simfate_sector(fate);

		if (end == SIMFATE_DROPPED)
			continue;
		kept_end = at + len;
		if (c->kind == CHANGE_ZERO)
			zero_range(f, f->disk, at, len);
		else if (end == SIMFATE_KEPT)
			memcpy(f->disk + at, f->bytes + c->bytes + (at - c->off), len);
		else
			rng_fill(&fate->rng, f->disk + at, len);
	}
	return kept_end;
}

static void apply_changes_by_fate(struct simfile *f, struct simfate *fate)
{
	simfate_file(fate);
	for (size_t i = 0; i < f->change_count; i++) {
		const struct simchange *c = &f->changes[i];
		uint64_t kept_end;

		if (c->lost)
			continue;
		simfate_write(fate, c->when);
		if (c->kind == CHANGE_SIZE) {
			if (simfate_size(fate))
				set_disk_size(f, c->size);
			continue;
		}
		kept_end = apply_by_fate(f, c, fate);
		if (c->kind != CHANGE_WRITE)
			continue;
		/* The size can be there without the bytes, and the bytes without the size. */
		if (c->size > f->disk_size && simfate_size(fate))
			f->disk_size = c->size;
		else if (kept_end > f->disk_size && simfate_size(fate))
			f->disk_size = kept_end;
	}
	for (size_t i = 0; i < f->change_count; i++) {
		const struct simchange *c = &f->changes[i];
		uint64_t from = c->off > f->disk_size ? c->off : f->disk_size;

		if (c->off + c->len > from)
			zero_range(f, f->disk, from, c->off + c->len - from);
	}
}

void simfile_sync(struct simfile *f, uint64_t until)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->change_count; i++) {
		struct simchange c = f->changes[i];

		if (c.lost || c.when > until)
			f->changes[kept++] = c;
		else
			apply_whole(f, &c);
	}
	f->change_count = kept;
	if (!kept)
		f->byte_count = 0;
}

void simfile_lose(struct simfile *f, struct simfate *fate)
{
	apply_changes_by_fate(f, fate);
	for (size_t i = 0; i < f->change_count; i++)
		f->changes[i].lost = true;
}

void simfile_forget(struct simfile *f)
{
	for (size_t i = 0; i < f->change_count; i++)
		if (f->changes[i].lost)
			copy_range(f, f->cache, f->disk, f->changes[i].off, f->changes[i].len);
	for (size_t i = 0; i < f->change_count; i++) {
		const struct simchange *c = &f->changes[i];

		if (!c->lost && c->kind == CHANGE_WRITE)
			memcpy(f->cache + c->off, f->bytes + c->bytes, c->len);
		else if (!c->lost)
			zero_range(f, f->cache, c->off, c->len);
	}
}

void simfile_crash(struct simfile *f, struct simfate *fate)
{
	apply_changes_by_fate(f, fate);
	for (size_t i = 0; i < f->change_count; i++)
		copy_range(f, f->cache, f->disk, f->changes[i].off, f->changes[i].len);
	f->size = f->disk_size;
	f->change_count = f->byte_count = 0;
	f->synced_at = 0;
}
