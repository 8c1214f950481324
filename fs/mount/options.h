/* SPDX-License-Identifier: Apache-2.0 */
/* options - the options after `mount -o`, also those of fstab(5) that are not for us. Pure functions. */
#ifndef VECFS_FS_MOUNT_OPTIONS_H
#define VECFS_FS_MOUNT_OPTIONS_H

#include <stddef.h>

#include "fs/mount/session.h"

#define MOUNTOPT_COMMIT_MS 5 /* when no option says otherwise */
#define MOUNTOPT_COMMIT_MS_MAX 60000

/*
 * Applies a list like "ro,commit=20" to *options. -EINVAL: why names the option and says what is wrong with
 * it; *options may then have changed.
 */
int mountopt_parse(const char *list, struct mount_options *options, char *why, size_t why_size);

#endif
