/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/tree/file.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/inode/name_lock.h"
#include "fs/request/invalidate.h"
#include "fs/request/process.h"
#include "fs/tree/staging.h"
#include "fs/tree/vector.h"

#define CACHED_BYTES_MAX 4096 /* a bigger vector could be seen half old, half new, page by page */

/* Linux has a fourth access mode, for ioctl(2) only. */
static bool is_writing(int flags)
{
	return (flags & O_ACCMODE) == O_WRONLY || (flags & O_ACCMODE) == O_RDWR;
}

static struct file *file_new(const char *name, pid_t thread, int flags)
{
	size_t len = strlen(name);
	struct file *h = calloc(1, sizeof *h + len + 1);

	if (!h)
		return NULL;
	h->writable = is_writing(flags);
	h->readable = (flags & O_ACCMODE) == O_RDWR;
	h->appends = flags & O_APPEND;
	h->untouched = true;
	h->opener = thread;
	memcpy(h->name, name, len);
	return h;
}

static void attach(struct file *h, struct inode *o)
{
	h->inode = o;
	h->next = o->files;
	o->files = h;
	o->cached |= !h->writable || h->readable;
}

static void detach(struct file *h)
{
	struct file **link = &h->inode->files;

	while (*link != h) {
		assert(*link);
		link = &(*link)->next;
	}
	*link = h->next;
}

/* How the kernel, which knows the vector as ino, shall treat the file. */
static void tell_kernel(const struct mount *s, struct file *h, uint64_t ino, struct fuse_file_info *fi)
{
	h->is_aliased = atomic_load(&h->inode->ino) != ino; /* then no invalidation comes to its pages */
	fi->fh = (uintptr_t)h;
	if (h->writable) {
		fi->direct_io = s->direct_mmap || !h->readable;
		return;
	}
	fi->noflush = 1;
	fi->direct_io = s->direct_mmap && (h->is_aliased || h->attr.size > CACHED_BYTES_MAX);
	fi->keep_cache = !fi->direct_io && !h->is_aliased && !notify_is_stale(s->notify, ino);
}

/* With the lock of o held. */
static int join(struct mount *s, struct inode *o, struct file *h)
{
	struct node place = node_of(atomic_load(&o->ino));
	struct vs_attr attr;
	int rc = inode_join(s, o);

	if (!rc)
		rc = vs_attr_get(s->store, place.collection, place.entry, &attr);
	if (rc == -ENOENT && o->copy) {
		attr = o->copy->attr;
		rc = 0;
	}
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc; /* so that the kernel looks the name up again */
	h->row_bytes = attr.size;
	h->attr = attr;
	attach(h, o);
	return 0;
}

/* With the lock of o held: somebody has truncated the vector by its path, for the next writer. */
static bool take_truncation(struct mount *s, struct inode *o)
{
	bool taken = o->replace_next;

	o->replace_next = false;
	if (taken)
		inode_put(s->inodes, o); /* the file has a reference of its own */
	return taken;
}

/* Opens a vector that exists. */
static int open_at(struct mount *s, struct file *h, uint64_t ino, bool truncate)
{
	struct inode *o = inode_get(s->inodes, ino);
	int rc;

	if (!o)
		return -ENOMEM;
	pthread_mutex_lock(&o->lock);
	rc = join(s, o, h);
	if (!rc && h->writable && (take_truncation(s, o) || truncate))
		staging_start_over(s, h);
	pthread_mutex_unlock(&o->lock);
	if (rc)
		inode_put(s->inodes, o);
	return rc;
}

int file_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	struct mount *s = ops_serve(req);
	struct file *h = file_new("", fuse_req_ctx(req)->pid, fi->flags);
	int rc;

	if (!h)
		return -ENOMEM;
	h->unprivileged = fuse_req_ctx(req)->uid != 0;
	rc = open_at(s, h, inode_locate(s->inodes, node_ino(node)), false);
	if (rc) {
		free(h);
		return rc;
	}
	tell_kernel(s, h, node_ino(node), fi);
	return 0;
}

/* A file for a name that nobody has: the vector appears when it is complete. */
static int file_create_new(struct mount *s, struct file *h, const struct vs_perm *perm,
			   struct fuse_entry_param *e)
{
	uint64_t entry;
	struct inode *o;
	int rc = vs_entry_reserve(s->store, h->creating.collection, &entry);

