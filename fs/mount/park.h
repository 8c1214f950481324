/* SPDX-License-Identifier: Apache-2.0 */
/*
 * park - threads for requests that take long: a search of many rows, the commit of a batch. The threads that
 * answer requests are few, on io_uring one a CPU; one that is at such a request would keep others waiting. So
 * it is parked, and answered by a thread of these, which begin when they are needed and stay.
 *
 * Searches have as many as there are CPUs, less urgent than those that answer requests: who creates a file
 * meanwhile has a CPU first. What waits for the disk has others, so that it does not wait for searches, too.
 */
#ifndef VECFS_FS_MOUNT_PARK_H
#define VECFS_FS_MOUNT_PARK_H

#include <stdbool.h>

struct park;

/* How many CPUs this process may use. */
unsigned park_cpus(void);
/* Up to so many threads, 16 at most, less urgent by so many steps of nice(2). NULL: no memory. */
struct park *park_new(unsigned threads_max, int less_urgent);
/* Waits for what is parked. p may be NULL. */
void park_free(struct park *p);
/* Has answer(arg) called by one of the threads, in the order of the calls. false: there is none; arg is the
 * caller's still. Any thread. */
bool park_request(struct park *p, void (*answer)(void *arg), void *arg);

#endif
