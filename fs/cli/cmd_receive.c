/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vecfs receive - a stream of vecfs send into a collection of a mount, as one batch (receive_batch.h). What a
 * stream wants to find is known from its header, and is looked for before anything is made.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/command.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/pipeline.h"
#include "fs/cli/progress.h"
#include "fs/cli/receive_batch.h"
#include "fs/cli/report.h"
#include "fs/cli/row_diff.h"
#include "fs/cli/row_digest.h"
#include "fs/cli/row_source.h"
#include "fs/cli/stream_token.h"
#include "fs/cli/transfer.h"
#include "fs/mount/mountpoint.h"
#include "fs/request/message.h"
#include "store/stream/vecstream.h"

#define WHY_BYTES 512
#define RESULT_BYTES 2048
#define PIPE_BYTES (1 << 20)

static const char help[] =
	"usage: vecfs receive COLLECTION < STREAM\n"
	"       vecfs receive --list < STREAM\n"
	"       vecfs receive --token COLLECTION\n\n"
	"Reads what `vecfs send` has written from standard input and makes COLLECTION, a directory of a\n"
	"mount, what was sent: all of it at once and durably, or nothing. COLLECTION is made if it is\n"
	"missing. What was sent whole wants it empty; what was sent with --from wants it to be what that\n"
	"snapshot was. It gets the snapshot that was sent, so that the next difference fits.\n\n"
	"What has come of a stream that is cut off is kept: send the rest with `vecfs send --resume "
	"TOKEN`.\n\n"
	"  --list             say what a stream holds, and whether it is whole; receive nothing\n"
	"  --token            print the tokens of streams that were cut off, a line each\n"
	"  --json             with --list: one JSON object\n"
	"  -q, --quiet        no progress\n"
	"  -h, --help         show this text\n";

static int run(int argc, char **argv);
const struct command command_receive = {"receive", "a stream of vecfs send into a collection", help, run};

/* A frame as it was read, and what is in it. */
struct slot {
	struct vecstream_frame frame;
	void *buf;
	size_t capacity;
	struct vecstream_packer *packer;
	struct vecstream_rows rows;
	struct vecstream_end count;
	size_t row_bytes;
	char why[WHY_BYTES];
	int rc;
};

struct receive {
	const char *argument;
	bool quiet;
	char collection[PATH_MAX], control[PATH_MAX];
	bool made_collection, batch_open;
	uint64_t ino; /* tells the version of the collection that was looked at */

	struct vecstream_reader reader;
	struct vecstream_header header;
	struct vecstream_end end;
	struct pipeline pipeline;
	struct slot slots[PIPELINE_SLOTS_MAX];

	struct receive_batch batch;
	struct progress progress;
};

__attribute__((format(printf, 2, 3))) static int fail(const char *what, const char *format, ...)
{
	char why[WHY_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof why, format, args);
	va_end(args);
	message(VS_ERROR, "%s: %s", what, why);
	return COMMAND_FAILED;
}

/* ------------------------------------------------------------------ the stream */

