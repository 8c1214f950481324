/* SPDX-License-Identifier: Apache-2.0 */
/* clock - a time that only goes on; times of the calendar are vs_time (store.h). Any thread. */
#ifndef VECFS_STORE_BASE_CLOCK_H
#define VECFS_STORE_BASE_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Milliseconds since some moment in the past, whatever is done to the system's clock. */
int64_t clock_ms(void);
/* The same in nanoseconds. */
int64_t clock_ns(void);
/*
 * pthread_cond_wait() until clock_ms() is until_ms, at most; false: it is. Of any condition: which clock it
 * was made with says nothing here.
 */
bool clock_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t until_ms);

#endif
