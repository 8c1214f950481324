/* SPDX-License-Identifier: Apache-2.0 */
/* api_vector - the public calls on single vectors. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/base/row_time.h"
#include "store/clone/clone.h"
#include "store/row/row.h"
#include "store/base/checksum.h"

/* The collection if it can be used at all; under the lock. */
static int usable(const struct vs_store *s, uint32_t id, struct collection **out)
{
	struct collection *c = collection_get(&s->table, id);

	*out = c;
	if (!c)
		return -ENOENT;
	return c->damaged ? -EIO : c->lazy ? -EINPROGRESS : 0;
}

/* Takes the store's lock, shared, and finds a collection to look at; the lock is held in any case, and
 * engine_read_unlock(s, lost, ...) gives it back. */
static int enter(struct vs_store *s, uint32_t id, struct collection **out, unsigned *lost)
{
	int rc, loaded = 0;

	*lost = engine_read_lock(s);
	while ((rc = usable(s, id, out)) == -EINPROGRESS && !loaded) {
		pthread_rwlock_unlock(&s->lock);
		loaded = clone_load(s, id);
		*lost = engine_read_lock(s);
	}
	return rc == -EINPROGRESS ? loaded : rc;
}

/* The same for changing it. */
static int changeable(const struct vs_store *s, uint32_t id, struct collection **out)
{
	int rc = usable(s, id, out);

	if (*out && (*out)->frozen)
		return -EROFS;
	return rc ? rc : (*out)->committing ? -EBUSY : 0;
}

/* The same for changing its ids. */
static int nameable(const struct txn *txn, uint32_t id, struct collection **out)
{
	int rc = changeable(txn->s, id, out);

	return rc ? rc : ahead_attach(txn->ahead, *out);
}

/* The vector size of a collection, to know how much room a change may need. */
static size_t row_bytes_of(struct vs_store *s, uint32_t id)
{
	struct collection *c;
	size_t n;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, id);
	n = c ? c->row_bytes : 0;
	pthread_rwlock_unlock(&s->lock);
	return n;
}

/* Begins a change of a collection whose records are so many vectors, and more_bytes. As txn_begin. */
static int begin(struct vs_store *s, struct txn *txn, uint32_t id, size_t vectors, size_t more_bytes)
{
	for (;;) {
		size_t row_bytes = row_bytes_of(s, id);
		int rc = txn_begin(s, txn, vectors * txn_row_bytes(row_bytes) + more_bytes);
		const struct collection *c = rc ? NULL : collection_get(&s->table, id);

		if (rc || !c || c->row_bytes <= row_bytes)
			return rc;
		txn_end(txn); /* it has got larger vectors meanwhile */
	}
}

/* A vector was refused with rc. If only for the size of vectors that are gone: 0, and it is to be tried
 * again. */
static int free_size(struct vs_store *s, uint32_t id, int rc)
{
	struct vs_collection_info info;

	if ((rc != -EINVAL && rc != -EXDEV) || vs_collection_get(s, id, &info) || info.schema_fixed ||
	    row_bytes_of(s, id) == info.row_bytes)
		return rc;
	return rows_free_schema(s, id);
}

/* Whether a change that answered *rc is to be tried again, now that what it needs is there, or a clone has
 * its index: else *rc is why not. */
static bool is_ready(struct vs_store *s, struct ahead *ahead, uint32_t id, int *rc)
{
	if (*rc != -EAGAIN && *rc != -EINPROGRESS)
		return false;
	*rc = *rc == -EAGAIN ? rows_fetch(s, ahead) : clone_load(s, id);
	return !*rc;
}

static void attr_fill(const struct vs_store *s, const struct collection *c, const struct row *r,
		      struct vs_attr *out)
{
	const struct perm_class *perm = engine_perm_get(s, r->perm);

	out->entry = row_entry(r);
	out->mtime = row_mtime(r);
	out->ctime = row_ctime(r);
	out->perm = (struct vs_perm){perm->mode, perm->uid, perm->gid};
	out->size = c->row_bytes;
}

/* What an entry that the index does not know is. */
static int absent(const struct collection *c)
{
	return collection_index_is_unread(c) ? -EIO : -ENOENT;
}