static ssize_t read_stdin(void *arg, void *buf, size_t size)
{
	size_t done = 0;

	(void)arg;
	while (done < size) {
		ssize_t n = read(STDIN_FILENO, (char *)buf + done, size - done);

		if (n < 0 && errno == EINTR && !interrupt_came())
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int fail_stream(int rc, const char *why)
{
	if (rc == -EINTR)
		return fail("standard input", "interrupted");
	return fail("standard input", "%s", rc == -EINVAL ? why : strerror(-rc));
}

static int read_header(struct receive *r)
{
	char why[WHY_BYTES] = "";
	int rc;

	fcntl(STDIN_FILENO, F_SETPIPE_SZ, PIPE_BYTES); /* if it is a pipe, and may be so large */
	r->reader = (struct vecstream_reader){.read = read_stdin};
	rc = vecstream_read_header(&r->reader, &r->header, why, sizeof why);
	return rc ? fail_stream(rc, why) : 0;
}

static int slots_new(struct receive *r)
{
	pipeline_start(&r->pipeline);
	for (unsigned i = 0; i < r->pipeline.slots; i++) {
		r->slots[i].packer = vecstream_packer_new(&r->header.schema);
		r->slots[i].row_bytes = vs_row_bytes(&r->header.schema);
		if (!r->slots[i].packer)
			return fail("standard input", "%s", strerror(ENOMEM));
	}
	return 0;
}

static void slots_free(struct receive *r)
{
	for (unsigned i = 0; i < r->pipeline.slots; i++) {
		vecstream_packer_free(r->slots[i].packer);
		free(r->slots[i].buf);
	}
}

/* Unpacks a frame: in a thread of its own. */
static void *unpack(void *arg)
{
	struct slot *s = arg;

	s->count = (struct vecstream_end){0};
	s->rc = vecstream_unpack(s->packer, &s->frame, s->buf, &s->rows, s->why, sizeof s->why);
	if (!s->rc)
		vecstream_count(&s->rows, s->row_bytes, &s->count);
	return NULL;
}

/* Counts what a frame had; no more than the header has told may come. */
static int count_frame(struct receive *r, const struct slot *s)
{
	struct digest sum = {.low = r->end.digest_low, .high = r->end.digest_high};
	const struct vecstream_header *h = &r->header;

	if (s->rc)
		return fail("standard input", "frame of %u bytes: %s", s->frame.stored_bytes,
			    s->rc == -EINVAL ? s->why : strerror(-s->rc));
	digest_sum(&sum, s->count.digest_low, s->count.digest_high);
	r->end.digest_low = sum.low;
	r->end.digest_high = sum.high;
	r->end.rows += s->count.rows;
	r->end.removals += s->count.removals;
	if (r->end.rows > h->rows - h->rows_done || r->end.removals > h->removals - h->removals_done ||
	    (s->rows.type == VECSTREAM_REMOVALS && r->end.rows > 0))
		return fail("standard input", "it holds more than its header tells");
	return 0;
}

static int check_end(struct receive *r, const struct slot *s)
{
	const struct vecstream_header *h = &r->header;
	char why[WHY_BYTES] = "";

	if (vecstream_check_end(&s->frame, s->buf, &r->end, why, sizeof why))
		return fail("standard input", "%s", why);
	if (r->end.rows != h->rows - h->rows_done || r->end.removals != h->removals - h->removals_done)
		return fail("standard input", "it holds less than its header tells");
	return 0;
}

typedef int (*add_fn)(struct receive *r, const struct vecstream_rows *rows);

/* What is in the oldest frame, unless something has failed already. add may be NULL. */
static int take_oldest(struct receive *r, add_fn add, int failed)
{
	struct slot *s = &r->slots[pipeline_take(&r->pipeline)];
	int rc = failed ? failed : count_frame(r, s);

	return rc || !add ? rc : add(r, &s->rows);
}

/* Reads all frames. What comes before something torn is whole, and is added. */
static int read_all(struct receive *r, add_fn add)
{
	char why[WHY_BYTES] = "";
	struct slot *s;
	int rc = 0, torn;

	do {
		s = &r->slots[pipeline_next(&r->pipeline)];
		torn = vecstream_read(&r->reader, &s->frame, &s->buf, &s->capacity, why, sizeof why);
		if (torn || s->frame.type == VECSTREAM_END)
			break;
		pipeline_put(&r->pipeline, unpack, s);
		if (pipeline_is_full(&r->pipeline))
			rc = take_oldest(r, add, rc);
	} while (!rc);
	while (r->pipeline.busy > 0)
		rc = take_oldest(r, add, rc);
	if (!rc && torn)
		rc = fail_stream(torn, why);
	return rc ? rc : check_end(r, s);
}

/* ------------------------------------------------------------------ --list */

static void print_print(struct report *p, const char *name, const struct digest *d)
{
	char text[ROW_DIGEST_TEXT];

	row_digest_text(d, text);
	report_text(p, name, text);
}

static int list(struct receive *r, bool json)
{
	const struct vecstream_header *h = &r->header;
	struct report p;
	int rc = read_header(r);

	if (!rc)
		rc = slots_new(r);
	if (rc)
		return rc;
	report_start(&p, json);
	report_text(&p, "kind", "stream");
	report_text(&p, "snapshot", h->to);
	if (h->has_from)
		report_text(&p, "from", h->from);
	report_text(&p, "dtype", vs_dtype_name(h->schema.dtype));
	report_count(&p, "dim", h->schema.dim);
	report_text(&p, "metric", vs_metric_name(h->schema.metric));
	report_count(&p, "vectors", h->to_print.rows);
	report_count(&p, "rows", h->rows);
	report_count(&p, "removals", h->removals);
	report_count(&p, "rows_left_out", h->rows_done);
	report_count(&p, "removals_left_out", h->removals_done);
	print_print(&p, "fingerprint", &h->to_print);
	if (h->has_from)
		print_print(&p, "from_fingerprint", &h->from_print);
	rc = read_all(r, NULL);
	report_count(&p, "frames", r->reader.frames);
	report_bytes(&p, "bytes", r->reader.at);
	report_text(&p, "whole", rc ? "no" : "yes");
	report_end(&p);
	return rc;
}

/* ------------------------------------------------------------------ the collection */

static int find_collection(struct receive *r)
{
	static struct mountpoint m;
	int rc = mountpoint_resolve(r->argument, r->collection);

	if (rc)
		return fail(r->argument, "%s", strerror(-rc));
	if (mountpoint_around(r->collection, &m) != 0 || mountpoint_is_root(&m, r->collection))
		return fail(r->argument, "want a directory below a mountpoint of vecfs");
	if (snprintf(r->control, sizeof r->control, "%s/.vecfs", r->collection) >= (int)sizeof r->control)
		return fail(r->argument, "%s", strerror(ENAMETOOLONG));
	return 0;
}

static int refuse_state(struct receive *r, const struct digest *found)
{
	const struct vecstream_header *h = &r->header;
	char want[ROW_DIGEST_TEXT], got[ROW_DIGEST_TEXT];

	if (!h->has_from)
		return fail(r->argument,
			    "holds %" PRIu64 " vectors; a stream of all rows wants it empty or missing",
			    found->rows);
	row_digest_text(&h->from_print, want);
	row_digest_text(found, got);
	return fail(r->argument,
		    "is not what the stream is the difference to: found %s, want %s, the snapshot '%s'", got,
		    want, h->from);
}

static bool schemas_fit(const struct vs_schema *a, const struct vs_schema *b)
{
	return a->dtype == b->dtype && a->dim == b->dim && a->metric == b->metric;
}

/* Of a collection that is there: whether the stream fits; *done: it is there already. */
static int look_at_rows(struct receive *r, bool *done)
{
	const struct vecstream_header *h = &r->header;
	const struct row_source_info *info;
	struct row_source *source;
	struct digest found;
	char why[WHY_BYTES] = "";

	if (row_source_open(r->collection, false, &source, why, sizeof why))
		return fail(r->argument, "%s", why);
	info = row_source_info(source);
	r->ino = info->ino;
	if (row_fingerprint(source, &found, why, sizeof why)) {
		row_source_close(source);
		return fail(r->argument, "%s", why);
	}
	*done = digest_equal(&found, &h->to_print) && schemas_fit(&info->schema, &h->schema);
	/* Without vectors there is no dim, unless somebody has given one. */
	if (!*done && info->rows > 0 && h->to_print.rows > 0 && !schemas_fit(&info->schema, &h->schema)) {
		fail(r->argument, "found dim=%u dtype=%s metric=%s, the stream has dim=%u dtype=%s metric=%s",
		     info->schema.dim, vs_dtype_name(info->schema.dtype), vs_metric_name(info->schema.metric),
		     h->schema.dim, vs_dtype_name(h->schema.dtype), vs_metric_name(h->schema.metric));
		row_source_close(source);
		return COMMAND_FAILED;
	}
	row_source_close(source);
	if (!*done && !digest_equal(&found, &h->from_print)) /* of a whole stream that is the empty one */
		return refuse_state(r, &found);
	return 0;
}

static int snapshot_path(const struct receive *r, char path[PATH_MAX])
{
	return snprintf(path, PATH_MAX, "%s/snap/%s", r->control, r->header.to) < PATH_MAX ? 0
											   : -ENAMETOOLONG;
}

/* Before anything is made. */
static int look_at_collection(struct receive *r, bool *missing, bool *done)
{
	char path[PATH_MAX];
	struct stat st;

	*done = false;
	*missing = stat(r->collection, &st) != 0;
	if (*missing && errno != ENOENT)
		return fail(r->argument, "%s", strerror(errno));
	if (*missing && r->header.has_from)
		return fail(r->argument, "is missing; the stream is only a difference");
	if (*missing)
		return 0;
	if (!S_ISDIR(st.st_mode))
		return fail(r->argument, "%s", strerror(ENOTDIR));
	if (*r->header.to && (snapshot_path(r, path) != 0 || stat(path, &st) == 0))
		return fail(r->argument, "has a snapshot '%s' already", r->header.to);
	return look_at_rows(r, done);
}

static int write_schema(const struct receive *r)
{
	const struct vs_schema *schema = &r->header.schema;
	char path[PATH_MAX], text[128];
	int n = snprintf(text, sizeof text, "dtype=%s\nmetric=%s\n", vs_dtype_name(schema->dtype),
			 vs_metric_name(schema->metric));
	int rc;

	if (schema->dim > 0)
		n += snprintf(text + n, sizeof text - (size_t)n, "dim=%u\n", schema->dim);
	if (snprintf(path, sizeof path, "%s/schema", r->control) >= (int)sizeof path)
		return fail(r->argument, "%s", strerror(ENAMETOOLONG));
	rc = transfer_write_path(path, text, (size_t)n);
	return rc ? fail(path, "%s", strerror(-rc)) : 0;
}

static int prepare_collection(struct receive *r, bool missing)
{
	if (missing && mkdir(r->collection, 0777) != 0)
		return fail(r->argument, "%s", strerror(errno));
	r->made_collection = missing;
	return r->header.has_from ? 0 : write_schema(r);
}

/* ------------------------------------------------------------------ the batch */

static int fail_batch(const struct receive *r, int rc)
{
	return fail(r->argument, "%s",
		    rc == -EBUSY ? "this stream is being received there by somebody else" : strerror(-rc));
}

/* A stream that was cut off, of which only the rest comes. */
static int resume_batch(struct receive *r)
{
	const struct vecstream_header *h = &r->header;
	struct stream_token token = {.stream = h->stream};
	char text[STREAM_TOKEN_TEXT];
	int rc = receive_batch_resume(&r->batch, r->control, h->stream, &h->schema);

	if (rc == -ENOENT)
		return fail(r->argument,
			    "has nothing of this stream, of which only the rest comes: send all of it");
	if (rc)
		return fail_batch(r, rc);
	token.removals = r->batch.at.removals;
	token.rows = r->batch.at.rows;
	if (token.removals == h->removals_done && token.rows == h->rows_done)
		return 0;
	stream_token_print(&token, text);
	return fail(r->argument, "the stream does not go on where it was cut off: send it with --resume %s",
		    text);
}

static int open_batch(struct receive *r)
{
	const struct vecstream_header *h = &r->header;
	int rc;

	if (h->rows == 0 && h->removals == 0)
		return 0;
	if (h->rows_done > 0 || h->removals_done > 0) {
		rc = resume_batch(r);
	} else {
		rc = receive_batch_make(&r->batch, r->control, h->stream, &h->schema);
		if (rc)
			rc = fail_batch(r, rc);
	}
	r->batch_open = rc == 0;
	return rc;
}

static int add(struct receive *r, const struct vecstream_rows *rows)
{
	int rc = interrupt_came() ? -EINTR : receive_batch_add(&r->batch, rows);

	if (rc)
		return fail(r->argument, "%s", rc == -EINTR ? "interrupted" : strerror(-rc));
	if (rows->type == VECSTREAM_ROWS)
		progress_add(&r->progress, rows->rows * vs_row_bytes(&r->header.schema));
	return 0;
}

/* What has come is kept: how to go on. */
static void tell_token(struct receive *r)
{
	struct stream_token token = {r->header.stream, r->batch.at.removals, r->batch.at.rows};
	char text[STREAM_TOKEN_TEXT];

	if (token.rows == 0 && token.removals == 0) {
		rmdir(r->batch.path);
		return;
	}
	r->made_collection = false; /* it holds what has come */
	stream_token_print(&token, text);
	message(VS_WARNING,
		"%s: %" PRIu64 " of %" PRIu64 " vectors are kept: go on with vecfs send --resume %s",
		r->argument, token.rows, r->header.rows, text);
}

static int open_result(const struct receive *r)
{
	char path[PATH_MAX], line[64];
	int n = snprintf(line, sizeof line, "if=%" PRIu64 "\n", r->ino);
	int fd, rc = 0;

	if (snprintf(path, sizeof path, "%s/.vecfs/result", r->batch.path) >= (int)sizeof path)
		return -ENAMETOOLONG;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0 && r->ino)
		rc = transfer_write(fd, line, (size_t)n);
	if (fd >= 0 && !rc)
		return fd;
	rc = fd < 0 ? -errno : rc;
	if (fd >= 0)
		close(fd);
	return rc;
}

static int explain_refusal(const struct receive *r, int result, int rc)
{
	static const char refused[] = "refused=";
	char text[RESULT_BYTES];
	ssize_t n = pread(result, text, sizeof text - 1, 0);

	text[n > 0 ? n : 0] = 0;
	text[strcspn(text, "\n")] = 0;
	if (strncmp(text, refused, sizeof refused - 1) != 0)
		return fail(r->argument, "%s", strerror(-rc));
	return fail(r->argument, "refused: %s", text + sizeof refused - 1);
}

/* The batch is complete: applies it, if the collection is still what it was. */
static int commit_batch(struct receive *r)
{
	char path[PATH_MAX];
	int result = open_result(r), rc = 0;

	if (result == -ESTALE)
		return fail(r->argument, "has been changed by others meanwhile");
	if (result < 0 ||
	    snprintf(path, sizeof path, "%s/commit/%s", r->control, r->batch.name) >= (int)sizeof path)
		return fail(r->argument, "%s", strerror(result < 0 ? -result : ENAMETOOLONG));
	progress_note(&r->progress, "making it durable");
	if (rename(r->batch.path, path) != 0)
		rc = explain_refusal(r, result, -errno);
	close(result);
	return rc;
}

static int fill_batch(struct receive *r)
{
	const struct vecstream_header *h = &r->header;
	size_t row_bytes = vs_row_bytes(&h->schema);
	int rc = open_batch(r), closed;

	if (rc)
		return rc;
	progress_start(&r->progress, "receive", row_bytes * (h->rows - h->rows_done),
		       row_bytes ? row_bytes : 1, r->quiet);
	rc = read_all(r, add);
	closed = r->batch_open ? receive_batch_close(&r->batch) : 0;
	if (!rc && closed)
		rc = fail(r->argument, "%s", strerror(-closed));
	if (!rc && r->batch_open)
		rc = commit_batch(r);
	progress_end(&r->progress, rc == 0);
	if (rc && r->batch_open)
		tell_token(r);
	return rc;
}

/* ------------------------------------------------------------------ afterwards */

/* Mode, owner and time of the collection, as far as whoever asks may set them. */
static int set_attributes(const struct receive *r)
{
	const struct vs_file_attr *a = &r->header.attr;
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = a->mtime_s, .tv_nsec = a->mtime_ns}};

	if (chown(r->collection, a->uid, a->gid) != 0 && errno != EPERM)
		return fail(r->argument, "%s", strerror(errno));
	if (chmod(r->collection, a->mode) != 0 || utimensat(AT_FDCWD, r->collection, times, 0) != 0)
		return fail(r->argument, "%s", strerror(errno));
	return 0;
}