	if (rc)
		return rc;
	e->ino = node_vector_ino(h->creating.collection, entry);
	o = inode_get(s->inodes, e->ino);
	if (!o)
		return -ENOMEM;
	h->attr.perm = *perm;
	h->attr.mtime = h->attr.ctime = vs_time_now();
	pthread_mutex_lock(&o->lock);
	h->is_new = true;
	attach(h, o);
	staging_start_over(s, h);
	pthread_mutex_unlock(&o->lock);
	/* No dentry caching until published; attributes may be cached, only this file changes them. */
	e->entry_timeout = 0;
	e->attr_timeout = ops_timeout_s(s);
	node_stat(e->ino, VECTOR_LIMIT, perm, h->attr.mtime, h->attr.ctime, 0, &e->attr);
	return 0;
}

/* Somebody else has created it since the kernel looked. */
static int open_existing(struct mount *s, struct file *h, uint32_t collection,
			 const struct create_args *create, const struct vs_attr *attr,
			 struct fuse_entry_param *e)
{
	if (create->flags & O_EXCL)
		return -EEXIST;
	vector_entry(s, collection, attr, e);
	return open_at(s, h, e->ino, create->flags & O_TRUNC);
}

int file_create(fuse_req_t req, const struct node *dir, const struct create_args *create,
		struct fuse_entry_param *e, struct fuse_file_info *fi)
{
	struct mount *s = ops_serve(req);
	struct file *h;
	struct vs_attr attr;
	int rc = vs_name_check(create->name, strlen(create->name));

	if (rc)
		return rc;
	h = file_new(create->name, create->thread, create->flags);
	if (!h)
		return -ENOMEM;
	h->unprivileged = fuse_req_ctx(req)->uid != 0;
	h->creating = (struct creating){.collection = dir->collection, .name = h->name};
	if (!creating_add(&h->creating, create->flags & O_EXCL)) {
		free(h);
		return -EEXIST;
	}
	/* In this order: a name that was being created, and is not any more, is found. */
	rc = vs_lookup(s->store, dir->collection, create->name, &attr);
	if (rc == -ENOENT && !h->writable)
		rc = -EINVAL; /* it could never become complete */
	else if (rc == -ENOENT)
		rc = file_create_new(s, h, &create->perm, e);
	else if (!rc)
		rc = open_existing(s, h, dir->collection, create, &attr, e);
	if (!h->is_new)
		creating_remove(&h->creating);
	if (rc) {
		free(h);
		return rc;
	}
	tell_kernel(s, h, e->ino, fi);
	return 0;
}

/* Publishing may give the file's name a meaning. The lock of the name comes before that of the inode. */
static struct name_lock lock_to_publish(struct file *h)
{
	struct name_lock name = {0};

	if (*h->name)
		name = name_lock_take(h->creating.collection, h->name);
	pthread_mutex_lock(&h->inode->lock);
	return name;
}

static void unlock_published(struct file *h, struct name_lock name)
{
	pthread_mutex_unlock(&h->inode->lock);
	if (*h->name)
		name_lock_release(name);
}

void file_release(struct mount *s, const struct node *node, const struct fuse_file_info *fi)
{
	struct file *h = file_of(fi);
	struct inode *o = h->inode;
	struct name_lock name = lock_to_publish(h);
	bool is_last = true;

	(void)node;
	assert(h->writable || !h->is_new);
	if (h->writable)
		staging_drop(s, h);
	detach(h);
	for (const struct file *other = o->files; other; other = other->next)
		is_last &= !other->writable;
	o->mapped &= !is_last;
	unlock_published(h, name);
	inode_put(s->inodes, o);
	free(h);
}

/* ------------------------------------------------------------------ data */

static ssize_t read_copy(const struct orphan_data *copy, void *buf, size_t size, size_t off)
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

/* What a file that may have something staged shows; with the lock held. */
static ssize_t read_staged(struct mount *s, const struct file *h, void *buf, size_t size, size_t off)
{
	struct node place = node_of(atomic_load(&h->inode->ino));
	ssize_t got;

	if (staging_hides(h))
		return staging_read(h, buf, 0, size, off);
	got = vs_read(s->store, place.collection, place.entry, buf, size, off);
	if (got == -ENOENT)
		got = read_copy(h->inode->copy, buf, size, off);
	return got < 0 ? got : staging_read(h, buf, got, size, off);
}

/*
 * A page that all who have the file open will share, for a mapping of it or splice(2). It comes in nobody's
 * name, as reads of direct_io files do not.
 */
static bool is_fault(const struct mount *s, const struct fuse_file_info *fi)
{
	return s->direct_mmap && fi->lock_owner == 0;
}

