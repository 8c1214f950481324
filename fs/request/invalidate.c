/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/request/invalidate.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "fs/request/ops.h"
#include "store/base/clock.h"

#define BUCKETS 1024
#define SETTLE_MS 50 /* how often staged bytes are looked at while there are any */
#define HOUSEKEEP_MS 1000
#define NEVER_MS INT64_MAX /* of clock_ms() */

struct item {
	struct item *next;       /* in the queue */
	struct item *next_stale; /* in the bucket of its inode; not for names */
	uint64_t ino;            /* of the directory for a name */
	bool taken;              /* out of the queue: the thread is at it */
	char name[];             /* "" for an inode */
};

struct notify {
	struct mount *serve;
	const struct notify_duties *duties;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct item *first, **end;
	atomic_uint stale_count;
	struct item *stale[BUCKETS];
	bool housekeeping, quit;
	int64_t housekeeping_ms; /* when, of clock_ms() */
	atomic_bool settling;
	int64_t settle_ms;
};

static struct item **bucket_of(struct notify *n, uint64_t ino)
{
	return &n->stale[((ino * UINT64_C(0x9e3779b97f4a7c15)) >> 48) % BUCKETS];
}

/* An item of this inode; with waiting one that the thread has not begun with. */
static struct item *find_stale(struct notify *n, uint64_t ino, bool waiting)
{
	struct item *item = *bucket_of(n, ino);

	while (item && (item->ino != ino || (waiting && item->taken)))
		item = item->next_stale;
	return item;
}

static void enqueue(struct notify *n, struct item *item)
{
	item->next = NULL;
	*n->end = item;
	n->end = &item->next;
	pthread_cond_signal(&n->cond);
}

static struct item *item_new(uint64_t ino, const char *name)
{
	size_t len = strlen(name);
	struct item *item = calloc(1, sizeof *item + len + 1);

	if (!item)
		return NULL;
	item->ino = ino;
	memcpy(item->name, name, len);
	return item;
}

void notify_inode(struct notify *n, uint64_t ino)
{
	struct item *item = item_new(ino, ""), **bucket = bucket_of(n, ino);

	if (!item)
		return; /* attributes were not cached while this was staged; a new mtime drops the pages */
	pthread_mutex_lock(&n->lock);
	if (n->quit || find_stale(n, ino, true)) {
		free(item);
	} else {
		item->next_stale = *bucket;
		*bucket = item;
		atomic_fetch_add(&n->stale_count, 1);
		enqueue(n, item);
	}
	pthread_mutex_unlock(&n->lock);
}

bool notify_is_stale(struct notify *n, uint64_t ino)
{
	bool stale;

	if (!atomic_load(&n->stale_count))
		return false;
	pthread_mutex_lock(&n->lock);
	stale = find_stale(n, ino, false) != NULL;
	pthread_mutex_unlock(&n->lock);
	return stale;
}

bool notify_names(struct notify *n)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	return fuse_lowlevel_notify_increment_epoch(n->serve->session) == 0;
#else
	(void)n;
	return false;
#endif
}

void notify_entry(struct notify *n, uint64_t dir_ino, const char *name)
{
	struct item *item;

	assert(*name);
	if (notify_names(n))
		return;
	item = item_new(dir_ino, name);
	if (!item)
		return; /* who opens by a name out of date gets ESTALE, and looks it up again */
	pthread_mutex_lock(&n->lock);
	if (n->quit)
		free(item);
	else
		enqueue(n, item);
	pthread_mutex_unlock(&n->lock);
}

/* With the lock held. */
static void plan_housekeeping(struct notify *n)
{
	if (n->housekeeping)
		return;
	n->housekeeping = true;
	n->housekeeping_ms = clock_ms() + HOUSEKEEP_MS;
}

void notify_settling(struct notify *n)
{
	if (atomic_load(&n->settling)) /* what is staged was counted before, and the thread counts after */
		return;
	pthread_mutex_lock(&n->lock);
	n->settle_ms = clock_ms() + SETTLE_MS;
	atomic_store(&n->settling, true);
	pthread_cond_signal(&n->cond);
	pthread_mutex_unlock(&n->lock);
}

void notify_housekeeping(struct notify *n)
{
	pthread_mutex_lock(&n->lock);
	plan_housekeeping(n);
	pthread_cond_signal(&n->cond);
	pthread_mutex_unlock(&n->lock);
}

