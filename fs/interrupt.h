/* SPDX-License-Identifier: Apache-2.0 */
/* interrupt - lets a command that is told to end clean up first. For the main thread of a command. */
#ifndef VECFS_FS_INTERRUPT_H
#define VECFS_FS_INTERRUPT_H

#include <stdbool.h>

/* From now on SIGINT, SIGTERM and SIGHUP, unless ignored, only end the system call under way (EINTR). */
void interrupt_catch(void);
/* Whether one of them has come. */
bool interrupt_came(void);

#endif