/* Makes a view of its line, whose words are cut apart; one that is there stays as it is. */
static void make_view(const struct receive *r, char *line)
{
	char path[PATH_MAX], *word = strchr(line, ' ');
	int rc = 0;

	if (word)
		*word++ = 0;
	if (snprintf(path, sizeof path, "%s/views/%s", r->control, line) >= (int)sizeof path ||
	    strchr(line, '/'))
		return;
	if (mkdir(path, 0777) != 0)
		rc = errno == EEXIST ? 0 : -errno;
	else if (word && snprintf(path, sizeof path, "%s/views/%s/.vecfs/params", r->control, line) <
				 (int)sizeof path) {
		for (char *p = word; *p; p++)
			if (*p == ' ')
				*p = '\n';
		strcat(word, "\n"); /* in the place of the line's own */
		rc = transfer_write_path(path, word, strlen(word));
	}
	if (rc)
		message(VS_WARNING, "%s: cannot get the view %s: %s", r->argument, line, strerror(-rc));
}

/* They are derived: what hinders one is no reason to refuse the vectors. */
static void make_views(const struct receive *r)
{
	const char *line = r->header.views, *end;
	char copy[VECSTREAM_VIEWS_MAX];

	for (; (end = strchr(line, '\n')); line = end + 1) {
		snprintf(copy, sizeof copy, "%.*s", (int)(end - line), line);
		make_view(r, copy);
	}
}

