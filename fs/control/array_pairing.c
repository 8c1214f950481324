/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/array_pairing.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "fs/request/invalidate.h"
#include "fs/request/process.h"
#include "fs/control/array_file.h"
#include "store/base/clock.h"

#define SECOND_NS INT64_C(1000000000)
#define NESTED_NS SECOND_NS   /* opening one again that is open since so long belongs to the same loading */
#define UNOPENED_NS SECOND_NS /* how long a process may take from lookup to open */
#define CLOSED_NS (10 * SECOND_NS) /* and from closing one array to looking up the other */

struct pairing {
	struct pairing *next;
	struct vs_snapshot *m;
	struct vs_snapshot_info info;
	unsigned refs; /* open arrays, and the readers whose current version it is */
};

/* What belongs together: the ids, the rows' metadata, the vectors in whichever format, and of whichever view
 * the codes and what they stand for. */
enum part { PART_IDS, PART_VECTORS, PART_ROWS, PART_CODES, PART_DECODED, PART_COUNT };

/*
 * A process that looks at the arrays of a collection. One that cannot be told from others (PROCESS_UNKNOWN)
 * is never found again: it only keeps the version of a lookup until that can be opened.
 */
struct reader {
	struct reader *next;
	process_t process;
	pid_t thread; /* of its last lookup */
	uint32_t collection;
	int64_t seen_ns;
	struct pairing *current; /* all below is about it */
	struct {
		bool was_opened;
		unsigned opens;
		int64_t inode_ns; /* the first of them */
	} parts[PART_COUNT];
};

struct pairing_table {
	pthread_mutex_t lock; /* never held across a call of the engine, which may wait for the log */
	struct pairing *pairings;
	struct pairing *unused; /* taken out, to be closed by unlock() */
	struct reader *readers;
	atomic_uint reader_count;
};

struct pairing_table *pairing_table_new(void)
{
	struct pairing_table *t = calloc(1, sizeof *t);

	if (t)
		pthread_mutex_init(&t->lock, NULL);
	return t;
}

static void lock(struct pairing_table *t)
{
	pthread_mutex_lock(&t->lock);
}

/* Closes what has come out of use meanwhile, when the lock is no longer held. */
static void unlock(struct pairing_table *t)
{
	struct pairing *unused = t->unused;

	t->unused = NULL;
	pthread_mutex_unlock(&t->lock);
	while (unused) {
		struct pairing *m = unused;

		unused = m->next;
		vs_snapshot_close(m->m);
		free(m);
	}
}

/* ------------------------------------------------------------------ pairings; all with the lock held */

static void discard(struct pairing_table *t, struct pairing *m)
{
	m->next = t->unused;
	t->unused = m;
}

static void unref(struct pairing_table *t, struct pairing *m)
{
	struct pairing **link = &t->pairings;

	assert(m->refs > 0);
	if (--m->refs)
		return;
	while (*link != m)
		link = &(*link)->next;
	*link = m->next;
	discard(t, m);
}

static struct pairing *find(const struct pairing_table *t, const struct node *node)
{
	struct pairing *m = t->pairings;

	while (m && (m->info.collection != node->collection || !node_is_version(node, m->info.version)))
		m = m->next;
	return m;
}

/* Puts one that has just been opened into the table, or finds that of the same version there; with a
 * reference. */
static struct pairing *enter(struct pairing_table *t, struct pairing *opened)
{
	struct pairing *m = t->pairings;

	while (m &&
	       (m->info.collection != opened->info.collection || m->info.version != opened->info.version))
		m = m->next;
	if (m) {
		discard(t, opened);
	} else {
		m = opened;
		m->next = t->pairings;
		t->pairings = m;
	}
	m->refs++;
	return m;
}

