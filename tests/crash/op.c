/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/crash/op.h"

#include <stdio.h>
#include <string.h>

#define BATCH_PUTS_MAX 3
#define BATCH_UPLOADS_MAX 12
#define BATCH_DELETES_MAX 4

static const char *const kind_names[OP_KIND_COUNT] = {
	[OP_PUT] = "put",       [OP_WRITE] = "write",     [OP_READ] = "read",         [OP_REMOVE] = "remove",
	[OP_RENAME] = "rename", [OP_ATTR] = "attr",       [OP_BATCH] = "batch",       [OP_CREATE] = "create",
	[OP_DROP] = "drop",     [OP_RETITLE] = "retitle", [OP_SCHEMA] = "schema",     [OP_PERM] = "perm",
	[OP_VIEW] = "view",     [OP_UNVIEW] = "unview",   [OP_SNAP] = "snap",         [OP_UNSNAP] = "unsnap",
	[OP_RESNAP] = "resnap", [OP_CLONE] = "clone",     [OP_ROLLBACK] = "rollback", [OP_SYNC] = "sync",
	[OP_REOPEN] = "reopen",
};

/* Short, middling and the longest names, with bytes that programs tend to trip over. */
void op_name(unsigned name, char text[VS_NAME_MAX + 1])
{
	int len = snprintf(text, VS_NAME_MAX + 1, name % 8 == 5 ? "-\xff %u\t*" : "v%u", name);
	size_t want = name % 8 == 7 ? VS_NAME_MAX : name % 8 == 3 ? 40 : (size_t)len;

	memset(text + len, 'x', want - (size_t)len);
	text[want] = 0;
}

void op_collection_name(unsigned collection, char text[VS_NAME_MAX + 1])
{
	snprintf(text, VS_NAME_MAX + 1, "c%u", collection);
}

void op_snap_name(unsigned snap, char text[VS_NAME_MAX + 1])
{
	snprintf(text, VS_NAME_MAX + 1, "s%u", snap % OP_SNAPS);
}

void op_bytes(const struct op *op, unsigned n, unsigned char *buf, size_t size)
{
	struct rng r = rng_of(op->seed, n);

	rng_fill(&r, buf, size);
}

void op_describe(const struct op *op, char *text, size_t size)
{
	snprintf(text, size, "%s c%u/v%u", kind_names[op->kind], op->collection, op->name);
	size -= strlen(text);
	text += strlen(text);
	if (op->kind == OP_RENAME || op->kind == OP_RETITLE || op->kind == OP_CLONE || op->kind == OP_RESNAP)
		snprintf(text, size, " to c%u/v%u%s", op->to_collection, op->to_name,
			 op->exclusive ? " exclusively" : "");
	else if (op->kind == OP_PUT || op->kind == OP_WRITE)
		snprintf(text, size, " %zu bytes at %zu", op->size, op->off);
	else if (op->kind == OP_VIEW || op->kind == OP_UNVIEW)
		snprintf(text, size, " %s", model_views[op->view]);
	else if (op->kind == OP_BATCH)
		snprintf(text, size, " of %u, upload of %u, deleting %u", op->puts, op->uploads, op->deletes);
}

/* ------------------------------------------------------------------ choosing */

void op_style_init(struct op_style *style, uint64_t seed)
{
	static const struct op_style base = {
		.weights = {[OP_PUT] = 30,    [OP_WRITE] = 10,  [OP_READ] = 5,     [OP_REMOVE] = 12,
			    [OP_RENAME] = 10, [OP_ATTR] = 5,    [OP_BATCH] = 2,    [OP_CREATE] = 3,
			    [OP_DROP] = 1,    [OP_RETITLE] = 1, [OP_SCHEMA] = 2,   [OP_PERM] = 1,
			    [OP_VIEW] = 2,    [OP_UNVIEW] = 1,  [OP_SNAP] = 4,     [OP_UNSNAP] = 3,
			    [OP_RESNAP] = 1,  [OP_CLONE] = 1,   [OP_ROLLBACK] = 2, [OP_SYNC] = 5,
			    [OP_REOPEN] = 1},
	};
	static const unsigned names[] = {3, 12, OP_NAMES};
	static const size_t row_bytes[] = {64, 64, 1024, 8192};
	struct rng r = rng_of(seed, 1);

	*style = base;
	style->names = names[rng_below(&r, 3)];
	style->collections = 1 + (unsigned)rng_below(&r, OP_COLLECTIONS);
	style->row_bytes_max = row_bytes[rng_below(&r, 4)];
	/* Each workload dwells on some kinds: what goes wrong between two removals needs two in a row. */
	for (int i = 0; i < 2; i++)
		style->weights[rng_below(&r, OP_KIND_COUNT)] *= 4;
}

static enum op_kind choose_kind(const struct op_style *style, struct rng *r)
{
	unsigned total = 0, kind = 0;
	uint64_t at;

	for (int i = 0; i < OP_KIND_COUNT; i++)
		total += style->weights[i];
	for (at = rng_below(r, total); at >= style->weights[kind]; kind++)
		at -= style->weights[kind];
	return kind;
}

struct model_collection *op_collection(struct model *m, unsigned collection)
{
	char name[VS_NAME_MAX + 1];

	op_collection_name(collection, name);
	return model_find(m, name);
}

