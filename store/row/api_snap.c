/* SPDX-License-Identifier: Apache-2.0 */
/* api_snap - the public calls on durable snapshots; clone.h says how they work. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/clone/clone.h"
#include "store/row/row.h"

/* ------------------------------------------------------------------ making */

/* Links are asked for before anything depends on them: the applier could not tell anybody. */
static int check_links(struct vs_store *s)
{
	char path[32], other[48];
	int fd, rc;

	if (s->has_links)
		return 0;
	snprintf(path, sizeof path, "spill.%u", s->spill_number++);
	snprintf(other, sizeof other, "%s.link", path);
	fd = s->io->ops->open(s->io, path, O_RDWR | O_CREAT, 0600);
	if (fd < 0)
		return fd;
	s->io->ops->close(s->io, fd);
	rc = s->io->ops->link(s->io, path, other);
	s->io->ops->unlink(s->io, other);
	s->io->ops->unlink(s->io, path);
	s->has_links = rc >= 0;
	return rc == -EPERM || rc == -ENOSYS || rc == -EMLINK ? -EOPNOTSUPP : rc < 0 ? rc : 0;
}

/*
 * The directory is made ready before the lock is taken, under the number that the collection will have. Where
 * there is one already, or another one gets the number first, it is made under the lock. 0: it was not made.
 */
static int directory_begin(struct vs_store *s, uint32_t *number)
{
	char path[SEGMENT_PATH_MAX];
	int rc = txn_begin_log(s); /* a store that is called clean must have no such directory */

	if (rc)
		return rc;
	pthread_rwlock_rdlock(&s->lock);
	*number = s->next_collection;
	pthread_rwlock_unlock(&s->lock);
	collection_path(path, *number, NULL);
	rc = *number > VS_COLLECTION_MAX ? -ENOSPC : s->io->ops->mkdir(s->io, path, 0700);
	s->directory_changed = true;
	if (rc < 0)
		*number = 0;
	return rc == -EEXIST || rc >= 0 ? 0 : rc;
}

/* If it was not used it is that of whoever got the number, if there is such a collection. */
static void directory_end(struct vs_store *s, uint32_t number, uint32_t used)
{
	struct collection *c;

	if (!number || number == used)
		return;
	pthread_rwlock_wrlock(&s->lock);
	c = collection_get(&s->table, number);
	for (struct collection *d = s->dropped; d && !c; d = d->dropped_next)
		c = d->id == number ? d : NULL;
	if (c)
		c->has_directory = true;
	else if (number == s->next_collection)
		s->next_collection++; /* it is nobody's, and stays so */
	pthread_rwlock_unlock(&s->lock);
	if (!c && collection_unlink_id(s->io, number))
		s->has_orphans = true;
	s->directory_changed = true;
}

static size_t clone_log_bytes(void)
{
	return sizeof(struct record_clone) + VS_NAME_MAX + 3 * TXN_SMALL_BYTES;
}

static int begin_change(struct vs_store *s, struct txn *txn, uint32_t *made)
{
	int rc = directory_begin(s, made);

	if (!rc && (rc = txn_begin(s, txn, clone_log_bytes())))
		directory_end(s, *made, 0);
	return rc;
}

static void log_clone(struct txn *txn, const struct collection *c, uint32_t source)
{
	size_t len = strlen(c->name);
	struct record_clone *r = txn_append(txn, RECORD_CLONE, c->id, sizeof *r + len);

	r->head.row = source;
	r->head.flags = c->frozen ? RECORD_FROZEN : 0;
	r->sums = (struct attribute_frozen){c->count, c->name_bytes, c->line_bytes};
	r->body = catalog_describe(c);
	memcpy(r + 1, c->name, len);
}

