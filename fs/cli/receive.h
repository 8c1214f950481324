/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receive - what the parts of vecfs receive share: receive_stream.c reads the stream, receive_list.c
 * tells what it holds, receive_collection.c knows where it goes, cmd_receive.c fills and commits the batch.
 *
 * What fails has told why, and returns COMMAND_FAILED. One thread, but while frames are read (pipeline.h).
 */
#ifndef VECFS_FS_CLI_RECEIVE_H
#define VECFS_FS_CLI_RECEIVE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/cli/pipeline.h"
#include "fs/cli/progress.h"
#include "fs/cli/receive_batch.h"
#include "store/stream/vecstream.h"

#define RECEIVE_WHY_BYTES 512

/* A frame as it was read, and what is in it. */
struct receive_slot {
	struct vecstream_frame frame;
	void *buf;
	size_t capacity;
	struct vecstream_packer *packer;
	struct vecstream_rows rows;
	struct vecstream_end count;
	size_t row_bytes;
	char why[RECEIVE_WHY_BYTES];
	int rc;
};

/* Gets what is in each frame, in their order. */
struct receive;
typedef int (*receive_add_fn)(struct receive *r, const struct vecstream_rows *rows);

struct receive {
	const char *argument;
	bool quiet;
	char collection[PATH_MAX], control[PATH_MAX];
	bool made_collection, batch_open;
	uint64_t ino; /* tells the version of the collection that was looked at */

	struct vecstream_reader reader;
	struct vecstream_header header;
	struct vecstream_end end;
	struct receive_slot slots[PIPELINE_SLOTS_MAX];
	receive_add_fn add;
	struct vecstream_frame last; /* the end, and its payload; */
	void *last_buf;
	int torn; /* or why there is none */
	char why[RECEIVE_WHY_BYTES];

	struct receive_batch batch;
	struct progress progress;
};

/* Tells why, of a thing of the user's; returns COMMAND_FAILED. */
__attribute__((format(printf, 2, 3))) int receive_fail(const char *what, const char *format, ...);

/* The header of standard input, into r. Then what unpacks its frames, which is freed in any case. */
int receive_read_header(struct receive *r);
int receive_slots_new(struct receive *r);
void receive_slots_free(struct receive *r);

/* Reads all frames and checks the end; add may be NULL. What comes before something torn is whole, and is
 * added. By a thread of its own. */
int receive_read_all(struct receive *r, receive_add_fn add);

/* Prints what the stream on standard input holds. */
int receive_list(struct receive *r, bool json);

/* Where r->argument is: a directory below a mountpoint, or the name of one that is missing. */
int receive_find_collection(struct receive *r);
/* Whether the stream fits it, before anything is made. *done: it holds what was sent already. */
int receive_look_at_collection(struct receive *r, bool *missing, bool *done);
/* Makes it, if it is missing, and gives it the schema of a stream of all rows. */
int receive_prepare_collection(struct receive *r, bool missing);
/* When the rows are there: views, attributes, and the snapshot that was sent. */
void receive_make_views(const struct receive *r);
int receive_set_attributes(const struct receive *r);
int receive_take_snapshot(const struct receive *r);

#endif
