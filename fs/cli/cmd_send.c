/* SPDX-License-Identifier: Apache-2.0 */
/* vecfs send - a snapshot, or the difference of two, as a stream on standard output
 * (store/stream/vecstream.h).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/cli/command.h"
#include "fs/cli/pipeline.h"
#include "fs/cli/progress.h"
#include "fs/cli/row_diff.h"
#include "fs/cli/row_reader.h"
#include "fs/cli/stream_token.h"
#include "fs/cli/transfer.h"
#include "fs/request/message.h"
#include "store/stream/vecstream.h"

#define WHY_BYTES 512
#define LEVEL_DEFAULT 1
#define LEVEL_MAX 19
#define PIPE_BYTES (1 << 20)

static const char help[] =
	"usage: vecfs send [--from SNAP0] [--compress LEVEL|none] [--resume TOKEN] SNAP > FILE\n"
	"       vecfs send SNAP | ssh HOST vecfs receive COLLECTION\n\n"
	"Writes all rows of SNAP to standard output as one checksummed stream, which `vecfs receive` makes\n"
	"the same collection of; with --from those that differ from an older snapshot, and what is gone.\n"
	"SNAP is COLLECTION/.vecfs/snap/NAME in a mount; or a collection, as it is at this moment; or\n"
	"STORE/NAME of a store that is not mounted.\n\n"
	"  --from SNAP0       only the difference from SNAP0, which the receiver must have: a snapshot, or "
	"the\n"
	"                     collection in an older copy of the store\n"
	"  --compress LEVEL   of zstd, 1 to 19 (default 1), or none\n"
	"  --resume TOKEN     go on where a receiver was cut off; vecfs receive tells the token\n"
	"  -q, --quiet        no progress\n"
	"  -h, --help         show this text\n";

static int run(int argc, char **argv);
const struct command command_send = {"send", "a snapshot, or what changed since another, as a stream", help,
				     run};

/* One frame in the making. */
struct outgoing {
	struct row_reader reader;
	struct vecstream_packer *packer;
	struct vecstream_rows rows;
	struct vecstream_packed packed;
	struct vecstream_end count; /* of its rows */
	char *ids;
	struct vs_file_attr *attrs;
	char *vectors;
	struct vs_row_want *wants; /* its rows in the source */
	int level, rc;
};

struct send {
	/* What was asked for. */
	const char *path, *from_path, *token_text;
	struct stream_token token;
	int level;
	bool quiet;

	struct row_source *to, *from;
	struct row_diff diff;
	struct vecstream_header header;
	struct vecstream_writer writer;
	struct vecstream_end end;
	struct outgoing frames[PIPELINE_SLOTS_MAX];
	const char *removed; /* where the next frame of removals begins */
	struct row_cursor cursor;
	uint64_t skip; /* rows that the receiver has */
	struct progress progress;
	bool output_failed;
};

static int fail(const char *what, const char *why)
{
	message(VS_ERROR, "%s: %s", what, why);
	return COMMAND_FAILED;
}

/* ------------------------------------------------------------------ what is sent */

static int open_sources(struct send *s)
{
	char why[WHY_BYTES] = "";
	const char *what = s->path;
	int rc = row_source_open(s->path, true, &s->to, why, sizeof why);

	if (!rc && s->from_path) {
		what = s->from_path;
		rc = row_source_open(what, false, &s->from, why, sizeof why);
	}
	if (rc)
		return fail(what, why);
	return 0;
}

static int fill_header(struct send *s)
{
	const struct row_source_info *to = row_source_info(s->to);
	struct vecstream_header *h = &s->header;
	char why[WHY_BYTES] = "";

	int rc = row_source_views(s->to, h->views, sizeof h->views);

	if (rc)
		return fail(s->path, strerror(-rc));
	if (row_diff_make(s->to, s->from, &s->diff, why, sizeof why))
		return fail(s->path, why);
	memcpy(h->to, to->snapshot, sizeof h->to);
	h->to_print = s->diff.to;
	h->schema = to->schema;
	h->rows = s->diff.rows;
	h->removals = s->diff.removals;
	h->attr = to->attr;
	h->has_ctime = *to->snapshot; /* else it is of no use: a collection changes */
	h->ctime_s = to->ctime.tv_sec;
	h->ctime_ns = (uint32_t)to->ctime.tv_nsec;
	if (s->from) {
		const struct row_source_info *from = row_source_info(s->from);

		h->has_from = true;
		memcpy(h->from, from->snapshot, sizeof h->from);
		h->from_print = s->diff.from;
		if (from->rows > 0 && to->rows > 0 &&
		    (from->schema.dim != h->schema.dim || from->schema.dtype != h->schema.dtype))
			return fail(s->from_path, "its vectors have another dim or dtype");
	}
	h->stream = vecstream_number(h, s->diff.order);
	if (!s->token_text)
		return 0;
	if (s->token.stream != h->stream || s->token.removals > h->removals || s->token.rows > h->rows)
		return fail(s->token_text, "the token is of another stream: something has changed");
	h->removals_done = s->token.removals;
	h->rows_done = s->token.rows;
	return 0;
}

