/* SPDX-License-Identifier: Apache-2.0 */
/*
 * workers - lends quant/ a second thread for a while (quant/parallel.h): it is made for one call and gone
 * after it, so that a store at rest has none.
 */
#ifndef VECFS_STORE_VIEW_WORKERS_H
#define VECFS_STORE_VIEW_WORKERS_H

#include "quant/parallel.h"

#define WORKERS_MAX 2u

/* The run of a struct parallel of at most WORKERS_MAX workers. */
void workers_run(void *pool, size_t parts, parallel_fn *fn, void *arg);

#endif
