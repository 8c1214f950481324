/* SPDX-License-Identifier: Apache-2.0 */
#include "batch.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fs/control.h"
#include "fs/message.h"
#include "fs/notify.h"
#include "fs/opened.h"
#include "fs/upload.h"

#define WHY_BYTES 512

bool batch_has(struct serve *s, uint32_t batch, const struct node *node)
{
	struct vs_batch_info info;

	if (vs_batch_get(s->store, batch, &info))
		return false;
	return node->kind == NODE_UPLOAD ? info.has_upload : info.has_text[node->which];
}

void batch_refuse(struct serve *s, const struct node *node, const char *format, ...)
{
	struct vs_collection_info batch = {0}, parent = {0};
	char reason[WHY_BYTES], buffer[32];
	const char *name;
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof reason, format, args);
	va_end(args);
	if (!vs_collection_get(s->store, node->collection, &batch))
		vs_collection_get(s->store, batch.parent, &parent);
	name = node_name(node->kind, node->which, batch.schema.dtype, buffer);
	message(VS_WARNING, "%s/.vecfs/tx/%s%s%s: refused: %s", parent.name, batch.name,
		name ? "/.vecfs/" : "", name ? name : "", reason);
}

/* The NODE_TEXT or NODE_UPLOAD that a name in a batch's control directory means. */
static int find(struct serve *s, const struct node *dir, const char *name, struct node *out)
{
	struct vs_collection_info info;
	int rc;

	if (dir->collection == 0)
		return -EPERM;
	rc = vs_collection_get(s->store, dir->collection, &info);
	if (rc)
		return rc;
	*out = (struct node){.collection = dir->collection};
	if (info.parent && (control_find(name, &info.schema, NODE_TEXT, out) ||
			    control_find(name, &info.schema, NODE_UPLOAD, out)))
		return 0;
	return -EPERM;
}

int batch_create(fuse_req_t req, const struct node *dir, const struct ops_birth *birth,
		 struct fuse_entry_param *e, struct fuse_file_info *fi)
{
	struct serve *s = ops_serve(req);
	struct node node;
	int rc = find(s, dir, birth->name, &node);

	if (!rc && birth->flags & O_EXCL && batch_has(s, dir->collection, &node))
		rc = -EEXIST;
	if (!rc)
		rc = ops_of(node.kind)->open(req, &node, fi);
	if (!rc)
		rc = ops_entry(s, &node, 0, e);
	return rc;
}

int batch_unlink(fuse_req_t req, const struct node *dir, const char *name)
{
	struct serve *s = ops_serve(req);
	struct node node;
	int rc = find(s, dir, name, &node);

	if (rc)
		return rc;
	if (!batch_has(s, dir->collection, &node))
		return -ENOENT;
	if (node.kind == NODE_UPLOAD)
		return upload_drop(s, &node);
	return vs_batch_text_truncate(s->store, node.collection, (enum vs_batch_text)node.which, 0);
}

static int commit(struct serve *s, const struct vs_collection_info *batch)
{
	struct node node = {.kind = NODE_COLLECTION, .collection = batch->id};
	char why[WHY_BYTES] = "";
	int rc = vs_batch_commit(s->store, batch->id, why, sizeof why);

	if (rc)
		batch_refuse(s, &node, "%s", *why ? why : strerror(-rc));
	if (rc == -EINVAL)
		rc = -ECANCELED; /* at EINVAL mv(1) tries again, and then blames the directories */
	return rc;
}

int batch_commit(struct serve *s, const struct vs_collection_info *batch)
{
	struct node dir = {.kind = NODE_COMMIT, .collection = batch->parent};
	struct vs_collection_info parent;
	struct opened_all replaced, moved;
	int rc = vs_collection_get(s->store, batch->parent, &parent);

	if (!rc)
		rc = opened_save_all(s, batch->parent, &replaced);
	if (rc)
		return rc;
	rc = opened_save_all(s, batch->id, &moved);
	if (!rc) {
		/* Nobody shall find one id as it was before, having found another as it is now. */
		atomic_fetch_add(&s->names_changing, 1);
		notify_names(s->notify);
		rc = commit(s, batch);
		atomic_fetch_sub(&s->names_changing, 1);
		opened_saved_all(s, &moved);
	}
	opened_saved_all(s, &replaced);
	if (rc)
		return rc;
	notify_entry(s->notify, node_ino(&dir), batch->name); /* where the kernel thinks that it is now */
	notify_entry(s->notify, FUSE_ROOT_ID, parent.name);
	return 0;
}

/* ------------------------------------------------------------------ ids and delete */

static int batch_text_attr(struct serve *s, const struct node *node, struct stat *st, double *timeout_s)
{
	struct vs_batch_info info;
	int rc = vs_batch_get(s->store, node->collection, &info);

	*timeout_s = 0;
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	return control_file_attr(s, node, vs_time_now(), info.text_bytes[node->which], st);
}

static int batch_text_setattr(fuse_req_t req, const struct node *node, const struct stat *st, int set,
			      struct fuse_file_info *fi)
{
	(void)fi;
	if (!(set & FUSE_SET_ATTR_SIZE))
		return 0; /* cp -p may say what it likes: modes and times are the collection's */
	return vs_batch_text_truncate(ops_serve(req)->store, node->collection,
				      (enum vs_batch_text)node->which, (uint64_t)st->st_size);
}

static int batch_text_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	fi->direct_io = 1;
	fi->noflush = 1;
	/* Only a file that is being created comes with O_TRUNC; otherwise a SETATTR follows. */
	if (!(fi->flags & O_TRUNC))
		return 0;
	return vs_batch_text_truncate(ops_serve(req)->store, node->collection,
				      (enum vs_batch_text)node->which, 0);
}

static ssize_t batch_text_read(struct serve *s, const struct node *node, void *buf, size_t size, off_t off,
			       const struct fuse_file_info *fi)
{
	(void)fi;
	return vs_batch_text_read(s->store, node->collection, (enum vs_batch_text)node->which, buf, size,
				  (uint64_t)off);
}

static int batch_text_write(struct serve *s, const struct node *node, const void *buf, size_t size, off_t off,
			    const struct fuse_file_info *fi)
{
	(void)fi;
	return vs_batch_text_write(s->store, node->collection, (enum vs_batch_text)node->which, buf, size,
				   (uint64_t)off);
}

const struct node_ops batch_text_ops = {
	.attr = batch_text_attr,
	.setattr = batch_text_setattr,
	.open = batch_text_open,
	.read = batch_text_read,
	.write = batch_text_write,
};
