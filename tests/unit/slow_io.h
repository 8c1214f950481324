/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slow_io - a table of system calls whose calls on some collections' files take long, as a disk's do that is
 * busy or failing, or which cannot be read. All others go straight to the real table.
 */
#ifndef VECFS_TESTS_UNIT_SLOW_IO_H
#define VECFS_TESTS_UNIT_SLOW_IO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/io/io.h"

#define SLOW_FILES 4096
#define SLOW_COLLECTIONS 256

enum slow_call { SLOW_OPEN, SLOW_LINK, SLOW_RENAME };

struct slow_io {
	struct io io; /* what the store gets */
	struct io *real;
	_Atomic unsigned delay_ms; /* 0: nothing is slow */
	_Atomic bool broken;       /* what is slow cannot be read: -EIO */
	_Atomic int sync_error;    /* each sync of any file takes delay_ms, and answers this */
	_Atomic bool collection[SLOW_COLLECTIONS]; /* by number */
	_Atomic bool file[SLOW_FILES];             /* by descriptor */
	_Atomic unsigned long delayed;             /* calls */
	_Atomic unsigned long unlinks;             /* begun, of slow files */
	/* Called before each open, link and rename of any file, in the thread that wants it. May be NULL. */
	void (*before)(struct slow_io *slow, enum slow_call call, const char *path);
};

void slow_io_init(struct slow_io *slow, struct io *real);

#endif
