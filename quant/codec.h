/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codec - one interface to all codecs, by the names that views have:
 *
 *   f16 bf16 sq8 bit rabitq1 .. rabitq8   not trained (rabitq: but for the mean)
 *   pqB opqB                              B bytes a vector, a byte a sub-vector
 *   pqMx4 opqMx4                          M sub-vectors of 4 bits
 *
 * The order of calls: codec_parse() a name; codec_plan() for a dim and a metric, which says what a row takes
 * and what training wants; codec_train() a model from a sample; codec_bind() the model; then codec_encode()
 * and codec_decode() rows, codec_query_init() and codec_scan().
 *
 * A row's code has up to three parts, each in a column of its own (quant/block.h): bytes in blocks, bytes in
 * rows, and side factors in blocks. A fourth column says in a bit a row which ones can be found.
 *
 * Vectors come and go as f32; under cosine they are normalised first. A vector that is not finite, or whose
 * length no f32 holds, and under cosine one of length 0, has a code (zeros, or what quant/sq8.h and
 * quant/rabitq.h say), and its bit of valid is cleared: no scan finds it. Only f16 and bf16 keep what it was.
 *
 * Models and codes are the same bytes on every level and for any number of workers. Nothing here allocates:
 * memory is the caller's, at 64 bytes. Callable from any thread; rows of one block by one thread at a time.
 */
#ifndef VECFS_QUANT_CODEC_H
#define VECFS_QUANT_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/metric.h"
#include "quant/parallel.h"
#include "quant/pq.h"
#include "quant/rabitq.h"
#include "quant/rotation.h"
#include "quant/scan.h"
#include "quant/sq8.h"

#define CODEC_NAME_BYTES 32
#define CODEC_TRAIN_ROWS_MIN 256         /* of what is trained by k-means */
#define CODEC_TRAIN_ROWS_PER_CENTROID 39 /* fewer make poor centroids: warn */

enum codec_kind {
	CODEC_F16,
	CODEC_BF16,
	CODEC_SQ8,
	CODEC_BIT,
	CODEC_RABITQ,
	CODEC_PQ,
	CODEC_OPQ,
	CODEC_KINDS
};

struct codec_name {
	enum codec_kind kind;
	unsigned bits; /* of rabitq a component; of pq and opq a sub-vector, 4 or 8 */
	uint32_t subs; /* of pq and opq */
};

/* -EINVAL: no codec is called so. "pq096" and the like are not either: a codec has one name. */
int codec_parse(const char *name, struct codec_name *out);
/* The name, NUL-terminated. */
void codec_format(const struct codec_name *name, char buf[CODEC_NAME_BYTES]);

/* What a codec is for vectors of one shape. */
struct codec_plan {
	struct codec_name name;
	uint32_t dim;
	enum vs_metric metric;
	size_t block_bytes;  /* of a row, in the column (blocks, block_bytes, 64) u8 */
	size_t row_bytes;    /* of a row, in the column (rows, row_bytes) u8 */
	unsigned factors;    /* of a row, in the column (blocks, factors, 64) f32 */
	bool is_uneven;      /* pq, opq: some sub-vectors are a dim wider than others */
	size_t model_floats; /* 0: nothing is trained */
	size_t rows_min;     /* that training must, ... */
	size_t rows_wanted;  /* ... should, ... */
	size_t rows_max;     /* ... and can make use of; see rng_sample() */
};

/* -EINVAL: the codec has no such form; why says what would fit in a sentence without the codec's name. */
int codec_plan(const struct codec_name *name, uint32_t dim, enum vs_metric metric, struct codec_plan *out,
	       char *why, size_t why_size);

/* ------------------------------------------------------------------ training */

size_t codec_train_scratch_bytes(const struct codec_plan *plan, size_t rows, unsigned workers);

/*
 * Makes the model from a sample x[rows][dim], which is used up: rows that cannot be found are dropped, and
 * under cosine the others normalised. Mean, rotation and codebook follow each other in model. -EINVAL: fewer
 * than rows_min rows are left (*used says how many); -EDOM as opq_train().
 */
int codec_train(const struct codec_plan *plan, size_t rows, float *x, uint64_t seed,
		const struct parallel *parallel, float *model, size_t *used, void *scratch);

/* ------------------------------------------------------------------ rows */

/* The parts of a model: pointers into it, NULL for what the codec has not. */
struct codec_model {
	const float *mean;     /* rabitq: [dim] */
	const float *rotation; /* opq: [dim][dim], rows are the new axes */
	const float *codebook; /* pq, opq: [subs][K][sub_dim] */
};
void codec_model(const struct codec_plan *plan, const float *model, struct codec_model *out);

struct codec {
	struct codec_plan plan;
	struct codec_model model;
	struct pq pq;             /* pq, opq */
	struct rotation rotation; /* opq */
	struct rabitq rabitq;
};

size_t codec_bound_bytes(const struct codec_plan *plan);
/* model and memory stay as long as the codec; seed is that of training. */
void codec_bind(struct codec *codec, const struct codec_plan *plan, uint64_t seed, const float *model,
		void *memory);

/* The columns of some rows, which begin with row 0. Those that the codec has not may be NULL. */
struct codec_columns {
	uint8_t *blocks;
	uint8_t *rows;
	float *factors;
	uint64_t *valid; /* (blocks) */
};

/* Scratch of each thread that encodes, decodes or makes a query. */
size_t codec_scratch_bytes(const struct codec *codec);
/* Encodes n vectors x[n][dim] as rows first .. first + n - 1. Returns how many of them cannot be found. */
size_t codec_encode(const struct codec *codec, const struct codec_columns *columns, size_t first, size_t n,
		    const float *x, void *scratch);
/* x[n][dim] = what the codes stand for (of length about 1 under cosine, but for f16 and bf16); NaNs for
 * rows that cannot be found, but for those two. */
void codec_decode(const struct codec *codec, const struct codec_columns *columns, size_t first, size_t n,
		  float *x, void *scratch);

/* ------------------------------------------------------------------ queries */

struct codec_query {
	const struct codec *codec;
	const void *query; /* f16, bf16: f32 numbers; bit: a bit vector */
	struct scan_tables tables;
	struct sq8_query sq8;
	struct rabitq_query rabitq;
};

size_t codec_query_bytes(const struct codec *codec);
/* memory: codec_query_bytes(), stays as long as the query; scratch: codec_scratch_bytes(). -EINVAL: the query
 * is not finite, or has no direction under cosine. */
int codec_query_init(struct codec_query *query, const struct codec *codec, const float *vector, void *memory,
		     void *scratch);
/* Offers the rows of columns to the selection, by their estimated distance; by the Hamming distance for bit.
 * The mask of rows is that of columns if rows->valid is NULL. */
void codec_scan(struct topk *top, const struct scan_rows *rows, const struct codec_query *query,
		const struct codec_columns *columns);
/* The same by something cheaper that has about the order of these distances, and is none: for candidates. */
void codec_scan_coarsely(struct topk *top, const struct scan_rows *rows, const struct codec_query *query,
			 const struct codec_columns *columns);
/* The metric's distance that one of a scan stands for: itself, but for bit. */
float codec_distance(const struct codec *codec, float scanned);

#endif
