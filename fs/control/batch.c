/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/batch.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/batch_list.h"
#include "fs/control/control.h"
#include "fs/request/message.h"
#include "fs/request/invalidate.h"
#include "fs/inode/inode.h"
#include "fs/control/refusal.h"
#include "fs/control/temporary.h"
#include "fs/control/result.h"
#include "fs/control/batch_upload.h"

#define WHY_BYTES 512
#define KEY_BYTES 64

/* ------------------------------------------------------------------ refusals */

/* The key of a file of the control directory for refusal.h. */
static const char *key_of(const struct node *node, char key[KEY_BYTES])
{
	char buffer[32];

	if (node->kind == NODE_UPLOAD)
		return REFUSAL_VECTORS;
	snprintf(key, KEY_BYTES, REFUSAL_CONTROL "%s", node_name(node->kind, node->which, VS_F32, buffer));
	return key;
}

static bool is_refused(struct mount *s, const struct node *node)
{
	char key[KEY_BYTES];

	return refusal_has(s, node->collection, key_of(node, key));
}

/* The name of the node, of whatever dtype. */
static const char *name_of(const struct node *node, char buffer[32])
{
	for (int dtype = 0; dtype < VS_DTYPE_COUNT; dtype++) {
		const char *name = node_name(node->kind, node->which, (enum vs_dtype)dtype, buffer);

		if (name)
			return name;
	}
	return NULL;
}

/* Logs it with the batch's name, and that of its file if the node is one. */
static void log_refusal(struct mount *s, const struct node *node, const char *name, const char *reason)
{
	struct vs_collection_info batch = {0}, parent = {0};

	if (!vs_collection_get(s->store, node->collection, &batch))
		vs_collection_get(s->store, batch.parent, &parent);
	message(VS_WARNING, "%s/.vecfs/tx/%s%s%s: refused: %s", parent.name, batch.name,
		name ? "/.vecfs/" : "", name ? name : "", reason);
}

void batch_remember(struct mount *s, const struct node *node, const char *reason)
{
	char sentence[REFUSAL_WHY_BYTES], buffer[32], key[KEY_BYTES];

	assert(node->kind == NODE_UPLOAD || node->kind == NODE_TEXT);
	snprintf(sentence, sizeof sentence, "%s: %s", name_of(node, buffer), reason);
	refusal_add(s, node->collection, key_of(node, key), sentence);
}

void batch_refuse(struct mount *s, const struct node *node, const char *format, ...)
{
	char reason[WHY_BYTES], buffer[32];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof reason, format, args);
	va_end(args);
	log_refusal(s, node, name_of(node, buffer), reason);
	batch_remember(s, node, reason);
}

void batch_begin(struct mount *s, const struct node *node)
{
	char sentence[128], buffer[32], key[KEY_BYTES];

	snprintf(sentence, sizeof sentence, "%s: it was not written to its end: write it anew, or remove it",
		 name_of(node, buffer));
	refusal_begin(s, node->collection, key_of(node, key), sentence);
}

void batch_forgive(struct mount *s, const struct node *node)
{
	char key[KEY_BYTES];

	refusal_remove(s, node->collection, key_of(node, key));
}

void batch_forget(uint32_t batch)
{
	refusal_forget(batch);
	temporary_forget(batch);
}

int batch_remove(struct mount *s, uint32_t id)
{
	struct inode_set all;
	int rc = inode_preserve_all_begin(s, id, &all); /* a batch goes with its vectors */

	if (rc)
		return rc;
	rc = vs_collection_remove(s->store, id);
	inode_preserve_all_end(s, &all);
	if (!rc)
		batch_forget(id);
	return rc;
}

/* ------------------------------------------------------------------ names */

bool batch_has(struct mount *s, uint32_t batch, const struct node *node)
{
	struct node of = {.kind = node->kind, .collection = batch, .which = node->which};
	uint64_t size;

	if ((node->kind == NODE_TEXT || node->kind == NODE_FILE) &&
	    !vs_batch_text_size(s->store, batch, (enum vs_batch_text)node->which, &size))
		return true;
	if (node->kind == NODE_UPLOAD && upload_exists(s, &of))
		return true;
	return is_refused(s, &of);
}

