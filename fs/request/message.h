/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message - what users should know: the last 1,000 lines are MNT/.vecfs/log, and each also goes to stderr
 * ("vecfs: LINE", in the foreground) or to syslog.
 */
#ifndef VECFS_FS_REQUEST_MESSAGE_H
#define VECFS_FS_REQUEST_MESSAGE_H

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

/*
 * The log is a stream of bytes, of which only an end is kept: the last 1,000 lines, each ended by a newline,
 * and some more for who has just been told where those start. A position in it means the same for ever.
 */
uint64_t message_log_start(void);
uint64_t message_log_end(void);
/*
 * The bytes from a position on, up to the end; malloc'ed, NULL without memory. -ESTALE in *rc: they are not
 * kept any more, as of -ENOMEM the result is NULL.
 */
char *message_log(uint64_t from, size_t *size, int *rc);

#endif
