/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check - the parts of fsck (vs_check): each file of a closed store against the catalog, and the rows against
 * each other. Shared by check*.c and repair*.c and by nobody else. One thread, but for a collection's
 * segments.
 */
#ifndef VECFS_STORE_CHECK_CHECK_H
#define VECFS_STORE_CHECK_CHECK_H

#include "store/engine.h"

#define CHECK_TITLE_MAX (2 * VS_NAME_MAX + 32)

struct check {
	struct io *io;
	void (*report)(void *arg, const char *line);
	void *arg;
	uint64_t found; /* findings */
	bool stopped;   /* a message has been reported */
	struct vs_store
		*s;  /* the catalog's tables, without threads; segments are opened by check_segment_open */
	bool repair; /* wanted, and so a conversion is */
	bool converted;
	bool mend; /* repairing: files get the right size, bad rows are given up; only that is said */
};

/* One finding, silent when mending; check_say is a line that counts for none. */
void check_found(struct check *k, const char *format, ...) __attribute__((format(printf, 2, 3)));
void check_say(struct check *k, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Says why the check cannot go on, and returns rc. */
int check_stop(struct check *k, int rc, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* "docs", or "docs/.vecfs/tx/B" for a batch. */
void check_title(const struct check *k, const struct collection *c, char title[CHECK_TITLE_MAX]);
/* An id as it can be shown on a line. */
const char *check_printable(char out[VS_NAME_MAX + 1], const char *name, size_t len);

/* Begins a pass: takes the lock and makes empty tables. -EBUSY, and said who holds it. */
int check_begin(struct check *k);
void check_end(struct check *k);
/*
 * Recovers a store that was not closed, the way a mount would, and closes it: the log is part of the store,
 * and what it says comes before any check. *done is false, and what is wrong has been said, if that is not
 * possible.
 */
int check_recover(struct check *k, bool *done);
/*
 * The same without writing, where nothing can be written: reads each vector of the store as it would be after
 * a recovery. *done as above.
 */
int check_recovered(struct check *k, bool *done);
/* A whole check. A store that was not closed is recovered first. */
int check_pass(struct check *k);

/* ---- catalog */

enum catalog_state {
	CATALOG_CLOSED,
	CATALOG_UNCLOSED, /* the log comes first */
	CATALOG_OLD, /* of an older format: it is to be converted first, or that has not come to its end */
	CATALOG_UNUSABLE,
};
/* Verifies both slots; unless they are unusable the tables of k->s are loaded. */
int check_catalog(struct check *k, enum catalog_state *state);

/* ---- files */

/*
 * Calls unknown_file for what does not belong into the store's directories; non-zero ends it and is returned.
 * left: it is ours, from a removal that did not get to its end, and not in use.
 */
typedef int (*check_unknown_file_fn)(void *arg, const char *path, bool left);
int check_files(struct check *k, check_unknown_file_fn unknown_file, void *arg);
/* The segment and column that a file name of a collection's directory ("3.rows") stands for. */
bool check_file_parse(const char *name, uint32_t *n, enum segment_column *column);
/* A number written the way we write it. */
bool check_number_parse(const char *text, size_t len, uint32_t *out);
bool check_file_exists(struct io *io, const char *path);

/* ---- collection */

struct check_segment {
	uint32_t count, name_heap_end; /* by the catalog */
	uint32_t vectors;              /* how many rows the vectors file has, */
	uint32_t rows;                 /* and the rows file; at most count */
	bool suspect[SEGMENT_COLUMNS]; /* the file as a whole is not what it should be */
};

/* A collection under examination. */
struct check_collection {
	struct check *k;
	struct collection *c;
	char title[CHECK_TITLE_MAX];
	struct check_segment *segments;
};

/*
 * Calls fn for each of a collection's segments, in several threads, unless it is mending. fn gets a
 * check_collection of its thread's own, and what it finds is said in the order of the segments, whatever the
 * threads. The first error in that order ends it and is returned.
 */
typedef int (*check_segment_fn)(struct check_collection *cc, uint32_t i, void *arg);
int check_each_segment(struct check_collection *cc, check_segment_fn fn, void *arg);

/* All collections of the tables. */
int check_collections(struct check *k);
/* Opens all segments with check_segment_open. In any case check_collection_close comes last. */
int check_collection_open(struct check *k, struct collection *c, struct check_collection *out);
void check_collection_close(struct check_collection *cc);
/*
 * Maps segment i as far as there are files, and verifies sizes, the .npy header and the digests. When
 * mending, files are created or brought to size; what is missing is zeros, and so rows without metadata are
 * deleted. No descriptor stays open: there may be any number of segments.
 */
int check_segment_open(struct check_collection *cc, uint32_t i);
/* A descriptor of a column of it, which the caller closes. */
int check_column_fd(const struct check_collection *cc, uint32_t i, enum segment_column column, int flags);
/*
 * Whether the file at path could be this column: by size and digest, or for vectors by samples. False if no
 * row tells.
 */
int check_column_matches(struct check_collection *cc, uint32_t i, enum segment_column column,
			 const char *path, bool *out);
/* Verifies all rows, vectors and the index. When mending, what is bad becomes a deleted row. */
int check_rows(struct check_collection *cc);

/* Verifies models and codes of views. When mending, what is not as it was written is removed. */
int check_views(struct check_collection *cc);
/* Tells what is wrong with the upload of a batch. */
int check_upload(struct check_collection *cc);

/* ---- repair: each makes a later one's work possible, and none makes an intact vector unreadable */

/* Mends the store; false in *done if it cannot be. */
int repair_store(struct check *k, bool *done);
/* Drops what cannot be replayed from the log (or all of it), and says what that is. */
int repair_log(struct check *k, bool all);
/* Makes tables from the files of the collections, for want of a catalog. */
int repair_catalog(struct check *k);
/* Brings files that have changed places back. */
int repair_places(struct check *k);
/* Moves a file or directory out of the way, into lost+found. */
int repair_put_aside(struct check *k, const char *path);

#endif
