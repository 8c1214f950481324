/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/tree/staging.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "fs/request/invalidate.h"
#include "fs/tree/vector.h"

#define CAPACITY_MIN 4096 /* while the row size is not known */

static bool is_collected(const struct file *h)
{
	return h->state == HANDLE_NEW || h->state == HANDLE_REPLACE;
}

bool staging_hides(const struct file *h)
{
	return h->is_new || is_collected(h);
}

static struct node place(const struct file *h)
{
	return node_of(atomic_load(&h->inode->ino));
}

/* Attributes of a vector with staged bytes are not cached by the kernel: publishing changes them. */
static void recount(struct mount *s, struct file *h)
{
	bool staged = is_collected(h) || h->size > 0;

	if (staged == h->counted)
		return;
	h->counted = staged;
	inode_staged(s->inodes, h->inode, staged ? 1 : -1);
	if (staged)
		notify_settling(s->notify);
}

/* The size that the vector must have, 0 if any will do that its dtype can have. */
static int find_row_bytes(struct mount *s, struct file *h)
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

static const char *name_of(struct mount *s, const struct file *h, char name[VS_NAME_MAX + 1])
{
	struct node node = place(h);

	if (h->is_new)
		return h->name;
	return vs_name_get(s->store, node.collection, node.entry, name) ? "(deleted)" : name;
}

/* Once for what is staged now. */
static void refuse_incomplete(struct mount *s, struct file *h)
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

/*
 * A vector that exists, and what is staged to modify it, stay what they are. But of a file that became too
 * big nothing will be published any more.
 */
static int refuse_too_big(struct mount *s, struct file *h, uint64_t end)
{
	struct vs_collection_info info = {0};
	char name[VS_NAME_MAX + 1];
	uint32_t collection = place(h).collection;

	if (!vs_collection_get(s->store, collection, &info))
		vector_refuse(s, collection, name_of(s, h, name),
			      "write past the end: got %llu bytes, want %zu (dim=%u dtype=%s)",
			      (unsigned long long)end, h->row_bytes ? h->row_bytes : VS_ROW_BYTES_MAX,
			      info.schema.dim, vs_dtype_name(info.schema.dtype));
	if (!is_collected(h))
		return -EFBIG;
	h->state = HANDLE_REFUSED;
	h->told = false;
	h->size = h->filled = 0;
	recount(s, h);
	return -EFBIG;
}

/* Publishing failed, for no fault of the bytes. Once for what is staged now. */
static int refuse_for(struct mount *s, struct file *h, int rc)
{
	char name[VS_NAME_MAX + 1];

	assert(rc < 0);
	if (!h->told)
		vector_refuse(s, place(h).collection, name_of(s, h, name), "%s", strerror(-rc));
	h->told = true;
	return rc;
}

static int reserve(struct file *h, size_t size)
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
static int resize(struct mount *s, struct file *h, size_t size)
{
	int rc = reserve(h, size);

	if (rc)
		return rc;
	if (size > h->size)
		memset(h->staged + h->size, 0, size - h->size);
	h->size = size;
	if (h->filled > size)
		h->filled = size;
	h->told = h->awaits_map = false;
	recount(s, h);
	return 0;
}

static int stage(struct mount *s, struct file *h, const void *data, size_t size, size_t off)
{
	int rc = off > h->size ? resize(s, h, off) : 0; /* a hole */

	if (!rc)
		rc = reserve(h, off + size);
	if (rc)
		return rc;
	memcpy(h->staged + off, data, size);
	if (off + size > h->size)
		h->size = off + size;
	if (off <= h->filled && off + size > h->filled)
		h->filled = off + size;
	h->written_ms = staging_now_ms();
	h->told = h->awaits_map = false;
	recount(s, h);
	return 0;
}

/*
 * A vector that has lost its name is still there for those who have it open. The copy may be missing where it
 * was lost to a batch just as it was opened: a whole vector makes up for that.
 */
static int modify_copy(struct file *h, const void *data, size_t size, size_t off)
{
	struct orphan_data *copy = h->inode->copy;

	if (!copy && size == h->row_bytes) {
		copy = malloc(sizeof *copy + size);
		if (!copy)
			return -ENOMEM;
		copy->attr = h->attr;
		copy->attr.size = size;
		h->inode->copy = copy;
	}
	if (!copy)
		return -ESTALE;
	if (off + size > copy->attr.size)
		return -EFBIG;
	memcpy(copy->bytes + off, data, size);
	return 0;
}

