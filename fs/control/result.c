/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/result.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/batch.h"
#include "fs/control/control.h"
#include "fs/inode/open_files.h"
#include "fs/request/invalidate.h"

#define TEXT_BYTES 1024
#define KEY_BYTES 64

/* One open file. */
struct result {
	struct open_file open_file;
	struct result *prev, *next; /* all of the mount */
	uint32_t batch;
	bool adds_only, removes, waits_not;
	char text[TEXT_BYTES];
};

struct result_table {
	pthread_mutex_t lock; /* held for copies of a text only */
	struct result *first;
};

struct result_table *result_table_new(void)
{
	struct result_table *t = calloc(1, sizeof *t);

	if (t)
		pthread_mutex_init(&t->lock, NULL);
	return t;
}

void result_table_free(struct result_table *t)
{
	if (t)
		pthread_mutex_destroy(&t->lock);
	free(t);
}

bool result_adds_only(struct mount *s, uint32_t batch)
{
	bool found = false;

	pthread_mutex_lock(&s->results->lock);
	for (const struct result *r = s->results->first; r && !found; r = r->next)
		found = r->batch == batch && r->adds_only;
	pthread_mutex_unlock(&s->results->lock);
	return found;
}

bool result_waits_not(struct mount *s, uint32_t batch)
{
	bool found = false;

	pthread_mutex_lock(&s->results->lock);
	for (const struct result *r = s->results->first; r && !found; r = r->next)
		found = r->batch == batch && r->waits_not;
	pthread_mutex_unlock(&s->results->lock);
	return found;
}

void result_forget(struct mount *s, uint32_t batch)
{
	pthread_mutex_lock(&s->results->lock);
	for (struct result *r = s->results->first; r; r = r->next)
		if (r->batch == batch)
			r->text[0] = 0;
	pthread_mutex_unlock(&s->results->lock);
}

/* Those of one collection. */
static void remove_abandoned(struct mount *s, uint32_t collection)
{
	struct vs_collection_info batch = {0};
	char keep[8];

	while (!vs_collection_next(s->store, collection, batch.id, &batch))
		if (vs_attribute_get(s->store, batch.id, VS_ATTRIBUTE_KEEP, keep, sizeof keep) > 0)
			vs_collection_remove(s->store,
					     batch.id); /* if it cannot be, the next mount tries again */
}

void result_remove_abandoned(struct mount *s)
{
	struct vs_collection_info c = {0};

	while (!s->options.read_only && !vs_collection_next(s->store, 0, c.id, &c))
		remove_abandoned(s, c.id);
}

void result_tell(struct mount *s, uint32_t batch, int rc, const struct vs_batch_change *change,
		 const char *why)
{
	char text[TEXT_BYTES];

	if (rc) {
		snprintf(text, sizeof text - 1, "refused=%s", why);
		for (char *p = text; *p; p++) /* an id in it may hold anything, a line of ours too */
			if ((unsigned char)*p < ' ')
				*p = '?';
		strcat(text, "\n");
	} else {
		snprintf(text, sizeof text, "added=%" PRIu64 "\nreplaced=%" PRIu64 "\ndeleted=%" PRIu64 "\n",
			 change->added, change->replaced, change->deleted);
	}
	pthread_mutex_lock(&s->results->lock);
	for (struct result *r = s->results->first; r; r = r->next)
		if (r->batch == batch)
			strcpy(r->text, text);
	pthread_mutex_unlock(&s->results->lock);
}

/* ------------------------------------------------------------------ as a file */

static struct result *result_of(const struct fuse_file_info *fi)
{
	return (struct result *)(uintptr_t)fi->fh;
}

/* Once the batch is applied only open files are left of it, which cat(1) asks for their attributes, too. */
static int result_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	struct vs_perm root = control_root_perm(s);
	vs_time now = vs_time_now();
	int rc = control_file_attr(s, node, now, 0, st);

	*timeout_s = 0;
	if (rc == -ESTALE)
		node_stat(node_ino(node), S_IFREG | 0666, &root, now, now, 0, st);
	return rc == -ESTALE ? 0 : rc;
}

/* To be opened with O_TRUNC changes nothing. */
static int result_setattr(fuse_req_t req, const struct node *node, const struct stat *st, int set,
			  struct fuse_file_info *fi)
{
	(void)req;
	(void)node;
	(void)st;
	(void)set;
	(void)fi;
	return 0;
}

static int result_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	struct result_table *t = ops_serve(req)->results;
	struct vs_collection_info info;
	struct result *r;
	int rc = vs_collection_get(ops_serve(req)->store, node->collection, &info);

	if (rc)
		return rc;
	r = calloc(1, sizeof *r);
	if (!r)
		return -ENOMEM;
	r->batch = node->collection;
	pthread_mutex_lock(&t->lock);
	r->next = t->first;
	if (r->next)
		r->next->prev = r;
	t->first = r;
	pthread_mutex_unlock(&t->lock);
	fi->fh = (uintptr_t)r;
	fi->direct_io = 1;
	return 0;
}

