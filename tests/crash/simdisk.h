/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simdisk - a disk in memory behind the table of store/io/io.h that can crash, fail and lie.
 *
 * It knows what was synced and what was not, and at a power loss lets a seed decide, sector by sector and
 * name by name, what of the rest survives (simfate.h): the worst that POSIX allows. datasync makes a file's
 * bytes and size durable, not its name; syncdir makes a directory's names durable, not their files' bytes.
 *
 * The table may be used from any thread; the functions below only while no thread is inside the engine,
 * but for the counters.
 */
#ifndef VECFS_TESTS_CRASH_SIMDISK_H
#define VECFS_TESTS_CRASH_SIMDISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "store/io/io.h"

struct simdisk;

struct simdisk *simdisk_new(void);
void simdisk_free(struct simdisk *d);
/* An empty disk without limits, plans, lies and counts; cheaper than a new one. */
void simdisk_reset(struct simdisk *d);
struct io *simdisk_io(struct simdisk *d);

/* ------------------------------------------------------------------ crashing */

/*
 * The k-th change from now (write, allocation, sync, change of a name) is the machine's last: it happens in
 * part, and it and every later call answer -EIO until the reboot. 0: none. seed decides the part.
 */
void simdisk_crash_at(struct simdisk *d, uint64_t k, uint64_t seed);
bool simdisk_crashed(struct simdisk *d);
/* Changes since the reset. */
uint64_t simdisk_changes(struct simdisk *d);

enum simdisk_end {
	SIMDISK_POWER, /* power loss: what was not synced is up to the seed */
	SIMDISK_KILL,  /* the process died: the page cache stays, and is as little synced as before */
};
/* The process's descriptors and locks are gone in both cases. */
void simdisk_reboot(struct simdisk *d, enum simdisk_end end, uint64_t seed);
/* Descriptors that are open: 0 once a store is closed. */
unsigned simdisk_handles(const struct simdisk *d);

/* ------------------------------------------------------------------ failing */

enum simdisk_fault { SIMDISK_EIO, SIMDISK_ENOSPC, SIMDISK_EINTR, SIMDISK_SHORT, SIMDISK_FAULT_COUNT };

/*
 * The k-th call from now that can suffer the fault does, once. 0: none. A datasync that fails loses what it
 * had to write, as Linux does: the page cache goes on to show it, and no later datasync writes it.
 */
void simdisk_fail(struct simdisk *d, enum simdisk_fault fault, uint64_t k, uint64_t seed);
/* The name of the call that failed ("pwritev"), or NULL as long as none has. */
const char *simdisk_failed(struct simdisk *d);
/* How often a file whose datasync had failed was synced again. */
unsigned simdisk_retried_syncs(const struct simdisk *d);
/* Writes and allocations beyond this many bytes answer -ENOSPC. 0: no limit. */
void simdisk_capacity(struct simdisk *d, uint64_t bytes);

/* A file that has several names may be changed: a repair does so. Else it ends the process. */
void simdisk_share_freely(struct simdisk *d);

/* ------------------------------------------------------------------ lying */

/* Lies turn a sound engine into a broken one: they test the tests. */
enum simdisk_lie {
	SIMDISK_HONEST,
	SIMDISK_NO_DATASYNC,   /* datasync does nothing, as if the engine had forgotten it */
	SIMDISK_LATE_DATASYNC, /* each does what the one before should have: applied before logged */
	SIMDISK_NO_SYNCDIR,
};
/* For files (or directories) whose path matches pattern, as of fnmatch(3). */
void simdisk_lie(struct simdisk *d, enum simdisk_lie lie, const char *pattern);

/* Prints each call on a line; NULL: no more. */
void simdisk_trace(struct simdisk *d, FILE *out);

#endif
