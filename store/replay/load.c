/* SPDX-License-Identifier: Apache-2.0 */
#include "store/replay/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/clone/clone.h"
#include "store/collection/index_file.h"
#include "store/engine.h"
#include "store/io/crew.h"
#include "store/replay/prefetch.h"

#define AHEAD 8u /* segments: 50 to 500 MB of rows and ids */

void load_damaged(struct vs_store *s, struct collection *c, const char *what, int rc)
{
	c->damaged = true;
	engine_report(s, VS_ERROR, "%s: damaged: %s: %s; run vecfs check", c->name, what, strerror(-rc));
}

/* Whether somebody has yet to get the files of c that it had once. */
int load_is_wanted(struct vs_store *s, const struct collection *c)
{
	int rc = 1;

	for (uint32_t i = 0; i < s->table.count && rc > 0; i++)
		if (s->table.all[i]->unlinked == c->id && s->table.all[i]->frozen)
			rc = clone_is_linked(s, s->table.all[i]);
	return rc < 0 ? rc : !rc;
}

/* Opens segment i in place of its placeholder. replaying: its files may not exist, or be short, before the
 * second pass. */
static int load_segment(struct vs_store *s, struct collection *c, uint32_t i, bool replaying)
{
	struct segment *old = c->segments[i], *seg;
	int rc;

	if (!old->count && !(replaying && old->cloned))
		return 0; /* whatever files there are of it are orphans */
	rc = segment_open(&s->files, c->id, i, &c->schema, replaying ? 0 : old->count,
			  replaying ? 0 : old->names.end, &seg);
	if (rc == -ENOENT && replaying && !old->count) {
		int wanted = load_is_wanted(s, c);

		if (wanted <= 0)
			return wanted; /* who was to share it has it already */
	}
	if (rc == -ENOENT && replaying && !old->digests[SEGMENT_ROWS])
		rc = segment_create_missing(&s->files, c->id, i, &c->schema, &seg);
	if (rc)
		return rc;
	seg->count = seg->high = seg->applied = old->count;
	seg->adopts = old->adopts;
	seg->cloned = old->cloned;
	memcpy(seg->digests, old->digests, sizeof seg->digests);
	seg->digest_valid = !replaying && old->digests[SEGMENT_ROWS];
	name_heap_init(&seg->names, old->names.end);
	if (!replaying)
		seg->header_rows = seg->count;
	else if (!old->logged) /* else it may be right, and not be durable */
		segment_learn_header(seg, &c->schema);
	segment_put(s->io, old);
	c->segments[i] = seg;
	return replaying ? files_relieve(&s->files) : 0;
}

/* What the log has for the segments that can be opened reaches them also if another one is damaged. */
int load_segments(struct vs_store *s, struct collection *c, bool replaying)
{
	int rc = 0;

	for (uint32_t i = 0; i < c->segment_count && (!rc || (replaying && rc == -EUCLEAN)); i++) {
		int segment_rc = load_segment(s, c, i, replaying);

		rc = segment_rc ? segment_rc : rc;
	}
	return rc;
}

/* After the second pass: every file is as long as what is in use. */
int load_verify_sizes(struct collection *c)
{
	int rc = 0;

	for (uint32_t i = 0; i < c->segment_count && !rc; i++)
		rc = segment_has_files(c->segments[i]) ? segment_verify_size(c->segments[i]) : 0;
	return rc;
}

/* ------------------------------------------------------------------ the index */

#define BLOCK_ROWS 8192u
#define BLOCKS 64u /* whose keys are in memory at once: 12 MiB */

/* Rows of one segment, and their keys. */
struct block {
	struct segment *seg;
	uint32_t first, count;
	struct index_key *keys;
};

struct scan {
	struct collection *c;
	uint32_t segment, slot; /* the next that is in no block yet */
	struct block blocks[BLOCKS];
	size_t count;
	struct index_key *keys;
};

/* Takes the next rows. false: there are no more. */
static bool next_blocks(struct scan *sc)
{
	struct collection *c = sc->c;
	struct index_key *keys = sc->keys;

	for (sc->count = 0; sc->count < BLOCKS && sc->segment < c->segment_count;) {
		struct segment *seg = c->segments[sc->segment];
		uint32_t left = seg->count - sc->slot;
		struct block *b = &sc->blocks[sc->count];

		if (!left) {
			prefetch_rows(c, ++sc->segment + AHEAD - 1);
			sc->slot = 0;
			continue;
		}
		*b = (struct block){seg, sc->slot, left < BLOCK_ROWS ? left : BLOCK_ROWS, keys};
		keys += b->count;
		sc->slot += b->count;
		sc->count++;
	}
	return sc->count;
}

