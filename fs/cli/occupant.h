/* SPDX-License-Identifier: Apache-2.0 */
/*
 * occupant - who keeps a mount from going away, or its file system from ending: in words, for a message. What
 * is in /proc is only read; the mount itself is asked nothing.
 */
#ifndef VECFS_FS_CLI_OCCUPANT_H
#define VECFS_FS_CLI_OCCUPANT_H

#include <stddef.h>

#include "fs/mount/mountpoint.h"

/* Why m cannot be unmounted: a mount below it, or a process that has something of it open. */
void occupant_of_mount(const struct mountpoint *m, char *text, size_t text_size);
/* Why the file system that was mounted at m lives on: another mount of it, here or in another mount
 * namespace. */
void occupant_of_file_system(const struct mountpoint *m, char *text, size_t text_size);

#endif
