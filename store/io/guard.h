/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard - mappings of files that may fail to be read: a disk has a bad sector, a file was cut off by somebody
 * else, a network file system has gone away or has fenced this machine. The kernel then sends SIGBUS, which
 * would end the process.
 *
 * In a mapping that is guarded, the page is replaced by one of zeros and counted, and the reader goes on.
 * Zeros are nothing that was ever written: the checksum of a row refuses them, and whoever looks at what has
 * none asks the count. A page is lost for good, until it is unmapped.
 *
 * Within io_guard the looking ends instead, and nothing is replaced.
 *
 * SIGBUS of other memory goes to whom it went before.
 */
#ifndef VECFS_STORE_IO_GUARD_H
#define VECFS_STORE_IO_GUARD_H

#include <stdbool.h>
#include <stddef.h>

struct io_range {
	const void *start;
	size_t size;
};

/*
 * Guards a mapping from now on; *lost counts its pages that could not be read, before any thread sees their
 * zeros. Takes SIGBUS for the process, unless it has it. -ENOMEM.
 */
int io_guard_add(void *start, size_t size, bool writable, _Atomic unsigned *lost);
/* To be called before it is unmapped. */
void io_guard_remove(void *start, size_t size);
/* Whether a page of the mapping that holds this address has been lost. */
bool io_guard_has_lost(const void *start);

/*
 * Calls fn(arg), which reads memory in the ranges, of guarded mappings. false: that could not be done to its
 * end. fn may be left at any read of that memory: it must hold nothing then that has to be given back. Any
 * thread; guards do not nest.
 */
bool io_guard_ranges(const struct io_range *ranges, size_t count, void (*fn)(void *arg), void *arg);
/* The same of one range, [start, start + size). */
bool io_guard(const void *start, size_t size, void (*fn)(void *arg), void *arg);

#endif
