/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json - strings as JSON has them (RFC 8259). Ids may be any bytes, and what is written must be valid all the
 * same.
 *
 * Any thread may call these functions; they keep no state.
 */
#ifndef VECFS_FS_REQUEST_JSON_H
#define VECFS_FS_REQUEST_JSON_H

#include <stddef.h>
#include <stdio.h>

/* Bytes of the UTF-8 sequence at s (RFC 3629), or 0 if there is none. s ends in NUL. */
size_t json_utf8_len(const unsigned char *s);
/* Writes text with its quotes. A byte that is not UTF-8 becomes the lone surrogate U+DCxx, as Python's
 * surrogateescape has it: os.fsencode() gives the byte back. */
void json_print_string(FILE *out, const char *text);

#endif
