/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch_commit - the commit of a batch, as the files of store/batch/ share it.
 *
 * A small batch becomes ordinary row records in one frame of the log (small.c). Of a large one the files that
 * its rows were written to become segments of the parent: their names and rows columns are written beside
 * them, and all is synced (parts.c); then one frame says that they are attached and which old rows are
 * deleted (attach.c). The vacuum fills the slots of those afterwards.
 *
 * The thread that commits calls these functions, without any lock.
 */
#ifndef VECFS_STORE_BATCH_BATCH_COMMIT_H
#define VECFS_STORE_BATCH_BATCH_COMMIT_H

#include <time.h>

#include "store/engine.h"
#include "store/base/idlist.h"
#include "store/batch/upload.h"

/* A segment to hand over. */
struct piece {
	uint32_t n; /* its number in the batch, or among the upload's parts */
	bool uploaded;
	uint32_t count;
	struct segment *seg; /* opened on the files as they will be handed over */
};

struct batch_commit {
	struct vs_store *s;
	struct collection *batch; /* stays: it is marked as committing */
	uint32_t parent;
	struct upload_info upload;
	struct idlist ids, delete;
	bool has_attrs; /* the uploaded rows bring their attributes */
	struct piece *pieces;
	uint32_t piece_count;
	uint64_t first_entry;       /* of a range reserved for all rows */
	uint64_t rows;              /* in all */
	uint32_t perm;              /* the class of uploaded rows, unless they take over another */
	struct perm_hold holds;     /* the classes of all rows of a large batch */
	unsigned flags;             /* VS_BATCH_* */
	uint64_t replaced, deleted; /* ids: known when the change is made */
	char *why;
	size_t why_size;
};

/* Says why in one sentence; returns rc. */
int batch_commit_refuse(struct batch_commit *j, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The id of an uploaded row, from the text of ids, or its number written to buf. */
const char *batch_commit_upload_id(const struct batch_commit *j, uint64_t i, char buf[24]);

/*
 * The class of permissions of the vector that an uploaded row replaces, or -1: the row takes them over, as a
 * file that is written to keeps its own (vs_mode_written). Under the lock.
 */
int batch_commit_replaced_perm(const struct collection *parent, const char *id);

/* Bytes of one vector of this batch. */
static inline size_t batch_commit_row_bytes(const struct batch_commit *j)
{
	return j->upload.exists ? vs_row_bytes(&j->upload.schema) : j->batch->row_bytes;
}

/* Attributes of uploaded rows, if j->has_attrs. -EINVAL: they cannot be. */
int batch_commit_attrs(struct batch_commit *j, uint64_t first, uint64_t count, struct vs_file_attr *out);
static inline vs_time batch_commit_mtime(const struct vs_file_attr *attr)
{
	struct timespec t = {.tv_sec = attr->mtime_s, .tv_nsec = attr->mtime_ns};

	return vs_time_of(&t);
}

/* Makes the parent's schema that of the batch's vectors, if it is still free, or refuses them; also if the
 * parent has not the version that the batch expects. Within txn, before anything changes. */
int batch_commit_fix_schema(struct batch_commit *j, struct txn *txn, struct collection *parent);
/* -EEXIST if the batch may only add and the id is there already. Under the lock. */
int batch_commit_check_new(struct batch_commit *j, const struct collection *parent, const char *id,
			   size_t len);

/* If the batch is small enough for the log it is committed, and *done set. */
int batch_commit_commit_small(struct batch_commit *j, size_t parent_row_bytes, bool *done);
int batch_commit_commit_large(struct batch_commit *j);

/* Makes segments of the batch's files, beside which nothing is changed yet, and syncs them. */
int batch_commit_prepare_pieces(struct batch_commit *j);

#endif
