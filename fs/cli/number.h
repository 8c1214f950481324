/* SPDX-License-Identifier: Apache-2.0 */
/* number - numbers as people write them, read as f32. A pure function, callable from any thread. */
#ifndef VECFS_FS_CLI_NUMBER_H
#define VECFS_FS_CLI_NUMBER_H

/*
 * Reads the decimal number at the start of [text, end): "1", "-0.25", ".5", "1e-7", "nan", "inf",
 * "-Infinity". It is rounded to the nearest f32 (ties to even) whatever the locale, and to zero or a
 * subnormal where it is that small. Returns the byte after it, or NULL: there is no number, it is too large
 * for f32, or it is written with more than 500 bytes.
 */
const char *number_parse(const char *text, const char *end, float *out);

#endif