/* The collection as it is now, in no table yet. Gives up the lock meanwhile. */
static int open_current(struct mount *s, uint32_t collection, struct pairing **out)
{
	struct pairing *m = calloc(1, sizeof *m);
	int rc;

	if (!m)
		return -ENOMEM;
	unlock(s->pairings);
	rc = vs_snapshot_open(s->store, collection, &m->m);
	if (rc)
		free(m);
	else
		vs_snapshot_info(m->m, &m->info);
	lock(s->pairings);
	*out = rc ? NULL : m;
	return rc;
}

/* The version that a node's number means, with a reference; -ESTALE if it is gone. May give up the lock
 * meanwhile. */
static int take(struct mount *s, const struct node *node, struct pairing **out)
{
	struct pairing *m = find(s->pairings, node);
	int rc;

	if (m) {
		m->refs++;
		*out = m;
		return 0;
	}
	rc = open_current(s, node->collection, &m);
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	if (!node_is_version(node, m->info.version)) {
		discard(s->pairings, m);
		return -ESTALE;
	}
	*out = enter(s->pairings, m);
	return 0;
}

/* ------------------------------------------------------------------ readers; all with the lock held */

static struct reader *find_reader(const struct pairing_table *t, process_t process, uint32_t collection)
{
	struct reader *r = process == PROCESS_UNKNOWN ? NULL : t->readers;

	while (r && (r->process != process || r->collection != collection))
		r = r->next;
	return r;
}

static struct reader *add_reader(struct pairing_table *t, process_t process, uint32_t collection)
{
	struct reader *r = calloc(1, sizeof *r);

	if (!r)
		return NULL;
	r->process = process;
	r->collection = collection;
	r->next = t->readers;
	t->readers = r;
	atomic_fetch_add(&t->reader_count, 1);
	return r;
}

static struct reader *get_reader(struct pairing_table *t, process_t process, uint32_t collection)
{
	struct reader *r = find_reader(t, process, collection);

	return r ? r : add_reader(t, process, collection);
}

/* Makes m (with a reference that it takes over; or NULL) the reader's current version. */
static void set_current(struct pairing_table *t, struct reader *r, struct pairing *m)
{
	struct pairing *old = r->current;

	*r = (struct reader){.next = r->next,
			     .process = r->process,
			     .thread = r->thread,
			     .collection = r->collection,
			     .seen_ns = r->seen_ns,
			     .current = m};
	if (old)
		unref(t, old);
}

static enum part part_of(const struct node *array)
{
	if (array->which == NODE_ARRAY_ROWS)
		return PART_ROWS;
	if (array->which == NODE_ARRAY_CODES)
		return PART_CODES;
	if (array->which == NODE_ARRAY_DECODED)
		return PART_DECODED;
	return node_is_ids(array) ? PART_IDS : PART_VECTORS;
}

static bool was_opened(const struct reader *r)
{
	bool was = false;

	for (int i = 0; i < PART_COUNT; i++)
		was |= r->parts[i].was_opened;
	return was;
}

static bool has_open(const struct reader *r)
{
	unsigned opens = 0;

	for (int i = 0; i < PART_COUNT; i++)
		opens += r->parts[i].opens;
	return opens > 0;
}

/* Whether a lookup of this part stays with the reader's current version. */
static bool stays(const struct reader *r, enum part part, int64_t now_ns)
{
	if (!r->current)
		return false;
	if (was_opened(r) && !r->parts[part].was_opened)
		return true; /* a lookup alone does not count: the kernel may ask twice for one open(2) */
	return r->parts[part].opens && now_ns - r->parts[part].inode_ns < NESTED_NS;
}

static void free_reader(struct pairing_table *t, struct reader **link)
{
	struct reader *r = *link;

	*link = r->next;
	if (r->current)
		unref(t, r->current);
	free(r);
	atomic_fetch_sub(&t->reader_count, 1);
}

/* ------------------------------------------------------------------ the interface */