/* The snapshot that was sent; not if others have changed the collection just now. */
static int take_snapshot(const struct receive *r)
{
	char path[PATH_MAX], why[WHY_BYTES] = "";
	struct row_source *source;
	struct digest found;
	int rc;

	if (!*r->header.to)
		return 0;
	if (snapshot_path(r, path) != 0 || mkdir(path, 0777) != 0)
		return fail(r->argument, "received, but it cannot get the snapshot '%s': %s", r->header.to,
			    strerror(errno));
	rc = row_source_open(path, false, &source, why, sizeof why);
	if (!rc) {
		rc = row_fingerprint(source, &found, why, sizeof why);
		row_source_close(source);
	}
	if (!rc && digest_equal(&found, &r->header.to_print))
		return 0;
	rmdir(path);
	return fail(r->argument, "received, but it cannot get the snapshot '%s': %s", r->header.to,
		    *why ? why : "others have changed the collection at once");
}

static int receive(struct receive *r)
{
	bool missing, done;
	int rc = read_header(r);

	if (!rc)
		rc = find_collection(r);
	if (!rc)
		rc = look_at_collection(r, &missing, &done);
	if (!rc)
		rc = slots_new(r);
	if (!rc && !done)
		rc = prepare_collection(r, missing);
	interrupt_catch();
	if (!rc && done) /* all but the snapshot is there: somebody was killed just then */
		rc = read_all(r, NULL);
	else if (!rc)
		rc = fill_batch(r);
	if (!rc)
		make_views(r);
	if (!rc)
		rc = set_attributes(r);
	if (!rc)
		rc = take_snapshot(r);
	if (rc && r->made_collection)
		rmdir(r->collection); /* which only works while it is empty */
	slots_free(r);
	return rc;
}

