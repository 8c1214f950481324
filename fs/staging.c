/* SPDX-License-Identifier: Apache-2.0 */
#include "staging.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/notify.h"
#include "fs/vector.h"

#define CAPACITY_MIN 4096 /* while the row size is not known */

static bool is_collected(const struct handle *h)
{
	return h->state == HANDLE_NEW || h->state == HANDLE_REPLACE;
}

bool staging_hides(const struct handle *h)
{
	return h->born || is_collected(h);
}

static struct node place(const struct handle *h)
{
	return node_of(atomic_load(&h->opened->ino));
}

/* Attributes of a vector with staged bytes are not cached by the kernel: publishing changes them. */
static void recount(struct serve *s, struct handle *h)
{
	bool staged = is_collected(h) || h->size > 0;

	if (staged != h->counted)
		opened_staged(s->opened, h->opened, staged ? 1 : -1);
	h->counted = staged;
}

/* The size that the vector must have, 0 if any will do that its dtype can have. */
static int find_row_bytes(struct serve *s, struct handle *h)
{
	struct vs_collection_info info;
	int rc;

	if (h->row_bytes)
		return 0;
	rc = vs_collection_get(s->store, place(h).collection, &info);
	if (!rc)
		h->row_bytes = info.row_bytes;
	return rc;
}

static const char *name_of(struct serve *s, const struct handle *h, char name[VS_NAME_MAX + 1])
{
	struct node node = place(h);

	if (h->born)
		return h->name;
	return vs_name_get(s->store, node.collection, node.entry, name) ? "(deleted)" : name;
}

/* Once for what is staged now. */
static void refuse_incomplete(struct serve *s, struct handle *h)
{
	struct vs_collection_info info;
	char name[VS_NAME_MAX + 1];
	uint32_t collection = place(h).collection;

	if (h->told || vs_collection_get(s->store, collection, &info))
		return;
	h->told = true;
	if (info.row_bytes)
		vector_refuse(s, collection, name_of(s, h, name), "got %zu bytes, want %zu (dim=%u dtype=%s)",
			      h->size, info.row_bytes, info.schema.dim, vs_dtype_name(info.schema.dtype));
	else
		vector_refuse(s, collection, name_of(s, h, name),
			      "got %zu bytes, want a whole number of %s values, at most %u bytes", h->size,
			      vs_dtype_name(info.schema.dtype), VS_ROW_BYTES_MAX);
}

/* Nothing of what this handle has staged will be published any more. */
static int refuse_too_big(struct serve *s, struct handle *h, uint64_t end)
{
	struct vs_collection_info info = {0};
	char name[VS_NAME_MAX + 1];
	uint32_t collection = place(h).collection;

	if (!vs_collection_get(s->store, collection, &info))
		vector_refuse(s, collection, name_of(s, h, name),
			      "write past the end: got %llu bytes, want %zu (dim=%u dtype=%s)",
			      (unsigned long long)end, h->row_bytes ? h->row_bytes : VS_ROW_BYTES_MAX,
			      info.schema.dim, vs_dtype_name(info.schema.dtype));
	h->state = HANDLE_REFUSED;
	h->told = false;
	h->size = 0;
	recount(s, h);
	return -EFBIG;
}

static int reserve(struct handle *h, size_t size)
{
	size_t capacity = h->row_bytes;
	unsigned char *more;

	if (size <= h->capacity)
		return 0;
	if (!capacity)
		capacity = 2 * size < CAPACITY_MIN ? CAPACITY_MIN : 2 * size;
	assert(capacity >= size);
	more = realloc(h->staged, capacity);
	if (!more)
		return -ENOMEM;
	h->staged = more;
	h->capacity = capacity;
	return 0;
}

/* Sets the staged file's size; what is new of it reads as zeros. */
static int resize(struct serve *s, struct handle *h, size_t size)
{
	int rc = reserve(h, size);

	if (rc)
		return rc;
	if (size > h->size)
		memset(h->staged + h->size, 0, size - h->size);
	h->size = size;
	recount(s, h);
	return 0;
}

