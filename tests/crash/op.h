/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op - one operation of a workload: chosen by a seed to suit the model's state, performed on a store, applied
 * to a model. Names are numbers here; the same number is the same name in every collection.
 */
#ifndef VECFS_TESTS_CRASH_OP_H
#define VECFS_TESTS_CRASH_OP_H

#include "tests/crash/model.h"
#include "tests/crash/rng.h"

#define OP_NAMES 64      /* ids */
#define OP_COLLECTIONS 4 /* names of collections */
#define OP_SNAPS 3       /* names of a collection's snapshots */

enum op_kind {
	OP_PUT,
	OP_WRITE,
	OP_READ,
	OP_REMOVE,
	OP_RENAME,
	OP_ATTR,
	OP_BATCH,
	OP_CREATE,
	OP_DROP,
	OP_RETITLE,
	OP_SCHEMA,
	OP_PERM,
	OP_VIEW,   /* creates one */
	OP_UNVIEW, /* drops one */
	OP_SNAP,
	OP_UNSNAP,
	OP_RESNAP,
	OP_CLONE,
	OP_ROLLBACK,
	OP_SYNC,
	OP_REOPEN, /* for the caller to do: nothing to perform here */
	OP_KIND_COUNT,
};

struct op {
	enum op_kind kind;
	unsigned collection, to_collection; /* numbers of names */
	unsigned name, to_name;
	bool exclusive;
	unsigned which;
	size_t size, off;
	uint64_t seed; /* of the bytes */
	struct vs_attr attr;
	struct vs_schema schema;
	/* A batch puts the ids name, name + 1, ..., then uploads, then deletes. */
	unsigned puts, uploads, deletes;
	unsigned view; /* of model_views */
	vs_time ctime; /* of the vector, as the store told it afterwards; 0 if it did not */
	/* What the store answered: the number of the entry or collection; 0 if it did not. */
	uint64_t entry;
};

/* How a workload is made, from its seed. */
struct op_style {
	unsigned weights[OP_KIND_COUNT];
	unsigned names, collections;
	size_t row_bytes_max;
};

void op_style_init(struct op_style *style, uint64_t seed);
void op_choose(struct op *op, const struct op_style *style, struct model *m, struct rng *r);
/* What op does to m, where the store answers 0; else the -errno it must answer. */
int op_apply(const struct op *op, struct model *m);
/* m is the state before. A wrong answer beyond the returned value is -EBADMSG, with a sentence in why. */
int op_perform(struct op *op, struct model *m, struct vs_store *s, char *why, size_t why_size);
void op_describe(const struct op *op, char *text, size_t size);

/* The collection of that number, or NULL. */
struct model_collection *op_collection(struct model *m, unsigned collection);
/* Whether an upload brings the attributes of its rows, and whether it is cut off and gone on with. */
static inline bool op_has_attributes(const struct op *op)
{
	return op->seed & 1;
}

static inline bool op_is_resumed(const struct op *op)
{
	return op->seed & 2;
}

/* The names behind the numbers, and the bytes behind the seed; n tells the rows of a batch apart. */
void op_name(unsigned name, char text[VS_NAME_MAX + 1]);
void op_collection_name(unsigned collection, char text[VS_NAME_MAX + 1]);
void op_snap_name(unsigned snap, char text[VS_NAME_MAX + 1]);
void op_bytes(const struct op *op, unsigned n, unsigned char *buf, size_t size);

#endif