/* All of it that can fail: c is made, and in the table. */
static int make(struct vs_store *s, struct collection *from, struct collection *c, uint32_t made)
{
	struct attribute_frozen sums;
	int rc = catalog_reserve_bytes(s, 1024 + (from->segment_count + 1) * sizeof(struct catalog_segment));

	if (!rc && made != c->id)
		rc = collection_make_directory(s->io, c->id, true);
	c->has_directory = !rc;
	if (!rc)
		rc = clone_segments(s, from, c);
	sums = (struct attribute_frozen){c->count, c->name_bytes, c->line_bytes};
	if (!rc && c->parent)
		rc = clone_set_frozen(s, c, &sums);
	if (!rc)
		rc = clone_set_shares(s, c);
	if (!rc)
		rc = clone_set_shares(s, from);
	collection_listed(c);
	if (c->parent) /* it is what the collection was */
		c->mtime = from->mtime;
	return rc ? rc : collection_add(&s->table, c);
}

/* Makes a collection of from: a snapshot if parent is not 0. perm is its class of permissions, made the
 * number of a directory that is ready. */
static int clone_from(struct txn *txn, struct collection *from, uint32_t parent, const char *name,
		      uint32_t perm, uint32_t made, uint32_t *id)
{
	struct vs_store *s = txn->s;
	struct collection *c;
	int rc;

	if (parent ? collection_find_frozen(&s->table, parent, name) : collection_find(&s->table, 0, name))
		return -EEXIST;
	if (s->next_collection > VS_COLLECTION_MAX)
		return -ENOSPC;
	c = collection_new(s->next_collection, parent, name, s->hash_seed);
	if (!c)
		return -ENOMEM;
	c->fresh = true;
	c->perm = perm;
	s->directory_changed = true;
	rc = make(s, from, c, made);
	if (rc) {
		/* The number is not used again: what was made of its directory is an orphan, or directory_end
		 * removes it. */
		s->has_orphans |= c->has_directory && made != c->id;
		s->next_collection += c->has_directory;
		collection_free(s->io, c);
		return rc;
	}
	*id = s->next_collection++;
	log_clone(txn, c, from->id);
	return 0;
}

int vs_snap_create(struct vs_store *s, uint32_t collection, const char *name, uint32_t *id)
{
	struct collection *from;
	uint32_t made = 0;
	struct txn txn;
	int rc = vs_name_check(name, strlen(name));

	*id = 0;
	if (!rc && s->read_only)
		rc = -EROFS;
	if (!rc)
		rc = check_links(s);
	if (!rc)
		rc = clone_load(s, collection); /* a clone's sums over its ids */
	if (!rc) /* what only vectors have said that are gone is not kept by a snapshot */
		rc = rows_free_schema(s, collection);
	if (!rc)
		rc = begin_change(s, &txn, &made);
	if (rc)
		return rc;
	from = collection_get(&s->table, collection);
	if (!from || from->parent)
		rc = -ENOENT;
	else if (from->damaged)
		rc = -EIO;
	else
		rc = clone_from(&txn, from, from->id, name, from->perm, made, id);
	if (!rc)
		from->children++;
	txn_end(&txn);
	directory_end(s, made, *id);
	return rc;
}

/* A snapshot must be in a catalog before something is made of it: a recovery finds it as it is then. */
static int begin_clone(struct vs_store *s, uint32_t snap)
{
	struct vs_collection_info info;
	int rc = vs_collection_get(s, snap, &info);

	if (rc || !info.frozen)
		return rc ? rc : -EINVAL;
	if (s->read_only)
		return -EROFS;
	rc = check_links(s);
	if (!rc && __atomic_load_n(&s->logging, __ATOMIC_ACQUIRE))
		rc = commit_checkpoint(s);
	return rc ? rc : clone_load(s, snap);
}

