/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "fs/control/control.h"
#include "fs/control/view_dir.h"
#include "fs/request/listing.h"
#include "fs/request/message.h"

#define CONTROL_NAME ".vecfs"
#define WHY_BYTES 512

int view_get(struct mount *s, const struct node *node, struct vs_view_info *out)
{
	char name[VS_VIEW_NAME_MAX + 1];
	int rc = view_table_name(s->views, node->entry, name);

	if (!rc)
		rc = vs_view_get(s->store, node->collection, name, out);
	return rc == -ENOENT ? -ESTALE : rc;
}

size_t view_code_bytes(const struct vs_view_info *info)
{
	return info->plan.block_bytes + info->plan.row_bytes + info->plan.factors * sizeof(float);
}

static int view_dir_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	struct vs_view_info info;
	int rc = view_get(s, node, &info);

	return rc ? rc : control_attr(s, node, st, timeout_s);
}

/* ------------------------------------------------------------------ views/ */

static int view_entry(struct mount *s, uint32_t collection, const char *name, struct fuse_entry_param *e)
{
	struct node node = {.kind = NODE_VIEW, .collection = collection};
	int rc = view_table_number(s->views, collection, name, &node.entry);

	return rc ? rc : ops_entry(s, &node, ops_timeout_s(s), e);
}

static int views_lookup(fuse_req_t req, const struct node *dir, const char *name, struct fuse_entry_param *e)
{
	struct mount *s = ops_serve(req);
	struct vs_view_info info;
	int rc = vs_view_get(s->store, dir->collection, name, &info);

	return rc ? rc : view_entry(s, dir->collection, name, e);
}

/* The view with the lowest number from *number on; the numbers are the cookies. -ENOENT: no more. */
static int next_view(struct mount *s, uint32_t collection, uint64_t *number, struct vs_view_info *out)
{
	uint64_t best = UINT64_MAX, n;
	struct vs_view_info info = {.name = ""};

	while (!vs_view_next(s->store, collection, info.name, &info)) {
		if (view_table_number(s->views, collection, info.name, &n) || n < *number || n >= best)
			continue;
		best = n;
		*out = info;
	}
	*number = best;
	return best == UINT64_MAX ? -ENOENT : 0;
}

static ssize_t views_list(fuse_req_t req, const struct node *dir, char *buf, size_t size, off_t off,
			  bool plus)
{
	struct mount *s = ops_serve(req);
	struct listing l = {.req = req, .buf = buf, .size = size, .plus = plus};
	struct node node = {.kind = NODE_VIEW, .collection = dir->collection};
	bool has_room = listing_dots(&l, node_ino(dir), control_parent_ino(dir), off);
	struct vs_view_info info;

	node.entry = off > LISTING_DOTS ? (uint64_t)off - LISTING_DOTS : 0;
	for (; has_room && !next_view(s, dir->collection, &node.entry, &info); node.entry++)
		has_room = listing_add_bare(&l, info.name, node_ino(&node), S_IFDIR,
					    (off_t)node.entry + LISTING_DOTS + 1);
	return (ssize_t)l.used;
}

__attribute__((format(printf, 4, 5))) static void refuse(struct mount *s, const struct node *views,
							 const char *name, const char *format, ...)
{
	struct vs_collection_info info = {0};
	char why[WHY_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof why, format, args);
	va_end(args);
	vs_collection_get(s->store, views->collection, &info);
	message(VS_WARNING, "%s/.vecfs/views/%s: refused: %s", info.name, name, why);
}

static int views_mkdir(fuse_req_t req, const struct node *dir, const struct create_args *create,
		       struct fuse_entry_param *e)
{
	struct mount *s = ops_serve(req);
	char why[WHY_BYTES] = "";
	int rc = vs_view_create(s->store, dir->collection, create->name, NULL, why, sizeof why);

	if (rc && rc != -EEXIST)
		refuse(s, dir, create->name, "%s", *why ? why : strerror(-rc));
	return rc ? rc : view_entry(s, dir->collection, create->name, e);
}

static int views_rmdir(fuse_req_t req, const struct node *dir, const char *name)
{
	return vs_view_drop(ops_serve(req)->store, dir->collection, name);
}

int view_refuse_rename(struct mount *s, const struct node *views, const char *name)
{
	refuse(s, views, name, "a view's name is its codec: make another one with mkdir");
	return -EPERM;
}

const struct node_ops dir_views_ops = {
	.lookup = views_lookup,
	.list = views_list,
	.mkdir = views_mkdir,
	.rmdir = views_rmdir,
	.attr = control_attr,
};

/* ------------------------------------------------------------------ views/V/ and decoded/ */

static enum view_data_kind vectors_of(const struct node *dir)
{
	return dir->kind == NODE_VIEW ? VIEW_CODE : VIEW_DECODED_VECTOR;
}

static struct node parent_of(const struct node *dir)
{
	struct node parent = *dir;

	parent.kind = dir->kind == NODE_VIEW_CONTROL ? NODE_VIEW : NODE_VIEW_CONTROL;
	if (dir->kind == NODE_VIEW)
		parent = (struct node){.kind = NODE_VIEWS, .collection = dir->collection};
	return parent;
}

