/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema_text - a collection's schema as text. Each line that is written sets what it names as soon as it is
 * complete, or fails its write(2), which a shell's builtins notice as well as cp.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/control.h"
#include "fs/control/text.h"
#include "fs/request/message.h"

static int parse_dim(const char *value, uint32_t *out)
{
	char *end;
	unsigned long dim = strtoul(value, &end, 10);

	if (*end || *value < '0' || *value > '9' || dim > VS_ROW_BYTES_MAX * 8)
		return -EINVAL;
	*out = (uint32_t)dim;
	return 0;
}

/* One line of key=value; *which tells what it names, why what is wrong with it. */
static int parse_line(char *line, struct vs_schema *schema, unsigned *which, char *why, size_t why_size)
{
	char *value = strchr(line, '=');
	int word = 0;

	if (!value) {
		snprintf(why, why_size, "got '%s', want key=value", line);
		return -EINVAL;
	}
	*value++ = '\0';
	if (!strcmp(line, "dim")) {
		*which = VS_SCHEMA_DIM;
		if (parse_dim(value, &schema->dim))
			snprintf(why, why_size, "got dim=%s, want a number of values, or 0 for unknown",
				 value);
	} else if (!strcmp(line, "dtype") && !strcmp(value, "any")) {
		*which = VS_SCHEMA_FREE;
	} else if (!strcmp(line, "dtype")) {
		*which = VS_SCHEMA_DTYPE;
		word = vs_dtype_parse(value);
		schema->dtype = (enum vs_dtype)word;
		if (word < 0)
			snprintf(why, why_size, "got dtype=%s, want f32, f16, bf16, i8, u8 or bit", value);
	} else if (!strcmp(line, "metric")) {
		*which = VS_SCHEMA_METRIC;
		word = vs_metric_parse(value);
		schema->metric = (enum vs_metric)word;
		if (word < 0)
			snprintf(why, why_size, "got metric=%s, want l2, ip or cosine", value);
	} else {
		snprintf(why, why_size, "got key '%s', want dim, dtype or metric", line);
	}
	return *why ? -EINVAL : 0;
}

/* What the lines of one write say together. */
struct change {
	unsigned which;
	struct vs_schema schema;
};

static int take_line(void *arg, char *line, char *why, size_t why_size)
{
	struct change *change = arg;
	unsigned which = 0;
	int rc = parse_line(line, &change->schema, &which, why, why_size);

	/* Of two lines about the dtype the later one counts. */
	if (which & (VS_SCHEMA_DTYPE | VS_SCHEMA_FREE))
		change->which &= ~(VS_SCHEMA_DTYPE | VS_SCHEMA_FREE);
	change->which |= which;
	return rc;
}

/* Sets what the lines said, rc being what they came to; a refusal is logged. */
static int apply(struct mount *s, const struct node *node, struct text *t, const struct change *change,
		 int rc, char *why)
{
	struct vs_collection_info info = {0};

	if (!rc && change->which)
		rc = vs_schema_change(s->store, node->collection, change->which, &change->schema);
	t->changed |= !rc;
	if (!rc)
		return 0;
	vs_collection_get(s->store, node->collection, &info);
	if (rc == -EBUSY)
		snprintf(why, TEXT_WHY_BYTES, "the collection has, or has had, vectors%s",
			 info.schema_fixed ? "" : ", or has a batch open");
	else if (rc == -EINVAL && !*why)
		snprintf(why, TEXT_WHY_BYTES, "no vector can have dim=%u dtype=%s",
			 change->which & VS_SCHEMA_DIM ? change->schema.dim : info.schema.dim,
			 vs_dtype_name(change->which & VS_SCHEMA_DTYPE ? change->schema.dtype
								       : info.schema.dtype));
	message(VS_WARNING, "%s/.vecfs/schema: refused: %s", info.name, *why ? why : strerror(-rc));
	return rc;
}

static int schema_write(fuse_req_t req, const struct node *node, const void *buf, size_t size, off_t off,
			const struct fuse_file_info *fi)
{
	struct text *t = text_of(fi);
	struct change change = {0};
	char why[TEXT_WHY_BYTES] = "";
	int rc;

	pthread_mutex_lock(&t->lock);
	rc = lines_write(&t->lines, buf, size, off, take_line, &change, why, sizeof why);
	if (rc != -EFBIG)
		rc = apply(ops_serve(req), node, t, &change, rc, why);
	if (rc)
		lines_refuse(&t->lines, off);
	pthread_mutex_unlock(&t->lock);
	return rc;
}

static int schema_flush(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi,
			bool *changed)
{
	struct text *t = text_of(fi);
	struct change change = {0};
	char why[TEXT_WHY_BYTES] = "";
	int rc;

	pthread_mutex_lock(&t->lock);
	rc = lines_flush(&t->lines, take_line, &change, why, sizeof why);
	if (rc || change.which)
		rc = apply(ops_serve(req), node, t, &change, rc, why);
	*changed = t->changed;
	t->changed = false;
	pthread_mutex_unlock(&t->lock);
	return rc;
}

const struct node_ops schema_ops = {
	.attr = text_attr,
	.setattr = text_setattr,
	.open = text_open,
	.read = text_read,
	.write = schema_write,
	.flush = schema_flush,
	.release = text_release,
};
