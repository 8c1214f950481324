/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/view_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/control.h"
#include "fs/control/text.h"
#include "fs/control/view_dir.h"
#include "fs/request/message.h"
#include "quant/level.h"

#define RECALL_MIN 0.5     /* with so few candidates verified, ... */
#define RECALL_MIN_DEPTH 1 /* ... an index of view_recall_depths, less is warned of */

const char *view_state_name(enum vs_view_state state)
{
	static const char *const names[] = {[VS_VIEW_TRAINING] = "training",
					    [VS_VIEW_ENCODING] = "encoding",
					    [VS_VIEW_READY] = "ready",
					    [VS_VIEW_LAGGING] = "lagging",
					    [VS_VIEW_FAILED] = "failed"};

	return names[state];
}

double view_drift(const struct vs_view_info *info)
{
	return info->error_trained > 0 ? info->error_recent / info->error_trained : 0;
}

/* ------------------------------------------------------------------ info */

static void print_errors(const struct vs_view_info *info, FILE *out)
{
	if (info->error_trained > 0)
		fprintf(out, "error_trained=%.6g\n", info->error_trained);
	if (info->error_recent > 0)
		fprintf(out, "error_recent=%.6g\n", info->error_recent);
	if (view_drift(info) > 0)
		fprintf(out, "drift=%.3f\n", view_drift(info));
}

static bool is_trained_by_kmeans(const struct codec_plan *plan)
{
	return plan->name.kind == CODEC_PQ || plan->name.kind == CODEC_OPQ;
}

static void print_warnings(const struct vs_view_info *info, const struct view_recall *recall, FILE *out)
{
	uint64_t rows_good = CODEC_TRAIN_ROWS_PER_CENTROID * (UINT64_C(1) << info->plan.name.bits);

	if (recall && recall->queries && recall->recall[RECALL_MIN_DEPTH] < RECALL_MIN)
		fprintf(out,
			"warning=recall@10 is below %.1f with %u candidates verified: take more bytes, or "
			"opq\n",
			RECALL_MIN, view_recall_depths[RECALL_MIN_DEPTH]);
	if (view_drift(info) > VS_VIEW_DRIFT_MAX)
		fprintf(out,
			"warning=what is written now fits the model less than what it was trained with "
			"(drift "
			"above %.2f): set retrain=auto, or another seed\n",
			VS_VIEW_DRIFT_MAX);
	if (is_trained_by_kmeans(&info->plan) && info->rows_trained && info->rows_trained < rows_good)
		fprintf(out,
			"warning=trained with %" PRIu64 " vectors, fewer than the %" PRIu64
			" that make good centroids: train anew when there are more\n",
			info->rows_trained, rows_good);
	if (info->plan.is_uneven)
		fprintf(out, "warning=sub-vectors differ by a dim: their number does not divide %u\n",
			info->plan.dim);
}

/* For `vecfs search`, which reads the code files by itself. */
static void print_model(struct mount *s, const struct node *node, const struct vs_view_info *info, FILE *out)
{
	char text[1024];

	if (!vs_view_lend(s->store, node->collection, info->name, text, sizeof text))
		fprintf(out, "model=%s", text);
}

static int print_info(struct mount *s, const struct node *node, const struct vs_view_info *info, FILE *out)
{
	struct vs_collection_info collection;
	struct view_recall recall;
	bool is_measured = view_table_recall(s->views, node->entry, info->model, &recall);
	size_t code_bytes = view_code_bytes(info);
	int rc = vs_collection_get(s->store, node->collection, &collection);

	if (rc)
		return rc;
	fprintf(out, "codec=%s\nstate=%s\n", info->name, view_state_name(info->state));
	if (*info->why)
		fprintf(out, "why=%s\n", info->why);
	if (info->state == VS_VIEW_TRAINING || info->state == VS_VIEW_ENCODING)
		fprintf(out, "progress=%.4f\n", info->progress);
	fprintf(out, "code_bytes=%zu\nratio=%.2f\n", code_bytes,
		(double)collection.row_bytes / (double)code_bytes);
	fprintf(out, "rows=%" PRIu64 "\nrows_encoded=%" PRIu64 "\nrows_trained=%" PRIu64 "\n", info->rows,
		info->rows_encoded, info->rows_trained);
	fprintf(out, "nonfinite=%" PRIu64 "\nundirected=%" PRIu64 "\n", info->rows_nonfinite,
		info->rows_undirected);
	fprintf(out, "disk_bytes=%" PRIu64 "\nepoch=%u\n", info->disk_bytes, info->epoch);
	print_errors(info, out);
	print_model(s, node, info, out);
	if (is_measured)
		view_recall_print(&recall, out);
	fprintf(out, "simd=%s\n", level_name(level_get()));
	print_warnings(info, is_measured ? &recall : NULL, out);
	return 0;
}

