/* SPDX-License-Identifier: Apache-2.0 */
/*
 * park - threads for requests that take long: a search of many rows. On the classic transport the threads
 * that answer requests are few; one that searches would keep all others waiting as soon as there are as many
 * searches. So such a request is parked, and answered by a thread of these.
 *
 * They are as many as there are CPUs, begin with the first request and stay. They are less urgent than those
 * that answer requests: who creates a file meanwhile has a CPU first.
 */
#ifndef VECFS_FS_MOUNT_PARK_H
#define VECFS_FS_MOUNT_PARK_H

#include <stdbool.h>

struct park;

/* NULL: no memory. */
struct park *park_new(void);
/* Waits for what is parked. p may be NULL. */
void park_free(struct park *p);
/* Has answer(arg) called by one of the threads, in the order of the calls. false: there is none; arg is the
 * caller's still. Any thread. */
bool park_request(struct park *p, void (*answer)(void *arg), void *arg);

#endif
