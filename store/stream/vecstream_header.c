/* SPDX-License-Identifier: Apache-2.0 */
/* The header of a stream: lines of key=value, written in one order and read in any. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/base/idlist.h"
#include "store/stream/vecstream.h"

#define MODE_BITS 07777u
#define NS_PER_S 1000000000u
#define VERSION_CTIME 2u
#define PAGE_BYTES 4096u

static int refuse(char *why, size_t why_size, const char *what, const char *value)
{
	snprintf(why, why_size, "its header is not one: %s%.40s", what, value);
	return -EINVAL;
}

static uint64_t header_sum(const struct vecstream_start *start, const char *text)
{
	return XXH3_64bits_withSeed(text, start->header_bytes, start->magic ^ start->version);
}

uint64_t vecstream_number(const struct vecstream_header *h, uint64_t order)
{
	uint64_t parts[] = {order,
			    XXH3_64bits(h->to, strlen(h->to)),
			    XXH3_64bits(h->from, strlen(h->from)),
			    h->has_from,
			    h->to_print.rows,
			    h->to_print.low,
			    h->to_print.high,
			    h->from_print.rows,
			    h->from_print.low,
			    h->from_print.high,
			    h->schema.dim,
			    (uint64_t)h->schema.dtype,
			    (uint64_t)h->schema.metric};

	return XXH3_64bits(parts, sizeof parts);
}

/* Wherever they lie in memory, they are on no more pages than FUSE takes at once. */
uint32_t vecstream_frame_rows(size_t row_bytes)
{
	size_t rows = row_bytes > 0 ? (VECSTREAM_VECTORS_MAX - PAGE_BYTES) / row_bytes : VECSTREAM_ROWS_MAX;

	return rows > VECSTREAM_ROWS_MAX ? VECSTREAM_ROWS_MAX : rows > 0 ? (uint32_t)rows : 1;
}

/* ------------------------------------------------------------------ writing */

static void print_snapshot(FILE *out, const char *which, const char *name, const struct digest *print)
{
	char line[IDLIST_LINE_MAX];
	size_t size = idlist_line(name, strlen(name), line);

	fprintf(out, "%s=", which);
	fwrite(line, 1, size, out); /* with its newline */
	fprintf(out, "%s_fingerprint=%" PRIu64 ":%016" PRIx64 "%016" PRIx64 "\n", which, print->rows,
		print->high, print->low);
}

static void print_views(FILE *out, const char *views)
{
	for (const char *at = views, *end; *at; at = *end ? end + 1 : end) {
		end = strchrnul(at, '\n');
		if (end > at)
			fprintf(out, "view=%.*s\n", (int)(end - at), at);
	}
}

static void print_header(FILE *out, const struct vecstream_header *h)
{
	fprintf(out, "stream=%016" PRIx64 "\n", h->stream);
	print_snapshot(out, "to", h->to, &h->to_print);
	if (h->has_from)
		print_snapshot(out, "from", h->from, &h->from_print);
	fprintf(out, "dim=%u\ndtype=%s\nmetric=%s\n", h->schema.dim, vs_dtype_name(h->schema.dtype),
		vs_metric_name(h->schema.metric));
	fprintf(out, "removals=%" PRIu64 "\nrows=%" PRIu64 "\n", h->removals, h->rows);
	fprintf(out, "removals_done=%" PRIu64 "\nrows_done=%" PRIu64 "\n", h->removals_done, h->rows_done);
	fprintf(out, "mode=%o\nuid=%u\ngid=%u\nmtime=%" PRId64 ".%09u\n", h->attr.mode, h->attr.uid,
		h->attr.gid, h->attr.mtime_s, h->attr.mtime_ns);
	if (h->has_ctime)
		fprintf(out, "ctime=%" PRId64 ".%09u\n", h->ctime_s, h->ctime_ns);
	print_views(out, h->views);
}

int vecstream_header_build(const struct vecstream_header *h, char **out, size_t *size)
{
	struct vecstream_start start = {.magic = VECSTREAM_MAGIC,
					.version = h->has_ctime ? VERSION_CTIME : 1};
	FILE *file = open_memstream(out, size);

	if (!file)
		return -ENOMEM;
	fwrite(&start, sizeof start, 1, file);
	print_header(file, h);
	if (fclose(file) != 0) {
		free(*out);
		return -ENOMEM;
	}
	start.header_bytes = (uint32_t)(*size - sizeof start);
	start.sum = header_sum(&start, *out + sizeof start);
	memcpy(*out, &start, sizeof start);
	return 0;
}

/* ------------------------------------------------------------------ reading */

