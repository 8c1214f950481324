/* SPDX-License-Identifier: Apache-2.0 */
/*
 * victim - a small store in a directory of memory. A fuzzer replaces one of its files, puts the sums right
 * that keep chance away but not malice, and has all of the engine run over it.
 *
 * Collections: 1 "docs", 20 vectors of 4 floats, a few with long ids; 2 "bits"; 3 a batch of docs, with a
 * vector, an upload and texts; 4 "empty".
 */
#ifndef VECFS_TESTS_FUZZ_VICTIM_H
#define VECFS_TESTS_FUZZ_VICTIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vs_store;

const char *victim_dir(void);
/* NULL if it does not open. */
struct vs_store *victim_open(void);
/* Also says that no byte beyond a file's end was touched. */
void victim_close(struct vs_store *s);
/* Writes the store anew: closed, or as a kill leaves it. */
void victim_reset(bool closed);
/* Replaces a file, or creates it. */
void victim_write(const char *path, const void *data, size_t size);
/* Reads one: malloc'ed; NULL if there is none. */
uint8_t *victim_read(const char *path, size_t *size);

/* ---- sums. All in place; data of any kind is good enough. */

void victim_seal_catalog(uint8_t *data, size_t size);
/* Frame after frame, as a log that begins where the catalog says. */
void victim_seal_log(uint8_t *data, size_t size);
/* The rows of a segment, as they refer to these names. */
void victim_seal_rows(uint8_t *rows, size_t rows_size, const uint8_t *names, size_t names_size);
/* The catalog of the store, so that the index image of a collection fits it. */
void victim_seal_image(uint8_t *image, size_t size, uint32_t collection);

/*
 * Opens, reads, changes, closes, checks and repairs. What is answered does not matter, only that it ends
 * well; but a repaired store must be clean.
 */
void victim_run(void);

#endif
