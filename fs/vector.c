/* SPDX-License-Identifier: Apache-2.0 */
#include "vector.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/message.h"
#include "fs/namelock.h"
#include "fs/notify.h"
#include "fs/process.h"
#include "fs/staging.h"

#define LIMIT (S_IFREG | 07777) /* a vector has permissions of its own */
#define CACHED_BYTES_MAX 4096   /* a bigger vector could be seen half old, half new, page by page */

void vector_refuse(struct serve *s, uint32_t collection, const char *name, const char *format, ...)
{
	struct vs_collection_info info = {0}, parent = {0};
	char reason[256];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof reason, format, args);
	va_end(args);
	vs_collection_get(s->store, collection, &info);
	if (info.parent && !vs_collection_get(s->store, info.parent, &parent))
		message(VS_WARNING, "%s/.vecfs/tx/%s/%s: refused: %s", parent.name, info.name, name, reason);
	else
		message(VS_WARNING, "%s/%s: refused: %s", info.name, name, reason);
}

void vector_entry(struct serve *s, uint32_t collection, const struct vs_attr *attr, struct fuse_entry_param *e)
{
	e->ino = node_vector_ino(collection, attr->entry);
	e->entry_timeout = ops_timeout_s(s);
	e->attr_timeout = opened_is_staged(s->opened, e->ino) ? 0 : ops_timeout_s(s);
	node_stat(e->ino, LIMIT, &attr->perm, attr->mtime_ns, attr->size, &e->attr);
}

int vector_lookup(struct serve *s, uint32_t collection, const char *name, struct fuse_entry_param *e)
{
	struct vs_attr attr;
	int rc = vs_name_check(name, strlen(name));

	if (!rc)
		rc = vs_lookup(s->store, collection, name, &attr);
	if (!rc)
		vector_entry(s, collection, &attr, e);
	return rc;
}

/* Of a vector that the engine does not know: not yet, or not any more. */
static int opened_attr(struct serve *s, uint64_t ino, struct stat *st)
{
	struct opened *o = opened_find(s->opened, ino);
	int rc = -ESTALE;

	if (!o)
		return rc;
	pthread_mutex_lock(&o->lock);
	for (struct vector_handle *h = o->handles; h && rc; h = h->next) {
		if (!h->born)
			continue;
		node_stat(ino, LIMIT, &h->attr.perm, h->attr.mtime_ns, h->size, st);
		rc = 0;
	}
	if (rc && o->copy) {
		node_stat(ino, LIMIT, &o->copy->attr.perm, o->copy->attr.mtime_ns, o->copy->attr.size, st);
		st->st_nlink = 0;
		rc = 0;
	}
	pthread_mutex_unlock(&o->lock);
	opened_put(s->opened, o);
	return rc;
}

static int vector_attr(struct serve *s, const struct node *node, struct stat *st, double *timeout_s)
{
	uint64_t ino = opened_locate(s->opened, node_ino(node));
	struct node place = node_of(ino);
	struct vs_attr attr;
	int rc = vs_attr_get(s->store, place.collection, place.entry, &attr);

	*timeout_s = 0;
	if (rc == -ENOENT)
		return opened_attr(s, ino, st);
	if (rc)
		return rc;
	node_stat(ino, LIMIT, &attr.perm, attr.mtime_ns, attr.size, st);
	if (!opened_is_staged(s->opened, ino))
		*timeout_s = ops_timeout_s(s);
	return 0;
}

/* The handle that a truncation without one is about: that of the open(2) with O_TRUNC which it is a part of. */
static struct vector_handle *find_opening(const struct opened *o, pid_t thread)
{
	struct vector_handle *h = o->handles;

	while (h && !(h->writable && h->untouched && h->opener == thread))
		h = h->next;
	return h;
}