static int ids_lookup(fuse_req_t req, const struct node *dir, const char *name, struct fuse_entry_param *e)
{
	struct node control = {.kind = NODE_VIEW_CONTROL, .collection = dir->collection, .entry = dir->entry};
	struct mount *s = ops_serve(req);
	struct vs_view_info info;
	int rc;

	if (dir->kind == NODE_VIEW && !strcmp(name, CONTROL_NAME))
		return ops_entry(s, &control, ops_timeout_s(s), e);
	rc = view_get(s, dir, &info);
	return rc ? rc : view_data_lookup_vector(req, dir, &info, vectors_of(dir), name, e);
}

struct id_listing {
	struct listing base;
	const struct node *dir;
	const char *view;
};

/* Runs under the engine's lock. */
static bool add_id(void *arg, const struct vs_attr *attr, const char *name, size_t name_len)
{
	struct id_listing *l = arg;
	char terminated[VS_NAME_MAX + 1];

	memcpy(terminated, name, name_len);
	terminated[name_len] = '\0';
	return listing_add_bare(&l->base, terminated,
				view_data_ino(l->dir->collection, l->view, vectors_of(l->dir), attr->entry),
				S_IFREG, (off_t)attr->entry);
}

/* As the collection lists them (dir_collection_ops), without attributes: they cost a look at the view each.
 */
static ssize_t ids_list(fuse_req_t req, const struct node *dir, char *buf, size_t size, off_t off, bool plus)
{
	struct mount *s = ops_serve(req);
	struct node parent = parent_of(dir);
	struct vs_view_info info;
	struct id_listing l = {{.req = req, .buf = buf, .size = size, .plus = plus}, dir, info.name};
	uint64_t after = off < VS_ENTRY_FIRST ? 0 : (uint64_t)off;
	int rc = view_get(s, dir, &info);

	if (rc || !listing_dots(&l.base, node_ino(dir), node_ino(&parent), off))
		return rc ? rc : (ssize_t)l.base.used;
	rc = vs_list(s->store, dir->collection, after, add_id, &l);
	return rc && !l.base.used ? rc : (ssize_t)l.base.used;
}

const struct node_ops dir_view_ops = {
	.lookup = ids_lookup,
	.list = ids_list,
	.attr = view_dir_attr,
};

/* ------------------------------------------------------------------ views/V/.vecfs/ */

struct item {
	const char *name;
	enum node_kind kind;
	unsigned which; /* of NODE_VIEW_DATA an enum view_data_kind */
};

static const struct item items[] = {
	{"info", NODE_VIEW_TEXT, NODE_VIEW_INFO},
	{"state", NODE_VIEW_TEXT, NODE_VIEW_STATE},
	{"params", NODE_VIEW_TEXT, NODE_VIEW_PARAMS},
	{"recall", NODE_VIEW_RECALL, 0},
	{"codes.npy", NODE_VIEW_DATA, VIEW_CODES},
	{"codebook.npy", NODE_VIEW_DATA, VIEW_CODEBOOK},
	{"rotation.npy", NODE_VIEW_DATA, VIEW_ROTATION},
	{"decoded.npy", NODE_VIEW_DATA, VIEW_DECODED},
	{"decoded", NODE_VIEW_DECODED, 0},
};
#define ITEMS (sizeof items / sizeof *items)

static bool is_there(const struct item *item, const struct vs_view_info *info)
{
	return item->kind != NODE_VIEW_DATA || view_data_has(info, (enum view_data_kind)item->which);
}

static int control_lookup(fuse_req_t req, const struct node *dir, const char *name,
			  struct fuse_entry_param *e)
{
	struct node node = {.collection = dir->collection, .entry = dir->entry};
	struct mount *s = ops_serve(req);
	struct vs_view_info info;
	const struct item *item = items;
	int rc = view_get(s, dir, &info);

	if (rc)
		return rc;
	while (item < items + ITEMS && (strcmp(item->name, name) != 0 || !is_there(item, &info)))
		item++;
	if (item == items + ITEMS)
		return -ENOENT;
	if (item->kind == NODE_VIEW_DATA)
		return view_data_lookup_array(req, dir, &info, (enum view_data_kind)item->which, e);
	node.kind = item->kind;
	node.which = item->which;
	return ops_entry(s, &node, node_type(node.kind) == S_IFDIR ? ops_timeout_s(s) : 0, e);
}

static uint64_t item_ino(const struct node *dir, const struct item *item, const char *view)
{
	struct node node = {item->kind, dir->collection, dir->entry, item->which};

	if (item->kind == NODE_VIEW_DATA)
		return view_data_ino(dir->collection, view, (enum view_data_kind)item->which, 0);
	return node_ino(&node);
}

static ssize_t control_list(fuse_req_t req, const struct node *dir, char *buf, size_t size, off_t off,
			    bool plus)
{
	struct listing l = {.req = req, .buf = buf, .size = size, .plus = plus};
	struct node parent = parent_of(dir);
	struct vs_view_info info;
	int rc = view_get(ops_serve(req), dir, &info);
	bool has_room = !rc && listing_dots(&l, node_ino(dir), node_ino(&parent), off);

	for (size_t i = 0; i < ITEMS && has_room; i++) {
		off_t cookie = LISTING_DOTS + 1 + (off_t)i;

		if (cookie > off && is_there(&items[i], &info))
			has_room = listing_add_bare(&l, items[i].name, item_ino(dir, &items[i], info.name),
						    node_type(items[i].kind), cookie);
	}
	return rc ? rc : (ssize_t)l.used;
}

const struct node_ops dir_view_control_ops = {
	.lookup = control_lookup,
	.list = control_list,
	.attr = view_dir_attr,
};
