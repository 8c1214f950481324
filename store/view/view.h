/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view - compressed copies of a collection's vectors, which the engine keeps up by itself (store/README.md).
 *
 * A view is called as its codec (quant/codec.h): "opq96". It is derived: its codes can be made anew from the
 * vectors at any time, so that nothing here is ever an error to who reads vectors. Any thread, unless said
 * otherwise; conventions are those of store.h.
 */
#ifndef VECFS_STORE_VIEW_VIEW_H
#define VECFS_STORE_VIEW_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/codec.h"
#include "store/store.h"

#pragma GCC visibility push(default)

#define VS_VIEW_NAME_MAX 31
/* A drift (error_recent / error_trained) above this is warned of, and trains anew where that is wanted. */
#define VS_VIEW_DRIFT_MAX 1.25

/*
 * TRAINING: there is no model yet, or another one is being made. ENCODING: codes are missing. LAGGING:
 * trained, but rows cannot be encoded now (disk full, damaged rows); why tells. FAILED: cannot be trained. A
 * view that was READY stays so while no more than a few rows wait for their codes.
 */
enum vs_view_state { VS_VIEW_TRAINING, VS_VIEW_ENCODING, VS_VIEW_READY, VS_VIEW_LAGGING, VS_VIEW_FAILED };

struct vs_view_params {
	uint64_t seed;       /* 0: from the store's uuid, the collection and the name */
	uint32_t train_rows; /* 0: what the codec wants */
	bool retrain_auto;   /* a drift above VS_VIEW_DRIFT_MAX trains anew */
};

struct vs_view_info {
	char name[VS_VIEW_NAME_MAX + 1];
	struct codec_plan plan;
	struct vs_view_params params;
	enum vs_view_state state;
	uint32_t epoch;              /* of the codebook that new codes get; 0 until trained */
	uint64_t rows, rows_encoded; /* of the collection; whose code is of epoch `epoch` and up to date */
	uint64_t rows_nonfinite,
		rows_undirected; /* among rows_encoded; undirected: of length 0 under cosine */
	uint64_t rows_trained;   /* that the model was made of */
	double progress;         /* of training or encoding, 0 .. 1 */
	uint64_t disk_bytes;     /* of codes, tags and model */
	/* A number of the model: another one whenever a training, a new seed or a new view of the name gives
	 * other codes; not 0 once trained (also of codecs that have no model), 0 before. */
	uint64_t model;
	/* Mean of |x - decoded|^2 / |x - mean|^2, of codecs that have a model: at training; of rows written
	 * since. */
	double error_trained, error_recent;
	char why[200]; /* what hinders it; empty if nothing does */
};

/*
 * Creates a view: durable when it returns; a thread of the engine trains and encodes. -EEXIST; -EINVAL: why
 * says in a sentence what would fit ("256 vectors are the least for pq96; there are 200"). params may be
 * NULL.
 */
int vs_view_create(struct vs_store *s, uint32_t collection, const char *name,
		   const struct vs_view_params *params, char *why, size_t why_size);
/* Durable with the next sync; running searches keep what they have. -ENOENT. */
int vs_view_drop(struct vs_store *s, uint32_t collection, const char *name);
int vs_view_get(struct vs_store *s, uint32_t collection, const char *name, struct vs_view_info *out);
/* The view whose name is the first after `after` ("": the first of all); -ENOENT at the end. */
int vs_view_next(struct vs_store *s, uint32_t collection, const char *after, struct vs_view_info *out);
/* Trains anew if seed or train_rows change. Durable with the next sync. */
int vs_view_set_params(struct vs_store *s, uint32_t collection, const char *name,
		       const struct vs_view_params *params);
/*
 * What a process that has borrowed a snapshot of the collection (snapshot/borrowed.h) needs to read the
 * view's code files, as a line of text. -ENOENT; -EAGAIN: its model is not at hand. -ENAMETOOLONG.
 */
int vs_view_lend(struct vs_store *s, uint32_t collection, const char *name, char *text, size_t size);
/*
 * Returns 0 once the view is READY, -EINVAL once it has FAILED, -ENOENT once it is gone, -EINTR when tell()
 * says false (it is called now and then, without a lock; may be NULL).
 */
int vs_view_wait(struct vs_store *s, uint32_t collection, const char *name,
		 bool (*tell)(void *arg, const struct vs_view_info *), void *arg);

/* ------------------------------------------------------------------ reading, of one snapshot */

struct vs_view;
/* -ENOENT; -EAGAIN: not trained yet (or failed). The view stays usable when it is dropped or retrained
 * meanwhile; it is closed before the snapshot. */
int vs_view_open(struct vs_snapshot *m, const char *name, struct vs_view **out);
void vs_view_close(struct vs_view *v);
const struct codec *vs_view_codec(const struct vs_view *v);
uint64_t vs_view_model(const struct vs_view *v); /* vs_view_info.model of what it decodes with */
/* Of a row, row-major: block bytes, row bytes, factors as f32. */
size_t vs_view_code_bytes(const struct vs_view *v);
/*
 * Codes of rows [first, first + count) of the snapshot, row-major. A code is a function of vector and model,
 * so rows whose code is stale or missing are encoded on the way: the answer is always whole. -EIO for a
 * damaged vector. One thread at a time for one view.
 */
int vs_view_codes(struct vs_view *v, uint64_t first, uint64_t count, void *out);
/* What these codes stand for; as codec_decode(). */
int vs_view_decoded(struct vs_view *v, uint64_t first, uint64_t count, float *out);

#pragma GCC visibility pop

/* ------------------------------------------------------------------ for scans: within the engine */

struct borrowed_codes;
struct codes;
struct segment;

/* Rows of a snapshot in one segment, with the columns that have their codes. */
struct view_run {
	uint64_t first; /* of the snapshot */
	uint32_t count;
	uint32_t lead; /* row `first` is row `lead` (0..63) of the columns, which begin at a block */
	/* Mapped files, to be read within io_guard; all NULL: no codes here, every row is stale. */
	struct codec_columns columns;
	struct codes *codes;             /* private: the segment's, counted */
	struct borrowed_codes *borrowed; /* private: instead, of a borrowed snapshot */
	uint32_t block;                  /* private: the first */
};
/* At most max rows from first on, max and first being in range. */
void view_run_begin(const struct vs_view *v, uint64_t first, uint64_t max, struct view_run *out);
void view_run_end(const struct view_run *run);
/*
 * Sets the bits (bit i: row first + i) of rows whose codes are not the snapshot's: moved, stale or being
 * encoded. What is read is right for rows whose bits are clear when this is called before the reading and
 * again after it.
 */
int view_mark_stale(const struct vs_view *v, const struct view_run *run, uint64_t *mask);

#endif
