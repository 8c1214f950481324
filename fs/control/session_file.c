/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/answer.h"
#include "fs/control/control.h"
#include "fs/control/session_parts.h"
#include "fs/inode/open_files.h"
#include "fs/request/message.h"

struct session_file {
	struct open_file open_file;
	struct session *session;
	enum session_part file;
	pthread_mutex_t lock;
	bool is_changed;
	struct session_bytes *bytes; /* what is read, or has been written */
};

/* The session of a NODE_SESSION_FILE, and which file it is. */
static struct session *session_file_get(struct mount *serve, const struct node *node, enum session_part *file)
{
	*file = (enum session_part)(node->entry & ((1u << FILE_BITS) - 1));
	return session_get(serve->sessions, node->entry >> FILE_BITS);
}

static struct session_file *file_of(const struct fuse_file_info *fi)
{
	return (struct session_file *)(uintptr_t)fi->fh;
}

/* ------------------------------------------------------------------ progress */

static int progress_attr(const struct node *node, const struct session *s, struct stat *st)
{
	node_stat(node_ino(node), S_IFREG | 0400, &s->perm, s->changed, s->changed, 0, st);
	st->st_mode = S_IFREG | 0400;
	return 0;
}

/* It has no bytes of its own. */
static int progress_open(struct mount *serve, struct session *s, struct fuse_file_info *fi)
{
	struct session_file *f = calloc(1, sizeof *f);

	if (!f)
		return -ENOMEM;
	f->session = session_get(serve->sessions, s->n);
	f->file = FILE_PROGRESS;
	if (!f->session) {
		free(f);
		return -ESTALE;
	}
	pthread_mutex_init(&f->lock, NULL);
	fi->fh = (uintptr_t)f;
	fi->direct_io = 1;
	return 0;
}

static ssize_t progress_read(const struct session *s, void *buf, size_t size, off_t off)
{
	char text[64];
	int n = snprintf(text, sizeof text, "rows_done=%" PRIu64 "\nrows=%" PRIu64 "\n", s->rows_done,
			 s->rows);

	return ops_copy_part(text, (size_t)n, buf, size, off);
}

/* ------------------------------------------------------------------ all files */

