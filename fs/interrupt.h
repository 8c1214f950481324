/* SPDX-License-Identifier: Apache-2.0 */
/* interrupt - lets a command that is told to end clean up first. For the main thread of a command. */
#ifndef VECFS_FS_INTERRUPT_H
#define VECFS_FS_INTERRUPT_H

#include <stdbool.h>

/* From now on SIGINT, SIGTERM and SIGHUP only end the system call under way (EINTR), and are remembered. */
void interrupt_catch(void);
/* Whether such a signal has come. */
bool interrupt_came(void);

#endif