int vecstream_start_check(const struct vecstream_start *start, char *why, size_t why_size)
{
	if (start->magic != VECSTREAM_MAGIC)
		snprintf(why, why_size, "found something else than what vecfs send writes");
	else if (start->version < 1 || start->version > VECSTREAM_VERSION)
		snprintf(why, why_size,
			 "a stream of version %u, of which this program knows 1 to %u only: receive it "
			 "with a newer vecfs",
			 start->version, VECSTREAM_VERSION);
	else if (start->header_bytes > VECSTREAM_HEADER_MAX)
		snprintf(why, why_size, "its header is not one: %u bytes long", start->header_bytes);
	else
		return 0;
	return -EINVAL;
}

static bool read_number(const char *text, int base, uint64_t max, uint64_t *out)
{
	char *end;

	if (text[0] < '0' || text[0] > (base > 10 ? 'f' : '9'))
		return false;
	errno = 0;
	*out = strtoull(text, &end, base);
	return errno == 0 && *end == 0 && *out <= max;
}

static bool read_count(const char *text, uint64_t *out)
{
	return read_number(text, 10, UINT64_MAX, out);
}

static bool read_u32(const char *text, int base, uint32_t max, uint32_t *out)
{
	uint64_t value = 0;
	bool ok = read_number(text, base, max, &value);

	*out = (uint32_t)value;
	return ok;
}

static bool read_name(const char *text, char name[VS_NAME_MAX + 1])
{
	struct idlist list = {0};
	char *copy = strdup(text), why[128];
	bool ok = *text == 0;

	if (ok)
		name[0] = 0;
	if (!ok && copy &&
	    idlist_parse(copy, strlen(text), IDLIST_LINES, NULL, &list, why, sizeof why) == 0 &&
	    list.count == 1) {
		strcpy(name, list.id[0]);
		ok = true;
	}
	if (*text == 0)
		free(copy); /* else the list has taken it */
	idlist_free(&list);
	return ok;
}

static bool read_print(const char *text, struct digest *out)
{
	char part[24];
	const char *colon = strchr(text, ':');

	if (!colon || (size_t)(colon - text) >= sizeof part || strlen(colon + 1) != 32)
		return false;
	snprintf(part, sizeof part, "%.*s", (int)(colon - text), text);
	if (!read_count(part, &out->rows))
		return false;
	snprintf(part, sizeof part, "%.16s", colon + 1);
	return read_number(part, 16, UINT64_MAX, &out->high) &&
	       read_number(colon + 17, 16, UINT64_MAX, &out->low);
}

static bool read_time(const char *text, int64_t *s, uint32_t *ns)
{
	const char *point = strchr(text, '.');
	char *end;

	errno = 0;
	*s = strtoll(text, &end, 10);
	return errno == 0 && point && end == point && strlen(point + 1) == 9 &&
	       read_u32(point + 1, 10, NS_PER_S - 1, ns);
}

static bool read_dtype(const char *text, struct vs_schema *out)
{
	int dtype = vs_dtype_parse(text);

	out->dtype = dtype < 0 ? VS_F32 : (enum vs_dtype)dtype;
	return dtype >= 0;
}

static bool read_metric(const char *text, struct vs_schema *out)
{
	int metric = vs_metric_parse(text);

	out->metric = metric < 0 ? VS_L2 : (enum vs_metric)metric;
	return metric >= 0;
}

static bool read_view(const char *text, char views[VECSTREAM_VIEWS_MAX])
{
	size_t used = strlen(views), size = strlen(text);

	if (size == 0 || used + size + 2 > VECSTREAM_VIEWS_MAX)
		return false;
	memcpy(views + used, text, size);
	memcpy(views + used + size, "\n", 2);
	return true;
}

enum key {
	KEY_STREAM,
	KEY_TO,
	KEY_TO_PRINT,
	KEY_FROM,
	KEY_FROM_PRINT,
	KEY_DIM,
	KEY_DTYPE,
	KEY_METRIC,
	KEY_REMOVALS,
	KEY_ROWS,
	KEY_REMOVALS_DONE,
	KEY_ROWS_DONE,
	KEY_MODE,
	KEY_UID,
	KEY_GID,
	KEY_MTIME,
	KEY_CTIME,
	KEY_VIEW,
	KEY_COUNT
};
#define KEYS_FROM (1u << KEY_FROM | 1u << KEY_FROM_PRINT)
#define KEYS_NEEDED (((1u << KEY_COUNT) - 1) & ~(KEYS_FROM | 1u << KEY_CTIME | 1u << KEY_VIEW))

