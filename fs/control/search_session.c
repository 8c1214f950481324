/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/answer.h"
#include "fs/control/control.h"
#include "fs/control/query_array.h"
#include "fs/control/session_parts.h"
#include "fs/request/listing.h"
#include "store/base/clock.h"

#define IDLE_NS INT64_C(60000000000)

/* ------------------------------------------------------------------ memory */

struct session_bytes *session_bytes_new(struct session_table *t, size_t size)
{
	struct session_bytes *b = NULL;

	if (atomic_fetch_add(&t->bytes, size) + size <= SESSION_BYTES_MAX)
		b = malloc(sizeof *b + size);
	if (!b) {
		atomic_fetch_sub(&t->bytes, size);
		return NULL;
	}
	atomic_init(&b->refs, 1);
	b->size = b->capacity = size;
	return b;
}

void session_bytes_put(struct session_table *t, struct session_bytes *b)
{
	if (!b || atomic_fetch_sub(&b->refs, 1) != 1)
		return;
	atomic_fetch_sub(&t->bytes, b->capacity);
	free(b);
}

struct session_bytes *session_bytes_get(struct session_bytes *b)
{
	if (b)
		atomic_fetch_add(&b->refs, 1);
	return b;
}

/* ------------------------------------------------------------------ the table */

struct session_table *session_table_new(void)
{
	struct session_table *t = calloc(1, sizeof *t);

	if (t)
		pthread_mutex_init(&t->lock, NULL);
	return t;
}

static void session_free(struct session_table *t, struct session *s)
{
	for (unsigned i = 0; i < FILES_MAX; i++)
		session_bytes_put(t, s->files[i]);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void session_table_free(struct session_table *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		if (t->sessions[i])
			session_free(t, t->sessions[i]);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* With the table's lock. */
static struct session **place_of(struct session_table *t, uint32_t collection, const char *name)
{
	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		struct session *s = t->sessions[i];

		if (s && s->collection == collection && !strcmp(s->name, name))
			return &t->sessions[i];
	}
	return NULL;
}

void session_put(struct session_table *t, struct session *s)
{
	bool is_last;

	pthread_mutex_lock(&t->lock);
	is_last = !--s->users;
	pthread_mutex_unlock(&t->lock);
	if (is_last)
		session_free(t, s);
}

/* The session of a node, for use until session_put; NULL if it has ended. */
struct session *session_get(struct session_table *t, uint64_t n)
{
	struct session *found = NULL;

	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < SESSIONS_MAX && !found; i++)
		if (t->sessions[i] && t->sessions[i]->n == n)
			found = t->sessions[i];
	if (found) {
		found->users++;
		found->used_ns = clock_ns();
	}
	pthread_mutex_unlock(&t->lock);
	return found;
}

/* A free place, or that of the session that was idle the longest, which is handed out; nobody is at one. With
 * the table's lock.
 */
static struct session **place_for(struct session_table *t, struct session **idle)
{
	struct session **oldest = NULL;

	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		struct session **place = &t->sessions[i];

		if (!*place)
			return place;
		if ((*place)->users == 1 && (!oldest || (*place)->used_ns < (*oldest)->used_ns))
			oldest = place;
	}
	if (!oldest || (*oldest)->used_ns > clock_ns() - IDLE_NS)
		return NULL;
	*idle = *oldest;
	return oldest;
}

static int make(struct session_table *t, uint32_t collection, const struct create_args *create, uint64_t *n)
{
	struct session *made = calloc(1, sizeof *made), **place, *idle = NULL;
	int rc = 0;

	if (!made)
		return -ENOMEM;
	pthread_mutex_init(&made->lock, NULL);
	made->users = 1; /* the table's */
	made->collection = collection;
	made->perm = create->perm;
	made->used_ns = clock_ns();
	made->changed = vs_time_now();
	strcpy(made->name, create->name);
	pthread_mutex_lock(&t->lock);
	if (place_of(t, collection, create->name))
		rc = -EEXIST;
	place = rc ? NULL : place_for(t, &idle);
	if (!rc && !place)
		rc = -EDQUOT;
	if (!rc) {
		made->n = *n = ++t->last;
		*place = made;
	}
	pthread_mutex_unlock(&t->lock);
	if (rc)
		session_free(t, made);
	if (idle)
		session_put(t, idle);
	return rc;
}