ssize_t file_read(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
		  const struct fuse_file_info *fi)
{
	struct file *h = file_of(fi);
	struct node place = node_of(h ? atomic_load(&h->inode->ino) : node_ino(node));
	ssize_t got = 0;

	if (h && h->writable) {
		pthread_mutex_lock(&h->inode->lock);
		if (is_fault(s, fi))
			got = staging_fault(s, h);
		if (!got)
			got = read_staged(s, h, buf, size, (size_t)off);
		pthread_mutex_unlock(&h->inode->lock);
		return got;
	}
	got = vs_read(s->store, place.collection, place.entry, buf, size, (size_t)off);
	if (got != -ENOENT || !h)
		return got;
	pthread_mutex_lock(&h->inode->lock);
	got = read_copy(h->inode->copy, buf, size, (size_t)off);
	pthread_mutex_unlock(&h->inode->lock);
	return got;
}

/* Who uses the file first is who has opened it, as far as can be told without its process number. */
static void meet(struct file *h, const struct fuse_file_info *fi)
{
	if (!h->has_owner)
		h->owner = fi->lock_owner;
	h->has_owner = true;
}

/* Whether the process that opened the file asks this. A container's processes have no number here. */
static bool is_by_opener(struct file *h, pid_t thread, const struct fuse_file_info *fi)
{
	meet(h, fi);
	if (thread && h->opener)
		return process_same(thread, h->opener);
	return fi->lock_owner == h->owner;
}

int file_write(fuse_req_t req, const struct node *node, const void *buf, size_t size, off_t off,
	       const struct fuse_file_info *fi)
{
	struct mount *s = ops_serve(req);
	struct file *h = file_of(fi);
	int rc;

	(void)node;
	pthread_mutex_lock(&h->inode->lock);
	if (fi->writepage) {
		rc = staging_write_page(s, h, buf, size, (size_t)off);
	} else {
		h->untouched = false;
		meet(h, fi);
		rc = staging_write(s, h, buf, size, (size_t)off);
	}
	pthread_mutex_unlock(&h->inode->lock);
	return rc;
}

int file_allocate(struct mount *s, const struct node *node, uint64_t end, bool keep_size,
		  const struct fuse_file_info *fi)
{
	struct file *h = file_of(fi);
	int rc;

	(void)node;
	pthread_mutex_lock(&h->inode->lock);
	h->untouched = false;
	rc = keep_size ? 0 : staging_extend(s, h, end);
	pthread_mutex_unlock(&h->inode->lock);
	return rc;
}
int file_flush(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi, bool *changed)
{
	struct mount *s = ops_serve(req);
	struct file *h = file_of(fi);
	struct name_lock name;
	bool by_opener;
	int rc;

	(void)node;
	if (!h->writable)
		return 0;
	name = lock_to_publish(h);
	h->untouched = false;
	rc = staging_publish(s, h, false);
	by_opener = is_by_opener(h, fuse_req_ctx(req)->pid, fi);
	if (rc == -EAGAIN)
		rc = by_opener ? staging_close(s, h) : 0;
	*changed = h->unsynced;
	h->unsynced = false;
	unlock_published(h, name);
	return rc;
}

int file_fsync(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi)
{
	struct file *h = file_of(fi);
	struct name_lock name;
	int rc;

	(void)node;
	if (!h || !h->writable)
		return 0;
	name = lock_to_publish(h);
	rc = staging_publish(ops_serve(req), h, true);
	unlock_published(h, name);
	return rc;
}

/* ------------------------------------------------------------------ writers that pause */

/* With the lock of o held: the file that is being created, if there is one and its writer has paused. */
static struct file *find_paused_born(const struct inode *o, int64_t now_ms)
{
	struct file *h = o->files;

	while (h && !(h->is_new && staging_is_paused(h, now_ms)))
		h = h->next;
	return h;
}

/* The lock of its name comes before that of the inode, and the file may be gone by then. */
static void publish_paused_born(struct mount *s, struct inode *o, uint32_t collection, const char *id)
{
	struct name_lock name = name_lock_take(collection, id);
	struct file *h;

	pthread_mutex_lock(&o->lock);
	h = find_paused_born(o, staging_now_ms());
	if (h)
		staging_publish(s, h, false);
	pthread_mutex_unlock(&o->lock);
	name_lock_release(name);
}

static void settle_paused(struct mount *s, struct inode *o)
{
	int64_t now_ms = staging_now_ms();
	char id[VS_NAME_MAX + 1] = "";
	uint32_t collection = 0;
	struct file *is_new;

	pthread_mutex_lock(&o->lock);
	for (struct file *h = o->files; h; h = h->next)
		if (!h->is_new && staging_is_paused(h, now_ms))
			staging_publish(s, h, false);
	is_new = find_paused_born(o, now_ms);
	if (is_new) {
		collection = is_new->creating.collection;
		memcpy(id, is_new->name, strlen(is_new->name) + 1);
	}
	pthread_mutex_unlock(&o->lock);
	if (is_new)
		publish_paused_born(s, o, collection, id);
}

bool file_settle_paused(struct mount *s)
{
	return inode_each_staged(s, settle_paused);
}
