/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as the payload of a frame, and back. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "quant/planes.h"
#include "store/stream/vecstream.h"

#define WIDTH_MAX 4u
#define PARTS_MAX (2 + WIDTH_MAX) /* attributes, ids, planes */
#define NS_PER_S 1000000000u
#define MODE_BITS 07777u
/* A plane of which this much does not get smaller is taken for noise. */
#define SAMPLE_BYTES ((size_t)16 << 10)

struct vecstream_packer {
	size_t row_bytes, width;
	ZSTD_CCtx *compressor;
	ZSTD_DCtx *decompressor;
	struct buffer {
		unsigned char *data;
		size_t size;
	} split, packed, raw;
	struct vecstream_block head;
};

/* One part: its bytes in the order in which they are compressed. */
struct part {
	const unsigned char *data;
	size_t size;
};

static bool buffer_need(struct buffer *b, size_t size)
{
	if (size <= b->size)
		return true;
	free(b->data);
	b->data = malloc(size);
	b->size = b->data ? size : 0;
	return b->data;
}

struct vecstream_packer *vecstream_packer_new(const struct vs_schema *schema)
{
	struct vecstream_packer *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->row_bytes = vs_row_bytes(schema);
	p->width = vs_dtype_bits(schema->dtype) < 8 ? 1 : vs_dtype_bits(schema->dtype) / 8;
	p->compressor = ZSTD_createCCtx();
	p->decompressor = ZSTD_createDCtx();
	if (p->compressor && p->decompressor)
		return p;
	vecstream_packer_free(p);
	return NULL;
}

void vecstream_packer_free(struct vecstream_packer *p)
{
	if (!p)
		return;
	ZSTD_freeCCtx(p->compressor);
	ZSTD_freeDCtx(p->decompressor);
	free(p->split.data);
	free(p->packed.data);
	free(p->raw.data);
	free(p);
}

/* ------------------------------------------------------------------ there */

/* The parts of rows, taken apart in p->split. Returns how many, 0 for want of memory. */
static size_t make_parts(struct vecstream_packer *p, const struct vecstream_rows *r,
			 struct part parts[PARTS_MAX])
{
	size_t attrs = r->rows * sizeof *r->attrs, vectors = r->rows * p->row_bytes, n = 0;
	size_t plane = vectors / p->width;

	if (r->type == VECSTREAM_REMOVALS) {
		parts[n++] = (struct part){(const unsigned char *)r->ids, r->ids_bytes};
		return n;
	}
	if (!buffer_need(&p->split, attrs + vectors))
		return 0;
	planes_split(r->attrs, r->rows, sizeof *r->attrs, p->split.data);
	planes_split(r->vectors, plane, p->width, p->split.data + attrs);
	parts[n++] = (struct part){p->split.data, attrs};
	parts[n++] = (struct part){(const unsigned char *)r->ids, r->ids_bytes};
	for (size_t i = 0; i < p->width; i++)
		parts[n++] = (struct part){p->split.data + attrs + i * plane, plane};
	return n;
}

/* Whether a first look says that compressing it may pay. */
static bool is_worth_it(struct vecstream_packer *p, const struct part *part, int level, unsigned char *out)
{
	size_t got;

	if (part->size < 4 * SAMPLE_BYTES)
		return true;
	got = ZSTD_compressCCtx(p->compressor, out, SAMPLE_BYTES, part->data, SAMPLE_BYTES, level);
	return !ZSTD_isError(got) && got < SAMPLE_BYTES - SAMPLE_BYTES / 64;
}

/* Writes a part to out, which has room for all its bytes: smaller, or as it is. */
static uint32_t put_part(struct vecstream_packer *p, const struct part *part, int level, unsigned char *out)
{
	size_t got = 0;

	if (part->size > 1 && is_worth_it(p, part, level, out))
		got = ZSTD_compressCCtx(p->compressor, out, part->size - 1, part->data, part->size, level);
	if (got > 0 && !ZSTD_isError(got))
		return (uint32_t)got;
	memcpy(out, part->data, part->size);
	return (uint32_t)part->size;
}