static const char *const key_names[KEY_COUNT] = {
	"stream", "to",       "to_fingerprint", "from",          "from_fingerprint", "dim",  "dtype",
	"metric", "removals", "rows",           "removals_done", "rows_done",        "mode", "uid",
	"gid",    "mtime",    "ctime",          "view"};

static bool read_value(enum key key, const char *v, struct vecstream_header *h)
{
	switch (key) {
	case KEY_STREAM:
		return strlen(v) == 16 && read_number(v, 16, UINT64_MAX, &h->stream);
	case KEY_TO:
		return read_name(v, h->to);
	case KEY_TO_PRINT:
		return read_print(v, &h->to_print);
	case KEY_FROM:
		return read_name(v, h->from);
	case KEY_FROM_PRINT:
		return read_print(v, &h->from_print);
	case KEY_DIM:
		return read_u32(v, 10, UINT32_MAX, &h->schema.dim);
	case KEY_DTYPE:
		return read_dtype(v, &h->schema);
	case KEY_METRIC:
		return read_metric(v, &h->schema);
	case KEY_REMOVALS:
		return read_count(v, &h->removals);
	case KEY_ROWS:
		return read_count(v, &h->rows);
	case KEY_REMOVALS_DONE:
		return read_count(v, &h->removals_done);
	case KEY_ROWS_DONE:
		return read_count(v, &h->rows_done);
	case KEY_MODE:
		return read_u32(v, 8, MODE_BITS, &h->attr.mode);
	case KEY_UID:
		return read_u32(v, 10, UINT32_MAX, &h->attr.uid);
	case KEY_GID:
		return read_u32(v, 10, UINT32_MAX, &h->attr.gid);
	case KEY_MTIME:
		return read_time(v, &h->attr.mtime_s, &h->attr.mtime_ns);
	case KEY_CTIME:
		return read_time(v, &h->ctime_s, &h->ctime_ns);
	default:
		return read_view(v, h->views);
	}
}

/* A line, ended by a NUL; seen has a bit for each key that came before. */
static int read_line(char *line, unsigned *seen, struct vecstream_header *h, char *why, size_t why_size)
{
	char *value = strchr(line, '=');
	int key = 0;

	if (!value)
		return refuse(why, why_size, "a line without '=': ", line);
	*value++ = 0;
	while (key < KEY_COUNT && strcmp(key_names[key], line) != 0)
		key++;
	if (key == KEY_COUNT)
		return refuse(why, why_size, "it has what this program does not know: ", line);
	if (key != KEY_VIEW && *seen >> key & 1)
		return refuse(why, why_size, "twice: ", line);
	*seen |= 1u << key;
	return read_value((enum key)key, value, h) ? 0 : refuse(why, why_size, "no value for ", line);
}

static int check(const struct vecstream_header *h, unsigned seen, char *why, size_t why_size)
{
	unsigned from = seen & KEYS_FROM;

	if ((seen & KEYS_NEEDED) != KEYS_NEEDED || (from != 0 && from != KEYS_FROM))
		return refuse(why, why_size, "something is missing", "");
	if (vs_row_bytes(&h->schema) > VS_ROW_BYTES_MAX || (h->schema.dim == 0 && h->rows > 0))
		return refuse(why, why_size, "no such vectors", "");
	if (h->removals_done > h->removals || h->rows_done > h->rows || (from == 0 && h->removals > 0))
		return refuse(why, why_size, "its numbers do not fit each other", "");
	if (from == 0 && h->rows != h->to_print.rows)
		return refuse(why, why_size, "its numbers do not fit each other", "");
	return 0;
}

int vecstream_header_parse(const struct vecstream_start *start, char *text, struct vecstream_header *out,
			   char *why, size_t why_size)
{
	char *end = text + start->header_bytes, *stop;
	unsigned seen = 0;
	int rc = 0;

	memset(out, 0, sizeof *out);
	if (header_sum(start, text) != start->sum)
		return refuse(why, why_size, "it was altered", "");
	if (memchr(text, 0, start->header_bytes))
		return refuse(why, why_size, "it is no text", "");
	for (char *at = text; rc == 0 && at < end; at = stop + 1) {
		stop = memchr(at, '\n', (size_t)(end - at));
		if (!stop)
			return refuse(why, why_size, "its last line has no end", "");
		*stop = 0;
		rc = read_line(at, &seen, out, why, why_size);
	}
	out->has_from = seen >> KEY_FROM & 1;
	out->has_ctime = seen >> KEY_CTIME & 1;
	if (!rc && out->has_ctime && start->version < VERSION_CTIME)
		rc = refuse(why, why_size, "its version has no such key: ", key_names[KEY_CTIME]);
	return rc ? rc : check(out, seen, why, why_size);
}
