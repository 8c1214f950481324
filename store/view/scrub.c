/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/scrub.h"

#include <errno.h>

#include "store/base/clock.h"
#include "store/view/encode.h"
#include "store/view/views.h"

#define LOOK_BYTES (1u << 20)
#define LOOK_MS 100
#define REST_MS 60000
#define REST_TIMES 9

static int64_t rest_ms(const struct vs_store *s, int64_t took_ms)
{
	if (s->options.scrub_ms)
		return s->options.scrub_ms;
	return took_ms * REST_TIMES > REST_MS ? took_ms * REST_TIMES : REST_MS;
}

static void begin_round(struct vs_store *s, int64_t due_ms)
{
	s->views->scrub.round++;
	s->views->scrub.began_ms = s->views->scrub.due_ms = due_ms;
}

void scrub_begin(struct vs_store *s)
{
	begin_round(s, clock_ms() + rest_ms(s, 0));
}

/* What is looked at of one segment, with references. */
struct part {
	struct segment *seg;
	struct codes *codes;
	uint32_t end; /* blocks with rows */
};

/* The view's next segment whose codes have been verified. false: there is none. */
static bool find_part(struct vs_store *s, struct view *v, struct part *p)
{
	const struct collection *c;

	*p = (struct part){.seg = NULL};
	engine_read_lock(s);
	c = collection_get(&s->table, v->collection);
	while (c && !c->damaged && v->scrub_segment < c->segment_count && !p->seg) {
		struct segment *seg = c->segments[v->scrub_segment];
		const struct codes *k =
			segment_has_files(seg) && !seg->going ? codes_look_up(seg, v->current->number) : NULL;

		p->end = (seg->count + CODES_BLOCK_ROWS - 1) / CODES_BLOCK_ROWS;
		if (k && k->verified && v->scrub_block < p->end) {
			segment_get(p->seg = seg);
			p->codes = codes_find(seg, v->current->number);
		} else {
			v->scrub_segment++;
			v->scrub_block = 0;
		}
	}
	pthread_rwlock_unlock(&s->lock);
	return p->seg;
}

static void part_end(struct vs_store *s, const struct part *p)
{
	codes_put(p->codes);
	segment_put(s->io, p->seg);
}

/* Looks at blocks of one segment, for as long as there are bytes left. */
static int look_at_part(struct view *v, const struct part *p, size_t *bytes, struct encode_result *out)
{
	struct view_model *m = v->current;
	size_t block_bytes = sizeof(struct block_tag);
	uint32_t have = 0, end;
	struct code_blocks blocks;
	struct code_files files;
	int rc = code_files_open(&files, p->codes, m, false);

	if (rc)
		return rc;
	for (int i = 0; i < CODES_COLUMNS; i++)
		block_bytes += m->block_bytes[i];
	rc = code_files_blocks(&files, &have);
	end = have < p->end ? have : p->end;
	if (!code_blocks_alloc(&blocks, m, ENCODE_LOOK_BLOCKS))
		rc = -ENOMEM;
	while (!rc && *bytes && v->scrub_block < end) {
		uint32_t left = end - v->scrub_block,
			 n = left < ENCODE_LOOK_BLOCKS ? left : ENCODE_LOOK_BLOCKS;

		rc = encode_look(&files, v->scrub_block, n, &blocks, out);
		v->scrub_block += n;
		*bytes -= *bytes < n * block_bytes ? *bytes : n * block_bytes;
	}
	if (v->scrub_block >= end)
		v->scrub_block = UINT32_MAX;
	code_blocks_free(&blocks);
	code_files_close(&files);
	return rc;
}

/* Codes that cannot be read now are left for the next round. */
static uint64_t look_at_view(struct vs_store *s, struct view *v, size_t *bytes)
{
	uint64_t failed = 0;
	struct part p;

	while (*bytes && !s->views->stop && v->current && find_part(s, v, &p)) {
		struct encode_result result = {0};

		if (look_at_part(v, &p, bytes, &result))
			v->scrub_block = UINT32_MAX;
		view_report_blocks(s, v, p.seg, result.blocks_failed);
		failed += result.blocks_failed;
		part_end(s, &p);
	}
	if (!*bytes)
		return failed;
	v->scrubbed = s->views->scrub.round;
	v->scrub_segment = v->scrub_block = 0;
	return failed;
}

static struct view *next_view(struct views *vs)
{
	struct view *v;

	pthread_mutex_lock(&vs->mutex);
	v = vs->first;
	while (v && (v->dropped || v->scrubbed == vs->scrub.round))
		v = v->next;
	pthread_mutex_unlock(&vs->mutex);
	return v;
}

bool scrub_look(struct vs_store *s)
{
	struct views *vs = s->views;
	int64_t now = clock_ms();
	size_t bytes = LOOK_BYTES;
	uint64_t failed = 0;
	struct view *v;

	if (now < vs->scrub.due_ms)
		return false;
	while (bytes && !vs->stop && (v = next_view(vs)))
		failed += look_at_view(s, v, &bytes);
	vs->scrub.due_ms = clock_ms() + LOOK_MS;
	if (bytes)
		begin_round(s, clock_ms() + rest_ms(s, clock_ms() - vs->scrub.began_ms));
	return failed;
}
