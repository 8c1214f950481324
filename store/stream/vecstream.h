/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vecstream - the format of what `vecfs send` writes and `vecfs receive` reads: one snapshot of a collection,
 * or the difference of two, from front to back. All numbers are little-endian.
 *
 *   struct vecstream_start, and header_bytes of text: lines of key=value, each key once, which say what is
 * sent frames: struct vecstream_frame, and stored_bytes of payload; the last one is the end
 *
 * Nothing follows the end. The sum of the start is XXH3 of the text, seeded with magic and version; that of a
 * frame is XXH3 of its other fields and its payload, seeded with the sum before it. So a frame that was
 * altered, lost, doubled or moved is told at its place, and nothing of it is used.
 *
 * Keys of version 1, in this order; what is in brackets may be missing:
 *
 *   stream=            16 hexadecimal digits: the same for the same rows in the same order, also of a part
 * (below) to=                name of the snapshot, as a line of idlist.h; empty: none, it was the collection
 * at a moment to_fingerprint=    of its rows (store/base/digest.h): rows, a colon, 32 hexadecimal digits
 * [from= from_fingerprint=]  the same of the snapshot that the receiver must have; without: all is sent dim=
 * dtype= metric= removals= rows=    how many there are in all removals_done= rows_done=  how many of them are
 * left out at the front, because a receiver has them already mode= uid= gid= mtime=     of the collection:
 * octal; seconds since 1970, a point, nine digits [view=]...         any number: a view's name, a space, its
 * parameters as key=value with spaces between; of a snapshot those of its collection
 *
 * Version 2 has one more: ctime=, as mtime=, when the snapshot was taken (or got its name). What has no such
 * key is written as version 1, which is the same else.
 *
 * Frames of removals come first: ids that are not there any more. Then those of rows: each of them as it is
 * now, whether it is new or has changed. The end has the totals of what came, and the digest of its rows.
 *
 * The payload of both is a struct vecstream_block, and then
 *
 *   rows x struct vs_file_attr       (not of removals)
 *   ids_bytes of ids, each ended by a NUL
 *   rows x row_bytes of vectors        (not of removals)
 *
 * and raw_bytes is the size of all that. With VECSTREAM_COMPRESSED the attributes and the vectors are taken
 * apart into planes (quant/planes.h): the first bytes of all numbers, all second ones, and so on (of
 * attributes each of the 24 bytes is one). What follows struct vecstream_block is then a uint32_t for each
 * part, the bytes that it takes, and the parts: attributes, ids, and each plane of the vectors (without the
 * attributes and the planes in removals). A part that takes as many bytes as it has is as it is, else it is a
 * frame of zstd.
 *
 * A program that meets a newer version, a key or a type of frame that it does not know refuses the stream.
 *
 * Whoever reads holds one frame in memory, at most VECSTREAM_RAW_MAX twice. Everything read is taken for
 * hostile. One thread at a time for each object.
 */
#ifndef VECFS_STORE_STREAM_VECSTREAM_H
#define VECFS_STORE_STREAM_VECSTREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "store/base/digest.h"
#include "store/store.h"

#define VECSTREAM_MAGIC 0x4d52545343455686ull /* 86 "VECSTRM": no text begins so */
#define VECSTREAM_VERSION 2u                  /* the newest */
#define VECSTREAM_HEADER_MAX (1u << 20)
#define VECSTREAM_VIEWS_MAX 8192u

struct vecstream_start {
	uint64_t magic;
	uint32_t version;
	uint32_t header_bytes;
	uint64_t sum;
};
static_assert(sizeof(struct vecstream_start) == 24, "vecstream_start");

enum vecstream_type { VECSTREAM_REMOVALS = 1, VECSTREAM_ROWS = 2, VECSTREAM_END = 3 };
#define VECSTREAM_COMPRESSED 1u

struct vecstream_frame {
	uint32_t type;
	uint32_t flags;
	uint32_t raw_bytes;
	uint32_t stored_bytes;
	uint64_t sum;
};
static_assert(sizeof(struct vecstream_frame) == 24, "vecstream_frame");

/* What a frame holds at most: so many rows, and of vectors so many bytes. */
#define VECSTREAM_ROWS_MAX 65536u
#define VECSTREAM_VECTORS_MAX (1u << 20)
#define VECSTREAM_RAW_MAX (24u << 20)

struct vecstream_block {
	uint32_t rows;
	uint32_t ids_bytes;
};

struct vecstream_end {
	uint64_t removals, rows;
	uint64_t digest_low, digest_high;
};

