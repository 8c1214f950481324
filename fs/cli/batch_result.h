/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch_result - commits a batch from the command line so that no other request of the mount waits for it:
 * the rename that commits it answers at once, and the batch's file `result` tells how it went.
 */
#ifndef VECFS_FS_CLI_BATCH_RESULT_H
#define VECFS_FS_CLI_BATCH_RESULT_H

#include <stddef.h>

#define BATCH_RESULT_BYTES 2048

/*
 * Renames the batch to where it is committed, and waits until that is done. result is its open file of that
 * name; text gets what it says. -EEXIST: it may only add, and an id is there; -ECANCELED and others: refused
 * for what text says, or not begun.
 */
int batch_result_commit(int result, const char *batch, const char *to, char text[BATCH_RESULT_BYTES]);
/* What it says now: key=value lines; empty if it says nothing. */
void batch_result_read(int result, char text[BATCH_RESULT_BYTES]);

#endif