/* ------------------------------------------------------------------ frames */

static void frames_free(struct send *s)
{
	for (unsigned i = 0; i < pipeline_slots(); i++) {
		struct outgoing *f = &s->frames[i];

		if (f->reader.source)
			row_reader_end(&f->reader);
		vecstream_packer_free(f->packer);
		free(f->ids);
		free(f->attrs);
		free(f->vectors);
		free(f->wants);
	}
}

static int frames_new(struct send *s)
{
	const struct row_source_info *info = row_source_info(s->to);
	uint32_t rows = vecstream_frame_rows(info->row_bytes);

	for (unsigned i = 0; i < pipeline_slots(); i++) {
		struct outgoing *f = &s->frames[i];

		row_reader_start(&f->reader, s->to);
		f->packer = vecstream_packer_new(&info->schema);
		f->ids = malloc((size_t)VECSTREAM_ROWS_MAX * (VS_NAME_MAX + 1));
		f->attrs = malloc(rows * sizeof *f->attrs);
		f->vectors = malloc(rows * info->row_bytes + 1);
		f->wants = malloc(rows * sizeof *f->wants);
		f->level = s->level;
		if (!f->packer || !f->ids || !f->attrs || !f->vectors || !f->wants)
			return -ENOMEM;
	}
	return 0;
}

/* Makes the frame of its rows. */
static void make_frame(void *arg, unsigned slot)
{
	struct send *s = arg;
	struct outgoing *f = &s->frames[slot];

	f->rc = f->rows.type == VECSTREAM_ROWS
			? row_reader_read(&f->reader, f->wants, f->rows.rows, f->vectors)
			: 0;
	f->count = (struct vecstream_end){0};
	if (!f->rc)
		f->rc = vecstream_pack(f->packer, &f->rows, f->level, &f->packed);
	if (!f->rc)
		vecstream_count(&f->rows, row_source_info(s->to)->row_bytes, &f->count);
}

static int write_frame(void *arg, unsigned slot)
{
	struct send *s = arg;
	struct outgoing *f = &s->frames[slot];
	struct digest sum = {.low = s->end.digest_low, .high = s->end.digest_high};
	int rc = f->rc ? f->rc : vecstream_write(&s->writer, &f->packed);

	if (rc)
		return rc;
	digest_sum(&sum, f->count.digest_low, f->count.digest_high);
	s->end.digest_low = sum.low;
	s->end.digest_high = sum.high;
	s->end.rows += f->count.rows;
	s->end.removals += f->count.removals;
	progress_add(&s->progress, f->count.rows * row_source_info(s->to)->row_bytes);
	return 0;
}

static int fill_removals(void *arg, unsigned slot)
{
	struct send *s = arg;
	struct outgoing *f = &s->frames[slot];
	const char *at = s->removed, *end = s->diff.removed + s->diff.removed_bytes;

	f->rows = (struct vecstream_rows){.type = VECSTREAM_REMOVALS, .ids = at};
	while (at < end && f->rows.rows < VECSTREAM_ROWS_MAX) {
		at += strlen(at) + 1;
		f->rows.rows++;
	}
	f->rows.ids_bytes = (uint32_t)(at - f->rows.ids);
	s->removed = at;
	return f->rows.rows > 0;
}

static int send_removals(struct send *s)
{
	static const struct pipeline_ops ops = {fill_removals, make_frame, write_frame};

	s->removed = s->diff.removed;
	for (uint64_t skip = s->header.removals_done; skip > 0; skip--)
		s->removed += strlen(s->removed) + 1;
	return s->diff.removals > 0 ? pipeline_run(&ops, s) : 0;
}

