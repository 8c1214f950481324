/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/view_recall.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "fs/control/answer.h"
#include "fs/control/control.h"
#include "fs/control/view_dir.h"
#include "fs/inode/open_files.h"
#include "store/search/recall.h"

const uint32_t view_recall_depths[VIEW_RECALL_DEPTHS] = {0, 20, 50, 100};

int view_recall_measure(struct vs_store *store, uint32_t collection, const char *name,
			bool (*is_cancelled)(void *arg, uint64_t rows), void *arg, struct view_recall *out)
{
	struct vs_snapshot_info info;
	struct vs_snapshot *m;
	struct vs_view *view;
	int rc = vs_snapshot_open(store, collection, &m);

	*out = (struct view_recall){.queries = 0};
	if (rc)
		return rc;
	vs_snapshot_info(m, &info);
	out->rows = info.rows;
	rc = vs_view_open(m, name, &view);
	if (!rc) {
		out->model = vs_view_model(view);
		rc = vs_recall_measure(m, view, VIEW_RECALL_K, view_recall_depths, out->recall,
				       VIEW_RECALL_DEPTHS, is_cancelled, arg, &out->queries);
		vs_view_close(view);
	}
	vs_snapshot_close(m);
	return rc;
}

void view_recall_print(const struct view_recall *recall, FILE *out)
{
	fprintf(out, "recall_queries=%u\nrecall_rows=%llu\n", recall->queries,
		(unsigned long long)recall->rows);
	for (unsigned i = 0; i < VIEW_RECALL_DEPTHS && recall->queries; i++)
		fprintf(out, "recall_rerank%u=%.4f\n", view_recall_depths[i], recall->recall[i]);
}

/* ------------------------------------------------------------------ as a file */

struct recall_file {
	struct open_file open_file;
	char *text;
	size_t size;
};

static int print(const struct view_recall *recall, struct recall_file *file)
{
	FILE *out = open_memstream(&file->text, &file->size);

	if (!out)
		return -ENOMEM;
	view_recall_print(recall, out);
	return fclose(out) ? -ENOMEM : 0;
}

/* req is NULL on a stateless mount, where the text of one stat(2) must be that of all reads. */
static int make(struct mount *s, fuse_req_t req, const struct node *node, struct recall_file *file)
{
	struct view_recall recall;
	struct vs_view_info info;
	int rc = view_get(s, node, &info);

	if (!rc && !req && view_table_recall(s->views, node->entry, info.model, &recall))
		return print(&recall, file);
	if (!rc)
		rc = view_recall_measure(s->store, node->collection, info.name,
					 req ? answer_is_unwanted : NULL, req, &recall);
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	view_table_set_recall(s->views, node->entry, &recall);
	return print(&recall, file);
}

/* As with near/ID the size is not known before: 0, and direct_io. Only a stateless mount must tell. */
static int recall_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	struct recall_file file = {.size = 0};
	struct vs_view_info info;
	int rc = s->stateless ? make(s, NULL, node, &file) : view_get(s, node, &info);

	free(file.text);
	*timeout_s = 0;
	return rc ? rc : control_file_attr(s, node, vs_time_now(), file.size, st);
}

static int recall_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	struct recall_file *file;
	int rc;

	if ((fi->flags & O_ACCMODE) != O_RDONLY)
		return -EACCES;
	file = calloc(1, sizeof *file);
	rc = file ? make(ops_serve(req), req, node, file) : -ENOMEM;
	if (rc) {
		free(file);
		return rc;
	}
	fi->fh = (uintptr_t)file;
	fi->direct_io = 1;
	return 0;
}

static ssize_t recall_read(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
			   const struct fuse_file_info *fi)
{
	struct recall_file *file = (struct recall_file *)(uintptr_t)fi->fh, made = {.size = 0};
	ssize_t got;
	int rc;

	if (file)
		return ops_copy_part(file->text, file->size, buf, size, off);
	rc = make(s, NULL, node, &made);
	got = rc ? rc : ops_copy_part(made.text, made.size, buf, size, off);
	free(made.text);
	return got;
}

static bool recall_is_long(struct mount *s, const struct node *node, size_t data_size)
{
	(void)data_size;
	return answer_is_long(s, node->collection, VS_RECALL_QUERIES);
}

static void recall_release(struct mount *s, const struct node *node, const struct fuse_file_info *fi)
{
	struct recall_file *file = (struct recall_file *)(uintptr_t)fi->fh;

	(void)s;
	(void)node;
	free(file->text);
	free(file);
}

const struct node_ops view_recall_ops = {
	.attr = recall_attr,
	.open = recall_open,
	.read = recall_read,
	.release = recall_release,
	.is_long = recall_is_long,
};
