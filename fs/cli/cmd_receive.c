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
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/batch_result.h"
#include "fs/cli/command.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/receive.h"
#include "fs/cli/row_source.h"
#include "fs/cli/stream_token.h"
#include "fs/cli/transfer.h"
#include "fs/request/message.h"

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

/* ------------------------------------------------------------------ the batch */

static int fail_batch(const struct receive *r, int rc)
{
	return receive_fail(r->argument, "%s",
			    rc == -EBUSY ? "this stream is being received there by somebody else"
					 : strerror(-rc));
}

/* A stream that was cut off, of which only the rest comes. */
static int resume_batch(struct receive *r)
{
	const struct vecstream_header *h = &r->header;
	struct stream_token token = {.stream = h->stream};
	char text[STREAM_TOKEN_TEXT];
	int rc = receive_batch_resume(&r->batch, r->control, h->stream, &h->schema);

	if (rc == -ENOENT)
		return receive_fail(
			r->argument,
			"has nothing of this stream, of which only the rest comes: send all of it");
	if (rc)
		return fail_batch(r, rc);
	token.removals = r->batch.at.removals;
	token.rows = r->batch.at.rows;
	if (token.removals == h->removals_done && token.rows == h->rows_done)
		return 0;
	stream_token_print(&token, text);
	return receive_fail(r->argument,
			    "the stream does not go on where it was cut off: send it with --resume %s", text);
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
		return receive_fail(r->argument, "%s", rc == -EINTR ? "interrupted" : strerror(-rc));
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

static int explain_refusal(const struct receive *r, int rc, char *text)
{
	static const char refused[] = "refused=";

	text[strcspn(text, "\n")] = 0;
	if (strncmp(text, refused, sizeof refused - 1) != 0)
		return receive_fail(r->argument, "%s", strerror(-rc));
	return receive_fail(r->argument, "refused: %s", text + sizeof refused - 1);
}

/* The batch is complete: applies it, if the collection is still what it was. */
static int commit_batch(struct receive *r)
{
	char path[PATH_MAX], text[BATCH_RESULT_BYTES];
	int result = open_result(r), rc;

	if (result == -ESTALE)
		return receive_fail(r->argument, "has been changed by others meanwhile");
	if (result < 0 ||
	    snprintf(path, sizeof path, "%s/commit/%s", r->control, r->batch.name) >= (int)sizeof path)
		return receive_fail(r->argument, "%s", strerror(result < 0 ? -result : ENAMETOOLONG));
	progress_note(&r->progress, "making it durable");
	rc = batch_result_commit(result, r->batch.path, path, text);
	if (rc != 0)
		rc = explain_refusal(r, rc, text);
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
	rc = receive_read_all(r, add);
	closed = r->batch_open ? receive_batch_close(&r->batch) : 0;
	if (!rc && closed)
		rc = receive_fail(r->argument, "%s", strerror(-closed));
	if (!rc && r->batch_open)
		rc = commit_batch(r);
	progress_end(&r->progress, rc == 0);
	if (rc && r->batch_open)
		tell_token(r);
	return rc;
}

/* ------------------------------------------------------------------ all of it */

static int receive(struct receive *r)
{
	bool missing, done;
	int rc = receive_read_header(r);

	if (!rc)
		rc = receive_find_collection(r);
	if (!rc)
		rc = receive_look_at_collection(r, &missing, &done);
	if (!rc)
		rc = receive_slots_new(r);
	if (!rc && !done)
		rc = receive_prepare_collection(r, missing);
	interrupt_catch();
	if (!rc && done) /* all but the snapshot is there: somebody was killed just then */
		rc = receive_read_all(r, NULL);
	else if (!rc)
		rc = fill_batch(r);
	if (!rc)
		receive_make_views(r);
	if (!rc)
		rc = receive_set_attributes(r);
	if (!rc)
		rc = receive_take_snapshot(r);
	if (rc && r->made_collection)
		rmdir(r->collection); /* which only works while it is empty */
	receive_slots_free(r);
	return rc;
}

/* ------------------------------------------------------------------ --token */

static int print_token(struct receive *r, const char *name)
{
	struct stream_token token = {0};
	char text[STREAM_TOKEN_TEXT];
	struct row_source *source;
	char why[RECEIVE_WHY_BYTES] = "";
	int rc;

	if (sscanf(name, RECEIVE_BATCH_PREFIX "%16" SCNx64, &token.stream) != 1)
		return 0;
	if (row_source_open(r->collection, false, &source, why, sizeof why))
		return receive_fail(r->argument, "%s", why);
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
	int rc = receive_find_collection(r);

	if (rc)
		return rc;
	if (snprintf(path, sizeof path, "%s/tx", r->control) >= (int)sizeof path || !(dir = opendir(path)))
		return receive_fail(r->argument, "%s", strerror(errno));
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
		return receive_list(&r, json);
	r.argument = argv[optind];
	return tokens ? print_tokens(&r) : receive(&r);
}
