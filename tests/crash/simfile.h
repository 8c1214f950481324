/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simfile - one file of the simulated disk, twice: as programs see it (the page cache) and as it is on the
 * disk. The two differ by the pending changes: those made since the last sync, in their order.
 *
 * Both images lie in reserved address space and never move, so that a shared map is a plain pointer. A page
 * beyond the file's end has no access: touching it kills the test, as SIGBUS would kill the engine.
 */
#ifndef VECFS_TESTS_CRASH_SIMFILE_H
#define VECFS_TESTS_CRASH_SIMFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "tests/crash/simfate.h"

#define SIMFILE_MAX ((size_t)16 << 30)
#define SIMFILE_PAGE 4096u
#define SIMFILE_SECTOR 512u

struct simchange;

struct simfile {
	unsigned char *cache, *disk;
	size_t accessible; /* bytes of both images that can be touched */
	uint64_t size, disk_size;
	unsigned char *pages; /* flags for each page up to the highest ever used */
	size_t page_count;
	uint64_t allocated; /* pages */
	struct simchange *changes;
	size_t change_count, change_room;
	unsigned char *bytes; /* what the pending writes wrote */
	size_t byte_count, byte_room;
	uint64_t synced_at; /* when the last sync was asked for */
};

void simfile_init(struct simfile *f);
/* Empties it for reuse; the address space stays. */
void simfile_clear(struct simfile *f);
void simfile_free(struct simfile *f);

size_t simfile_read(const struct simfile *f, void *buf, size_t size, uint64_t off);
/* A private copy of the first size bytes, to be freed with munmap; NULL without memory. */
void *simfile_copy(const struct simfile *f, size_t size);

/* How many pages a write or an allocation of this range would add. */
uint64_t simfile_needs(const struct simfile *f, uint64_t off, uint64_t len);
/* The changes, at the moment when. The range must end below SIMFILE_MAX. */
void simfile_write(struct simfile *f, uint64_t when, const struct iovec *iov, size_t size, uint64_t off);
void simfile_allocate(struct simfile *f, uint64_t when, uint64_t off, uint64_t len, bool keep_size);
void simfile_punch(struct simfile *f, uint64_t when, uint64_t off, uint64_t len);
void simfile_resize(struct simfile *f, uint64_t when, uint64_t size);

/* Puts on the disk what was changed up to the moment until. */
void simfile_sync(struct simfile *f, uint64_t until);
/* A sync that failed: fate decides what reached the disk, the rest never will though the cache shows it. */
void simfile_lose(struct simfile *f, struct simfate *fate);
/* The cache is read anew, but for what may still reach the disk. */
void simfile_forget(struct simfile *f);
/* Power loss: fate decides what reached the disk, and the cache is read anew. */
void simfile_crash(struct simfile *f, struct simfate *fate);

#endif
