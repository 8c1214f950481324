/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/batch_list.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/batch.h"
#include "fs/control/control.h"
#include "fs/inode/open_files.h"
#include "fs/request/process.h"
#include "store/base/idlist.h"

#define WHY_BYTES 256
#define READ_BYTES ((size_t)1 << 20)

struct list_handle {
	struct open_file open_file;
	pthread_mutex_t lock;
	pid_t opener;
	bool changed;            /* since it was judged last */
	bool refused;            /* a line of it, or a write: until it is written from the start again */
	bool in_order;           /* all writes since the one at offset 0 followed each other */
	uint64_t end;            /* of those */
	struct idlist_scan scan; /* has seen them */
};

static struct list_handle *file_of(const struct fuse_file_info *fi)
{
	return (struct list_handle *)(uintptr_t)fi->fh;
}

static enum vs_batch_text text_of(const struct node *node)
{
	return (enum vs_batch_text)node->which;
}

static enum idlist_separator separator_of(const struct node *node)
{
	return text_of(node) == VS_BATCH_IDS0 || text_of(node) == VS_BATCH_DELETE0 ? IDLIST_NULS
										   : IDLIST_LINES;
}

/* ------------------------------------------------------------------ judging */

int batch_list_judge(struct mount *s, const struct node *node, enum vs_batch_text file, char *why,
		     size_t why_size)
{
	struct idlist_scan *scan = malloc(sizeof *scan);
	char *buf = malloc(READ_BYTES);
	uint64_t off = 0;
	ssize_t n = 1;
	int rc = scan && buf ? 0 : -ENOMEM;

	*why = 0;
	if (!rc)
		idlist_scan_start(scan, separator_of(node));
	while (!rc && n > 0) {
		n = vs_batch_text_read(s->store, node->collection, file, buf, READ_BYTES, off);
		if (n < 0)
			rc = (int)n;
		else
			rc = idlist_scan_add(scan, buf, (size_t)n, why, why_size);
		off += n > 0 ? (uint64_t)n : 0;
	}
	if (!rc)
		rc = idlist_scan_end(scan, why, why_size);
	free(scan);
	free(buf);
	if (rc && !*why)
		snprintf(why, why_size, "%s", strerror(-rc));
	return rc == -EILSEQ ? -EINVAL : rc;
}

/* What has been seen as it came is all there is, but for a last line that may still go on. */
static int judge_end(struct mount *s, const struct node *node, const struct list_handle *h, char *why,
		     size_t why_size)
{
	struct idlist_scan scan = h->scan;
	uint64_t size;
	int rc = vs_batch_text_size(s->store, node->collection, text_of(node), &size);

	if (rc || !h->in_order || size != h->end)
		return batch_list_judge(s, node, text_of(node), why, why_size);
	rc = idlist_scan_end(&scan, why, why_size);
	return rc == -EILSEQ ? -EINVAL : rc;
}

static int refuse(struct mount *s, const struct node *node, struct list_handle *h, int rc, const char *why)
{
	batch_refuse(s, node, "%s", why);
	h->refused = true;
	return rc == -EILSEQ ? -EINVAL : rc;
}

/* At a close(2), with the lock held. A last line that is wrong may still become a right one. */
static int judge(struct mount *s, const struct node *node, struct list_handle *h)
{
	char why[WHY_BYTES];
	int rc;

	if (h->refused)
		return -EINVAL;
	if (!h->changed)
		return 0;
	rc = judge_end(s, node, h, why, sizeof why);
	if (rc == -ENOENT) /* removed meanwhile */
		return 0;
	if (rc)
		batch_refuse(s, node, "%s", why);
	else
		batch_forgive(s, node);
	h->changed = false;
	return rc;
}

/* ------------------------------------------------------------------ as a file */

static int list_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	uint64_t size = 0;
	int rc = vs_batch_text_size(s->store, node->collection, text_of(node), &size);

	*timeout_s = 0;
	if (rc == -ENOENT)
		rc = batch_has(s, node->collection, node) ? 0 : -ESTALE;
	return rc ? rc : control_file_attr(s, node, vs_time_now(), size, st);
}

/* Until a close(2) has found it well it is not whole: what is left if the writer or this daemon dies. */
static void change(struct mount *s, const struct node *node, struct list_handle *h)
{
	if (!h->changed)
		batch_begin(s, node);
	h->changed = true;
}

static void start_over(struct list_handle *h, const struct node *node)
{
	h->refused = false;
	h->in_order = true;
	h->end = 0;
	idlist_scan_start(&h->scan, separator_of(node));
}