static int pack_parts(struct vecstream_packer *p, const struct vecstream_rows *r, int level,
		      struct vecstream_packed *out)
{
	struct part parts[PARTS_MAX];
	size_t n = make_parts(p, r, parts), used = sizeof p->head + n * sizeof(uint32_t);
	uint32_t sizes[PARTS_MAX];

	if (n == 0 || !buffer_need(&p->packed, used + out->frame.raw_bytes))
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		sizes[i] = put_part(p, &parts[i], level, p->packed.data + used);
		used += sizes[i];
	}
	memcpy(p->packed.data, &p->head, sizeof p->head);
	memcpy(p->packed.data + sizeof p->head, sizes, n * sizeof *sizes);
	out->frame.flags = VECSTREAM_COMPRESSED;
	out->frame.stored_bytes = (uint32_t)used;
	out->pieces[0].data = p->packed.data;
	out->pieces[0].size = used;
	return 0;
}

int vecstream_pack(struct vecstream_packer *p, const struct vecstream_rows *r, int level,
		   struct vecstream_packed *out)
{
	bool has_rows = r->type == VECSTREAM_ROWS;
	size_t attrs = has_rows ? r->rows * sizeof *r->attrs : 0,
	       vectors = has_rows ? r->rows * p->row_bytes : 0;
	size_t raw = sizeof p->head + attrs + r->ids_bytes + vectors;

	assert(r->rows > 0 && r->rows <= VECSTREAM_ROWS_MAX && raw <= VECSTREAM_RAW_MAX);
	memset(out, 0, sizeof *out);
	p->head = (struct vecstream_block){r->rows, r->ids_bytes};
	out->frame.type = (uint32_t)r->type;
	out->frame.raw_bytes = out->frame.stored_bytes = (uint32_t)raw;
	if (level != VECSTREAM_PLAIN)
		return pack_parts(p, r, level, out);
	out->pieces[0].data = &p->head;
	out->pieces[0].size = sizeof p->head;
	out->pieces[1].data = r->attrs;
	out->pieces[1].size = attrs;
	out->pieces[2].data = r->ids;
	out->pieces[2].size = r->ids_bytes;
	out->pieces[3].data = r->vectors;
	out->pieces[3].size = vectors;
	return 0;
}

void vecstream_count(const struct vecstream_rows *r, size_t row_bytes, struct vecstream_end *end)
{
	struct digest d = {.low = end->digest_low, .high = end->digest_high};
	const char *id = r->ids;

	if (r->type == VECSTREAM_REMOVALS) {
		end->removals += r->rows;
		return;
	}
	for (uint32_t i = 0; i < r->rows; i++) {
		size_t len = strlen(id);

		digest_add(&d, id, len, (const char *)r->vectors + i * row_bytes, row_bytes);
		id += len + 1;
	}
	end->rows += r->rows;
	end->digest_low = d.low;
	end->digest_high = d.high;
}

/* ------------------------------------------------------------------ back */

static int refuse(char *why, size_t why_size, const char *what)
{
	snprintf(why, why_size, "%s", what);
	return -EINVAL;
}

static int check_ids(const struct vecstream_rows *r, char *why, size_t why_size)
{
	const char *at = r->ids, *end = at + r->ids_bytes;
	uint32_t n = 0;

	for (; at < end; n++) {
		const char *stop = memchr(at, 0, (size_t)(end - at));

		if (!stop || vs_name_check(at, (size_t)(stop - at)) != 0)
			return refuse(why, why_size, "found what is no id");
		at = stop + 1;
	}
	return n == r->rows ? 0 : refuse(why, why_size, "found more or fewer ids than rows");
}

static int check_attrs(const struct vecstream_rows *r, char *why, size_t why_size)
{
	for (uint32_t i = 0; i < r->rows && r->attrs; i++)
		if (r->attrs[i].mode > MODE_BITS || r->attrs[i].mtime_ns >= NS_PER_S)
			return refuse(why, why_size, "found a mode or time that cannot be");
	return 0;
}