/* Fills a frame with the next rows. */
static int fill_rows(void *arg, unsigned slot)
{
	struct send *s = arg;
	struct row_cursor *c = &s->cursor;
	struct outgoing *f = &s->frames[slot];
	uint32_t max = vecstream_frame_rows(row_source_info(s->to)->row_bytes);
	const struct vs_row_meta *meta;
	const char *id;
	size_t len;
	int found = 1;

	f->rows = (struct vecstream_rows){
		.type = VECSTREAM_ROWS, .ids = f->ids, .attrs = f->attrs, .vectors = f->vectors};
	while (f->rows.rows < max && (found = row_cursor_next(c, &id, &len, &meta)) > 0) {
		if (!row_diff_has(&s->diff, c->row - 1))
			continue;
		if (s->skip > 0) {
			s->skip--;
			continue;
		}
		memcpy(f->ids + f->rows.ids_bytes, id, len + 1);
		f->rows.ids_bytes += (uint32_t)len + 1;
		f->attrs[f->rows.rows] = meta->attr;
		f->wants[f->rows.rows++] = (struct vs_row_want){c->row - 1, meta->place, meta->data_sum};
	}
	return found < 0 ? found : f->rows.rows > 0;
}

static int send_rows(struct send *s)
{
	static const struct pipeline_ops ops = {fill_rows, make_frame, write_frame};
	int rc = row_cursor_start(&s->cursor, s->to, true);

	s->skip = s->header.rows_done;
	if (!rc)
		rc = pipeline_run(&ops, s);
	row_cursor_end(&s->cursor);
	return rc;
}

static int write_stdout(void *arg, const void *data, size_t size)
{
	struct send *s = arg;
	int rc = transfer_write(STDOUT_FILENO, data, size);

	s->output_failed = rc != 0;
	return rc;
}

static int send_stream(struct send *s)
{
	size_t row_bytes = row_source_info(s->to)->row_bytes;
	int rc = frames_new(s);

	s->writer = (struct vecstream_writer){.write = write_stdout, .arg = s};
	progress_start(&s->progress, "send", row_bytes * (s->header.rows - s->header.rows_done),
		       row_bytes ? row_bytes : 1, s->quiet);
	if (!rc)
		rc = vecstream_write_header(&s->writer, &s->header);
	if (!rc)
		rc = send_removals(s);
	if (!rc)
		rc = send_rows(s);
	if (!rc)
		rc = vecstream_write_end(&s->writer, &s->end);
	progress_end(&s->progress, rc == 0);
	return rc ? fail(s->output_failed ? "standard output" : s->path, strerror(-rc)) : COMMAND_OK;
}

static int send_path(struct send *s)
{
	int rc = open_sources(s);

	if (!rc)
		rc = fill_header(s);
	fcntl(STDOUT_FILENO, F_SETPIPE_SZ, PIPE_BYTES); /* if it is a pipe, and may be so large */
	if (!rc)
		rc = send_stream(s);
	frames_free(s);
	row_diff_free(&s->diff);
	row_source_close(s->to);
	row_source_close(s->from);
	return rc;
}

/* ------------------------------------------------------------------ arguments */

static int take_level(struct send *s, const char *value)
{
	char *end;
	long level = strtol(value, &end, 10);

	if (strcmp(value, "none") == 0) {
		s->level = VECSTREAM_PLAIN;
		return 0;
	}
	if (*end || end == value || level < 1 || level > LEVEL_MAX)
		return command_misused(&command_send, "--compress %s: want 1 to %d, or none", value,
				       LEVEL_MAX);
	s->level = (int)level;
	return 0;
}

static int take_option(struct send *s, int answer, char **argv)
{
	switch (answer) {
	case 'f':
		s->from_path = optarg;
		return 0;
	case 'c':
		return take_level(s, optarg);
	case 'r':
		s->token_text = optarg;
		if (!stream_token_parse(optarg, &s->token))
			return command_misused(&command_send, "--resume %s: no token of vecfs receive",
					       optarg);
		return 0;
	case 'q':
		s->quiet = true;
		return 0;
	default:
		return command_bad_option(&command_send, answer, argv);
	}
}

static int run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"from", required_argument, NULL, 'f'},   {"compress", required_argument, NULL, 'c'},
		{"resume", required_argument, NULL, 'r'}, {"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},         {0},
	};
	static struct send s = {.level = LEVEL_DEFAULT};
	int answer, rc;

	while ((answer = getopt_long(argc, argv, ":qh", longs, NULL)) != -1) {
		if (answer == 'h')
			return command_help(&command_send);
		if ((rc = take_option(&s, answer, argv)) != 0)
			return rc;
	}
	if (argc - optind != 1)
		return command_misused(&command_send, "want one SNAP");
	s.path = argv[optind];
	if (isatty(STDOUT_FILENO))
		return command_misused(&command_send,
				       "a stream is nothing for a terminal: send it to a file or a pipe");
	return send_path(&s);
}
