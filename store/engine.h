/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine - the store's inner state, shared by the files of store/ and by nobody else, and what all of them
 * may ask of it.
 *
 * The state is made of what the rooms up to log/ define. So those know only its name in their headers
 * (struct vs_store), and their .c files alone include this one; the rooms below catalog/ do not know the
 * store at all.
 *
 * Threads. Callers; the committer (commit.c), which makes changes durable at the latest after commit_ms; the
 * applier (apply.c), which writes durable changes to the segment files and does checkpoints. Any caller that
 * wants to be durable leads a commit itself.
 *
 * Locks, in this order: start_mutex; then lock, which guards the tables, the collections and the contents
 * of the open group, shared by readers and held alone by whoever changes anything; then commit.mutex, for
 * the groups and those who wait for them; snapshots_mutex, for the lists of open snapshots while lock is
 * shared; and files.mutex, for descriptors and mappings. A change reserves its space in the log before it
 * takes lock (txn_begin may wait there), so a holder of lock never waits for the leader or the applier,
 * who need it. Nor does it wait for a disk: what it needs of one is made ready before (ahead.h). The few
 * exceptions are in store/README.md, as are the smaller locks.
 */
#ifndef VECFS_STORE_ENGINE_H
#define VECFS_STORE_ENGINE_H

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/catalog/catalog.h"
#include "store/collection/collection.h"
#include "store/log/ahead.h"
#include "store/log/commit.h"
#include "store/segment/file_cache.h"
#include "store/io/io.h"
#include "store/log/log.h"
#include "store/store.h"

struct counters {
	_Atomic uint64_t puts, overwrites, patches, removes, renames, reads, commits, commit_bytes,
		checkpoints;
	_Atomic uint64_t batches, checksum_errors, replayed_records;
	_Atomic uint64_t queries, rows_scanned, rows_verified, search_ns;
};

#define PERM_MAX 65535u /* the highest class: rows refer to it by 16 bits */
#define PERM_CHAINS 4096u

/* Classes that rows will refer to which no collection has yet: those of a batch being committed. */
struct perm_hold {
	uint64_t classes[(PERM_MAX + 64) / 64]; /* a bit each; changed with the store's lock shared, or before
						   it is in the list */
	struct perm_hold *next;
};
static inline void perm_hold_add(struct perm_hold *h, uint32_t class)
{
	h->classes[class / 64] |= 1ull << (class % 64);
}

/* The thread that fills deleted rows (row/vacuum.h). */
struct vacuum {
	pthread_t thread;
	bool runs;
	pthread_mutex_t mutex; /* of: */
	pthread_cond_t work;
	bool wanted;
	_Atomic bool stop;
};

struct vs_store {
	struct io *io;
	bool own_io;
	struct files files;
	int lock_fd;
	struct nudge *nudge; /* beside a recovery (replay/nudge.h) */
	struct vs_options options;
	bool read_only;
	uint8_t uuid[16];
	char uuid_text[37];

	pthread_rwlock_t lock;
	struct collection_table table;
	uint32_t next_collection;
	/* Classes, and how one is found: in its hash's chain, where a class is its number + 1, 0 the end. */
	struct perm_class *perms;
	uint32_t perm_count;
	uint32_t *perm_next, perm_chains[PERM_CHAINS];
	/* Once all numbers are given out: a bit for each class that may be in use, and where to look for the
	 * next that is not. Numbers that somebody will use, of whom no row or collection tells yet. */
	uint64_t *perm_used;
	uint32_t perm_unused_from;
	struct perm_hold *perm_holds;
	struct catalog_root root;
	uint32_t version;                /* of what is on the disk, while it is opened */
	struct collection *dropped;      /* until the applier has passed their end: the oldest first, */
	struct collection **dropped_end; /* chained by dropped_next */
	uint32_t changed_directories;    /* the applier's */
	_Atomic bool directory_changed;  /* collections/ since the last checkpoint */
	uint64_t catalog_seq;            /* of the newest slot */
	_Atomic uint64_t catalog_room;   /* bytes allocated in each slot's file */
	_Atomic bool catalog_short;      /* little of it is left */
	pthread_mutex_t catalog_mutex;   /* of allocating more; the innermost */
	uint64_t hash_seed;
	struct log_position position; /* where the log will start, or did */