/* truncate(2), and open(2) with O_TRUNC but not for writing. */
static int truncate_path(struct serve *s, struct opened *o, uint64_t size)
{
	struct node place = node_of(atomic_load(&o->ino));
	struct vs_attr attr;
	int rc = vs_attr_get(s->store, place.collection, place.entry, &attr);

	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	if (size > attr.size)
		return -EFBIG;
	if (size != 0)
		return size == attr.size ? 0 : -EINVAL;
	if (!o->replace_next && opened_get(s->opened, node_ino(&place)))
		o->replace_next = true; /* with a reference of its own */
	return 0;
}

static int truncate_vector(struct serve *s, struct opened *o, const struct stat *st, pid_t thread,
                           struct fuse_file_info *fi)
{
	struct vector_handle *h = fi && fi->fh ? vector_handle(fi) : find_opening(o, thread);

	if (!h)
		return truncate_path(s, o, (uint64_t)st->st_size);
	h->untouched = false;
	return staging_truncate(s, h, (uint64_t)st->st_size);
}

/* A new vector's attributes wait in its handle; those of one without a name are its copy's. */
static int set_attr(struct serve *s, struct opened *o, unsigned which, const struct vs_attr *attr)
{
	struct node place = node_of(atomic_load(&o->ino));
	bool born = false;
	int rc;

	for (struct vector_handle *h = o->handles; h; h = h->next) {
		staging_set(h, which, attr);
		born |= h->born;
	}
	if (born)
		return 0;
	rc = vs_attr_set(s->store, place.collection, place.entry, which, attr);
	if (rc != -ENOENT)
		return rc;
	return o->copy ? 0 : -ESTALE;
}

static int vector_setattr(fuse_req_t req, const struct node *node, const struct stat *st, int set,
                          struct fuse_file_info *fi)
{
	struct serve *s = ops_serve(req);
	struct opened *o = opened_get(s->opened, opened_locate(s->opened, node_ino(node)));
	struct vs_attr attr;
	unsigned which = ops_setattr_which(st, set, &attr);
	int rc = 0;

	if (!o)
		return -ENOMEM;
	pthread_mutex_lock(&o->lock);
	if (set & FUSE_SET_ATTR_SIZE)
		rc = truncate_vector(s, o, st, fuse_req_ctx(req)->pid, fi);
	if (!rc && which)
		rc = set_attr(s, o, which, &attr);
	pthread_mutex_unlock(&o->lock);
	opened_put(s->opened, o);
	return rc;
}

/* ------------------------------------------------------------------ handles */

static struct vector_handle *handle_new(const char *name, pid_t thread, int flags)
{
	size_t len = strlen(name);
	struct vector_handle *h = calloc(1, sizeof *h + len + 1);

	if (!h)
		return NULL;
	h->writable = (flags & O_ACCMODE) != O_RDONLY;
	h->untouched = true;
	h->opener = thread;
	memcpy(h->name, name, len);
	return h;
}

/* How the kernel shall treat the handle: see DESIGN 2.3. */
static void handle_reply(const struct serve *s, struct vector_handle *h, size_t size, struct fuse_file_info *fi)
{
	fi->fh = (uintptr_t)h;
	if (h->writable) {
		fi->direct_io = s->direct_mmap || (fi->flags & O_ACCMODE) == O_WRONLY;
		return;
	}
	fi->noflush = 1;
	fi->direct_io = s->direct_mmap && size > CACHED_BYTES_MAX;
	fi->keep_cache = !fi->direct_io && !notify_is_stale(s->notify, atomic_load(&h->opened->ino));
}

static void handle_attach(struct vector_handle *h, struct opened *o)
{
	h->opened = o;
	h->next = o->handles;
	o->handles = h;
}

static void handle_detach(struct vector_handle *h)
{
	struct vector_handle **link = &h->opened->handles;

	while (*link != h) {
		assert(*link);
		link = &(*link)->next;
	}
	*link = h->next;
}