/* Reads the next part of a payload into out, size bytes. */
static int get_part(struct vecstream_packer *p, const unsigned char **at, const unsigned char *end,
		    uint32_t stored, unsigned char *out, size_t size)
{
	size_t got = size;

	if (stored > size || stored > (size_t)(end - *at))
		return -EINVAL;
	if (stored == size)
		memcpy(out, *at, size);
	else
		got = ZSTD_decompressDCtx(p->decompressor, out, size, *at, stored);
	*at += stored;
	if (ZSTD_isError(got) && ZSTD_getErrorCode(got) == ZSTD_error_memory_allocation)
		return -ENOMEM;
	return got == size ? 0 : -EINVAL;
}

/* The payload behind its head, from at to end: into p->raw, as it would be without compression. */
static int unpack_parts(struct vecstream_packer *p, const struct vecstream_rows *r, const unsigned char *at,
			const unsigned char *end, size_t raw_size)
{
	bool has_rows = r->type == VECSTREAM_ROWS;
	size_t attrs = has_rows ? r->rows * sizeof *r->attrs : 0,
	       vectors = has_rows ? r->rows * p->row_bytes : 0;
	size_t plane = vectors / p->width, n = has_rows ? 2 + p->width : 1, i = 0;
	uint32_t stored[PARTS_MAX];
	unsigned char *raw;
	int rc = 0;

	if ((size_t)(end - at) < n * sizeof *stored)
		return -EINVAL;
	memcpy(stored, at, n * sizeof *stored);
	at += n * sizeof *stored;
	if (!buffer_need(&p->split, attrs + vectors + 1) || !buffer_need(&p->raw, raw_size))
		return -ENOMEM;
	raw = p->raw.data;
	if (has_rows)
		rc = get_part(p, &at, end, stored[i++], p->split.data, attrs);
	if (!rc)
		rc = get_part(p, &at, end, stored[i++], raw + attrs, r->ids_bytes);
	for (size_t k = 0; !rc && i < n; k++)
		rc = get_part(p, &at, end, stored[i++], p->split.data + attrs + k * plane, plane);
	if (rc || at != end)
		return rc ? rc : -EINVAL;
	if (has_rows) {
		planes_merge(p->split.data, r->rows, sizeof *r->attrs, raw);
		planes_merge(p->split.data + attrs, plane, p->width, raw + attrs + r->ids_bytes);
	}
	return 0;
}

int vecstream_unpack(struct vecstream_packer *p, const struct vecstream_frame *frame, const void *payload,
		     struct vecstream_rows *out, char *why, size_t why_size)
{
	const unsigned char *at = (const unsigned char *)payload + sizeof p->head;
	bool has_rows = frame->type == VECSTREAM_ROWS;
	size_t attrs, vectors, raw;
	int rc = 0;

	if (frame->stored_bytes < sizeof p->head || frame->flags & ~VECSTREAM_COMPRESSED)
		return refuse(why, why_size, "it makes no sense");
	memcpy(&p->head, payload, sizeof p->head);
	*out = (struct vecstream_rows){.type = (enum vecstream_type)frame->type,
				       .rows = p->head.rows,
				       .ids_bytes = p->head.ids_bytes};
	if (out->rows == 0 || out->rows > VECSTREAM_ROWS_MAX || out->ids_bytes > VECSTREAM_RAW_MAX)
		return refuse(why, why_size, "it makes no sense");
	attrs = has_rows ? out->rows * sizeof *out->attrs : 0;
	vectors = has_rows ? out->rows * p->row_bytes : 0;
	raw = sizeof p->head + attrs + out->ids_bytes + vectors;
	if (raw != frame->raw_bytes || (!(frame->flags & VECSTREAM_COMPRESSED) && frame->stored_bytes != raw))
		return refuse(why, why_size, "it is not as large as its rows");
	if (frame->flags & VECSTREAM_COMPRESSED) {
		rc = unpack_parts(p, out, at, (const unsigned char *)payload + frame->stored_bytes, raw);
		at = p->raw.data;
	}
	if (rc)
		return rc == -EINVAL ? refuse(why, why_size, "what is compressed makes no sense") : rc;
	out->attrs = has_rows ? (const void *)at : NULL;
	out->ids = (const char *)at + attrs;
	out->vectors = has_rows ? at + attrs + out->ids_bytes : NULL;
	rc = check_ids(out, why, why_size);
	return rc ? rc : check_attrs(out, why, why_size);
}
