/* SPDX-License-Identifier: Apache-2.0 */
/* reason - why a mount has refused something: what its log says. */
#ifndef VECFS_FS_CLI_REASON_H
#define VECFS_FS_CLI_REASON_H

#include <stddef.h>

/* The last line of MNT/.vecfs/log with what in it, from behind "refused: " on. why stays as it is if there is
 * none, or if the log cannot be read. */
void reason_find(const char *collection, const char *what, char *why, size_t why_size);

#endif
