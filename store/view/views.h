/* SPDX-License-Identifier: Apache-2.0 */
/*
 * views - the table of a store's views.
 *
 * Locks: `define` is held while the definitions of a collection change, over the transaction that makes them
 * durable; it is taken before the store's lock. `mutex` guards the table and what it has, and is innermost:
 * it is taken under the store's lock, and held over nothing. A view is freed by the builder alone, or by the
 * close.
 */
#ifndef VECFS_STORE_VIEW_VIEWS_H
#define VECFS_STORE_VIEW_VIEWS_H

#include <pthread.h>

#include "store/view/model.h"

struct view {
	struct view *next;
	uint32_t collection;
	unsigned refs; /* the table's, and the builder's while it is at work on it */
	_Atomic bool dropped;
	struct view_definition d;
	struct view_model *current; /* that readers get; NULL: none yet */
	struct view_model *coming;  /* takes its place once all segments have its codes; or NULL */
	_Atomic unsigned retrain;   /* how often that was wanted, */
	unsigned retrained;         /* and how often it was done */
	bool stored_unsettled;      /* what the durable definition says */
	bool was_complete;          /* with the current model */
	bool is_lagging, has_failed;
	char why[200];
	/* Of rows written since the view was complete, moving averages. */
	double error, variance, rows_measured;
	bool drift_told;
	/* The builder's. */
	struct vs_schema schema; /* that it works with */
	uint64_t failed_version; /* of the collection, when training failed */
	uint64_t unusable_epoch; /* of a model that could not be read, which has been told */
	int64_t retry_ms;        /* nothing is tried before, after an error */
	uint32_t segments;       /* that had codes when it looked last */
	bool sweep;              /* files may lie there that are nobody's */
	struct early *early;     /* of batches that are uploaded to (early.h) */
	uint64_t scrubbed;       /* the last round (scrub.h) that has looked at all of its codes; else */
	uint32_t scrub_segment, scrub_block; /* where this round goes on */
};

struct views {
	pthread_mutex_t define, mutex;
	pthread_cond_t changed; /* something that vs_view_wait may wait for */
	struct view *first;
	pthread_t thread;
	bool running;
	bool trim; /* the builder's: it has used much memory since it rested */
	_Atomic bool stop, hurry;
	/* The builder's, for looking at codes again (scrub.h). */
	struct {
		uint64_t round;
		int64_t began_ms, due_ms; /* the round; the next look */
	} scrub;
};

/* The views of the store's collections, by their attributes; nothing of them is opened. -ENOMEM. */
int views_load(struct vs_store *s);
void views_free(struct vs_store *s);
/* Whose views a collection has: its own, but a durable snapshot has those of the collection it was taken of,
 * which are made of the rows that both share. Under the store's lock. */
static inline uint32_t views_owner(const struct collection *c)
{
	return c->frozen ? c->parent : c->id;
}
/* The same of a number; that itself where no collection has it. Without a lock. */
uint32_t views_find_owner(struct vs_store *s, uint32_t collection);
/* The segment of the owner whose codes are those of seg, a durable snapshot's: one with the same files. NULL:
 * it has none, or not any more. Codes of rows that are deleted there may be gone. Under the store's lock. */
struct segment *views_shared_segment(const struct vs_store *s, uint32_t owner, const struct segment *seg);
/* The view of this name; NULL: there is none. Under mutex. */
struct view *views_find(struct views *vs, uint32_t collection, const char *name);
/* Reports something of a view, by its path in the mount. Without a lock. */
void view_report(struct vs_store *s, const struct view *v, enum vs_severity severity, const char *what);
/* The same of blocks of codes that are damaged, if there are any. */
void view_report_blocks(struct vs_store *s, const struct view *v, const struct segment *seg, uint64_t blocks);
/* Makes the definitions of a collection durable with the next sync. Under define. */
int views_store(struct vs_store *s, uint32_t collection);
/* Whether a file of a collection's directory is of a view, and not wanted: for a recovery and a check. Reads
 * the attribute, not the table; the segment must be looked for by the caller. */
bool views_file_is_left(const struct collection *c, const char *file);

#endif
