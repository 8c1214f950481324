/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/control.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "fs/control/batch.h"
#include "fs/request/listing.h"
#include "fs/request/message.h"
#include "fs/control/array_pairing.h"
#include "fs/control/temporary.h"
#include "fs/control/batch_upload.h"
#include "fs/control/near.h"

struct item {
	enum node_kind kind;
	unsigned which;
};

static const struct item mount_items[] = {
	{NODE_LOG, 0}, {NODE_METRICS, 0}, {NODE_VERSION, 0}, {NODE_STATS, 0}, {NODE_NONE, 0}};

static const struct item collection_items[] = {
	{NODE_SCHEMA, 0},
	{NODE_STATS, 0},
	{NODE_ARRAY, NODE_ARRAY_IDS},
	{NODE_ARRAY, NODE_ARRAY_IDS0},
	{NODE_ARRAY, NODE_ARRAY_ROWS},
	{NODE_ARRAY, NODE_ARRAY_VECTORS + ARRAY_NPY},
	{NODE_ARRAY, NODE_ARRAY_VECTORS + ARRAY_FVECS},
	{NODE_ARRAY, NODE_ARRAY_VECTORS + ARRAY_BVECS},
	{NODE_ARRAY, NODE_ARRAY_VECTORS + ARRAY_FBIN},
	{NODE_ARRAY, NODE_ARRAY_VECTORS + ARRAY_U8BIN},
	{NODE_ARRAY, NODE_ARRAY_VECTORS + ARRAY_I8BIN},
	{NODE_ARRAY, NODE_ARRAY_VECTORS + ARRAY_RAW},
	{NODE_SEGMENTS, 0},
	{NODE_TX, 0},
	{NODE_SNAP, 0},
	{NODE_CLONE, 0},
	{NODE_ROLLBACK, 0},
	{NODE_COMMIT, 0},
	{NODE_NEAR, 0},
	{NODE_SEARCH, 0},
	{NODE_SEARCHED, 0},
	{NODE_VIEWS, 0},
	{NODE_NONE, 0},
};

/* Whether a collection, or a durable snapshot of one, has the item: of a snapshot there is what only looks.
 */
static bool has_item(const struct vs_collection_info *info, const struct item *item)
{
	switch (item->kind) {
	case NODE_TX:
	case NODE_COMMIT:
	case NODE_SNAP:
		return !info->frozen;
	case NODE_CLONE:
	case NODE_ROLLBACK:
		return info->frozen;
	default:
		return true;
	}
}

static const struct item batch_items[] = {
	{NODE_TEXT, VS_BATCH_IDS},
	{NODE_TEXT, VS_BATCH_DELETE},
	{NODE_TEXT, VS_BATCH_IDS0},
	{NODE_TEXT, VS_BATCH_DELETE0},
	{NODE_RESULT, 0},
	{NODE_FILE, VS_BATCH_ATTRIBUTES},
	{NODE_FILE, VS_BATCH_RECEIVED},
	{NODE_UPLOAD, NODE_ARRAY_VECTORS + ARRAY_NPY},
	{NODE_UPLOAD, NODE_ARRAY_VECTORS + ARRAY_FVECS},
	{NODE_UPLOAD, NODE_ARRAY_VECTORS + ARRAY_BVECS},
	{NODE_UPLOAD, NODE_ARRAY_VECTORS + ARRAY_FBIN},
	{NODE_UPLOAD, NODE_ARRAY_VECTORS + ARRAY_U8BIN},
	{NODE_UPLOAD, NODE_ARRAY_VECTORS + ARRAY_I8BIN},
	{NODE_UPLOAD, NODE_ARRAY_VECTORS + ARRAY_RAW},
	{NODE_NONE, 0},
};

/* What could be in a control directory; info is filled but for the mount's. */
static int items_of(struct mount *s, const struct node *dir, struct vs_collection_info *info,
		    const struct item **items)
{
	int rc;

	memset(info, 0, sizeof *info);
	*items = mount_items;
	if (dir->collection == 0)
		return 0;
	rc = vs_collection_get(s->store, dir->collection, info);
	*items = info->parent && !info->frozen ? batch_items : collection_items;
	return rc == -ENOENT ? -ESTALE : rc;
}