/* With the lock of o held: what is special about opening a vector that is in use. */
static int open_joined(struct serve *s, struct opened *o, struct vector_handle *h, size_t *size)
{
	struct node place = node_of(atomic_load(&o->ino));
	struct vs_attr attr;
	int rc = opened_join(s, o);

	if (!rc)
		rc = vs_attr_get(s->store, place.collection, place.entry, &attr);
	if (rc == -ENOENT && o->copy) {
		attr = o->copy->attr;
		rc = 0;
	}
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc; /* so that the kernel looks the name up again */
	*size = attr.size;
	h->row_bytes = attr.size;
	h->attr = attr;
	handle_attach(h, o);
	if (!h->writable || !o->replace_next)
		return 0;
	o->replace_next = false;
	opened_put(s->opened, o); /* the reference of replace_next: the handle has one, too */
	return staging_truncate(s, h, 0);
}

/* Opens a vector that exists; the handle is freed on failure. */
static int handle_open(struct serve *s, struct vector_handle *h, uint64_t ino, bool truncate,
                       struct fuse_file_info *fi)
{
	struct opened *o = opened_get(s->opened, ino);
	size_t size;
	int rc = o ? 0 : -ENOMEM;

	if (!rc) {
		pthread_mutex_lock(&o->lock);
		rc = open_joined(s, o, h, &size);
		if (!rc && truncate && h->writable)
			rc = staging_truncate(s, h, 0);
		pthread_mutex_unlock(&o->lock);
	}
	if (rc) {
		if (o)
			opened_put(s->opened, o);
		free(h);
		return rc;
	}
	handle_reply(s, h, size, fi);
	return 0;
}

static int vector_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	struct serve *s = ops_serve(req);
	struct vector_handle *h = handle_new("", fuse_req_ctx(req)->pid, fi->flags);

	return h ? handle_open(s, h, opened_locate(s->opened, node_ino(node)), false, fi) : -ENOMEM;
}

/* A handle for a name that nobody has: the vector appears when it is complete. */
static int handle_bear(struct serve *s, struct vector_handle *h, const struct vs_perm *perm,
                       struct fuse_entry_param *e, struct fuse_file_info *fi)
{
	uint64_t entry;
	struct opened *o;
	int rc = vs_entry_reserve(s->store, h->pending.collection, &entry);

	if (rc)
		return rc;
	memset(e, 0, sizeof *e);
	e->entry_timeout = 0;               /* whoever else walks here must ask */
	e->attr_timeout = ops_timeout_s(s); /* until then only this handle changes them, and the kernel sees that */
	e->ino = node_vector_ino(h->pending.collection, entry);
	o = opened_get(s->opened, e->ino);
	if (!o)
		return -ENOMEM;
	h->born = true;
	h->state = VECTOR_NEW;
	h->attr.perm = *perm;
	h->attr.mtime_ns = ops_now_ns();
	h->counted = true;
	opened_staged(s->opened, o, 1);
	pthread_mutex_lock(&o->lock);
	handle_attach(h, o);
	pthread_mutex_unlock(&o->lock);
	node_stat(e->ino, LIMIT, perm, h->attr.mtime_ns, 0, &e->attr);
	handle_reply(s, h, 0, fi);
	return 0;
}

int vector_create(fuse_req_t req, const struct node *dir, const struct ops_birth *birth, struct fuse_entry_param *e,
                  struct fuse_file_info *fi)
{
	struct serve *s = ops_serve(req);
	bool exclusive = birth->flags & O_EXCL;
	struct vector_handle *h;
	struct vs_attr attr;
	int rc = vs_name_check(birth->name, strlen(birth->name));