static ssize_t result_read(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
			   const struct fuse_file_info *fi)
{
	const struct result *r = result_of(fi);
	ssize_t got;

	(void)node;
	pthread_mutex_lock(&s->results->lock);
	got = ops_copy_part(r->text, strlen(r->text), buf, size, off);
	pthread_mutex_unlock(&s->results->lock);
	return got;
}

static int set_removes(struct mount *s, struct result *r, bool removes)
{
	int rc = vs_attribute_set(s->store, r->batch, VS_ATTRIBUTE_KEEP, "no", removes ? 2 : 0);

	if (!rc)
		r->removes = removes;
	return rc;
}

static int set_waits_not(struct mount *s, struct result *r, bool waits_not)
{
	pthread_mutex_lock(&s->results->lock);
	r->waits_not = waits_not;
	pthread_mutex_unlock(&s->results->lock);
	return 0;
}

static int set_adds_only(struct mount *s, struct result *r, bool adds_only)
{
	pthread_mutex_lock(&s->results->lock);
	r->adds_only = adds_only;
	pthread_mutex_unlock(&s->results->lock);
	return 0;
}

/* "if=N\n": the commit is refused unless the collection is of the version then that the array with the inode
 * number N is of. */
static int set_expected(struct mount *s, const struct result *r, const char *line)
{
	struct vs_collection_info batch, parent;
	struct node array;
	uint64_t ino;
	char end;
	int rc;

	if (sscanf(line, "if=%" SCNu64 "%c", &ino, &end) != 2 || end != '\n')
		return -EINVAL;
	rc = vs_collection_get(s->store, r->batch, &batch);
	if (!rc)
		rc = vs_collection_get(s->store, batch.parent, &parent);
	if (rc)
		return rc;
	array = node_of(ino);
	if (array.kind != NODE_MOMENT || array.collection != parent.id)
		return -EINVAL;
	return node_is_version(&array, parent.version) ? vs_batch_expect(s->store, r->batch, parent.version)
						       : -ESTALE;
}

static int result_write(fuse_req_t req, const struct node *node, const void *buf, size_t size, off_t off,
			const struct fuse_file_info *fi)
{
	static const struct {
		const char *line;
		int (*set)(struct mount *s, struct result *r, bool on);
		bool on;
	} known[] = {
		{"replace=no\n", set_adds_only, true}, {"replace=yes\n", set_adds_only, false},
		{"wait=no\n", set_waits_not, true},    {"wait=yes\n", set_waits_not, false},
		{"keep=no\n", set_removes, true},      {"keep=yes\n", set_removes, false},
	};
	struct mount *s = ops_serve(req);
	char line[KEY_BYTES];

	(void)node;
	(void)off;
	snprintf(line, sizeof line, "%.*s", (int)(size < sizeof line ? size : sizeof line - 1),
		 (const char *)buf);
	if (!strncmp(line, "if=", 3))
		return set_expected(s, result_of(fi), line);
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (size == strlen(known[i].line) && memcmp(buf, known[i].line, size) == 0)
			return known[i].set(s, result_of(fi), known[i].on);
	return -EINVAL;
}

/* It may have been committed, or removed, long ago. */
static void remove_batch(struct mount *s, uint32_t id)
{
	struct vs_collection_info batch;
	struct node tx;

	if (vs_collection_get(s->store, id, &batch))
		return;
	tx = (struct node){.kind = NODE_TX, .collection = batch.parent};
	if (!batch_remove(s, id))
		notify_entry(s->notify, node_ino(&tx), batch.name);
}

void result_remove_left(struct mount *s, uint32_t batch)
{
	char keep[8];
	bool open = false;

	pthread_mutex_lock(&s->results->lock);
	for (const struct result *r = s->results->first; r && !open; r = r->next)
		open = r->batch == batch;
	pthread_mutex_unlock(&s->results->lock);
	if (!open && vs_attribute_get(s->store, batch, VS_ATTRIBUTE_KEEP, keep, sizeof keep) > 0)
		remove_batch(s, batch);
}

static void result_release(struct mount *s, const struct node *node, const struct fuse_file_info *fi)
{
	struct result *r = result_of(fi);

	(void)node;
	pthread_mutex_lock(&s->results->lock);
	if (r->prev)
		r->prev->next = r->next;
	else
		s->results->first = r->next;
	if (r->next)
		r->next->prev = r->prev;
	pthread_mutex_unlock(&s->results->lock);
	if (r->removes)
		remove_batch(s, r->batch);
	free(r);
}

const struct node_ops result_ops = {
	.attr = result_attr,
	.setattr = result_setattr,
	.open = result_open,
	.read = result_read,
	.write = result_write,
	.release = result_release,
};