int vs_snap_clone(struct vs_store *s, uint32_t snap, const char *name, const struct vs_perm *perm,
		  uint32_t *id)
{
	struct collection *from;
	uint32_t class, made = 0;
	struct txn txn;
	int rc = vs_name_check(name, strlen(name));

	*id = 0;
	if (!rc)
		rc = begin_clone(s, snap);
	if (!rc)
		rc = begin_change(s, &txn, &made);
	if (rc)
		return rc;
	from = collection_get(&s->table, snap);
	rc = !from ? -ENOENT : from->damaged ? -EIO : rows_perm(&txn, perm, &class);
	if (!rc)
		rc = clone_from(&txn, from, 0, name, class, made, id);
	if (!rc) {
		from->clones++;
		rows_root_listed(&txn);
	}
	txn_end(&txn);
	directory_end(s, made, *id);
	if (!rc)
		rc = commit_wait(s);
	return rc ? rc : clone_load(s, *id);
}

/* ------------------------------------------------------------------ the rest */

int vs_snap_drop(struct vs_store *s, uint32_t id)
{
	struct collection *c;
	struct txn txn;
	bool again;
	int rc;

	do {
		again = false;
		rc = txn_begin(s, &txn, TXN_SMALL_BYTES);
		if (rc)
			return rc;
		c = collection_get(&s->table, id);
		if (!c || !c->frozen)
			rc = c ? -EINVAL : -ENOENT;
		else if (c->clones) /* they still need its names */
			again = true;
		else
			collection_drop(&txn, c);
		txn_end(&txn);
		if (again) {
			struct making making;

			/* By the applier, or by who goes back to it. */
			making_begin(s, &making, id);
			making_end(s, &making);
			rc = commit_wait_applied(s);
		}
	} while (again && !rc);
	return rc;
}

int vs_snap_rename(struct vs_store *s, uint32_t id, const char *name)
{
	struct collection *c, *namesake;
	struct txn txn;
	int rc = vs_name_check(name, strlen(name));

	if (!rc)
		rc = txn_begin(s, &txn, TXN_SMALL_BYTES);
	if (rc)
		return rc;
	c = collection_get(&s->table, id);
	namesake = c && c->frozen ? collection_find_frozen(&s->table, c->parent, name) : NULL;
	if (!c || !c->frozen)
		rc = c ? -EINVAL : -ENOENT;
	else if (namesake && namesake != c)
		rc = -EEXIST;
	else if (!namesake)
		rc = catalog_reserve(s, 1);
	if (!rc && !namesake)
		rc = collection_rename(&s->table, c, name);
	if (!rc && !namesake) {
		collection_changed(c);
		rows_log_collection(&txn, c);
	}
	txn_end(&txn);
	return rc;
}

int vs_snap_find(struct vs_store *s, uint32_t collection, const char *name, struct vs_collection_info *out)
{
	const struct collection *c;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_find_frozen(&s->table, collection, name);
	if (c)
		collection_info(s, c, out);
	pthread_rwlock_unlock(&s->lock);
	return c ? 0 : -ENOENT;
}

int vs_snap_next(struct vs_store *s, uint32_t collection, uint32_t after, struct vs_collection_info *out)
{
	const struct collection *c, *up;

	pthread_rwlock_rdlock(&s->lock);
	up = collection_get(&s->table, collection);
	c = up ? collection_next_child(up, true, after) : NULL;
	if (c)
		collection_info(s, c, out);
	pthread_rwlock_unlock(&s->lock);
	return c ? 0 : -ENOENT;
}

int vs_snap_bytes(struct vs_store *s, uint32_t id, uint64_t *alone)
{
	struct vs_collection_info info;
	int rc = vs_collection_get(s, id, &info);

	*alone = 0;
	if (!rc && !info.frozen)
		rc = -EINVAL;
	if (!rc && !s->read_only)
		rc = commit_wait_applied(s);
	for (uint32_t n = 0; n < info.segments && !rc; n++)
		for (enum segment_column i = 0; i < SEGMENT_COLUMNS; i++) {
			char path[SEGMENT_PATH_MAX];
			struct io_identity file;

			segment_path(path, id, n, i);
			if (s->io->ops->identify(s->io, path, &file) >= 0 && file.names == 1)
				*alone += file.allocated;
		}
	return rc;
}
