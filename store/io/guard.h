/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard - looking at a mapping of a file that may fail to be read. The kernel then sends SIGBUS, which would
 * end the process; within a guard it only ends the looking.
 */
#ifndef VECFS_STORE_IO_GUARD_H
#define VECFS_STORE_IO_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Calls fn(arg), which reads memory in [start, start + size). false: that could not be done to its end. fn
 * may be left at any read of that memory: it must hold nothing then that has to be given back. Any thread;
 * guards do not nest. The first call takes SIGBUS for the process; what happens outside of a guard goes to
 * whom it went before.
 */
bool io_guard(const void *start, size_t size, void (*fn)(void *arg), void *arg);

#endif
