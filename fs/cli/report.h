/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report - named values on standard output, for people or as JSON (RFC 8259).
 *
 * For people each value is a line, its name padded; lists of objects are tables of a line each. Texts are
 * untrusted: what a terminal would obey (control characters, also those of C1) or not understand becomes
 * \\ooo. In JSON strings that are not UTF-8 keep their bytes as lone surrogates \udc80..\udcff, which
 * Python's os.fsencode() undoes.
 */
#ifndef VECFS_FS_CLI_REPORT_H
#define VECFS_FS_CLI_REPORT_H

#include <stdbool.h>
#include <stdint.h>

struct report {
	bool json;
	bool first;  /* no value of this object or list has been printed */
	bool in_row; /* for people: in a line of a list */
};

/* The outermost object. */
void report_start(struct report *p, bool json);
void report_end(struct report *p);

void report_text(struct report *p, const char *name, const char *value);
void report_count(struct report *p, const char *name, uint64_t value);
/* A number that is a name: no separators between its digits. */
void report_number(struct report *p, const char *name, uint64_t value);
void report_bytes(struct report *p, const char *name, uint64_t size_bytes);
/* A value as another program printed it: a number stays one in JSON. */
void report_value(struct report *p, const char *name, const char *value);
/* The same where numbers may have decimals. */
void report_decimal(struct report *p, const char *name, const char *value);

/* A list of objects; each holds values, and no list. */
void report_list_start(struct report *p, const char *name);
void report_list_end(struct report *p);
void report_row_start(struct report *p);
void report_row_end(struct report *p);

#endif
