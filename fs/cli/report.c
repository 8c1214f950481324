/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/mount/humanize.h"
#include "fs/request/json.h"

#define NAME_CHARS 18
#define TEXT_CHARS 8 /* of a text in a row */

/* Returns the columns that it takes, near enough. */
static int print_plain_string(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	int columns = 0;

	while (*s) {
		size_t len = json_utf8_len(s);
		bool is_c1 = len == 2 && s[0] == 0xc2 && s[1] < 0xa0;

		if (len == 0 || is_c1 || *s < ' ' || *s == 0x7f || *s == '\\') {
			for (size_t i = 0; i < (len ? len : 1); i++)
				columns += printf("\\%03o", *s++);
		} else {
			columns++;
			for (; len > 0; len--)
				putchar(*s++);
		}
	}
	return columns;
}

/* What stands before a value. */
static void print_name(struct report *p, const char *name)
{
	if (p->json) {
		printf("%s", p->first ? "" : ", ");
		json_print_string(stdout, name);
		printf(": ");
	} else if (p->in_row) {
		printf("  ");
	} else {
		printf("%-*s ", NAME_CHARS, name);
	}
	p->first = false;
}

static void print_after(const struct report *p)
{
	if (!p->json && !p->in_row)
		putchar('\n');
}

void report_start(struct report *p, bool json)
{
	*p = (struct report){.json = json, .first = true};
	if (json)
		putchar('{');
}

void report_end(struct report *p)
{
	if (p->json)
		printf("}\n");
}

void report_text(struct report *p, const char *name, const char *value)
{
	print_name(p, name);
	if (p->json)
		json_print_string(stdout, value);
	else
		for (int columns = print_plain_string(value); p->in_row && columns < TEXT_CHARS; columns++)
			putchar(' ');
	print_after(p);
}

void report_count(struct report *p, const char *name, uint64_t value)
{
	char text[QUANTITY_SIZE];

	print_name(p, name);
	if (p->json)
		printf("%llu", (unsigned long long)value);
	else if (p->in_row)
		printf("%12s %s", humanize_count(text, value), name);
	else
		printf("%s", humanize_count(text, value));
	print_after(p);
}

void report_number(struct report *p, const char *name, uint64_t value)
{
	print_name(p, name);
	printf("%llu", (unsigned long long)value);
	print_after(p);
}

void report_bytes(struct report *p, const char *name, uint64_t size_bytes)
{
	char text[QUANTITY_SIZE];

	print_name(p, name);
	if (p->json)
		printf("%llu", (unsigned long long)size_bytes);
	else
		printf(p->in_row ? "%8s" : "%s", humanize_bytes(text, size_bytes));
	print_after(p);
}

void report_value(struct report *p, const char *name, const char *value)
{
	/* JSON's numbers: no sign but minus, no leading zero, nothing like "inf". */
	size_t digits = strspn(value, "0123456789");
	bool number = digits > 0 && digits <= 20 && value[digits] == 0 && (value[0] != '0' || digits == 1);

	if (number)
		report_count(p, name, strtoull(value, NULL, 10));
	else
		report_text(p, name, value);
}

void report_decimal(struct report *p, const char *name, const char *value)
{
	size_t whole = strspn(value, "0123456789"),
	       part = strspn(value + whole + (value[whole] == '.'), "0123456789");
	bool is_number = whole && part && value[whole] == '.' && !value[whole + 1 + part];

	if (!is_number || (value[0] == '0' && whole > 1)) {
		report_value(p, name, value);
		return;
	}
	print_name(p, name);
	printf(p->in_row && !p->json ? "%8s" : "%s", value);
	if (p->in_row && !p->json)
		printf(" %s", name);
	print_after(p);
}

void report_list_start(struct report *p, const char *name)
{
	print_name(p, name);
	if (p->json)
		putchar('[');
	else
		putchar('\n');
	p->first = true;
}

void report_list_end(struct report *p)
{
	if (p->json)
		putchar(']');
	p->first = false;
}

void report_row_start(struct report *p)
{
	if (p->json)
		printf("%s{", p->first ? "" : ", ");
	p->in_row = true;
	p->first = true;
}

void report_row_end(struct report *p)
{
	putchar(p->json ? '}' : '\n');
	p->in_row = false;
	p->first = false;
}
