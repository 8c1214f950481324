/* SPDX-License-Identifier: Apache-2.0 */
#include "moment.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "fs/notify.h"
#include "fs/process.h"
#include "fs/view.h"

#define SECOND_NS INT64_C(1000000000)
#define NESTED_NS SECOND_NS   /* opening one again that is open since so long belongs to the same loading */
#define UNOPENED_NS SECOND_NS /* how long a process may take from lookup to open */
#define CLOSED_NS (10 * SECOND_NS) /* and from closing one view to looking up the other */

struct moment {
	struct moment *next;
	struct vs_moment *m;
	struct vs_moment_info info;
	unsigned refs; /* open views, and the readers whose current moment it is */
};

/* What pairs up: the ids, and the vectors in whichever format. */
enum half { HALF_IDS, HALF_VECTORS, HALF_COUNT };

/* A process that looks at the views of a collection. */
struct reader {
	struct reader *next;
	pid_t process, thread; /* the thread of its last lookup */
	uint32_t collection;
	int64_t seen_ns;
	struct moment *current; /* all below is about it */
	struct {
		bool was_opened;
		unsigned opens;
		int64_t opened_ns; /* the first of them */
	} halves[HALF_COUNT];
};

struct moment_table {
	pthread_mutex_t lock;
	struct moment *moments;
	struct reader *readers;
	atomic_uint reader_count;
};

struct moment_table *moment_table_new(void)
{
	struct moment_table *t = calloc(1, sizeof *t);

	if (t)
		pthread_mutex_init(&t->lock, NULL);
	return t;
}

/* ------------------------------------------------------------------ moments; all with the lock held */

static void unref(struct moment_table *t, struct moment *m)
{
	struct moment **link = &t->moments;

	assert(m->refs > 0);
	if (--m->refs)
		return;
	while (*link != m)
		link = &(*link)->next;
	*link = m->next;
	vs_moment_close(m->m);
	free(m);
}

static struct moment *find(const struct moment_table *t, const struct node *node)
{
	struct moment *m = t->moments;

	while (m && (m->info.collection != node->collection || !node_is_version(node, m->info.version)))
		m = m->next;
	return m;
}

/* The collection as it is now, with a reference. */
static int take_current(struct serve *s, uint32_t collection, struct moment **out)
{
	struct moment_table *t = s->moments;
	struct vs_moment_info info;
	struct vs_moment *opened;
	struct moment *m;
	int rc = vs_moment_open(s->store, collection, &opened);

	if (rc)
		return rc;
	vs_moment_info(opened, &info);
	for (m = t->moments; m; m = m->next)
		if (m->info.collection == collection && m->info.version == info.version)
			break;
	if (m) {
		vs_moment_close(opened);
	} else {
		m = calloc(1, sizeof *m);
		if (!m) {
			vs_moment_close(opened);
			return -ENOMEM;
		}
		*m = (struct moment){.next = t->moments, .m = opened, .info = info};
		t->moments = m;
	}
	m->refs++;
	*out = m;
	return 0;
}

/* The moment that a node's number means, with a reference; -ESTALE if it is gone. */
static int take(struct serve *s, const struct node *node, struct moment **out)
{
	struct moment *m = find(s->moments, node);
	int rc;

	if (m) {
		m->refs++;
		*out = m;
		return 0;
	}
	rc = take_current(s, node->collection, &m);
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	if (!node_is_version(node, m->info.version)) {
		unref(s->moments, m);
		return -ESTALE;
	}
	*out = m;
	return 0;
}

/* ------------------------------------------------------------------ readers; all with the lock held */

static struct reader *find_reader(const struct moment_table *t, pid_t process, uint32_t collection)
{
	struct reader *r = t->readers;

	while (r && (r->process != process || r->collection != collection))
		r = r->next;
	return r;
}

static struct reader *get_reader(struct moment_table *t, pid_t process, uint32_t collection)
{
	struct reader *r = find_reader(t, process, collection);

	if (r || !(r = calloc(1, sizeof *r)))
		return r;
	r->process = process;
	r->collection = collection;
	r->next = t->readers;
	t->readers = r;
	atomic_fetch_add(&t->reader_count, 1);
	return r;
}

/* Makes m (with a reference that it takes over; or NULL) the reader's current moment. */
static void set_current(struct moment_table *t, struct reader *r, struct moment *m)
{
	struct moment *old = r->current;

	*r = (struct reader){.next = r->next,
			     .process = r->process,
			     .thread = r->thread,
			     .collection = r->collection,
			     .seen_ns = r->seen_ns,
			     .current = m};
	if (old)
		unref(t, old);
}

static enum half half_of(const struct node *view)
{
	return node_is_ids(view) ? HALF_IDS : HALF_VECTORS;
}

static bool was_opened(const struct reader *r)
{
	return r->halves[HALF_IDS].was_opened || r->halves[HALF_VECTORS].was_opened;
}

static bool has_open(const struct reader *r)
{
	return r->halves[HALF_IDS].opens || r->halves[HALF_VECTORS].opens;
}

/* Whether a lookup of this half stays with the reader's current moment. */
static bool stays(const struct reader *r, enum half half, int64_t now_ns)
{
	if (!r->current)
		return false;
	if (r->halves[!half].was_opened && !r->halves[half].was_opened)
		return true; /* a lookup alone does not count: the kernel may ask twice for one open(2) */
	return r->halves[half].opens && now_ns - r->halves[half].opened_ns < NESTED_NS;
}

