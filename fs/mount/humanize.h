/* SPDX-License-Identifier: Apache-2.0 */
/* humanize - numbers as people read and write them. Pure functions. */
#ifndef VECFS_FS_MOUNT_HUMANIZE_H
#define VECFS_FS_MOUNT_HUMANIZE_H

#include <stdbool.h>
#include <stdint.h>

#define QUANTITY_SIZE 32

/* Each writes into text, and returns it: "1,234,567", "1.2 GB" (powers of 1000), "1:02:03". */
const char *humanize_count(char text[QUANTITY_SIZE], uint64_t n);
const char *humanize_bytes(char text[QUANTITY_SIZE], uint64_t size_bytes);
const char *humanize_time(char text[QUANTITY_SIZE], double time_s);

/*
 * The number that the whole of text is, from least to most: decimal digits and nothing else, no sign, no
 * space. False, and *n as it was, for anything else.
 */
bool humanize_parse(const char *text, uint64_t least, uint64_t most, uint64_t *n);

#endif
