/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/tree/vector.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fs/tree/file.h"
#include "fs/request/message.h"
#include "fs/inode/name_lock.h"
#include "fs/request/invalidate.h"
#include "fs/inode/lookup_cache.h"
#include "fs/control/refusal.h"
#include "fs/tree/staging.h"

void vector_refuse(struct mount *s, uint32_t collection, const char *name, const char *format, ...)
{
	struct vs_collection_info info = {0}, parent = {0};
	char reason[256], sentence[REFUSAL_WHY_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof reason, format, args);
	va_end(args);
	vs_collection_get(s->store, collection, &info);
	if (info.parent && !vs_collection_get(s->store, info.parent, &parent)) {
		message(VS_WARNING, "%s/.vecfs/tx/%s/%s: refused: %s", parent.name, info.name, name, reason);
		snprintf(sentence, sizeof sentence, "%s: %s", name, reason);
		if (strcmp(name, "(deleted)") != 0)
			refusal_add(s, collection, name, sentence);
	} else {
		message(VS_WARNING, "%s/%s: refused: %s", info.name, name, reason);
	}
}

void vector_entry(struct mount *s, uint32_t collection, const struct vs_attr *attr,
		  struct fuse_entry_param *e)
{
	e->ino = node_vector_ino(collection, attr->entry);
	e->entry_timeout = atomic_load(&s->names_changing) ? 0 : ops_timeout_s(s);
	e->attr_timeout = inode_is_staged(s->inodes, e->ino) ? 0 : ops_timeout_s(s);
	node_stat(e->ino, VECTOR_LIMIT, &attr->perm, attr->mtime, attr->ctime, attr->size, &e->attr);
}

int vector_lookup(struct mount *s, uint32_t collection, const char *name, struct fuse_entry_param *e)
{
	struct vs_attr attr;
	int rc = vs_name_check(name, strlen(name));

	if (!rc)
		rc = vs_lookup(s->store, collection, name, &attr);
	if (rc)
		return rc;
	vector_entry(s, collection, &attr, e);
	lookup_cache_put(e->ino);
	return 0;
}

/* Of a vector that the engine does not know: not yet, or not any more. */
static int inode_attr(struct mount *s, uint64_t ino, struct stat *st)
{
	struct inode *o = inode_find(s->inodes, ino);
	int rc = -ESTALE;

	if (!o)
		return rc;
	pthread_mutex_lock(&o->lock);
	for (struct file *h = o->files; h && rc; h = h->next) {
		if (!h->is_new)
			continue;
		node_stat(ino, VECTOR_LIMIT, &h->attr.perm, h->attr.mtime, h->attr.ctime, h->size, st);
		rc = 0;
	}
	if (rc && o->copy) {
		node_stat(ino, VECTOR_LIMIT, &o->copy->attr.perm, o->copy->attr.mtime, o->copy->attr.ctime,
			  o->copy->attr.size, st);
		st->st_nlink = 0;
		rc = 0;
	}
	pthread_mutex_unlock(&o->lock);
	inode_put(s->inodes, o);
	return rc;
}

static int vector_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	uint64_t ino = inode_locate(s->inodes, node_ino(node));
	struct node place = node_of(ino);
	struct vs_attr attr;
	int rc = vs_attr_get(s->store, place.collection, place.entry, &attr);

	*timeout_s = 0;
	if (rc == -ENOENT)
		return inode_attr(s, ino, st);
	if (rc)
		return rc;
	node_stat(ino, VECTOR_LIMIT, &attr.perm, attr.mtime, attr.ctime, attr.size, st);
	if (!inode_is_staged(s->inodes, ino))
		*timeout_s = ops_timeout_s(s);
	return 0;
}

/* Finds the file of an open(O_TRUNC) in progress by this thread: then the truncation is its own. */
static struct file *find_opening(const struct inode *o, pid_t thread)
{
	struct file *h = o->files;

	while (h && !(h->writable && h->untouched && h->opener == thread))
		h = h->next;
	return h;
}

/* truncate(2), and open(2) with O_TRUNC but not for writing. */
static int truncate_path(struct mount *s, struct inode *o, uint64_t size)
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
	if (!o->replace_next && inode_get(s->inodes, node_ino(&place)))
		o->replace_next = true; /* with a reference of its own */
	return 0;
}

static int truncate_vector(struct mount *s, struct inode *o, const struct stat *st, pid_t thread,
			   struct fuse_file_info *fi)
{
	struct file *h = fi && fi->fh ? file_of(fi) : find_opening(o, thread);

