/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commit - group commit. Changes append records to the open group; a leader writes the group as one frame of
 * the log and syncs it, for all who wait; the applier (apply.h) then carries it to the segment files.
 *
 * A group's memory lives until it is applied: the overlay points into it. There are GROUPS of them; when all
 * are in use, whoever needs room waits.
 */
#ifndef VECFS_STORE_LOG_COMMIT_H
#define VECFS_STORE_LOG_COMMIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "store/catalog/catalog.h"
#include "store/base/format.h"

struct vs_store;

#define GROUPS 8
#define APPLY_BATCH (GROUPS / 2) /* The applier is woken for this many groups, or after APPLY_MS. */
#define APPLY_MS 2

struct group {
	char *buf;                    /* room for a struct frame, then records */
	size_t used;                  /* bytes of records */
	uint64_t last_change;         /* the number of the last change in it */
	int64_t opened_ms;            /* of its first change */
	struct catalog_image catalog; /* set if a checkpoint follows it */
	struct group *next;
};

struct ahead;          /* what a change needs of a disk (ahead.h) */
struct header_request; /* for the applier (apply.h) */
struct waiter;         /* a vs_sync_async under way */

struct commit {
	pthread_mutex_t mutex;
	pthread_cond_t work;  /* for the committer: a group has its first change, or it should stop */
	pthread_cond_t done;  /* a leader has finished */
	pthread_cond_t space; /* a change may fit into the open group now */
	pthread_cond_t room;  /* a group or a log file is free, or a failure */
	pthread_cond_t ready; /* for the applier */
	bool committer_idle, applier_idle; /* waiting without a timeout: needs a signal */
	unsigned applier_waiters;          /* how many wait for the applier */
	struct group *open;                /* contents guarded by the store's lock, used by the mutex too */
	struct group *spare;
	struct group *durable, **durable_end; /* for the applier, in order */
	unsigned durable_count;
	size_t reserved;                                    /* by changes that have not ended */
	uint64_t changes, durable_changes, applied_changes; /* counts */
	bool leading;
	bool end_epoch;    /* the next commit ends the epoch: a checkpoint is wanted */
	bool switch_file;  /* the next frame goes to the other log file */
	bool file_busy[2]; /* its epoch has ended, its checkpoint has not */
	bool stop;
	_Atomic int failed; /* 0, or -EROFS once a write-back failed: nothing more is ever written */
	struct waiter *waiters;
	bool relief; /* somebody waits until less is to be synced */
	struct header_request *requests;
	bool applier_gone; /* nobody serves them any more */
};

int commit_init(struct vs_store *s);
void commit_free(struct vs_store *s);
/* Returns when the changes acknowledged so far are durable, or, in the second case, also in the segment
 * files. */
int commit_wait(struct vs_store *s);
int commit_wait_applied(struct vs_store *s);
/* Makes everything durable and applied, and lets the applier write a catalog with the log's new start. */
int commit_checkpoint(struct vs_store *s);
/* Tells both threads to end, when they are through with what is durable. */
void commit_stop(struct vs_store *s);
/* Creates the log, unless there is one, and a catalog that says that the store is open. -ENOSPC: nothing has
 * changed. */
int commit_start_logging(struct vs_store *s);
/* The committer's thread. */
void *commit_thread(void *store);
/* Called by the applier when it is through with a group. */
void commit_applied(struct vs_store *s, struct group *g, int file, bool checkpointed);
/* A write failed: from now on nothing is written, and changes answer -EROFS. No lock but perhaps the store's.
 */
void commit_poison(struct vs_store *s, const char *what, int error);
/* Returns rc, the answer of a sync, and poisons the store if it failed: nobody knows what is on the disk, and
 * a second sync would find nothing left to write and call it durable. */
int commit_synced(struct vs_store *s, int rc);
/* Poisons the store if a page of a mapping has been lost (io.h): what has been made of its zeros must never
 * be logged. */
void commit_mind_lost(struct vs_store *s);

/* ---- one change */

struct txn {
	struct vs_store *s;
	struct ahead *ahead; /* set by whoever may need something of a disk (ahead.h) */
	size_t reserved;
	size_t start; /* of its records in the open group */
};

/* Room a row's record takes at most. */
static inline size_t txn_row_bytes(size_t row_bytes)
{
	return sizeof(struct record_row) + 256 + (row_bytes + 7) / 8 * 8;
}
#define TXN_SMALL_BYTES 512u /* any one record without a vector */

/*
 * Begins a change whose records take at most bytes: waits for room, then takes the store's lock for changing.
 * On failure nothing is held. -EROFS; -ENOSPC: the disk has no room for the log, or for one that could take
 * this change; -E2BIG: no log could.
 */
int txn_begin(struct vs_store *s, struct txn *txn, size_t bytes);
/* Appends a zeroed record of bytes (a multiple of 8 is made of it). All records of a change share one frame.
 */
void *txn_append(struct txn *txn, enum record_type type, uint32_t collection, size_t bytes);
/* Whether it has records, and so has changed something. */
bool txn_has_begun(const struct txn *txn);
/* Begins the log, if that has not yet been done: for who writes something else, which would be torn after a
 * crash in a store that is called clean; or wants to know how much a frame takes. */
int txn_begin_log(struct vs_store *s);
/* Ends it: acknowledged. Without records nothing happened. */
void txn_end(struct txn *txn);

#endif