static void print_params(const struct vs_view_params *params, FILE *out)
{
	fprintf(out, "seed=%" PRIu64 "\ntrain=%u\nretrain=%s\n", params->seed, params->train_rows,
		params->retrain_auto ? "auto" : "off");
}

int view_text_print(struct mount *s, const struct node *node, FILE *out)
{
	struct vs_view_info info;
	int rc = view_get(s, node, &info);

	if (rc)
		return rc;
	if (node->which == NODE_VIEW_INFO)
		rc = print_info(s, node, &info, out);
	else if (node->which == NODE_VIEW_STATE)
		fprintf(out, "%s\n", view_state_name(info.state));
	else
		print_params(&info.params, out);
	return rc == -ENOENT ? -ESTALE : rc;
}

/* ------------------------------------------------------------------ stats and metrics */

void view_text_print_line(const struct vs_view_info *info, const struct view_recall *recall, size_t row_bytes,
			  FILE *out)
{
	size_t code_bytes = view_code_bytes(info);

	fprintf(out, "%s state=%s code_bytes=%zu ratio=%.2f", info->name, view_state_name(info->state),
		code_bytes, (double)row_bytes / (double)code_bytes);
	if (info->disk_bytes) /* else nobody has looked at the files, as where a store is only read */
		fprintf(out, " disk_bytes=%" PRIu64 " rows_encoded=%" PRIu64, info->disk_bytes,
			info->rows_encoded);
	for (unsigned i = 0; recall && recall->queries && i < VIEW_RECALL_DEPTHS; i++)
		fprintf(out, " recall_rerank%u=%.4f", view_recall_depths[i], recall->recall[i]);
	if (view_drift(info) > 0)
		fprintf(out, " drift=%.3f", view_drift(info));
	fputc('\n', out);
}

void view_text_print_stats(struct mount *s, const struct vs_collection_info *collection, FILE *out)
{
	struct vs_view_info info = {.name = ""};
	struct view_recall recall;
	uint64_t number;

	while (!vs_view_next(s->store, collection->id, info.name, &info)) {
		bool is_measured = !view_table_number(s->views, collection->id, info.name, &number) &&
				   view_table_recall(s->views, number, info.model, &recall);

		fputs("view=", out);
		view_text_print_line(&info, is_measured ? &recall : NULL, collection->row_bytes, out);
	}
}

static uint64_t rows_encoded(const struct vs_view_info *info)
{
	return info->rows_encoded;
}

static uint64_t rows_lagging(const struct vs_view_info *info)
{
	return info->rows > info->rows_encoded ? info->rows - info->rows_encoded : 0;
}

static uint64_t disk_bytes(const struct vs_view_info *info)
{
	return info->disk_bytes;
}

static uint64_t is_ready(const struct vs_view_info *info)
{
	return info->state == VS_VIEW_READY;
}

static const struct family {
	const char *name, *help;
	uint64_t (*of)(const struct vs_view_info *info);
} families[] = {
	{"view_rows_encoded", "Vectors whose codes are up to date.", rows_encoded},
	{"view_rows_lagging", "Vectors that wait for their codes.", rows_lagging},
	{"view_bytes", "Bytes on the disk of a view's codes and model.", disk_bytes},
	{"view_ready", "1 if the view's state is ready.", is_ready},
};
#define FAMILIES (sizeof families / sizeof *families)

static void print_label(const char *value, FILE *out)
{
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			fputc('\\', out);
		if (*value == '\n')
			fputs("\\n", out);
		else
			fputc(*value, out);
	}
}

static void print_family(struct mount *s, const struct family *family, FILE *out)
{
	struct vs_collection_info collection = {0};
	struct vs_view_info info;

	fprintf(out, "# HELP vecfs_%s %s\n# TYPE vecfs_%s gauge\n", family->name, family->help, family->name);
	while (!vs_collection_next(s->store, 0, collection.id, &collection)) {
		info.name[0] = '\0';
		if ((collection.perm.mode & 0005) != 0005)
			continue;
		while (!vs_view_next(s->store, collection.id, info.name, &info)) {
			fprintf(out, "vecfs_%s{collection=\"", family->name);
			print_label(collection.name, out);
			fprintf(out, "\",view=\"%s\"} %" PRIu64 "\n", info.name, family->of(&info));
		}
	}
}

