/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/near.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/answer.h"
#include "fs/control/answer_file.h"
#include "fs/control/control.h"
#include "fs/request/listing.h"
#include "fs/request/message.h"

#define NEAR_SLOTS 1024u /* a power of 2 */

struct slot {
	uint64_t n; /* its number; 0: free */
	uint32_t collection;
	uint64_t entry; /* of the vector; 0: a directory */
	char options[VS_NAME_MAX + 1];
};

struct near_table {
	pthread_mutex_t lock;
	uint64_t last;
	struct slot slots[NEAR_SLOTS];
};

struct near_table *near_table_new(void)
{
	struct near_table *t = calloc(1, sizeof *t);

	if (t)
		pthread_mutex_init(&t->lock, NULL);
	return t;
}

void near_table_free(struct near_table *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* The number under which this is remembered; a new one if it is not. */
static uint64_t remember(struct near_table *t, uint32_t collection, uint64_t entry, const char *options)
{
	struct slot *slot = NULL;
	uint64_t n;

	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < NEAR_SLOTS && !slot; i++)
		if (t->slots[i].n && t->slots[i].collection == collection && t->slots[i].entry == entry &&
		    !strcmp(t->slots[i].options, options))
			slot = &t->slots[i];
	if (!slot) {
		slot = &t->slots[++t->last % NEAR_SLOTS];
		*slot = (struct slot){.n = t->last, .collection = collection, .entry = entry};
		strcpy(slot->options, options);
	}
	n = slot->n;
	pthread_mutex_unlock(&t->lock);
	return n;
}

/* What the node is; -ESTALE if that is forgotten. The static near/ is a directory without options. */
static int recall(struct mount *s, const struct node *node, struct slot *out)
{
	struct near_table *t = s->near;
	int rc = 0;

	*out = (struct slot){.collection = node->collection};
	if (node->kind == NODE_NEAR)
		return 0;
	pthread_mutex_lock(&t->lock);
	*out = t->slots[node->entry % NEAR_SLOTS];
	if (out->n != node->entry || out->collection != node->collection)
		rc = -ESTALE;
	pthread_mutex_unlock(&t->lock);
	return rc;
}

/* ------------------------------------------------------------------ directories */

int near_at_lookup(fuse_req_t req, const struct node *control, const char *name, struct fuse_entry_param *e)
{
	struct node node = {.kind = NODE_NEAR_AT, .collection = control->collection};
	const char *options = name + strlen(NEAR_PREFIX);
	struct mount *s = ops_serve(req);
	struct vs_collection_info info;
	struct search_params params;
	char why[512];
	int rc;

	rc = vs_collection_get(s->store, control->collection, &info);
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	search_params_init(&params);
	rc = search_params_parse(&params, options, strlen(options), ',', why, sizeof why);
	if (!rc && params.ids[0]) {
		snprintf(why, sizeof why,
			 "a list of ids is a file of a session: search/S (filter=GLOB is for here)");
		rc = -EINVAL;
	}
	if (rc) {
		message(VS_WARNING, "%s/.vecfs/%s: refused: %s", info.name, name, why);
		return rc;
	}
	node.entry = remember(s->near, node.collection, 0, options);
	return ops_entry(s, &node, 0, e);
}

static int near_lookup(fuse_req_t req, const struct node *dir, const char *name, struct fuse_entry_param *e)
{
	struct node node = {.kind = NODE_NEAR_FILE, .collection = dir->collection};
	struct mount *s = ops_serve(req);
	struct slot slot;
	struct vs_attr attr;
	int rc = recall(s, dir, &slot);

	if (!rc)
		rc = vs_name_check(name, strlen(name));
	if (!rc)
		rc = vs_lookup(s->store, dir->collection, name, &attr);
	if (rc)
		return rc;
	node.entry = remember(s->near, dir->collection, attr.entry, slot.options);
	return ops_entry(s, &node, 0, e);
}

/* Every id has a file here; they are not listed, since who reads them all searches for each. */
static ssize_t near_list(fuse_req_t req, const struct node *dir, char *buf, size_t size, off_t off, bool plus)
{
	struct listing l = {.req = req, .buf = buf, .size = size, .plus = plus};

	listing_dots(&l, node_ino(dir), control_parent_ino(dir), off);
	return (ssize_t)l.used;
}

const struct node_ops dir_near_ops = {
	.lookup = near_lookup,
	.list = near_list,
	.attr = control_attr,
};

/* ------------------------------------------------------------------ files */

static int find_neighbours(struct mount *s, fuse_req_t req, const struct slot *slot, struct answer_text *text)
{
	struct vs_collection_info info;
	struct search_params params;
	struct answer answer;
	char why[512] = "";
	void *vector = NULL;
	ssize_t got;
	int rc = vs_collection_get(s->store, slot->collection, &info);

	search_params_init(&params);
	if (!rc)
		rc = search_params_parse(&params, slot->options, strlen(slot->options), ',', why, sizeof why);
	if (!rc && !(vector = malloc(info.row_bytes)))
		rc = -ENOMEM;
	if (!rc) {
		got = vs_read(s->store, slot->collection, slot->entry, vector, info.row_bytes, 0);
		rc = got < 0 ? (int)got : 0;
	}
	if (!rc)
		rc = answer_make(&(struct answer_ask){.store = s->store,
						      .collection = slot->collection,
						      .schema = &info.schema,
						      .vectors = vector,
						      .count = 1,
						      .params = &params,
						      .without = slot->entry,
						      .is_cancelled = answer_is_unwanted,
						      .arg = &(struct answer_asker){.req = req},
						      .budget = answer_budget_of(s),
						      .recalls = s->recalls,
						      .filters = s->filters},
				 &answer, why, sizeof why);
	free(vector);
	if (rc == -EINVAL || rc == -EDQUOT)
		message(VS_WARNING, "%s/.vecfs/near: refused: %s", info.name, why);
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	rc = answer_print(&answer, params.json, &text->bytes, &text->size);
	answer_free(&answer);
	return rc;
}

static int make(struct mount *s, fuse_req_t req, const struct node *node, struct answer_text *text)
{
	struct slot slot;
	int rc = recall(s, node, &slot);

	return rc ? rc : find_neighbours(s, req, &slot, text);
}

static int near_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	struct slot slot;
	int rc = recall(s, node, &slot);

	return rc ? rc : answer_file_attr(s, node, make, st, timeout_s);
}

static int near_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	return answer_file_open(req, node, make, fi);
}

static ssize_t near_read(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
			 const struct fuse_file_info *fi)
{
	return answer_file_read(s, node, make, buf, size, off, fi);
}

static bool near_is_long(struct mount *s, const struct node *node, size_t data_size)
{
	(void)data_size;
	return answer_is_long(s, node->collection, 1);
}

const struct node_ops near_file_ops = {
	.is_long = near_is_long,
	.attr = near_attr,
	.open = near_open,
	.read = near_read,
	.release = answer_file_release,
};