static void free_reader(struct moment_table *t, struct reader **link)
{
	struct reader *r = *link;

	*link = r->next;
	if (r->current)
		unref(t, r->current);
	free(r);
	atomic_fetch_sub(&t->reader_count, 1);
}

/* ------------------------------------------------------------------ the interface */

void moment_table_free(struct moment_table *t)
{
	if (!t)
		return;
	while (t->readers)
		free_reader(t, &t->readers);
	while (t->moments) { /* pinned, or still open when the mount was taken away */
		t->moments->refs = 1;
		unref(t, t->moments);
	}
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* Nothing has changed, but this is a new pair of halves. Takes over the reference. */
static void start_pair(struct moment_table *t, struct reader *r, struct moment *m)
{
	r->halves[HALF_IDS].was_opened = false;
	r->halves[HALF_VECTORS].was_opened = false;
	unref(t, m);
}

static int choose(struct serve *s, pid_t thread, const struct node *view, struct moment **out)
{
	struct moment_table *t = s->moments;
	int64_t now_ns = ops_now_ns();
	struct reader *r = get_reader(t, process_of(thread), view->collection);
	struct moment *m;
	int rc;

	if (!r)
		return -ENOMEM;
	r->thread = thread;
	r->seen_ns = now_ns;
	if (!stays(r, half_of(view), now_ns)) {
		rc = take_current(s, view->collection, &m);
		if (rc)
			return rc;
		if (m == r->current)
			start_pair(t, r, m);
		else
			set_current(t, r, m);
	}
	*out = r->current;
	return 0;
}

int moment_lookup(fuse_req_t req, const struct node *view, struct fuse_entry_param *e)
{
	struct serve *s = ops_serve(req);
	struct node node = {.kind = NODE_MOMENT, .collection = view->collection, .which = view->which};
	struct vs_moment_info info;
	struct moment *m;
	int rc;

	pthread_mutex_lock(&s->moments->lock);
	rc = choose(s, fuse_req_ctx(req)->pid, view, &m);
	if (!rc)
		info = m->info;
	pthread_mutex_unlock(&s->moments->lock);
	if (rc)
		return rc;
	notify_housekeeping(s->notify);
	if (!node_is_ids(view) && info.row_bytes == 0)
		return -ENOENT;
	node.entry = info.version;
	e->ino = node_ino(&node);
	e->attr_timeout = ops_timeout_s(s); /* a version's size does not change */
	return view_attr(s, view, &info, &e->attr);
}

int moment_open(struct serve *s, const struct node *node, pid_t process, struct moment **out)
{
	struct moment_table *t = s->moments;
	struct reader *r;
	int rc;

	pthread_mutex_lock(&t->lock);
	rc = take(s, node, out);
	r = rc ? NULL : get_reader(t, process, node->collection);
	if (r) {
		r->seen_ns = ops_now_ns();
		if (r->current != *out) {
			(*out)->refs++;
			set_current(t, r, *out);
		}
		r->halves[half_of(node)].was_opened = true;
		if (r->halves[half_of(node)].opens++ == 0)
			r->halves[half_of(node)].opened_ns = r->seen_ns;
	}
	pthread_mutex_unlock(&t->lock);
	return rc;
}

void moment_leave(struct serve *s, const struct node *node, pid_t process, const struct moment *m)
{
	struct moment_table *t = s->moments;
	struct reader *r;

	pthread_mutex_lock(&t->lock);
	r = find_reader(t, process, node->collection);
	if (r && r->current == m && r->halves[half_of(node)].opens) {
		r->halves[half_of(node)].opens--;
		r->seen_ns = ops_now_ns();
	}
	pthread_mutex_unlock(&t->lock);
	notify_housekeeping(s->notify);
}

void moment_close(struct serve *s, struct moment *m)
{
	pthread_mutex_lock(&s->moments->lock);
	unref(s->moments, m);
	pthread_mutex_unlock(&s->moments->lock);
}

int moment_pin(struct serve *s, const struct node *node, struct moment **out)
{
	int rc = 0;

	assert(s->stateless);
	pthread_mutex_lock(&s->moments->lock);
	*out = find(s->moments, node);
	if (!*out)
		rc = take(s, node, out); /* the reference is never given back */
	pthread_mutex_unlock(&s->moments->lock);
	return rc;
}

int moment_find(struct serve *s, const struct node *node, struct vs_moment_info *info)
{
	struct moment *m;
	int rc;

	pthread_mutex_lock(&s->moments->lock);
	rc = take(s, node, &m);
	if (!rc) {
		*info = m->info;
		unref(s->moments, m);
	}
	pthread_mutex_unlock(&s->moments->lock);
	return rc;
}

struct vs_moment *moment_of(const struct moment *m)
{
	return m->m;
}

void moment_changed(struct serve *s, uint32_t collection, pid_t thread)
{
	struct moment_table *t = s->moments;

	if (!atomic_load_explicit(&t->reader_count, memory_order_relaxed))
		return;
	pthread_mutex_lock(&t->lock);
	for (struct reader *r = t->readers; r; r = r->next)
		if (r->collection == collection && r->thread == thread && !has_open(r))
			set_current(t, r, NULL);
	pthread_mutex_unlock(&t->lock);
}

bool moment_sweep(struct serve *s)
{
	struct moment_table *t = s->moments;
	int64_t now_ns = ops_now_ns();
	bool more = false;

	pthread_mutex_lock(&t->lock);
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
	pthread_mutex_unlock(&t->lock);
	return more;
}