static int stage(struct serve *s, struct handle *h, const void *data, size_t size, size_t off)
{
	int rc = off > h->size ? resize(s, h, off) : 0; /* a hole */

	if (!rc)
		rc = reserve(h, off + size);
	if (rc)
		return rc;
	memcpy(h->staged + off, data, size);
	if (off + size > h->size)
		h->size = off + size;
	h->told = false;
	recount(s, h);
	return 0;
}

/*
 * A vector that has lost its name is still there for those who have it open. The copy may be missing where it
 * was lost to a batch just as it was opened: a whole vector makes up for that.
 */
static int modify_copy(struct handle *h, const void *data, size_t size, size_t off)
{
	struct opened_copy *copy = h->opened->copy;

	if (!copy && size == h->row_bytes) {
		copy = malloc(sizeof *copy + size);
		if (!copy)
			return -ENOMEM;
		copy->attr = h->attr;
		copy->attr.size = size;
		h->opened->copy = copy;
	}
	if (!copy)
		return -ESTALE;
	if (off + size > copy->attr.size)
		return -EFBIG;
	memcpy(copy->bytes + off, data, size);
	return 0;
}

/* Changes the published vector. */
static int modify(struct serve *s, struct handle *h, const void *data, size_t size, size_t off,
		  bool from_cache)
{
	struct node node = place(h);
	struct vs_attr attr = h->attr;
	int rc;

	if (!(h->which & VS_SET_MTIME))
		attr.mtime = vs_time_now();
	rc = vs_write(s->store, node.collection, node.entry, data, size, off,
		      VS_SET_MTIME | (h->unprivileged ? VS_DROP_SETID : 0), &attr);
	if (rc == -ENOENT)
		return modify_copy(h, data, size, off);
	if (rc)
		return rc;
	h->unsynced = true;
	h->which = 0;
	if (!from_cache) /* else the kernel's own page is the newest there is */
		notify_inode(s->notify, node_ino(&node));
	return 0;
}

/* Publishes a modification from offset 0 on that was staged. */
static int apply(struct serve *s, struct handle *h)
{
	size_t size = h->size;
	int rc;

	h->size = 0;
	rc = size ? modify(s, h, h->staged, size, 0, false) : 0;
	recount(s, h);
	return rc;
}

/* A write to a vector that exists, with no replacement under way. */
static int overwrite(struct serve *s, struct handle *h, const void *data, size_t size, size_t off)
{
	bool is_whole = off == 0 && size == h->row_bytes;
	bool continues = h->size > 0 && off == h->size;
	int rc = 0;

	if (h->size > 0 && !continues && !is_whole)
		rc = apply(s, h);
	if (rc)
		return rc;
	if (is_whole || (off > 0 && !continues)) {
		h->size = 0;
		rc = modify(s, h, data, size, off, false);
		recount(s, h);
		return rc;
	}
	rc = stage(s, h, data, size, off);
	return !rc && h->size == h->row_bytes ? apply(s, h) : rc;
}

int staging_write(struct serve *s, struct handle *h, const void *data, size_t size, size_t off,
		  bool from_cache)
{
	int rc = find_row_bytes(s, h);
	size_t limit = h->row_bytes ? h->row_bytes : VS_ROW_BYTES_MAX;

	if (rc || !size)
		return rc;
	/* A mapping shows the published vector, whatever else the handle is about. */
	if (from_cache && !h->born)
		return modify(s, h, data, size, off, true);
	if (h->state == HANDLE_REFUSED)
		return -EFBIG;
	if (off > limit || size > limit - off)
		return refuse_too_big(s, h, (uint64_t)off + size);
	if (is_collected(h))
		return stage(s, h, data, size, off);
	return overwrite(s, h, data, size, off);
}

void staging_start_over(struct serve *s, struct handle *h)
{
	h->state = h->born ? HANDLE_NEW : HANDLE_REPLACE;
	h->size = 0;
	h->which = 0;
	h->told = false;
	recount(s, h);
}

int staging_truncate(struct serve *s, struct handle *h, uint64_t size)
{
	int rc = find_row_bytes(s, h);
	size_t limit = h->row_bytes ? h->row_bytes : VS_ROW_BYTES_MAX;

	if (rc)
		return rc;
	if (size > limit)
		return refuse_too_big(s, h, size);
	if (size == 0 && !is_collected(h))
		staging_start_over(s, h);
	h->told = false;
	if (is_collected(h))
		return resize(s, h, (size_t)size);
	if (h->state == HANDLE_REFUSED)
		return -EFBIG;
	return size == limit ? 0 : -EINVAL;
}