static int entry_attr(struct vs_store *s, const struct collection *c, uint64_t entry, struct vs_attr *out)
{
	uint32_t row = collection_row_of(c, entry);
	const struct row *r;
	const char *name;

	if (row == ROW_NONE)
		return absent(c);
	r = collection_row(c, row, &name);
	if (!r)
		return -EIO;
	attr_fill(s, c, r, out);
	return 0;
}

int vs_lookup(struct vs_store *s, uint32_t collection, const char *name, struct vs_attr *out)
{
	struct collection *c;
	uint64_t entry;
	unsigned lost;
	int rc = enter(s, collection, &c, &lost);

	if (!rc) {
		rc = collection_entry(c, name, strlen(name), &entry);
		if (!rc)
			rc = entry ? entry_attr(s, c, entry, out) : -ENOENT;
	}
	return engine_read_unlock(s, lost, rc);
}

int vs_attr_get(struct vs_store *s, uint32_t collection, uint64_t entry, struct vs_attr *out)
{
	struct collection *c;
	unsigned lost;
	int rc = enter(s, collection, &c, &lost);

	if (!rc)
		rc = entry_attr(s, c, entry, out);
	return engine_read_unlock(s, lost, rc);
}

int vs_name_get(struct vs_store *s, uint32_t collection, uint64_t entry, char name[VS_NAME_MAX + 1])
{
	struct collection *c;
	const struct row *r;
	const char *p;
	uint32_t row;
	unsigned lost;
	int rc = enter(s, collection, &c, &lost);

	if (!rc) {
		row = collection_row_of(c, entry);
		r = row == ROW_NONE ? NULL : collection_row(c, row, &p);
		rc = row == ROW_NONE ? absent(c) : r ? 0 : -EIO;
		if (!rc) {
			memcpy(name, p, r->name_len);
			name[r->name_len] = 0;
		}
	}
	return engine_read_unlock(s, lost, rc);
}

int vs_list(struct vs_store *s, uint32_t collection, uint64_t after, vs_list_fn fn, void *arg)
{
	struct collection *c;
	uint64_t entry;
	bool unread = false, any = false;
	unsigned lost;
	int rc = enter(s, collection, &c, &lost);

	for (entry = after; !rc && !unread && (entry = entry_map_next(&c->entries, entry));) {
		const char *name;
		uint32_t row = collection_row_of(c, entry);
		const struct row *r = row == ROW_NONE ? NULL : collection_row(c, row, &name);
		struct vs_attr attr;

		if (!r) {
			unread = row != ROW_NONE && collection_row_is_unread(c, row);
			continue; /* check names it; the others must be listed */
		}
		attr_fill(s, c, r, &attr);
		if (!fn(arg, &attr, name, r->name_len))
			break;
		any = true;
	}
	if (!rc && !entry)
		unread = collection_index_is_unread(c);
	return engine_read_unlock(s, lost, rc || any || !unread ? rc : -EIO);
}

/* ------------------------------------------------------------------ reading */

/*
 * A vector is looked up under the lock and read without it. If it changed or moved meanwhile its checksum
 * does not fit, and it is looked up once more: it is damaged if it is still at that place, with these
 * metadata.
 */
struct reading {
	struct row meta;
	uint32_t row;
	struct segment *seg; /* counted; NULL: there is nothing to be read any more */
	size_t row_bytes;
	void *whole; /* where all of it goes, */
	void *own;   /* and whether that is memory of its own */
	int error;   /* it cannot be read */
};

/* Looks it up; what waits for the applier is copied. buf, if it takes size bytes, may be where it goes. */
static int reading_begin(struct vs_store *s, uint32_t collection, uint64_t entry, void *buf, size_t size,
			 struct reading *r)
{
	const struct row *found;
	struct collection *c;
	const char *name;
	unsigned lost;
	int rc = enter(s, collection, &c, &lost);