uint64_t control_parent_ino(const struct node *node)
{
	struct node control = {.kind = NODE_CONTROL, .collection = node->collection};

	if (node->kind != NODE_CONTROL)
		return node_ino(&control);
	return node->collection ? node_collection_ino(node->collection) : FUSE_ROOT_ID;
}

static bool is_called(const struct item *item, enum vs_dtype dtype, const char *name)
{
	char buffer[32];
	const char *its = node_name(item->kind, item->which, dtype, buffer);

	return its && !strcmp(name, its);
}

bool control_find(struct mount *s, const char *name, uint32_t batch, struct node *out)
{
	struct vs_schema schema;
	bool is_free;

	if (batch_schema(s, batch, &schema, &is_free))
		return false;
	for (const struct item *item = batch_items; item->kind != NODE_NONE; item++) {
		bool found = is_called(item, schema.dtype, name);

		/* Where any dtype will do, the name may tell which it is. */
		if (is_free && item->kind == NODE_UPLOAD && item->which != NODE_ARRAY_VECTORS + ARRAY_RAW)
			for (int dtype = 0; dtype < VS_DTYPE_COUNT && !found; dtype++)
				found = is_called(item, (enum vs_dtype)dtype, name);
		if (!found)
			continue;
		*out = (struct node){.kind = item->kind, .collection = batch, .which = item->which};
		return true;
	}
	return false;
}

/* ------------------------------------------------------------------ attributes */

static mode_t limit_of(const struct node *node)
{
	switch (node->kind) {
	case NODE_SCHEMA:
	case NODE_QUERY:
	case NODE_TEXT:
	case NODE_UPLOAD:
	case NODE_TEMPORARY:
	case NODE_FILE:
	case NODE_RESULT:
		return S_IFREG | 0666;
	case NODE_SEARCHED:
		return S_IFREG | 0222;
	case NODE_VIEW_TEXT:
		return S_IFREG | (node->which == NODE_VIEW_PARAMS ? 0666 : 0444);
	case NODE_SEGMENTS:
	case NODE_NEAR:
	case NODE_NEAR_AT:
	case NODE_VIEW:
	case NODE_VIEW_CONTROL:
	case NODE_VIEW_DECODED:
		return S_IFDIR | 0555;
	default:
		return node_type(node->kind) == S_IFDIR ? S_IFDIR | 0777 : S_IFREG | 0444;
	}
}

struct vs_perm control_root_perm(struct mount *s)
{
	struct vs_root root;

	vs_root_get(s->store, &root);
	return root.owned ? root.perm : s->root_perm;
}

int control_file_attr(struct mount *s, const struct node *node, vs_time mtime, uint64_t size, struct stat *st)
{
	struct vs_perm root = control_root_perm(s);
	struct vs_collection_info info;
	mode_t limit = limit_of(node);
	uint64_t ino = node_ino(node);
	int rc;

	if (node->collection == 0) {
		node_stat(ino, limit, &root, mtime, mtime, size, st);
		return 0;
	}
	rc = vs_collection_get(s->store, node->collection, &info);
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	/* What a collection was can still be asked, and not changed. */
	if (info.frozen && node->kind == NODE_SCHEMA)
		limit &= ~(mode_t)0222;
	node_stat(ino, limit, &info.perm, mtime, mtime, size, st);
	return 0;
}

int control_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	*timeout_s = 1;
	return control_file_attr(s, node, s->started, 0, st);
}

/* ------------------------------------------------------------------ what is in it */

static int find_item(fuse_req_t req, const struct node *dir, const struct vs_collection_info *info,
		     const struct item *item, struct fuse_entry_param *e)
{
	struct mount *s = ops_serve(req);
	struct node node = {.kind = item->kind, .collection = dir->collection, .which = item->which};
	bool is_dir = node_type(item->kind) == S_IFDIR;

	if (item->kind == NODE_ARRAY)
		return pairing_lookup(req, &node, e);
	if (item->kind == NODE_LOG)
		node.entry = message_log_start();
	if ((item->kind == NODE_TEXT || item->kind == NODE_UPLOAD || item->kind == NODE_FILE) &&
	    !batch_has(s, info->id, &node))
		return -ENOENT;
	return ops_entry(s, &node, is_dir ? ops_timeout_s(s) : 0, e);
}