	if (rc)
		return rc;
	h = handle_new(birth->name, birth->thread, birth->flags);
	if (!h)
		return -ENOMEM;
	h->pending = (struct pending){.collection = dir->collection, .name = h->name};
	if (!pending_add(&h->pending, exclusive)) {
		free(h);
		return -EEXIST;
	}
	/* In this order: one that was pending, and is not any more, is found. */
	rc = vs_lookup(s->store, dir->collection, birth->name, &attr);
	if (rc == -ENOENT)
		rc = handle_bear(s, h, &birth->perm, e, fi);
	else if (!rc)
		rc = exclusive ? -EEXIST : 1;
	if (!rc)
		return 0;
	pending_remove(&h->pending);
	if (rc < 0) {
		free(h);
		return rc;
	}
	vector_entry(s, dir->collection, &attr, e);
	return handle_open(s, h, e->ino, birth->flags & O_TRUNC, fi);
}

static void vector_release(struct serve *s, const struct node *node, const struct fuse_file_info *fi)
{
	struct vector_handle *h = vector_handle(fi);
	struct opened *o = h->opened;

	(void)node;
	pthread_mutex_lock(&o->lock);
	if (h->writable)
		staging_drop(s, h);
	handle_detach(h);
	pthread_mutex_unlock(&o->lock);
	opened_put(s->opened, o);
	free(h);
}

/* ------------------------------------------------------------------ data */

static ssize_t read_copy(const struct opened_copy *copy, void *buf, size_t size, size_t off)
{
	size_t n;

	if (!copy)
		return -ESTALE;
	if (off >= copy->attr.size)
		return 0;
	n = copy->attr.size - off < size ? copy->attr.size - off : size;
	memcpy(buf, copy->bytes + off, n);
	return (ssize_t)n;
}

/* What a handle that may have something staged shows; with the lock held. */
static ssize_t read_staged(struct serve *s, const struct vector_handle *h, void *buf, size_t size, size_t off)
{
	struct node place = node_of(atomic_load(&h->opened->ino));
	ssize_t got;

	if (staging_hides(h))
		return staging_read(h, buf, 0, size, off);
	got = vs_read(s->store, place.collection, place.entry, buf, size, off);
	if (got == -ENOENT)
		got = read_copy(h->opened->copy, buf, size, off);
	return got < 0 ? got : staging_read(h, buf, got, size, off);
}

static ssize_t vector_read(struct serve *s, const struct node *node, void *buf, size_t size, off_t off,
                           const struct fuse_file_info *fi)
{
	struct vector_handle *h = vector_handle(fi);
	struct node place = node_of(h ? atomic_load(&h->opened->ino) : node_ino(node));
	ssize_t got;

	if (h && h->writable) {
		pthread_mutex_lock(&h->opened->lock);
		got = read_staged(s, h, buf, size, (size_t)off);
		pthread_mutex_unlock(&h->opened->lock);
		return got;
	}
	got = vs_read(s->store, place.collection, place.entry, buf, size, (size_t)off);
	if (got != -ENOENT || !h)
		return got;
	pthread_mutex_lock(&h->opened->lock);
	got = read_copy(h->opened->copy, buf, size, (size_t)off);
	pthread_mutex_unlock(&h->opened->lock);
	return got;
}

static int vector_write(struct serve *s, const struct node *node, const void *buf, size_t size, off_t off,
                        const struct fuse_file_info *fi)
{
	struct vector_handle *h = vector_handle(fi);
	int rc;

	(void)node;
	pthread_mutex_lock(&h->opened->lock);
	h->untouched = false;
	rc = staging_write(s, h, buf, size, (size_t)off, fi->writepage);
	pthread_mutex_unlock(&h->opened->lock);
	return rc;
}

static int vector_flush(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi, bool *sync)
{
	struct serve *s = ops_serve(req);
	struct vector_handle *h = vector_handle(fi);
	int rc;

	(void)node;
	if (!h->writable)
		return 0;
	pthread_mutex_lock(&h->opened->lock);
	h->untouched = false;
	rc = staging_publish(s, h, false);
	if (rc == -EAGAIN)
		rc = process_same(fuse_req_ctx(req)->pid, h->opener) ? staging_publish(s, h, true) : 0;
	*sync = h->unsynced;
	h->unsynced = false;
	pthread_mutex_unlock(&h->opened->lock);
	return rc;
}

