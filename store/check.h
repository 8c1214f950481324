/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check - the parts of fsck (vs_check): each file of a closed store against the catalog, and the rows against each
 * other. Shared by check*.c and repair*.c and by nobody else. One thread.
 */
#ifndef VECFS_STORE_CHECK_H
#define VECFS_STORE_CHECK_H

#include "engine.h"

#define CHECK_TITLE_MAX (2 * VS_NAME_MAX + 32)

struct check {
	struct io *io;
	void (*report)(void *arg, const char *line);
	void *arg;
	uint64_t found;     /* findings */
	struct vs_store *s; /* the catalog's tables, without threads; segments are opened by check_segment_open */
	bool mend;          /* the second pass of a repair: bad rows are given up */
};

/* One finding; check_say is a line that counts for none. */
void check_found(struct check *k, const char *format, ...) __attribute__((format(printf, 2, 3)));
void check_say(struct check *k, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "docs", or "docs/.vecfs/tx/B" for a batch. */
void check_title(const struct check *k, const struct collection *c, char title[CHECK_TITLE_MAX]);

/* Begins a pass: takes the lock and makes empty tables. -EBUSY, and said who holds it. */
int check_begin(struct check *k);
void check_end(struct check *k);
/* A whole check. A store that was not closed is recovered first. */
int check_pass(struct check *k);

/* ---- catalog */

enum catalog_state {
	CATALOG_USABLE,   /* of a store that was closed */
	CATALOG_UNCLOSED, /* the log comes first */
	CATALOG_UNUSABLE,
};
/* Verifies both slots; with a usable state the tables of k->s are loaded. */
int check_catalog(struct check *k, enum catalog_state *state);

/* ---- files */

/* Names what does not belong into the store's directories. */
int check_files(struct check *k);
/* The segment and column that a file name of a collection's directory ("3.rows") stands for. */
bool check_file_parse(const char *name, uint32_t *n, enum segment_column *column);
bool check_file_exists(struct io *io, const char *path);

/* ---- collection */

struct check_segment {
	uint32_t count;   /* by the catalog */
	uint32_t vectors; /* how many of them the vectors file has, */
	uint32_t rows;    /* and the rows file */
	bool suspect[SEGMENT_COLUMNS]; /* the file as a whole is not what it should be */
	uint32_t bad;     /* rows that are not as they were written */
};

/* A collection under examination. */
struct check_collection {
	struct check *k;
	struct collection *c;
	char title[CHECK_TITLE_MAX];
	struct check_segment *segments;
};

int check_collection_open(struct check *k, struct collection *c, struct check_collection *out);
void check_collection_close(struct check_collection *cc);
/* Opens segment i as far as there are files, and verifies sizes, the .npy header and the digests. */
int check_segment_open(struct check_collection *cc, uint32_t i);
/* Verifies all rows, vectors and the index; when mending, what is bad becomes a dead row. */
int check_rows(struct check_collection *cc);

#endif