	r->seg = NULL;
	r->row = rc ? ROW_NONE : collection_row_of(c, entry);
	if (rc || r->row == ROW_NONE)
		return engine_read_unlock(s, lost, rc ? rc : absent(c));
	found = collection_row(c, r->row, &name);
	r->error = found ? 0 : collection_row_is_unread(c, r->row) ? -EIO : -EBADMSG;
	r->row_bytes = c->row_bytes;
	r->meta = found ? *found : (struct row){0};
	if (size < c->row_bytes && !r->own && !(r->own = malloc(c->row_bytes)))
		r->error = -ENOMEM;
	r->whole = size < c->row_bytes ? r->own : buf;
	if (!r->error && !collection_pending_bytes(c, r->row, r->whole))
		segment_get(r->seg = collection_segment(c, r->row));
	r->error = engine_read_unlock(s, lost, r->error);
	return 0;
}

/* Reads what is in the file, and verifies all of it: -EBADMSG. */
static int reading_end(struct reading *r)
{
	int rc = r->error;

	if (!rc && r->seg)
		rc = segment_read(r->seg, SEGMENT_VECTORS, r->whole, r->row_bytes,
				  segment_offset(r->seg, r->row & (r->seg->rows_max - 1)));
	return rc ? rc : sum_data(r->whole, r->row_bytes) == r->meta.data_sum ? 0 : -EBADMSG;
}

/* Counts and reports what read_row found; without the lock. */
static int read_failed(struct vs_store *s, uint32_t collection, uint64_t entry, int rc)
{
	struct vs_collection_info info;
	char name[VS_NAME_MAX + 1] = "?";

	if (rc == -ENOENT)
		return rc;
	if (rc == -EBADMSG)
		s->counters.checksum_errors++;
	if (vs_collection_get(s, collection, &info))
		info.name[0] = 0;
	vs_name_get(s, collection, entry, name);
	engine_report(s, VS_ERROR, "%s/%s: %s", info.name, name,
		      rc == -EBADMSG ? "checksum mismatch" : strerror(-rc));
	return -EIO;
}

ssize_t vs_read(struct vs_store *s, uint32_t collection, uint64_t entry, void *buf, size_t size, size_t off)
{
	struct reading r = {.row = ROW_NONE}, was;
	size_t n = 0;
	int rc, bad = 0;

	do {
		was = r;
		rc = reading_begin(s, collection, entry, buf, off ? 0 : size, &r);
		if (rc)
			break;
		bad = size && off < r.row_bytes ? reading_end(&r) : 0;
		segment_put(s->io, r.seg);
	} while (bad && (r.row != was.row || memcmp(&r.meta, &was.meta, sizeof r.meta)));
	if (!rc && !bad && off < r.row_bytes)
		n = size < r.row_bytes - off ? size : r.row_bytes - off;
	if (n && r.own)
		memcpy(buf, (char *)r.own + off, n);
	free(r.own);
	if (rc)
		return rc;
	s->counters.reads++;
	return bad ? read_failed(s, collection, entry, bad) : (ssize_t)n;
}

/* ------------------------------------------------------------------ changing */

int vs_entry_reserve(struct vs_store *s, uint32_t collection, uint64_t *entry)
{
	struct collection *c;
	int rc;

	if (s->read_only)
		return -EROFS;
	pthread_rwlock_rdlock(&s->lock);
	rc = changeable(s, collection, &c);
	if (!rc || rc == -EINPROGRESS)
		rc = collection_take_entries(c, 1, entry);
	pthread_rwlock_unlock(&s->lock);
	return rc;
}

static int put_once(struct vs_store *s, struct ahead *ahead, uint32_t collection, const char *name,
		    const struct vs_attr *attr, const void *data, size_t size, uint64_t *replaced)
{
	struct row_put put = {0};
	struct collection *c;
	struct txn txn;
	int rc = txn_begin(s, &txn, txn_row_bytes(size) + 2 * TXN_SMALL_BYTES);

	if (rc)
		return rc;
	txn.ahead = ahead;
	rc = nameable(&txn, collection, &c);
	if (!rc)
		rc = rows_put_prepare(&txn, c, name, attr, data, size, &put);
	if (!rc)
		rows_put(&txn, c, &put);
	txn_end(&txn);
	if (replaced)
		*replaced = rc ? 0 : put.replaced;
	return rc;
}