/* ------------------------------------------------------------------ --token */

static int print_token(struct receive *r, const char *name)
{
	struct stream_token token = {0};
	char text[STREAM_TOKEN_TEXT];
	struct row_source *source;
	char why[WHY_BYTES] = "";
	int rc;

	if (sscanf(name, RECEIVE_BATCH_PREFIX "%16" SCNx64, &token.stream) != 1)
		return 0;
	if (row_source_open(r->collection, false, &source, why, sizeof why))
		return fail(r->argument, "%s", why);
	rc = receive_batch_resume(&r->batch, r->control, token.stream, &row_source_info(source)->schema);
	row_source_close(source);
	if (rc)
		return fail_batch(r, rc);
	receive_batch_close(&r->batch);
	token.removals = r->batch.at.removals;
	token.rows = r->batch.at.rows;
	stream_token_print(&token, text);
	printf("%s\n", text);
	return 0;
}

static int print_tokens(struct receive *r)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;
	int rc = find_collection(r);

	if (rc)
		return rc;
	if (snprintf(path, sizeof path, "%s/tx", r->control) >= (int)sizeof path || !(dir = opendir(path)))
		return fail(r->argument, "%s", strerror(errno));
	while (!rc && (entry = readdir(dir)))
		rc = print_token(r, entry->d_name);
	closedir(dir);
	return rc;
}

