/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/receive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/cli/command.h"
#include "fs/cli/interrupt.h"
#include "fs/request/message.h"

#define PIPE_BYTES (1 << 20)

int receive_fail(const char *what, const char *format, ...)
{
	char why[RECEIVE_WHY_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof why, format, args);
	va_end(args);
	message(VS_ERROR, "%s: %s", what, why);
	return COMMAND_FAILED;
}

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
		return receive_fail("standard input", "interrupted");
	return receive_fail("standard input", "%s", rc == -EINVAL ? why : strerror(-rc));
}

int receive_read_header(struct receive *r)
{
	char why[RECEIVE_WHY_BYTES] = "";
	int rc;

	fcntl(STDIN_FILENO, F_SETPIPE_SZ, PIPE_BYTES); /* if it is a pipe, and may be so large */
	r->reader = (struct vecstream_reader){.read = read_stdin};
	rc = vecstream_read_header(&r->reader, &r->header, why, sizeof why);
	return rc ? fail_stream(rc, why) : 0;
}

int receive_slots_new(struct receive *r)
{
	for (unsigned i = 0; i < pipeline_slots(); i++) {
		r->slots[i].packer = vecstream_packer_new(&r->header.schema);
		r->slots[i].row_bytes = vs_row_bytes(&r->header.schema);
		if (!r->slots[i].packer)
			return receive_fail("standard input", "%s", strerror(ENOMEM));
	}
	return 0;
}

void receive_slots_free(struct receive *r)
{
	for (unsigned i = 0; i < pipeline_slots(); i++) {
		vecstream_packer_free(r->slots[i].packer);
		free(r->slots[i].buf);
	}
}

/* The next frame, unless it is the end, or torn. */
static int read_frame(void *arg, unsigned slot)
{
	struct receive *r = arg;
	struct receive_slot *s = &r->slots[slot];

	r->torn = vecstream_read(&r->reader, &s->frame, &s->buf, &s->capacity, r->why, sizeof r->why);
	if (r->torn || s->frame.type == VECSTREAM_END) {
		r->last = s->frame;
		r->last_buf = s->buf;
		return 0;
	}
	return 1;
}

static void unpack(void *arg, unsigned slot)
{
	struct receive *r = arg;
	struct receive_slot *s = &r->slots[slot];

	s->count = (struct vecstream_end){0};
	s->rc = vecstream_unpack(s->packer, &s->frame, s->buf, &s->rows, s->why, sizeof s->why);
	if (!s->rc)
		vecstream_count(&s->rows, s->row_bytes, &s->count);
}

/* Counts what a frame had; no more than the header has told may come. */
static int count_frame(struct receive *r, const struct receive_slot *s)
{
	struct digest sum = {.low = r->end.digest_low, .high = r->end.digest_high};
	const struct vecstream_header *h = &r->header;

	if (s->rc)
		return receive_fail("standard input", "frame of %u bytes: %s", s->frame.stored_bytes,
				    s->rc == -EINVAL ? s->why : strerror(-s->rc));
	digest_sum(&sum, s->count.digest_low, s->count.digest_high);
	r->end.digest_low = sum.low;
	r->end.digest_high = sum.high;
	r->end.rows += s->count.rows;
	r->end.removals += s->count.removals;
	if (r->end.rows > h->rows - h->rows_done || r->end.removals > h->removals - h->removals_done ||
	    (s->rows.type == VECSTREAM_REMOVALS && r->end.rows > 0))
		return receive_fail("standard input", "it holds more than its header tells");
	return 0;
}

static int take_frame(void *arg, unsigned slot)
{
	struct receive *r = arg;
	struct receive_slot *s = &r->slots[slot];
	int rc = count_frame(r, s);

	return rc || !r->add ? rc : r->add(r, &s->rows);
}

static int check_end(struct receive *r)
{
	const struct vecstream_header *h = &r->header;
	char why[RECEIVE_WHY_BYTES] = "";

	if (vecstream_check_end(&r->last, r->last_buf, &r->end, why, sizeof why))
		return receive_fail("standard input", "%s", why);
	if (r->end.rows != h->rows - h->rows_done || r->end.removals != h->removals - h->removals_done)
		return receive_fail("standard input", "it holds less than its header tells");
	return 0;
}

/* What comes before something torn is whole, and is added. */
int receive_read_all(struct receive *r, receive_add_fn add)
{
	static const struct pipeline_ops ops = {read_frame, unpack, take_frame};
	int rc;

	r->add = add;
	rc = pipeline_run(&ops, r);
	if (!rc && r->torn)
		rc = fail_stream(r->torn, r->why);
	return rc ? rc : check_end(r);
}