	bool logging; /* the log exists and the catalog is not clean; set by the first change */
	pthread_mutex_t start_mutex; /* of setting it */
	struct log log;
	struct commit commit;
	pthread_t committer, applier;
	struct counters counters;
	/* The views' builder (store/view/); idle: it sleeps until somebody wakes it. */
	struct views *views;
	pthread_mutex_t builder_mutex;
	pthread_cond_t builder_work;
	_Atomic bool builder_idle;
	struct vacuum vacuum;
	pthread_mutex_t making_mutex; /* who makes files for which collection (ahead.h) */
	pthread_cond_t making_done;
	struct making *making;
	pthread_mutex_t load_mutex;      /* of building the index of a snapshot, or clone (clone.h) */
	_Atomic bool has_links;          /* the file system is known to have hard links */
	uint64_t share_changes;          /* counts files that are no longer shared */
	bool replaying;                  /* a recovery carries the log to the files */
	pthread_mutex_t snapshots_mutex; /* the lists of open snapshots, for who holds the lock shared */
	uint64_t snapshots_opened;       /* ever; under that mutex */
	_Atomic uint32_t spill_number;
	/* A file that is not needed any more could not be removed: the store is not called clean, so that the
	 * next opening looks for such files. */
	_Atomic bool has_orphans;
	struct replayed
		*replayed; /* read-only stores: the records that the overlays point into (recover.c) */
	bool finalized;    /* the files are as a clean close leaves them */
};

/* Tells the user. No lock may be held. */
void engine_report(struct vs_store *s, enum vs_severity severity, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Takes the store's lock file and leaves our pid in it for whoever is refused; -EBUSY with a sentence in why.
 * A store that is opened for reading only shares it with others like it, and does without where there is
 * none. */
int engine_lock(struct vs_store *s, char *why, size_t why_size);
void engine_unlock(struct vs_store *s);
/* Writes what is in the lock file once more, and has the server, if there is one, write its journal
 * (nudge.h).
 */
void engine_publish_lock(struct vs_store *s);
void engine_random(void *p, size_t size);
/* Gives freed memory back to the system: what was large for a while is not to stay so. */
void engine_give_back_memory(void);
/* Tells the builder that something has changed, if it sleeps. */
void engine_wake_builder(struct vs_store *s);
/* Tells the vacuum that there may be deleted rows to be filled. */
void engine_wake_vacuum(struct vs_store *s);
/* Unmaps what is mapped too much. Without the lock. */
void engine_unmap(struct vs_store *s);
/* For who takes the store's lock alone again and again: waits, a millisecond at most, until those who wait
 * for it have had it. Without the lock. */
void engine_let_in(struct vs_store *s);
/* Takes the store's lock, shared, to look at rows. What it returns is for engine_read_unlock. */
unsigned engine_read_lock(struct vs_store *s);
/*
 * Gives it back. rc; but -EIO if a page of a mapping was lost meanwhile: a row whose checksum fitted may have
 * been zeros when it was used.
 */
int engine_read_unlock(struct vs_store *s, unsigned lost, int rc);
/* Index of a permission class; -ENOENT if it is not in the table yet. Under the lock. */
int engine_perm_find(struct vs_store *s, const struct vs_perm *perm);
/* The class a row or collection refers to; of a damaged reference, some class. */
static inline const struct perm_class *engine_perm_get(const struct vs_store *s, uint32_t index)
{
	return &s->perms[index < s->perm_count ? index : 0];
}
int engine_perm_add(struct vs_store *s, uint32_t index, const struct perm_class *perm);

#endif