void staging_set(struct handle *h, unsigned which, const struct vs_attr *attr)
{
	if (which & VS_SET_MODE)
		h->attr.perm.mode = attr->perm.mode;
	if (which & VS_SET_UID)
		h->attr.perm.uid = attr->perm.uid;
	if (which & VS_SET_GID)
		h->attr.perm.gid = attr->perm.gid;
	if (which & VS_SET_MTIME)
		h->attr.mtime = attr->mtime;
	if (which)
		h->attr.ctime = vs_time_after(h->attr.ctime, vs_time_now()); /* seen while it is not published */
	if (h->born || h->size > 0 || is_collected(h))
		h->which |= which;
}

/* The vector appears, and one that got the same name meanwhile dies. */
static int put(struct serve *s, struct handle *h)
{
	struct node node = place(h);
	struct opened *rival = NULL;
	struct vs_attr taken;
	uint64_t replaced;
	int rc = 0;

	if (!vs_lookup(s->store, node.collection, h->name, &taken))
		rc = opened_save(s, node_vector_ino(node.collection, taken.entry), &rival);
	if (rc)
		return rc;
	rc = vs_put(s->store, node.collection, h->name, &h->attr, h->staged, h->size, &replaced);
	if (rival)
		opened_saved(s, rival);
	if (!rc && replaced)
		notify_entry(s->notify, node_collection_ino(node.collection), h->name);
	return rc;
}

static int publish_new(struct serve *s, struct handle *h)
{
	int rc;

	h->attr.entry = place(h).entry;
	if (!(h->which & VS_SET_MTIME))
		h->attr.mtime = vs_time_now();
	rc = put(s, h);
	if (rc)
		return rc;
	pending_remove(&h->pending);
	h->born = false;
	h->row_bytes = h->size;
	return 0;
}

static bool is_complete(struct serve *s, const struct handle *h)
{
	struct vs_collection_info info;

	if (h->row_bytes)
		return h->size == h->row_bytes;
	return !vs_collection_get(s->store, place(h).collection, &info) &&
	       vs_dim_of_size(info.schema.dtype, h->size) > 0;
}

int staging_publish(struct serve *s, struct handle *h, bool judge)
{
	int rc = find_row_bytes(s, h);

	if (rc)
		return rc;
	if (h->state == HANDLE_REFUSED) {
		rc = h->told ? 0 : -EFBIG;
		h->told = true;
		return rc;
	}
	if (!is_collected(h))
		return apply(s, h);
	if (!judge && (!h->row_bytes || !is_complete(s, h)))
		return -EAGAIN;
	if (!is_complete(s, h)) {
		/* A shell closes its first descriptor of "> docs/x" before anything is written: no news. */
		if (h->size > 0)
			refuse_incomplete(s, h);
		if (h->born)
			pending_refuse(&h->pending);
		return -EINVAL;
	}
	rc = h->born ? publish_new(s, h) : modify(s, h, h->staged, h->size, 0, false);
	if (rc)
		return rc;
	h->state = HANDLE_EXISTS;
	h->unsynced = true;
	h->which = 0;
	h->size = 0;
	recount(s, h);
	return 0;
}

void staging_drop(struct serve *s, struct handle *h)
{
	if (h->state == HANDLE_EXISTS)
		apply(s, h); /* nobody is left to be told of an error */
	else if (h->state != HANDLE_REFUSED)
		refuse_incomplete(s, h);
	h->state = HANDLE_REFUSED;
	h->size = 0;
	recount(s, h);
	if (h->born)
		pending_remove(&h->pending);
	h->born = false;
	free(h->staged);
	h->staged = NULL;
}

ssize_t staging_read(const struct handle *h, void *buf, ssize_t got, size_t size, size_t off)
{
	size_t n = off < h->size ? h->size - off : 0;

	if (n > size)
		n = size;
	if (n)
		memcpy(buf, h->staged + off, n);
	return (ssize_t)n > got ? (ssize_t)n : got;
}