void pairing_table_free(struct pairing_table *t)
{
	if (!t)
		return;
	while (t->readers)
		free_reader(t, &t->readers);
	while (t->pairings) { /* pinned, or still open when the mount was taken away */
		t->pairings->refs = 1;
		unref(t, t->pairings);
	}
	lock(t);
	unlock(t);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* Nothing has changed, but parts are opened anew. Takes over the reference. */
static void start_pair(struct pairing_table *t, struct reader *r, struct pairing *m)
{
	for (int i = 0; i < PART_COUNT; i++)
		r->parts[i].was_opened = false;
	unref(t, m);
}

/* For a stranger: m (with a reference that it takes over) lives until he has had the time to open it. */
static int keep_for_stranger(struct pairing_table *t, struct pairing *m)
{
	struct reader *r = t->readers;

	while (r && (r->process != PROCESS_UNKNOWN || r->current != m))
		r = r->next;
	if (r) {
		unref(t, m);
	} else {
		r = add_reader(t, PROCESS_UNKNOWN, m->info.collection);
		if (!r) {
			unref(t, m);
			return -ENOMEM;
		}
		r->current = m;
	}
	r->seen_ns = clock_ns();
	return 0;
}

/* Makes m (with a reference that it takes over) the one that a process sees, unless it stays with its own. */
static int keep_for_process(struct pairing_table *t, process_t process, pid_t thread, enum part part,
			    struct pairing *m)
{
	struct reader *r = get_reader(t, process, m->info.collection);

	if (!r) {
		unref(t, m);
		return -ENOMEM;
	}
	r->thread = thread;
	r->seen_ns = clock_ns();
	if (stays(r, part, r->seen_ns)) /* another thread of the process has been quicker */
		unref(t, m);
	else if (m == r->current)
		start_pair(t, r, m);
	else
		set_current(t, r, m);
	return 0;
}

/* With the lock held, which it may give up meanwhile. */
static int choose(struct mount *s, process_t process, pid_t thread, const struct node *array,
		  struct vs_snapshot_info *info)
{
	struct pairing_table *t = s->pairings;
	struct reader *r = find_reader(t, process, array->collection);
	struct pairing *m;
	int rc;

	if (r && stays(r, part_of(array), clock_ns())) {
		r->thread = thread;
		r->seen_ns = clock_ns();
		*info = r->current->info;
		return 0;
	}
	rc = open_current(s, array->collection, &m);
	if (rc)
		return rc;
	m = enter(t, m);
	if (process == PROCESS_UNKNOWN) {
		*info = m->info;
		return keep_for_stranger(t, m);
	}
	rc = keep_for_process(t, process, thread, part_of(array), m);
	if (!rc)
		*info = find_reader(t, process, array->collection)->current->info;
	return rc;
}

/* A durable snapshot has one version, whoever asks and when: there is nothing to pair. */
static bool is_frozen(struct mount *s, uint32_t collection)
{
	struct vs_collection_info info;

	return !vs_collection_get(s->store, collection, &info) && info.frozen;
}

static int look_at_only_version(struct mount *s, uint32_t collection, struct vs_snapshot_info *out)
{
	struct vs_snapshot *m;
	int rc = vs_snapshot_open(s->store, collection, &m);

	if (rc)
		return rc;
	vs_snapshot_info(m, out);
	vs_snapshot_close(m);
	return 0;
}

int pairing_choose(fuse_req_t req, uint32_t collection, enum node_array array, struct vs_snapshot_info *out)
{
	struct mount *s = ops_serve(req);
	struct node node = {.kind = NODE_ARRAY, .collection = collection, .which = array};
	pid_t thread = fuse_req_ctx(req)->pid;
	process_t process = process_of(thread);
	int rc;

	if (is_frozen(s, collection))
		return look_at_only_version(s, collection, out);
	lock(s->pairings);
	rc = choose(s, process, thread, &node, out);
	unlock(s->pairings);
	if (!rc)
		notify_housekeeping(s->notify);
	return rc;
}

int pairing_lookup(fuse_req_t req, const struct node *array, struct fuse_entry_param *e)
{
	struct mount *s = ops_serve(req);
	struct node node = {.kind = NODE_MOMENT, .collection = array->collection, .which = array->which};
	struct vs_snapshot_info info;
	int rc = pairing_choose(req, array->collection, (enum node_array)array->which, &info);

	if (rc)
		return rc;
	if (part_of(array) == PART_VECTORS && info.row_bytes == 0)
		return -ENOENT;
	node.entry = info.version;
	e->ino = node_ino(&node);
	e->attr_timeout = ops_timeout_s(s); /* a version's size does not change */
	return array_attr(s, array, &info, &e->attr);
}

int pairing_open(struct mount *s, const struct node *node, process_t process, struct pairing **out)
{
	struct pairing_table *t = s->pairings;
	struct reader *r;
	int rc;

	if (is_frozen(s, node->collection))
		process = PROCESS_UNKNOWN;
	lock(t);
	rc = take(s, node, out);
	r = rc || process == PROCESS_UNKNOWN ? NULL : get_reader(t, process, node->collection);
	if (r) {
		r->seen_ns = clock_ns();
		if (r->current != *out) {
			(*out)->refs++;
			set_current(t, r, *out);
		}
		r->parts[part_of(node)].was_opened = true;
		if (r->parts[part_of(node)].opens++ == 0)
			r->parts[part_of(node)].inode_ns = r->seen_ns;
	}
	unlock(t);
	return rc;
}

void pairing_leave(struct mount *s, const struct node *node, process_t process, const struct pairing *m)
{
	struct pairing_table *t = s->pairings;
	struct reader *r;

	lock(t);
	r = find_reader(t, process, node->collection);
	if (r && r->current == m && r->parts[part_of(node)].opens) {
		r->parts[part_of(node)].opens--;
		r->seen_ns = clock_ns();
	}
	unlock(t);
	notify_housekeeping(s->notify);
}

void pairing_close(struct mount *s, struct pairing *m)
{
	lock(s->pairings);
	unref(s->pairings, m);
	unlock(s->pairings);
}

int pairing_pin(struct mount *s, const struct node *node, struct pairing **out)
{
	int rc = 0;

	assert(s->stateless);
	lock(s->pairings);
	*out = find(s->pairings, node);
	if (!*out)
		rc = take(s, node, out); /* the reference is never given back */
	unlock(s->pairings);
	return rc;
}

int pairing_find(struct mount *s, const struct node *node, struct vs_snapshot_info *info)
{
	struct pairing *m;
	int rc;

	lock(s->pairings);
	rc = take(s, node, &m);
	if (!rc) {
		*info = m->info;
		unref(s->pairings, m);
	}
	unlock(s->pairings);
	return rc;
}

struct vs_snapshot *pairing_of(const struct pairing *m)
{
	return m->m;
}

void pairing_changed(struct mount *s, uint32_t collection, pid_t thread)
{
	struct pairing_table *t = s->pairings;

	if (!atomic_load_explicit(&t->reader_count, memory_order_relaxed) || thread == 0)
		return;
	lock(t);
	for (struct reader *r = t->readers; r; r = r->next)
		if (r->collection == collection && r->thread == thread && !has_open(r))
			set_current(t, r, NULL);
	unlock(t);
}

bool pairing_sweep(struct mount *s)
{
	struct pairing_table *t = s->pairings;
	int64_t now_ns = clock_ns();
	bool more = false;

	lock(t);
	for (struct reader **link = &t->readers; *link;) {
		struct reader *r = *link;
		bool idle = !has_open(r);

		if (idle && now_ns - r->seen_ns > (was_opened(r) ? CLOSED_NS : UNOPENED_NS)) {
			free_reader(t, link);
			continue;
		}
		more |= idle;
		link = &r->next;
	}
	unlock(t);
	return more;
}