static int vector_fsync(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi)
{
	struct vector_handle *h = vector_handle(fi);
	int rc = 0;

	(void)node;
	if (!h || !h->writable)
		return 0;
	pthread_mutex_lock(&h->opened->lock);
	rc = staging_publish(ops_serve(req), h, true);
	pthread_mutex_unlock(&h->opened->lock);
	return rc;
}

/* ------------------------------------------------------------------ names */

/* With the name's lock held. */
static int remove_name(struct serve *s, uint32_t collection, const char *name)
{
	struct opened *o;
	struct vs_attr attr;
	int rc = vs_lookup(s->store, collection, name, &attr);

	if (!rc)
		rc = opened_save(s, node_vector_ino(collection, attr.entry), &o);
	if (rc)
		return rc;
	rc = vs_remove(s->store, collection, name, NULL);
	opened_saved(s, o);
	return rc;
}

int vector_unlink(fuse_req_t req, const struct node *dir, const char *name)
{
	struct namelock held;
	int rc = vs_name_check(name, strlen(name));

	if (rc)
		return rc;
	held = namelock_take(dir->collection, name);
	rc = remove_name(ops_serve(req), dir->collection, name);
	namelock_release(held);
	return rc;
}

/* The name that is to be replaced, if there is one. */
static int save_target(struct serve *s, uint32_t collection, const char *name, struct opened **out)
{
	struct vs_attr attr;
	int rc = vs_lookup(s->store, collection, name, &attr);

	*out = NULL;
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	return opened_save(s, node_vector_ino(collection, attr.entry), out);
}

/* To another collection, which gives the vector another number. */
static int move(struct serve *s, uint32_t from, const char *name, uint64_t from_ino, uint32_t to,
                const char *new_name, bool exclusive)
{
	uint64_t entry, replaced;
	int rc;

	opened_move_begin(s->opened);
	rc = vs_rename(s->store, from, name, to, new_name, exclusive, &entry, &replaced);
	opened_move_end(s->opened, from_ino, rc ? 0 : node_vector_ino(to, entry));
	if (!rc)
		notify_entry(s->notify, node_collection_ino(to), new_name); /* it has the old number there */
	return rc;
}

/* With the locks of both names held. */
static int rename_name(struct serve *s, uint32_t from, const char *name, uint32_t to, const char *new_name,
                       bool exclusive)
{
	struct opened *source, *target;
	struct vs_attr attr;
	uint64_t entry, replaced;
	int rc = vs_lookup(s->store, from, name, &attr);

	if (!rc)
		rc = opened_save(s, node_vector_ino(from, attr.entry), &source);
	if (rc)
		return rc;
	rc = save_target(s, to, new_name, &target);
	if (rc) {
		opened_saved(s, source);
		return rc;
	}
	if (from == to)
		rc = vs_rename(s->store, from, name, to, new_name, exclusive, &entry, &replaced);
	else
		rc = move(s, from, name, node_vector_ino(from, attr.entry), to, new_name, exclusive);
	if (target)
		opened_saved(s, target);
	opened_saved(s, source);
	return rc;
}

int vector_rename(struct serve *s, uint32_t from, const char *name, uint32_t to, const char *new_name,
                  bool exclusive)
{
	struct namelock held;
	int rc = vs_name_check(new_name, strlen(new_name));

	if (rc)
		return rc;
	held = namelock_take_two(from, name, to, new_name);
	rc = rename_name(s, from, name, to, new_name, exclusive);
	namelock_release(held);
	return rc;
}

const struct node_ops vector_ops = {
	.attr = vector_attr,
	.setattr = vector_setattr,
	.open = vector_open,
	.read = vector_read,
	.write = vector_write,
	.flush = vector_flush,
	.fsync = vector_fsync,
	.release = vector_release,
};
