/* SPDX-License-Identifier: Apache-2.0 */
/*
 * searched - .vecfs/searched of a collection or snapshot, which is only written to, and not listed: there
 * `vecfs search`, which searches in its own process, tells what it has counted, in one write of one line:
 *
 *   queries=100 rows_scanned=341479 rows_verified=1204 us=51230
 *
 * The mount's metrics have the sums, apart from what the daemon has counted itself, for they are the word of
 * whoever may write to the collection. What no search can have counted is refused (EINVAL).
 */
#ifndef VECFS_FS_CONTROL_SEARCHED_H
#define VECFS_FS_CONTROL_SEARCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEARCHED_LINE_BYTES 128

struct searched {
	uint64_t queries, rows_scanned, rows_verified;
	uint64_t us; /* of all threads */
};

/* The line, with its newline; returns its length. */
size_t searched_format(const struct searched *told, char line[SEARCHED_LINE_BYTES]);
/* Reads a line of size bytes, its newline included, or not; false: it is none, or tells what cannot be. */
bool searched_parse(const char *line, size_t size, struct searched *out);

#endif