/* ------------------------------------------------------------------ what is in a session */

static const char *const result_names[FILE_LISTS] = {
	[FILE_PARAMS] = "params",     [FILE_ROWS] = "rows.npy",    [FILE_DISTANCES] = "distances.npy",
	[FILE_NAMES] = "names",       [FILE_JSON] = "result.json", [FILE_STATS] = "stats",
	[FILE_PROGRESS] = "progress",
};

static const char *name_of(const struct session *s, unsigned file)
{
	if (file == FILE_QUERIES)
		return s->queries_name;
	return file < FILE_LISTS ? result_names[file] : s->list_names[file - FILE_LISTS];
}

/* The file of this name that is there; -1 if none. With the session's lock. */
int session_find_file(const struct session *s, const char *name)
{
	for (unsigned i = 0; i < FILES_MAX; i++)
		if (s->files[i] && !strcmp(name_of(s, i), name))
			return (int)i;
	return -1;
}

static bool is_queries_name(const char *name)
{
	enum array_format format;
	enum vs_dtype dtype;

	return !strncmp(name, "queries.", 8) && strlen(name) < sizeof((struct session *)0)->queries_name &&
	       !array_format_of_name(name, &format, &dtype);
}

/* The number that a file of this name gets; -EACCES for a result's name, -EDQUOT if there are lists enough.
 */
static int number_for(struct session *s, const char *name)
{
	if (!strcmp(name, result_names[FILE_PARAMS]))
		return FILE_PARAMS;
	if (is_queries_name(name))
		return FILE_QUERIES;
	for (int i = FILE_ROWS; i < FILE_LISTS; i++)
		if (!strcmp(name, result_names[i]))
			return -EACCES;
	for (unsigned i = FILE_LISTS; i < FILES_MAX; i++) {
		if (s->files[i])
			continue;
		snprintf(s->list_names[i - FILE_LISTS], sizeof *s->list_names, "%s", name);
		return (int)i;
	}
	return -EDQUOT;
}

/* ------------------------------------------------------------------ search/ */

static int search_entry(struct mount *serve, const struct session *s, struct fuse_entry_param *e)
{
	struct node node = {.kind = NODE_SESSION, .collection = s->collection, .entry = s->n};

	return ops_entry(serve, &node, 0, e);
}

static int search_lookup(fuse_req_t req, const struct node *dir, const char *name, struct fuse_entry_param *e)
{
	struct mount *serve = ops_serve(req);
	struct node node = {.kind = NODE_QUERY, .collection = dir->collection};
	struct session **place;
	uint64_t n;

	if (!strcmp(name, "query"))
		return ops_entry(serve, &node, ops_timeout_s(serve), e);
	pthread_mutex_lock(&serve->sessions->lock);
	place = place_of(serve->sessions, dir->collection, name);
	n = place ? (*place)->n : 0;
	pthread_mutex_unlock(&serve->sessions->lock);
	node = (struct node){.kind = NODE_SESSION, .collection = dir->collection, .entry = n};
	return n ? ops_entry(serve, &node, 0, e) : -ENOENT;
}