/*
 * Whether the kernel has nothing of the vector that this file's writing could make out of date, as with most
 * writers: it has dropped its pages when they opened it, and only a reader makes new ones; and it forgets the
 * times at each write, or is not to keep them while something is staged. To be told costs as much as a
 * request.
 */
static bool kernel_keeps_nothing(const struct file *h)
{
	bool loses_setid = h->unprivileged && (h->attr.perm.mode & (S_ISUID | S_ISGID));

	return !h->is_aliased && !h->inode->cached && !loses_setid;
}

/* Changes the published vector; is_told: the kernel need not hear of it. */
static int modify(struct mount *s, struct file *h, const void *data, size_t size, size_t off, bool is_told)
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
	if (!is_told)
		notify_inode(s->notify, node_ino(&node));
	return 0;
}

/* The file's run, if it has one, is over. */
static void end_run(struct mount *s, struct file *h)
{
	if (h->state != HANDLE_EXISTS)
		return;
	h->size = h->filled = 0;
	h->which = 0;
	recount(s, h);
}

static bool has_run(const struct file *h)
{
	return h->state == HANDLE_EXISTS && h->size > 0;
}

/* The draft is published. Runs go on: each may still become the whole vector. */
static int settle(struct mount *s, struct inode *o)
{
	struct draft *d = &o->draft;
	struct file *h = o->files;
	int rc;

	if (!draft_is_pending(d))
		return 0;
	while (h && !has_run(h))
		h = h->next;
	assert(h); /* a draft is of somebody's run */
	rc = modify(s, h, d->image + d->from, d->end - d->from, d->from, false);
	if (rc)
		return rc;
	draft_clear(d);
	for (h = o->files; h; h = h->next)
		h->unsynced |= has_run(h);
	return 0;
}

/* Something is about to happen to a part of the vector: runs end as the modifications that they are. */
static int settle_runs(struct mount *s, struct inode *o)
{
	int rc = settle(s, o);

	for (struct file *h = o->files; h && !rc; h = h->next)
		end_run(s, h);
	return rc;
}

/* Every byte is new: the draft is overwritten, but runs may still become whole themselves. */
static int modify_whole(struct mount *s, struct file *h, const void *data)
{
	int rc = modify(s, h, data, h->row_bytes, 0, kernel_keeps_nothing(h));

	if (!rc) {
		draft_clear(&h->inode->draft);
		end_run(s, h);
	}
	return rc;
}

static int modify_part(struct mount *s, struct file *h, const void *data, size_t size, size_t off)
{
	int rc = settle_runs(s, h->inode);

	return rc ? rc : modify(s, h, data, size, off, kernel_keeps_nothing(h));
}

/* One more piece of a run. */
static int run_on(struct mount *s, struct file *h, const void *data, size_t size, size_t off)
{
	struct draft *d = &h->inode->draft;
	int rc = reserve(h, off + size);

	if (!rc && off + size == h->row_bytes) {
		memcpy(h->staged + off, data, size);
		return modify_whole(s, h, h->staged);
	}
	h->which = 0;
	if (!rc)
		rc = draft_put(d, h->row_bytes, data, size, off);
	return rc ? rc : stage(s, h, data, size, off);
}

/* A write to a vector that exists, with no replacement under way. */
static int overwrite(struct mount *s, struct file *h, const void *data, size_t size, size_t off)
{
	bool runs = off == h->size && !h->inode->mapped && draft_touches(&h->inode->draft, size, off);

	if (off == 0 && size == h->row_bytes)
		return modify_whole(s, h, data);
	return runs ? run_on(s, h, data, size, off) : modify_part(s, h, data, size, off);
}

int staging_write(struct mount *s, struct file *h, const void *data, size_t size, size_t off)
{
	int rc = find_row_bytes(s, h);
	size_t limit = h->row_bytes ? h->row_bytes : VS_ROW_BYTES_MAX;

	if (rc || !size)
		return rc;
	if (h->state == HANDLE_REFUSED)
		return -EFBIG;
	if (h->appends && is_collected(h))
		off = h->size; /* the kernel appends to what is published */
	if (off > limit || size > limit - off)
		return refuse_too_big(s, h, (uint64_t)off + size);
	if (is_collected(h))
		return stage(s, h, data, size, off);
	return overwrite(s, h, data, size, off);
}

/* Somebody stores to a mapping: those that have truncated the vector to write it so have now begun. */
static int start_mapped(struct mount *s, struct inode *o)
{
	int rc = 0;

	for (struct file *h = o->files; h && !rc; h = h->next)
		if (h->awaits_map)
			rc = staging_fault(s, h);
	return rc;
}

