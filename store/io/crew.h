/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crew - calls made side by side, where each of them waits for a server.
 */
#ifndef VECFS_STORE_IO_CREW_H
#define VECFS_STORE_IO_CREW_H

#include <stddef.h>

#include "store/io/io.h"

/*
 * Calls fn(arg, i) for each i below count, up to io->width of them at once, one of these by the caller. After
 * an error no more are begun. 0, or an error that fn has returned.
 */
int crew_run(struct io *io, size_t count, int (*fn)(void *arg, size_t i), void *arg);

#endif
