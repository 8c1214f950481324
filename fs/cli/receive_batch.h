/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receive_batch - the batch that a stream is received into: COLLECTION/.vecfs/tx/receive-STREAM, which stays
 * when its receiver ends early, and which the next one goes on with.
 *
 * Vectors go into their file as they come; ids and attributes follow every few frames, and then a note in its
 * file `received` says how far all of them have come, with a sum of the ids and attributes so far. Who goes
 * on believes the last note that fits what the files hold (of vectors the engine knows the checksums), cuts
 * all of them there, and tells the sender. So nothing has to be synced before the commit.
 *
 * One thread at a time for one batch; one receiver at a time has the lock of `received`.
 */
#ifndef VECFS_FS_CLI_RECEIVE_BATCH_H
#define VECFS_FS_CLI_RECEIVE_BATCH_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/stream/vecstream.h"

#define RECEIVE_BATCH_PREFIX "receive-"

/* Little-endian, an element of `received`. */
struct receive_note {
	uint64_t removals, rows;
	uint64_t removed_bytes, ids_bytes; /* of delete0 and ids0 */
	uint64_t sum;                      /* of what these and attributes hold, chained */
};

enum { RECEIVE_NOTES, RECEIVE_VECTORS, RECEIVE_ATTRS, RECEIVE_IDS, RECEIVE_REMOVED, RECEIVE_FILES };

/* The end of a file, which is not written yet. */
struct receive_tail {
	char *data;
	size_t size, room;
};

struct receive_batch {
	char path[PATH_MAX], name[64];
	const char *vectors_name; /* "vectors.f32" */
	size_t row_bytes;
	int fd[RECEIVE_FILES];         /* -1: not open yet */
	struct receive_note at, noted; /* all that has been added, and the last note of it */
	uint64_t notes;
	struct receive_tail attrs, ids, removed;
	uint64_t pending; /* bytes that no note tells of */
	int64_t noted_ms; /* when the last one was written */
};

/* Makes an empty one in the control directory of a collection; what an earlier receiver has left is dropped.
 * -EBUSY: somebody is receiving it. -errno. */
int receive_batch_make(struct receive_batch *b, const char *control, uint64_t stream,
		       const struct vs_schema *schema);
/* Goes on with one: b->at tells where. -ENOENT: there is none. */
int receive_batch_resume(struct receive_batch *b, const char *control, uint64_t stream,
			 const struct vs_schema *schema);
/* Adds a block. After an error only closing makes sense. -errno. */
int receive_batch_add(struct receive_batch *b, const struct vecstream_rows *rows);
/* Writes the rest, and closes its files: whatever that says. b->at tells then what can be gone on with. It
 * can be committed, by a rename of its path. */
int receive_batch_close(struct receive_batch *b);

#endif