static int put_vector(struct vs_store *s, uint32_t collection, const char *name, const struct vs_attr *attr,
		      const void *data, size_t size, uint64_t *replaced)
{
	struct ahead ahead = {0};
	int rc;

	do
		rc = put_once(s, &ahead, collection, name, attr, data, size, replaced);
	while (is_ready(s, &ahead, collection, &rc));
	ahead_free(s, &ahead);
	return rc;
}

int vs_put(struct vs_store *s, uint32_t collection, const char *name, const struct vs_attr *attr,
	   const void *data, size_t size, uint64_t *replaced)
{
	int rc = vs_name_check(name, strlen(name));

	if (!rc && (!size || size > VS_ROW_BYTES_MAX))
		rc = -EINVAL;
	if (rc)
		return rc;
	rc = put_vector(s, collection, name, attr, data, size, replaced);
	if (rc && !(rc = free_size(s, collection, rc)))
		rc = put_vector(s, collection, name, attr, data, size, replaced);
	s->counters.puts += !rc;
	return rc;
}

/* What a row is now, as a change to start from: the change is made now. The name points into the caller's
 * buffer. */
static int change_of(const struct collection *c, uint32_t row, char name[256], struct row_change *out)
{
	const char *p;
	const struct row *r = collection_row(c, row, &p);

	if (!r)
		return -EIO;
	memcpy(name, p, r->name_len);
	*out = (struct row_change){
		.entry = row_entry(r),
		.mtime = row_mtime(r),
		.ctime = vs_time_after(row_ctime(r), vs_time_now()),
		.perm = r->perm,
		.name = name,
		.name_len = r->name_len,
		.data_sum = r->data_sum,
	};
	return 0;
}

/* A change of one vector that keeps its name and its row. */
struct row_update {
	struct txn txn;
	struct collection *c;
	uint32_t row;
	struct row_change change; /* the row as it is, until something in it is set */
	char name[256];           /* for it */
};

/* Begins it; on failure nothing is held. */
static int row_update_begin(struct vs_store *s, struct ahead *ahead, uint32_t collection, uint64_t entry,
			    size_t row_bytes, struct row_update *e)
{
	int rc = txn_begin(s, &e->txn, txn_row_bytes(row_bytes) + TXN_SMALL_BYTES);

	if (rc)
		return rc;
	e->txn.ahead = ahead;
	rc = changeable(s, collection, &e->c);
	if (!rc) {
		e->row = collection_row_of(e->c, entry);
		/* Of another size it is one that has come since. */
		rc = e->row == ROW_NONE || (row_bytes && e->c->row_bytes != row_bytes)
			     ? -ENOENT
			     : change_of(e->c, e->row, e->name, &e->change);
	}
	if (!rc)
		rc = rows_reserve_image(&e->txn, e->c, e->row);
	if (rc)
		txn_end(&e->txn);
	return rc;
}

/* Sets the attributes, and ends it; without effect if rc is an error. */
static int row_update_end(struct row_update *e, int rc, unsigned which, const struct vs_attr *attr)
{
	if (which & VS_SET_MTIME)
		e->change.mtime = attr->mtime;
	if (!rc)
		rc = rows_reserve_change(&e->txn, e->c, e->row, &e->change);
	if (!rc)
		rc = rows_perm_change(&e->txn, which, attr ? &attr->perm : NULL, &e->change.perm);
	if (!rc)
		rows_change(&e->txn, e->c, e->row, &e->change);
	txn_end(&e->txn);
	free(e->change.kept);
	return rc;
}

int vs_attr_set(struct vs_store *s, uint32_t collection, uint64_t entry, unsigned which,
		const struct vs_attr *attr)
{
	struct ahead ahead = {0};
	struct row_update e;
	int rc;

	do {
		rc = row_update_begin(s, &ahead, collection, entry, row_bytes_of(s, collection), &e);
		if (!rc)
			rc = row_update_end(&e, 0, which, attr);
	} while (is_ready(s, &ahead, collection, &rc));
	ahead_free(s, &ahead);
	return rc;
}

/* Copies a row whose bytes have this sum: -EBADMSG if they have not. */
static int row_verified(struct ahead *ahead, const struct collection *c, uint32_t row, uint32_t sum,
			void *buf)
{
	int rc = ahead_row(ahead, c, row, buf);

	return rc ? rc : sum_data(buf, c->row_bytes) == sum ? 0 : -EBADMSG;
}

