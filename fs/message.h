/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message - what users should know: the last 1,000 lines are MNT/.vecfs/log, and each also goes to stderr
 * ("vecfs: LINE", in the foreground) or to syslog.
 */
#ifndef VECFS_FS_MESSAGE_H
#define VECFS_FS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

/* Where messages go from now on; until then they go to stderr. */
void message_init(bool foreground);
/* One line, without newline. Control characters in it (ids are untrusted) become \ooo. */
__attribute__((format(printf, 2, 3))) void message(enum vs_severity severity, const char *format, ...);
/* The same for vs_options.report. */
void message_report(void *arg, enum vs_severity severity, const char *line);
/* How many messages there have been of a severity. */
uint64_t message_count(enum vs_severity severity);
/* The kept lines, oldest first, each ended by a newline; malloc'ed, NULL without memory. */
char *message_log(size_t *size);

#endif
