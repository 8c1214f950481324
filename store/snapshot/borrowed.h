/* SPDX-License-Identifier: Apache-2.0 */
/*
 * borrowed - a snapshot that another process has open, for this one to search.
 *
 * Whoever lends it tells metadata, vectors and ids. Codes of views are read from the store's own files, while
 * the other process writes them: of what is read there only what fits the rows' checksums is believed, so
 * that nobody has to tell what has changed meanwhile.
 *
 * It belongs to no store that is open here: what can be asked of it is vs_snapshot_info, vs_snapshot_rows,
 * whole rows by vs_snapshot_vectors, vs_snapshot_close, vs_filter_rows (and searches with what that has
 * told), vs_recall_depth and vs_view_open.
 */
#ifndef VECFS_STORE_SNAPSHOT_BORROWED_H
#define VECFS_STORE_SNAPSHOT_BORROWED_H

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

struct row;
struct vs_snapshot;

#pragma GCC visibility push(default)

/* A row whose vector is wanted. */
struct vs_row_want {
	uint64_t row;
	uint32_t place, sum; /* as its metadata tell */
};

/* Each function is called from any thread, and returns 0 or -errno where it returns anything. */
struct vs_lender {
	const char *dir;              /* of the store */
	struct vs_snapshot_info info; /* its version is of no meaning */
	/* Metadata of rows [first, first + count). */
	int (*meta)(void *arg, uint64_t first, uint64_t count, struct vs_row_meta *out);
	/* Vectors of rows, in rising order, one after the other: each as it was written, or none of them. */
	int (*vectors)(void *arg, const struct vs_row_want *wants, uint32_t count, void *buf);
	/* [off, off + size) of the ids, each ended by a NUL. */
	int (*ids)(void *arg, void *buf, size_t size, uint64_t off);
	/* What vs_view_lend told of a view. -ENOENT: there is none; -EAGAIN: it cannot be had. */
	int (*view)(void *arg, const char *name, char *text, size_t size);
	/* The snapshot is closed: what searches of it have counted, and nothing else of *counted. */
	void (*end)(void *arg, const struct vs_counters *counted);
	void *arg;
};

/* lender->arg lives for longer than the snapshot. -EACCES: the store's directory is not ours to read. */
int vs_snapshot_borrow(const struct vs_lender *lender, struct vs_snapshot **out);

#pragma GCC visibility pop

/* ---- within the engine */

/* NULL: it is a snapshot of a store that is open here. */
const struct vs_lender *snapshot_lender(const struct vs_snapshot *m);
/* Reads the vectors of the rows first + picks[0 .. n), which rise. */
int borrowed_vectors(const struct vs_snapshot *m, uint64_t first, const uint32_t *picks, uint32_t n,
		     void *buf);
/* For snapshot.h and store.h, of a borrowed one. */
int borrowed_rows(const struct vs_snapshot *m, uint64_t first, uint64_t count, const uint64_t *wanted,
		  void (*fn)(void *arg, uint64_t n, uint32_t place, const struct row *row, const char *name),
		  void *arg);
int borrowed_names(struct vs_snapshot *m, uint64_t first, uint64_t count, const uint64_t *wanted,
		   vs_snapshot_row_fn fn, void *arg);
ssize_t borrowed_whole_rows(const struct vs_snapshot *m, void *buf, size_t size, uint64_t off);
/* Calls fn for each row's id, from the first on; that of a row whose metadata are damaged is empty. */
int borrowed_each_id(const struct vs_snapshot *m,
		     bool (*fn)(void *arg, uint64_t row, const char *id, size_t len, uint64_t off),
		     void *arg);
void borrowed_close(struct vs_snapshot *m);

#endif