int batch_schema(struct mount *s, uint32_t batch, struct vs_schema *out, bool *is_free)
{
	struct vs_collection_info info;
	int rc = vs_collection_get(s->store, batch, &info);

	if (!rc)
		rc = vs_collection_get(s->store, info.parent, &info);
	if (rc)
		return rc;
	*out = info.schema;
	*is_free = !info.schema_fixed && !info.schema_given;
	return 0;
}

bool batch_find_temporary(uint32_t batch, const char *name, struct node *out)
{
	int number = name[0] == '.' ? temporary_find(batch, name) : -ENOENT;

	if (number >= 0)
		*out = (struct node){.kind = NODE_TEMPORARY, .collection = batch, .which = (unsigned)number};
	return number >= 0;
}

/* The NODE_TEXT or NODE_UPLOAD that a name in a batch's control directory means. */
static int find(struct mount *s, uint32_t batch, const char *name, struct node *out)
{
	struct vs_collection_info info;
	int rc;

	if (batch == 0)
		return -EPERM;
	rc = vs_collection_get(s->store, batch, &info);
	if (rc)
		return rc;
	*out = (struct node){.collection = batch};
	return info.parent && control_find(s, name, batch, out) ? 0 : -EPERM;
}

/* A temporary file's name is that of another file, with a dot before it and something behind. */
static bool is_temporary_name(struct mount *s, uint32_t batch, const char *name)
{
	char target[VS_NAME_MAX + 1];
	const char *dot = name[0] == '.' ? strrchr(name, '.') : NULL;
	struct node node;

	if (!dot || dot == name || strlen(name) > VS_NAME_MAX)
		return false;
	snprintf(target, sizeof target, "%.*s", (int)(dot - name) - 1, name + 1);
	return dot[1] && !find(s, batch, target, &node);
}

static int create_temporary(struct mount *s, uint32_t batch, const char *name, struct node *out)
{
	int number, rc;

	if (batch_find_temporary(batch, name, out))
		return 0;
	number = temporary_add(batch, name);
	if (number < 0)
		return number;
	*out = (struct node){.kind = NODE_TEMPORARY, .collection = batch, .which = (unsigned)number};
	rc = vs_batch_text_truncate(s->store, batch, (enum vs_batch_text)(VS_BATCH_TEMPORARY + number), 0);
	if (rc)
		temporary_remove(batch, name);
	return rc;
}

int batch_create(fuse_req_t req, const struct node *dir, const struct create_args *create,
		 struct fuse_entry_param *e, struct fuse_file_info *fi)
{
	struct mount *s = ops_serve(req);
	struct node node;
	int rc = find(s, dir->collection, create->name, &node);
	bool exists = !rc && batch_has(s, dir->collection, &node);

	if (rc == -EPERM && dir->collection && is_temporary_name(s, dir->collection, create->name)) {
		exists = batch_find_temporary(dir->collection, create->name, &node);
		rc = 0;
		if (!exists)
			rc = create_temporary(s, dir->collection, create->name, &node);
	}
	if (!rc && create->flags & O_EXCL && exists)
		rc = -EEXIST;
	if (!rc)
		rc = ops_of(s, node.kind)->open(req, &node, fi);
	if (!rc)
		rc = ops_entry(s, &node, 0, e);
	return rc;
}

int batch_unlink(fuse_req_t req, const struct node *dir, const char *name)
{
	struct mount *s = ops_serve(req);
	struct node node;
	int rc;

	if (dir->collection && batch_find_temporary(dir->collection, name, &node)) {
		temporary_remove(dir->collection, name);
		return vs_batch_text_remove(s->store, dir->collection,
					    (enum vs_batch_text)(VS_BATCH_TEMPORARY + node.which));
	}
	rc = find(s, dir->collection, name, &node);
	if (rc)
		return rc;
	if (!batch_has(s, dir->collection, &node))
		return -ENOENT;
	if (node.kind == NODE_UPLOAD)
		rc = upload_drop(s, node.collection);
	else
		rc = vs_batch_text_remove(s->store, node.collection, (enum vs_batch_text)node.which);
	if (rc == -ENOENT) /* of a refused file nothing need be left */
		rc = 0;
	if (!rc)
		batch_forgive(s, &node);
	return rc;
}