/* The new bytes of a row: data, or the old ones with data laid over them; in *merged if they had to be made.
 */
static int merge(struct row_update *e, const void *data, size_t size, size_t off, void **merged)
{
	size_t row_bytes = e->c->row_bytes;
	int rc;

	e->change.data = data;
	if (size < row_bytes) {
		if (!*merged && !(*merged = malloc(row_bytes)))
			return -ENOMEM;
		rc = row_verified(e->txn.ahead, e->c, e->row, e->change.data_sum, *merged);
		if (rc)
			return rc;
		memcpy((char *)*merged + off, data, size);
		e->change.data = *merged;
	}
	e->change.data_sum = sum_data(e->change.data, row_bytes);
	return 0;
}

int vs_write(struct vs_store *s, uint32_t collection, uint64_t entry, const void *data, size_t size,
	     size_t off, unsigned which, const struct vs_attr *attr)
{
	size_t row_bytes = row_bytes_of(s, collection);
	struct ahead ahead = {0};
	void *merged = NULL;
	struct row_update e;
	int rc;

	if (!row_bytes)
		return -ENOENT;
	if (off > row_bytes || size > row_bytes - off)
		return -EFBIG;
	do {
		rc = row_update_begin(s, &ahead, collection, entry, row_bytes, &e);
		if (!rc)
			rc = row_update_end(&e, merge(&e, data, size, off, &merged), which, attr);
	} while (is_ready(s, &ahead, collection, &rc));
	ahead_free(s, &ahead);
	free(merged);
	if (rc == -EBADMSG)
		return read_failed(s, collection, entry, rc);
	if (!rc)
		*(size == row_bytes ? &s->counters.overwrites : &s->counters.patches) += 1;
	return rc;
}

static int remove_once(struct vs_store *s, struct ahead *ahead, uint32_t collection, const char *name,
		       uint64_t *found)
{
	struct collection *c;
	struct txn txn;
	int rc = begin(s, &txn, collection, 1, 2 * TXN_SMALL_BYTES);

	if (rc)
		return rc;
	txn.ahead = ahead;
	rc = nameable(&txn, collection, &c);
	if (!rc) {
		rc = collection_entry(c, name, strlen(name), found);
		if (!rc)
			rc = *found ? rows_remove(&txn, c, collection_row_of(c, *found)) : -ENOENT;
	}
	txn_end(&txn);
	return rc;
}

int vs_remove(struct vs_store *s, uint32_t collection, const char *name, uint64_t *entry)
{
	struct ahead ahead = {0};
	uint64_t found = 0;
	int rc;

	do
		rc = remove_once(s, &ahead, collection, name, &found);
	while (is_ready(s, &ahead, collection, &rc));
	ahead_free(s, &ahead);
	if (entry)
		*entry = rc ? 0 : found;
	s->counters.removes += !rc;
	return rc;
}

/* ------------------------------------------------------------------ renaming */

/* In the segment of an entry, unless that takes no names. */
static int reserve_name(struct txn *txn, struct collection *c, uint64_t entry, const char *name, size_t len)
{
	struct segment *seg = collection_segment(c, collection_row_of(c, entry));

	return segment_is_shared(seg) ? 0 : rows_reserve_name(txn, c, seg, name, len);
}

static int rename_within(struct txn *txn, struct collection *c, uint64_t entry, const char *new_name,
			 uint64_t target)
{
	struct row_change change;
	size_t len = strlen(new_name);
	char name[256];
	int rc;

	if (target == entry)
		return 0;
	rc = change_of(c, collection_row_of(c, entry), name, &change);
	if (rc)
		return rc;
	change.name = new_name;
	change.name_len = len;
	rc = rows_reserve_change(txn, c, collection_row_of(c, entry), &change);
	if (!rc)
		rc = overlay_reserve(&c->overlay, 4);
	if (!rc)
		rc = reserve_name(txn, c, entry, new_name, len);
	if (!rc && target)
		rc = reserve_name(txn, c, target, new_name, len); /* it may leave its place to the row */
	if (!rc)
		rc = rows_reserve_image(txn, c, collection_row_of(c, entry));
	if (!rc && target)
		rc = rows_remove(txn, c, collection_row_of(c, target));
	/* The removal may have moved the row. */
	if (!rc)
		rows_change(txn, c, collection_row_of(c, entry), &change);
	free(change.kept);
	return rc;
}

