/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view_table - what the inode numbers of views and of what is in them mean to this mount.
 *
 * A view has a number for as long as the mount lasts, by its collection and name. Codes, decoded vectors and
 * models have one each, too: it stands for the view, its model, and the vector as it was at one ctime, or the
 * collection as it was at one version. So what such a number names never changes, the kernel may keep its
 * pages, and whatever does change gets another number. The last ones are remembered; one that is forgotten is
 * ESTALE, upon which the kernel looks it up anew. What is open does not depend on it.
 *
 * Besides it keeps what was measured last of each view's recall.
 */
#ifndef VECFS_FS_CONTROL_VIEW_TABLE_H
#define VECFS_FS_CONTROL_VIEW_TABLE_H

#include "fs/control/view_recall.h"
#include "fs/request/ops.h"
#include "store/view/view.h"

struct view_table;

struct view_table *view_table_new(void);
void view_table_free(struct view_table *t);

/* The number of the view of this name, also when there is none any more. -ENOMEM. */
int view_table_number(struct view_table *t, uint32_t collection, const char *name, uint64_t *number);
/* The reverse; -ESTALE: nobody was given that number. */
int view_table_name(struct view_table *t, uint64_t number, char name[VS_VIEW_NAME_MAX + 1]);

enum view_data_kind {
	VIEW_CODES, /* arrays: codes.npy, */
	VIEW_DECODED,
	VIEW_CODEBOOK,
	VIEW_ROTATION,
	VIEW_CODE, /* of a vector */
	VIEW_DECODED_VECTOR,
};

struct view_data {
	uint64_t view; /* its number */
	enum view_data_kind kind;
	uint64_t model;
	uint64_t which; /* a vector's entry number; of an array the collection's version */
	vs_time ctime;  /* of a vector; else 0 */
	/* What follows is told by the above. */
	uint64_t size;
	vs_time mtime;
	struct vs_perm perm;
};

static inline bool view_data_is_vector(const struct view_data *data)
{
	return data->kind == VIEW_CODE || data->kind == VIEW_DECODED_VECTOR;
}

/* The number that stands for it. */
uint64_t view_table_remember(struct view_table *t, const struct view_data *data);
/* What a number stands for; -ESTALE: that is forgotten. */
int view_table_data(struct view_table *t, uint64_t number, struct view_data *out);

/* What was measured last; false: nothing, or of another model. */
bool view_table_recall(struct view_table *t, uint64_t number, uint64_t model, struct view_recall *out);
void view_table_set_recall(struct view_table *t, uint64_t number, const struct view_recall *recall);

#endif
