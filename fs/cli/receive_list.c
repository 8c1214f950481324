/* SPDX-License-Identifier: Apache-2.0 */
/* vecfs receive --list: what a stream holds, and whether it is whole. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "fs/cli/receive.h"
#include "fs/cli/report.h"
#include "fs/cli/row_digest.h"

static void print_print(struct report *p, const char *name, const struct digest *d)
{
	char text[ROW_DIGEST_TEXT];

	row_digest_text(d, text);
	report_text(p, name, text);
}

/* As stat(1) shows it; what is no date, as seconds. */
static void print_time(struct report *p, const char *name, int64_t s, uint32_t ns)
{
	char date[40] = "", zone[16] = "", text[80];
	time_t t = (time_t)s;
	struct tm tm;

	if (localtime_r(&t, &tm)) {
		strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &tm);
		strftime(zone, sizeof zone, " %z", &tm);
	} else {
		snprintf(date, sizeof date, "%" PRId64, s);
	}
	snprintf(text, sizeof text, "%s.%09u%s", date, ns, zone);
	report_text(p, name, text);
}

static void print_views(struct report *p, const char *views)
{
	char line[VECSTREAM_VIEWS_MAX];

	report_list_start(p, "views");
	for (const char *end; (end = strchr(views, '\n')); views = end + 1) {
		snprintf(line, sizeof line, "%.*s", (int)(end - views), views);
		line[strcspn(line, " ")] = 0;
		report_row_start(p);
		report_text(p, "name", line);
		if (strlen(line) < (size_t)(end - views)) {
			snprintf(line, sizeof line, "%.*s", (int)(end - views), views);
			report_text(p, "params", strchr(line, ' ') + 1);
		}
		report_row_end(p);
	}
	report_list_end(p);
}

/* What is not of the rows: the directory's own, and the views. */
static void print_attributes(struct report *p, const struct vecstream_header *h)
{
	char mode[16];

	snprintf(mode, sizeof mode, "%04o", h->attr.mode);
	report_text(p, "mode", mode);
	report_number(p, "uid", h->attr.uid);
	report_number(p, "gid", h->attr.gid);
	print_time(p, "mtime", h->attr.mtime_s, h->attr.mtime_ns);
	if (h->has_ctime)
		print_time(p, "ctime", h->ctime_s, h->ctime_ns);
	print_views(p, h->views);
}

static void print_header(struct report *p, const struct vecstream_header *h)
{
	report_text(p, "kind", "stream");
	report_text(p, "snapshot", h->to);
	if (h->has_from)
		report_text(p, "from", h->from);
	report_text(p, "dtype", vs_dtype_name(h->schema.dtype));
	report_count(p, "dim", h->schema.dim);
	report_text(p, "metric", vs_metric_name(h->schema.metric));
	report_count(p, "vectors", h->to_print.rows);
	report_count(p, "rows", h->rows);
	report_count(p, "removals", h->removals);
	report_count(p, "rows_left_out", h->rows_done);
	report_count(p, "removals_left_out", h->removals_done);
	print_print(p, "fingerprint", &h->to_print);
	if (h->has_from)
		print_print(p, "from_fingerprint", &h->from_print);
	print_attributes(p, h);
}

int receive_list(struct receive *r, bool json)
{
	struct report p;
	int rc = receive_read_header(r);

	if (!rc)
		rc = receive_slots_new(r);
	if (rc)
		return rc;
	report_start(&p, json);
	print_header(&p, &r->header);
	rc = receive_read_all(r, NULL);
	report_count(&p, "frames", r->reader.frames);
	report_bytes(&p, "bytes", r->reader.at);
	report_text(&p, "whole", rc ? "no" : "yes");
	report_end(&p);
	return rc;
}
