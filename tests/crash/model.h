/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model - what a store contains, kept in plain arrays: either what it ought to (op.h changes a model as it
 * changes a store) or what it does (model_load reads a store through its public functions).
 */
#ifndef VECFS_TESTS_CRASH_MODEL_H
#define VECFS_TESTS_CRASH_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

#define MODEL_COLLECTIONS_MAX 32 /* snapshots included */

struct model_vector {
	char name[VS_NAME_MAX + 1];
	uint64_t entry;  /* 0: not known */
	bool attr_known; /* mtime and perm */
	vs_time mtime;
	vs_time ctime; /* 0: not known */
	struct vs_perm perm;
	size_t size;
	unsigned char *data;
	uint64_t hash;
};

struct model_collection {
	char name[VS_NAME_MAX + 1];
	char parent[VS_NAME_MAX + 1]; /* of a snapshot; else empty */
	uint32_t id;                  /* 0: not known */
	struct vs_schema schema;
	bool used;                   /* has a vector: the schema is fixed */
	bool dim_given, dtype_given; /* and stays when the last vector goes */
	struct vs_perm perm;
	struct model_vector *vectors;
	size_t count, room;
	uint64_t hash_sum;
	unsigned views; /* a bit for each of model_views that it has */
};

struct model {
	struct model_collection collections[MODEL_COLLECTIONS_MAX];
	size_t count;
	bool no_snapshots; /* model_load leaves them alone, and model_same does not miss them */
	bool rows_only;    /* model_load leaves bulk views alone, which need a file to write to */
};

/* The views that collections may have. None of them needs more than one vector. */
#define MODEL_VIEWS 5u
extern const char *const model_views[MODEL_VIEWS];

void model_clear(struct model *m);

struct model_collection *model_find(struct model *m, const char *name);
/* A snapshot of a collection; with name NULL any. */
struct model_collection *model_find_snap(struct model *m, const char *parent, const char *name);
/* A snapshot of a collection (parent), or a collection that is made of one (parent ""). NULL as above. */
struct model_collection *model_clone(struct model *m, const struct model_collection *from, const char *parent,
				     const char *name, uint32_t id, const struct vs_perm *perm);
/* A snapshot's collection gets the vectors that the snapshot has, with other entry numbers. -EBUSY: it has
 * vectors of another kind. */
int model_roll_back(struct model *m, const struct model_collection *snap);
/* What has become free with the last vector of a collection: its schema. */
void model_settle(struct model *m);
/* NULL if there are MODEL_COLLECTIONS_MAX. */
struct model_collection *model_add(struct model *m, const char *name, uint32_t id,
				   const struct vs_perm *perm);
void model_drop(struct model *m, struct model_collection *c);

struct model_vector *model_vector_find(struct model_collection *c, const char *name);
/* Puts or replaces. attr NULL: entry, mtime and permissions are not known. Fixes the schema. */
void model_put(struct model_collection *c, const char *name, const struct vs_attr *attr, const void *data,
	       size_t size);
void model_patch(struct model_collection *c, struct model_vector *v, const void *data, size_t size,
		 size_t off);
void model_set(struct model_vector *v, unsigned which, const struct vs_attr *attr);
void model_remove(struct model_collection *c, struct model_vector *v);

/* Of everything but entry numbers, collection numbers and attributes. */
uint64_t model_hash(const struct model *m);
/* Whether got is as wanted, where that is known; else why gets the first difference. */
bool model_same(struct model *want, struct model *got, char *why, size_t why_size);
/* Reads all collections of a store, checking that all ways of reading agree. 0 or -errno with a sentence. */
int model_load(struct model *m, struct vs_store *s, char *why, size_t why_size);

#endif