static int part_attr(struct mount *serve, const struct node *node, struct session *s, enum session_part file,
		     struct stat *st)
{
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	if (session_part_is_result(file))
		rc = session_bring_up(serve, NULL, s);
	if (!rc && !s->files[file])
		rc = -ENOENT;
	if (!rc) {
		node_stat(node_ino(node), S_IFREG | 0600, &s->perm, s->changed, s->changed,
			  s->files[file]->size, st);
		st->st_mode = S_IFREG | (session_part_is_result(file) ? 0400 : 0600);
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static int session_file_attr(struct mount *serve, const struct node *node, struct stat *st, double *timeout_s)
{
	enum session_part file;
	struct session *s = session_file_get(serve, node, &file);
	int rc = 0;

	if (!s)
		return -ESTALE;
	rc = file == FILE_PROGRESS ? progress_attr(node, s, st) : part_attr(serve, node, s, file, st);
	session_put(serve->sessions, s);
	*timeout_s = 0;
	return rc == -ENOENT ? -ESTALE : rc;
}

int session_file_begin(struct mount *serve, struct session *s, enum session_part file,
		       struct fuse_file_info *fi)
{
	struct session_file *f = calloc(1, sizeof *f);

	if (!f)
		return -ENOMEM;
	pthread_mutex_init(&f->lock, NULL);
	f->session = session_get(serve->sessions, s->n);
	f->file = file;
	pthread_mutex_lock(&s->lock);
	f->bytes = session_bytes_get(s->files[file]);
	pthread_mutex_unlock(&s->lock);
	if (!f->session || !f->bytes) {
		if (f->session)
			session_put(serve->sessions, f->session);
		session_bytes_put(serve->sessions, f->bytes);
		free(f);
		return -ESTALE;
	}
	fi->fh = (uintptr_t)f;
	fi->direct_io = !session_part_is_result(file); /* results can be mapped */
	return 0;
}

static int session_file_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	struct mount *serve = ops_serve(req);
	enum session_part file;
	struct session *s = session_file_get(serve, node, &file);
	int rc = 0;

	if (!s)
		return -ESTALE;
	if ((session_part_is_result(file) || file == FILE_PROGRESS) && (fi->flags & O_ACCMODE) != O_RDONLY)
		rc = -EACCES;
	if (!rc && session_part_is_result(file)) {
		pthread_mutex_lock(&s->lock);
		rc = session_bring_up(serve, req, s);
		pthread_mutex_unlock(&s->lock);
	}
	if (!rc)
		rc = file == FILE_PROGRESS ? progress_open(serve, s, fi)
					   : session_file_begin(serve, s, file, fi);
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
	if (f->file == FILE_PROGRESS)
		return progress_read(f->session, buf, size, off);
	pthread_mutex_lock(&f->lock);
	got = ops_copy_part(f->bytes->data, f->bytes->size, buf, size, off);
	pthread_mutex_unlock(&f->lock);
	return got;
}

/* What the session has now: the truncation of an open(O_TRUNC) comes after the open itself. With the file's
 * lock. */
static void take_current(struct session_table *t, struct session_file *f)
{
	struct session_bytes *now;

	pthread_mutex_lock(&f->session->lock);
	now = session_bytes_get(f->session->files[f->file]);
	pthread_mutex_unlock(&f->session->lock);
	if (!now)
		return; /* unlinked: it goes on with what it had */
	session_bytes_put(t, f->bytes);
	f->bytes = now;
}

/* Makes the writer's bytes its own, of this size, with zeros where nothing was written. With the file's lock.
 */
static int resize(struct session_table *t, struct session_file *f, size_t size)
{
	size_t capacity = f->is_changed ? f->bytes->capacity : 0, old = f->bytes->size;
	struct session_bytes *b;

	if (f->is_changed && size <= capacity) {
		if (size > old)
			memset(f->bytes->data + old, 0, size - old);
		f->bytes->size = size;
		return 0;
	}
	while (capacity < size)
		capacity = capacity ? capacity * 2 : 4096;
	b = session_bytes_new(t, capacity);
	if (!b)
		return -EDQUOT;
	memcpy(b->data, f->bytes->data, old < size ? old : size);
	if (size > old)
		memset(b->data + old, 0, size - old);
	session_bytes_put(t, f->bytes);
	b->size = size;
	f->bytes = b;
	f->is_changed = true;
	return 0;
}

/* params are judged line by line as they are written, so that the writer is told. Then nothing of it stays.
 */
static int judge(struct mount *serve, struct session_file *f, bool is_whole)
{
	struct vs_collection_info info = {.id = 0};
	struct search_params params;
	char why[SESSION_WHY_BYTES];
	size_t size = f->bytes->size;

	if (f->file != FILE_PARAMS)
		return 0;
	while (!is_whole && size && f->bytes->data[size - 1] != '\n')
		size--;
	search_params_init(&params);
	if (!search_params_parse(&params, f->bytes->data, size, '\n', why, sizeof why))
		return 0;
	vs_collection_get(serve->store, f->session->collection, &info);
	message(VS_WARNING, "%s/.vecfs/search/%s/params: refused: %s", info.name, f->session->name, why);
	f->is_changed = false;
	take_current(serve->sessions, f);
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
		rc = judge(serve, f, false);
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
	struct session_bytes *b;
	int rc = judge(serve, f, true);

	if (rc)
		return rc;
	b = session_bytes_new(t, f->bytes->size);
	if (!b)
		return -EDQUOT;
	memcpy(b->data, f->bytes->data, b->size);
	pthread_mutex_lock(&s->lock);
	session_bytes_put(t, s->files[f->file]);
	s->files[f->file] = b;
	session_change(t, s);
	session_bytes_put(t, f->bytes);
	f->bytes = session_bytes_get(b);
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
	enum session_part file;
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
	s = session_file_get(serve, node, &file);
	if (!s)
		return -ESTALE;
	pthread_mutex_lock(&s->lock);
	if (session_part_is_result(file) || file == FILE_PROGRESS || st->st_size != 0)
		rc = -EPERM;
	else if (s->files[file])
		rc = session_start_empty(serve->sessions, s, file);
	pthread_mutex_unlock(&s->lock);
	session_put(serve->sessions, s);
	return rc;
}

void session_file_release(struct mount *serve, const struct node *node, const struct fuse_file_info *fi)
{
	struct session_file *f = file_of(fi);

	(void)node;
	session_bytes_put(serve->sessions, f->bytes);
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
