/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wreck - a small store on a simulated disk, and ways to damage its files: for the tests of vs_check and its
 * repair.
 *
 * Collections: "docs", vectors of 64 KiB, in three segments (two of them came as batches); "tiny", a handful
 * of pairs of floats; "twin", of the same shape as tiny; "empty".
 */
#ifndef VECFS_TESTS_CRASH_WRECK_H
#define VECFS_TESTS_CRASH_WRECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/crash/simdisk.h"
#include "store/store.h"

#define WRECK_DOCS_DIM 16384u
#define WRECK_DOCS_FILES 5u  /* docs: "file-N" in segment 0, */
#define WRECK_DOCS_BATCH 18u /* "b1-N" in segment 1 and "b2-N" in segment 2 */
#define WRECK_TINY 6u        /* tiny and twin: "t-N" */
#define WRECK_TINY_DIM 2u

struct wreck {
	struct simdisk *disk;
	struct io *io;
	char lines[16384]; /* what the last wreck_check said */
};

/* Makes the store and closes it. */
void wreck_new(struct wreck *w);
void wreck_free(struct wreck *w);
struct vs_store *wreck_open(struct wreck *w);
/* vs_check; its lines are in w->lines afterwards. */
int wreck_check(struct wreck *w, bool repair);
void wreck_keep_line(void *wreck, const char *line);
bool wreck_said(const struct wreck *w, const char *text);

/* ---- what is in it */

/* The dim floats of a vector, by its collection and id. */
void wreck_vector(const char *collection, const char *id, uint32_t dim, float *out);
/* Whether a vector can be read and is what it was; false: there is none (or the collection answers EIO).
 * Fails the test if it is anything else. */
bool wreck_reads(struct vs_store *s, const char *collection, const char *id);
/* How many vectors of the collection are served, each verified. */
unsigned wreck_served(struct vs_store *s, const char *collection);
/* The same for a collection that had another title when its vectors were made. */
unsigned wreck_served_as(struct vs_store *s, const char *collection, const char *title);
/* Adds a vector, in a commit of its own. */
void wreck_put(struct vs_store *s, const char *collection, const char *id);

/* ---- damage. All of it fails the test if the file is not there. */

uint64_t wreck_size(struct wreck *w, const char *path);
void wreck_flip(struct wreck *w, const char *path, uint64_t off);
void wreck_zero(struct wreck *w, const char *path, uint64_t off, size_t size);
void wreck_resize(struct wreck *w, const char *path, uint64_t size);
void wreck_remove(struct wreck *w, const char *path);
void wreck_swap(struct wreck *w, const char *a, const char *b);
/* Adds a file of some bytes. */
void wreck_add(struct wreck *w, const char *path);
/* A copy of everything, and back to it. */
struct wreck_copy *wreck_save(struct wreck *w);
void wreck_restore(struct wreck *w, const struct wreck_copy *copy);
void wreck_copy_free(struct wreck_copy *copy);
/* Calls fn for every file. */
void wreck_files(struct wreck *w, void (*fn)(struct wreck *w, const char *path));

#endif