/* A mapping shows the published vector, whatever else the file has staged. */
int staging_write_page(struct mount *s, struct file *h, const void *data, size_t size, size_t off)
{
	struct draft *d = &h->inode->draft;
	struct node node = place(h);
	unsigned char *page, *published;
	ssize_t got;
	int rc;

	h->inode->mapped = true;
	if (h->is_new && h->row_bytes && off + size > h->row_bytes)
		return -EFBIG; /* other vectors have fixed the dim meanwhile */
	if (h->is_new)
		return stage(s, h, data, size, off);
	rc = start_mapped(s, h->inode);
	if (rc)
		return rc;
	if (!draft_is_pending(d))
		return modify(s, h, data, size, off, true); /* the kernel's own page is the newest there is */
	page = malloc(2 * size);
	if (!page)
		return -ENOMEM;
	published = page + size;
	memcpy(page, data, size);
	got = vs_read(s->store, node.collection, node.entry, published, size, off);
	if (got == (ssize_t)size)
		draft_mend_page(d, page, published, size, off);
	rc = settle_runs(s, h->inode);
	if (!rc)
		rc = modify(s, h, page, size, off, false); /* the kernel's page may lack what was mended */
	free(page);
	return rc;
}

int staging_fault(struct mount *s, struct file *h)
{
	int rc;

	h->inode->mapped = true;
	h->awaits_map = false;
	if (h->is_new)
		return 0; /* nobody else has it open */
	rc = settle_runs(s, h->inode);
	if (rc || h->state != HANDLE_REPLACE)
		return rc;
	rc = resize(s, h, h->row_bytes);
	return rc ? rc : staging_publish(s, h, true);
}

void staging_start_over(struct mount *s, struct file *h)
{
	h->state = h->is_new ? HANDLE_NEW : HANDLE_REPLACE;
	h->size = h->filled = 0;
	h->which = 0;
	h->told = h->awaits_map = false;
	recount(s, h);
}

/* The staged file gets this size. In a mapping its zeros are to be seen at once. */
static int set_size(struct mount *s, struct file *h, size_t size)
{
	int rc = resize(s, h, size);

	if (!rc && h->state == HANDLE_REPLACE && h->inode->mapped && size == h->row_bytes)
		rc = staging_publish(s, h, true);
	return rc;
}

int staging_truncate(struct mount *s, struct file *h, uint64_t size)
{
	int rc = find_row_bytes(s, h);
	size_t limit = h->row_bytes ? h->row_bytes : VS_ROW_BYTES_MAX;

	if (rc)
		return rc;
	if (size > limit)
		return refuse_too_big(s, h, size);
	if (size == 0 && has_run(h))
		rc = settle(s, h->inode); /* it may be that the replacement never becomes complete */
	if (rc)
		return rc;
	if (size == 0 && !is_collected(h))
		staging_start_over(s, h);
	if (is_collected(h))
		return set_size(s, h, (size_t)size);
	if (h->state == HANDLE_REFUSED)
		return -EFBIG;
	return size == limit ? 0 : -EINVAL;
}

int staging_extend(struct mount *s, struct file *h, uint64_t size)
{
	int rc = find_row_bytes(s, h);
	size_t limit = h->row_bytes ? h->row_bytes : VS_ROW_BYTES_MAX;

	if (rc)
		return rc;
	if (size > limit)
		return refuse_too_big(s, h, size);
	if (h->state == HANDLE_REFUSED)
		return -EFBIG;
	return is_collected(h) && size > h->size ? set_size(s, h, (size_t)size) : 0;
}

void staging_set(struct file *h, unsigned which, const struct vs_attr *attr)
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
		h->attr.ctime =
			vs_time_after(h->attr.ctime, vs_time_now()); /* seen while it is not published */
	if (is_collected(h) || has_run(h))
		h->which |= which;
}

/* The vector appears, and one that got the same name meanwhile dies. */
static int put(struct mount *s, struct file *h)
{
	struct node node = place(h);
	struct inode *rival = NULL;
	struct vs_attr taken;
	uint64_t replaced;
	int rc = 0;

	if (!vs_lookup(s->store, node.collection, h->name, &taken))
		rc = inode_preserve_begin(s, node_vector_ino(node.collection, taken.entry), &rival);
	if (rc)
		return rc;
	rc = vs_put(s->store, node.collection, h->name, &h->attr, h->staged, h->size, &replaced);
	if (rival)
		inode_preserve_end(s, rival);
	if (!rc && replaced)
		notify_entry(s->notify, node_collection_ino(node.collection), h->name);
	return rc;
}

