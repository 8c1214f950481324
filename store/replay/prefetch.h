/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefetch - has the file system fetch early what a recovery is going to look at. Nothing depends on it: what
 * cannot be had is found out by whoever wants it.
 */
#ifndef VECFS_STORE_REPLAY_PREFETCH_H
#define VECFS_STORE_REPLAY_PREFETCH_H

#include <stdbool.h>
#include <stdint.h>

struct collection;
struct prefetch;
struct vs_store;

/*
 * Begins to fetch, many at once and beside the caller, all files of segments that the catalog knows, and what
 * is read to begin with: of a store that was closed cleanly the index files, else the log and what an index
 * is built from. Each one's first opening waits for a server, perhaps until another machine has given it up.
 * NULL: nothing is fetched, as on a disk of this machine.
 */
struct prefetch *prefetch_begin(struct vs_store *s, bool clean);
/* Waits until all of it is there, and frees. */
void prefetch_end(struct prefetch *p);
/* Asks for the files of segments that only the log knows, many at once, and waits. */
void prefetch_files(struct vs_store *s);
/* Starts reading the rows and ids of segment n, if c has it. */
void prefetch_rows(const struct collection *c, uint32_t n);

#endif
