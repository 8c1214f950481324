/* SPDX-License-Identifier: Apache-2.0 */
/* Frames one after the other, each with a sum that is chained to the one before. */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/stream/vecstream.h"

/* ------------------------------------------------------------------ writing */

int vecstream_write_header(struct vecstream_writer *w, const struct vecstream_header *h)
{
	struct vecstream_start start;
	char *text;
	size_t size;
	int rc = vecstream_header_build(h, &text, &size);

	if (rc)
		return rc;
	memcpy(&start, text, sizeof start);
	w->sum = start.sum;
	rc = w->write(w->arg, text, size);
	free(text);
	return rc;
}

int vecstream_write(struct vecstream_writer *w, struct vecstream_packed *packed)
{
	XXH3_state_t *state = XXH3_createState();
	int rc;

	if (!state)
		return -ENOMEM;
	XXH3_64bits_reset_withSeed(state, w->sum);
	XXH3_64bits_update(state, &packed->frame, offsetof(struct vecstream_frame, sum));
	for (int i = 0; i < VECSTREAM_PIECES; i++)
		if (packed->pieces[i].size > 0)
			XXH3_64bits_update(state, packed->pieces[i].data, packed->pieces[i].size);
	w->sum = packed->frame.sum = XXH3_64bits_digest(state);
	XXH3_freeState(state);
	rc = w->write(w->arg, &packed->frame, sizeof packed->frame);
	for (int i = 0; !rc && i < VECSTREAM_PIECES; i++)
		if (packed->pieces[i].size > 0)
			rc = w->write(w->arg, packed->pieces[i].data, packed->pieces[i].size);
	return rc;
}

int vecstream_write_end(struct vecstream_writer *w, const struct vecstream_end *end)
{
	struct vecstream_packed packed = {
		.frame = {.type = VECSTREAM_END, .raw_bytes = sizeof *end, .stored_bytes = sizeof *end},
		.pieces = {{end, sizeof *end}}};

	return vecstream_write(w, &packed);
}

/* ------------------------------------------------------------------ reading */

/* Reads all of size bytes: fewer are a stream that was cut. */
static int get(struct vecstream_reader *r, void *buf, size_t size, char *why, size_t why_size)
{
	ssize_t got = r->read(r->arg, buf, size);

	if (got < 0)
		return (int)got;
	if ((size_t)got < size) {
		snprintf(why, why_size, "cut short after %" PRIu64 " bytes, in frame %" PRIu64,
			 r->at + (uint64_t)got, r->frames);
		return -EINVAL;
	}
	r->at += size;
	return 0;
}

int vecstream_read_header(struct vecstream_reader *r, struct vecstream_header *out, char *why,
			  size_t why_size)
{
	struct vecstream_start start;
	ssize_t got = r->read(r->arg, &start, sizeof start);
	char *text;
	int rc;

	if (got < 0)
		return (int)got;
	if (got == 0)
		snprintf(why, why_size, "found nothing");
	else if ((size_t)got < sizeof start)
		snprintf(why, why_size, "found %zd bytes, which is no stream", got);
	if ((size_t)got < sizeof start)
		return -EINVAL;
	rc = vecstream_start_check(&start, why, why_size);
	if (rc)
		return rc;
	r->at = sizeof start;
	text = malloc(start.header_bytes + 1u);
	rc = text ? get(r, text, start.header_bytes, why, why_size) : -ENOMEM;
	if (!rc)
		rc = vecstream_header_parse(&start, text, out, why, why_size);
	free(text);
	r->sum = start.sum;
	return rc;
}

static int refuse(const struct vecstream_reader *r, char *why, size_t why_size, const char *what)
{
	snprintf(why, why_size, "altered: frame %" PRIu64 ", which begins at byte %" PRIu64 ", %s", r->frames,
		 r->at - sizeof(struct vecstream_frame), what);
	return -EINVAL;
}

static bool is_possible(const struct vecstream_frame *f)
{
	return f->type >= VECSTREAM_REMOVALS && f->type <= VECSTREAM_END &&
	       f->raw_bytes <= VECSTREAM_RAW_MAX && f->stored_bytes <= VECSTREAM_RAW_MAX;
}

static uint64_t frame_sum(uint64_t before, const struct vecstream_frame *f, const void *payload)
{
	XXH3_state_t *state = XXH3_createState();
	uint64_t sum;

	if (!state)
		return ~f->sum; /* no memory is as good as no proof */
	XXH3_64bits_reset_withSeed(state, before);
	XXH3_64bits_update(state, f, offsetof(struct vecstream_frame, sum));
	XXH3_64bits_update(state, payload, f->stored_bytes);
	sum = XXH3_64bits_digest(state);
	XXH3_freeState(state);
	return sum;
}

int vecstream_read(struct vecstream_reader *r, struct vecstream_frame *frame, void **buf, size_t *capacity,
		   char *why, size_t why_size)
{
	uint64_t began = r->at;
	char more;
	int rc = get(r, frame, sizeof *frame, why, why_size);

	if (rc)
		return rc;
	if (!is_possible(frame))
		return refuse(r, why, why_size, "is none that this program knows");
	if (*capacity < frame->stored_bytes + 1u) {
		free(*buf);
		*buf = malloc(frame->stored_bytes + 1u);
		*capacity = *buf ? frame->stored_bytes + 1u : 0;
	}
	rc = *buf ? get(r, *buf, frame->stored_bytes, why, why_size) : -ENOMEM;
	if (rc)
		return rc;
	if (frame_sum(r->sum, frame, *buf) != frame->sum) {
		r->at = began + sizeof *frame;
		return refuse(r, why, why_size, "does not have its checksum");
	}
	r->sum = frame->sum;
	r->frames++;
	if (frame->type == VECSTREAM_END && r->read(r->arg, &more, 1) != 0)
		return refuse(r, why, why_size, "is the end, and more follows");
	return 0;
}

int vecstream_check_end(const struct vecstream_frame *frame, const void *payload,
			const struct vecstream_end *want, char *why, size_t why_size)
{
	if (frame->stored_bytes == sizeof *want && memcmp(payload, want, sizeof *want) == 0)
		return 0;
	snprintf(why, why_size, "altered: its end does not tell what came before it");
	return -EINVAL;
}