static int publish_new(struct mount *s, struct file *h)
{
	int rc;

	h->attr.entry = place(h).entry;
	if (!(h->which & VS_SET_MTIME))
		h->attr.mtime = vs_time_now();
	rc = put(s, h);
	if (rc)
		return rc;
	creating_remove(&h->creating);
	h->is_new = false;
	h->row_bytes = h->size;
	return 0;
}

/* 1 if the file may be published, 0 if it must grow first. */
static int is_complete(struct mount *s, const struct file *h)
{
	struct vs_collection_info info;
	int rc;

	if (h->row_bytes)
		return h->size == h->row_bytes;
	rc = vs_collection_get(s->store, place(h).collection, &info);
	return rc ? rc : vs_dim_of_size(info.schema.dtype, h->size) > 0;
}

/* A file that is too big: its writer has heard that, who closes it once. */
static int publish_refused(struct file *h)
{
	int rc = h->told ? 0 : -EFBIG;

	h->told = true;
	return rc;
}

static int publish_incomplete(struct mount *s, struct file *h)
{
	/* It may have been mapped to be written so (numpy.memmap, "w+"): of that a file system hears nothing.
	 */
	h->awaits_map = h->state == HANDLE_REPLACE && h->readable && h->size == 0;
	if (h->awaits_map)
		return 0;
	/* A shell closes its first descriptor of "> docs/x" before anything is written: no news. */
	if (h->size > 0)
		refuse_incomplete(s, h);
	if (h->is_new)
		creating_refuse(&h->creating);
	return -EINVAL;
}

int staging_publish(struct mount *s, struct file *h, bool judge)
{
	int rc = find_row_bytes(s, h);

	if (!rc && h->state == HANDLE_REFUSED)
		return publish_refused(h);
	if (!rc && has_run(h)) /* pieces that only others have written are theirs to publish */
		rc = settle(s, h->inode);
	if (rc)
		return refuse_for(s, h, rc);
	end_run(s, h);
	if (h->state == HANDLE_EXISTS)
		return 0;
	rc = judge || h->row_bytes ? is_complete(s, h) : 0;
	if (rc < 0)
		return refuse_for(s, h, rc);
	if (!rc)
		return judge ? publish_incomplete(s, h) : -EAGAIN;
	rc = h->is_new ? publish_new(s, h) : modify_whole(s, h, h->staged);
	if (rc)
		return refuse_for(s, h, rc);
	h->state = HANDLE_EXISTS;
	h->unsynced = true;
	end_run(s, h);
	return 0;
}

int staging_close(struct mount *s, struct file *h)
{
	if (h->state == HANDLE_REPLACE && h->readable && h->size == 0)
		h->awaits_map = true;
	return staging_publish(s, h, true);
}

int64_t staging_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool staging_is_paused(const struct file *h, int64_t now_ms)
{
	if (h->told || h->size == 0 || now_ms - h->written_ms < STAGING_PAUSE_MS)
		return false;
	return h->state == HANDLE_EXISTS || (is_collected(h) && h->row_bytes && h->filled == h->row_bytes);
}

static bool has_runs(const struct inode *o)
{
	const struct file *h = o->files;

	while (h && !has_run(h))
		h = h->next;
	return h != NULL;
}

/* An error can only be logged: nobody is left to return it to. */
void staging_drop(struct mount *s, struct file *h)
{
	if (h->state == HANDLE_EXISTS || (!h->told && h->row_bytes && h->filled == h->row_bytes))
		staging_publish(s, h, false);
	else if (h->state != HANDLE_REFUSED)
		refuse_incomplete(s, h);
	h->state = HANDLE_REFUSED;
	h->size = h->filled = 0;
	recount(s, h);
	if (!has_runs(h->inode))
		draft_clear(&h->inode->draft); /* it could not be published */
	if (h->is_new)
		creating_remove(&h->creating);
	h->is_new = false;
	free(h->staged);
	h->staged = NULL;
}

ssize_t staging_read(const struct file *h, void *buf, ssize_t got, size_t size, size_t off)
{
	size_t n = off < h->size ? h->size - off : 0;

	if (!is_collected(h)) {
		draft_read(&h->inode->draft, buf, (size_t)got, off);
		return got;
	}
	if (n > size)
		n = size;
	if (n)
		memcpy(buf, h->staged + off, n);
	return (ssize_t)n;
}