static ssize_t search_list(fuse_req_t req, const struct node *dir, char *buf, size_t size, off_t off,
			   bool plus)
{
	struct session_table *t = ops_serve(req)->sessions;
	struct listing l = {.req = req, .buf = buf, .size = size, .plus = plus};
	struct node node = {.kind = NODE_QUERY, .collection = dir->collection};
	bool has_room = listing_dots(&l, node_ino(dir), control_parent_ino(dir), off);

	if (has_room && off <= LISTING_DOTS)
		has_room = listing_add_bare(&l, "query", node_ino(&node), S_IFREG, LISTING_DOTS + 1);
	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < SESSIONS_MAX && has_room; i++) {
		const struct session *s = t->sessions[i];

		if (!s || s->collection != dir->collection || off >= LISTING_DOTS + 2 + (off_t)i)
			continue;
		node = (struct node){.kind = NODE_SESSION, .collection = s->collection, .entry = s->n};
		has_room =
			listing_add_bare(&l, s->name, node_ino(&node), S_IFDIR, LISTING_DOTS + 2 + (off_t)i);
	}
	pthread_mutex_unlock(&t->lock);
	return (ssize_t)l.used;
}

static int search_mkdir(fuse_req_t req, const struct node *dir, const struct create_args *create,
			struct fuse_entry_param *e)
{
	struct mount *serve = ops_serve(req);
	struct session *s;
	uint64_t n = 0;
	int rc = vs_name_check(create->name, strlen(create->name));

	if (!rc && !strcmp(create->name, "query"))
		rc = -EEXIST;
	if (!rc)
		rc = make(serve->sessions, dir->collection, create, &n);
	if (rc)
		return rc;
	s = session_get(serve->sessions, n);
	if (!s)
		return -ESTALE;
	rc = search_entry(serve, s, e);
	session_put(serve->sessions, s);
	return rc;
}

static int search_rmdir(fuse_req_t req, const struct node *dir, const char *name)
{
	struct session_table *t = ops_serve(req)->sessions;
	struct session *s = NULL, **place;

	pthread_mutex_lock(&t->lock);
	place = place_of(t, dir->collection, name);
	if (place) {
		s = *place;
		*place = NULL;
	}
	pthread_mutex_unlock(&t->lock);
	if (!s)
		return -ENOENT;
	session_put(t, s);
	return 0;
}

const struct node_ops dir_search_ops = {
	.lookup = search_lookup,
	.list = search_list,
	.mkdir = search_mkdir,
	.rmdir = search_rmdir,
	.attr = control_attr,
};

/* ------------------------------------------------------------------ search/S/ */

/* Whoever looks at a session waits for its search, or makes it. What is written is not looked at. */
bool session_is_long(struct mount *serve, const struct node *node, size_t data_size)
{
	if (node->kind == NODE_SESSION_FILE && (node->entry & ((1u << FILE_BITS) - 1)) == FILE_PROGRESS)
		return false;
	return (node->kind == NODE_SESSION || !data_size) && answer_is_long(serve, node->collection, 1);
}

static int session_attr(struct mount *serve, const struct node *node, struct stat *st, double *timeout_s)
{
	struct session *s = session_get(serve->sessions, node->entry);

	if (!s)
		return -ESTALE;
	node_stat(node_ino(node), S_IFDIR | 0700, &s->perm, s->changed, s->changed, 0, st);
	st->st_mode = S_IFDIR | 0700;
	*timeout_s = 0;
	session_put(serve->sessions, s);
	return 0;
}

static struct node file_node(const struct session *s, int file)
{
	return (struct node){.kind = NODE_SESSION_FILE,
			     .collection = s->collection,
			     .entry = s->n << FILE_BITS | (unsigned)file};
}

static int session_lookup(fuse_req_t req, const struct node *dir, const char *name,
			  struct fuse_entry_param *e)
{
	struct mount *serve = ops_serve(req);
	struct session *s = session_get(serve->sessions, dir->entry);
	struct node node;
	int rc = 0, file;