struct vecstream_header {
	uint64_t stream;
	char to[VS_NAME_MAX + 1], from[VS_NAME_MAX + 1];
	struct digest to_print, from_print;
	bool has_from;
	struct vs_schema schema;
	uint64_t removals, rows, removals_done, rows_done;
	struct vs_file_attr attr;
	bool has_ctime;
	int64_t ctime_s;
	uint32_t ctime_ns;
	char views[VECSTREAM_VIEWS_MAX]; /* a line each */
};

/* The number of a stream of these two snapshots: of their names, fingerprints and the schema, and of the rows
 * in their order, of which order is a checksum. */
uint64_t vecstream_number(const struct vecstream_header *h, uint64_t order);
/* How many rows of this size go into one frame. */
uint32_t vecstream_frame_rows(size_t row_bytes);

/* Writes start and text to a malloc'ed buffer. -EINVAL: a view's line that cannot be; -ENOMEM. */
int vecstream_header_build(const struct vecstream_header *h, char **out, size_t *size);
/* Of a start that was read: -EINVAL, why says what it is instead. */
int vecstream_start_check(const struct vecstream_start *start, char *why, size_t why_size);
/* Of its text, header_bytes; which is changed. -EINVAL: why says what is wrong. */
int vecstream_header_parse(const struct vecstream_start *start, char *text, struct vecstream_header *out,
			   char *why, size_t why_size);

/* ------------------------------------------------------------------ blocks */

/* Removals or rows, as whoever sends has them, or whoever receives gets them. */
struct vecstream_rows {
	enum vecstream_type type;
	uint32_t rows;
	const char *ids; /* each ended by a NUL */
	uint32_t ids_bytes;
	const struct vs_file_attr *attrs; /* of VECSTREAM_ROWS, */
	const void *vectors;              /* too */
};

/* Memory for one frame, there and back, used again for the next. */
struct vecstream_packer;
/* NULL: no memory. */
struct vecstream_packer *vecstream_packer_new(const struct vs_schema *schema);
void vecstream_packer_free(struct vecstream_packer *p);
/*
 * Makes a frame, all but its sum, of rows. level: that of zstd, or VECSTREAM_PLAIN. The payload's pieces lie
 * in the packer and in what rows points to, until the next call.
 */
#define VECSTREAM_PLAIN INT32_MIN
#define VECSTREAM_PIECES 4
struct vecstream_packed {
	struct vecstream_frame frame;
	struct {
		const void *data;
		size_t size;
	} pieces[VECSTREAM_PIECES];
};
int vecstream_pack(struct vecstream_packer *p, const struct vecstream_rows *rows, int level,
		   struct vecstream_packed *out);
/* The way back, of a payload as it was stored; rows points into it and into the packer. -EINVAL: why says
 * what is wrong. */
int vecstream_unpack(struct vecstream_packer *p, const struct vecstream_frame *frame, const void *payload,
		     struct vecstream_rows *out, char *why, size_t why_size);
/* Adds the rows to what the end will tell. */
void vecstream_count(const struct vecstream_rows *rows, size_t row_bytes, struct vecstream_end *end);

/* ------------------------------------------------------------------ frames */

/* Writes all of data; -errno. */
typedef int (*vecstream_write_fn)(void *arg, const void *data, size_t size);
/* Reads size bytes, fewer only at the end; -errno. */
typedef ssize_t (*vecstream_read_fn)(void *arg, void *buf, size_t size);

struct vecstream_writer {
	vecstream_write_fn write;
	void *arg;
	uint64_t sum; /* of the frame before */
};
int vecstream_write_header(struct vecstream_writer *w, const struct vecstream_header *h);
int vecstream_write(struct vecstream_writer *w, struct vecstream_packed *packed);
int vecstream_write_end(struct vecstream_writer *w, const struct vecstream_end *end);

struct vecstream_reader {
	vecstream_read_fn read;
	void *arg;
	uint64_t sum;
	uint64_t at, frames; /* bytes and frames before this one: where something is wrong */
};
int vecstream_read_header(struct vecstream_reader *r, struct vecstream_header *out, char *why,
			  size_t why_size);
/*
 * The next frame, verified, with its payload in *buf, a malloc'ed buffer of *capacity bytes that grows. After
 * the end nothing may follow. -EINVAL: why says where the stream is torn or altered.
 */
int vecstream_read(struct vecstream_reader *r, struct vecstream_frame *frame, void **buf, size_t *capacity,
		   char *why, size_t why_size);
/* Of the end's payload. */
int vecstream_check_end(const struct vecstream_frame *frame, const void *payload,
			const struct vecstream_end *want, char *why, size_t why_size);

#endif
