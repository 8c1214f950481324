/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/search_session.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/answer.h"
#include "fs/control/control.h"
#include "fs/inode/open_files.h"
#include "fs/request/listing.h"
#include "fs/request/message.h"
#include "fs/control/query_array.h"
#include "store/base/clock.h"
#include "store/base/idlist.h"

#define IDLE_NS INT64_C(60000000000)
#define WHY_BYTES 512

/* The files of a session by number; lists follow. */
enum file {
	FILE_PARAMS,
	FILE_QUERIES,
	FILE_ROWS,
	FILE_DISTANCES,
	FILE_NAMES,
	FILE_JSON,
	FILE_STATS,
	FILE_LISTS
};
#define LISTS_MAX 16u
#define FILES_MAX (FILE_LISTS + LISTS_MAX)
#define FILE_BITS 5u
_Static_assert(FILES_MAX <= 1u << FILE_BITS, "a file's number fits beside its session's");

/* Bytes that readers may go on reading when they have been replaced. */
struct bytes {
	atomic_uint refs;
	size_t size, capacity; /* the second is what is accounted for */
	char data[];
};

struct session {
	uint64_t n;     /* its number, never used again */
	unsigned users; /* with the table's lock */
	uint32_t collection;
	struct vs_perm perm;
	char name[VS_NAME_MAX + 1];
	int64_t used_ns;
	vs_time changed;
	pthread_mutex_t lock;           /* of all that follows; held while it searches */
	struct bytes *files[FILES_MAX]; /* NULL: not there */
	char list_names[LISTS_MAX][VS_NAME_MAX + 1];
	char queries_name[32];
	bool is_answered; /* the results are those of what was written */
	int answer_rc;
};

struct session_table {
	pthread_mutex_t lock;
	struct session *sessions[SESSIONS_MAX];
	uint64_t last;
	_Atomic uint64_t bytes;
};

struct session_file {
	struct open_file open_file;
	struct session *session;
	enum file file;
	pthread_mutex_t lock;
	bool is_changed;
	struct bytes *bytes; /* what is read, or has been written */
};

/* ------------------------------------------------------------------ memory */

static struct bytes *bytes_new(struct session_table *t, size_t size)
{
	struct bytes *b = NULL;

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

static void bytes_put(struct session_table *t, struct bytes *b)
{
	if (!b || atomic_fetch_sub(&b->refs, 1) != 1)
		return;
	atomic_fetch_sub(&t->bytes, b->capacity);
	free(b);
}

static struct bytes *bytes_get(struct bytes *b)
{
	if (b)
		atomic_fetch_add(&b->refs, 1);
	return b;
}

/* Takes over malloc'ed text. */
static struct bytes *bytes_of_text(struct session_table *t, char *text, size_t size)
{
	struct bytes *b = bytes_new(t, size);

	if (b)
		memcpy(b->data, text, size);
	free(text);
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
		bytes_put(t, s->files[i]);
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

static void session_put(struct session_table *t, struct session *s)
{
	bool is_last;

	pthread_mutex_lock(&t->lock);
	is_last = !--s->users;
	pthread_mutex_unlock(&t->lock);
	if (is_last)
		session_free(t, s);
}

/* The session of a node, for use until session_put; NULL if it has ended. */
static struct session *session_get(struct session_table *t, uint64_t n)
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

/* A free place, or that of the session that was idle the longest, which is handed out. With the table's lock.
 */
static struct session **place_for(struct session_table *t, struct session **idle)
{
	struct session **oldest = NULL;

	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		struct session **place = &t->sessions[i];