static int batch_lookup(fuse_req_t req, const struct node *dir, const struct vs_collection_info *info,
			const char *name, struct fuse_entry_param *e)
{
	struct node node;

	if (!control_find(ops_serve(req), name, info->id, &node)) {
		if (!batch_find_temporary(info->id, name, &node))
			return -ENOENT;
		return ops_entry(ops_serve(req), &node, 0, e);
	}
	return find_item(req, dir, info, &(struct item){node.kind, node.which}, e);
}

static int control_lookup(fuse_req_t req, const struct node *dir, const char *name,
			  struct fuse_entry_param *e)
{
	struct vs_collection_info info;
	const struct item *items;
	int rc = items_of(ops_serve(req), dir, &info, &items);

	if (rc)
		return rc;
	if (info.parent && !info.frozen)
		return batch_lookup(req, dir, &info, name, e);
	if (info.id && !strncmp(name, NEAR_PREFIX, strlen(NEAR_PREFIX)))
		return near_at_lookup(req, dir, name, e);
	for (const struct item *item = items; item->kind != NODE_NONE; item++)
		if (has_item(&info, item) && is_called(item, info.schema.dtype, name))
			return find_item(req, dir, &info, item, e);
	return -ENOENT;
}

/* Whether the item is there to be listed; an upload goes by one name of the many it could have. */
static bool is_listed(struct mount *s, const struct node *dir, const struct vs_collection_info *info,
		      const struct item *item)
{
	struct node node = {.kind = item->kind, .collection = dir->collection, .which = item->which};

	if (!has_item(info, item))
		return false;
	switch (item->kind) {
	case NODE_ARRAY:
		return item->which == NODE_ARRAY_IDS || item->which == NODE_ARRAY_IDS0 ||
		       item->which == NODE_ARRAY_ROWS || info->schema.dim > 0;
	case NODE_UPLOAD:
		return upload_is_listed(s, &node);
	case NODE_TEXT:
	case NODE_FILE:
		return batch_has(s, info->id, &node);
	case NODE_STATS:
		return dir->collection;
	case NODE_RESULT: /* what is listed is what has been put there */
	case NODE_SEARCHED:
		return false;
	default:
		return true;
	}
}

/* The temporary files come first, in the order of their numbers. */
static bool list_temporary(struct listing *l, const struct node *dir, unsigned number, off_t off)
{
	struct node node = {.kind = NODE_TEMPORARY, .collection = dir->collection, .which = number};
	off_t cookie = LISTING_DOTS + 1 + (off_t)number;
	char name[VS_NAME_MAX + 1];

	if (cookie <= off || !temporary_name(dir->collection, number, name))
		return true;
	return listing_add_bare(l, name, node_ino(&node), S_IFREG, cookie);
}

static ssize_t control_list(fuse_req_t req, const struct node *dir, char *buf, size_t size, off_t off,
			    bool plus)
{
	struct mount *s = ops_serve(req);
	struct listing l = {.req = req, .buf = buf, .size = size, .plus = plus};
	struct vs_collection_info info;
	const struct item *items;
	char buffer[32];
	int rc = items_of(s, dir, &info, &items);
	bool room = !rc && listing_dots(&l, node_ino(dir), control_parent_ino(dir), off);

	for (unsigned n = 0; room && info.parent && !info.frozen && n < TEMPORARY_COUNT; n++)
		room = list_temporary(&l, dir, n, off);
	for (const struct item *item = items; room && item->kind != NODE_NONE; item++) {
		off_t cookie = LISTING_DOTS + 1 + TEMPORARY_COUNT + (item - items);
		const char *name = node_name(item->kind, item->which, info.schema.dtype, buffer);
		struct node node = {.kind = item->kind, .collection = dir->collection, .which = item->which};

		if (cookie > off && name && is_listed(s, dir, &info, item))
			room = listing_add_bare(&l, name, node_ino(&node), node_type(item->kind), cookie);
	}
	return rc ? rc : (ssize_t)l.used;
}