static int read_block(void *arg, size_t i)
{
	struct scan *sc = arg;
	struct block *b = &sc->blocks[i];
	int rc = 0;

	for (uint32_t k = 0; k < b->count && !rc; k++)
		rc = collection_read_key(sc->c, b->seg, b->first + k, &b->keys[k]);
	return rc;
}

static int index_blocks(struct scan *sc, uint64_t *bad)
{
	for (size_t i = 0; i < sc->count; i++) {
		struct block *b = &sc->blocks[i];

		for (uint32_t k = 0; k < b->count; k++) {
			int rc = collection_index_key(sc->c, b->seg, b->first + k, &b->keys[k]);

			if (rc && rc != -EBADMSG)
				return rc;
			*bad += rc == -EBADMSG;
		}
	}
	return 0;
}

/* Rows of a segment without rows are in no block. */
static uint64_t count_rows(const struct collection *c)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < c->segment_count; i++)
		count += c->segments[i]->count;
	return count;
}

/*
 * Rebuilds the index by scanning the rows. Where files are far their keys are read by as many threads as
 * there are files asked for: each of them waits for pages, and one alone would take as long as all of that.
 */
int load_index(struct vs_store *s, struct collection *c)
{
	struct scan *sc = calloc(1, sizeof *sc);
	uint64_t bad = 0, count = count_rows(c);
	int rc = sc ? 0 : -ENOMEM;

	if (count)
		id_index_prepare(&c->index, count);
	if (sc) {
		sc->c = c;
		sc->keys = malloc((count < BLOCKS * BLOCK_ROWS ? count + 1 : BLOCKS * BLOCK_ROWS) *
				  sizeof *sc->keys);
		rc = sc->keys ? 0 : -ENOMEM;
	}
	for (uint32_t i = 0; i < AHEAD; i++)
		prefetch_rows(c, i);
	while (!rc && next_blocks(sc)) {
		rc = crew_run(s->io, sc->count, read_block, sc);
		if (!rc)
			rc = index_blocks(sc, &bad);
		while (files_mapped_full(&s->files))
			engine_unmap(s);
	}
	free(sc ? sc->keys : NULL);
	free(sc);
	if (!rc && bad)
		engine_report(s, VS_ERROR, "%s: %llu damaged rows; run vecfs check", c->name,
			      (unsigned long long)bad);
	return rc;
}

/* Whether an error is about the files, and not about what the process or the machine is short of. */
static bool is_damage(int rc)
{
	return rc && rc != -EMFILE && rc != -ENFILE && rc != -ENOMEM && rc != -EAGAIN && rc != -EINTR;
}

/* A snapshot's segments, whose files are opened when somebody wants to see it. */
int load_later(struct vs_store *s, struct collection *c)
{
	int rc = 0;

	for (uint32_t i = 0; i < c->segment_count && !rc; i++) {
		struct segment *old = c->segments[i], *seg;

		if (!old->count)
			continue;
		rc = segment_later(&s->files, c->id, i, &c->schema, old->count, old->names.end, &seg);
		if (rc)
			return rc;
		segment_put(s->io, old);
		c->segments[i] = seg;
	}
	return 0;
}

/* Files that are not as they should be make a damaged collection; without means to look at them none is
 * opened. */
int load_collection(struct vs_store *s, struct collection *c)
{
	int rc;

	if (c->frozen)
		return load_later(s, c);
	rc = load_segments(s, c, false);

	collection_trim_segments(&s->table, c);
	if (is_damage(rc))
		load_damaged(s, c, "segment files", rc);
	if (rc)
		return is_damage(rc) ? 0 : rc;
	if (c->index_stamp) {
		rc = index_file_load(s->io, c);
		if (!is_damage(rc))
			return rc;
		if (rc != -EPROTO) /* of an older kind: nothing is wrong with it */
			engine_report(s, VS_WARNING, "%s: no index image (%s), rebuilding it", c->name,
				      strerror(-rc));
	}
	c->index_stamp = 0;
	rc = load_index(s, c);
	if (c->count)
		s->finalized = false; /* an empty collection has no image */
	if (is_damage(rc))
		load_damaged(s, c, "index", rc);
	return is_damage(rc) ? 0 : rc;
}

/* Segments that were opened for who was to share them, and have no rows. */
int load_close_sources(struct vs_store *s, struct collection *c)
{
	for (uint32_t n = 0; n < c->segment_count; n++) {
		struct segment *old = c->segments[n], *seg;

		if (old->count || !segment_has_files(old))
			continue;
		seg = segment_placeholder(n, 0, 0);
		if (!seg)
			return -ENOMEM;
		segment_write_off(old);
		segment_put(s->io, old);
		c->segments[n] = seg;
		c->directory_changed = true;
	}
	return 0;
}