		if (!*place)
			return place;
		if (!oldest || (*place)->used_ns < (*oldest)->used_ns)
			oldest = place;
	}
	if ((*oldest)->used_ns > clock_ns() - IDLE_NS)
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
	[FILE_PARAMS] = "params", [FILE_ROWS] = "rows.npy",    [FILE_DISTANCES] = "distances.npy",
	[FILE_NAMES] = "names",   [FILE_JSON] = "result.json", [FILE_STATS] = "stats",
};

static bool is_result(enum file file)
{
	return file >= FILE_ROWS && file <= FILE_STATS;
}

static const char *name_of(const struct session *s, unsigned file)
{
	if (file == FILE_QUERIES)
		return s->queries_name;
	return file < FILE_LISTS ? result_names[file] : s->list_names[file - FILE_LISTS];
}

/* The file of this name that is there; -1 if none. With the session's lock. */
static int find_file(const struct session *s, const char *name)
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

/* ------------------------------------------------------------------ searching */

struct question {
	struct search_params params;
	struct vs_filter *list;
	struct query_array queries;
};

static int read_params(const struct session *s, struct question *q, char *why)
{
	const struct bytes *b = s->files[FILE_PARAMS];

	search_params_init(&q->params);
	return b ? search_params_parse(&q->params, b->data, b->size, '\n', why, WHY_BYTES) : 0;
}

static int read_list(const struct session *s, struct question *q, char *why)
{
	int file, rc = 0;
	struct idlist list;
	char *copy;

	if (!q->params.ids[0])
		return 0;
	file = find_file(s, q->params.ids);
	if (file < (int)FILE_LISTS) {
		snprintf(why, WHY_BYTES, "there is no list %s in this session", q->params.ids);
		return -EINVAL;
	}
	copy = malloc(s->files[file]->size + 1);
	q->list = vs_filter_new();
	if (!copy || !q->list) {
		free(copy);
		return -ENOMEM;
	}
	memcpy(copy, s->files[file]->data, s->files[file]->size);
	rc = idlist_parse(copy, s->files[file]->size, IDLIST_LINES, NULL, &list, why, WHY_BYTES);
	if (rc)
		return rc == -ENOMEM ? rc : -EINVAL;
	vs_filter_deny(q->list, q->params.deny);
	for (uint64_t i = 0; i < list.count && !rc; i++)
		rc = vs_filter_add(q->list, list.id[i], strlen(list.id[i]));
	idlist_free(&list);
	return rc;
}

/* ------------------------------------------------------------------ results */

/* Takes over malloc'ed text, if rc is 0, as a result. */
static int keep(struct session_table *t, int rc, char *text, size_t size, struct bytes **out)
{
	if (rc)
		return rc;
	*out = bytes_of_text(t, text, size);
	return *out ? 0 : -EDQUOT;
}

static int make_stats(const struct answer *a, char **text, size_t *size)
{
	*text = malloc(256);
	if (!*text)
		return -ENOMEM;
	*size = (size_t)snprintf(*text, 256,
				 "queries=%u\nrows=%" PRIu64 "\nrows_scanned=%" PRIu64
				 "\nrows_verified=%" PRIu64 "\nrows_damaged=%" PRIu64 "\nus=%" PRIu64
				 "\nview=%s\nrerank=%u\n",
				 a->count, a->info.rows, a->stats.rows_scanned, a->stats.rows_verified,
				 a->stats.rows_damaged, a->us, a->view_name, a->rerank);
	return 0;
}

static int make_results(struct session_table *t, const struct answer *a, uint32_t k, struct bytes **files)
{
	char *text;
	size_t size;
	int rc;

	rc = answer_rows(a, k, &text, &size);
	rc = keep(t, rc, text, size, &files[FILE_ROWS]);
	if (!rc) {
		rc = answer_distances(a, k, &text, &size);
		rc = keep(t, rc, text, size, &files[FILE_DISTANCES]);
	}
	if (!rc) {
		rc = answer_names(a, &text, &size);
		rc = keep(t, rc, text, size, &files[FILE_NAMES]);
	}
	if (!rc) {
		rc = answer_print(a, true, &text, &size);
		rc = keep(t, rc, text, size, &files[FILE_JSON]);
	}
	if (!rc) {
		rc = make_stats(a, &text, &size);
		rc = keep(t, rc, text, size, &files[FILE_STATS]);
	}
	return rc;
}

static void drop_results(struct session_table *t, struct session *s)
{
	for (int i = FILE_ROWS; i <= FILE_STATS; i++) {
		bytes_put(t, s->files[i]);
		s->files[i] = NULL;
	}
}

static int answer(struct mount *serve, fuse_req_t req, struct session *s, char *why)
{
	struct session_table *t = serve->sessions;
	struct vs_collection_info info;
	struct question q = {.list = NULL};
	struct answer a;
	int rc = vs_collection_get(serve->store, s->collection, &info);

	if (!rc)
		rc = read_params(s, &q, why);
	if (!rc)
		rc = read_list(s, &q, why);
	if (!rc)
		rc = query_array_of(s->queries_name, s->files[FILE_QUERIES]->data,
				    s->files[FILE_QUERIES]->size, &info.schema, &q.queries, why, WHY_BYTES);
	if (!rc)
		rc = answer_make(&(struct answer_ask){.store = serve->store,
						      .collection = s->collection,
						      .schema = &info.schema,
						      .vectors = q.queries.vectors,
						      .count = q.queries.count,
						      .params = &q.params,
						      .list = q.list,
						      .is_cancelled = req ? answer_is_unwanted : NULL,
						      .arg = req,
						      .budget = {&t->bytes, SESSION_BYTES_MAX},
						      .recalls = serve->recalls},
				 &a, why, WHY_BYTES);
	vs_filter_free(q.list);
	query_array_free(&q.queries);
	if (rc)
		return rc;
	rc = make_results(t, &a, q.params.k, s->files);
	answer_free(&a);
	if (rc)
		drop_results(t, s);
	return rc;
}

/* Sees to it that the results are those of what is written: -ENOENT without queries. With the session's lock.
 */
static int bring_up(struct mount *serve, fuse_req_t req, struct session *s)
{
	struct vs_collection_info info = {.id = 0};
	char why[WHY_BYTES] = "";

	if (!s->files[FILE_QUERIES] || !s->files[FILE_QUERIES]->size)
		return -ENOENT;
	if (s->is_answered)
		return s->answer_rc;
	drop_results(serve->sessions, s);
	s->answer_rc = answer(serve, req, s, why);
	s->is_answered = s->answer_rc != -EINTR && s->answer_rc != -ENOMEM && s->answer_rc != -EDQUOT &&
			 s->answer_rc != -ESTALE;
	if (s->answer_rc && s->answer_rc != -EINTR) {
		vs_collection_get(serve->store, s->collection, &info);
		message(VS_WARNING, "%s/.vecfs/search/%s: refused: %s", info.name, s->name,
			*why ? why : strerror(-s->answer_rc));
	}
	return s->answer_rc;
}

/* Something was written: what has been found is not the answer any more. With the session's lock. */
static void changed(struct session_table *t, struct session *s)
{
	drop_results(t, s);
	s->is_answered = false;
	s->changed = vs_time_now();
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
static bool session_is_long(struct mount *serve, const struct node *node, size_t data_size)
{
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

/* The session of a NODE_SESSION_FILE, and which file it is. */
static struct session *file_get(struct mount *serve, const struct node *node, enum file *file)
{
	*file = (enum file)(node->entry & ((1u << FILE_BITS) - 1));
	return session_get(serve->sessions, node->entry >> FILE_BITS);
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
	pthread_mutex_lock(&s->lock);
	for (file = FILE_ROWS; file <= FILE_STATS && !rc; file++)
		if (!strcmp(name, result_names[file]))
			rc = bring_up(serve, req, s);
	file = rc ? -1 : find_file(s, name);
	pthread_mutex_unlock(&s->lock);
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
	bring_up(serve, req, s);
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

static int file_open(struct mount *serve, struct session *s, enum file file, struct fuse_file_info *fi);
static void session_file_release(struct mount *serve, const struct node *node,
				 const struct fuse_file_info *fi);

static int start_empty(struct session_table *t, struct session *s, enum file file)
{
	struct bytes *empty = bytes_new(t, 0);

	if (!empty)
		return -EDQUOT;
	bytes_put(t, s->files[file]);
	s->files[file] = empty;
	changed(t, s);
	return 0;
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
	file = find_file(s, create->name);
	if (file >= 0 && create->flags & O_EXCL)
		rc = -EEXIST;
	if (!rc && file < 0) {
		file = number_for(s, create->name);
		rc = file < 0 ? file : start_empty(serve->sessions, s, (enum file)file);
		if (!rc && file == FILE_QUERIES) /* one file, whatever its format: the last one made counts */
			snprintf(s->queries_name, sizeof s->queries_name, "%s", create->name);
	}
	pthread_mutex_unlock(&s->lock);
	if (!rc)
		rc = file_open(serve, s, (enum file)file, fi);
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
	file = find_file(s, name);
	if (file >= 0 && !is_result((enum file)file)) { /* results go with what they are of */
		bytes_put(serve->sessions, s->files[file]);
		s->files[file] = NULL;
		changed(serve->sessions, s);
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

/* ------------------------------------------------------------------ its files */

static struct session_file *file_of(const struct fuse_file_info *fi)
{
	return (struct session_file *)(uintptr_t)fi->fh;
}

static int session_file_attr(struct mount *serve, const struct node *node, struct stat *st, double *timeout_s)
{
	enum file file;
	struct session *s = file_get(serve, node, &file);
	int rc = 0;

	if (!s)
		return -ESTALE;
	pthread_mutex_lock(&s->lock);
	if (is_result(file))
		rc = bring_up(serve, NULL, s);
	if (!rc && !s->files[file])
		rc = -ENOENT;
	if (!rc) {
		node_stat(node_ino(node), S_IFREG | 0600, &s->perm, s->changed, s->changed,
			  s->files[file]->size, st);
		st->st_mode = S_IFREG | (is_result(file) ? 0400 : 0600);
	}
	pthread_mutex_unlock(&s->lock);
	session_put(serve->sessions, s);
	*timeout_s = 0;
	return rc == -ENOENT ? -ESTALE : rc;
}

static int file_open(struct mount *serve, struct session *s, enum file file, struct fuse_file_info *fi)
{
	struct session_file *f = calloc(1, sizeof *f);

	if (!f)
		return -ENOMEM;
	pthread_mutex_init(&f->lock, NULL);
	f->session = session_get(serve->sessions, s->n);
	f->file = file;
	pthread_mutex_lock(&s->lock);
	f->bytes = bytes_get(s->files[file]);
	pthread_mutex_unlock(&s->lock);
	if (!f->session || !f->bytes) {
		if (f->session)
			session_put(serve->sessions, f->session);
		bytes_put(serve->sessions, f->bytes);
		free(f);
		return -ESTALE;
	}
	fi->fh = (uintptr_t)f;
	fi->direct_io = !is_result(file); /* results can be mapped */
	return 0;
}

static int session_file_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	struct mount *serve = ops_serve(req);
	enum file file;
	struct session *s = file_get(serve, node, &file);
	int rc = 0;

	if (!s)
		return -ESTALE;
	if (is_result(file) && (fi->flags & O_ACCMODE) != O_RDONLY)
		rc = -EACCES;
	pthread_mutex_lock(&s->lock);
	if (!rc && is_result(file))
		rc = bring_up(serve, req, s);
	pthread_mutex_unlock(&s->lock);
	if (!rc)
		rc = file_open(serve, s, file, fi);
	session_put(serve->sessions, s);
	return rc;
}

static ssize_t session_file_read(struct mount *serve, const struct node *node, void *buf, size_t size,
				 off_t off, const struct fuse_file_info *fi)
{
	struct session_file *f = file_of(fi);
	ssize_t got;

	(void)serve;
	(void)node;
	pthread_mutex_lock(&f->lock);
	got = ops_copy_part(f->bytes->data, f->bytes->size, buf, size, off);
	pthread_mutex_unlock(&f->lock);
	return got;
}

/* What the session has now: the truncation of an open(O_TRUNC) comes after the open itself. With the file's
 * lock. */
static void take_current(struct session_table *t, struct session_file *f)
{
	struct bytes *now;

	pthread_mutex_lock(&f->session->lock);
	now = bytes_get(f->session->files[f->file]);
	pthread_mutex_unlock(&f->session->lock);
	if (!now)
		return; /* unlinked: it goes on with what it had */
	bytes_put(t, f->bytes);
	f->bytes = now;
}

/* Makes the writer's bytes its own, of this size, with zeros where nothing was written. With the file's lock.
 */
static int resize(struct session_table *t, struct session_file *f, size_t size)
{
	size_t capacity = f->is_changed ? f->bytes->capacity : 0, old = f->bytes->size;
	struct bytes *b;

	if (f->is_changed && size <= capacity) {
		if (size > old)
			memset(f->bytes->data + old, 0, size - old);
		f->bytes->size = size;
		return 0;
	}
	while (capacity < size)
		capacity = capacity ? capacity * 2 : 4096;
	b = bytes_new(t, capacity);
	if (!b)
		return -EDQUOT;
	memcpy(b->data, f->bytes->data, old < size ? old : size);
	if (size > old)
		memset(b->data + old, 0, size - old);
	bytes_put(t, f->bytes);
	b->size = size;
	f->bytes = b;
	f->is_changed = true;
	return 0;
}

/* params are judged line by line as they are written, so that the writer is told. Then nothing of it stays.
 */
static int judge(struct session_table *t, struct session_file *f, bool is_whole)
{
	struct search_params params;
	char why[WHY_BYTES];
	size_t size = f->bytes->size;

	if (f->file != FILE_PARAMS)
		return 0;
	while (!is_whole && size && f->bytes->data[size - 1] != '\n')
		size--;
	search_params_init(&params);
	if (!search_params_parse(&params, f->bytes->data, size, '\n', why, sizeof why))
		return 0;
	message(VS_WARNING, ".vecfs/search/%s/params: refused: %s", f->session->name, why);
	f->is_changed = false;
	take_current(t, f);
	return -EINVAL;
}

static int session_file_write(fuse_req_t req, const struct node *node, const void *buf, size_t size,
			      off_t off, const struct fuse_file_info *fi)
{
	struct mount *serve = ops_serve(req);
	struct session_file *f = file_of(fi);
	size_t end = (size_t)off + size;
	int rc = 0;

	(void)node;
	if ((uint64_t)off > SESSION_BYTES_MAX || end > SESSION_BYTES_MAX)
		return -EFBIG;
	pthread_mutex_lock(&f->lock);
	if (!f->is_changed)
		take_current(serve->sessions, f);
	rc = resize(serve->sessions, f, end > f->bytes->size ? end : f->bytes->size);
	if (!rc)
		memcpy(f->bytes->data + off, buf, size);
	if (!rc)
		rc = judge(serve->sessions, f, false);
	pthread_mutex_unlock(&f->lock);
	return rc;
}

/* Puts what was written into the session, whose bytes are then exactly as large as they are. What is
 * published is no longer the writer's own: the close of another descriptor of it puts nothing over a newer
 * writer's. With the file's lock. */
static int publish(struct mount *serve, struct session_file *f)
{
	struct session *s = f->session;
	struct session_table *t = serve->sessions;
	struct bytes *b;
	int rc = judge(t, f, true);

	if (rc)
		return rc;
	b = bytes_new(t, f->bytes->size);
	if (!b)
		return -EDQUOT;
	memcpy(b->data, f->bytes->data, b->size);
	pthread_mutex_lock(&s->lock);
	bytes_put(t, s->files[f->file]);
	s->files[f->file] = b;
	changed(t, s);
	bytes_put(t, f->bytes);
	f->bytes = bytes_get(b);
	f->is_changed = false;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static int session_file_flush(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi,
			      bool *changed_out)
{
	struct session_file *f = file_of(fi);
	int rc = 0;

	(void)node;
	(void)changed_out; /* not of the store */
	pthread_mutex_lock(&f->lock);
	if (f->is_changed)
		rc = publish(ops_serve(req), f);
	pthread_mutex_unlock(&f->lock);
	return rc;
}

/* Only the size can be set: by who has it open, or by its path, which empties it. */
static int session_file_setattr(fuse_req_t req, const struct node *node, const struct stat *st, int set,
				struct fuse_file_info *fi)
{
	struct mount *serve = ops_serve(req);
	enum file file;
	struct session *s;
	int rc = 0;

	if (!(set & FUSE_SET_ATTR_SIZE))
		return set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID) ? -EPERM : 0;
	if (st->st_size < 0 || (uint64_t)st->st_size > SESSION_BYTES_MAX)
		return -EFBIG;
	if (fi && fi->fh) {
		struct session_file *f = file_of(fi);

		pthread_mutex_lock(&f->lock);
		if (!f->is_changed)
			take_current(serve->sessions, f);
		rc = resize(serve->sessions, f, (size_t)st->st_size);
		pthread_mutex_unlock(&f->lock);
		return rc;
	}
	s = file_get(serve, node, &file);
	if (!s)
		return -ESTALE;
	pthread_mutex_lock(&s->lock);
	if (is_result(file) || st->st_size != 0)
		rc = -EPERM;
	else if (s->files[file])
		rc = start_empty(serve->sessions, s, file);
	pthread_mutex_unlock(&s->lock);
	session_put(serve->sessions, s);
	return rc;
}

static void session_file_release(struct mount *serve, const struct node *node,
				 const struct fuse_file_info *fi)
{
	struct session_file *f = file_of(fi);

	(void)node;
	bytes_put(serve->sessions, f->bytes);
	session_put(serve->sessions, f->session);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

const struct node_ops session_file_ops = {
	.is_long = session_is_long,
	.attr = session_file_attr,
	.setattr = session_file_setattr,
	.open = session_file_open,
	.read = session_file_read,
	.write = session_file_write,
	.flush = session_file_flush,
	.release = session_file_release,
};
