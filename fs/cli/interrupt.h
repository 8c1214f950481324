/* SPDX-License-Identifier: Apache-2.0 */
/* interrupt - lets a command that is told to end clean up first, and a daemon not be ended by accident. */
#ifndef VECFS_FS_CLI_INTERRUPT_H
#define VECFS_FS_CLI_INTERRUPT_H

#include <pthread.h>
#include <stdbool.h>

/* For the main thread of a command. From now on SIGINT, SIGTERM and SIGHUP, unless ignored, only end the
 * system call under way (EINTR). */
void interrupt_catch(void);
/* What has not come yet ends the process again. */
void interrupt_release(void);
/* Whether one of them has come. */
bool interrupt_came(void);
/* Ends the call that a thread waits in, if one of them has come: it may have come just before the call. */
void interrupt_pass_on(pthread_t thread);

/*
 * A daemon ends when it is told to: by SIGTERM, SIGINT, SIGHUP, or at once by SIGQUIT and SIGKILL. Every
 * other signal that would end a process and that others may send is ignored from now on, also by its
 * children.
 */
void interrupt_ignore_others(void);

#endif