	if (!h)
		return truncate_path(s, o, (uint64_t)st->st_size);
	h->untouched = false;
	return staging_truncate(s, h, (uint64_t)st->st_size);
}

/* A new vector's attributes wait in its file; those of one without a name are its copy's. */
static int set_attr(struct mount *s, struct inode *o, unsigned which, const struct vs_attr *attr)
{
	struct node place = node_of(atomic_load(&o->ino));
	bool is_new = false;
	int rc;

	for (struct file *h = o->files; h; h = h->next) {
		staging_set(h, which, attr);
		is_new |= h->is_new;
	}
	if (is_new)
		return 0;
	rc = vs_attr_set(s->store, place.collection, place.entry, which, attr);
	if (rc != -ENOENT)
		return rc;
	return o->copy ? 0 : -ESTALE;
}

static int vector_setattr(fuse_req_t req, const struct node *node, const struct stat *st, int set,
			  struct fuse_file_info *fi)
{
	struct mount *s = ops_serve(req);
	struct inode *o = inode_get(s->inodes, inode_locate(s->inodes, node_ino(node)));
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
	inode_put(s->inodes, o);
	return rc;
}

/* ------------------------------------------------------------------ names */

/* With the name's lock held. */
static int remove_name(struct mount *s, uint32_t collection, const char *name)
{
	struct inode *o;
	struct vs_attr attr;
	int rc = vs_lookup(s->store, collection, name, &attr);

	if (!rc)
		rc = inode_preserve_begin(s, node_vector_ino(collection, attr.entry), &o);
	if (rc)
		return rc;
	rc = vs_remove(s->store, collection, name, NULL);
	inode_preserve_end(s, o);
	return rc;
}

int vector_unlink(fuse_req_t req, const struct node *dir, const char *name)
{
	struct name_lock held;
	int rc = vs_name_check(name, strlen(name));

	if (rc)
		return rc;
	held = name_lock_take(dir->collection, name);
	rc = remove_name(ops_serve(req), dir->collection, name);
	name_lock_release(held);
	return rc;
}

/* The name that is to be replaced, if there is one. */
static int save_target(struct mount *s, uint32_t collection, const char *name, struct inode **out)
{
	struct vs_attr attr;
	int rc = vs_lookup(s->store, collection, name, &attr);

	*out = NULL;
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	return inode_preserve_begin(s, node_vector_ino(collection, attr.entry), out);
}

/* To another collection, which gives the vector another number. */
static int move(struct mount *s, uint32_t from, const char *name, uint64_t from_ino, uint32_t to,
		const char *new_name, bool exclusive)
{
	uint64_t entry, replaced;
	int rc;

	inode_move_begin(s->inodes);
	rc = vs_rename(s->store, from, name, to, new_name, exclusive, &entry, &replaced);
	inode_move_end(s->inodes, from_ino, rc ? 0 : node_vector_ino(to, entry));
	if (!rc)
		notify_entry(s->notify, node_collection_ino(to), new_name); /* it has the old number there */
	return rc;
}

/* With the locks of both names held. */
static int rename_name(struct mount *s, uint32_t from, const char *name, uint32_t to, const char *new_name,
		       bool exclusive)
{
	struct inode *source, *target;
	struct vs_attr attr;
	uint64_t entry, replaced;
	int rc = vs_lookup(s->store, from, name, &attr);

	if (!rc)
		rc = inode_preserve_begin(s, node_vector_ino(from, attr.entry), &source);
	if (rc)
		return rc;
	rc = save_target(s, to, new_name, &target);
	if (rc) {
		inode_preserve_end(s, source);
		return rc;
	}
	if (from == to)
		rc = vs_rename(s->store, from, name, to, new_name, exclusive, &entry, &replaced);
	else
		rc = move(s, from, name, node_vector_ino(from, attr.entry), to, new_name, exclusive);
	if (target)
		inode_preserve_end(s, target);
	inode_preserve_end(s, source);
	return rc;
}

int vector_rename(struct mount *s, uint32_t from, const char *name, uint32_t to, const char *new_name,
		  bool exclusive)
{
	struct name_lock held;
	int rc = vs_name_check(new_name, strlen(new_name));

	if (rc)
		return rc;
	held = name_lock_take_two(from, name, to, new_name);
	rc = rename_name(s, from, name, to, new_name, exclusive);
	name_lock_release(held);
	return rc;
}

const struct node_ops vector_ops = {
	.attr = vector_attr,
	.setattr = vector_setattr,
	.open = file_open,
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.fsync = file_fsync,
	.release = file_release,
	.allocate = file_allocate,
};