void view_text_print_metrics(struct mount *s, FILE *out)
{
	for (size_t i = 0; i < FAMILIES; i++)
		print_family(s, &families[i], out);
}

/* ------------------------------------------------------------------ params */

/* What the lines of one write say together. */
struct change {
	struct vs_view_params params;
	bool is_one; /* a line has said something */
};

static bool number_of(const char *value, uint64_t max, uint64_t *out)
{
	if (!*value || strspn(value, "0123456789") != strlen(value))
		return false;
	errno = 0;
	*out = strtoull(value, NULL, 10);
	return !errno && *out <= max;
}

/* seed=, train= or retrain=. */
static int take_line(void *arg, char *line, char *why, size_t why_size)
{
	struct change *change = arg;
	char *value = strchr(line, '=');
	uint64_t train;
	bool is_good;

	if (!value) {
		snprintf(why, why_size, "got '%s', want key=value", line);
		return -EINVAL;
	}
	*value++ = '\0';
	if (!strcmp(line, "seed")) {
		is_good = number_of(value, UINT64_MAX, &change->params.seed);
		snprintf(why, why_size, "got seed=%s, want a number, or 0 for the view's own", value);
	} else if (!strcmp(line, "train")) {
		is_good = number_of(value, UINT32_MAX, &train);
		change->params.train_rows = is_good ? (uint32_t)train : 0;
		snprintf(why, why_size, "got train=%s, want a number of vectors, or 0 for the codec's choice",
			 value);
	} else if (!strcmp(line, "retrain")) {
		change->params.retrain_auto = !strcmp(value, "auto");
		is_good = change->params.retrain_auto || !strcmp(value, "off");
		snprintf(why, why_size, "got retrain=%s, want auto or off", value);
	} else {
		snprintf(why, why_size, "got key '%s', want seed, train or retrain", line);
		return -EINVAL;
	}
	change->is_one = true;
	return is_good ? 0 : -EINVAL;
}

/* Sets what the lines said of the view, rc being what they came to; a refusal is logged. */
static int apply(struct mount *s, const struct node *node, const struct vs_view_info *view,
		 const struct change *change, int rc, const char *why)
{
	struct vs_collection_info info = {0};
	bool is_wrong = rc != 0;

	if (!rc && change->is_one)
		rc = vs_view_set_params(s->store, node->collection, view->name, &change->params);
	if (!rc)
		return 0;
	vs_collection_get(s->store, node->collection, &info);
	message(VS_WARNING, "%s/.vecfs/views/%s/.vecfs/params: refused: %s", info.name, view->name,
		is_wrong ? why : strerror(-rc));
	return rc == -ENOENT ? -ESTALE : rc;
}

static int params_write(fuse_req_t req, const struct node *node, const void *buf, size_t size, off_t off,
			const struct fuse_file_info *fi)
{
	struct mount *s = ops_serve(req);
	struct text *t = text_of(fi);
	char why[TEXT_WHY_BYTES] = "";
	struct vs_view_info view;
	struct change change = {.is_one = false};
	int rc = node->which == NODE_VIEW_PARAMS ? view_get(s, node, &view) : -EBADF;

	if (rc)
		return rc;
	change.params = view.params;
	pthread_mutex_lock(&t->lock);
	rc = lines_write(&t->lines, buf, size, off, take_line, &change, why, sizeof why);
	if (rc != -EFBIG)
		rc = apply(s, node, &view, &change, rc, why);
	if (rc)
		lines_refuse(&t->lines, off);
	pthread_mutex_unlock(&t->lock);
	return rc;
}

static int params_flush(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi,
			bool *changed)
{
	struct mount *s = ops_serve(req);
	struct text *t = text_of(fi);
	char why[TEXT_WHY_BYTES] = "";
	struct vs_view_info view;
	struct change change = {.is_one = false};
	int rc = 0;

	(void)changed;
	pthread_mutex_lock(&t->lock);
	if (t->lines.size) {
		rc = view_get(s, node, &view);
		change.params = view.params;
		if (!rc) {
			rc = lines_flush(&t->lines, take_line, &change, why, sizeof why);
			rc = apply(s, node, &view, &change, rc, why);
		}
	}
	pthread_mutex_unlock(&t->lock);
	return rc;
}

const struct node_ops view_text_ops = {
	.attr = text_attr,
	.setattr = text_setattr,
	.open = text_open,
	.read = text_read,
	.write = params_write,
	.flush = params_flush,
	.release = text_release,
};