/* A temporary list becomes one of the batch's: judged as if it were written now. */
static int rename_list(struct mount *s, const struct node *from, const struct node *to)
{
	enum vs_batch_text temporary = (enum vs_batch_text)(VS_BATCH_TEMPORARY + from->which);
	char why[WHY_BYTES];
	int rc = batch_list_judge(s, to, temporary, why, sizeof why);

	if (rc) {
		batch_refuse(s, to, "%s", why);
		return rc;
	}
	rc = vs_batch_text_rename(s->store, to->collection, temporary, (enum vs_batch_text)to->which);
	if (!rc)
		batch_forgive(s, to);
	return rc;
}

int batch_rename(struct mount *s, uint32_t batch, const char *name, const char *new_name, bool exclusive)
{
	struct node from, to;
	int rc;

	if (!batch_find_temporary(batch, name, &from))
		return -EPERM;
	if (is_temporary_name(s, batch, new_name)) {
		if (exclusive && batch_find_temporary(batch, new_name, &to))
			return -EEXIST;
		temporary_rename(batch, name, new_name);
		return 0;
	}
	rc = find(s, batch, new_name, &to);
	if (!rc && exclusive && batch_has(s, batch, &to))
		rc = -EEXIST;
	if (!rc)
		rc = to.kind == NODE_UPLOAD ? upload_take(s, &from, &to) : rename_list(s, &from, &to);
	if (!rc)
		temporary_remove(batch, name);
	return rc;
}

/* ------------------------------------------------------------------ the commit */

/* What keeps it from being committed, before the engine is asked. */
static int judge(struct mount *s, uint32_t batch, char why[REFUSAL_WHY_BYTES])
{
	char name[VS_NAME_MAX + 1];

	if (refusal_first(s, batch, why))
		return -EINVAL;
	for (unsigned n = 0; n < TEMPORARY_COUNT; n++)
		if (temporary_name(batch, n, name)) {
			snprintf(why, REFUSAL_WHY_BYTES, "%s: a temporary file: rename or remove it", name);
			return -EINVAL;
		}
	return upload_settle(s, batch, why, REFUSAL_WHY_BYTES);
}

static int commit(struct mount *s, const struct vs_collection_info *batch)
{
	struct node node = {.kind = NODE_COLLECTION, .collection = batch->id};
	unsigned flags = result_adds_only(s, batch->id) ? VS_BATCH_ADD : 0;
	struct vs_batch_change change = {0};
	char why[REFUSAL_WHY_BYTES] = "";
	int rc = judge(s, batch->id, why);

	if (!rc)
		rc = vs_batch_commit(s->store, batch->id, flags, &change, why, sizeof why);
	result_tell(s, batch->id, rc, &change, *why ? why : strerror(-rc));
	if (rc)
		log_refusal(s, &node, NULL, *why ? why : strerror(-rc));
	else
		batch_forget(batch->id);
	if (rc == -EINVAL)
		rc = -ECANCELED; /* at EINVAL mv(1) tries again, and then blames the directories */
	return rc;
}

static int commit_now(struct mount *s, const struct vs_collection_info *batch)
{
	struct node tx = {.kind = NODE_TX, .collection = batch->parent};
	struct node dir = {.kind = NODE_COMMIT, .collection = batch->parent};
	struct vs_collection_info parent;
	struct inode_set replaced, moved;
	int rc = vs_collection_get(s->store, batch->parent, &parent);

	if (!rc)
		rc = inode_preserve_all_begin(s, batch->parent, &replaced);
	if (rc)
		return rc;
	rc = inode_preserve_all_begin(s, batch->id, &moved);
	if (!rc) {
		/* Nobody shall find one id as it was before, having found another as it is now. */
		atomic_fetch_add(&s->names_changing, 1);
		notify_names(s->notify);
		rc = commit(s, batch);
		atomic_fetch_sub(&s->names_changing, 1);
		inode_preserve_all_end(s, &moved);
	}
	inode_preserve_all_end(s, &replaced);
	if (rc)
		return rc;
	/* Where the kernel thinks that it is now: still, if nobody waited. */
	notify_entry(s->notify, node_ino(&dir), batch->name);
	notify_entry(s->notify, node_ino(&tx), batch->name);
	notify_entry(s->notify, FUSE_ROOT_ID, parent.name);
	return 0;
}

