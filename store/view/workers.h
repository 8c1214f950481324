/* SPDX-License-Identifier: Apache-2.0 */
/*
 * workers - lends quant/ further threads for a while (quant/parallel.h): they are made for one call and gone
 * after it, so that a store at rest has none. They have the priority of who calls.
 */
#ifndef VECFS_STORE_VIEW_WORKERS_H
#define VECFS_STORE_VIEW_WORKERS_H

#include "quant/parallel.h"

#define WORKERS_MAX 8u

/* How many there may be: one for each processor. */
unsigned workers_count(void);
/* The run of a struct parallel of workers_count() workers. */
void workers_run(void *pool, size_t parts, parallel_fn *fn, void *arg);

#endif