	if (!s)
		return -ESTALE;
	if (!strcmp(name, result_names[FILE_PROGRESS])) {
		file = FILE_PROGRESS;
	} else {
		pthread_mutex_lock(&s->lock);
		for (file = FILE_ROWS; file <= FILE_STATS && !rc; file++)
			if (!strcmp(name, result_names[file]))
				rc = session_bring_up(serve, req, s);
		file = rc ? -1 : session_find_file(s, name);
		pthread_mutex_unlock(&s->lock);
	}
	node = file_node(s, file < 0 ? 0 : file);
	session_put(serve->sessions, s);
	if (rc)
		return rc;
	return file < 0 ? -ENOENT : ops_entry(serve, &node, 0, e);
}

static ssize_t session_list(fuse_req_t req, const struct node *dir, char *buf, size_t size, off_t off,
			    bool plus)
{
	struct mount *serve = ops_serve(req);
	struct listing l = {.req = req, .buf = buf, .size = size, .plus = plus};
	struct node search = {.kind = NODE_SEARCH, .collection = dir->collection};
	struct session *s = session_get(serve->sessions, dir->entry);
	bool has_room = s && listing_dots(&l, node_ino(dir), node_ino(&search), off);

	if (!s)
		return -ESTALE;
	pthread_mutex_lock(&s->lock);
	session_bring_up(serve, req, s);
	for (int i = 0; i < (int)FILES_MAX && has_room; i++) {
		struct node node = file_node(s, i);

		if (s->files[i] && off < LISTING_DOTS + 1 + i)
			has_room = listing_add_bare(&l, name_of(s, (unsigned)i), node_ino(&node), S_IFREG,
						    LISTING_DOTS + 1 + i);
	}
	pthread_mutex_unlock(&s->lock);
	session_put(serve->sessions, s);
	return (ssize_t)l.used;
}

static int session_create(fuse_req_t req, const struct node *dir, const struct create_args *create,
			  struct fuse_entry_param *e, struct fuse_file_info *fi)
{
	struct mount *serve = ops_serve(req);
	struct session *s = session_get(serve->sessions, dir->entry);
	int file, rc = 0;

	if (!s)
		return -ESTALE;
	pthread_mutex_lock(&s->lock);
	file = session_find_file(s, create->name);
	if (file >= 0 && create->flags & O_EXCL)
		rc = -EEXIST;
	if (!rc && file < 0) {
		file = number_for(s, create->name);
		rc = file < 0 ? file : session_start_empty(serve->sessions, s, (enum session_part)file);
		if (!rc && file == FILE_QUERIES) /* one file, whatever its format: the last one made counts */
			snprintf(s->queries_name, sizeof s->queries_name, "%s", create->name);
	}
	pthread_mutex_unlock(&s->lock);
	if (!rc)
		rc = session_file_begin(serve, s, (enum session_part)file, fi);
	if (!rc) {
		struct node node = file_node(s, file);

		rc = ops_entry(serve, &node, 0, e);
		if (rc) /* nobody will release what nobody has been told is open */
			session_file_release(serve, &node, fi);
	}
	session_put(serve->sessions, s);
	return rc;
}

static int session_unlink(fuse_req_t req, const struct node *dir, const char *name)
{
	struct mount *serve = ops_serve(req);
	struct session *s = session_get(serve->sessions, dir->entry);
	int file;

	if (!s)
		return -ESTALE;
	pthread_mutex_lock(&s->lock);
	file = session_find_file(s, name);
	if (file >= 0 &&
	    !session_part_is_result((enum session_part)file)) { /* results go with what they are of */
		session_bytes_put(serve->sessions, s->files[file]);
		s->files[file] = NULL;
		session_change(serve->sessions, s);
	}
	pthread_mutex_unlock(&s->lock);
	session_put(serve->sessions, s);
	return file < 0 ? -ENOENT : 0;
}

const struct node_ops dir_session_ops = {
	.is_long = session_is_long,
	.lookup = session_lookup,
	.list = session_list,
	.create = session_create,
	.unlink = session_unlink,
	.attr = session_attr,
};