/* A commit that nobody waits for. */
struct later {
	struct mount *s;
	struct vs_collection_info batch;
};

static void *commit_later(void *arg)
{
	struct later *later = arg;

	if (commit_now(later->s, &later->batch))
		result_remove_left(later->s, later->batch.id);
	atomic_fetch_sub(&later->s->syncs, 1);
	free(later);
	return NULL;
}

/* false: there is no thread for it. */
static bool begin_later(struct mount *s, const struct vs_collection_info *batch)
{
	struct later *later = malloc(sizeof *later);
	pthread_t thread;

	if (!later)
		return false;
	*later = (struct later){s, *batch};
	atomic_fetch_add(&s->syncs, 1);
	if (pthread_create(&thread, NULL, commit_later, later)) {
		atomic_fetch_sub(&s->syncs, 1);
		free(later);
		return false;
	}
	pthread_detach(thread);
	return true;
}

int batch_commit(struct mount *s, const struct vs_collection_info *batch)
{
	result_forget(s, batch->id);
	if (result_waits_not(s, batch->id) && begin_later(s, batch))
		return -EINPROGRESS;
	return commit_now(s, batch);
}

/* ------------------------------------------------------------------ temporary files */

static enum vs_batch_text text_of(const struct node *node)
{
	assert(node->kind == NODE_TEMPORARY && node->which < TEMPORARY_COUNT);
	return (enum vs_batch_text)(VS_BATCH_TEMPORARY + node->which);
}

static int temporary_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	uint64_t size;
	int rc = vs_batch_text_size(s->store, node->collection, text_of(node), &size);

	*timeout_s = 0;
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	return control_file_attr(s, node, vs_time_now(), size, st);
}

static int temporary_setattr(fuse_req_t req, const struct node *node, const struct stat *st, int set,
			     struct fuse_file_info *fi)
{
	(void)fi;
	if (!(set & FUSE_SET_ATTR_SIZE))
		return 0; /* modes and times are the collection's */
	return vs_batch_text_truncate(ops_serve(req)->store, node->collection, text_of(node),
				      (uint64_t)st->st_size);
}

void batch_open_bytes(struct mount *s, struct fuse_file_info *fi)
{
	fi->direct_io = 1;
	fi->noflush = !s->options.sync_on_close || (fi->flags & O_ACCMODE) == O_RDONLY;
}

int batch_flush_bytes(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi, bool *changed)
{
	(void)req;
	(void)node;
	(void)fi;
	*changed = true;
	return 0;
}

static int temporary_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	batch_open_bytes(ops_serve(req), fi);
	/* Only a file that is being created comes with O_TRUNC; otherwise a SETATTR follows. */
	if (!(fi->flags & O_TRUNC))
		return 0;
	return vs_batch_text_truncate(ops_serve(req)->store, node->collection, text_of(node), 0);
}

static ssize_t temporary_read(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
			      const struct fuse_file_info *fi)
{
	(void)fi;
	return vs_batch_text_read(s->store, node->collection, text_of(node), buf, size, (uint64_t)off);
}

static int temporary_write(fuse_req_t req, const struct node *node, const void *buf, size_t size, off_t off,
			   const struct fuse_file_info *fi)
{
	(void)fi;
	return vs_batch_text_write(ops_serve(req)->store, node->collection, text_of(node), buf, size,
				   (uint64_t)off);
}

const struct node_ops batch_temporary_ops = {
	.attr = temporary_attr,
	.setattr = temporary_setattr,
	.open = temporary_open,
	.read = temporary_read,
	.write = temporary_write,
	.flush = batch_flush_bytes,
};