/* The number of a vector that exists, or of any. */
static unsigned choose_name(const struct op_style *style, struct model_collection *c, struct rng *r)
{
	unsigned first = (unsigned)rng_below(r, style->names);

	for (unsigned i = 0; i < style->names; i++) {
		unsigned name = (first + i) % style->names;
		char text[VS_NAME_MAX + 1];

		op_name(name, text);
		if (model_vector_find(c, text))
			return name;
	}
	return first;
}

static size_t choose_row_bytes(const struct op_style *style, const struct model_collection *c, struct rng *r)
{
	size_t size = vs_row_bytes(&c->schema);

	if (!size)
		size = 16 + 4 * rng_below(r, (style->row_bytes_max - 16) / 4 + 1);
	return size;
}

static void choose_attr(struct op *op, struct rng *r)
{
	/* A row keeps whole seconds, times of before now, and others in three ways. */
	op->attr.mtime = rng_below(r, VS_TIME_END);
	if (rng_percent(r, 40))
		op->attr.mtime -= op->attr.mtime % VS_TIME_NS_PER_S;
	else if (rng_percent(r, 50))
		op->attr.mtime = vs_time_now() - rng_below(r, 300 * VS_TIME_NS_PER_S);
	op->attr.perm.mode = (uint32_t)rng_below(r, 010000);
	/* Few owners: a store may keep a table of them. */
	op->attr.perm.uid = (uint32_t)rng_below(r, 3) * 1000;
	op->attr.perm.gid = (uint32_t)rng_below(r, 2) * 1000;
	op->which = (unsigned)rng_below(r, 15) + 1;
}

static void choose_schema(struct op *op, struct rng *r)
{
	op->schema.dtype = (enum vs_dtype)rng_below(r, VS_DTYPE_COUNT);
	op->schema.metric = (enum vs_metric)rng_below(r, VS_METRIC_COUNT);
	op->schema.dim = (uint32_t)rng_below(r, 3) * 32;
}

static void choose_batch(struct op *op, struct rng *r)
{
	op->puts = (unsigned)rng_below(r, BATCH_PUTS_MAX + 1);
	op->uploads = (unsigned)rng_below(r, BATCH_UPLOADS_MAX + 1);
	op->deletes = (unsigned)rng_below(r, BATCH_DELETES_MAX + 1);
}

static void choose_part(struct op *op, struct model_collection *c, struct rng *r)
{
	op->size = vs_row_bytes(&c->schema);
	if (!op->size || rng_percent(r, 30))
		return;
	op->off = rng_below(r, op->size);
	op->size = 1 + rng_below(r, op->size - op->off);
}

static void choose_target(struct op *op, const struct op_style *style, struct model *m, struct rng *r)
{
	struct model_collection *from = op_collection(m, op->collection), *to;

	op->exclusive = rng_percent(r, 20);
	op->to_name = (unsigned)rng_below(r, style->names);
	op->to_collection = op->collection;
	if (op->kind == OP_RETITLE || rng_percent(r, 30))
		op->to_collection = (unsigned)rng_below(r, style->collections);
	to = op_collection(m, op->to_collection);
	if (op->kind == OP_RETITLE || !to) {
		op->to_collection = op->kind == OP_RETITLE ? op->to_collection : op->collection;
	} else if (from && vs_row_bytes(&from->schema) != vs_row_bytes(&to->schema)) {
		/* Two reasons to refuse at once would leave open which is told. */
		op->exclusive = false;
	}
	if (op->to_collection == op->collection && (op->kind == OP_RETITLE || op->to_name == op->name))
		op->exclusive = false; /* a rename to itself does nothing */
}

void op_choose(struct op *op, const struct op_style *style, struct model *m, struct rng *r)
{
	struct model_collection *c;

	*op = (struct op){.kind = choose_kind(style, r), .seed = rng_next(r)};
	op->collection = (unsigned)rng_below(r, style->collections);
	c = op_collection(m, op->collection);
	/* Nothing can be done in a collection that is not there. */
	if (!c && op->kind < OP_SYNC)
		op->kind = OP_CREATE;
	choose_attr(op, r);
	if (!c)
		return;
	op->name = op->kind == OP_PUT || op->kind == OP_BATCH ? (unsigned)rng_below(r, style->names)
							      : choose_name(style, c, r);
	if (op->kind == OP_PUT)
		op->size = choose_row_bytes(style, c, r);
	else if (op->kind == OP_WRITE)
		choose_part(op, c, r);
	else if (op->kind == OP_SCHEMA)
		choose_schema(op, r);
	else if (op->kind == OP_BATCH)
		choose_batch(op, r);
	else if (op->kind == OP_VIEW || op->kind == OP_UNVIEW)
		op->view = (unsigned)rng_below(r, MODEL_VIEWS);
	else if (op->kind >= OP_SNAP && op->kind <= OP_ROLLBACK) {
		op->name = (unsigned)rng_below(r, OP_SNAPS);
		op->to_name = (unsigned)rng_below(r, OP_SNAPS);
		op->to_collection = (unsigned)rng_below(r, style->collections);
	} else if (op->kind == OP_RENAME || op->kind == OP_RETITLE)
		choose_target(op, style, m, r);
	if (op->kind == OP_BATCH)
		op->size = choose_row_bytes(style, c, r);
}