const struct node_ops dir_control_ops = {
	.lookup = control_lookup,
	.list = control_list,
	.create = batch_create,
	.unlink = batch_unlink,
	.attr = control_attr,
};

/* ------------------------------------------------------------------ segments */

static int segments_lookup(fuse_req_t req, const struct node *dir, const char *name,
			   struct fuse_entry_param *e)
{
	struct node node = {.kind = NODE_SEGMENT, .collection = dir->collection};
	struct vs_collection_info info;
	char canonical[32];
	unsigned long n;
	int rc;

	if (sscanf(name, "%lu", &n) != 1)
		return -ENOENT;
	snprintf(canonical, sizeof canonical, "%lu.npy", n);
	rc = vs_collection_get(ops_serve(req)->store, dir->collection, &info);
	if (rc || n >= info.segments || strcmp(name, canonical) != 0)
		return rc ? rc : -ENOENT;
	node.entry = n;
	return ops_entry(ops_serve(req), &node, 0, e);
}

static ssize_t segments_list(fuse_req_t req, const struct node *dir, char *buf, size_t size, off_t off,
			     bool plus)
{
	struct listing l = {.req = req, .buf = buf, .size = size, .plus = plus};
	struct node node = {.kind = NODE_SEGMENT, .collection = dir->collection};
	struct vs_collection_info info;
	char name[32];
	int rc = vs_collection_get(ops_serve(req)->store, dir->collection, &info);
	bool room = !rc && listing_dots(&l, node_ino(dir), control_parent_ino(dir), off);

	node.entry = off > LISTING_DOTS ? (uint64_t)off - LISTING_DOTS : 0;
	for (; room && node.entry < info.segments; node.entry++) {
		snprintf(name, sizeof name, "%" PRIu64 ".npy", node.entry);
		room = listing_add_bare(&l, name, node_ino(&node), S_IFLNK,
					(off_t)node.entry + LISTING_DOTS + 1);
	}
	return rc ? rc : (ssize_t)l.used;
}

const struct node_ops dir_segments_ops = {
	.lookup = segments_lookup,
	.list = segments_list,
	.attr = control_attr,
};

/*
 * Who follows the link may read what the collection lets them read, and write nothing: a vector that is
 * changed behind the engine's back is damaged. (It is no access control for root.)
 */
static void protect(struct mount *s, uint32_t collection, const char *path)
{
	struct vs_collection_info info;
	struct stat st;
	mode_t mode;

	if (s->options.read_only || vs_collection_get(s->store, collection, &info) || lstat(path, &st))
		return;
	mode = S_IRUSR | (info.perm.mode & 0444);
	if ((st.st_mode & 07777) != mode)
		chmod(path, mode); /* not ours to change: then not ours to write either */
}

/*
 * A segment is a link to the engine's file, the fastest way to its bytes that works without privileges.
 * Reading the link, like looking it up, makes the engine bring the file up to date.
 */
static ssize_t segment_target(struct mount *s, const struct node *node, char *buf, size_t size)
{
	char path[PATH_MAX];
	int rc, len;

	rc = vs_segment_path(s->store, node->collection, (uint32_t)node->entry, path, sizeof path, NULL);
	if (rc)
		return rc;
	len = snprintf(buf, size, "%s/%s", s->store_dir, path);
	if ((size_t)len >= size)
		return -ENAMETOOLONG;
	protect(s, node->collection, buf);
	return len;
}

static ssize_t segment_read(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
			    const struct fuse_file_info *fi)
{
	(void)off;
	(void)fi;
	return segment_target(s, node, buf, size);
}

static int segment_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	struct vs_perm perm = control_root_perm(s);
	char target[PATH_MAX];
	ssize_t len = segment_target(s, node, target, sizeof target);

	if (len < 0)
		return len == -ENOENT ? -ESTALE : (int)len;
	perm.mode = 0777;
	node_stat(node_ino(node), S_IFLNK | 0777, &perm, s->started, s->started, (uint64_t)len, st);
	*timeout_s = 0;
	return 0;
}

const struct node_ops segment_ops = {.attr = segment_attr, .read = segment_read};
