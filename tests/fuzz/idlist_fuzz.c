/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of ids. First byte of the input: lines or NULs, and how big the pieces are in which the list is
 * judged as it comes, which must find what the parser finds. What a list says is written in both forms, and
 * read back.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "store/base/idlist.h"

static char why[256], scan_why[256];

static int parse(const char *text, size_t size, enum idlist_separator separator, struct idlist *list)
{
	char *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	memcpy(copy, text, size);
	*why = 0;
	return idlist_parse(copy, size, separator, NULL, list, why, sizeof why);
}

static int scan(const char *text, size_t size, enum idlist_separator separator, size_t step)
{
	struct idlist_scan s;
	int rc = 0;

	*scan_why = 0;
	idlist_scan_start(&s, separator);
	for (size_t at = 0; at < size && !rc; at += step)
		rc = idlist_scan_add(&s, text + at, size - at < step ? size - at : step, scan_why,
				     sizeof scan_why);
	return rc ? rc : idlist_scan_end(&s, scan_why, sizeof scan_why);
}

static void assert_same(const struct idlist *list, const char *text, size_t size,
			enum idlist_separator separator)
{
	struct idlist again;

	assert(parse(text, size, separator, &again) == 0);
	assert(again.count == list->count && again.size_bytes == list->size_bytes);
	assert(!memcmp(again.text, list->text, list->size_bytes));
	idlist_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum idlist_separator separator;
	struct idlist list;
	char *lines;
	size_t n = 0;
	int rc;

	if (!size)
		return 0;
	separator = data[0] & 1 ? IDLIST_NULS : IDLIST_LINES;
	rc = parse((const char *)data + 1, size - 1, separator, &list);
	assert(scan((const char *)data + 1, size - 1, separator, (data[0] >> 1) + 1u) == rc);
	assert(!strcmp(why, scan_why));
	if (rc)
		return 0;
	lines = malloc(3 * list.size_bytes + 1);
	if (!lines)
		abort();
	for (uint64_t i = 0; i < list.count; i++)
		n += idlist_line(list.id[i], strlen(list.id[i]), lines + n);
	assert_same(&list, lines, n, IDLIST_LINES);
	assert_same(&list, list.text, list.size_bytes, IDLIST_NULS);
	idlist_check_unique(&list, separator, why, sizeof why);
	free(lines);
	idlist_free(&list);
	return 0;
}
