/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefetch - has the file system fetch early what a recovery is going to look at. Nothing depends on it: what
 * cannot be had is found out by whoever wants it.
 */
#ifndef VECFS_STORE_REPLAY_PREFETCH_H
#define VECFS_STORE_REPLAY_PREFETCH_H

#include <stdint.h>

struct collection;
struct vs_store;

/*
 * Asks for all files of segments, many at once: where each one's first opening waits for a server, perhaps
 * until another machine has given it up. Without effect on a disk of this machine.
 */
void prefetch_files(struct vs_store *s);
/* Starts reading the rows and ids of segment n, if c has it. */
void prefetch_rows(const struct collection *c, uint32_t n);

#endif
