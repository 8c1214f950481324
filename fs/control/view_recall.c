/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/view_recall.h"

#include <errno.h>
#include <stdio.h>

#include "fs/control/answer.h"
#include "fs/control/answer_file.h"
#include "fs/control/control.h"
#include "fs/control/view_dir.h"
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

static int print(const struct view_recall *recall, struct answer_text *text)
{
	FILE *out = open_memstream(&text->bytes, &text->size);

	if (!out)
		return -ENOMEM;
	view_recall_print(recall, out);
	return fclose(out) ? -ENOMEM : 0;
}

static int make(struct mount *s, fuse_req_t req, const struct node *node, struct answer_text *text)
{
	struct answer_asker asker = {.req = req};
	struct view_recall recall;
	struct vs_view_info info;
	int rc = view_get(s, node, &info);

	if (!rc && !req && view_table_recall(s->views, node->entry, info.model, &recall))
		return print(&recall, text);
	if (!rc)
		rc = view_recall_measure(s->store, node->collection, info.name, answer_is_unwanted, &asker,
					 &recall);
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	view_table_set_recall(s->views, node->entry, &recall);
	return print(&recall, text);
}

static int recall_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	struct vs_view_info info;
	int rc = view_get(s, node, &info);

	return rc ? rc : answer_file_attr(s, node, make, st, timeout_s);
}

static int recall_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	return answer_file_open(req, node, make, fi);
}

static ssize_t recall_read(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
			   const struct fuse_file_info *fi)
{
	return answer_file_read(s, node, make, buf, size, off, fi);
}

static bool recall_is_long(struct mount *s, const struct node *node, size_t data_size)
{
	(void)data_size;
	return answer_is_long(s, node->collection, VS_RECALL_QUERIES);
}

const struct node_ops view_recall_ops = {
	.attr = recall_attr,
	.open = recall_open,
	.read = recall_read,
	.release = answer_file_release,
	.is_long = recall_is_long,
};