static int rename_across(struct txn *txn, struct collection *from, uint64_t entry, struct collection *to,
			 const char *new_name, uint64_t *new_entry)
{
	struct row_change change;
	const struct perm_class *perm;
	struct vs_attr attr;
	char name[256];
	struct row_put put;
	void *buf;
	int rc;

	if (from->schema.dtype != to->schema.dtype || (to->row_bytes && to->row_bytes != from->row_bytes))
		return -EXDEV;
	rc = change_of(from, collection_row_of(from, entry), name, &change);
	if (rc)
		return rc;
	buf = malloc(from->row_bytes);
	if (!buf)
		return -ENOMEM;
	perm = engine_perm_get(txn->s, change.perm);
	attr = (struct vs_attr){
		.mtime = change.mtime,
		.ctime = change.ctime,
		.perm = {perm->mode, perm->uid, perm->gid},
	};
	rc = row_verified(txn->ahead, from, collection_row_of(from, entry), change.data_sum, buf);
	if (!rc)
		rc = collection_take_entries(to, 1, &attr.entry);
	if (!rc)
		rc = rows_put_prepare(txn, to, new_name, &attr, buf, from->row_bytes, &put);
	if (!rc) {
		rc = rows_remove(txn, from, collection_row_of(from, entry));
		if (rc)
			rows_put_cancel(txn, to, &put);
		else
			rows_put(txn, to, &put);
	}
	free(buf);
	*new_entry = attr.entry;
	return rc;
}

static int move_once(struct vs_store *s, struct ahead *ahead, uint32_t from, const char *old_name,
		     uint32_t to, const char *new_name, bool exclusive, uint64_t *entry, uint64_t *replaced)
{
	struct collection *src, *dst;
	uint64_t found = 0, target = 0;
	struct txn txn;
	int rc = begin(s, &txn, from, 2, txn_row_bytes(0) + 4 * TXN_SMALL_BYTES);

	if (rc)
		return rc;
	txn.ahead = ahead;
	rc = nameable(&txn, from, &src);
	if (!rc)
		rc = nameable(&txn, to, &dst);
	if (!rc)
		rc = collection_entry(src, old_name, strlen(old_name), &found);
	if (!rc)
		rc = collection_entry(dst, new_name, strlen(new_name), &target);
	if (!rc)
		rc = !found ? -ENOENT : target && exclusive ? -EEXIST : 0;
	*entry = found;
	if (!rc)
		rc = src == dst ? rename_within(&txn, src, found, new_name, target)
				: rename_across(&txn, src, found, dst, new_name, entry);
	txn_end(&txn);
	if (rc == -EBADMSG)
		rc = read_failed(s, from, found, rc);
	*replaced = rc || (from == to && target == found) ? 0 : target;
	return rc;
}

static int move(struct vs_store *s, uint32_t from, const char *old_name, uint32_t to, const char *new_name,
		bool exclusive, uint64_t *entry, uint64_t *replaced)
{
	struct ahead ahead = {0};
	int rc;

	do
		rc = move_once(s, &ahead, from, old_name, to, new_name, exclusive, entry, replaced);
	while (is_ready(s, &ahead, to, &rc) && !(rc = clone_load(s, from)));
	ahead_free(s, &ahead);
	return rc;
}

int vs_rename(struct vs_store *s, uint32_t from, const char *old_name, uint32_t to, const char *new_name,
	      bool exclusive, uint64_t *entry, uint64_t *replaced)
{
	int rc = vs_name_check(new_name, strlen(new_name));

	if (rc)
		return rc;
	rc = move(s, from, old_name, to, new_name, exclusive, entry, replaced);
	if (rc && !(rc = free_size(s, to, rc)))
		rc = move(s, from, old_name, to, new_name, exclusive, entry, replaced);
	s->counters.renames += !rc;
	return rc;
}