/* Errors mean that the kernel has nothing cached (ENOENT), or is going away. */
static void tell(struct notify *n, const struct item *item)
{
	if (*item->name)
		fuse_lowlevel_notify_inval_entry(n->serve->session, item->ino, item->name,
						 strlen(item->name));
	else
		fuse_lowlevel_notify_inval_inode(n->serve->session, item->ino, 0, 0);
}

static void forget(struct notify *n, struct item *item)
{
	struct item **link = bucket_of(n, item->ino);

	if (!*item->name) {
		while (*link != item)
			link = &(*link)->next_stale;
		*link = item->next_stale;
		atomic_fetch_sub(&n->stale_count, 1);
	}
	free(item);
}

static bool is_due(bool planned, int64_t at_ms)
{
	return planned && clock_ms() >= at_ms;
}

/* With the lock held: when there is something to do beside the queue. */
static int64_t next_plan(const struct notify *n)
{
	int64_t at_ms = atomic_load(&n->settling) ? n->settle_ms : NEVER_MS;

	return n->housekeeping && n->housekeeping_ms < at_ms ? n->housekeeping_ms : at_ms;
}

/* Waits for an item, and takes it; NULL if there is something else to do. With the lock held. */
static struct item *dequeue(struct notify *n)
{
	int64_t at_ms = next_plan(n);
	struct item *item;

	while (!n->first && !n->quit && clock_ms() < at_ms) {
		clock_wait(&n->cond, &n->lock, at_ms);
		at_ms = next_plan(n);
	}
	item = n->first;
	if (item) {
		item->taken = true;
		n->first = item->next;
		if (!n->first)
			n->end = &n->first;
	}
	return item;
}

/* With the lock held, but for the sweep. */
static void housekeep(struct notify *n)
{
	bool more;

	n->housekeeping = false;
	pthread_mutex_unlock(&n->lock);
	more = n->duties->housekeep(n->serve);
	pthread_mutex_lock(&n->lock);
	if (more)
		plan_housekeeping(n);
}

/* With the lock held, but for the work. Whoever stages something from then on plans anew. */
static void settle(struct notify *n)
{
	bool more;

	atomic_store(&n->settling, false);
	pthread_mutex_unlock(&n->lock);
	more = n->duties->settle(n->serve);
	pthread_mutex_lock(&n->lock);
	if (!more || atomic_load(&n->settling))
		return;
	n->settle_ms = clock_ms() + SETTLE_MS;
	atomic_store(&n->settling, true);
}

static void *run(void *arg)
{
	struct notify *n = arg;
	struct statvfs unused;

	/* A request of our own, which waits until the mount answers. */
	statvfs(n->serve->mountpoint, &unused);
	/* Else none may be cached: a name could lead to a vector that has lost it. */
	if (!notify_names(n) && !n->serve->options.read_only)
		atomic_fetch_add(&n->serve->names_changing, 1);
	n->duties->answering(n->serve);

	pthread_mutex_lock(&n->lock);
	while (!n->quit) {
		struct item *item;

		if (is_due(n->housekeeping, n->housekeeping_ms))
			housekeep(n);
		if (is_due(atomic_load(&n->settling), n->settle_ms))
			settle(n);
		item = dequeue(n);
		if (!item)
			continue;
		pthread_mutex_unlock(&n->lock);
		tell(n, item);
		pthread_mutex_lock(&n->lock);
		forget(n, item);
	}
	pthread_mutex_unlock(&n->lock);
	return NULL;
}

/* Signals are for the main thread, whose waiting they end. */
static int start_thread(struct notify *n)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&n->thread, NULL, run, n);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

struct notify *notify_start(struct mount *s, const struct notify_duties *duties)
{
	struct notify *n = calloc(1, sizeof *n);

	if (!n)
		return NULL;
	n->serve = s;
	n->duties = duties;
	n->end = &n->first;
	pthread_mutex_init(&n->lock, NULL);
	pthread_cond_init(&n->cond, NULL);
	if (start_thread(n)) {
		free(n);
		return NULL;
	}
	return n;
}

void notify_quit(struct notify *n)
{
	pthread_mutex_lock(&n->lock);
	n->quit = true;
	pthread_cond_signal(&n->cond);
	pthread_mutex_unlock(&n->lock);
}

void notify_end(struct notify *n)
{
	pthread_join(n->thread, NULL);
	while (n->first) {
		struct item *item = n->first;

		n->first = item->next;
		forget(n, item);
	}
	pthread_cond_destroy(&n->cond);
	pthread_mutex_destroy(&n->lock);
	free(n);
}