/* ------------------------------------------------------------------ arguments */

static int run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"list", no_argument, NULL, 'l'}, {"token", no_argument, NULL, 't'},
		{"json", no_argument, NULL, 'j'}, {"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'}, {0},
	};
	static struct receive r;
	bool lists = false, tokens = false, json = false;
	int answer;

	while ((answer = getopt_long(argc, argv, ":qh", longs, NULL)) != -1) {
		if (answer == 'h')
			return command_help(&command_receive);
		if (answer == '?' || answer == ':')
			return command_bad_option(&command_receive, answer, argv);
		lists |= answer == 'l';
		tokens |= answer == 't';
		json |= answer == 'j';
		r.quiet |= answer == 'q';
	}
	if ((lists && tokens) || (json && !lists))
		return command_misused(&command_receive, "%s",
				       json ? "--json is about --list" : "either --list or --token");
	if (argc - optind != !lists)
		return command_misused(&command_receive,
				       lists ? "--list wants no COLLECTION" : "want one COLLECTION");
	if (!tokens && isatty(STDIN_FILENO))
		return command_misused(&command_receive,
				       "a stream does not come from a terminal: give a file or a pipe");
	if (lists)
		return list(&r, json);
	r.argument = argv[optind];
	return tokens ? print_tokens(&r) : receive(&r);
}