static int list_setattr(fuse_req_t req, const struct node *node, const struct stat *st, int set,
			struct fuse_file_info *fi)
{
	struct list_handle *h = fi ? file_of(fi) : NULL;
	struct mount *s = ops_serve(req);
	int rc;

	if (!(set & FUSE_SET_ATTR_SIZE))
		return 0; /* cp -p may say what it likes: modes and times are the collection's */
	rc = vs_batch_text_truncate(s->store, node->collection, text_of(node), (uint64_t)st->st_size);
	if (rc || !h) {
		if (!rc && st->st_size == 0)
			batch_forgive(s, node);
		return rc;
	}
	pthread_mutex_lock(&h->lock);
	change(s, node, h);
	if (st->st_size == 0)
		start_over(h, node);
	pthread_mutex_unlock(&h->lock);
	return 0;
}

static int list_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	struct list_handle *h = calloc(1, sizeof *h);
	int rc = 0;

	if (!h)
		return -ENOMEM;
	/* Only a file that is being created comes with these; otherwise a SETATTR follows. */
	if (fi->flags & O_TRUNC)
		rc = vs_batch_text_truncate(ops_serve(req)->store, node->collection, text_of(node), 0);
	else if (fi->flags & O_CREAT)
		rc = vs_batch_text_write(ops_serve(req)->store, node->collection, text_of(node), "", 0, 0);
	if (rc) {
		free(h);
		return rc;
	}
	pthread_mutex_init(&h->lock, NULL);
	h->opener = fuse_req_ctx(req)->pid;
	if (fi->flags & O_TRUNC)
		change(ops_serve(req), node, h);
	start_over(h, node);
	fi->fh = (uintptr_t)h;
	fi->direct_io = 1;
	fi->noflush = (fi->flags & O_ACCMODE) == O_RDONLY;
	return 0;
}

static ssize_t list_read(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
			 const struct fuse_file_info *fi)
{
	(void)fi;
	return vs_batch_text_read(s->store, node->collection, text_of(node), buf, size, (uint64_t)off);
}

static int write_at(struct mount *s, const struct node *node, struct list_handle *h, const void *buf,
		    size_t size, uint64_t off)
{
	char why[WHY_BYTES];
	int rc = 0;

	if (off == 0)
		start_over(h, node);
	if (h->refused)
		return -EINVAL;
	change(s, node, h);
	h->in_order = h->in_order && off == h->end;
	if (h->in_order)
		rc = idlist_scan_add(&h->scan, buf, size, why, sizeof why);
	if (rc)
		return refuse(s, node, h, rc, why);
	rc = vs_batch_text_write(s->store, node->collection, text_of(node), buf, size, off);
	if (rc)
		return refuse(s, node, h, rc, strerror(-rc));
	h->end = off + size;
	return 0;
}

static int list_write(fuse_req_t req, const struct node *node, const void *buf, size_t size, off_t off,
		      const struct fuse_file_info *fi)
{
	struct list_handle *h = file_of(fi);
	int rc;

	pthread_mutex_lock(&h->lock);
	rc = write_at(ops_serve(req), node, h, buf, size, (uint64_t)off);
	pthread_mutex_unlock(&h->lock);
	return rc;
}

static int list_flush(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi, bool *changed)
{
	struct list_handle *h = file_of(fi);
	int rc = 0;

	*changed = true;
	pthread_mutex_lock(&h->lock);
	if (process_same(fuse_req_ctx(req)->pid, h->opener))
		rc = judge(ops_serve(req), node, h);
	pthread_mutex_unlock(&h->lock);
	return rc;
}

/* What is well so far is so after a crash, too, though it has not been closed. */
static int list_fsync(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi)
{
	struct list_handle *h = file_of(fi);
	char why[WHY_BYTES];

	if (!h)
		return 0;
	pthread_mutex_lock(&h->lock);
	if (h->changed && !h->refused && !judge_end(ops_serve(req), node, h, why, sizeof why)) {
		h->changed = false;
		batch_forgive(ops_serve(req), node);
	}
	pthread_mutex_unlock(&h->lock);
	return 0;
}

static void list_release(struct mount *s, const struct node *node, const struct fuse_file_info *fi)
{
	struct list_handle *h = file_of(fi);

	judge(s, node, h);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

const struct node_ops batch_text_ops = {
	.attr = list_attr,
	.setattr = list_setattr,
	.open = list_open,
	.read = list_read,
	.write = list_write,
	.flush = list_flush,
	.fsync = list_fsync,
	.release = list_release,
};
