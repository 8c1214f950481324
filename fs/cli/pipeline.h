/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipeline - items that are filled one after the other, worked on beside each other, and used in the order in
 * which they were filled: a ring of slots, of which the caller fills the next, threads work on those that are
 * filled, and one more thread uses the oldest.
 */
#ifndef VECFS_FS_CLI_PIPELINE_H
#define VECFS_FS_CLI_PIPELINE_H

#define PIPELINE_SLOTS_MAX 8u

struct pipeline_ops {
	/* Fills a slot: 1; 0: there is nothing more; else an error, which is not positive. By the caller's
	 * thread, so that a signal ends its system call. */
	int (*fill)(void *arg, unsigned slot);
	void (*work)(void *arg, unsigned slot);
	/* Not 0: nothing more is filled nor used. One thread, another than the caller's. */
	int (*use)(void *arg, unsigned slot);
};

/* How many slots there are: 0 to this - 1. */
unsigned pipeline_slots(void);
/* Runs until there is nothing more, or an error: what was filled before fill had one is used. Returns use's
 * error, or fill's, or 0. Without threads it does one after the other. */
int pipeline_run(const struct pipeline_ops *ops, void *arg);

#endif
